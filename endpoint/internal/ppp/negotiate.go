package ppp

import (
	"bytes"
	"fmt"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/machine"
)

// Codes of LCP and of the NCPs (RFC 1661 §5, RFC 1570 §2). An NCP has the
// first seven.
const (
	configureRequest = 1
	configureAck     = 2
	configureNak     = 3
	configureReject  = 4
	terminateRequest = 5
	terminateAck     = 6
	codeReject       = 7
	protocolReject   = 8
	echoRequest      = 9
	echoReply        = 10
	discardRequest   = 11
	identification   = 12
	timeRemaining    = 13
)

// A layer is what an automaton negotiates about and for: LCP, an NCP or CCP.
type layer interface {
	// request is the options of a Configure-Request, as we want them now.
	request() []option
	// review judges an option of the peer's Configure-Request. A Nak comes
	// with the option as we would take it. An error is fatal to the layer.
	review(o option) (verdict, option, error)
	// prompt is the options that the peer should have listed and has not: they
	// are appended to a Configure-Nak.
	prompt(listed func(kind uint8) bool) []option
	// granted puts the peer's options in force: all of those that we acknowledge.
	granted(list []option)
	// naked and rejected take what the peer says about the options of our
	// request. An error is fatal to the layer.
	naked(list []option) error
	rejected(list []option) error

	up(now time.Time)       // This-Layer-Up
	down(now time.Time)     // This-Layer-Down
	finished(now time.Time) // This-Layer-Finished

	// terminated is the error of a layer that ends by the peer's Terminate-Request.
	terminated(reason string) error
	// blame notes why the layer is going to end. giveUp ends it.
	blame(err error)
	giveUp(now time.Time, err error)
}

// A verdict is the reply that an option of the peer's deserves.
type verdict uint8

const (
	ack verdict = iota
	nak
	reject
)

// An automaton is one option negotiation automaton (RFC 1661 §4): what
// it remembers between events, and what its actions do.
type automaton struct {
	link     *Link
	layer    layer
	protocol uint16
	tries    int // its Max-Configure

	state    state
	timer    time.Time // the restart timer; zero: stopped
	restart  int       // the restart counter
	repeats  int       // how often what the timer is for has been sent again
	failures int       // Configure-Naks since our last Configure-Ack: Max-Failure is for these
	requests int       // Configure-Requests since the link was last up
	id       uint8     // the last identifier that we chose, for any packet
	parting  error     // of the peer's last Terminate-Request
	leave    time.Time // when one that came before we were opened is taken for the end; zero: none

	inForce packet    // the peer's request that we acknowledged last
	ackedAt time.Time // and when

	outstanding bool   // the request below has had no valid reply
	requestID   uint8  // of the last Configure-Request
	requested   []byte // its options

	in *handled // the packet that is being handled, else &nothing
}

// handled is a packet of the peer's, for the actions that reply to it.
type handled struct {
	packet          // borrowed
	answer packet   // scn: what that gives
	wishes []option // sca: the peer's options
}

// nothing is the packet of an automaton that handles none. It is everybody's, and
// never written to.
var nothing handled

// name is the protocol's, for errors.
func (a *automaton) name() string {
	switch a.protocol {
	case protocolLCP:
		return "LCP"
	case protocolCCP:
		return "CCP"
	case protocolIPCP:
		return "IPCP"
	case protocolIPV6CP:
		return "IPV6CP"
	}
	panic(fmt.Sprintf("BUG: ppp: an automaton of protocol 0x%04x", a.protocol))
}

// maxRequests is how many Configure-Requests, in multiples of Max-Configure, an
// automaton sends on the way to the network phase. The restart counter alone is
// no bound: every Configure-Nak, and every Configure-Ack beside unacceptable
// requests, starts it anew (RFC 1661 §4.5: loop avoidance).
const maxRequests = 3

