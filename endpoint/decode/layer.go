package decode

import "fmt"

// Codes of LCP and the other protocols that negotiate options (RFC 1661 §5, RFC
// 1570 §2, RFC 1962 §4).
const (
	confReq = 1 + iota
	confAck
	confNak
	confRej
	termReq
	termAck
	codeRej
	protoRej
	echoReq
	echoRep
	discardReq
	identification
	timeRemaining
	resetReq
	resetAck
)

var codeNames = [...]string{
	confReq: "Conf-Req", confAck: "Conf-Ack", confNak: "Conf-Nak", confRej: "Conf-Rej",
	termReq: "Term-Req", termAck: "Term-Ack", codeRej: "Code-Rej", protoRej: "Protocol-Rej",
	echoReq: "Echo-Req", echoRep: "Echo-Reply", discardReq: "Discard-Req",
	identification: "Identification", timeRemaining: "Time-Remaining",
	resetReq: "Reset-Req", resetAck: "Reset-Ack",
}

func codeName(code uint8) string {
	if int(code) < len(codeNames) && code != 0 {
		return codeNames[code]
	}
	return fmt.Sprintf("code %d", code)
}

// A layerState is one of the option negotiation automaton (RFC 1661 §4.2). Of
// Initial, Starting and Closed an observer cannot tell which.
type layerState uint8

const (
	closed layerState = iota
	stopped
	closing
	stopping
	reqSent
	ackRcvd
	ackSent
	opened
)

func (s layerState) String() string {
	return [...]string{"closed", "stopped", "closing", "stopping", "req-sent", "ack-rcvd", "ack-sent", "opened"}[s]
}

// A sight is what an observer sees of an end's automaton.
type sight uint8

const (
	sendsReq sight = iota
	repeatsReq
	sendsAck
	sendsNak // or Conf-Rej
	sendsTermReq
	getsAck
	getsNak // or Conf-Rej
	getsTermReq
	getsTermAck
)

// sights is the table of RFC 1661 §4.1 as far as it can be seen. What an end
// sends tells which event it has had: Conf-Ack is RCR+, Conf-Nak or Conf-Rej
// RCR-, Term-Req Close, Conf-Req whatever has scr. An end that sends what its state
// does not allow has left that state, unseen.
//
// In opened an acknowledgement of a new request leads to ack-sent even if it
// comes before the end's own new request: scr and sca, or the other way round.
// A request that is repeated in opened says that the last Conf-Ack did not
// arrive; whether the table's tld and scr follow its repetition is seen then.
var sights = [...][8]layerState{
	//             closed    stopped   closing   stopping  req-sent ack-rcvd ack-sent opened
	sendsReq:     {reqSent, reqSent, reqSent, reqSent, reqSent, reqSent, ackSent, reqSent},
	repeatsReq:   {reqSent, reqSent, reqSent, reqSent, reqSent, reqSent, ackSent, ackSent},
	sendsAck:     {ackSent, ackSent, closing, stopping, ackSent, opened, ackSent, ackSent},
	sendsNak:     {reqSent, reqSent, closing, stopping, reqSent, ackRcvd, reqSent, reqSent},
	sendsTermReq: {closing, closing, closing, stopping, closing, closing, closing, closing},
	getsAck:      {closed, stopped, closing, stopping, ackRcvd, reqSent, opened, reqSent},
	getsNak:      {closed, stopped, closing, stopping, reqSent, reqSent, ackSent, reqSent},
	getsTermReq:  {closed, stopped, closing, stopping, reqSent, reqSent, reqSent, stopping},
	getsTermAck:  {closed, stopped, closed, stopped, reqSent, reqSent, ackSent, reqSent},
}

// A layer is a protocol that negotiates options, at both ends of a session.
type layer struct {
	protocol uint16
	end      [2]layerEnd
}

// A layerEnd is one end of a layer.
type layerEnd struct {
	state   layerState
	request uint64 // its last Conf-Req; 0: none was seen
	id      uint8  // of that
	waits   bool   // that has had no reply
	wishes  wishes // of that
	agreed  wishes // those that the other has acknowledged
	again   bool   // opened, it has acknowledged a repeated Conf-Req
}

// follow takes a packet from one end to the other, and gives the state that it
// leads to; false if it is none that changes a state. Equal packets have equal
// sums, which are not 0.
func (l *layer) follow(from int, p packet, sum uint64) (s layerState, ok bool) {
	e, peer := &l.end[from], &l.end[1-from]
	switch p.code {
	case confReq:
		if sum == e.request && (e.waits || e.state == opened) {
			e.see(repeatsReq)
			e.waits = true
			break
		}
		if e.again {
			e.state = ackSent
		}
		e.see(sendsReq)
		e.request, e.id, e.waits, e.again = sum, p.id, true, false
		e.wishes = readWishes(l.protocol, p.data)
	case confAck:
		if peer.request == 0 { // it was before the capture
			peer.see(sendsReq)
			peer.request, peer.id, peer.waits = sum, p.id, true
			peer.wishes = readWishes(l.protocol, p.data)
		}
		if e.state == opened && peer.state == ackSent {
			e.again = true
		} else if peer.waits {
			e.see(sendsAck)
		}
		if peer.waits && peer.id == p.id {
			peer.waits = false
			peer.agreed = peer.wishes
			peer.see(getsAck)
		}
	case confNak, confRej:
		e.see(sendsNak)
		if peer.waits && peer.id == p.id {
			peer.waits = false
			peer.see(getsNak)
		}
	case termReq:
		e.see(sendsTermReq)
		peer.see(getsTermReq)
	case termAck:
		peer.see(getsTermAck)
		return peer.state, true
	default:
		return e.state, false
	}
	return e.state, true
}

func (e *layerEnd) see(s sight) { e.state = sights[s][e.state] }
