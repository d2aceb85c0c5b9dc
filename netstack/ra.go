package netstack

import (
	"encoding/binary"
	"net/netip"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// What Neighbor Discovery messages look like (RFC 4861 §4.1, §4.2, §4.6), in
// bytes of ICMPv6.
const (
	solicitationLen = 8
	raMinLen        = 16
	raLifetime      = 6

	optionPrefix = 3  // RFC 4861 §4.6.2
	optionMTU    = 5  // RFC 4861 §4.6.4
	optionRDNSS  = 25 // RFC 8106 §5.1
)

// A routerAdvert is what a host wants to know of a Router Advertisement (RFC
// 4861 §4.2). Lifetimes begin with its arrival; the longest, which means "for
// ever" on the wire, is 136 years.
type routerAdvert struct {
	router   netip.Addr    // its link-local address
	lifetime time.Duration // as a default router; 0: it is none
	mtu      uint32        // 0: not said
	other    bool          // DHCPv6 knows more: the O flag
	prefixes []advertisedPrefix
	onLink   []advertisedPrefix // with the L flag
	servers  []advertisedServer
}

// An advertisedPrefix is one to make an address from: with the A flag.
type advertisedPrefix struct {
	prefix           netip.Prefix
	valid, preferred time.Duration
}

// An advertisedServer is a recursive DNS server.
type advertisedServer struct {
	addr     netip.Addr
	lifetime time.Duration
}

// parseRouterAdvert takes an IPv6 packet apart that may be a Router
// Advertisement. It reports false unless it is one that is valid by RFC 4861
// §6.1.2: from a link-local address, with hop limit 255, which no router lets
// through from elsewhere, the right checksum, and options with a length.
// A fragment is never one (RFC 6980 §5); neither is one behind other extension
// headers, which nobody sends.
func parseRouterAdvert(p header.IPv6) (ra routerAdvert, ok bool) {
	if p.TransportProtocol() != header.ICMPv6ProtocolNumber {
		return ra, false
	}
	m := header.ICMPv6(p.Payload())
	ra.router = fromAddress(p.SourceAddress())
	if len(m) < raMinLen || m.Type() != header.ICMPv6RouterAdvert || m.Code() != 0 ||
		p.HopLimit() != header.NDPHopLimit || !ra.router.IsLinkLocalUnicast() || !checksumOK(p) {
		return ra, false
	}
	ra.other = m[5]&advertOtherConfig != 0
	ra.lifetime = seconds(uint32(binary.BigEndian.Uint16(m[raLifetime:])))
	for rest := []byte(m[raMinLen:]); len(rest) > 0; {
		if len(rest) < 8 || rest[1] == 0 || len(rest) < int(rest[1])*8 {
			return routerAdvert{}, false
		}
		var option []byte
		option, rest = rest[:int(rest[1])*8], rest[int(rest[1])*8:]
		ra.add(option)
	}
	return ra, true
}

// add adds one option. One of a wrong length is skipped, as are those that
// ask for what a host must not do: addresses from prefixes that are not of
// unicast addresses.
func (ra *routerAdvert) add(option []byte) {
	switch {
	case option[0] == optionPrefix && len(option) == 32:
		const onLink, autonomous = 0x80, 0x40
		prefix := netip.PrefixFrom(netip.AddrFrom16([16]byte(option[16:])), int(option[2]))
		// RFC 4862 §5.5.3 (a), (c), (d): with the A flag, the lifetimes in order,
		// and as long as an interface identifier leaves it.
		p := advertisedPrefix{
			prefix:    prefix.Masked(),
			valid:     seconds(binary.BigEndian.Uint32(option[4:])),
			preferred: seconds(binary.BigEndian.Uint32(option[8:])),
		}
		if option[3]&autonomous != 0 && p.preferred <= p.valid && prefix.Bits() == 64 && isGlobal(p.prefix.Addr()) {
			ra.prefixes = append(ra.prefixes, p)
		}
		// RFC 4861 §6.3.4: with the L flag, and not the link-local prefix.
		if option[3]&onLink != 0 && prefix.IsValid() && prefix.Bits() > 0 && isGlobal(p.prefix.Addr()) {
			ra.onLink = append(ra.onLink, p)
		}
	case option[0] == optionMTU && len(option) == 8:
		ra.mtu = binary.BigEndian.Uint32(option[4:])
	case option[0] == optionRDNSS && len(option) >= 24:
		lifetime := seconds(binary.BigEndian.Uint32(option[4:]))
		for a := option[8:]; len(a) >= 16; a = a[16:] {
			addr := netip.AddrFrom16([16]byte(a))
			if isGlobal(addr) || addr.IsLinkLocalUnicast() {
				ra.servers = append(ra.servers, advertisedServer{addr, lifetime})
			}
		}
	}
}

// isGlobal reports whether a is an IPv6 address that a host can have or talk
// to, beyond its link: none of ::/8, where loopback and IPv4-mapped addresses
// are (RFC 4291 §2.4), and neither multicast nor link-local.
func isGlobal(a netip.Addr) bool {
	return a.Is6() && a.As16()[0] != 0 && !a.IsMulticast() && !a.IsLinkLocalUnicast()
}

func seconds(n uint32) time.Duration { return time.Duration(n) * time.Second }

// routerSolicitation is a Router Solicitation from src (RFC 4861 §4.1). It has no
// source link-layer address: there is none on a PPP link.
func routerSolicitation(src netip.Addr) []byte {
	p := make([]byte, header.IPv6MinimumSize+solicitationLen)
	header.IPv6(p).Encode(&header.IPv6Fields{
		PayloadLength:     solicitationLen,
		TransportProtocol: header.ICMPv6ProtocolNumber,
		HopLimit:          header.NDPHopLimit,
		SrcAddr:           toAddress(src),
		DstAddr:           header.IPv6AllRoutersLinkLocalMulticastAddress,
	})
	m := header.ICMPv6(p[header.IPv6MinimumSize:])
	m.SetType(header.ICMPv6RouterSolicit)
	m.SetChecksum(icmpv6Checksum(p))
	return p
}

// icmpv6Checksum is what the checksum of p, an ICMPv6 packet without extension
// headers, must be (RFC 4443 §2.3).
func icmpv6Checksum(p header.IPv6) uint16 {
	return header.ICMPv6Checksum(header.ICMPv6ChecksumParams{
		Header: header.ICMPv6(p.Payload()),
		Src:    p.SourceAddress(),
		Dst:    p.DestinationAddress(),
	})
}

func checksumOK(p header.IPv6) bool {
	return header.ICMPv6(p.Payload()).Checksum() == icmpv6Checksum(p)
}
