package endpoint

import (
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/simnet"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

// discard is a socket that nothing comes from, and which swallows all.
type discard struct {
	done chan struct{}
	sent int
}

func (d *discard) ReadFrom([]byte) (int, net.Addr, error) {
	<-d.done
	return 0, nil, net.ErrClosed
}
func (d *discard) WriteTo(b []byte, _ net.Addr) (int, error) { d.sent++; return len(b), nil }
func (d *discard) Close() error                              { close(d.done); return nil }
func (d *discard) LocalAddr() net.Addr                       { return &net.UDPAddr{IP: net.IPv4(192, 0, 2, 2), Port: 1701} }
func (d *discard) SetDeadline(time.Time) error               { return nil }
func (d *discard) SetReadDeadline(time.Time) error           { return nil }
func (d *discard) SetWriteDeadline(time.Time) error          { return nil }

// besieged is an endpoint whose datagrams are handed to receive.
func besieged(t testing.TB, l Limits) (*Endpoint, *discard) {
	t.Helper()
	d := &discard{done: make(chan struct{})}
	e, err := New(d, &Config{Rand: random(1, 's'), Logger: testLogger(t, "lns"), Answer: &AnswerConfig{Secret: "tunsecret", Authenticate: users, Pool: pool(t), Limits: l}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e, d
}

// An asker is a peer that asks for a tunnel, in its own name or another's.
func asker(n int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}), 1701)
}

func asks(id uint16) []byte {
	m := sccrq(uint32(id))
	m.Set(wire.AVPChallenge)
	m.Challenge = make([]byte, 16)
	return opening(m)
}

func opening(m *wire.Message) []byte {
	b := m.Append(wire.AppendControlHeader(nil, 0, 0, 0, 0))
	wire.SetLength(b)
	return b
}

func BenchmarkSCCRQ(b *testing.B) {
	to := netip.MustParseAddr("192.0.2.2")
	flood := func(b *testing.B, l Limits, repeat int) {
		e, d := besieged(b, l)
		datagram := asks(1)
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			e.receive(asker(i/repeat), to, datagram, nil)
		}
		b.ReportMetric(float64(d.sent)/float64(b.N), "replies/op")
	}
	b.Run("remembered", func(b *testing.B) { flood(b, Limits{HalfOpen: 1}, 1) })
	b.Run("answered", func(b *testing.B) { flood(b, Limits{HalfOpen: -1}, 1) })
	b.Run("answered again", func(b *testing.B) {
		flood(b, Limits{HalfOpen: -1, RatePerSource: -1, ReplyFactor: -1}, recordMessagesMax)
	})
	b.Run("above the rate", func(b *testing.B) { flood(b, Limits{HalfOpen: -1}, 1<<30) })
}

func TestAHalfOpenTunnelCostsNoMoreThanItsRecord(t *testing.T) {
	// "compact records of at most 512 bytes, 4,096 at most": with their places in three
	// maps, which are filled by 7/16 at worst.
	var h halfOpenTable
	record, entries := unsafe.Sizeof(halfOpenRecord{}), 0
	for _, m := range []any{h.byKey, h.byID, h.sources} {
		m := reflect.TypeOf(m)
		entries += int(reflect.StructOf([]reflect.StructField{{Name: "K", Type: m.Key()}, {Name: "V", Type: m.Elem()}}).Size()) + 1
	}
	if size := int(record) + entries*16/7 + 2; size > 512 {
		t.Errorf("a half-open tunnel costs %d bytes, %d of them its record", size, record)
	}
}

var besiegedAt = netip.MustParseAddr("192.0.2.2")

