package control

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

// A pair is two machines with a link between them, in virtual time:
//
//	        loss, duplication, delay (and so reordering)
//	ends[0] ───────────────────────────────────────────► ends[1]
//	 Dial   ◄───────────────────────────────────────────  Answer
//
// Whatever they do, the pair checks that it is something that a machine may do.
type pair struct {
	*testing.T
	rng        *rand.Rand
	start, now time.Time
	ends       [2]*end
	transit    transit
	sequence   int
	steps      int

	loss, duplication float64
	delay             time.Duration // up to
	cut               time.Time     // nothing arrives any more; zero: never

	tap    func(from *end, avps []byte) // sees every message, not ZLBs; may be nil
	byHand bool                         // calls are not accepted, and packets may be anybody's
}

// An end is a machine of a pair, with what it has told.
type end struct {
	name     string
	m        *Tunnel
	up       bool
	upAt     time.Time
	down     bool
	downAt   time.Time
	err      error
	gone     bool
	sessions map[uint32]*told
	order    []uint32 // of sessions
}

// told is what an end has told about a session.
type told struct {
	begun    time.Time // when ICRQ was first sent, or rang
	up, down bool
	lac      bool
	peer     uint32
	ours     *Pseudowire
	theirs   *Pseudowire
	status   *uint16
	settled  time.Time // of the first of SessionUp and SessionDown
	err      error
}

type delivery struct {
	at       time.Time
	sequence int
	to       int
	packet   []byte
}

type transit []delivery

func (h transit) Len() int { return len(h) }
func (h transit) Less(i, j int) bool {
	return h[i].at.Before(h[j].at) || h[i].at.Equal(h[j].at) && h[i].sequence < h[j].sequence
}
func (h transit) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *transit) Push(x any)   { *h = append(*h, x.(delivery)) }
func (h *transit) Pop() any {
	old := *h
	d := old[len(old)-1]
	*h = old[:len(old)-1]
	return d
}

func newPair(t *testing.T, seed uint64, dialler, answerer Config) *pair {
	p := &pair{T: t, rng: rand.New(rand.NewPCG(seed, 0)), start: time.Unix(1e9, 0)}
	p.now = p.start
	source := func(i uint64) *rand.ChaCha8 {
		var key [32]byte
		key[0], key[1], key[2], key[3] = byte(seed), byte(seed>>8), byte(seed>>16), byte(i)
		return rand.NewChaCha8(key)
	}
	dialler.Rand, dialler.LocalID = source(0), 100
	answerer.Rand, answerer.LocalID = source(1), 200
	p.ends[0] = &end{name: "the dialler", m: Dial(p.now, dialler), sessions: make(map[uint32]*told)}
	p.ends[1] = &end{name: "the answerer", m: Answer(p.now, answerer), sessions: make(map[uint32]*told)}
	return p
}

// run lets time pass.
func (p *pair) run(d time.Duration) {
	p.Helper()
	end := p.now.Add(d)
	p.drain()
	for {
		next := end
		for _, e := range p.ends {
			if at := e.m.Deadline(); !at.IsZero() && at.Before(next) {
				next = at
			}
		}
		if next.Before(p.now) {
			p.Fatalf("a deadline %v ago", p.now.Sub(next))
		}
		if len(p.transit) > 0 && p.transit[0].at.Before(next) {
			next = p.transit[0].at
		}
		if next.Before(p.now) { // what time was let pass by hand
			next = p.now
		}
		p.now = next
		for len(p.transit) > 0 && !p.transit[0].at.After(p.now) {
			d := heap.Pop(&p.transit).(delivery)
			if p.cut.IsZero() || p.now.Before(p.cut) {
				p.ends[d.to].m.Handle(p.now, d.packet)
				clear(d.packet) // it was valid during the call only
				p.drain()
			}
		}
		for _, e := range p.ends {
			if at := e.m.Deadline(); !at.IsZero() && !at.After(p.now) {
				e.m.Expire(p.now)
				p.drain()
			}
		}
		if p.now.Equal(end) {
			return
		}
		if p.steps++; p.steps > 100000 {
			p.Fatalf("no end: 100,000 steps in %v", p.now.Sub(p.start))
		}
	}
}

// do has an end's command called.
func (p *pair) do(e *end, command func(m *Tunnel)) {
	command(e.m)
	p.drain()
}

// call has an end call the other.
func (p *pair) call(e *end) (session uint32) {
	session = e.m.Call(p.now, CallConfig{Pseudowire: p.circuit()})
	e.begin(session).begun = p.now
	p.drain()
	return session
}

// place has an end ask the other to place a call.
func (p *pair) place(e *end) (session uint32) {
	session = e.m.PlaceCall(p.now, OutgoingCall{CalledNumber: "123", Pseudowire: p.circuit()})
	e.begin(session).begun = p.now
	p.drain()
	return session
}

// begin notes a session that an end has begun. A call that was refused at once leaves
// its id to any other.
func (e *end) begin(session uint32) *told {
	if s := e.sessions[session]; s != nil && s.down {
		delete(e.sessions, session)
	}
	return e.note(session)
}

func (e *end) note(session uint32) *told {
	s := e.sessions[session]
	if s == nil {
		s = new(told)
		e.sessions[session] = s
		e.order = append(e.order, session)
	}
	return s
}

