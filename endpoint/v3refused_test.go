package endpoint

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/control"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/simnet"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

// A server that has no room for another tunnel says so, and is heard, with a secret and
// without, with an SCCRQ of either form.
func TestV3RefusalForWantOfRoom(t *testing.T) {
	for _, secret := range []Secret{"", "tunsecret"} {
		for _, fallback := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				n := simnet.New(1)
				server := answeringV3(t, n, 1, func(a *AnswerConfig) { a.Secret, a.Limits.Tunnels = secret, 1 })
				defer server.Close()
				client := dialling(t, n, 1)
				defer client.Close()
				dialV3(t, client, func(c *TunnelConfig) { c.Secret = secret })
				_, err := client.Dial(t.Context(), lnsAddr, &TunnelConfig{Secret: secret, V3: &V3Config{}, Fallback: fallback})
				if e, ok := errors.AsType[*PeerError](err); !ok || e.Text != tooManyTunnels.Text {
					t.Errorf("secret %v, fall-back %v: dialling ended with %v", secret != "", fallback, err)
				}
				time.Sleep(2 * time.Minute)
				for _, e := range []*Endpoint{client, server} {
					if c := e.Status().Counters; c.BadDigest != 0 {
						t.Errorf("secret %v, fall-back %v: an end counts %+v", secret != "", fallback, c)
					}
				}
			})
		}
	}
}

// RFC 3931 §5.4.3: "A StopCCN SHOULD be sent by the winner as an explicit rejection for the
// losing SCCRQ." The loser hears it, and has the winner's tunnel; nobody seems to have another
// secret.
func TestV3LoserHearsTheWinner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		n.SetDefault(simnet.Link{Delay: 20 * time.Millisecond})
		both := func(address string, who byte) *Endpoint {
			return host(t, n, address, &Config{HostName: string(who), Rand: random(1, who), Logger: testLogger(t, string(who)), Answer: &AnswerConfig{Secret: "tunsecret", V3: &V3Config{}}})
		}
		a, b := both(lacAddr, 'a'), both(lnsAddr, 'b')
		defer a.Close()
		defer b.Close()
		dialled := make(chan error, 2)
		for from, to := range map[*Endpoint]string{a: lnsAddr, b: lacAddr} {
			go func() {
				_, err := from.Dial(t.Context(), to, &TunnelConfig{Secret: "tunsecret", V3: &V3Config{}})
				dialled <- err
			}()
		}
		if err := errors.Join(<-dialled, <-dialled); err != nil {
			t.Error(err)
		}
		time.Sleep(2 * time.Minute)
		lost := uint64(0)
		for _, e := range []*Endpoint{a, b} {
			st := e.Status()
			lost += st.Counters.LostTie
			if st.Counters.BadDigest != 0 || len(st.Tunnels) != 1 {
				t.Errorf("%d tunnels stand; counted %+v", len(st.Tunnels), st.Counters)
			}
		}
		if lost != 1 {
			t.Errorf("%d SCCRQs have lost", lost)
		}
	})
}

// A server refuses a malformed SCCRQ that is rightly signed, by a StopCCN that its sender
// can verify: with the one nonce that has been told.
func TestV3RefusalOfAMalformedSCCRQ(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		server := answeringV3(t, n, 1, nil)
		defer server.Close()
		peer := tapped(t, n, lacAddr, lnsAddr)
		m := sccrqV3(7)
		m.Digests, m.Nonce = []wire.DigestType{wire.DigestMD5}, scriptNonce
		sccrq := append(m.AppendV3(wire.AppendV3ControlHeader(nil, 0, 0, 0)), 0x80, 8, 0, 0, 0, 120, 1, 2) // unknown, with the M bit
		wire.SetLength(sccrq)
		wire.Sign(sccrq, nil, nil, wire.DigestKey([]byte("tunsecret")))
		peer.conn.WriteTo(sccrq, peer.to)
		peer.conn.SetReadDeadline(time.Now().Add(time.Minute))
		b := make([]byte, 2000)
		k, _, err := peer.conn.ReadFrom(b)
		if err != nil {
			t.Fatal(err)
		}
		h, avps, _ := wire.ParseV3Control(b[:k])
		stop, err := wire.ParseMessageV3(avps, nil)
		if err != nil || h.TunnelID != 7 || stop.Type != wire.StopCCN || stop.Result.Error != wire.ErrorUnknownAVP {
			t.Errorf("the answer is %v for %d, result %+v, %v", stop.Type, h.TunnelID, stop.Result, err)
		}
		if _, valid := wire.Verify(b[:k], nil, scriptNonce, wire.DigestKey([]byte("tunsecret"))); !valid {
			t.Errorf("its sender cannot verify %x", b[:k])
		}
		if c := server.Status().Counters; c.Refused != 1 || c.BadDigest != 0 {
			t.Errorf("the server counts %+v", c)
		}
	})
}

// A peer may tell of some 500 types of pseudowires in one AVP: what says that ours is not among
// them stays one line.
func TestV3TypesOfThePeerAreNamedInBounds(t *testing.T) {
	var types []uint16
	for k := range uint16(500) {
		types = append(types, 1000+k)
	}
	for n, want := range map[int]string{0: "only nothing", 1: "only " + PseudowireType(1000).String(), 9: PseudowireType(1007).String() + ", and 1 more", 500: ", and 492 more"} {
		words := publicError(&control.PseudowireError{Type: 5, Advertised: types[:n]}).Error()
		if !strings.HasSuffix(words, want) || len(words) > 300 {
			t.Errorf("of %d types it says %q, expected %q at its end", n, words, want)
		}
	}
}