func TestHalfOpenTunnelsAreBoundedAndTheOldestGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, d := besieged(t, Limits{HalfOpen: 10, HalfOpenMax: 20})
		const many = 500
		for i := range many {
			e.receive(asker(i), besiegedAt, asks(1), nil)
			e.receive(asker(i), besiegedAt, asks(1), nil) // at once: it earns nothing
		}
		st := e.Status()
		if st.HalfOpen != 10 || st.Counters.Remembered != 2*(many-10) || st.Counters.Answered != 20 {
			t.Errorf("at first: %d half-open, %+v", st.HalfOpen, st.Counters)
		}
		time.Sleep(time.Second)
		before := d.sent
		for i := range many {
			time.Sleep(100 * time.Millisecond) // 20 answers a second is what 20 records allow
			e.receive(asker(i), besiegedAt, asks(1), nil)
			if n := e.Status().HalfOpen; n > 20 {
				t.Fatalf("%d half-open tunnels, want 20 at most", n)
			}
			if i == 100 {
				break
			}
		}
		c := e.Status().Counters
		if d.sent-before < 80 || c.Evicted < 60 || c.Evicted > 100 {
			t.Errorf("of 100 that came again %d were answered, and %d were evicted", d.sent-before, c.Evicted)
		}
		// The newest is still there, and the first are not.
		e.mu.Lock()
		tunnels := len(e.all)
		e.mu.Unlock()
		e.half.mu.Lock()
		newest, first := e.half.records.ofKey(e.half.hasher.sccrq(peerID{addr: asker(100), id: 1}, nil)), e.half.records.ofKey(e.half.hasher.sccrq(peerID{addr: asker(0), id: 1}, nil))
		e.half.mu.Unlock()
		if newest == nil || first != nil || tunnels != 0 {
			t.Errorf("newest %v, first %v, %d tunnels", newest, first, tunnels)
		}
		// "half-open lifetime 30 s, 10 s under load"
		time.Sleep(9 * time.Second)
		if n := e.Status().HalfOpen; n < 10 {
			t.Errorf("after 9 s %d half-open tunnels are left", n)
		}
		time.Sleep(2 * time.Second)
		if n := e.Status().HalfOpen; n >= 10 {
			t.Errorf("after 11 s %d half-open tunnels are left", n)
		}
		time.Sleep(20 * time.Second)
		if n := e.Status().HalfOpen; n != 0 || e.ids.taken != 0 {
			t.Errorf("after 31 s %d half-open tunnels are left, and %d ids are taken", n, e.ids.taken)
		}
	})
}

func TestAnEndpointAnswersAnHonestPeerDuringAFlood(t *testing.T) {
	// "an honest client in within 10 s"
	for name, again := range map[string]int{"ever new": 0, "each again after a second": 1} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := simnet.New(1)
				n.SetDefault(simnet.Link{Delay: 50 * time.Millisecond})
				lns, lac := answering(t, n, 1, nil), dialling(t, n, 1)
				defer lns.Close()
				defer lac.Close()
				const perSecond = 5000
				stop, stopped := make(chan struct{}), make(chan struct{})
				go func() {
					defer close(stopped)
					for k := 0; ; k++ {
						tuple := k
						if again > 0 { // every other second those of the last one come again
							tuple = k/(2*perSecond)*perSecond + k%perSecond
						}
						lns.receive(asker(tuple), besiegedAt, asks(uint16(1+tuple>>20)), nil)
						if k%5 == 0 {
							select {
							case <-stop:
								return
							case <-time.After(time.Millisecond):
							}
						}
					}
				}()
				time.Sleep(3 * time.Second)
				begin := time.Now()
				tun, err := lac.Dial(t.Context(), lnsAddr, &TunnelConfig{Secret: "tunsecret"})
				if d := time.Since(begin); err != nil || d > 10*time.Second {
					t.Errorf("dialled in %v: %v", d, err)
				}
				if err == nil {
					if _, err := tun.OpenPPP(t.Context(), &PPPConfig{User: "alice", Password: "s3cret"}); err != nil {
						t.Error(err)
					}
				}
				close(stop)
				<-stopped
				if st := lns.Status(); len(st.Tunnels) != 1 || st.HalfOpen > 4096 || st.Counters.Remembered == 0 {
					t.Errorf("%d tunnels, %d half-open, %+v", len(st.Tunnels), st.HalfOpen, st.Counters)
				}
			})
		})
	}
}

