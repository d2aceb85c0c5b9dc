package wire

import (
	"encoding/binary"
	"fmt"
)

// A DisconnectCause is the value of a PPP Disconnect Cause Code AVP (RFC 3145
// §2): why PPP ended, as the sender of the CDN knows it, which is the local
// system of its words; the peer is the other end of its PPP. It is for people.
type DisconnectCause struct {
	Code      uint16
	Protocol  uint16 // the PPP protocol that it happened in, 0xc021 for LCP; 0: in none
	Direction uint8  // 0 global, 1 at the peer, 2 at the local system
	Message   string // UTF-8
}

func (d *DisconnectCause) isZero() bool { return *d == DisconnectCause{} }
func (d *DisconnectCause) append(b []byte, room int) []byte {
	b = binary.BigEndian.AppendUint16(b, d.Code)
	b = binary.BigEndian.AppendUint16(b, d.Protocol)
	b = append(b, d.Direction)
	return append(b, cut(d.Message, room-5)...)
}
func (d *DisconnectCause) decode(b []byte) (uint16, string) {
	if len(b) < 5 {
		return wrongLength(b, "5 or more")
	}
	*d = DisconnectCause{Code: binary.BigEndian.Uint16(b), Protocol: binary.BigEndian.Uint16(b[2:]), Direction: b[4], Message: string(b[5:])}
	return 0, ""
}

// disconnectCauses are what the codes mean (RFC 3145 §3).
var disconnectCauses = [...]string{
	0:  "no information available",
	1:  "administrative disconnect",
	2:  "LCP renegotiation is disabled at the LNS, and the LAC sent no proxy LCP information",
	3:  "normal disconnection, LCP Terminate-Request sent",
	4:  "compulsory encryption refused",
	5:  "LCP: finite state machine timeout",
	6:  "LCP: no recognizable packets received",
	7:  "LCP: magic number error, the link is possibly looped back",
	8:  "LCP: Echo-Request timeout",
	9:  "LCP: unexpected Endpoint-Discriminator for an existing multilink bundle",
	10: "LCP: unexpected MRRU for an existing multilink bundle",
	11: "LCP: unexpected Short-Sequence-Number for an existing multilink bundle",
	12: "compulsory call-back refused",
	13: "authentication: finite state machine timeout",
	14: "authentication: unexpected name for an existing multilink bundle",
	15: "authentication protocol unacceptable",
	16: "authentication failed, bad name, password or secret",
	17: "NCP: finite state machine timeout",
	18: "NCP: none available",
	19: "NCP: no convergence on acceptable addresses",
	20: "NCP: no address may be used",
}

// disconnectDirections are what the Directions 1 and 2 mean with those codes
// that have them.
var disconnectDirections = map[uint16][2]string{
	3:  {"by the peer", "by the local system"},
	4:  {"required by the local system", "required by the peer"},
	12: {"required by the local system", "required by the peer"},
	15: {"the peer rejects all that the local system has", "the local system accepts none that the peer asks for"},
	16: {"of the peer", "of the local system"},
	19: {"too many Configure-Naks from the peer", "too many Configure-Naks to the peer"},
	20: {"the peer does not accept the local one", "the local system does not accept the peer's"},
}

// Words is the cause for people: PPP cause 16: authentication failed, bad name,
// password or secret; of the peer; PPP protocol 0xc223; "who?". The sender's
// message is quoted by [Quote].
func (d DisconnectCause) Words() string {
	s := code("PPP cause", d.Code, disconnectCauses[:])
	if meanings, ok := disconnectDirections[d.Code]; ok && (d.Direction == 1 || d.Direction == 2) {
		s += "; " + meanings[d.Direction-1]
	}
	if d.Protocol != 0 {
		s += fmt.Sprintf("; PPP protocol %#04x", d.Protocol)
	}
	if d.Message != "" {
		s += "; " + Quote(d.Message)
	}
	return s
}
