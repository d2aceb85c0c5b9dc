package ppp

import (
	"cmp"
	"time"
)

// An eapClient answers the Requests of a conversation. What is lost the server
// repeats: "Responses MUST only be sent in reply to a valid Request and never be
// retransmitted on a timer" (RFC 3748 §4.1). EAP-MSCHAPv2 has packets of the shape
// of CHAP's in its Type-Data, and two rounds: its Success is a Request too.
type eapClient struct {
	link    *Link
	methods []Method // that we agree to, best first

	under  bool    // a conversation is under way: there is something to conclude
	last   *packet // the last Response
	naked  eapType // the Type that we refused last
	method Method  // that we agreed to; zero: none yet
	digest digest
	proved bool   // the method is complete: what is to come is the Success
	words  string // of the server, in its Success Request or the last Notification
}

func (x *eapClient) protocol() uint16 { return protocolEAP }

func (x *eapClient) claimed() Method {
	if !x.under {
		return 0
	}
	return cmp.Or(x.method, x.methods[0])
}

func (x *eapClient) start(now time.Time) { x.link.wait = now.Add(x.link.cfg.AuthTimeout) }

// expire: when both sides have said that they are content, which is so when
// EAP-MSCHAPv2 is proved, "the peer MAY, in the event that an EAP Success is not
// received, conclude that the EAP Success packet was lost and that authentication
// concluded successfully" (RFC 3748 §4.2).
func (x *eapClient) expire(now time.Time) {
	if x.proved && x.method == EAPMSCHAPv2 {
		x.succeed(now)
		return
	}
	x.link.fail(now, &TimeoutError{Waited: "EAP Request", After: x.link.cfg.AuthTimeout})
}

func (x *eapClient) handle(now time.Time, p packet) {
	switch p.code {
	case eapRequest:
		x.receiveRequest(now, p)
	case eapSuccess, eapFailure:
		// "The Identifier field MUST match the Identifier field of the Response
		// packet that it is sent in response to" (RFC 3748 §4.2). pppd's is one more.
		if x.under && (p.id == x.last.id || p.id == x.last.id+1) {
			x.conclude(now, p)
		}
	}
}

// receiveRequest answers a Request, in the Network phase too: the server may have
// another look at us.
func (x *eapClient) receiveRequest(now time.Time, p packet) {
	if x.last != nil && p.id == x.last.id {
		// "If a peer receives a valid duplicate Request for which it has already
		// sent a Response, it MUST resend its original Response" (RFC 3748 §4.1).
		x.link.send(protocolEAP, *x.last)
		return
	}
	t, data, ok := parseEAP(p.data)
	switch {
	case !ok || t.is(eapNak):
	case t.is(eapNotification):
		x.words = string(data)
		x.link.notice("EAP Notification", data)
		x.respond(now, p.id, t)
	case x.method != 0:
		// "Once a peer has sent a Response of the same Type as the initial Request",
		// those of another one are invalid (RFC 3748 §2.1).
		if t.method(x.methods) == x.method {
			x.prove(now, p.id, t, data)
		}
	case t.is(eapIdentity):
		x.respond(now, p.id, t, []byte(cutTo(x.link.cfg.User, maxName))...)
	case t.method(x.methods) != 0:
		x.prove(now, p.id, t, data)
	default:
		x.refuse(now, p.id, t)
	}
}

// respond sends a Response.
func (x *eapClient) respond(now time.Time, id uint8, t eapType, data ...byte) {
	x.send(now, packet{eapResponse, id, append(t.appendTo(nil), data...)})
}

func (x *eapClient) send(now time.Time, p packet) {
	x.under, x.last = true, &p
	if x.link.phase == authenticate {
		x.link.wait = now.Add(x.link.cfg.AuthTimeout)
	}
	x.link.send(protocolEAP, p)
}

// refuse asks for another method. A server that asks for the same again, when
// it has been told what we agree to, has nothing that suits.
func (x *eapClient) refuse(now time.Time, id uint8, t eapType) {
	wanted := x.methods
	if t == x.naked {
		wanted = nil
	}
	x.naked = t
	if x.link.phase == authenticate {
		x.link.lcp.demanded = t.String()
	}
	x.send(now, packet{eapResponse, id, t.nak(wanted)})
}

// prove answers a Request of a method that we agree to.
func (x *eapClient) prove(now time.Time, id uint8, t eapType, data []byte) {
	m := t.method(x.methods)
	if m == EAPMD5 {
		if value, ok := x.answer(m, id, data); ok {
			x.proved = true
			x.respond(now, id, t, value...)
		}
		return
	}
	p, ok := parsePacket(data)
	switch {
	case !ok:
	case p.code == chapChallenge:
		if value, ok := x.answer(m, p.id, p.data); ok {
			x.proved = false
			x.respond(now, id, t, packet{chapResponse, p.id, value}.appendTo(nil)...)
		}
	case x.method == 0: // nothing has been asked yet
	case p.code == chapSuccess:
		if !x.digest.proves(p.data) {
			x.impostor(now)
			return
		}
		x.proved, x.words = true, string(p.data)
		x.respond(now, id, t, chapSuccess)
		if x.link.phase == authenticate {
			x.link.wait = now.Add(x.link.cfg.Restart)
		}
	case p.code == chapFailure:
		x.respond(now, id, t, chapFailure)
		reason, words := x.digest.explain(p.data)
		x.link.refused(now, m, reason, words)
	}
}

// answer is the Value and Name of a Response to a Challenge: from here on we
// have agreed to the method.
func (x *eapClient) answer(m Method, id uint8, data []byte) ([]byte, bool) {
	challenge, _, ok := parseValue(packet{data: data})
	if !ok {
		return nil, false
	}
	d := m.digest()
	value := d.respond(x.link, id, challenge)
	if value == nil {
		return nil, false
	}
	x.method, x.digest = m, d
	x.link.lcp.demanded = ""
	return appendValue(nil, value, x.link.cfg.User), true
}

// conclude takes the Success or Failure. A Success that comes before there is
// anything to conclude is silently discarded; so is a Failure "after success
// result indications have been exchanged by both sides" (RFC 3748 §4.2). But the
// Success of a server that we have given our proof, and which owes us its own,
// ends the link, as RFC 2759 §5 has it.
func (x *eapClient) conclude(now time.Time, p packet) {
	switch {
	case p.code == eapFailure && x.proved && x.method == EAPMSCHAPv2:
	case p.code == eapFailure:
		x.link.refused(now, x.claimed(), refusesProof, x.words)
	case x.proved:
		x.succeed(now)
	case x.method != 0:
		x.impostor(now)
	}
}

func (x *eapClient) impostor(now time.Time) {
	x.link.refuse(now, x.method, x.link.cfg.User, provesNothing)
}

func (x *eapClient) succeed(now time.Time) {
	m, d, words := x.method, x.digest, x.words
	x.under, x.proved, x.method, x.digest, x.naked, x.words = false, false, 0, nil, eapType{}, ""
	x.link.authenticated(now, m, d, x.link.cfg.User, words)
}

// implied takes a packet of a network control protocol for the Success. "Because
// the Success and Failure packets are not acknowledged, they are not retransmitted
// by the authenticator, and may be potentially lost. A peer MUST allow for this"
// (RFC 3748 §4.2). It counts for no more than the Success does.
func (x *eapClient) implied(now time.Time) {
	if x.proved {
		x.succeed(now)
	}
}