func TestNoMoreThanThriceIsSentToWhoeverHasProvedNothing(t *testing.T) {
	// "at most three times the bytes received are sent to an unvalidated address,
	// retransmissions included"
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		e := host(t, n, lnsAddr, &Config{HostName: strings.Repeat("long", 60), Rand: random(1, 's'), Logger: testLogger(t, "lns"),
			Answer: &AnswerConfig{Secret: "tunsecret", Authenticate: users, Pool: pool(t)}})
		defer e.Close()
		var to, from int
		n.SetTap(func(r simnet.Record) {
			switch {
			case r.Fate != simnet.Sent:
			case r.To.String() == lnsAddr:
				to += len(r.Payload)
			default:
				if from += len(r.Payload); from > 3*to {
					t.Errorf("%d bytes for %d", from, to)
				}
			}
		})
		s := scripted(t, n)
		first := s.send(0, sccrq(7))
		s.wantSilence() // an SCCRP has more than three times its bytes
		s.write(first)
		s.peer = s.want(wire.SCCRP).AssignedTunnelID
		time.Sleep(time.Second)
		if st := e.Status(); st.HalfOpen != 1 || st.Counters.CreditLimit != 1 || st.Counters.Answered != 1 {
			t.Errorf("%d half-open, %+v", st.HalfOpen, st.Counters)
		}
		was := from
		time.Sleep(20 * time.Second)
		if from != was {
			t.Error("something was sent that nobody has asked for")
		}
		for range 40 { // each a repetition, or one that has no response to the challenge
			s.write(first)
			time.Sleep(100 * time.Millisecond)
			s.write(s.send(0, &wire.Message{Type: wire.SCCCN}))
			s.ns = 1
		}
		time.Sleep(time.Second)
		if st := e.Status(); len(st.Tunnels) != 0 || st.Counters.Refused == 0 {
			t.Errorf("the endpoint has %+v", st)
		}
	})
}

func TestAWrongSecretLeavesNoTunnel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		lns := answering(t, n, 1, nil)
		defer lns.Close()
		s := scripted(t, n)
		s.send(0, sccrq(7))
		s.peer = s.want(wire.SCCRP).AssignedTunnelID
		wrong := &wire.Message{Type: wire.SCCCN}
		wrong.Set(wire.AVPChallengeResponse)
		for range 3 { // a lost StopCCN is sent again when the SCCCN is
			s.ns, s.nr = 1, 1
			s.send(0, wrong)
			if r := s.want(wire.StopCCN).Result; r.Code != wire.StopNotAuthorized {
				t.Errorf("refused with %+v", r)
			}
		}
		if st := lns.Status(); len(st.Tunnels) != 0 || st.HalfOpen != 1 || st.Counters.Refused != 3 {
			t.Errorf("the server has %+v", st)
		}
		s.write(wire.AppendControlHeader(nil, s.peer, 0, s.ns, 2))
		time.Sleep(time.Second)
		if st := lns.Status(); st.HalfOpen != 0 || lns.ids.taken != 0 {
			t.Errorf("after it was acknowledged the server has %+v", st)
		}
	})
}

func TestAStopCCNEndsAHalfOpenTunnel(t *testing.T) {
	// RFC 2661 §5.7: StopCCN is acknowledged.
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		lns := answering(t, n, 1, nil)
		defer lns.Close()
		zlbs := 0
		n.SetTap(func(r simnet.Record) {
			if r.Fate == simnet.Sent && r.From.String() == lnsAddr && len(r.Payload) == wire.ControlHeaderLen {
				zlbs++
			}
		})
		s := scripted(t, n)
		s.send(0, sccrq(7))
		s.peer = s.want(wire.SCCRP).AssignedTunnelID
		s.send(0, &wire.Message{Type: wire.StopCCN, AssignedTunnelID: 7, Result: wire.Result{Code: wire.StopClear}})
		time.Sleep(time.Second)
		if st := lns.Status(); st.HalfOpen != 0 || zlbs != 1 {
			t.Errorf("%d half-open tunnels, %d acknowledgements", st.HalfOpen, zlbs)
		}
	})
}

