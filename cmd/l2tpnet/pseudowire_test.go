package main

import (
	"context"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint"
	"github.com/l2tpnet/l2tpnet/endpoint/node"
)

// The protocol tells nobody that the ends do not agree: what has come tells us.
func TestWhyNothingComesOut(t *testing.T) {
	for _, c := range []struct {
		in     endpoint.Traffic
		others endpoint.Counters
		want   string // of the words; "": nothing is wrong
	}{
		{endpoint.Traffic{}, endpoint.Counters{}, "nothing has come"},
		{endpoint.Traffic{PacketsIn: 1, CookieDiscards: 1}, endpoint.Counters{WrongPeer: 1}, ""},
		{endpoint.Traffic{CookieDiscards: 1}, endpoint.Counters{}, "another cookie than --peer-cookie"},
		{endpoint.Traffic{SequenceDiscards: 1}, endpoint.Counters{}, "without the numbers that --seq expects"},
		{endpoint.Traffic{Invalid: 1}, endpoint.Counters{}, "no frames of this pseudowire's type"},
		{endpoint.Traffic{}, endpoint.Counters{UnknownSession: 1}, "another session id"},
		{endpoint.Traffic{}, endpoint.Counters{WrongPeer: 1}, "another address or port than --remote"},
	} {
		words, hint := diagnose(c.in, c.others)
		if !strings.Contains(words, c.want) || (c.want == "") != (words == "") || (words == "") != (hint == "") {
			t.Errorf("%+v: expected %q and a hint, found %q, %q", c, c.want, words, hint)
		}
	}
}

func TestASilentOrWrongEndIsToldOf(t *testing.T) {
	for _, c := range []struct {
		name   string
		static endpoint.StaticConfig // of the other end; without ids there is none
		want   string
	}{
		{"nobody", endpoint.StaticConfig{}, "(nothing has come from the other end yet)\nhint: .*-v"},
		{"a cookie", endpoint.StaticConfig{SessionID: 2, PeerSessionID: 1, Cookie: []byte("evil")}, "(another cookie)"},
		{"a sublayer", endpoint.StaticConfig{SessionID: 2, PeerSessionID: 1, Cookie: []byte("good"), Sublayer: endpoint.SublayerDefault}, "(no address has come with them yet)\nhint: --pw and --l2spec"},
		{"an id", endpoint.StaticConfig{SessionID: 2, PeerSessionID: 3, Cookie: []byte("good")}, "(another session id)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			here, there := freeUDP(t), freeUDP(t)
			cmd := start(t, "pseudowire", "--local", here, "--remote", there, "--session-id", "1", "--peer-session-id", "2", "--peer-cookie", "676f6f64",
				"--dhcp", "--no-ipv6", "--socks", "127.0.0.1:0")
			if c.static.SessionID != 0 {
				talking(t, far(t, &node.Pseudowire{Local: there, Remote: here, Static: c.static, Addresses: []netip.Prefix{netip.MustParsePrefix("10.9.0.2/24")}}))
			}
			cmd.stderr.find(t, c.want)
			cmd.stop()
			// No lease has come: it has not begun.
			if status := cmd.wait(t); status != 130 {
				t.Errorf("exit status %d after Ctrl-C, want 130; %s", status, cmd.stderr)
			}
		})
	}
}

// talking has frames come from the other end until the test is over.
func talking(t *testing.T, p *node.Pseudowire) {
	ctx, stop := context.WithCancel(t.Context())
	var talking sync.WaitGroup
	talking.Go(func() {
		for ctx.Err() == nil {
			short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
			p.Ping(short, netip.MustParseAddr("10.9.0.1"), nil)
			cancel()
		}
	})
	t.Cleanup(func() { stop(); talking.Wait() })
}

func TestAHubTellsWhatIsWrong(t *testing.T) {
	t.Parallel()
	here, there := freeUDP(t), freeUDP(t)
	cmd := start(t, "hub", "--local", here, "--port", "north,remote="+there+",session-id=1,peer-session-id=2,peer-cookie=676f6f64",
		"--address", "10.9.0.1/24", "--no-ipv6")
	talking(t, far(t, &node.Pseudowire{Local: there, Remote: here, Static: endpoint.StaticConfig{SessionID: 2, PeerSessionID: 1, Cookie: []byte("evil")},
		Addresses: []netip.Prefix{netip.MustParsePrefix("10.9.0.2/24")}}))
	cmd.stderr.find(t, "port north: (frames come with another cookie)")

	waiting := start(t, "hub", "--local", freeUDP(t), "--port", "north,remote="+there+",session-id=1,peer-session-id=2", "--dhcp", "--no-ipv6")
	waiting.stderr.find(t, "(no address has come by DHCP yet)")
	waiting.stop()
	if status := waiting.wait(t); status != 130 {
		t.Errorf("exit status %d after Ctrl-C, want 130; %s", status, waiting.stderr)
	}
}
