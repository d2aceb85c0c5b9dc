package wire

import (
	"encoding/binary"
	"errors"
)

// The first 16 bits of an L2TPv2 header (RFC 2661 §3.1). Reserved bits and the
// Priority bit (0x0100) are ignored.
const (
	bitT    = 0x8000 // Type: a control message
	bitL    = 0x4000 // Length is present
	bitS    = 0x0800 // Ns and Nr are present
	bitO    = 0x0200 // Offset Size is present
	maskVer = 0x000f
)

const (
	// DataHeaderLen is the length in octets of the header that
	// [PutDataHeader] writes.
	DataHeaderLen = 6
	// ControlHeaderLen is the length in octets of the header that
	// [AppendControlHeader] writes, and of every control message's.
	ControlHeaderLen = 12
)

// The errors of [ParseHeader]. They are values, so that a flood of broken
// datagrams costs no memory.
var (
	ErrVersion    = errors.New("wire: the header's Ver is not 2")
	ErrShort      = errors.New("wire: the datagram ends within its header")
	ErrControl    = errors.New("wire: a control message's header needs the L and S bits, and no O bit")
	ErrLength     = errors.New("wire: Length is smaller than the header or larger than the datagram")
	ErrOffsetSize = errors.New("wire: Offset Size reaches beyond the datagram")
)

// A Header is an L2TP header (RFC 2661 §3.1). Identifiers are those of the
// receiver, 32 bits wide here and 16 on the wire of version 2.
type Header struct {
	Version   uint8
	Control   bool // the T bit
	TunnelID  uint32
	SessionID uint32
	HasNs     bool   // the S bit: Ns and Nr were present
	Ns, Nr    uint16 // Nr means nothing in a data message
}

// Version is the Ver field of a datagram, which stands at the same place in
// all versions and is to be looked at before anything else, since the other
// bits differ. It reports false when the datagram is too short to have one.
func Version(datagram []byte) (uint8, bool) {
	if len(datagram) < 2 {
		return 0, false
	}
	return datagram[1] & maskVer, true
}

// ParseHeader splits a datagram of L2TPv2 into its header and its payload,
// which is part of the datagram: Length, if present, trims what follows the
// message, and the offset padding is taken away. A data message may have any of
// the optional fields; a control message has Length, Ns and Nr and no offset.
// The error is one of [ErrVersion], [ErrShort], [ErrControl], [ErrLength] and
// [ErrOffsetSize]; the datagram is then to be discarded in silence.
func ParseHeader(datagram []byte) (h Header, payload []byte, err error) {
	version, ok := Version(datagram)
	if !ok {
		return h, nil, ErrShort
	}
	if version != 2 {
		return h, nil, ErrVersion
	}
	bits := binary.BigEndian.Uint16(datagram)
	h.Version, h.Control, h.HasNs = version, bits&bitT != 0, bits&bitS != 0
	if h.Control && bits&(bitL|bitS|bitO) != bitL|bitS {
		return h, nil, ErrControl
	}

	// at is where the next field stands: optional ones take no space when they
	// are not there.
	be, at := binary.BigEndian, 2
	n := DataHeaderLen
	if bits&bitL != 0 {
		n += 2
	}
	if h.HasNs {
		n += 4
	}
	if bits&bitO != 0 {
		n += 2
	}
	if len(datagram) < n {
		return h, nil, ErrShort
	}
	if bits&bitL != 0 {
		length := int(be.Uint16(datagram[at:]))
		if length < n || length > len(datagram) {
			return h, nil, ErrLength
		}
		datagram = datagram[:length]
		at += 2
	}
	h.TunnelID = uint32(be.Uint16(datagram[at:]))
	h.SessionID = uint32(be.Uint16(datagram[at+2:]))
	at += 4
	if h.HasNs {
		h.Ns, h.Nr = be.Uint16(datagram[at:]), be.Uint16(datagram[at+2:])
	}
	if bits&bitO != 0 {
		offset := int(be.Uint16(datagram[n-2:]))
		if offset > len(datagram)-n {
			return h, nil, ErrOffsetSize
		}
		n += offset
	}
	return h, datagram[n:], nil
}

// PutDataHeader writes the shortest header of a data message, without Length,
// Ns, Nr and Offset Size, into the first [DataHeaderLen] octets of b.
func PutDataHeader(b []byte, tunnel, session uint32) {
	_ = b[DataHeaderLen-1]
	binary.BigEndian.PutUint16(b, 2)
	binary.BigEndian.PutUint16(b[2:], id16(tunnel))
	binary.BigEndian.PutUint16(b[4:], id16(session))
}

// SequencedHeaderLen is the length in octets of the header that
// [PutSequencedHeader] writes.
const SequencedHeaderLen = 10

// PutSequencedHeader writes the header of a data message with Ns, and Nr zero,
// since it "is reserved in data messages" (RFC 2661 §3.1), into the first
// [SequencedHeaderLen] octets of b.
func PutSequencedHeader(b []byte, tunnel, session uint32, ns uint16) {
	_ = b[SequencedHeaderLen-1]
	binary.BigEndian.PutUint16(b, bitS|2)
	binary.BigEndian.PutUint16(b[2:], id16(tunnel))
	binary.BigEndian.PutUint16(b[4:], id16(session))
	binary.BigEndian.PutUint16(b[6:], ns)
	binary.BigEndian.PutUint16(b[8:], 0)
}

// AppendControlHeader appends the header of a control message. Its Length is
// that of a ZLB, the header alone; [SetLength] corrects it when the AVPs have
// been appended.
func AppendControlHeader(b []byte, tunnel, session uint32, ns, nr uint16) []byte {
	b = binary.BigEndian.AppendUint16(b, bitT|bitL|bitS|2)
	b = binary.BigEndian.AppendUint16(b, ControlHeaderLen)
	b = binary.BigEndian.AppendUint16(b, id16(tunnel))
	b = binary.BigEndian.AppendUint16(b, id16(session))
	b = binary.BigEndian.AppendUint16(b, ns)
	return binary.BigEndian.AppendUint16(b, nr)
}

// SetLength writes the length of a complete control message into its header.
func SetLength(packet []byte) {
	if len(packet) > 0xffff {
		panic("BUG: wire: a control message of more than 65535 octets")
	}
	binary.BigEndian.PutUint16(packet[2:], uint16(len(packet)))
}

// SetSequence writes Ns and Nr into the header of a control message: Nr is
// refreshed each time that a message is sent again.
func SetSequence(packet []byte, ns, nr uint16) {
	binary.BigEndian.PutUint16(packet[8:], ns)
	binary.BigEndian.PutUint16(packet[10:], nr)
}

// id16 is an identifier as version 2 carries it.
func id16(id uint32) uint16 {
	if id > 0xffff {
		panic("BUG: wire: an identifier of more than 16 bits in L2TPv2")
	}
	return uint16(id)
}
