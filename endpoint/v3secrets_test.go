package endpoint

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/simnet"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

// A changing socket changes what is sent by it.
type changing struct {
	net.PacketConn
	change func([]byte) []byte
}

func (c changing) WriteTo(b []byte, to net.Addr) (int, error) {
	if b = c.change(append([]byte(nil), b...)); b != nil {
		c.PacketConn.WriteTo(b, to)
	}
	return len(b), nil
}

// sentMessages notes the types of the control messages that an address sends, and how many
// of them have no digest.
func sentMessages(n *simnet.Net, from string) (types func() []wire.MessageType, bare func() int) {
	var mu sync.Mutex
	var sent []wire.MessageType
	without := 0
	n.SetTap(func(r simnet.Record) {
		if r.Fate != simnet.Sent || r.From.String() != from || r.Payload[0]&0x80 == 0 {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		_, avps, err := parseControl(r.Payload)
		m, _ := wire.ParseMessageV3(avps, nil)
		if err != nil || len(m.Digests) == 0 {
			without++
		}
		sent = append(sent, m.Type)
	})
	return func() []wire.MessageType { mu.Lock(); defer mu.Unlock(); return sent }, func() int { mu.Lock(); defer mu.Unlock(); return without }
}

// Issue: "A changed byte, a missing digest and a wrong secret lead to silence, a counter,
// and a time-out whose hint names the secret."
func TestV3WithoutTheSecretThereIsSilence(t *testing.T) {
	unsigned := func(b []byte) []byte { // without its Message Digest, which comes second
		h, avps, err := wire.ParseV3Control(b)
		if err != nil || len(avps) == 0 {
			return b
		}
		m, _ := wire.ParseMessageV3(avps, nil)
		m.Digests = nil
		b = m.AppendV3(wire.AppendV3ControlHeader(nil, h.TunnelID, h.Ns, h.Nr))
		wire.SetLength(b)
		return b
	}
	for name, c := range map[string]struct {
		secret   Secret
		fallback bool
		change   func([]byte) []byte
		server   Secret
	}{
		"another secret":                  {secret: "another", server: "tunsecret"},
		"another secret, with a fallback": {secret: "another", server: "tunsecret", fallback: true},
		"no secret":                       {server: "tunsecret"},
		"no secret, with a fallback":      {server: "tunsecret", fallback: true},
		"no secret there":                 {secret: "tunsecret"},
		"a changed byte":                  {secret: "tunsecret", server: "tunsecret", change: func(b []byte) []byte { b[len(b)-1] ^= 1; return b }},
		"a missing digest":                {secret: "tunsecret", server: "tunsecret", change: unsigned},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := simnet.New(1)
				sent, _ := sentMessages(n, lnsAddr)
				server := answeringV3(t, n, 1, func(a *AnswerConfig) { a.Secret = c.server })
				defer server.Close()
				conn, err := n.Listen(lacAddr)
				if err != nil {
					t.Fatal(err)
				}
				var socket net.PacketConn = conn
				if c.change != nil {
					socket = changing{conn, c.change}
				}
				client, err := New(socket, &Config{Rand: random(1, 'c'), Logger: testLogger(t, "lac")})
				if err != nil {
					t.Fatal(err)
				}
				defer client.Close()
				began := time.Now()
				_, err = client.Dial(t.Context(), lnsAddr, &TunnelConfig{Secret: c.secret, V3: &V3Config{}, Fallback: c.fallback})
				timeout, ok := errors.AsType[*TimeoutError](err)
				if !ok || !timeout.Silent || !strings.Contains(timeout.Hint(), "tunnel secret") || strings.Contains(timeout.Hint(), "may not speak") == c.fallback || strings.Contains(timeout.Hint(), "no L2TP server") != c.fallback {
					t.Errorf("dialling failed with %v (%T), hint %q", err, err, timeout.Hint())
				}
				// 10 retries: 1+2+4+8·8 s (RFC 3931 §4.2).
				if d := time.Since(began); d != 71*time.Second {
					t.Errorf("given up after %v", d)
				}
				st := server.Status()
				if st.Counters.BadDigest != 11 || st.HalfOpen != 0 || len(st.Tunnels) != 0 || len(sent()) != 0 {
					t.Errorf("the server has sent %v, and counts %+v", sent(), st.Counters)
				}
			})
		})
	}
}

