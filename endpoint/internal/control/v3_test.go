package control

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

func ofV3(secret string, change func(*Config)) Config {
	cfg := Config{V3: &V3{Pseudowires: []uint16{5}, RouterID: 7}}
	if secret != "" {
		cfg.Secret = []byte(secret)
	}
	if change != nil {
		change(&cfg)
	}
	return cfg
}

// headers notes the message types and Ver fields of what an end sends.
func (p *pair) listen() (heard func(e *end) []wire.MessageType) {
	types := map[*end][]wire.MessageType{}
	p.tap = func(e *end, avps []byte) { types[e] = append(types[e], messageType(avps)) }
	return func(e *end) []wire.MessageType { return types[e] }
}

// "If Control Message Authentication is enabled, at least one Message Digest AVP MUST be
// present in all messages" (RFC 3931 §5.4.1); "ZLB messages are only permitted when
// Control Message Authentication […] is not enabled" (§6.15).
func TestV3EveryMessageIsSigned(t *testing.T) {
	p := newPair(t, 1, ofV3("s", nil), ofV3("s", nil))
	heard := p.listen()
	p.call(p.ends[0])
	p.run(2 * time.Minute) // HELLOs too
	p.do(p.ends[1], func(m *Tunnel) { m.Close(p.now, wire.Result{}) })
	p.run(2 * time.Minute)
	for _, want := range []wire.MessageType{wire.SCCRQ, wire.SCCCN, wire.ICRQ, wire.ICCN, wire.ACK, wire.HELLO} {
		if !slices.Contains(heard(p.ends[0]), want) {
			t.Errorf("no %v among %v", want, heard(p.ends[0]))
		}
	}
	for _, e := range p.ends {
		if e.m.Counters().BadDigest != 0 || !e.up || !e.gone {
			t.Errorf("%s: %+v, counted %+v", e.name, e, e.m.Counters())
		}
	}
}

// "If the calculation fails, the message MUST be dropped": before anything in it is used,
// so no reply, no acknowledgement.
func TestV3WrongSecretIsSilence(t *testing.T) {
	for name, c := range map[string]struct{ dialler, answerer Config }{
		"another secret":     {ofV3("s", nil), ofV3("t", nil)},
		"a secret here":      {ofV3("s", nil), ofV3("", nil)},
		"a secret there":     {ofV3("", nil), ofV3("s", nil)},
		"integrity there":    {ofV3("s", nil), ofV3("", func(c *Config) { c.V3.Integrity = true })},
		"integrity, and one": {ofV3("", func(c *Config) { c.V3.Integrity = true }), ofV3("s", nil)},
	} {
		p := newPair(t, 1, c.dialler, c.answerer)
		heard := p.listen()
		p.run(5 * time.Minute)
		if n := len(heard(p.ends[1])); n != 0 {
			t.Errorf("%s: the answerer sent %v", name, heard(p.ends[1]))
		}
		if p.ends[1].m.Counters().BadDigest == 0 {
			t.Errorf("%s: nothing is counted", name)
		}
		var timeout *TimeoutError
		if !errors.As(p.ends[0].err, &timeout) || timeout.Heard {
			t.Errorf("%s: the dialler has %v", name, p.ends[0].err)
		}
	}
}

// "If an invalid Message Digest is received, it should be assumed that the message has
// been corrupted in transit and the message dropped accordingly." (§4.3)
func TestV3Integrity(t *testing.T) {
	signed := func(c *Config) { c.V3.Integrity = true }
	for name, other := range map[string]Config{"both": ofV3("", signed), "one": ofV3("", nil)} {
		p := newPair(t, 1, ofV3("", signed), other)
		p.call(p.ends[0])
		p.run(time.Minute)
		if !p.ends[0].up || !p.ends[1].up || len(p.standing(0)) != 1 {
			t.Errorf("%s: %+v and %+v", name, p.ends[0], p.ends[1])
		}
	}
}

