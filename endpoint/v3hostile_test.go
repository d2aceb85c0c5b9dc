package endpoint

import (
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/simnet"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

// A script3 is a peer of L2TPv3 that sends what it is told to.
type script3 struct {
	*wiretap
	peer   uint32 // the other's id
	ns, nr uint16
	mine   uint32 // its own id, in the header as long as peer is not known
	starts int
	secret string                   // empty: there is none
	nonce  []byte                   // the other's
	form   func(avps []byte) []byte // how it writes what it has to say; nil: as RFC 3931
}

func scriptedV3(t *testing.T, n *simnet.Net) *script3 {
	t.Helper()
	return &script3{wiretap: tapped(t, n, lacAddr, lnsAddr)}
}

func sccrqV3(id uint32) *wire.Message {
	return &wire.Message{Type: wire.SCCRQ, HostName: "script", AssignedTunnelID: id, V3: wire.V3{Pseudowires: []uint16{4, 5}}}
}

// openingV3 is a message to somebody who is not known, signed if there is a secret.
func openingV3(m *wire.Message, secret string) []byte {
	if secret != "" {
		m.Digests, m.Nonce = []wire.DigestType{wire.DigestMD5}, scriptNonce
	}
	b := m.AppendV3(wire.AppendV3ControlHeader(nil, 0, 0, 0))
	wire.SetLength(b)
	if secret != "" {
		wire.Sign(b, nil, nil, wire.DigestKey([]byte(secret)))
	}
	return b
}

func (s *script3) write(m *wire.Message) []byte {
	s.t.Helper()
	to := s.peer
	if to == 0 {
		to = s.mine
	}
	if s.secret != "" {
		m.Digests = []wire.DigestType{wire.DigestMD5}
		if m.Type == wire.SCCRQ || m.Type == wire.SCCRP {
			m.Nonce = scriptNonce
		}
	}
	avps := m.AppendV3(nil)
	if s.form != nil {
		avps = s.form(avps)
	}
	b := append(wire.AppendV3ControlHeader(nil, to, s.ns, s.nr), avps...)
	wire.SetLength(b)
	s.sign(b, m.Type == wire.SCCRQ)
	s.ns++
	if _, err := s.conn.WriteTo(b, s.to); err != nil {
		s.t.Fatal(err)
	}
	return b
}

var scriptNonce = []byte("a nonce of 16 oc")

func (s *script3) sign(b []byte, first bool) {
	switch {
	case s.secret == "":
	case first:
		wire.Sign(b, nil, nil, wire.DigestKey([]byte(s.secret)))
	default:
		wire.Sign(b, scriptNonce, s.nonce, wire.DigestKey([]byte(s.secret)))
	}
}

// wantMessage is the next message that is no acknowledgement.
func (s *script3) wantMessage(kind wire.MessageType) *wire.Message {
	s.t.Helper()
	for {
		s.conn.SetReadDeadline(time.Now().Add(time.Minute))
		b := make([]byte, 2000)
		k, _, err := s.conn.ReadFrom(b)
		if err != nil {
			s.t.Fatalf("expected %v, found %v", kind, err)
		}
		h, avps, err := wire.ParseV3Control(b[:k])
		if err != nil {
			s.t.Fatalf("expected %v, found %x: %v", kind, b[:k], err)
		}
		m, err := wire.ParseMessageV3(avps, nil)
		if len(avps) == 0 || m.Type == wire.ACK || m.Type == wire.HELLO && kind != wire.HELLO {
			continue // a HELLO may be of any time
		}
		s.nr = h.Ns + 1
		if err != nil || m.Type != kind {
			s.t.Fatalf("expected %v, found %v, %v", kind, m.Type, err)
		}
		return m
	}
}

// tunnel opens one, and a session of the kind with it: what the peer has told of it.
func (s *script3) tunnel(id uint32) {
	s.t.Helper()
	s.peer, s.ns, s.nr = 0, 0, 0
	m := sccrqV3(id)
	s.starts++
	m.HostName = fmt.Sprint("start ", s.starts) // else it would be the same one again
	s.write(m)
	sccrp := s.wantMessage(wire.SCCRP)
	s.peer, s.nonce = sccrp.AssignedTunnelID, sccrp.Nonce
	s.write(&wire.Message{Type: wire.SCCCN})
}

func (s *script3) call(session uint32, kind uint16) *wire.Message {
	s.t.Helper()
	s.write(&wire.Message{Type: wire.ICRQ, AssignedSessionID: session, CallSerialNumber: 1, V3: wire.V3{PseudowireType: kind, RemoteEndID: []byte("any"), CircuitStatus: 3, AssignedCookie: []byte("\x01\x02\x03\x04")}})
	return s.wantMessage(wire.ICRP)
}

func openV3Server(t *testing.T, n *simnet.Net) *Endpoint {
	return answeringV3(t, n, 1, func(a *AnswerConfig) { a.Secret = "" })
}

// RFC 3931 §4.1.1: the Control Connection ID is 32 bits wide. Some peers put their own
// into the header while they do not know the other's.
func TestV3PeersWithHabits(t *testing.T) {
	for _, habit := range []string{"none", "their own id in the header", "an id that we have given to somebody"} {
		t.Run(habit, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := simnet.New(1)
				server := openV3Server(t, n)
				defer server.Close()
				client := dialling(t, n, 1)
				client.Close()
				other := host(t, n, farAddr, &Config{Rand: random(1, 'o')})
				defer other.Close()
				standing, err := other.Dial(t.Context(), lnsAddr, &TunnelConfig{V3: &V3Config{}})
				if err != nil {
					t.Fatal(err)
				}
				s := scriptedV3(t, n)
				id := uint32(0xdeadbeef)
				switch habit {
				case "their own id in the header":
					s.mine = id
				case "an id that we have given to somebody":
					id = standing.PeerID()
					s.mine = id
				}
				for range 2 { // and once more after a restart
					s.tunnel(id)
					icrp := s.call(0x89abcdef, 5)
					s.write(&wire.Message{Type: wire.ICCN, AssignedSessionID: 0x89abcdef, V3: wire.V3{RemoteSessionID: icrp.AssignedSessionID}})
					session, err := server.Accept(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					if session.Tunnel().PeerID() != id || session.Status().PeerID != 0x89abcdef || session.Status().PeerCircuit != "active" {
						t.Errorf("the session is %+v", session.Status())
					}
					sink, got := collect()
					session.Attach(sink)
					s.send(fmt.Sprintf("00030000%08x%x", icrp.AssignedSessionID, icrp.AssignedCookie), frame("in"))
					wantPacket(t, got, frame("in"))
					s.send(fmt.Sprintf("00030000%08x", icrp.AssignedSessionID), frame("without a cookie"))
					put(session, frame("out"))
					for k := 0; ; { // behind an acknowledgement
						b := make([]byte, 2000)
						k, _, err = s.conn.ReadFrom(b)
						if err != nil {
							t.Fatal(err)
						}
						if b[0] == 0 {
							if want := "\x00\x03\x00\x00\x89\xab\xcd\xef\x01\x02\x03\x04" + string(frame("out")); string(b[:k]) != want {
								t.Errorf("sent %x, want %x", b[:k], want)
							}
							break
						}
					}
					time.Sleep(time.Second)
					if st := session.Status(); st.Traffic.CookieDiscards != 1 || len(got) != 0 {
						t.Errorf("the session counts %+v", st.Traffic)
					}
				}
				if err := standing.Err(); err != nil {
					t.Errorf("another peer's tunnel has ended: %v", err)
				}
			})
		})
	}
}

