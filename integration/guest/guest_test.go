package guest

import (
	"crypto/sha256"
	"fmt"
	"os"
	"testing"
)

// The guests' peers meet each other here, without us: if this fails, the guest is at fault and not l2tpnet. That is worth
// its two guests in the full run, and where the tests with l2tpnet fail.
func TestXl2tpdCallsXl2tpd(t *testing.T) {
	if os.Getenv("L2TPNET_FULL") != "1" {
		t.Skip("SKIPPED: the guest's peers among themselves; L2TPNET_FULL=1 runs it")
	}
	lns := Boot(t, 1701, 1702)
	lac := Boot(t)
	for _, call := range []struct {
		port    int
		options string
	}{{1701, "pap"}, {1702, "mschapv2 secret hidden mppe ipv6"}} {
		lns.Run(t, fmt.Sprintf("lns %d %s", call.port, call.options))
		port := lns.Addr(call.port).Port()
		lac.Run(t, fmt.Sprintf("lac %d %s", port, call.options))
		lac.Run(t, "ping -c 3 -i 0.2 10.9.0.1")
		mark := lac.Run(t, "fetch http://10.9.0.1/blob")
		want := fmt.Sprintf("%x", sha256.Sum256(Blob()))
		if m := lac.Expect(t, mark, `^guest: sha256 (\S+)`); m[1] != want {
			t.Errorf("the blob fetched with %q: expected sha256 %s, found %s", call.options, want, m[1])
		}
		lac.Run(t, fmt.Sprintf("hangup %d", port))
	}
}