func (p *pair) drain() {
	for again := true; again; {
		again = false
		for i, e := range p.ends {
			for {
				packet, event, ok := e.m.Next()
				if !ok {
					break
				}
				again = true
				if refused, _ := event.(SessionDown); e.gone && refused.Err != ErrTunnelClosed {
					p.Fatalf("%s did something after Gone: %x %v", e.name, packet, event)
				}
				if event != nil {
					p.event(e, event)
				} else {
					p.send(e, 1-i, packet)
				}
			}
			if e.gone && !e.m.Deadline().IsZero() {
				p.Fatalf("%s has a deadline after Gone", e.name)
			}
		}
	}
}

func (p *pair) send(e *end, to int, packet []byte) {
	h, avps, err := wire.ParseHeader(packet)
	if v, _ := wire.Version(packet); v == 3 {
		h, avps, err = wire.ParseV3Control(packet)
	}
	if err != nil {
		p.Fatalf("%s sent %x: %v", e.name, packet, err)
	}
	if other := p.ends[to].m.cfg.LocalID; h.TunnelID != other && h.TunnelID != 0 && !p.byHand {
		p.Fatalf("%s sent to tunnel %d, expected %d", e.name, h.TunnelID, other)
	}
	if len(avps) > 0 {
		m, err := e.m.parse(avps)
		if err != nil {
			p.Fatalf("%s sent %x: %v", e.name, packet, err)
		}
		if p.tap != nil {
			p.tap(e, avps)
		}
		if s := e.sessions[m.AssignedSessionID]; (m.Type == wire.ICRQ || m.Type == wire.OCRQ) && s.begun.Before(e.upAt) {
			s.begun = e.upAt // the call waited for the tunnel
		}
	}
	for copies := 0; copies == 0 || p.rng.Float64() < p.duplication; copies++ {
		if p.rng.Float64() < p.loss {
			continue
		}
		delay := time.Millisecond
		if p.delay > 0 {
			delay += time.Duration(p.rng.Int64N(int64(p.delay)))
		}
		p.sequence++
		heap.Push(&p.transit, delivery{p.now.Add(delay), p.sequence, to, append([]byte(nil), packet...)})
	}
}

// event checks the order in which things are told, and answers questions.
func (p *pair) event(e *end, event Event) {
	wrong := func() { p.Fatalf("%s told %s; told before: %+v", e.name, describe(event), e) }
	switch ev := event.(type) {
	case TunnelUp:
		if e.up || e.down {
			wrong()
		}
		e.up, e.upAt = true, p.now
	case TunnelDown:
		for _, s := range e.sessions {
			if !s.down {
				wrong()
			}
		}
		if e.down {
			wrong()
		}
		e.down, e.downAt, e.err = true, p.now, ev.Err
	case Gone:
		if !e.down || e.gone {
			wrong()
		}
		e.gone = true
	case IncomingCall:
		p.rings(e, ev.Session, wrong)
		if !p.byHand {
			e.accept(p.now, ev.Session)
		}
	case OutgoingCallRequest:
		p.rings(e, ev.Session, wrong)
		if !p.byHand {
			e.acceptOutgoing(p.now, ev.Session)
		}
	case CircuitStatus:
		e.sessions[ev.Session].status = &ev.Status
	case WANError, LinkInfo, PeerRestarted:
		if !p.byHand {
			wrong()
		}
	case SessionUp:
		s := e.sessions[ev.Session]
		if s == nil || s.up || s.down || !e.up || e.down {
			wrong()
		}
		if v3 := e.m.version == 3; v3 != (ev.Ours != nil) || v3 != (ev.Theirs != nil) {
			wrong()
		}
		s.ours, s.theirs = ev.Ours, ev.Theirs
		s.up, s.lac, s.peer, s.settled = true, ev.LAC, ev.PeerSession, p.now
	case SessionDown:
		s := e.note(ev.Session)
		if s.down {
			wrong()
		}
		s.down, s.err = true, ev.Err
		if !s.up {
			s.settled = p.now
		}
	default:
		wrong()
	}
}

// circuit is what an end tells of another circuit each time.
func (p *pair) circuit() *Pseudowire {
	c := aPseudowire()
	c.RemoteEndID = fmt.Append(nil, p.sequence)
	p.sequence++
	return c
}

// aPseudowire is what either end tells of a session, in a tunnel of L2TPv3.
func aPseudowire() *Pseudowire {
	return &Pseudowire{Type: 5, RemoteEndID: []byte("end"), Cookie: []byte("cookie 8"), Status: wire.CircuitActive}
}

func (e *end) accept(now time.Time, session uint32) {
	if e.m.version == 3 {
		e.m.AcceptPseudowire(now, session, *aPseudowire())
	} else {
		e.m.AcceptCall(now, session)
	}
}

func (e *end) acceptOutgoing(now time.Time, session uint32) {
	if e.m.version == 3 {
		e.m.AcceptPseudowire(now, session, *aPseudowire())
	} else {
		e.m.AcceptOutgoing(now, session)
	}
}

// rings notes a session that the other end has begun.
func (p *pair) rings(e *end, session uint32, wrong func()) {
	if s := e.sessions[session]; s != nil && !s.down || !e.up || e.down {
		wrong()
	}
	delete(e.sessions, session)
	e.note(session).begun = p.now
}

// standing is the sessions that an end believes to be established, as
// "dialler's id/answerer's id".
func (p *pair) standing(i int) map[string]bool {
	found := make(map[string]bool)
	for id, s := range p.ends[i].sessions {
		if s.up && !s.down {
			if i == 0 {
				found[fmt.Sprintf("%d/%d", id, s.peer)] = true
			} else {
				found[fmt.Sprintf("%d/%d", s.peer, id)] = true
			}
		}
	}
	return found
}
