package netstack

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"syscall"

	"gvisor.dev/gvisor/pkg/tcpip"
)

// toAddress is an address as gVisor has it.
func toAddress(a netip.Addr) tcpip.Address {
	if a.Is4() {
		return tcpip.AddrFrom4(a.As4())
	}
	return tcpip.AddrFrom16(a.As16())
}

// fromAddress is the reverse. gVisor's empty address, "any", becomes 0.0.0.0.
func fromAddress(a tcpip.Address) netip.Addr {
	switch a.Len() {
	case 4:
		return netip.AddrFrom4(a.As4())
	case 16:
		return netip.AddrFrom16(a.As16()).Unmap()
	}
	return netip.IPv4Unspecified()
}

// fromFullAddress is the reverse of toFullAddress.
func fromFullAddress(a tcpip.FullAddress) netip.AddrPort {
	addr := fromAddress(a.Addr)
	if a.NIC != 0 && isScoped(addr) {
		addr = addr.WithZone(zone(a.NIC))
	}
	return netip.AddrPortFrom(addr, a.Port)
}

// toFullAddress is ap as gVisor has it, where an unspecified address is empty.
// An address that means something on one link only, such as fe80::1, has the
// NIC that its zone names.
func (s *Stack) toFullAddress(ap netip.AddrPort) (tcpip.FullAddress, error) {
	full := tcpip.FullAddress{Port: ap.Port()}
	if ap.Addr().IsUnspecified() {
		return full, nil
	}
	full.Addr = toAddress(ap.Addr())
	if isScoped(ap.Addr()) {
		id, err := s.zoneOf(ap.Addr())
		if err != nil {
			return full, err
		}
		full.NIC = id
	}
	return full, nil
}

// isScoped reports whether a means something on one link only (RFC 4007 §4).
func isScoped(a netip.Addr) bool {
	return a.Is6() && (a.IsLinkLocalUnicast() || a.IsLinkLocalMulticast() || a.IsInterfaceLocalMulticast())
}

// zone is how a NIC is named in the text of an address (RFC 4007 §11).
func zone(id tcpip.NICID) string { return strconv.Itoa(int(id)) }

// zoneOf is the NIC that the zone of a names. Without a zone it is the one that
// has IPv6, if there is just one.
func (s *Stack) zoneOf(a netip.Addr) (tcpip.NICID, error) {
	var found []tcpip.NICID
	for _, n := range s.nics() {
		if n.v6 != nil && (a.Zone() == "" || a.Zone() == zone(n.id)) {
			found = append(found, n.id)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return 0, &net.AddrError{Err: "several interfaces have IPv6, and no zone says which", Addr: a.String()}
	case a.Zone() == "":
		return 0, errNoIPv6
	}
	return 0, &net.AddrError{Err: "no interface with IPv6 has this zone", Addr: a.String()}
}

var errNoIPv6 = fmt.Errorf("no IPv6 inside the tunnel: %w", syscall.ENETUNREACH)

// A family says which addresses a network such as "tcp4" has.
type family byte

const (
	anyFamily family = 0
	onlyIPv4  family = '4'
	onlyIPv6  family = '6'
)

// familyOf is the family of a network of the kind "tcp" or "udp".
func familyOf(kind, network string) (family, error) {
	switch network {
	case kind:
		return anyFamily, nil
	case kind + "4":
		return onlyIPv4, nil
	case kind + "6":
		return onlyIPv6, nil
	}
	return 0, net.UnknownNetworkError(network)
}

func (f family) has(a netip.Addr) bool {
	return f == anyFamily || a.Is4() == (f == onlyIPv4)
}

func (f family) String() string {
	switch f {
	case onlyIPv4:
		return "IPv4"
	case onlyIPv6:
		return "IPv6"
	}
	return "IP"
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

// localAddress is an address to listen at: "10.0.0.1:80", or ":80" for any of the
// family. For any of both it is "::", as package net has it.
func localAddress(f family, address string) (netip.AddrPort, error) {
	host, port, err := splitAddress(address)
	if err != nil {
		return netip.AddrPort{}, err
	}
	unspecified := netip.IPv6Unspecified()
	if f == onlyIPv4 {
		unspecified = netip.IPv4Unspecified()
	}
	if host == "" {
		return netip.AddrPortFrom(unspecified, port), nil
	}
	a, err := netip.ParseAddr(host)
	a = a.Unmap()
	if err != nil || !f.has(a) {
		return netip.AddrPort{}, &net.AddrError{Err: "not an " + f.String() + " address to listen at", Addr: address}
	}
	if a.IsUnspecified() {
		a = unspecified
	}
	return netip.AddrPortFrom(a, port), nil
}