// Any octet that changes on the way costs the message, and nothing else: it is sent
// again.
func TestV3ChangedOctets(t *testing.T) {
	for at := range 150 {
		p := newPair(t, uint64(at), ofV3("s", nil), ofV3("s", nil))
		p.call(p.ends[0])
		for i := range 6 { // of those that are under way, each in its turn
			if len(p.transit) > 0 {
				d := p.transit[i%len(p.transit)].packet
				d[at%len(d)] ^= 1 << (at % 8)
			}
			p.run(time.Millisecond)
		}
		p.run(time.Minute)
		if len(p.standing(0)) != 1 || len(p.standing(1)) != 1 {
			t.Errorf("octet %d: %v and %v stand", at, p.standing(0), p.standing(1))
		}
		if p.ends[0].m.Counters().BadDigest+p.ends[1].m.Counters().BadDigest+p.ends[0].m.Counters().Malformed+p.ends[1].m.Counters().Malformed == 0 {
			t.Errorf("octet %d: nothing is counted", at)
		}
	}
}

// An SCCRQ that is ours and comes back has a valid digest: answering it would have a peer
// without the secret prove itself by us.
func TestV3Reflection(t *testing.T) {
	p := newPair(t, 1, ofV3("s", nil), ofV3("s", nil))
	sccrq := bytes.Clone(p.ends[0].m.reliable.queue[0].packet)
	wire.Sign(sccrq, nil, nil, wire.DigestKey([]byte("s")))
	cfg := ofV3("s", func(c *Config) {
		c.Rand, c.LocalID = zeros{}, 9
		c.Outstanding = func(b []byte) bool { return bytes.Equal(b, p.ends[0].m.Nonce()) }
	})
	m := Answer(p.now, cfg)
	m.Handle(p.now, sccrq)
	if packet, event, ok := m.Next(); ok || m.Counters().BadDigest != 1 {
		t.Errorf("it was answered by %x, %v; counted %+v", packet, event, m.Counters())
	}
}

// RFC 3931 §5.4.4, of ties: whoever wins, there is one session at the end, and both ends
// know it. Without tie breakers there is none.
func TestV3SessionTie(t *testing.T) {
	detected := 0
	for seed := range seeds(1000, 5000) {
		p := newPair(t, seed, ofV3("s", nil), ofV3("s", nil))
		p.delay, p.loss, p.duplication = 50*time.Millisecond, .1, .1
		p.run(30 * time.Second)
		breakers := [2]bool{seed%4 != 0, seed%4 != 0 && seed%4 != 1}
		for i, e := range p.ends {
			id := e.m.Call(p.now, CallConfig{Pseudowire: aPseudowire(), TieBreaker: breakers[i]})
			e.begin(id).begun = p.now
			if seed%8 >= 4 { // not at the same time, nor always so late that there is no tie
				p.run(time.Duration(seed) * time.Millisecond % (80 * time.Millisecond))
			}
		}
		p.drain()
		p.run(3 * time.Minute)
		a, b := p.standing(0), p.standing(1)
		if len(a) != len(b) || len(a) > 2 || !p.ends[0].up || !p.ends[1].up || p.ends[0].down || p.ends[1].down {
			t.Fatalf("seed %d: %v and %v stand; %v, %v", seed, a, b, p.ends[0].err, p.ends[1].err)
		}
		ties := 0
		for _, e := range p.ends {
			for _, s := range e.sessions {
				if peer := (*PeerError)(nil); errors.Is(s.err, ErrLostSessionTie) || errors.As(s.err, &peer) && peer.Result.Code == wire.CallLostTie {
					ties++
				}
			}
		}
		if ties > 0 {
			detected++
		}
		if want := 1; breakers[0] && (ties == 0 && len(a) != 2 || ties > 0 && len(a) != want) {
			t.Errorf("seed %d: of a tie (%d ends of it) %d stand", seed, ties, len(a))
		}
		if !breakers[0] && ties > 0 && len(a) != 0 {
			t.Errorf("seed %d: without tie breakers %d stand", seed, len(a))
		}
	}
	// Half of the pairs of requests are of one instant; what is lost is not in time.
	if n := int(seeds(1000, 5000)); detected < n/3 {
		t.Errorf("%d of %d pairs of requests were a tie", detected, n)
	}
}

