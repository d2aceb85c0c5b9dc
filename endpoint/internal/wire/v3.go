package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
)

const (
	// V3DataHeaderLen is the length in octets of the fixed part of an L2TPv3
	// data message over UDP: flags and version, a reserved field, Session ID.
	V3DataHeaderLen = 8
	// V3ControlHeaderLen is the length in octets of the header of every control
	// message of L2TPv3, over UDP and after the zero Session ID over IP alike.
	V3ControlHeaderLen = 12
	// SublayerLen is the length in octets of the Default L2-Specific Sublayer.
	SublayerLen = 4
	// CookieMax is the length in octets of the longest cookie; a cookie has 0,
	// 4 or 8.
	CookieMax = 8
	// V3DataHeaderMax is the length in octets of the longest header that
	// [PutV3DataHeader] writes.
	V3DataHeaderMax = V3DataHeaderLen + CookieMax + SublayerLen
)

// Sequence numbers of the Default L2-Specific Sublayer are a "free-running
// counter of 2^24" (RFC 3931 §4.6).
const (
	SequenceBits = 24
	SequenceMask = 1<<SequenceBits - 1
)

// bitSublayerS is the S bit of the Default L2-Specific Sublayer: its number is
// valid.
const bitSublayerS = 0x40000000

// The errors of [ParseV3] that L2TPv2 does not have.
var (
	ErrVersion3 = errors.New("wire: the header's Ver is not 3")
	ErrControl3 = errors.New("wire: a control message's header needs the L and S bits")
)

// ParseV3 splits a datagram of L2TPv3 over UDP (RFC 3931 §4.1.2.1, §3.2.1) into
// its header and the rest, which is part of the datagram.
//
// For a data message, control is false, id is the Session ID of the receiver, and
// the rest begins at the cookie. How long that is, and whether a sublayer follows,
// only the session knows: [CutCookie], then [ParseSublayer], and what remains is
// the frame. Session ID 0 is nobody's. Bits that mean something in L2TPv2 only (L,
// S, O, P) are ignored.
//
// For a control message, control is true, id is the Control Connection ID of the
// receiver (0 as long as the sender does not know it), and the rest is the AVPs,
// which end where Length says; [ParseV3Control] also has Ns and Nr.
//
// The error is one of [ErrVersion3], [ErrShort], [ErrControl3] and [ErrLength]; the
// datagram is then to be discarded in silence.
func ParseV3(datagram []byte) (control bool, id uint32, rest []byte, err error) {
	if len(datagram) < V3DataHeaderLen {
		if v, ok := Version(datagram); ok && v != 3 {
			return false, 0, nil, ErrVersion3
		}
		return false, 0, nil, ErrShort
	}
	if datagram[1]&maskVer != 3 {
		return false, 0, nil, ErrVersion3
	}
	if datagram[0]&(bitT>>8) != 0 {
		h, avps, err := ParseV3Control(datagram)
		return true, h.TunnelID, avps, err
	}
	return false, binary.BigEndian.Uint32(datagram[4:]), datagram[V3DataHeaderLen:], nil
}

// CutCookie takes the cookie that the receiver has assigned off the front of a data
// message's rest. It reports false when another one stands there, or none: the
// message is then to be dropped without a reply (RFC 3931 §4.5). An empty cookie is
// no cookie.
func CutCookie(rest, cookie []byte) (after []byte, ok bool) {
	if !bytes.HasPrefix(rest, cookie) {
		return nil, false
	}
	return rest[len(cookie):], true
}

// ParseSublayer takes the Default L2-Specific Sublayer (RFC 3931 §4.6) off the front
// of b, which begins behind the cookie. Sequenced is its S bit, and sequence the 24
// bits of its number, which mean nothing (and are 0 here) without S. It reports false
// when b is too short.
func ParseSublayer(b []byte) (sequenced bool, sequence uint32, rest []byte, ok bool) {
	if len(b) < SublayerLen {
		return false, 0, nil, false
	}
	if word := binary.BigEndian.Uint32(b); word&bitSublayerS != 0 {
		sequenced, sequence = true, word&SequenceMask
	}
	return sequenced, sequence, b[SublayerLen:], true
}

