package guest

import (
	"crypto/sha256"
	"fmt"
	"testing"
)

// The guests' peers meet each other here, without us: if this fails, the guest is at fault and not l2tpnet.
func TestXl2tpdCallsXl2tpd(t *testing.T) {
	lns := Boot(t, Config{Words: []string{"lns=1701:pap,1702:mschapv2:secret"}, Ports: []int{1701, 1702}})
	lac := Boot(t, Config{Words: []string{fmt.Sprintf("lac=%d:pap::10.9.0.1,%d:mschapv2:secret:10.9.0.1", lns.Port(1701), lns.Port(1702))}})

	want := fmt.Sprintf("%x", sha256.Sum256(Blob()))
	for _, port := range []int{1701, 1702} {
		m := lac.Expect(t, 0, fmt.Sprintf(`^guest: lac %d: sha256 (\S+)`, lns.Port(port)))
		if m[1] != want {
			t.Errorf("the blob fetched through port %d: expected sha256 %s, found %s", port, want, m[1])
		}
	}
	// The console takes commands, too.
	lns.Type("echo guest: says $((6 * 7))")
	lns.Expect(t, 0, `^guest: says 42`)
}
