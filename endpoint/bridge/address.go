package bridge

import (
	"encoding/binary"
	"net"

	"github.com/l2tpnet/l2tpnet/endpoint/link"
)

const (
	headerLen = 14 // of an Ethernet frame: destination, source, EtherType
	tagLen    = 4  // of a tag of 802.1Q
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

// header is the first bytes of a frame that has as many, wherever they lie.
func header(f *link.Frame, room *[headerLen]byte) []byte {
	if h := f.Peek(headerLen); h != nil {
		return h
	}
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

// isTagged reports whether the frame has a tag of 802.1Q or 802.1ad, for which its link
// has four bytes of room more.
func isTagged(f *link.Frame) bool {
	var room [headerLen]byte
	t := etherTypeOf(header(f, &room))
	return t == 0x8100 || t == 0x88a8
}
