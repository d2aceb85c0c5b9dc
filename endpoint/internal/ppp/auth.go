package ppp

import (
	"encoding/binary"
	"fmt"
	"time"
)

// A Method is a way for a client to prove who it is.
type Method uint8

const (
	PAP         Method = iota + 1 // Password Authentication Protocol, RFC 1334: the password in the clear
	CHAPMD5                       // Challenge Handshake, RFC 1994
	MSCHAPv2                      // Microsoft's CHAP, RFC 2759: the server proves itself too
	EAPMD5                        // CHAPMD5 within EAP, RFC 3748 §5.4
	EAPMSCHAPv2                   // MSCHAPv2 within EAP, draft-kamath-pppext-eap-mschapv2
)

// algorithmMSCHAP is the CHAP algorithm of Microsoft's first version (RFC 2433
// §2), which we know by name only.
const algorithmMSCHAP = 0x80

// methods are the names, and the data of the Authentication-Protocol option
// (RFC 1661 §6.2). Those of EAP have one option: which of them it is to be is
// found out within EAP, by the Type.
var methods = [...]struct {
	name, option string
	eapType      uint8
}{
	PAP:         {"pap", "\xc0\x23", 0},
	CHAPMD5:     {"chap", "\xc2\x23\x05", 0},
	MSCHAPv2:    {"mschapv2", "\xc2\x23\x81", 0},
	EAPMD5:      {"eap-md5", optionEAP, 4},
	EAPMSCHAPv2: {"eap-mschapv2", optionEAP, 26},
}

const optionEAP = "\xc2\x27"

// String is the method's name: pap, chap, mschapv2, eap-md5 or eap-mschapv2.
func (m Method) String() string {
	if m == 0 || int(m) >= len(methods) {
		return fmt.Sprintf("method %d", uint8(m))
	}
	return methods[m].name
}

func (m Method) option() []byte { return []byte(methods[m].option) }

// byOption is the first of the methods that the data of an
// Authentication-Protocol option stands for; zero: none.
func byOption(list []Method, data []byte) Method {
	for _, m := range list {
		if methods[m].option == string(data) {
			return m
		}
	}
	return 0
}

// withoutOption is the methods but those of that option.
func withoutOption(list []Method, data []byte) (left []Method) {
	for _, m := range list {
		if methods[m].option != string(data) {
			left = append(left, m)
		}
	}
	return left
}

// eapMethods are those of the methods that EAP has, in their order.
func eapMethods(list []Method) (eap []Method) {
	for _, m := range list {
		if methods[m].eapType != 0 {
			eap = append(eap, m)
		}
	}
	return eap
}

// describeMethod is what a peer asks for, in words.
func describeMethod(option []byte) string {
	for _, m := range methods {
		if m.name != "" && m.option == string(option) && m.eapType == 0 {
			return m.name
		}
	}
	if len(option) < 2 {
		return "nothing"
	}
	switch protocol := binary.BigEndian.Uint16(option); {
	case protocol == protocolEAP:
		return "eap"
	case protocol == protocolCHAP && len(option) == 3 && option[2] == algorithmMSCHAP:
		return "mschap"
	case protocol == protocolCHAP && len(option) == 3:
		return fmt.Sprintf("chap algorithm %d", option[2])
	default:
		return fmt.Sprintf("protocol 0x%04x", protocol)
	}
}

// An exchange is the Authentication phase's work: one side of one method. It
// stays in the Network phase, where a peer that lost the last word asks again.
type exchange interface {
	protocol() uint16
	start(now time.Time)
	handle(now time.Time, p packet)
	expire(now time.Time) // the link's wait is over
}

// An examiner is a server's exchange.
type examiner interface {
	exchange
	// examine takes the answer to the question that the exchange has asked.
	examine(now time.Time, c Credential, refusal error)
}

// A claimant is a client's exchange.
type claimant interface {
	exchange
	// claimed is the method by which the server has had something to judge; zero:
	// nothing yet.
	claimed() Method
}

