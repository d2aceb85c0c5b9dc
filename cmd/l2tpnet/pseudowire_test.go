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
	status := func(change func(*endpoint.Status, *endpoint.Traffic)) endpoint.Status {
		st := endpoint.Status{Tunnels: make([]endpoint.TunnelStatus, 1)}
		change(&st, &st.Tunnels[0].Traffic)
		return st
	}
	for _, c := range []struct {
		st   endpoint.Status
		want string // of the words; "": nothing is wrong
	}{
		{status(func(_ *endpoint.Status, in *endpoint.Traffic) {}), "nothing has come"},
		{status(func(_ *endpoint.Status, in *endpoint.Traffic) { in.PacketsIn, in.CookieDiscards = 1, 1 }), ""},
		{status(func(_ *endpoint.Status, in *endpoint.Traffic) { in.CookieDiscards = 1 }), "another cookie than --peer-cookie"},
		{status(func(_ *endpoint.Status, in *endpoint.Traffic) { in.SequenceDiscards = 1 }), "without the numbers that --seq expects"},
		{status(func(_ *endpoint.Status, in *endpoint.Traffic) { in.Invalid = 1 }), "no frames of this pseudowire's type"},
		{status(func(st *endpoint.Status, _ *endpoint.Traffic) { st.Counters.UnknownSession = 1 }), "another session id"},
		{status(func(st *endpoint.Status, _ *endpoint.Traffic) { st.Counters.WrongPeer = 1 }), "another address or port than --remote"},
		{endpoint.Status{}, "nothing has come"},
	} {
		words, hint := diagnose(c.st)
		if !strings.Contains(words, c.want) || (c.want == "") != (words == "") || (words == "") != (hint == "") {
			t.Errorf("%+v: expected %q and a hint, found %q, %q", c.st, c.want, words, hint)
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
		{"a sublayer", endpoint.StaticConfig{SessionID: 2, PeerSessionID: 1, Cookie: []byte("good"), Sublayer: endpoint.SublayerDefault}, "(no address has come with them yet)\nhint: --l2spec"},
		{"an id", endpoint.StaticConfig{SessionID: 2, PeerSessionID: 3, Cookie: []byte("good")}, "(another session id)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			here, there := freeUDP(t), freeUDP(t)
			cmd := start(t, "pseudowire", "--local", here, "--remote", there, "--session-id", "1", "--peer-session-id", "2", "--peer-cookie", "676f6f64",
				"--dhcp", "--no-ipv6", "--socks", "127.0.0.1:0")
			if c.static.SessionID != 0 {
				p := far(t, &node.Pseudowire{Local: there, Remote: here, Static: c.static, Addresses: []netip.Prefix{netip.MustParsePrefix("10.9.0.2/24")}})
				ctx, stop := context.WithCancel(t.Context())
				var talking sync.WaitGroup
				talking.Go(func() {
					for ctx.Err() == nil { // so that frames come
						short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
						p.Ping(short, netip.MustParseAddr("10.9.0.1"), nil)
						cancel()
					}
				})
				defer talking.Wait()
				defer stop()
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