// RFC 3931 §6.4: a StopCCN has an Assigned Control Connection ID, by which it is found when
// its sender does not know ours; §6.12, of CDN, likewise.
func TestV3EndsAreFoundByAssignedIDs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		server := openV3Server(t, n)
		defer server.Close()
		s := scriptedV3(t, n)

		s.write(sccrqV3(0x12345678)) // half-open
		s.wantMessage(wire.SCCRP)
		s.write(&wire.Message{Type: wire.StopCCN, AssignedTunnelID: 0x12345679, Result: wire.Result{Code: 1}})
		s.ns--
		time.Sleep(time.Second)
		if st := server.Status(); st.HalfOpen != 1 || st.Counters.UnknownTunnel != 1 {
			t.Errorf("another tunnel's StopCCN: %+v", st)
		}
		s.write(&wire.Message{Type: wire.StopCCN, AssignedTunnelID: 0x12345678, Result: wire.Result{Code: 1}})
		time.Sleep(time.Second)
		if st := server.Status(); st.HalfOpen != 0 {
			t.Errorf("after a StopCCN %d are half-open", st.HalfOpen)
		}

		s.tunnel(0x12345678)
		s.call(77, 5)
		s.write(&wire.Message{Type: wire.CDN, AssignedSessionID: 77, Result: wire.Result{Code: 3}}) // without ours
		time.Sleep(time.Second)
		if st := server.Status(); len(st.Tunnels) != 1 || len(st.Tunnels[0].Sessions) != 0 {
			t.Errorf("after a CDN: %+v", st.Tunnels)
		}
		s.peer = 0
		s.write(&wire.Message{Type: wire.StopCCN, AssignedTunnelID: 0x12345678, Result: wire.Result{Code: 1}})
		time.Sleep(2 * time.Minute)
		if st := server.Status(); len(st.Tunnels) != 0 {
			t.Errorf("after a StopCCN: %+v", st.Tunnels)
		}
	})
}

