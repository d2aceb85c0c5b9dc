package ppp

import (
	"encoding/binary"
	"net/netip"
)

// An option is one of a Configure packet's (RFC 1661 §6):
//
//	| Type 1 | Length 1 | Data |
//
// Length counts all three.
type option struct {
	kind uint8
	data []byte
}

const optionHeaderLen = 2

// parseOptions reads a list of options, which may be empty. It reports false
// when a Length does not cover its own header or goes past the end: "the entire
// packet is silently discarded without affecting the automaton" (RFC 1661 §6).
func parseOptions(b []byte) (list []option, ok bool) {
	n := 0
	for rest := b; len(rest) >= optionHeaderLen && int(rest[1]) <= len(rest) && rest[1] >= optionHeaderLen; n++ {
		rest = rest[rest[1]:]
	}
	if n > 0 {
		list = make([]option, 0, n)
	}
	for len(b) > 0 {
		if len(b) < optionHeaderLen {
			return nil, false
		}
		n := int(b[1])
		if n < optionHeaderLen || n > len(b) {
			return nil, false
		}
		list = append(list, option{b[0], b[optionHeaderLen:n]})
		b = b[n:]
	}
	return list, true
}

// appendTo appends the option as it stands in a packet.
func (o option) appendTo(b []byte) []byte {
	b = append(b, o.kind, uint8(optionHeaderLen+len(o.data)))
	return append(b, o.data...)
}

func uint16Option(kind uint8, v uint16) option {
	return option{kind, binary.BigEndian.AppendUint16(nil, v)}
}

func uint32Option(kind uint8, v uint32) option {
	return option{kind, binary.BigEndian.AppendUint32(nil, v)}
}

// addrOption has an IPv4 address; the zero Addr stands for 0.0.0.0.
func addrOption(kind uint8, a netip.Addr) option {
	if !a.IsValid() {
		a = netip.IPv4Unspecified()
	}
	return option{kind, a.AsSlice()}
}

// addr is the IPv4 address in an option's data.
func (o option) addr() (netip.Addr, bool) {
	if len(o.data) != 4 {
		return netip.Addr{}, false
	}
	return netip.AddrFrom4([4]byte(o.data)), true
}
