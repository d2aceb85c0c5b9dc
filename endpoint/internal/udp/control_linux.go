package udp

import (
	"encoding/binary"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// An answer has to come from the address that was asked, or the peer drops it: on
// a host with several addresses the system would choose by its routes. IP_PKTINFO
// (ip(7)) and IPV6_PKTINFO (RFC 3542 §6) tell it and say it. A socket of the
// IPv6 family that takes IPv4 too uses the latter for both, with mapped addresses.

// controlMax is room for the control messages of a message that was received,
// those included that the socket's maker may have asked for.
const controlMax = 128

// parseControl reads the address that datagrams were sent to, the zero value when
// it is not told or a group's, and the length at which UDP_GRO has joined them, 0
// when it has not.
func parseControl(oob []byte) (to netip.Addr, size int) {
	for len(oob) >= unix.SizeofCmsghdr {
		h := (*unix.Cmsghdr)(unsafe.Pointer(&oob[0]))
		n := int(h.Len)
		if n < unix.SizeofCmsghdr || n > len(oob) {
			break
		}
		data := oob[unix.CmsgLen(0):n]
		switch {
		case h.Level == unix.IPPROTO_IP && h.Type == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo:
			to = netip.AddrFrom4([4]byte(data[8:12])) // ipi_addr
		case h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo:
			to = netip.AddrFrom16([16]byte(data[:16])).Unmap()
		case h.Level == unix.IPPROTO_UDP && h.Type == unix.UDP_GRO && len(data) >= 4:
			size = int(int32(binary.NativeEndian.Uint32(data)))
		}
		oob = oob[min(len(oob), unix.CmsgSpace(n-unix.SizeofCmsghdr)):]
	}
	if to.IsMulticast() || to.IsUnspecified() {
		to = netip.Addr{}
	}
	return to, max(size, 0)
}

// source is the control message that has datagrams sent from an address.
func source(from netip.Addr, six bool) []byte {
	if six {
		var info unix.Inet6Pktinfo
		info.Addr = from.As16()
		return appendControl(nil, unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, unsafe.Slice((*byte)(unsafe.Pointer(&info)), unsafe.Sizeof(info)))
	}
	var info unix.Inet4Pktinfo
	info.Spec_dst = from.Unmap().As4()
	return appendControl(nil, unix.IPPROTO_IP, unix.IP_PKTINFO, unsafe.Slice((*byte)(unsafe.Pointer(&info)), unsafe.Sizeof(info)))
}

// segmentControlLen is the length of the control message that appendSegment writes.
var segmentControlLen = unix.CmsgSpace(2)

// appendSegment appends the control message that has a message cut into datagrams
// of size bytes.
func appendSegment(b []byte, size int) []byte {
	var data [2]byte
	binary.NativeEndian.PutUint16(data[:], uint16(size))
	return appendControl(b, unix.IPPROTO_UDP, unix.UDP_SEGMENT, data[:])
}

func appendControl(b []byte, level, kind int32, data []byte) []byte {
	at := len(b)
	for range unix.CmsgSpace(len(data)) {
		b = append(b, 0)
	}
	h := (*unix.Cmsghdr)(unsafe.Pointer(&b[at]))
	h.Level, h.Type = level, kind
	h.SetLen(unix.CmsgLen(len(data)))
	copy(b[at+unix.CmsgLen(0):], data)
	return b
}