// A forsaken exchange is a client's whose server rejects the protocol that it
// demanded. A SoftEther of before 2021 rejects EAP when we do not agree to EAP-TLS,
// and negotiates MS-CHAPv2 then: we wait for that.
type forsaken struct {
	claimant
	link *Link
}

func (*forsaken) handle(time.Time, packet) {}
func (x *forsaken) expire(now time.Time)   { x.link.fail(now, errForsaken) }

var errForsaken = &NegotiationError{Protocol: "LCP", Reason: "the peer rejects the authentication protocol that it agreed to"}

// newExchange is what LCP has agreed on.
func (l *Link) newExchange() exchange {
	if l.cfg.Server {
		switch m := l.lcp.demands[0]; m {
		case PAP:
			return &papServer{link: l}
		case EAPMD5, EAPMSCHAPv2:
			return &eapServer{link: l, methods: eapMethods(l.cfg.Methods)}
		default:
			return &chapServer{link: l, method: m, digest: m.digest()}
		}
	}
	switch m := l.lcp.auth; m {
	case PAP:
		return &papClient{link: l}
	case EAPMD5, EAPMSCHAPv2:
		return &eapClient{link: l, methods: eapMethods(l.cfg.Methods)}
	default:
		return &chapClient{link: l, method: m, digest: m.digest()}
	}
}

// ask puts the question to the owner, if no answer is outstanding: an exchange
// that a renegotiation has ended may have left one, and its answer must not
// be taken for ours, of another user. It reports whether it was put.
func (l *Link) ask(now time.Time, m Method, user string) bool {
	if l.asked {
		return false
	}
	l.asked = true
	l.wait = now.Add(l.cfg.AuthTimeout)
	l.Emit(AuthQuestion{Method: m, User: user})
	return true
}

// Credential answers the [AuthQuestion]. An error refuses the user, and is
// what the link's [AuthError] says; the peer is told the same as of a wrong
// password. An answer that nobody waits for any longer is ignored.
func (l *Link) Credential(now time.Time, c Credential, err error) {
	if !l.asked {
		return
	}
	l.asked = false
	if x, ok := l.exchange.(examiner); ok && l.phase == authenticate {
		x.examine(now, c, err)
	}
}

// admit says whether the user may have the link, which keeps the user whom it
// was first authenticated for, and that user's address.
func (l *Link) admit(user string) error {
	if l.user != "" && l.user != user {
		return fmt.Errorf("the link is user %s's, and a renegotiation does not change that", quote(l.user))
	}
	return nil
}

// authenticated ends the phase with success.
func (l *Link) authenticated(now time.Time, m Method, d digest, user, message string) {
	if l.phase != authenticate {
		return // the peer had another look at us, and was content
	}
	l.user = user
	if d, ok := d.(*mschapv2); ok {
		l.master = d.master
	}
	l.Emit(Authenticated{Method: m, User: user, Message: message})
	l.setPhase(now, network)
}

// refuse ends the link of a peer that has not proved who it is.
func (l *Link) refuse(now time.Time, m Method, user, reason string) {
	l.fail(now, &AuthError{Method: m, User: user, Ours: true, Reason: reason})
}

// refused ends the link of a client whose proof the server did not accept.
func (l *Link) refused(now time.Time, m Method, reason, message string) {
	l.fail(now, &AuthError{Method: m, User: l.cfg.User, Reason: reason, Message: message})
}

// A repetition is a packet that is sent until it is answered.
type repetition struct {
	what  string // its name, in errors
	tries int
}

// again counts a try and sets the wait for its answer. It reports false, and
// has ended the link, when there were enough.
func (r *repetition) again(now time.Time, l *Link) bool {
	if r.tries == l.cfg.MaxConfigure {
		l.fail(now, &TimeoutError{Waited: r.what, Tries: r.tries})
		return false
	}
	l.wait = now.Add(l.cfg.restart(r.tries))
	r.tries++
	return true
}