// "In the case in which a tie is detected, tie breakers are sent by both sides, and the tie
// breaker values are equal, both sides MUST discard their sessions and restart session
// negotiation with new random tie breaker values." (§5.4.4)
func TestV3EqualSessionTieBreakers(t *testing.T) {
	p := newPair(t, 1, ofV3("s", nil), ofV3("s", nil))
	p.run(time.Second)
	request := func(source func(i int) io.Reader) {
		for i, e := range p.ends {
			e.m.cfg.Rand = source(i)
			id := e.m.Call(p.now, CallConfig{Pseudowire: aPseudowire(), TieBreaker: true})
			e.begin(id).begun = p.now
		}
		p.drain()
		p.run(time.Minute)
	}
	request(func(int) io.Reader { return chacha(1) }) // the same for both
	for i, e := range p.ends {
		if len(e.order) != 1 || !errors.Is(e.sessions[e.order[0]].err, ErrEqualSessionTie) || len(p.standing(i)) != 0 {
			t.Errorf("%s: %+v", e.name, e)
		}
	}
	request(func(i int) io.Reader { return chacha(byte(i) + 2) })
	if a, b := p.standing(0), p.standing(1); len(a) != 1 || len(b) != 1 {
		t.Errorf("%v and %v stand after another attempt, expected one session", a, b)
	}
}

// "A session-level tie is detected if an LCCE receives an ICRQ or OCRQ with an End ID AVP
// whose value matches that which was just sent" (§5.4.4): one that names no circuit
// matches none.
func TestV3NoTieWithoutARemoteEndID(t *testing.T) {
	p := newPair(t, 1, ofV3("s", nil), ofV3("s", nil))
	p.run(time.Second)
	for _, e := range p.ends {
		id := e.m.Call(p.now, CallConfig{Pseudowire: &Pseudowire{Type: 5}})
		e.begin(id).begun = p.now
	}
	p.drain()
	p.run(time.Minute)
	if a, b := p.standing(0), p.standing(1); len(a) != 2 || len(b) != 2 {
		t.Errorf("%v and %v stand, expected both sessions", a, b)
	}
}

// "The Local Session ID is a 4-octet non-zero unsigned integer" (§5.4.4): all of it is
// made use of, since who is not on the way has to guess it.
func TestV3SessionIDsAreLong(t *testing.T) {
	p := newPair(t, 1, ofV3("", nil), ofV3("", nil))
	p.run(time.Second)
	for range 8 {
		if id := p.call(p.ends[0]); id > 0xffff {
			return
		}
	}
	t.Error("none of eight session ids has more than 16 bits")
}

// Who gives up before our SCCRP has come knows nothing of our nonce: its StopCCN has a
// digest without it, and ends what it has begun.
func TestV3StopCCNBeforeSCCRP(t *testing.T) {
	for name, c := range map[string]struct {
		nonce []byte
		heard bool
	}{
		"its own nonce alone": {bytes.Repeat([]byte{7}, 16), true},
		"another nonce":       {bytes.Repeat([]byte{8}, 16), false},
	} {
		now, key := time.Unix(1e9, 0), wire.DigestKey([]byte("s"))
		m := Answer(now, ofV3("s", func(c *Config) { c.Rand, c.LocalID = zeros{}, 9 }))
		send := func(ns uint16, msg *wire.Message, own []byte) {
			msg.Digests = []wire.DigestType{wire.DigestMD5}
			b := msg.AppendV3(wire.AppendV3ControlHeader(nil, 0, ns, 0))
			wire.SetLength(b)
			wire.Sign(b, own, nil, key)
			m.Handle(now, b)
		}
		send(0, &wire.Message{Type: wire.SCCRQ, HostName: "peer", AssignedTunnelID: 5, V3: wire.V3{Pseudowires: []uint16{5}, Nonce: bytes.Repeat([]byte{7}, 16)}}, nil)
		send(1, &wire.Message{Type: wire.StopCCN, AssignedTunnelID: 5, Result: wire.Result{Code: 1}}, c.nonce)
		down := false
		for {
			_, event, ok := m.Next()
			if !ok {
				break
			}
			if _, is := event.(TunnelDown); is {
				down = true
			}
		}
		if down != c.heard || (m.Counters().BadDigest == 0) != c.heard {
			t.Errorf("%s: down %v, counted %+v", name, down, m.Counters())
		}
	}
}

