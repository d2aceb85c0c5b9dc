package ppp

import (
	"encoding/binary"
	"fmt"
	"time"
)

// LCP options (RFC 1661 §6, RFC 1662 §7.1).
const (
	lcpMRU   = 1
	lcpACCM  = 2
	lcpAuth  = 3
	lcpMagic = 5
	lcpPFC   = 7
	lcpACFC  = 8
)

const (
	// fullMRU is the MRU where none is negotiated, and what everybody "MUST
	// still be able to receive" (RFC 1661 §6.1).
	fullMRU = 1500
	// minMRU is what a peer may not go below: the datagram that every host
	// takes (RFC 791). Smaller ones make work and serve nobody.
	minMRU = 576
)

// lcp is the Link Control Protocol: its automaton, and what is negotiated.
type lcp struct {
	automaton

	// What we ask for.
	mru     int      // fullMRU, the default, is not asked for
	magic   uint32   // our Magic-Number; zero: not
	demands []Method // server: what the peer has not refused yet, best first
	met     bool     // the peer has negotiated

	// The peer's options in force.
	peerMRU int
	auth    Method // client: how we prove ourselves, by EAP's first; zero: not at all

	// A client's Naks of authentication methods: each further request gets
	// another suggestion, a repeated one (its Nak was lost) the same.
	demanded      string   // by the request that was Nak'd last; "" when one was acceptable, or the link was up without
	suggestions   []Method // the first one is what we suggest, the others we have not suggested yet
	suggestionFor int      // that request's identifier, or -1

	echo echo
}

func (l *lcp) init(link *Link) {
	l.automaton = automaton{link: link, layer: l, protocol: protocolLCP, in: &nothing, tries: link.cfg.MaxConfigure}
	l.mru = link.cfg.MRU
	l.magic = link.random32()
	l.peerMRU = fullMRU
	l.suggestionFor = -1
	if link.cfg.Server {
		l.demands = link.cfg.Methods
	}
}

func (l *lcp) request() (list []option) {
	if l.mru != fullMRU {
		list = append(list, uint16Option(lcpMRU, uint16(l.mru)))
	}
	if len(l.demands) > 0 {
		list = append(list, option{lcpAuth, l.demands[0].option()})
	}
	if l.magic != 0 {
		list = append(list, uint32Option(lcpMagic, l.magic))
	}
	return list
}

func (l *lcp) review(o option) (verdict, option, error) {
	switch o.kind {
	case lcpMRU:
		if len(o.data) != 2 || binary.BigEndian.Uint16(o.data) < minMRU {
			return nak, uint16Option(lcpMRU, fullMRU), nil
		}
		return ack, o, nil
	case lcpACCM: // for asynchronous lines: harmless here, and pppd always offers it
		if len(o.data) != 4 {
			return nak, uint32Option(lcpACCM, 0), nil
		}
		return ack, o, nil
	case lcpAuth:
		return l.reviewAuth(o)
	case lcpMagic:
		return l.reviewMagic(o)
	case lcpPFC, lcpACFC: // "… have no value fields (boolean options) MUST use the Configure-Reject"
		if len(o.data) == 0 {
			return ack, o, nil
		}
	}
	return reject, o, nil
}

// reviewAuth judges what the peer wants us to prove ourselves by.
func (l *lcp) reviewAuth(o option) (verdict, option, error) {
	methods := l.link.cfg.Methods
	if l.link.cfg.Server || l.link.cfg.Password == nil || len(methods) == 0 {
		return reject, o, nil
	}
	if byOption(methods, o.data) != 0 {
		return ack, o, nil
	}
	l.demanded = describeMethod(o.data)
	if l.suggestionFor >= 0 && l.suggestionFor != int(l.in.id) {
		l.suggestions = withoutOption(l.suggestions, l.suggestions[0].option())
	}
	if len(l.suggestions) == 0 {
		l.suggestions = methods
	}
	l.suggestionFor = int(l.in.id)
	return nak, option{lcpAuth, l.suggestions[0].option()}, nil
}