func TestAStrangersSCCRQDisturbsNoTunnel(t *testing.T) {
	// "a client accepted while its old tunnel still stands, an unauthenticated SCCRQ
	// never removing it"
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		lns, lac := answering(t, n, 1, nil), dialling(t, n, 1)
		defer lns.Close()
		defer lac.Close()
		var first []byte
		n.SetTap(func(r simnet.Record) {
			if first == nil {
				first = append(first, r.Payload...)
			}
		})
		tun, err := lac.Dial(t.Context(), lnsAddr, &TunnelConfig{Secret: "tunsecret"})
		if err != nil {
			t.Fatal(err)
		}
		client, err := tun.OpenPPP(t.Context(), &PPPConfig{User: "alice", Password: "s3cret"})
		if err != nil {
			t.Fatal(err)
		}
		server, err := lns.Accept(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		lns.receive(lac.Addr(), besiegedAt, first, nil) // a late duplicate: the tunnel's own
		time.Sleep(time.Second)
		if st := lns.Status(); st.HalfOpen != 0 {
			t.Errorf("a late duplicate begins a tunnel: %+v", st)
		}
		for range 100 {
			lns.receive(lac.Addr(), besiegedAt, asks(uint16(tun.id)), nil)
			time.Sleep(200 * time.Millisecond)
		}
		if st := lns.Status(); st.HalfOpen != 1 || len(st.Tunnels) != 1 {
			t.Errorf("the server has %+v", st)
		}
		sink, got := collect()
		server.Attach(sink)
		put(client, packet("still here"))
		wantPacket(t, got, packet("still here"))
		time.Sleep(time.Minute)
		if st := lns.Status(); st.HalfOpen != 0 || len(st.Tunnels) != 1 || client.Err() != nil {
			t.Errorf("a minute later the server has %+v", st)
		}
	})
}

func TestASourceHasFewHalfOpenTunnels(t *testing.T) {
	// "5 half-open per source (/32, /64)"
	synctest.Test(t, func(t *testing.T) {
		e, _ := besieged(t, Limits{})
		for id := range uint16(10) {
			e.receive(asker(1), besiegedAt, asks(1+id), nil)
			time.Sleep(100 * time.Millisecond)
		}
		e.receive(asker(2), besiegedAt, asks(1), nil)
		if st := e.Status(); st.HalfOpen != 6 || st.Counters.SourceLimit != 5 || st.Counters.RateLimit != 0 {
			t.Errorf("%d half-open tunnels, %+v", st.HalfOpen, st.Counters)
		}
		for range 100 {
			e.receive(asker(3), besiegedAt, asks(1), nil)
		}
		if c := e.Status().Counters; c.RateLimit != 95 {
			t.Errorf("%d were above the rate, want 95", c.RateLimit)
		}
		// All of that may be turned off.
		e, _ = besieged(t, Limits{HalfOpen: -1, HalfOpenPerSource: -1, RatePerSource: -1})
		for id := range uint16(3000) {
			e.receive(asker(1), besiegedAt, asks(1+id), nil)
		}
		if st := e.Status(); st.HalfOpen != 3000 {
			t.Errorf("%d half-open tunnels, want 3000", st.HalfOpen)
		}
	})
}

func TestAStrangersSCCCNIsNotTaken(t *testing.T) {
	// Even one that knows the id: it was told to the peer's address.
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		lns := answering(t, n, 1, withoutSecret)
		defer lns.Close()
		s := scripted(t, n)
		s.send(0, sccrq(7))
		s.peer = s.want(wire.SCCRP).AssignedTunnelID
		b := (&wire.Message{Type: wire.SCCCN}).Append(wire.AppendControlHeader(nil, s.peer, 0, 1, 1))
		wire.SetLength(b)
		lns.receive(asker(1), besiegedAt, b, nil)
		if st := lns.Status(); len(st.Tunnels) != 0 || st.HalfOpen != 1 || st.Counters.WrongPeer != 1 {
			t.Errorf("the server has %+v", st)
		}
		s.send(0, &wire.Message{Type: wire.SCCCN})
		time.Sleep(time.Second)
		if st := lns.Status(); len(st.Tunnels) != 1 || st.HalfOpen != 0 {
			t.Errorf("the server has %+v", st)
		}
	})
}

func TestLongSCCRQs(t *testing.T) {
	// A Host Name may have 1,017 bytes; under load there is no room for it.
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		lns := answering(t, n, 1, func(a *AnswerConfig) { a.Secret, a.Limits.HalfOpen = "", 1 })
		defer lns.Close()
		s := scripted(t, n)
		m := sccrq(7)
		m.HostName = strings.Repeat("l", 1017)
		s.send(0, m)
		s.peer = s.want(wire.SCCRP).AssignedTunnelID
		s.send(0, &wire.Message{Type: wire.SCCCN})
		time.Sleep(time.Second)
		if st := lns.Status(); len(st.Tunnels) != 1 || !st.Tunnels[0].Up || st.Tunnels[0].PeerName != m.HostName {
			t.Errorf("the server has %+v", st)
		}
		lns.receive(asker(1), besiegedAt, opening(sccrq(1)), nil) // load
		s.ns, s.nr, s.peer = 0, 0, 0
		m.AssignedTunnelID = 8
		long := s.send(0, m)
		time.Sleep(time.Second)
		s.write(long)
		s.wantSilence()
		if c := lns.Status().Counters; c.LengthLimit != 1 || c.Remembered != 1 {
			t.Errorf("the server counts %+v", c)
		}
	})
}

