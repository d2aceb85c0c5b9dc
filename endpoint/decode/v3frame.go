package decode

import "encoding/binary"

// A frameKind is what a pseudowire carries.
type frameKind uint8

const (
	noFrame frameKind = iota
	ethernetFrame
	vlanFrame
	pppFrame
	ipPacket
	lastFrame = ipPacket
)

func (k frameKind) String() string {
	return [...]string{"unknown frames", "Ethernet", "Ethernet with VLAN tags", "PPP", "IP"}[k]
}

// findFrames is what there is behind no word of rest, behind one, and so on; missing
// octets of it were cut off. Only what cannot well be anything else is found: ARP, an IP
// packet whose length is right, a packet of LCP and the like. A frame with a tag also
// looks like one without, four octets on, and PPP like IP: the first is what it is.
func findFrames(rest []byte, missing int) (found [wordsMax + 1]frameKind) {
	for i := range found {
		if 4*i > len(rest) {
			break
		}
		found[i] = frameOf(rest[4*i:], missing)
	}
	return found
}

func frameOf(b []byte, missing int) frameKind {
	switch {
	case isIP(b, missing, 0):
		return ipPacket
	case isPPP(b, missing):
		return pppFrame
	}
	switch etherType, packet := field(b, 12, 14); etherType {
	case etherIPv4, etherIPv6, etherARP:
		if isCarried(etherType, packet, missing) {
			return ethernetFrame
		}
	case etherVLAN, etherServiceVLAN:
		if etherType, packet = field(packet, 2, 4); isCarried(etherType, packet, missing) {
			return vlanFrame
		}
	}
	return noFrame
}

const (
	etherARP         = 0x0806
	etherVLAN        = 0x8100
	etherServiceVLAN = 0x88a8

	etherPadding = 46 // what a frame carries at least
)

func isCarried(etherType uint16, packet []byte, missing int) bool {
	switch etherType {
	case etherIPv4:
		return len(packet) > 0 && packet[0]>>4 == 4 && isIP(packet, missing, etherPadding)
	case etherIPv6:
		return len(packet) > 0 && packet[0]>>4 == 6 && isIP(packet, missing, etherPadding)
	case etherARP: // of IPv4 on Ethernet (RFC 826)
		return len(packet) >= 8 && binary.BigEndian.Uint32(packet) == 1<<16|etherIPv4 && packet[4] == 6 && packet[5] == 4 && packet[6] == 0
	}
	return false
}

// isIP reports whether b is an IP packet, whole but for the octets that are missing, and
// padded to so many at most.
func isIP(b []byte, missing, padding int) bool {
	if len(b) < 20 {
		return false
	}
	total := 0
	switch header := int(b[0]&0xf) * 4; b[0] >> 4 {
	case 4:
		total = int(binary.BigEndian.Uint16(b[2:]))
		if header < 20 || header > len(b) || total < header || internetSum(b[:header]) != 0xffff {
			return false
		}
	case 6:
		if len(b) < 40 {
			return false
		}
		total = 40 + int(binary.BigEndian.Uint16(b[4:]))
	default:
		return false
	}
	whole := len(b) + missing
	return total == whole || total < whole && whole <= padding
}

// isPPP reports whether b is a PPP frame with address and control octets.
func isPPP(b []byte, missing int) bool {
	if len(b) < 8 || b[0] != 0xff || b[1] != 3 {
		return false
	}
	switch protocol := number16(b[2:]); {
	case protocol == 0x0021 || protocol == 0x0057:
		return isIP(b[4:], missing, 0)
	case protocol == protoLCP || protocol == protoPAP || protocol == protoCHAP || protocol == protoEAP || protocol >= 0x8000 && protocol < 0xc000:
		n := int(number16(b[6:])) // of code, identifier, Length
		return n >= 4 && n <= len(b)-4+missing
	}
	return false
}

// internetSum is RFC 1071's, 0xffff where a checksum is right.
func internetSum(b []byte) uint32 {
	var sum uint32
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(number16(b))
	}
	for sum>>16 != 0 {
		sum = sum>>16 + sum&0xffff
	}
	return sum
}
