package ppp

import (
	"cmp"
	"time"
)

// An eapServer asks one Request after the other, and repeats each until it is
// answered (RFC 3748 §4.1): Identity, the method's Challenge, and for EAP-MSCHAPv2
// the Success or Failure, which the client acknowledges.
type eapServer struct {
	link    *Link
	methods []Method // that the peer has not refused, best first

	step     eapStep
	request  packet // the last
	repeat   repetition
	identity string

	method    Method
	digest    digest
	challenge []byte

	asking  bool
	value   []byte
	user    string
	refusal *AuthError // eapRefusing: why
}

type eapStep uint8

const (
	eapIdentifying eapStep = iota
	eapChallenging
	eapProving // the client is to acknowledge our proof
	eapRefusing
	eapDone
)

func (x *eapServer) protocol() uint16 { return protocolEAP }

func (x *eapServer) start(now time.Time) {
	x.repeat.what = "EAP Request"
	x.ask(now, eapIdentifying, eapIdentity)
}

// ask sends the next Request. "The Identifier field MUST be the same if a Request
// packet is retransmitted … Any new (non-retransmission) Requests MUST modify the
// Identifier field" (RFC 3748 §4.1).
func (x *eapServer) ask(now time.Time, step eapStep, kind uint8, data ...byte) {
	x.step = step
	x.link.authID++
	x.request = packet{eapRequest, x.link.authID, append([]byte{kind}, data...)}
	x.repeat.tries = 0
	x.expire(now)
}

// expire repeats the Request. "The authenticator MUST NOT send a Success or Failure
// packet … when it fails to get a response from the peer" (RFC 3748 §2).
func (x *eapServer) expire(now time.Time) {
	switch {
	case x.asking:
		x.link.fail(now, &TimeoutError{Waited: "answer of the authenticator", After: x.link.cfg.AuthTimeout})
	case x.step == eapRefusing && x.repeat.tries == x.link.cfg.MaxTerminate:
		x.link.fail(now, x.refusal)
	case x.repeat.again(now, x.link):
		x.link.send(protocolEAP, x.request)
	}
}

// handle takes a Response to the outstanding Request. "An authenticator receiving a
// Response whose Identifier value does not match that of the currently outstanding
// Request MUST silently discard the Response" (RFC 3748 §4.1), and so one of
// another Type.
func (x *eapServer) handle(now time.Time, p packet) {
	if p.code != eapResponse || p.id != x.request.id {
		return
	}
	t, data, ok := parseEAP(p.data)
	if !ok {
		return
	}
	answers := t.is(x.request.data[0])
	switch x.step {
	case eapIdentifying:
		if answers && len(data) <= maxName {
			x.identity = string(data)
			x.propose(now)
		}
	case eapChallenging:
		switch {
		case x.asking:
		case t.is(eapNak) && !t.expanded:
			x.renegotiate(now, data)
		case answers:
			x.claim(now, data)
		}
	case eapProving:
		switch {
		case !answers || len(data) == 0:
		case data[0] == chapSuccess:
			x.succeed(now)
		case data[0] == chapFailure:
			x.refusal = &AuthError{Method: x.method, User: x.user, Reason: "the client does not believe that we know its password"}
			x.fail(now)
		}
	case eapRefusing:
		if answers {
			x.fail(now)
		}
	case eapDone: // the Success was lost: the same again
		x.link.send(protocolEAP, packet{eapSuccess, p.id, nil})
	}
}

// propose asks for the best method that is left.
func (x *eapServer) propose(now time.Time) {
	x.method = x.methods[0]
	x.digest = x.method.digest()
	x.challenge = x.link.random(x.digest.challengeLen())
	data := appendValue(nil, x.challenge, x.link.cfg.Name)
	if x.method == EAPMSCHAPv2 {
		// "Typically, the MS-CHAPv2-ID field is the same as the … Identifier".
		data = packet{chapChallenge, x.link.authID + 1, data}.appendTo(nil)
	}
	x.ask(now, eapChallenging, methods[x.method].eapType, data...)
}

// renegotiate takes a Nak: the Types that the peer would agree to.
func (x *eapServer) renegotiate(now time.Time, wanted []byte) {
	var left []Method
	for _, m := range x.methods {
		for _, kind := range wanted {
			if m != x.method && kind == methods[m].eapType {
				left = append(left, m)
				break
			}
		}
	}
	if x.methods = left; len(left) > 0 {
		x.propose(now)
		return
	}
	suggests := "none"
	if len(wanted) > 0 && wanted[0] != 0 {
		suggests = eapType{number: uint32(wanted[0])}.String()
	}
	x.link.send(protocolEAP, packet{eapFailure, x.request.id, nil})
	x.link.fail(now, &NegotiationError{Protocol: "EAP", Reason: "the peer accepts no method that is allowed here, it suggests " + suggests})
}

// claim takes the Response to a Challenge. The name in it, which the proof is of,
// is the user's; a peer that leaves it empty has told it as its identity.
func (x *eapServer) claim(now time.Time, data []byte) {
	if x.method == EAPMSCHAPv2 {
		p, ok := parsePacket(data)
		if !ok || p.code != chapResponse {
			return
		}
		data = p.data
	}
	value, name, ok := parseValue(packet{data: data})
	if !ok {
		return
	}
	user := cmp.Or(string(name), x.identity)
	if x.link.ask(now, x.method, user) {
		x.asking = true
		x.value, x.user = append([]byte(nil), value...), user
	}
}

func (x *eapServer) examine(now time.Time, c Credential, refusal error) {
	if !x.asking {
		return
	}
	x.asking = false
	success, err := x.digest.verify(c, x.request.id, x.challenge, x.value, []byte(x.user))
	err = cmp.Or(refusal, err, x.link.admit(x.user))
	if err != nil {
		x.refusal = &AuthError{Method: x.method, User: x.user, Ours: true, Reason: err.Error()}
	}
	switch {
	case x.method == EAPMSCHAPv2 && err != nil:
		failure := packet{chapFailure, x.request.id, x.digest.failure(x.challenge)}
		x.ask(now, eapRefusing, methods[x.method].eapType, failure.appendTo(nil)...)
	case x.method == EAPMSCHAPv2:
		x.ask(now, eapProving, methods[x.method].eapType, packet{chapSuccess, x.request.id, success}.appendTo(nil)...)
	case err != nil:
		x.fail(now)
	default:
		x.succeed(now)
	}
}

func (x *eapServer) succeed(now time.Time) {
	x.step = eapDone
	x.link.send(protocolEAP, packet{eapSuccess, x.request.id, nil})
	x.link.authenticated(now, x.method, x.digest, x.user, "")
}

// fail ends the link, for the refusal.
func (x *eapServer) fail(now time.Time) {
	x.link.send(protocolEAP, packet{eapFailure, x.request.id, nil})
	x.link.fail(now, x.refusal)
}
