package ppp

import (
	"cmp"
	"time"
)

// PAP codes (RFC 1334 §2.2).
const (
	papRequest = 1 // | Peer-ID Length 1 | Peer-ID | Passwd-Length 1 | Password |
	papAck     = 2 // | Msg-Length 1 | Message |
	papNak     = 3
)

// A papClient sends its user name and password until it is answered.
type papClient struct {
	link    *Link
	request repetition
	first   uint8 // the identifier of the first request; they are consecutive
}

func (x *papClient) protocol() uint16 { return protocolPAP }
func (x *papClient) claimed() Method  { return PAP }

func (x *papClient) start(now time.Time) {
	x.request.what = "PAP Authenticate-Request"
	x.first = x.link.authID + 1
	x.expire(now)
}

// expire sends the next request. "The Identifier field MUST be changed each
// time an Authenticate-Request packet is issued" (RFC 1334 §2.2.1).
func (x *papClient) expire(now time.Time) {
	if !x.request.again(now, x.link) {
		return
	}
	x.link.authID++
	user, password := cutTo(x.link.cfg.User, 255), cutTo(x.link.cfg.Password, 255)
	data := append([]byte{uint8(len(user))}, user...)
	data = append(data, uint8(len(password)))
	data = append(data, password...)
	x.link.send(protocolPAP, packet{papRequest, x.link.authID, data})
}

// handle takes the reply to any of the requests. Its message may be missing,
// as MikroTik's and others' is.
func (x *papClient) handle(now time.Time, p packet) {
	if x.link.phase != authenticate || p.id-x.first >= uint8(x.request.tries) {
		return
	}
	message := ""
	if len(p.data) > 0 {
		message = string(cutTo(p.data[1:], int(p.data[0])))
	}
	switch p.code {
	case papAck:
		x.link.authenticated(now, PAP, nil, x.link.cfg.User, message)
	case papNak:
		x.link.refused(now, PAP, refusesProof, message)
	}
}

// A papServer waits for a user name and a password, and answers them.
type papServer struct {
	link *Link

	asking   bool
	id       uint8 // of the request to answer
	user     string
	password []byte

	reply []byte // the data of the Ack that ended the exchange
}

func (x *papServer) protocol() uint16 { return protocolPAP }

func (x *papServer) start(now time.Time) { x.link.wait = now.Add(x.link.cfg.AuthTimeout) }

func (x *papServer) expire(now time.Time) {
	if x.asking {
		x.link.fail(now, &TimeoutError{Waited: "answer of the authenticator", After: x.link.cfg.AuthTimeout})
		return
	}
	x.link.fail(now, &TimeoutError{Waited: "PAP Authenticate-Request", After: x.link.cfg.AuthTimeout})
}

// handle takes a request. "Because the Authenticate-Ack might be lost, the
// authenticator MUST allow repeated Authenticate-Request packets after
// completing the Authentication phase", with "the same reply Code" (RFC 1334
// §2.2.1). A request that is repeated while the owner thinks is answered
// under its new identifier.
func (x *papServer) handle(now time.Time, p packet) {
	user, password, ok := parsePAPRequest(p)
	if !ok {
		return
	}
	if x.reply != nil {
		x.link.send(protocolPAP, packet{papAck, p.id, x.reply})
		return
	}
	if x.asking {
		if user == x.user && same(x.password, password) == nil {
			x.id = p.id
		}
		return
	}
	if x.link.ask(now, PAP, user) {
		x.asking = true
		x.id, x.user, x.password = p.id, user, append([]byte(nil), password...)
	}
}

func parsePAPRequest(p packet) (user string, password []byte, ok bool) {
	if p.code != papRequest {
		return "", nil, false
	}
	name, rest, ok := counted(p.data)
	if !ok {
		return "", nil, false
	}
	password, _, ok = counted(rest)
	return string(name), password, ok
}

// counted takes a field of octets with its length in front from b.
func counted(b []byte) (field, rest []byte, ok bool) {
	if len(b) == 0 || int(b[0]) > len(b)-1 {
		return nil, nil, false
	}
	n := 1 + int(b[0])
	return b[1:n], b[n:], true
}

func (x *papServer) examine(now time.Time, c Credential, refusal error) {
	if !x.asking {
		return
	}
	err := cmp.Or(refusal, c.equals(x.password), x.link.admit(x.user))
	if err != nil {
		x.link.send(protocolPAP, packet{papNak, x.id, withLength(saysNo)})
		x.link.refuse(now, PAP, x.user, err.Error())
		return
	}
	x.reply = withLength(saysYes)
	x.link.send(protocolPAP, packet{papAck, x.id, x.reply})
	x.link.authenticated(now, PAP, nil, x.user, "")
}

// refusesProof is what a client knows when the server says no.
const refusesProof = "the server refuses user name or password"

// What a server tells its peers; "no" is the same for an unknown user and a
// wrong password.
const (
	saysYes = "Access granted"
	saysNo  = "Authentication failed"
)

func withLength(s string) []byte { return append([]byte{uint8(len(s))}, s...) }

// cutTo is the first n octets of s, or all of it.
func cutTo[T string | []byte](s T, n int) T {
	return s[:min(n, len(s))]
}