// Whoever knows nothing costs no more by L2TPv3 than by L2TPv2, and what has a wrong digest
// leaves nothing at all.
func TestV3HalfOpenTunnelsAreBounded(t *testing.T) {
	for name, c := range map[string]struct {
		secret           string
		answered, halves int
	}{"with the secret": {"tunsecret", 10, 10}, "with another": {"other", 0, 0}, "without a digest": {"", 0, 0}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := &discard{done: make(chan struct{})}
				e, err := New(d, &Config{Rand: random(1, 's'), Answer: &AnswerConfig{Secret: "tunsecret", V3: &V3Config{}, Limits: Limits{HalfOpen: 10, HalfOpenMax: 20}}})
				if err != nil {
					t.Fatal(err)
				}
				defer e.Close()
				for i := range 5000 {
					e.receive(asker(i), besiegedAt, openingV3(sccrqV3(uint32(i)<<12|1), c.secret), nil)
				}
				st := e.Status()
				if d.sent != c.answered || st.HalfOpen != c.halves || len(st.Tunnels) != 0 || st.Counters.Remembered != 5000-10 {
					t.Errorf("%d were answered; %+v", d.sent, st)
				}
				if bad := st.Counters.BadDigest; c.answered == 0 && bad != 10 {
					t.Errorf("%d bad digests are counted", bad)
				}
				e.ids.mu.Lock()
				if taken := e.ids.taken; taken != c.halves {
					t.Errorf("%d ids are taken", taken)
				}
				e.ids.mu.Unlock()
				// One that asks again is heard.
				last := asker(4999)
				for range 3 {
					time.Sleep(time.Second)
					e.receive(last, besiegedAt, openingV3(sccrqV3(uint32(4999)<<12|1), c.secret), nil)
				}
				if c.answered > 0 && d.sent == c.answered {
					t.Error("who came again was not answered")
				}
			})
		})
	}
}

// An SCCRQ with a wrong digest in a peer's name must not end what is being dialled, though
// its tie breaker is the least.
func TestV3TieBreakersCountWithARightDigestOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		n.SetDefault(simnet.Link{Delay: 50 * time.Millisecond})
		server := answeringV3(t, n, 1, nil)
		defer server.Close()
		both := host(t, n, lacAddr, &Config{Rand: random(1, 'b'), Logger: testLogger(t, "both"), Answer: &AnswerConfig{Secret: "tunsecret", V3: &V3Config{}}})
		defer both.Close()
		for _, secret := range []string{"", "another"} {
			m := sccrqV3(7)
			m.Set(wire.AVPTieBreaker)
			forged := openingV3(m, secret)
			time.AfterFunc(time.Millisecond, func() { both.receive(server.Addr(), netip.Addr{}, forged, nil) })
		}
		tun := dialV3(t, both, nil)
		if c := both.Status().Counters; c.BadDigest != 2 || c.LostTie != 0 || c.Answered != 0 {
			t.Errorf("it counts %+v", c)
		}
		openV3(t, tun, server, nil)
	})
}

// An identifier of L2TPv2 and the same one of L2TPv3 are two tunnels', half-open or not.
func TestV3IdentifiersAreNotThoseOfL2TPv2(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		server := openV3Server(t, n)
		defer server.Close()
		s := scriptedV3(t, n)
		old := &script{t: t, conn: s.conn, to: s.to}
		quiet := func() {
			time.Sleep(time.Second)
			for ok := true; ok; {
				s.conn.SetReadDeadline(time.Now())
				_, _, err := s.conn.ReadFrom(make([]byte, 2000))
				ok = err == nil
			}
		}
		old.send(0, sccrq(7))
		old.peer = old.want(wire.SCCRP).AssignedTunnelID
		quiet()
		s.write(sccrqV3(7))
		s.peer = s.wantMessage(wire.SCCRP).AssignedTunnelID
		if st := server.Status(); st.HalfOpen != 2 {
			t.Errorf("%d are half-open, want two", st.HalfOpen)
		}
		old.send(0, &wire.Message{Type: wire.SCCCN})
		s.write(&wire.Message{Type: wire.SCCCN})
		quiet()
		st := server.Status()
		if len(st.Tunnels) != 2 || st.Tunnels[0].Version+st.Tunnels[1].Version != 5 || st.Tunnels[0].PeerID != 7 || st.Tunnels[1].PeerID != 7 {
			t.Errorf("the tunnels are %+v", st.Tunnels)
		}
		// A message of the one version for a tunnel of the other is no message of its.
		ours := s.peer
		s.peer = old.peer
		s.write(&wire.Message{Type: wire.StopCCN, AssignedTunnelID: 7, Result: wire.Result{Code: 1}})
		s.peer, s.ns = ours, s.ns-1
		time.Sleep(time.Second)
		for _, tun := range server.Status().Tunnels {
			if !tun.Up {
				t.Errorf("a tunnel has ended: %+v", tun)
			}
		}
		s.peer = 0
		s.write(&wire.Message{Type: wire.StopCCN, AssignedTunnelID: 7, Result: wire.Result{Code: 1}})
		time.Sleep(time.Second)
		for _, tun := range server.Status().Tunnels {
			if tun.Up != (tun.Version == 2) {
				t.Errorf("a tunnel is %+v", tun)
			}
		}
	})
}