// reviewMagic detects a loop: "If the two Magic-Numbers are equal, then it is
// possible, but not certain, that the link is looped-back … To determine this,
// a Configure-Nak MUST be sent specifying a different Magic-Number value." "A
// Magic-Number of zero is illegal and MUST always be Nak'd" (RFC 1661 §6.4).
func (l *lcp) reviewMagic(o option) (verdict, option, error) {
	if len(o.data) == 4 {
		magic := binary.BigEndian.Uint32(o.data)
		if magic != 0 && magic != l.magic {
			return ack, o, nil
		}
		if magic != 0 && l.failures >= l.link.cfg.MaxFailure {
			return 0, o, &NegotiationError{Protocol: l.name(), Reason: "the line is looped back: the peer's Magic-Number is always ours"}
		}
	}
	return nak, uint32Option(lcpMagic, l.link.random32()), nil
}

func (l *lcp) prompt(func(uint8) bool) []option { return nil }

// granted puts the peer's options in force; "if a Configuration Option is not
// included in a Configure-Request packet, the default value for that
// Configuration Option is assumed" (RFC 1661 §6).
func (l *lcp) granted(list []option) {
	l.peerMRU, l.auth = fullMRU, 0
	l.suggestions, l.suggestionFor = nil, -1
	for _, o := range list {
		switch o.kind {
		case lcpMRU:
			l.peerMRU = int(binary.BigEndian.Uint16(o.data))
		case lcpAuth:
			l.auth = byOption(l.link.cfg.Methods, o.data)
			l.demanded = ""
		}
	}
}

func (l *lcp) naked(list []option) error {
	for _, o := range list {
		switch o.kind {
		case lcpMRU:
			if l.mru != fullMRU {
				l.mru = suggestedMRU(o.data)
			}
		case lcpMagic:
			if l.magic != 0 {
				l.magic = l.link.random32()
			}
		case lcpAuth:
			if err := l.refusedDemand(o.data); err != nil {
				return err
			}
		}
	}
	return nil
}

// suggestedMRU is the value of a Nak, or the default: we can take either.
func suggestedMRU(data []byte) int {
	if len(data) == 2 {
		if v := int(binary.BigEndian.Uint16(data)); v >= minMRU && v < fullMRU {
			return v
		}
	}
	return fullMRU
}

func (l *lcp) rejected(list []option) error {
	for _, o := range list {
		switch o.kind {
		case lcpMRU:
			l.mru = fullMRU
		case lcpMagic:
			l.magic = 0
		case lcpAuth:
			return &NegotiationError{Protocol: l.name(), Reason: "the peer refuses to authenticate itself"}
		}
	}
	return nil
}

// refusedDemand takes the Nak of a server's method: the peer's suggestion is
// next if it is one of ours, otherwise the next of ours (RFC 1661 §6.2). What was
// refused is not demanded again.
func (l *lcp) refusedDemand(suggested []byte) error {
	if len(l.demands) == 0 {
		return nil // a client: the peer asks to be asked
	}
	left := withoutOption(l.demands, l.demands[0].option())
	if m := byOption(left, suggested); m != 0 {
		left = append([]Method{m}, withoutOption(left, suggested)...)
	}
	if len(left) == 0 {
		return &NegotiationError{Protocol: l.name(), Reason: fmt.Sprintf(
			"the peer accepts no authentication that is allowed here, it suggests %s", describeMethod(suggested))}
	}
	l.demands = left
	return nil
}

func (l *lcp) up(now time.Time) {
	if l.link.cfg.Server || l.auth != 0 {
		l.link.setPhase(now, authenticate)
	} else {
		l.link.setPhase(now, network)
	}
}

func (l *lcp) down(now time.Time) {
	if l.state < reqSent {
		l.link.setPhase(now, terminate)
	} else {
		l.link.setPhase(now, establish)
	}
}

