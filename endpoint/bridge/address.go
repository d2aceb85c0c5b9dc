package bridge

import (
	"encoding/binary"
	"net"

	"github.com/l2tpnet/l2tpnet/endpoint/link"
)

const (
	headerLen = 14 // of an Ethernet frame: destination, source, EtherType
	tagLen    = 4  // of a tag of 802.1Q
	seenLen   = 16 // of a frame, with what a tag says
)

// A mac is a MAC address in the lower 48 bits.
type mac uint64

const (
	broadcast mac = 1<<48 - 1
	group     mac = 1 << 40 // the I/G bit: the address of many

	// reserved are the 16 group addresses that no bridge forwards (IEEE 802.1Q table 8-1).
	reserved     mac = 0x0180c2000000
	reservedMask mac = broadcast &^ 0xf
)

func toMAC(a net.HardwareAddr) mac {
	var b [8]byte
	copy(b[2:], a)
	return mac(binary.BigEndian.Uint64(b[:]))
}

func (m mac) hardware() net.HardwareAddr {
	return net.HardwareAddr(binary.BigEndian.AppendUint64(nil, uint64(m))[2:])
}

func (m mac) isGroup() bool    { return m&group != 0 }
func (m mac) isReserved() bool { return m&reservedMask == reserved }

// isStation reports whether a frame can be from m.
func (m mac) isStation() bool { return m != 0 && !m.isGroup() }

// A place is an address in a VLAN, as the table has it: the VLAN in the upper 16 bits. What
// has no tag is in VLAN 0.
type place uint64

func (m mac) in(vlan uint16) place { return place(vlan)<<48 | place(m) }

func (p place) mac() mac     { return mac(p) & broadcast }
func (p place) vlan() uint16 { return uint16(p >> 48) }

// header is the first bytes of a frame that has a header, wherever they lie. What a short
// one does not have is zero.
func header(f *link.Frame, room *[seenLen]byte) []byte {
	if h := f.Peek(seenLen); h != nil {
		return h
	}
	*room = [seenLen]byte{}
	n := copy(room[:], f.Head())
	n += copy(room[n:], f.Body)
	copy(room[n:], f.Tail)
	return room[:]
}

func destinationOf(header []byte) mac { return mac(binary.BigEndian.Uint64(header) >> 16) }
func sourceOf(header []byte) mac      { return mac(binary.BigEndian.Uint64(header[4:]) & uint64(broadcast)) }
func etherTypeOf(header []byte) uint16 {
	return binary.BigEndian.Uint16(header[12:])
}

// vlanOf is the VLAN of a frame's outer tag, or 0.
func vlanOf(header []byte) uint16 {
	if t := etherTypeOf(header); t != typeTag && t != typeServiceTag {
		return 0
	}
	return binary.BigEndian.Uint16(header[headerLen:]) & 0x0fff
}

// EtherTypes of tags, for which a link has four bytes of room more.
const (
	typeTag        = 0x8100 // 802.1Q
	typeServiceTag = 0x88a8 // 802.1ad
)

func isTagged(f *link.Frame) bool {
	var room [seenLen]byte
	t := etherTypeOf(header(f, &room))
	return t == typeTag || t == typeServiceTag
}