// event takes a transition.
func (a *automaton) event(now time.Time, e trigger) {
	t := next(e, a.state)
	if t == no {
		panic(fmt.Sprintf("BUG: ppp: %s: event %v in state %v", a.name(), e, a.state))
	}
	if t&scr != 0 && a.requests == maxRequests*a.link.cfg.MaxConfigure {
		a.layer.giveUp(now, &NegotiationError{Protocol: a.name(),
			Reason: fmt.Sprintf("no agreement after %d Configure-Requests", a.requests)})
		return
	}
	a.setState(t.state())
	if t&tld != 0 {
		a.layer.down(now)
	}
	if t&irc != 0 {
		a.restart, a.repeats = a.tries, 0
		if t&str != 0 {
			a.restart = a.link.cfg.MaxTerminate
		}
	}
	if t&zrc != 0 {
		a.restart = 0
		a.timer = now.Add(a.link.cfg.Restart)
	}
	if t&scr != 0 {
		a.sendRequest(now)
	}
	if t&sca != 0 {
		a.failures = 0
		a.layer.granted(a.in.wishes)
		a.inForce, a.ackedAt = packet{a.in.code, a.in.id, bytes.Clone(a.in.data)}, now
		a.send(packet{configureAck, a.in.id, a.in.data})
	}
	if t&scn != 0 {
		if a.in.answer.code == configureNak {
			a.failures++
		}
		a.send(a.in.answer)
	}
	if t&str != 0 {
		a.startTimer(now)
		a.id++
		a.send(packet{terminateRequest, a.id, []byte(a.link.farewell)})
	}
	if t&sta != 0 {
		a.send(packet{terminateAck, a.in.id, nil})
	}
	if t&scj != 0 {
		a.id++
		a.send(packet{codeReject, a.id, a.link.cut(a.in.appendTo(nil), 0)})
	}
	if t&ser != 0 {
		a.link.lcp.sendEchoReply(a.in.packet) // only LCP has this event
	}
	if t&tlu != 0 {
		a.layer.up(now)
	}
	if t&tlf != 0 {
		a.layer.finished(now)
	}
	// tls: the lower layer of a Link is up for as long as its owner has it.
}

func (a *automaton) setState(s state) {
	a.state = s
	if !s.timed() {
		a.timer = time.Time{}
	}
	if s < reqSent || s == opened {
		a.leave = time.Time{}
	}
	if s < reqSent {
		a.outstanding = false
	}
	if s <= starting {
		a.parting = nil
	}
}

// expire is the Timeout event.
func (a *automaton) expire(now time.Time) {
	leaves := past(now, a.leave)
	switch {
	case !leaves && !past(now, a.timer):
		return
	case !leaves && a.restart > 0:
		a.event(now, evTOgood)
		return
	case a.parting != nil:
		a.layer.blame(a.parting)
	case a.state >= reqSent:
		err := &TimeoutError{Waited: a.name() + " Configure-Request", Tries: a.tries}
		if a.protocol != protocolLCP {
			// The peer may take the protocol for opened, if it was our Ack that was
			// lost; so it is told, while LCP lives.
			a.layer.giveUp(now, err)
			return
		}
		a.layer.blame(err)
	}
	a.event(now, evTObad)
}

func (a *automaton) deadline() time.Time { return machine.Earliest(a.timer, a.leave) }

func past(now, deadline time.Time) bool { return !deadline.IsZero() && !now.Before(deadline) }

// receive takes a packet of the codes that all automatons have; others are
// unknown. The layer's own codes have been dealt with.
func (a *automaton) receive(now time.Time, p packet) {
	if a.state < closed {
		return // the lower layer is down
	}
	a.in = &handled{packet: p}
	switch p.code {
	case configureRequest:
		a.receiveRequest(now, p)
	case configureAck:
		// "The Identifier field MUST match that of the last transmitted
		// Configure-Request. Additionally, the Configuration Options in a
		// Configure-Ack MUST exactly match" (RFC 1661 §5.2).
		if a.outstanding && p.id == a.requestID && bytes.Equal(p.data, a.requested) {
			a.outstanding = false
			a.event(now, evRCA)
			if a.state == ackRcvd {
				// The peer has had ours and is slow with its own: to ask anew, by
				// another request, would be the sooner the more often.
				a.timer = now.Add(a.link.cfg.Restart)
			}
		}
	case configureNak, configureReject:
		a.receiveRefusal(now, p)
	case terminateRequest:
		a.parting = a.layer.terminated(string(p.data))
		if a.state >= reqSent && a.state < opened {
			a.leave = now.Add(a.link.cfg.Restart)
		}
		a.event(now, evRTR)
	case terminateAck:
		a.event(now, evRTA)
	case codeReject:
		a.receiveCodeReject(now, p)
	default:
		a.event(now, evRUC)
	}
	a.in = &nothing
}

// receiveRequest takes a Configure-Request. In the Opened state one that repeats
// what is in force gets the same Ack, and nothing else happens: see the package's
// comment.
func (a *automaton) receiveRequest(now time.Time, p packet) {
	if a.state == opened && p.id == a.inForce.id && bytes.Equal(p.data, a.inForce.data) &&
		(a.protocol != protocolLCP || now.Before(a.ackedAt.Add(a.link.cfg.Restart))) {
		a.send(packet{configureAck, p.id, p.data})
		return
	}
	list, ok := parseOptions(p.data)
	if !ok {
		return
	}
	answer, err := a.judge(list)
	if err != nil {
		a.layer.giveUp(now, err)
		return
	}
	if a.state >= reqSent {
		a.parting, a.leave = nil, time.Time{} // the peer starts again
	}
	a.in.answer, a.in.wishes = answer, list
	if answer.code == configureAck {
		a.event(now, evRCRgood)
	} else {
		a.event(now, evRCRbad)
	}
}

// kinds are a set of options' types.
type kinds [256 / 64]uint64

