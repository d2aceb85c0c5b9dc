package netstack

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"gvisor.dev/gvisor/pkg/tcpip"
)

// toAddress is an IPv4 address as gVisor has it.
func toAddress(a netip.Addr) tcpip.Address { return tcpip.AddrFrom4(a.As4()) }

// fromAddress is the reverse. gVisor's empty address, "any", becomes 0.0.0.0.
func fromAddress(a tcpip.Address) netip.Addr {
	if a.Len() != 4 {
		return netip.IPv4Unspecified()
	}
	return netip.AddrFrom4(a.As4())
}

func fromFullAddress(a tcpip.FullAddress) netip.AddrPort {
	return netip.AddrPortFrom(fromAddress(a.Addr), a.Port)
}

// toFullAddress is ap as gVisor has it, where an unspecified address is empty.
func toFullAddress(ap netip.AddrPort) tcpip.FullAddress {
	full := tcpip.FullAddress{Port: ap.Port()}
	if !ap.Addr().IsUnspecified() {
		full.Addr = toAddress(ap.Addr())
	}
	return full
}

// splitAddress takes "host:port" apart. The port must be a number: names of
// services would be read from a file of the host's.
func splitAddress(address string) (host string, port uint16, err error) {
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, err
	}
	n, err := strconv.ParseUint(service, 10, 16)
	if err != nil {
		return "", 0, &net.AddrError{Err: fmt.Sprintf("port %q is not a number from 0 to 65535", service), Addr: address}
	}
	return host, uint16(n), nil
}

// localAddress is an address to listen at: "10.0.0.1:80", or ":80" for any.
func localAddress(address string) (netip.AddrPort, error) {
	host, port, err := splitAddress(address)
	if err != nil {
		return netip.AddrPort{}, err
	}
	if host == "" {
		return netip.AddrPortFrom(netip.IPv4Unspecified(), port), nil
	}
	a, err := netip.ParseAddr(host)
	if err != nil || !a.Unmap().Is4() {
		return netip.AddrPort{}, &net.AddrError{Err: "not an IPv4 address to listen at", Addr: address}
	}
	return netip.AddrPortFrom(a.Unmap(), port), nil
}