func (l *lcp) finished(now time.Time) { l.link.setPhase(now, dead) }

func (l *lcp) blame(err error)                 { l.link.blame(err) }
func (l *lcp) giveUp(now time.Time, err error) { l.link.fail(now, err) }

// terminated: "When the Failure is lost, and the authenticator terminates the
// link, the LCP Terminate-Request and Terminate-Ack provide an alternative
// indication that authentication failed" (RFC 1994 §4.1).
func (l *lcp) terminated(reason string) error {
	if x, ok := l.link.exchange.(claimant); ok && l.link.phase == authenticate && x.claimed() != 0 {
		return &AuthError{Method: x.claimed(), User: l.link.cfg.User,
			Reason: "the server terminates the link instead of an answer", Message: reason}
	}
	if x, ok := l.link.exchange.(*eapServer); ok && x.refusal != nil {
		return x.refusal // and the peer has not waited for us to say so again
	}
	return &TerminatedError{Reason: reason}
}

// lateAfter is what the answer to a Configure-Request may take on a long way.
const lateAfter = 100 * time.Millisecond

// meet sends our Configure-Request again when the peer's is the first that we
// hear of it and ours has had no answer: nobody was there to take it. xl2tpd starts
// its pppd when the call stands, which is after our request, and nothing would
// happen until the restart timer. The request goes ahead of our reply, while
// the peer cannot be in the Opened state, which would restart the negotiation:
// that takes an Ack of ours, and we have sent none. Where it was only slow, the
// second of the two is one more RCR+ in Req-Sent or Ack-Sent, which is
// acknowledged again, and the second Ack finds nothing outstanding.
func (l *lcp) meet(now time.Time, code uint8) {
	if l.met || code > terminateAck {
		return
	}
	l.met = true
	late := !now.Before(l.sentAt().Add(lateAfter))
	if code == configureRequest && l.outstanding && l.restart > 0 && late {
		l.sendRequest(now)
	}
}

// receivePacket takes an LCP packet.
func (l *lcp) receivePacket(now time.Time, p packet) {
	l.meet(now, p.code)
	switch p.code {
	case protocolReject:
		l.receiveProtocolReject(now, p)
	case echoRequest, echoReply, discardRequest:
		l.receiveEcho(now, p)
	case identification: // "… MAY be sent at any time, including before LCP has reached the Opened state" (RFC 1570 §1.1)
		if len(p.data) >= 4 {
			l.link.notice("LCP Identification", p.data[4:])
		}
	case timeRemaining: // RFC 1570 §1.2: of no use to anybody
	default:
		l.receive(now, p)
	}
}

// receiveProtocolReject stops the protocol that the peer does not want.
// "Protocol-Reject packets received in any state other than the LCP Opened
// state SHOULD be silently discarded" (RFC 1661 §5.7).
func (l *lcp) receiveProtocolReject(now time.Time, p packet) {
	if l.state != opened || len(p.data) < 2 {
		return
	}
	switch protocol := binary.BigEndian.Uint16(p.data); protocol {
	case protocolLCP:
		l.link.blame(&NegotiationError{Protocol: l.name(), Reason: "the peer rejects the protocol"})
		l.event(now, evRXJbad)
	default:
		l.event(now, evRXJgood)
		l.link.protocolRejected(now, protocol)
	}
}

// rejectProtocol answers a frame of a protocol that we do not know.
// "Protocol-Reject packets can only be sent in the LCP Opened state", which is
// when we are called, and "MUST be truncated to comply with the peer's
// established MRU" (RFC 1661 §5.7).
func (l *lcp) rejectProtocol(protocol uint16, information []byte) {
	l.id++
	data := binary.BigEndian.AppendUint16(nil, protocol)
	data = append(data, l.link.cut(information, len(data))...)
	l.send(packet{protocolReject, l.id, data})
}