// V3DataLen is the length in octets of the header that [PutV3DataHeader] writes, with
// a cookie of so many octets and with the sublayer or without.
func V3DataLen(cookie int, sublayer bool) int {
	if sublayer {
		return V3DataHeaderLen + cookie + SublayerLen
	}
	return V3DataHeaderLen + cookie
}

// PutV3DataHeader writes the header of a data message over UDP into the first
// [V3DataLen] octets of b: the Session ID and the cookie (0, 4 or 8 octets) that the
// peer has assigned, and, with sublayer, the Default L2-Specific Sublayer. That one
// has the S bit and the low 24 bits of sequence when sequenced, else it is zero.
func PutV3DataHeader(b []byte, session uint32, cookie []byte, sublayer bool, sequence uint32, sequenced bool) {
	if len(cookie) > CookieMax {
		panic("BUG: wire: a cookie of more than 8 octets")
	}
	n := V3DataLen(len(cookie), sublayer)
	_ = b[n-1]
	binary.BigEndian.PutUint32(b, 3<<16)
	binary.BigEndian.PutUint32(b[4:], session)
	copy(b[V3DataHeaderLen:], cookie)
	if !sublayer {
		return
	}
	var word uint32
	if sequenced {
		word = bitSublayerS | sequence&SequenceMask
	}
	binary.BigEndian.PutUint32(b[n-SublayerLen:], word)
}

// ParseV3Control splits a control message of L2TPv3 (RFC 3931 §3.2.1) into its header
// and its AVPs, which are part of the message; no AVPs are a ZLB. TunnelID is the
// Control Connection ID, 32 bits wide; there is no session in the header. Length trims
// what follows the message. The error is one of [ErrVersion3], [ErrShort],
// [ErrControl3] and [ErrLength].
func ParseV3Control(message []byte) (h Header, avps []byte, err error) {
	version, ok := Version(message)
	switch {
	case !ok:
		return h, nil, ErrShort
	case version != 3:
		return h, nil, ErrVersion3
	}
	// "The T bit MUST be set to 1 … The L and S bits MUST be set to 1"; the others
	// are reserved.
	if binary.BigEndian.Uint16(message)&(bitT|bitL|bitS) != bitT|bitL|bitS {
		return h, nil, ErrControl3
	}
	if len(message) < V3ControlHeaderLen {
		return h, nil, ErrShort
	}
	be := binary.BigEndian
	length := int(be.Uint16(message[2:]))
	if length < V3ControlHeaderLen || length > len(message) {
		return h, nil, ErrLength
	}
	h = Header{Version: version, Control: true, TunnelID: be.Uint32(message[4:]),
		HasNs: true, Ns: be.Uint16(message[8:]), Nr: be.Uint16(message[10:])}
	return h, message[V3ControlHeaderLen:length], nil
}

// AppendV3ControlHeader appends the header of a control message of L2TPv3, to the
// Control Connection ID of the receiver. Its Length is that of a ZLB, the header
// alone; [SetLength] corrects it when the AVPs have been appended, and [SetSequence]
// refreshes Ns and Nr, which stand where they stand in L2TPv2.
func AppendV3ControlHeader(b []byte, connection uint32, ns, nr uint16) []byte {
	b = binary.BigEndian.AppendUint16(b, bitT|bitL|bitS|3)
	b = binary.BigEndian.AppendUint16(b, V3ControlHeaderLen)
	b = binary.BigEndian.AppendUint32(b, connection)
	b = binary.BigEndian.AppendUint16(b, ns)
	return binary.BigEndian.AppendUint16(b, nr)
}