func TestTheLimitOfTunnelsIsKeptAndTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		lns := answering(t, n, 1, func(a *AnswerConfig) { a.Secret, a.Limits.Tunnels = "", 2 })
		defer lns.Close()
		s := scripted(t, n)
		// Three are half-open when two stand.
		var ids []uint32
		for id := range uint32(3) {
			s.ns, s.nr, s.peer = 0, 0, 0
			s.send(0, sccrq(10+id))
			ids = append(ids, s.want(wire.SCCRP).AssignedTunnelID)
		}
		for _, id := range ids {
			s.ns, s.nr, s.peer = 1, 1, id
			s.send(0, &wire.Message{Type: wire.SCCCN})
		}
		if r := s.want(wire.StopCCN).Result; r.Error != wire.ErrorResources {
			t.Errorf("refused with %+v", r)
		}
		s.ns, s.nr, s.peer = 0, 0, 0
		s.send(0, sccrq(20))
		if r := s.want(wire.StopCCN).Result; r.Error != wire.ErrorResources {
			t.Errorf("refused with %+v", r)
		}
		time.Sleep(time.Second)
		if st := lns.Status(); len(st.Tunnels) != 2 || st.Counters.TunnelLimit != 2 || st.Counters.Refused != 2 {
			t.Errorf("%d tunnels, %+v", len(st.Tunnels), st.Counters)
		}
	})
}

// RFC 2661 §7.2.1: "idle, Receive SCCRQ, not acceptable: Send StopCCN". It is the first
// message: with the number of a second one the peer would wait for the first.
func TestWhoIsToldOfTheLimitOfTunnelsKnowsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		lns := answering(t, n, 1, func(a *AnswerConfig) { a.Secret, a.Limits.Tunnels = "", 1 })
		defer lns.Close()
		lac := dialling(t, n, 2)
		defer lac.Close()
		if _, err := lac.Dial(t.Context(), lns.Addr().String(), nil); err != nil {
			t.Fatal(err)
		}
		_, err := lac.Dial(t.Context(), lns.Addr().String(), nil)
		if p, ok := errors.AsType[*PeerError](err); !ok || p.ErrorCode != wire.ErrorResources {
			t.Errorf("the second tunnel: %v", err)
		}
	})
}

// Without a secret anybody can open tunnels and keep them: they do not keep others out,
// nor do they take the place of those whose callers are known.
func TestStrangersTunnelsMakeRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		lns := answering(t, n, 1, func(a *AnswerConfig) { a.Secret, a.Limits.Tunnels = "", 3 })
		defer lns.Close()
		lac := dialling(t, n, 2)
		defer lac.Close()
		dial := func() (*Tunnel, error) { return lac.Dial(t.Context(), lns.Addr().String(), nil) }
		known, err := dial()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := known.OpenPPP(t.Context(), &PPPConfig{User: "alice", Password: "s3cret"}); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if _, err := dial(); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := dial(); err == nil {
			t.Error("a fourth tunnel stands before the strangers' are old")
		}
		time.Sleep(strangerTime)
		for range 2 {
			if _, err := dial(); err != nil {
				t.Errorf("in the place of a stranger: %v", err)
			}
		}
		if _, err := dial(); err == nil {
			t.Error("one tunnel too many")
		}
		synctest.Wait() // a stranger's goes on a loop of its own
		if st := lns.Status(); st.Counters.StrangersLimit != 2 || len(st.Tunnels) != 3 || len(st.Tunnels[0].Sessions)+len(st.Tunnels[1].Sessions)+len(st.Tunnels[2].Sessions) != 1 || known.Err() != nil {
			t.Errorf("the server has %+v and counts %+v, and the known tunnel ended with %v", st.Tunnels, st.Counters, known.Err())
		}
	})
}