// "two digests, two secrets during a roll-over": one end after the other gets the new
// secret, and in between all of them find each other.
func TestV3SecretsRollOver(t *testing.T) {
	type end struct{ secret, old Secret }
	both := [][]DigestType{nil, {DigestSHA1}, {DigestMD5, DigestSHA1}}
	for _, digests := range both {
		for _, answers := range both {
			synctest.Test(t, func(t *testing.T) {
				server, client := end{"one", ""}, end{"one", ""}
				works := func(want bool) {
					t.Helper()
					n := simnet.New(1)
					s := answeringV3(t, n, 1, func(a *AnswerConfig) {
						a.Secret, a.V3 = server.secret, &V3Config{OldSecret: server.old, Digests: answers}
					})
					defer s.Close()
					c := dialling(t, n, 1)
					defer c.Close()
					tun, err := c.Dial(t.Context(), lnsAddr, &TunnelConfig{Secret: client.secret, V3: &V3Config{OldSecret: client.old, Digests: digests}})
					if (err == nil) != want {
						t.Errorf("client %v, server %v: %v", client, server, err)
					}
					if err == nil {
						ours, theirs := openV3(t, tun, s, nil)
						wantBothWays(t, ours, theirs, frame)
					}
				}
				works(true)
				server = end{"two", "one"}
				works(true)
				client = end{"two", "one"}
				works(true)
				server = end{"two", ""}
				works(true)
				client = end{"two", ""}
				works(true)
				client = end{"one", ""}
				works(false)
				client = end{"three", "two"} // the other way round
				works(true)
			})
		}
	}
}

// Somebody who is dialled, does not know the secret, and sends our own SCCRQ back, or
// another one with our nonce: it has a right digest, and is not answered.
func TestV3OurOwnNonceIsNotAnswered(t *testing.T) {
	for _, fallback := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			n := simnet.New(1)
			e := answeringV3(t, n, 1, nil)
			defer e.Close()
			mirror := tapped(t, n, lacAddr, lnsAddr)
			failed := make(chan error, 1)
			go func() {
				_, err := e.Dial(t.Context(), lacAddr, &TunnelConfig{Secret: "tunsecret", V3: &V3Config{}, Fallback: fallback})
				failed <- err
			}()
			b := make([]byte, 2000)
			for came := range 11 {
				mirror.conn.SetReadDeadline(time.Now().Add(time.Minute))
				k, _, err := mirror.conn.ReadFrom(b)
				if err != nil {
					t.Fatal(err)
				}
				_, avps, _ := parseControl(b[:k])
				if m, _ := wire.ParseMessageV3(avps, nil); m.Type != wire.SCCRQ {
					t.Fatalf("message %d is %v", came, m.Type)
				}
				mirror.conn.WriteTo(b[:k], mirror.to)
			}
			if _, ok := errors.AsType[*TimeoutError](<-failed); !ok {
				t.Error("the tunnel is up")
			}
			if c := e.Status().Counters; c.Answered != 0 || c.BadDigest == 0 {
				t.Errorf("it counts %+v", c)
			}
		})
	}
}

// "The v3 way of hiding AVPs": in both directions, and in an SCCRQ whose Assigned Control
// Connection ID is hidden.
func TestV3HiddenAVPs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		types, bare := sentMessages(n, lacAddr)
		server := answeringV3(t, n, 1, func(a *AnswerConfig) { a.HideAVPs = true })
		defer server.Close()
		client := dialling(t, n, 1)
		defer client.Close()
		tun := dialV3(t, client, func(c *TunnelConfig) { c.HideAVPs = true })
		ours, theirs := openV3(t, tun, server, &PseudowireConfig{RemoteEndID: "hidden"})
		wantBothWays(t, ours, theirs, frame)
		if c, _ := theirs.Call(); c.RemoteEndID != "hidden" {
			t.Errorf("the call is %+v", c)
		}
		tun.Close()
		// RFC 3931 §5.4.1: "at least one Message Digest AVP MUST be present in all messages".
		if len(types()) < 6 || bare() != 0 {
			t.Errorf("of %v %d had no digest", types(), bare())
		}

		// As a peer does that hides whatever it may.
		m := sccrqV3(0xabcdef01)
		m.Digests, m.Nonce = []wire.DigestType{wire.DigestSHA1}, scriptNonce
		b := m.AppendHiddenV3(wire.AppendV3ControlHeader(nil, 0, 0, 0), wire.HidingKey([]byte("tunsecret")), random(1, 'h'))
		wire.SetLength(b)
		wire.Sign(b, nil, nil, wire.DigestKey([]byte("tunsecret")))
		if o, _ := wire.ParseOpeningV3(b[wire.V3ControlHeaderLen:]); o.Hidden == nil {
			t.Fatal("the id is not hidden")
		}
		peer := tapped(t, n, "192.0.2.77:1701", lnsAddr)
		peer.conn.WriteTo(b, peer.to)
		peer.conn.SetReadDeadline(time.Now().Add(time.Minute))
		reply := make([]byte, 2000)
		k, _, err := peer.conn.ReadFrom(reply)
		if err != nil {
			t.Fatal(err)
		}
		if h, _, _ := wire.ParseV3Control(reply[:k]); h.TunnelID != 0xabcdef01 {
			t.Errorf("the answer is for %#x", h.TunnelID)
		}
	})
}