// A tunnel keeps the version that its first messages have decided.
func TestV3VersionsDoNotMix(t *testing.T) {
	v3 := func(m *wire.Message) []byte {
		b := m.AppendV3(wire.AppendV3ControlHeader(nil, 200, 2, 1))
		wire.SetLength(b)
		return b
	}
	stop := &wire.Message{Type: wire.StopCCN, AssignedTunnelID: 100, Result: wire.Result{Code: 1}}
	for name, c := range map[string]struct {
		dialler Config
		other   []byte
	}{
		"L2TPv2": {Config{}, v3(stop)},
		"L2TPv3": {ofV3("", nil), packet(200, 0, 2, 1, stop.Append(nil))},
	} {
		p := newPair(t, 1, c.dialler, ofV3("", nil))
		p.run(time.Second)
		p.do(p.ends[1], func(m *Tunnel) { m.Handle(p.now, c.other) })
		if p.ends[1].down || !p.ends[1].up || p.ends[1].m.Counters().Malformed != 1 {
			t.Errorf("a tunnel of %s: %+v, counted %+v", name, p.ends[1], p.ends[1].m.Counters())
		}
	}
}

// What one end cannot have of the other is refused by its own result code.
func TestV3RefusedCalls(t *testing.T) {
	const none = 0
	for name, c := range map[string]struct {
		ours, theirs func(*Pseudowire)
		code         uint16
	}{
		"sequencing without a sublayer": {func(p *Pseudowire) { p.Sequencing = wire.SequencingAll }, nil, wire.CallSequencing},
		"the same of the answerer":      {nil, func(p *Pseudowire) { p.Sequencing = wire.SequencingNonIP }, wire.CallSequencing},
		"an unknown sublayer":           {func(p *Pseudowire) { p.Sublayer = 2 }, nil, wire.CallError},
		"another MTU":                   {func(p *Pseudowire) { p.MTU = 1400 }, func(p *Pseudowire) { p.MTU = 1500 }, wire.CallMTU},
		"the same MTU":                  {func(p *Pseudowire) { p.MTU = 1500 }, func(p *Pseudowire) { p.MTU = 1500 }, none},
		"numbers":                       {func(p *Pseudowire) { p.Sublayer, p.Sequencing = 1, 2 }, nil, none},
	} {
		p := newPair(t, 1, ofV3("", nil), ofV3("", nil))
		p.byHand = true
		ours, theirs := aPseudowire(), aPseudowire()
		for f, pw := range map[*func(*Pseudowire)]*Pseudowire{&c.ours: ours, &c.theirs: theirs} {
			if *f != nil {
				(*f)(pw)
			}
		}
		p.run(time.Second)
		e := p.ends[0]
		id := e.m.Call(p.now, CallConfig{Pseudowire: ours})
		e.begin(id).begun = p.now
		p.drain()
		p.run(10 * time.Millisecond)
		for rung := range p.ends[1].sessions {
			p.do(p.ends[1], func(m *Tunnel) { m.AcceptPseudowire(p.now, rung, *theirs) })
		}
		p.run(time.Second)
		s := e.sessions[id]
		if c.code == none {
			if !s.up || s.theirs.MTU != theirs.MTU || s.ours.Sequencing != ours.Sequencing {
				t.Errorf("%s: %+v", name, s)
			}
			continue
		}
		var peer *PeerError
		var refused *RefusedError
		var code uint16
		switch {
		case errors.As(s.err, &peer):
			code = peer.Result.Code
		case errors.As(s.err, &refused):
			code = refused.Result.Code
		}
		if s.up || code != c.code || e.down || p.ends[1].down {
			t.Errorf("%s: up %v, %v, expected result %d", name, s.up, s.err, c.code)
		}
	}

	// "A peer MUST NOT request […] a value not advertised" (§5.4.4).
	p := newPair(t, 1, ofV3("", nil), ofV3("", nil))
	p.run(time.Second)
	id := p.ends[0].m.Call(p.now, CallConfig{Pseudowire: &Pseudowire{Type: 7}})
	p.ends[0].begin(id).begun = p.now
	p.run(time.Second)
	var unable *PseudowireError
	if err := p.ends[0].sessions[id].err; !errors.As(err, &unable) || !slices.Equal(unable.Advertised, []uint16{5}) {
		t.Errorf("a type that was not advertised: %v", err)
	}
	cfg := ofV3("", func(c *Config) { c.V3.Pseudowires = []uint16{5, 7} })
	p = newPair(t, 1, ofV3("", nil), cfg)
	p.run(time.Second)
	p.ends[1].m.peer.Pseudowires = []uint16{5, 7} // it does so all the same
	id = p.ends[1].m.Call(p.now, CallConfig{Pseudowire: &Pseudowire{Type: 7}})
	p.ends[1].begin(id).begun = p.now
	p.run(time.Second)
	var peer *PeerError
	if err := p.ends[1].sessions[id].err; !errors.As(err, &peer) || peer.Result.Code != wire.CallPseudowireType {
		t.Errorf("a type that was not advertised is asked for: %v", err)
	}
}

