package endpoint

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/ppp"
)

// wantPPPError waits for the end of a session by an error with these words, and of
// the other end's, which is told.
func wantPPPError(t *testing.T, s, other *Session, words string) {
	t.Helper()
	for _, x := range []*Session{s, other} {
		select {
		case <-x.Done():
		case <-time.After(time.Minute):
			t.Fatalf("a session still stands a minute later, want %q", words)
		}
	}
	if e, ok := errors.AsType[*PPPError](s.Err()); !ok || !strings.Contains(e.Error(), words) {
		t.Errorf("the session ended with %v (%T), want a *PPPError with %q", s.Err(), s.Err(), words)
	}
	if err := s.Tunnel().Err(); err != nil {
		t.Errorf("the tunnel ended too: %v", err)
	}
}

// A peer may renegotiate PPP, and give the addresses of before; with others the
// session would stand there and carry nothing, so it ends.
func TestASessionEndsWhenItsAddressesChange(t *testing.T) {
	other := netip.MustParseAddr("10.88.0.9")
	for name, change := range map[string]func(local, peer netip.Addr) ppp.Event{
		"ours":       func(_, peer netip.Addr) ppp.Event { return ppp.Up{Local: other, Peer: peer, MTU: 1400} },
		"the peer's": func(local, _ netip.Addr) ppp.Event { return ppp.Up{Local: local, Peer: other, MTU: 1400} },
		"identifiers": func(netip.Addr, netip.Addr) ppp.Event {
			return ppp.Up6{Local: [8]byte{1}, Peer: [8]byte{2}, MTU: 1400}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, server, _, done := joined(t, nil, PPPConfig{})
				defer done()
				local, peer := client.Addresses()[0].Addr(), client.PeerAddress()
				tell := func(events ...ppp.Event) {
					client.ppp.runner.Do(func(now time.Time) {
						for _, ev := range events {
							client.ppp.output(now, nil, ev)
						}
					})
					time.Sleep(time.Second)
				}
				tell(ppp.NetworkDown{Protocol: ppp.ProtocolIPv4}, ppp.Up{Local: local, Peer: peer, MTU: 1300})
				if client.Err() != nil || client.MTU() != 1300 {
					t.Fatalf("renegotiated with the same addresses: %v, MTU %d", client.Err(), client.MTU())
				}
				tell(ppp.NetworkDown{Protocol: ppp.ProtocolIPv4}, change(local, peer))
				wantPPPError(t, client, server, "other addresses")
				if a := client.Addresses(); len(a) != 1 || a[0].Addr() != local {
					t.Errorf("its addresses are %v, want those that its owner knows", a)
				}
			})
		})
	}
}

// MPPE's keys are lost when more packets are lost in one go than it counts. Nothing
// can be read any more, so the session ends, once, with words that say why.
func TestASessionEndsWhenItsKeysAreLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server, _, done := joined(t, func(a *AnswerConfig) { a.MPPE = MPPERequired }, PPPConfig{MPPE: MPPERequired})
		defer done()
		sink, got := collect()
		client.Attach(sink)
		put(server, packet("read"))
		wantPacket(t, got, packet("read"))

		server.sending.Lock()
		for range 3000 { // which the line loses
			server.carries.Load().encryption.Sealer.Seal(nil, ppp.ProtocolIPv4, packet("lost"))
		}
		server.sending.Unlock()
		for range 99 {
			put(server, packet("garbage"))
		}
		time.Sleep(time.Second)
		if client.Err() != nil {
			t.Fatalf("the session ended before all hope was lost: %v", client.Err())
		}
		for range 10 {
			put(server, packet("garbage"))
		}
		wantPPPError(t, client, server, "out of step")
		if len(got) != 0 {
			t.Errorf("%q came through", <-got)
		}
	})
}