// During a roll-over the two ends have one secret in common, which may be either's old one:
// with that AVPs are hidden too (RFC 3931 §5.3), even the id in an SCCRQ.
func TestV3HiddenAVPsWhileTheSecretChanges(t *testing.T) {
	type end struct{ secret, old Secret }
	for _, c := range []struct{ client, server end }{
		{end{"one", ""}, end{"two", "one"}}, {end{"two", "one"}, end{"one", ""}}, {end{"two", "one"}, end{"two", "one"}}, {end{"two", ""}, end{"two", "one"}}, {end{"one", "two"}, end{"two", "one"}},
	} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := simnet.New(1)
				server := answeringV3(t, n, 1, func(a *AnswerConfig) {
					a.Secret, a.HideAVPs, a.V3 = c.server.secret, true, &V3Config{OldSecret: c.server.old}
				})
				defer server.Close()
				client := dialling(t, n, 1)
				defer client.Close()
				tun := dialV3(t, client, func(t *TunnelConfig) {
					t.Secret, t.HideAVPs, t.V3.OldSecret = c.client.secret, true, c.client.old
				})
				ours, theirs := openV3(t, tun, server, &PseudowireConfig{RemoteEndID: "hidden"})
				wantBothWays(t, ours, theirs, frame)
				if call, _ := theirs.Call(); call.RemoteEndID != "hidden" {
					t.Errorf("the call is %+v", call)
				}

				m := sccrqV3(0xabcdef01)
				m.Digests, m.Nonce = []wire.DigestType{wire.DigestSHA1}, scriptNonce
				secret := []byte(c.client.secret)
				if c.server.old == "" { // whoever has the new one alone
					secret = []byte(c.server.secret)
				}
				b := m.AppendHiddenV3(wire.AppendV3ControlHeader(nil, 0, 0, 0), wire.HidingKey(secret), random(1, 'h'))
				wire.SetLength(b)
				wire.Sign(b, nil, nil, wire.DigestKey(secret))
				peer := tapped(t, n, "192.0.2.77:1701", lnsAddr)
				peer.conn.WriteTo(append(b, "padding"...), peer.to)
				peer.conn.SetReadDeadline(time.Now().Add(time.Minute))
				reply := make([]byte, 2000)
				k, _, err := peer.conn.ReadFrom(reply)
				if err != nil {
					t.Fatal(err)
				}
				if h, _, _ := wire.ParseV3Control(reply[:k]); h.TunnelID != 0xabcdef01 {
					t.Errorf("the answer is for %#x", h.TunnelID)
				}
			})
		})
	}
}

// Who answers is silent towards a peer that has another secret, but not towards its owner, who
// could not know otherwise; nor is a flood of such to fill the log.
func TestV3WrongDigestsAreLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		d := &discard{done: make(chan struct{})}
		e, err := New(d, &Config{Rand: random(1, 's'), Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn})),
			Answer: &AnswerConfig{Secret: "tunsecret", V3: &V3Config{}}})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 50 {
			e.receive(asker(i), besiegedAt, openingV3(sccrqV3(uint32(i)+1), "another"), nil)
		}
		time.Sleep(2 * time.Second)
		e.receive(asker(99), besiegedAt, openingV3(sccrqV3(9), ""), nil)
		e.Close()
		said := log.String()
		if n := strings.Count(said, "Message Digest is wrong or missing"); n != 2 || !strings.Contains(said, asker(0).String()) || !strings.Contains(said, asker(99).String()) || strings.Contains(said, "tunsecret") {
			t.Errorf("expected two warnings, found\n%s", said)
		}
	})
}
