package endpoint

import (
	"encoding/binary"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/ppp"
	"github.com/l2tpnet/l2tpnet/endpoint/link"
)

const (
	etherIPv4 = 0x0800 // EtherTypes, in Ethernet and in Cisco's HDLC
	etherIPv6 = 0x86dd

	tagsMost      = 2 // that are looked behind
	classifierLen = ethernetHeaderLen + tagsMost*vlanTagLen
)

// carriesIP tells whether a frame of a pseudowire is an IP packet, or has one in it, for
// Data Sequencing level 1 (RFC 3931 §5.4.4). What is encrypted, compressed, cut short or
// framed in a way that is not known cannot be told, and is not IP.
func carriesIP(kind PseudowireType, f *link.Frame) bool {
	var start [classifierLen]byte
	n := copy(start[:], f.Head())
	n += copy(start[n:], f.Body)
	n += copy(start[n:], f.Tail)
	b := start[:n]
	switch kind {
	case PseudowireIP:
		return n > 0 && protocolOf(b[0]) != 0
	case PseudowirePPP:
		protocol, _, ok := ppp.ParseFrame(b)
		return ok && (protocol == ppp.ProtocolIPv4 || protocol == ppp.ProtocolIPv6)
	case PseudowireHDLC:
		return isIP(b, 2) // behind address and control
	case PseudowireEthernet, PseudowireVLAN:
		at := ethernetAddresses
		for range tagsMost {
			if n < at+2 || binary.BigEndian.Uint16(b[at:]) != tagProtocol && binary.BigEndian.Uint16(b[at:]) != tagProtocolService {
				break
			}
			at += vlanTagLen
		}
		return isIP(b, at)
	}
	return false
}

// isIP tells whether an EtherType, at an offset, is IP's.
func isIP(b []byte, at int) bool {
	if len(b) < at+2 {
		return false
	}
	t := binary.BigEndian.Uint16(b[at:])
	return t == etherIPv4 || t == etherIPv6
}
