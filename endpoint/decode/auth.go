package decode

import (
	"fmt"
	"hash/maphash"
	"regexp"
	"strconv"
)

// What an authentication leads to.
const (
	authOK     = "auth ok"
	authFailed = "auth failed"
)

// counted takes a field of octets with its length in front from b.
func counted(b []byte) (field, rest []byte, ok bool) {
	if len(b) == 0 || int(b[0]) > len(b)-1 {
		return nil, nil, false
	}
	n := 1 + int(b[0])
	return b[1:n], b[n:], true
}

// pap describes a packet of PAP (RFC 1334 §2.2). A request that is sent again has
// another identifier. The password is never shown.
func (d *decoder) pap(s *ppp, from int, p packet, l *line) (reason string) {
	switch p.code {
	case 1:
		l.what += fmt.Sprintf(" Auth-Req %d", p.id)
		name, rest, ok := counted(p.data)
		if !ok {
			return "Peer-ID goes past the end"
		}
		l.quote(name)
		if _, _, ok = counted(rest); !ok {
			return "Password goes past the end"
		}
		sum := maphash.Bytes(d.seed, p.data)
		l.repeated = s.repeated(from, lastKey{protoPAP, p.code}, sum) && s.asked[from]
		s.asked[from] = true
	case 2, 3:
		l.what += fmt.Sprintf(" %s %d", [...]string{2: "Auth-Ack", 3: "Auth-Nak"}[p.code], p.id)
		l.state = [...]string{2: authOK, 3: authFailed}[p.code]
		s.asked[1-from] = false
		if text, _, ok := counted(p.data); ok { // some leave out even its length
			l.quote(text)
		}
	default:
		l.what += fmt.Sprintf(" code %d", p.code)
	}
	return ""
}

// CHAP codes (RFC 1994 §4), which MS-CHAPv2 in EAP has too.
const (
	chapChallenge = 1
	chapResponse  = 2
	chapSuccess   = 3
	chapFailure   = 4
)

// chap describes a packet of CHAP, MS-CHAP or MS-CHAPv2 (RFC 1994, 2433, 2759).
// Values of challenges and responses are never shown.
func chap(p packet, l *line) (reason string) {
	switch p.code {
	case chapChallenge, chapResponse:
		l.what += fmt.Sprintf(" %s %d", [...]string{chapChallenge: "Challenge", chapResponse: "Response"}[p.code], p.id)
		value, name, ok := counted(p.data)
		if !ok || len(value) == 0 {
			return "Value is empty or goes past the end"
		}
		l.quote(name)
	case chapSuccess:
		l.what += fmt.Sprintf(" Success %d", p.id)
		l.state = authOK
		l.quote(proof.ReplaceAll(p.data, nil))
	case chapFailure:
		l.what += fmt.Sprintf(" Failure %d", p.id)
		l.state = authFailed
		l.failure(p.data)
	default:
		l.what += fmt.Sprintf(" code %d", p.code)
	}
	return ""
}

// What there is in the Message of MS-CHAPv2: a server's own proof in Success (RFC
// 2759 §5), and "E=eeeeeeeeee R=r C=cccccccccccccccccccccccccccccccc V=vvvvvvvvvv
// M=<msg>" in Failure (§6).
var (
	proof     = regexp.MustCompile(`(?s)^.{0,4}?S=[0-9A-Fa-f]{40}( M=)?`)
	microsoft = regexp.MustCompile(`(?s)^E=([0-9]{1,10}) .*?(?: M=(.*))?$`)
)

// microsoftErrors are those of RFC 2759 §6.
var microsoftErrors = map[int]string{
	646: "restricted logon hours",
	647: "account disabled",
	648: "password expired",
	649: "no dial-in permission",
	691: "authentication failure",
	709: "error changing password",
}

// failure adds what a Failure says, without the challenge that may be in it.
func (l *line) failure(text []byte) {
	m := microsoft.FindSubmatch(text)
	if m == nil {
		l.quote(text)
		return
	}
	n, _ := strconv.Atoi(string(m[1])) // ten digits
	if words := microsoftErrors[n]; words != "" {
		l.add("error %d: %s", n, words)
	} else {
		l.add("error %d", n)
	}
	l.quote(m[2])
}

// eapTypes are those that one meets, by RFC 3748 §5 and its registry.
var eapTypes = map[uint8]string{
	1: "Identity", 2: "Notification", 3: "Nak", 4: "MD5-Challenge", 5: "OTP", 6: "GTC",
	13: "TLS", 21: "TTLS", 25: "PEAP", 26: "MSCHAPv2",
}

func eapType(n uint8) string {
	if name := eapTypes[n]; name != "" {
		return name
	}
	return fmt.Sprintf("type %d", n)
}

// eap describes a packet of EAP (RFC 3748 §4, §5). What is in it is shown where
// it is certain to be no secret.
func eap(p packet, l *line) (reason string) {
	switch p.code {
	case 1, 2:
		l.what += fmt.Sprintf(" %s %d", [...]string{1: "Request", 2: "Response"}[p.code], p.id)
	case 3:
		l.what += fmt.Sprintf(" Success %d", p.id)
		l.state = authOK
		return ""
	case 4:
		l.what += fmt.Sprintf(" Failure %d", p.id)
		l.state = authFailed
		return ""
	default:
		l.what += fmt.Sprintf(" code %d", p.code)
		return ""
	}
	if len(p.data) == 0 {
		return "no Type"
	}
	kind, data := p.data[0], p.data[1:]
	l.add("%s", eapType(kind))
	switch kind {
	case 1, 2:
		l.quote(data)
	case 3:
		for _, wanted := range data[:min(len(data), 8)] {
			if wanted == 0 {
				l.add("wants no other")
			} else {
				l.add("wants %s", eapType(wanted))
			}
		}
	case 4:
		value, name, ok := counted(data)
		if !ok || len(value) == 0 {
			return "Value is empty or goes past the end"
		}
		l.quote(name)
	case 26:
		return eapMSCHAPv2(data, l)
	}
	return ""
}

// eapMSCHAPv2 describes | OpCode 1 | MS-CHAPv2-ID 1 | MS-Length 2 | Data |, of
// draft-kamath-pppext-eap-mschapv2 §2; a Response to Success or Failure is the OpCode
// alone.
func eapMSCHAPv2(b []byte, l *line) (reason string) {
	if len(b) == 0 {
		return "no OpCode"
	}
	names := [...]string{chapChallenge: "Challenge", chapResponse: "Response", chapSuccess: "Success", chapFailure: "Failure"}
	if b[0] == 0 || int(b[0]) >= len(names) {
		l.add("OpCode %d", b[0])
		return ""
	}
	l.add("%s", names[b[0]])
	if len(b) < 4 {
		return ""
	}
	data := b[4:]
	switch b[0] {
	case chapChallenge, chapResponse:
		value, name, ok := counted(data)
		if !ok || len(value) == 0 {
			return "Value is empty or goes past the end"
		}
		l.quote(name)
	case chapSuccess:
		l.quote(proof.ReplaceAll(data, nil))
	case chapFailure:
		l.failure(data)
	}
	return ""
}
