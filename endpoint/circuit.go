package endpoint

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

// A CircuitStatus is what an end of a session of L2TPv3 that is negotiated tells of its
// circuit: a mask of the constants (Circuit Status AVP, RFC 3931 §5.4.5, RFC 5641 §2).
type CircuitStatus uint16

const (
	CircuitActive     CircuitStatus = wire.CircuitActive     // no faults
	CircuitRxFault    CircuitStatus = wire.CircuitRxFault    // of the circuit, in the direction to that end
	CircuitTxFault    CircuitStatus = wire.CircuitTxFault    // of the circuit, from that end
	CircuitPSNRxFault CircuitStatus = wire.CircuitPSNRxFault // of the pseudowire, in the direction to that end
	CircuitPSNTxFault CircuitStatus = wire.CircuitPSNTxFault // of the pseudowire, from that end
	CircuitStandby    CircuitStatus = wire.CircuitStandby
)

// Usable tells whether frames may be sent to that end: it is active, and not in standby,
// in which "User traffic MUST NOT be transmitted" (RFC 5641 §2).
func (c CircuitStatus) Usable() bool { return c&(CircuitActive|CircuitStandby) == CircuitActive }

var circuitFaults = []struct {
	bit  CircuitStatus
	word string
}{
	{CircuitRxFault, "fault in receiving"}, {CircuitTxFault, "fault in sending"},
	{CircuitPSNRxFault, "fault of the pseudowire in receiving"}, {CircuitPSNTxFault, "fault of the pseudowire in sending"},
	{CircuitStandby, "standby"},
}

// String is for people: "active", "inactive, fault in receiving".
func (c CircuitStatus) String() string {
	words := "inactive"
	if c&CircuitActive != 0 {
		words = "active"
	}
	for _, f := range circuitFaults {
		if c&f.bit != 0 {
			words += ", " + f.word
		}
	}
	return words
}

// A CircuitSetter is a [link.Sink] that wants to know the Circuit Status of the peer of the
// session that it is attached to. SetPeerCircuit gets it after [Session.Attach] and
// whenever it changes; never of a session that is not negotiated. It must not wait for the
// session or its tunnel.
type CircuitSetter interface{ SetPeerCircuit(CircuitStatus) }

// SetCircuit tells the peer of a session of L2TPv3 that is negotiated whether our circuit
// is active, as it is in the beginning (Circuit Status AVP, RFC 3931 §5.4.5): the peer
// sends nothing as long as it is not. PPP that ends in the session waits meanwhile, at an
// end of ours, and is as it was when both circuits are active again. The peers of other
// sessions cannot be told.
func (s *Session) SetCircuit(active bool) {
	c := s.circuit
	if c == nil {
		return
	}
	status := CircuitStatus(0)
	if active {
		status = CircuitActive
	}
	s.mu.Lock()
	same := c.status == status
	c.status = status
	s.mu.Unlock()
	if !same {
		s.showCircuit()
	}
}

// showCircuit has the peer told of our circuit as it is by then, whoever has set it last.
func (s *Session) showCircuit() {
	s.tunnel.runner.Do(func(now time.Time) {
		s.mu.Lock()
		status := s.circuit.status
		s.mu.Unlock()
		s.tunnel.machine.SetStatus(now, s.id, uint16(status))
		if s.ppp != nil {
			s.tunnel.loop.Do(s.ppp.hold) // what it sends comes after that, or it would not be answered
		}
	})
}

// heedCircuit takes what the peer tells of its circuit. On the loop.
//
// RFC 3931 §5.4.5: when it is not active, "all data traffic for that session MUST cease
// (or not begin) in the direction of the sender of the Circuit Status AVP until the
// circuit is advertised as active". RFC 5641 §2, of standby: "User traffic MUST NOT be
// transmitted", whether it is active or not.
func (s *Session) heedCircuit(now time.Time, status CircuitStatus) {
	c := s.circuit
	if c == nil {
		return
	}
	was := CircuitStatus(c.peerStatus.Swap(uint32(status)))
	mute := !status.Usable()
	if s.mute.Swap(mute) != mute || was != status {
		s.log.Log(s.tunnel.ep.ctx, c.change.level(slog.LevelInfo), "the peer's circuit", "status", status.String())
		s.tellCircuit()
	}
	if s.ppp != nil {
		s.ppp.hold(now)
	}
	if p := s.partner.Load(); p != nil {
		s.passCircuit(p)
	}
}

// hold has PPP's clock stand still as long as the circuit of either end is inactive, since
// one of the two may not say anything then: nothing is asked for in vain, and the session
// is still there when both are active again. A peer that is gone meanwhile is the control
// connection's to find out. Only the end of PPP does not wait. On the loop.
func (p *pppEnd) hold(now time.Time) {
	s := p.session
	s.mu.Lock()
	ours := s.circuit.status
	s.mu.Unlock()
	switch inactive := s.mute.Load() || !ours.Usable(); {
	case inactive && !p.link.Ending():
		p.runner.Hold(now)
		if s.answer && !s.complete() && s.circuit.beginning == nil {
			s.circuit.beginning = time.AfterFunc(inactiveMost, func() { s.tunnel.loop.Do(p.endBeginning) })
		}
	case p.runner.Held():
		p.runner.Resume(now)
		p.runner.DoNow(now, p.link.Resumed)
	}
}

// inactiveMost is how long a caller may take for PPP to come up whose circuit has been
// inactive on the way: whoever has not said yet who it is does not get a session for ever.
// Who calls has a context for that.
const inactiveMost = 10 * time.Minute

// endBeginning hangs up on such a caller. RFC 3931 §5.4.2: "1 - Session disconnected due to
// loss of carrier or circuit disconnect". On the loop.
func (p *pppEnd) endBeginning(time.Time) {
	if s := p.session; !s.complete() && !s.hungUp {
		s.setErr(fmt.Errorf("PPP has not come up within %v, in which the peer's circuit was inactive", inactiveMost))
		s.hangup(wire.Result{Code: wire.CallLostCarrier})
	}
}

// tellCircuit tells the attached sink of the peer's circuit, if it wants to know. On the
// loop.
func (s *Session) tellCircuit() {
	sink := s.sink.Load()
	if sink == nil || s.circuit == nil {
		return
	}
	if setter, ok := (*sink).(CircuitSetter); ok {
		setter.SetPeerCircuit(CircuitStatus(s.circuit.peerStatus.Load()))
	}
}

// PeerCircuit is what the peer tells of its circuit; ok tells whether it tells of one: the
// session is negotiated by L2TPv3.
func (s *Session) PeerCircuit() (status CircuitStatus, ok bool) {
	if s.circuit == nil {
		return 0, false
	}
	return CircuitStatus(s.circuit.peerStatus.Load()), true
}
