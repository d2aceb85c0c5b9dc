package ppp

import (
	"cmp"
	"time"
)

// CHAP codes (RFC 1994 §4).
const (
	chapChallenge = 1 // | Value-Size 1 | Value | Name |
	chapResponse  = 2
	chapSuccess   = 3 // | Message |
	chapFailure   = 4
)

// maxName is the longest Name that we take, in octets: RFC 2759 §4 has 256 as
// the theoretical limit.
const maxName = 256

// A digest is what a method of the CHAP family puts into Value and Message.
type digest interface {
	// respond is a client's Value for a Challenge; nil: not for that one.
	respond(l *Link, id uint8, challenge []byte) []byte
	// proves checks the Success: does the server know the password too?
	proves(message []byte) bool
	// explain is a Failure, in words of ours and in the server's.
	explain(message []byte) (reason, words string)

	// challengeLen is how many random octets a server sends.
	challengeLen() int
	// verify checks a Response, and gives the Message of the Success.
	verify(c Credential, id uint8, challenge, value, user []byte) (message []byte, err error)
	// failure is the Message of the Failure.
	failure(challenge []byte) []byte
}

func (m Method) digest() digest {
	switch m {
	case MSCHAPv2, EAPMSCHAPv2:
		return &mschapv2{}
	default:
		return &chapMD5{}
	}
}

// parseValue takes a Challenge or Response apart.
func parseValue(p packet) (value, name []byte, ok bool) {
	value, name, ok = counted(p.data)
	return value, name, ok && len(value) > 0 && len(name) <= maxName
}

// appendValue appends the data of a Challenge or Response.
func appendValue(b, value []byte, name string) []byte {
	b = append(b, uint8(len(value)))
	b = append(b, value...)
	return append(b, cutTo(name, maxName)...)
}

// A chapClient waits for a Challenge, and then repeats its Response until it
// is answered.
type chapClient struct {
	link      *Link
	method    Method
	digest    digest
	challenge packet // the last one; the same again gets the same Response
	response  *packet
	repeat    repetition
}

func (x *chapClient) protocol() uint16 { return protocolCHAP }

func (x *chapClient) claimed() Method {
	if x.response == nil {
		return 0
	}
	return x.method
}

func (x *chapClient) start(now time.Time) {
	x.repeat.what = "CHAP Response"
	x.link.wait = now.Add(x.link.cfg.AuthTimeout)
}

func (x *chapClient) expire(now time.Time) {
	if x.response == nil {
		x.link.fail(now, &TimeoutError{Waited: "CHAP Challenge", After: x.link.cfg.AuthTimeout})
		return
	}
	x.sendAgain(now)
}

// sendAgain does so, with the whole restart period between two: an authenticator
// may be slow, and think little of a Response that comes twice.
func (x *chapClient) sendAgain(now time.Time) {
	if x.repeat.again(now, x.link) {
		x.link.wait = now.Add(x.link.cfg.Restart)
		x.link.send(protocolCHAP, *x.response)
	}
}

func (x *chapClient) handle(now time.Time, p packet) {
	switch p.code {
	case chapChallenge:
		x.respond(now, p)
	case chapSuccess, chapFailure:
		// "The Identifier field MUST be copied from the Identifier field of
		// the Response which caused this reply" (RFC 1994 §4.2).
		if x.response != nil && p.id == x.response.id {
			x.conclude(now, p)
		}
	}
}

// respond answers a Challenge. "Whenever a Challenge packet is received, the
// peer MUST transmit a CHAP packet with the Code field set to 2", also in the
// Network-Layer Protocol phase (RFC 1994 §4.1).
func (x *chapClient) respond(now time.Time, p packet) {
	challenge, _, ok := parseValue(p)
	if !ok {
		return
	}
	if x.response == nil || p.id != x.challenge.id || string(p.data) != string(x.challenge.data) {
		value := x.digest.respond(x.link, p.id, challenge)
		if value == nil {
			return
		}
		x.challenge = packet{p.code, p.id, append([]byte(nil), p.data...)}
		x.response = &packet{chapResponse, p.id, appendValue(nil, value, x.link.cfg.User)}
	}
	if x.link.phase == authenticate {
		x.sendAgain(now)
		return
	}
	x.link.send(protocolCHAP, *x.response)
}

func (x *chapClient) conclude(now time.Time, p packet) {
	if p.code == chapFailure {
		reason, words := x.digest.explain(p.data)
		x.link.refused(now, x.method, reason, words)
		return
	}
	if !x.digest.proves(p.data) {
		// "If the authenticator response is either missing or incorrect, the
		// peer MUST end the session" (RFC 2759 §5).
		x.link.refuse(now, x.method, x.link.cfg.User, provesNothing)
		return
	}
	x.link.authenticated(now, x.method, x.digest, x.link.cfg.User, string(p.data))
}

// A chapServer repeats its Challenge until it has a Response, and answers that.
type chapServer struct {
	link   *Link
	method Method
	digest digest

	challenge []byte
	id        uint8
	repeat    repetition

	asking bool
	value  []byte
	user   string
	reply  []byte // the Message of the Success that ended the exchange
}

func (x *chapServer) protocol() uint16 { return protocolCHAP }

func (x *chapServer) start(now time.Time) {
	x.repeat.what = "CHAP Challenge"
	x.challenge = x.link.random(x.digest.challengeLen())
	x.link.authID++
	x.id = x.link.authID
	x.expire(now)
}

func (x *chapServer) expire(now time.Time) {
	if x.asking {
		x.link.fail(now, &TimeoutError{Waited: "answer of the authenticator", After: x.link.cfg.AuthTimeout})
		return
	}
	if x.repeat.again(now, x.link) {
		x.link.send(protocolCHAP, packet{chapChallenge, x.id, appendValue(nil, x.challenge, x.link.cfg.Name)})
	}
}

// handle takes a Response. "Because the Success might be lost, the
// authenticator MUST allow repeated Response packets during the Network-Layer
// Protocol phase"; those "having the current Challenge Identifier MUST return
// the same reply Code" (RFC 1994 §4.1), whatever they say now.
func (x *chapServer) handle(now time.Time, p packet) {
	if p.code != chapResponse || p.id != x.id {
		return
	}
	if x.reply != nil {
		x.link.send(protocolCHAP, packet{chapSuccess, x.id, x.reply})
		return
	}
	value, name, ok := parseValue(p)
	if !ok || x.asking {
		return
	}
	if x.link.ask(now, x.method, string(name)) {
		x.asking = true
		x.value, x.user = append([]byte(nil), value...), string(name)
	}
}

func (x *chapServer) examine(now time.Time, c Credential, refusal error) {
	if !x.asking {
		return
	}
	success, err := x.digest.verify(c, x.id, x.challenge, x.value, []byte(x.user))
	if err := cmp.Or(refusal, err, x.link.admit(x.user)); err != nil {
		x.link.send(protocolCHAP, packet{chapFailure, x.id, x.digest.failure(x.challenge)})
		x.link.refuse(now, x.method, x.user, err.Error())
		return
	}
	x.reply = success
	x.link.send(protocolCHAP, packet{chapSuccess, x.id, x.reply})
	x.link.authenticated(now, x.method, x.digest, x.user, "")
}
