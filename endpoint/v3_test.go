package endpoint

import (
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/simnet"
)

// answeringV3 is a server of both versions.
func answeringV3(t testing.TB, n *simnet.Net, seed uint64, change func(*AnswerConfig)) *Endpoint {
	t.Helper()
	return answering(t, n, seed, func(a *AnswerConfig) {
		a.V3 = &V3Config{RouterID: 2}
		if change != nil {
			change(a)
		}
	})
}

// dialV3 is a tunnel of L2TPv3 to the server.
func dialV3(t *testing.T, e *Endpoint, change func(*TunnelConfig)) *Tunnel {
	t.Helper()
	cfg := &TunnelConfig{Secret: "tunsecret", V3: &V3Config{RouterID: 1}}
	if change != nil {
		change(cfg)
	}
	tun, err := e.Dial(t.Context(), lnsAddr, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return tun
}

// openV3 is a session in it, and the server's end of it.
func openV3(t *testing.T, tun *Tunnel, server *Endpoint, cfg *PseudowireConfig) (ours, theirs *Session) {
	t.Helper()
	ours, err := tun.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if theirs, err = server.Accept(t.Context()); err != nil {
		t.Fatal(err)
	}
	return ours, theirs
}

// wantBothWays has a frame go each way.
func wantBothWays(t *testing.T, a, b *Session, f func(string) []byte) {
	t.Helper()
	toA, atA := collect()
	toB, atB := collect()
	a.Attach(toA)
	b.Attach(toB)
	put(a, f("there"))
	wantPacket(t, atB, f("there"))
	put(b, f("and back"))
	wantPacket(t, atA, f("and back"))
}

func TestV3AnEthernetSession(t *testing.T) {
	for _, secret := range []Secret{"", "tunsecret"} {
		t.Run(fmt.Sprint("secret ", secret != ""), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := simnet.New(1)
				server := answeringV3(t, n, 1, func(a *AnswerConfig) { a.Secret = secret })
				defer server.Close()
				client := dialling(t, n, 1)
				defer client.Close()
				tun := dialV3(t, client, func(c *TunnelConfig) { c.Secret = secret })
				ours, theirs := openV3(t, tun, server, &PseudowireConfig{RemoteEndID: "red"})
				wantBothWays(t, ours, theirs, frame)
				if c, ok := theirs.Call(); !ok || c.RemoteEndID != "red" || c.Type != PseudowireEthernet || c.PeerName != "lac" {
					t.Errorf("the call is %+v, %v", c, ok)
				}
				if st := tun.Status(); st.Version != 3 || st.PeerName != "lns" || !st.Up || !st.Dialed || len(st.Sessions) != 1 {
					t.Errorf("the tunnel is %+v", st)
				}
				if st := theirs.Status(); st.Type != PseudowireEthernet || st.State != SessionUp || st.Circuit != "active" || st.PeerCircuit != "active" {
					t.Errorf("the session is %+v", st)
				}
				if len(theirs.arrival.cookie) != 8 || len(ours.arrival.cookie) != 8 || string(theirs.arrival.cookie) == string(ours.arrival.cookie) {
					t.Errorf("the cookies are %x and %x", ours.arrival.cookie, theirs.arrival.cookie)
				}
				ours.Close()
				<-theirs.Done()
				if c := server.Status().Counters; c.BadDigest != 0 || c.UnknownSession != 0 || c.Malformed != 0 {
					t.Errorf("the server counts %+v", c)
				}
			})
		})
	}
}