func (k *kinds) add(kind uint8)      { k[kind/64] |= 1 << (kind % 64) }
func (k *kinds) has(kind uint8) bool { return k[kind/64]&(1<<(kind%64)) != 0 }

// judge is the reply to the peer's options. "None of the Configuration Options
// in this specification can be listed more than once" (RFC 1661 §6): the
// second is rejected, which also keeps a Nak from growing beyond the MRU.
func (a *automaton) judge(list []option) (packet, error) {
	var naks, rejects []byte
	var seen kinds
	patient := a.failures < a.link.cfg.MaxFailure
	for _, o := range list {
		v, want, err := a.layer.review(o)
		switch {
		case err != nil:
			return packet{}, err
		case seen.has(o.kind) || v == reject || v == nak && !patient:
			// "Any further Configure-Nak packets for peer requested options are
			// converted to Configure-Reject packets" (RFC 1661 §4.6).
			rejects = o.appendTo(rejects)
		case v == nak:
			naks = want.appendTo(naks)
		}
		seen.add(o.kind)
	}
	if patient { // "… and locally desired options are no longer appended."
		for _, o := range a.layer.prompt(seen.has) {
			naks = o.appendTo(naks)
		}
	}
	switch {
	case rejects != nil: // never in one reply with Naks, and first
		return packet{configureReject, a.in.id, rejects}, nil
	case naks != nil:
		return packet{configureNak, a.in.id, naks}, nil
	}
	return packet{code: configureAck}, nil
}

// receiveRefusal takes a Configure-Nak or Configure-Reject. An empty one says
// nothing and is invalid: answered, it would make us repeat ourselves as fast
// as the peer can send.
func (a *automaton) receiveRefusal(now time.Time, p packet) {
	if !a.outstanding || p.id != a.requestID {
		return
	}
	list, ok := parseOptions(p.data)
	if !ok || len(list) == 0 {
		return
	}
	refuse := a.layer.naked
	if p.code == configureReject {
		// "The Configuration Options in a Configure-Reject MUST be a proper
		// subset of those in the last transmitted Configure-Request" (RFC 1661 §5.4).
		if !a.allRequested(list) {
			return
		}
		refuse = a.layer.rejected
	}
	a.outstanding = false
	if err := refuse(list); err != nil {
		a.layer.giveUp(now, err)
		return
	}
	a.event(now, evRCN)
}

func (a *automaton) allRequested(list []option) bool {
	ours, _ := parseOptions(a.requested)
	for _, o := range list {
		found := false
		for _, r := range ours {
			found = found || o.kind == r.kind && bytes.Equal(o.data, r.data)
		}
		if !found {
			return false
		}
	}
	return true
}

// receiveCodeReject takes the rejection of a code of ours. The first seven are
// fundamental to every automaton.
func (a *automaton) receiveCodeReject(now time.Time, p packet) {
	if len(p.data) == 0 {
		return
	}
	code := p.data[0]
	if code >= configureRequest && code <= codeReject {
		a.layer.blame(&NegotiationError{Protocol: a.name(), Reason: fmt.Sprintf("the peer rejects packets of code %d", code)})
		a.event(now, evRXJbad)
		return
	}
	if code == echoRequest && a.protocol == protocolLCP {
		a.link.lcp.stopEcho()
	}
	a.event(now, evRXJgood)
}

// protocolRejected takes the Protocol-Reject of the automaton's protocol.
func (a *automaton) protocolRejected(now time.Time) {
	a.layer.blame(&NegotiationError{Protocol: a.name(), Reason: "the peer rejects the protocol"})
	a.event(now, evRXJbad)
}

// sendRequest sends a Configure-Request, or the last one again. "The Identifier
// field MUST be changed whenever the contents of the Options field changes, and
// whenever a valid reply has been received for a previous request. For
// retransmissions, the Identifier MAY remain unchanged" (RFC 1661 §5.1): a reply
// to the first that comes late still counts. What we want changes only by
// valid replies.
func (a *automaton) sendRequest(now time.Time) {
	a.requests++
	if !a.outstanding {
		a.repeats = 0
		a.id++
		a.outstanding, a.requestID = true, a.id
		a.requested = nil
		for _, o := range a.layer.request() {
			a.requested = o.appendTo(a.requested)
		}
	}
	a.startTimer(now)
	a.send(packet{configureRequest, a.requestID, a.requested})
}

// startTimer counts a request, and starts the restart timer for it.
func (a *automaton) startTimer(now time.Time) {
	a.timer = now.Add(a.link.cfg.restart(a.repeats))
	a.restart--
	a.repeats++
}

// sentAt is when it was started.
func (a *automaton) sentAt() time.Time { return a.timer.Add(-a.link.cfg.restart(a.repeats - 1)) }

func (a *automaton) send(p packet) { a.link.send(a.protocol, p) }
