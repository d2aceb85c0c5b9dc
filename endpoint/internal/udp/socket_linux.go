package udp

import (
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// An answer has to come from the address that was asked, or the peer drops it: on
// a host with several addresses the system would choose by its routes. IP_PKTINFO
// (ip(7)) and IPV6_PKTINFO (RFC 3542 §6) tell it and say it. A socket of the
// IPv6 family that takes IPv4 too uses the latter for both, with mapped addresses.

func askForDestination(c *net.UDPConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		family, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_DOMAIN)
		switch {
		case err != nil:
			failed = err
		case family == unix.AF_INET6:
			failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
		default:
			failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
		}
	})
	if err != nil {
		return err
	}
	return failed
}

// BindTo is a net.ListenConfig's Control: it binds a socket to a network interface
// before it gets its address.
func BindTo(device string) func(network, address string, c syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) error {
		var failed error
		if err := c.Control(func(fd uintptr) { failed = unix.BindToDevice(int(fd), device) }); err != nil {
			return err
		}
		if failed != nil {
			return fmt.Errorf("binding to the device %s: %w", device, failed)
		}
		return nil
	}
}

// destination reads the address that a datagram was sent to out of its control
// messages; the zero value when they do not tell, or name a group.
func destination(oob []byte) netip.Addr {
	for len(oob) >= unix.SizeofCmsghdr {
		h := (*unix.Cmsghdr)(unsafe.Pointer(&oob[0]))
		n := int(h.Len)
		if n < unix.SizeofCmsghdr || n > len(oob) {
			break
		}
		data := oob[unix.CmsgLen(0):n]
		var a netip.Addr
		switch {
		case h.Level == unix.IPPROTO_IP && h.Type == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo:
			a = netip.AddrFrom4([4]byte(data[8:12])) // ipi_addr
		case h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo:
			a = netip.AddrFrom16([16]byte(data[:16])).Unmap()
		default:
			oob = oob[min(len(oob), unix.CmsgSpace(n-unix.SizeofCmsghdr)):]
			continue
		}
		if a.IsMulticast() || a.IsUnspecified() {
			return netip.Addr{}
		}
		return a
	}
	return netip.Addr{}
}

// source is the control message that has a datagram sent from an address.
func source(c *net.UDPConn, from netip.Addr) []byte {
	level, kind, data := unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, make([]byte, unix.SizeofInet6Pktinfo)
	if c.LocalAddr().(*net.UDPAddr).IP.To4() != nil {
		level, kind, data = unix.IPPROTO_IP, unix.IP_PKTINFO, make([]byte, unix.SizeofInet4Pktinfo)
		copy(data[4:8], from.AsSlice()) // ipi_spec_dst
	} else {
		a := from.As16()
		copy(data, a[:])
	}
	b := make([]byte, unix.CmsgSpace(len(data)))
	h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
	h.Level, h.Type = int32(level), int32(kind)
	h.SetLen(unix.CmsgLen(len(data)))
	copy(b[unix.CmsgLen(0):], data)
	return b
}