// "send queue 64 messages": who acknowledges nothing loses the tunnel, and is counted.
func TestTheLimitOfTheSendQueueIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		lns := answering(t, n, 1, func(a *AnswerConfig) { a.Secret, a.Limits.SendQueue = "", 10 })
		defer lns.Close()
		s := scripted(t, n)
		s.tunnel()
		for id := range uint32(10) {
			s.send(0, &wire.Message{Type: wire.ICRQ, AssignedSessionID: 1 + id, CallSerialNumber: id})
		}
		time.Sleep(time.Second)
		if c := lns.Status().Counters; c.QueueLimit != 0 {
			t.Errorf("ten messages wait, and %d tunnels were given up", c.QueueLimit)
		}
		s.send(0, &wire.Message{Type: wire.ICRQ, AssignedSessionID: 11, CallSerialNumber: 11})
		time.Sleep(time.Second)
		if c := lns.Status().Counters; c.QueueLimit != 1 {
			t.Errorf("eleven messages wait, and %d tunnels were given up", c.QueueLimit)
		}
	})
}

func TestTheLimitsOfSessionsAreKept(t *testing.T) {
	// "sessions per tunnel 64, unauthenticated sessions per tunnel 8"
	for _, c := range []struct {
		limits Limits
		want   int
		count  func(Counters) uint64
	}{
		{Limits{}, 8, func(c Counters) uint64 { return c.UnauthenticatedLimit }},
		{Limits{Sessions: 5}, 5, func(c Counters) uint64 { return c.SessionLimit }},
	} {
		synctest.Test(t, func(t *testing.T) {
			n := simnet.New(1)
			lns := answering(t, n, 1, func(a *AnswerConfig) { a.Secret, a.Limits = "", c.limits })
			defer lns.Close()
			s := scripted(t, n)
			s.tunnel()
			var taken, refused int
			for id := range uint32(10) {
				s.send(0, &wire.Message{Type: wire.ICRQ, AssignedSessionID: 1 + id, CallSerialNumber: id})
				_, avps, _ := s.next()
				switch m, _ := wire.ParseMessage(avps, nil); m.Type {
				case wire.ICRP:
					taken++
				case wire.CDN:
					refused++
					if m.Result.Code != wire.CallNoFacilities {
						t.Errorf("refused with %+v", m.Result)
					}
				}
			}
			time.Sleep(time.Second)
			if taken != c.want || refused != 10-c.want || c.count(lns.Status().Counters) != uint64(refused) {
				t.Errorf("%d calls were taken and %d refused, want %d and %d: %+v", taken, refused, c.want, 10-c.want, lns.Status().Counters)
			}
		})
	}
}

func TestRefusalsAreLoadToo(t *testing.T) {
	// What is refused leaves nothing, and so nothing would keep a flood of it from
	// being answered.
	synctest.Test(t, func(t *testing.T) {
		e, d := besieged(t, Limits{})
		m := sccrq(1)
		m.ProtocolVersion = 0x0200
		for i := range 10000 {
			e.receive(asker(i), besiegedAt, opening(m), nil)
		}
		if d.sent != 256 || e.Status().HalfOpen != 0 {
			t.Errorf("%d were answered, want 256; %+v", d.sent, e.Status())
		}
		time.Sleep(time.Second)
		e.receive(asker(0), besiegedAt, asks(1), nil)
		if n := e.Status().HalfOpen; n != 1 {
			t.Errorf("a second later %d half-open tunnels, want one", n)
		}
	})
}

func TestAFloodIsLoggedInSummaries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		e, err := New(&discard{done: make(chan struct{})}, &Config{Rand: random(1, 's'), Logger: slog.New(slog.NewTextHandler(&log, nil)),
			Answer: &AnswerConfig{Authenticate: users, Pool: pool(t)}})
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		for i := range 10000 {
			e.receive(asker(i/2), besiegedAt, opening(sccrq(1)), nil)
			time.Sleep(3 * time.Millisecond)
		}
		if lines := strings.Count(log.String(), "\n"); lines < 2 || lines > 4 || strings.Count(log.String(), "under load") != lines {
			t.Errorf("%d lines of half a minute's flood:\n%s", lines, log.String())
		}
	})
}