// "The ICCN, OCCN, and SLI control messages all MAY contain this AVP to update the status
// of the circuit" (§5.4.5).
func TestV3CircuitStatus(t *testing.T) {
	p := newPair(t, 1, ofV3("s", nil), ofV3("s", nil))
	id := p.call(p.ends[0])
	p.run(time.Second)
	for _, status := range []uint16{0, wire.CircuitActive | wire.CircuitStandby, wire.CircuitActive} {
		p.do(p.ends[0], func(m *Tunnel) { m.SetStatus(p.now, id, status) })
		p.run(time.Second)
		for _, s := range p.ends[1].sessions {
			if s.status == nil || *s.status != status {
				t.Errorf("the answerer knows of status %v, expected %#x", s.status, status)
			}
		}
	}
	if len(p.standing(0)) != 1 {
		t.Error("the session is down")
	}
}

// A circuit may change at any time while its session is being asked for: the peer learns how
// it is, of either end, of either kind of call.
func TestV3CircuitStatusFromTheBeginning(t *testing.T) {
	for seed := range seeds(300, 3000) {
		places := ofV3("s", func(c *Config) { c.PlacesCalls = true })
		p := newPair(t, seed, places, places)
		p.delay, p.loss = 20*time.Millisecond, .1
		if seed%2 == 0 {
			p.run(time.Duration(p.rng.IntN(40)) * time.Millisecond)
		}
		var id uint32
		if seed%3 == 0 {
			id = p.place(p.ends[0])
		} else {
			id = p.call(p.ends[0])
		}
		changes := [2]uint16{wire.CircuitActive, wire.CircuitActive}
		for range 6 {
			p.run(time.Duration(p.rng.IntN(30)) * time.Millisecond)
			i := p.rng.IntN(2)
			changes[i] = uint16(p.rng.IntN(2)) * wire.CircuitActive
			for _, session := range p.ends[i].order {
				p.do(p.ends[i], func(m *Tunnel) { m.SetStatus(p.now, session, changes[i]) })
			}
			if len(p.ends[i].order) == 0 { // it has not heard of the session yet
				changes[i] = wire.CircuitActive
			}
		}
		p.run(time.Minute)
		if s := p.ends[0].sessions[id]; s == nil || !s.up || s.down {
			continue // lost
		}
		for i, e := range p.ends {
			s := e.sessions[e.order[0]]
			knows := s.theirs.Status
			if s.status != nil {
				knows = *s.status
			}
			if knows != changes[1-i] {
				t.Errorf("seed %d: %s believes that the other's circuit has status %d, it has %d", seed, e.name, knows, changes[1-i])
			}
		}
	}
}

// A peer that knows L2TPv2 only does not answer what is of L2TPv3, and is answered in its
// own version by who has both.
func TestV3ToL2TPv2(t *testing.T) {
	p := newPair(t, 1, ofV3("", nil), Config{})
	p.run(5 * time.Minute)
	if p.ends[0].up || p.ends[1].up || !isTimeout(p.ends[0].err) {
		t.Errorf("%+v and %+v", p.ends[0], p.ends[1])
	}
	if took := p.ends[0].downAt.Sub(p.start); took != 71*time.Second {
		t.Errorf("given up after %v, expected 71 s (10 retries)", took)
	}
}
