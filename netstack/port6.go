package netstack

import (
	"bytes"
	"net/netip"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// A port6 is what a Port with IPv6 has more. The link-local addresses of two
// sessions may be the same, and one stack has no place for that: so the Port
// itself answers what is on the link, and only packets between global addresses
// reach the stack or other sessions.
type port6 struct {
	linkLocal         netip.Addr // ours
	mac               mac        // ours, on Ethernet; zero: there is none
	prefix, delegated netip.Prefix
	dns               []netip.Addr
	solicited, asked  pacer // by Router Solicitations, and by DHCP

	// Under the Router's lock.
	nextAdvert time.Time
	adverts    int // scheduled so far
}

var (
	allRouters     = netip.MustParseAddr("ff02::2")
	allNodes       = netip.MustParseAddr("ff02::1")
	allDHCPServers = netip.MustParseAddr("ff02::1:2") // All_DHCP_Relay_Agents_and_Servers, RFC 8415 §7.1
)

const (
	hopByHop     = uint8(header.IPv6HopByHopOptionsExtHdrIdentifier)
	echoHopLimit = 64 // as gVisor's own replies have it
)

func (p *Port) admit6(h header.IPv6) verdict {
	if p.v6 == nil {
		return verdict{drop: &p.counters.noIPv6}
	}
	src, dst := netip.AddrFrom16([16]byte(h[8:])), netip.AddrFrom16([16]byte(h[24:]))
	// RFC 4291 §2.5.6: "Routers must not forward any packets with Link-Local source
	// or destination addresses to other links."
	if src.IsLinkLocalUnicast() || src.IsUnspecified() || dst.IsLinkLocalUnicast() || dst.IsMulticast() {
		return p.onLink(h, src, dst)
	}
	if p.router.table6.lookup(toAddr6([16]byte(h[8:]))) != p {
		return verdict{drop: &p.counters.spoofed}
	}
	to := p.router.table6.lookup(toAddr6([16]byte(h[24:])))
	if to == p && p.ether != nil && p.ether.has(dst) {
		to = nil
	}
	return p.destined(to, h)
}

// onLink deals with a packet that is for this link only.
func (p *Port) onLink(h header.IPv6, src, dst netip.Addr) verdict {
	if !src.IsLinkLocalUnicast() && !src.IsUnspecified() || src == p.v6.linkLocal {
		return verdict{drop: &p.counters.linkLocal}
	}
	switch next := h.TransportProtocol(); {
	case next == header.ICMPv6ProtocolNumber:
		if len(h.Payload()) < header.ICMPv6MinimumSize || !checksumOK(h) {
			return verdict{drop: &p.counters.malformed}
		}
		return p.icmp6(h, src, dst)
	case next == header.UDPProtocolNumber && dst == allDHCPServers && src.IsLinkLocalUnicast():
		return p.dhcp6(h, src)
	case uint8(next) == hopByHop && dst.IsMulticast() && isMLDReport(h.Payload()):
		return verdict{done: true}
	}
	return verdict{drop: &p.counters.linkLocal}
}

// isMLDReport reports whether there is a message of Multicast Listener Discovery
// behind the hop-by-hop options that it always has (RFC 3810 §5). We forward no
// multicast packets, and need not know who listens.
func isMLDReport(p []byte) bool {
	const query, report, done, reportV2 = 130, 131, 132, 143
	if len(p) < 8 || p[0] != uint8(header.ICMPv6ProtocolNumber) {
		return false
	}
	options := (int(p[1]) + 1) * 8
	if len(p) < options+header.ICMPv6MinimumSize {
		return false
	}
	switch p[options] {
	case query, report, done, reportV2:
		return true
	}
	return false
}

// icmp6 answers ICMPv6 on the link. The checksum is right.
func (p *Port) icmp6(h header.IPv6, src, dst netip.Addr) verdict {
	m := header.ICMPv6(h.Payload())
	switch t := m.Type(); {
	case t == header.ICMPv6EchoRequest:
		return p.echo6(h, src, dst)
	case t == header.ICMPv6RouterSolicit || t == header.ICMPv6NeighborSolicit:
		if !isNeighborDiscovery(h, src) {
			return verdict{drop: &p.counters.malformed}
		}
		if t == header.ICMPv6NeighborSolicit {
			return p.neighborSolicited(m, src, dst)
		}
		return p.routerSolicited(src)
	case t == header.ICMPv6NeighborAdvert:
		return verdict{done: true} // nobody is looked for on a PPP link
	}
	return verdict{drop: &p.counters.linkLocal}
}

// isNeighborDiscovery reports whether h is a valid solicitation by RFC 4861 §6.1.1 and
// §7.1.1: hop limit 255, which no router lets through from elsewhere, code 0,
// options with a length, and no link-layer address of a host without an address.
func isNeighborDiscovery(h header.IPv6, src netip.Addr) bool {
	const sourceLinkLayer = 1
	m := header.ICMPv6(h.Payload())
	least := solicitationLen
	if m.Type() == header.ICMPv6NeighborSolicit {
		least = neighborLen
	}
	if h.HopLimit() != header.NDPHopLimit || m.Code() != 0 || len(m) < least {
		return false
	}
	for rest := []byte(m[least:]); len(rest) > 0; rest = rest[int(rest[1])*8:] {
		if len(rest) < 8 || rest[1] == 0 || len(rest) < int(rest[1])*8 || rest[0] == sourceLinkLayer && src.IsUnspecified() {
			return false
		}
	}
	return true
}

// echo6 answers an echo request to our link-local address.
func (p *Port) echo6(h header.IPv6, src, dst netip.Addr) verdict {
	m := header.ICMPv6(h.Payload())
	if dst != p.v6.linkLocal || src.IsUnspecified() || len(m) < header.ICMPv6EchoMinimumSize || m.Code() != 0 || len(h) > p.mtu() {
		return verdict{drop: &p.counters.linkLocal}
	}
	reply := bytes.Clone(m)
	reply[0] = byte(header.ICMPv6EchoReply)
	p.send(icmpv6Packet(dst, src, echoHopLimit, reply))
	return verdict{done: true}
}

// neighborLen is a Neighbor Solicitation or Advertisement without options (RFC 4861
// §4.3, §4.4).
const neighborLen = 24

// neighborSolicited says that our addresses are here. On a PPP link nobody needs to
// know a link-layer address, and there is none to tell; but some hosts ask
// whether a router can still be reached, and whether an address is a duplicate.
func (p *Port) neighborSolicited(m header.ICMPv6, src, dst netip.Addr) verdict {
	target := netip.AddrFrom16([16]byte(m[8:]))
	if target.IsMulticast() {
		return verdict{drop: &p.counters.malformed}
	}
	if target != p.v6.linkLocal && !p.router.has(target) {
		return verdict{done: true} // it looks for a duplicate of its own address, which nobody has
	}
	const router, solicited, override = 0x80, 0x40, 0x20
	advert := make([]byte, neighborLen)
	advert[0], advert[4] = byte(header.ICMPv6NeighborAdvert), router|override
	copy(advert[8:], target.AsSlice())
	// RFC 4861 §7.2.4: "If the source of the solicitation is the unspecified address,
	// the node MUST set the Solicited flag to zero and multicast the advertisement
	// to the all-nodes address."
	if src.IsUnspecified() {
		src = allNodes
	} else {
		advert[4] |= solicited
	}
	p.send(icmpv6Packet(target, src, header.NDPHopLimit, advert))
	return verdict{done: true}
}

// icmpv6Packet is an ICMPv6 packet, whose checksum it puts in.
func icmpv6Packet(src, dst netip.Addr, hopLimit uint8, m []byte) []byte {
	p := newIPv6(src, dst, hopLimit, header.ICMPv6ProtocolNumber, len(m))
	copy(p[header.IPv6MinimumSize:], m)
	header.ICMPv6(p.Payload()).SetChecksum(icmpv6Checksum(p))
	return p
}

// newIPv6 is an IPv6 packet with n bytes of payload that are to be written.
func newIPv6(src, dst netip.Addr, hopLimit uint8, protocol tcpip.TransportProtocolNumber, n int) header.IPv6 {
	p := make(header.IPv6, header.IPv6MinimumSize+n)
	p.Encode(&header.IPv6Fields{
		PayloadLength: uint16(n), TransportProtocol: protocol, HopLimit: hopLimit,
		SrcAddr: toAddress(src), DstAddr: toAddress(dst),
	})
	return p
}

// udpChecksum is what the checksum of p, an IPv6 packet with UDP in it, must be. It
// has no zero, which stands for none (RFC 8200 §8.1).
func udpChecksum(p header.IPv6) uint16 {
	return udpSum(p.SourceAddress(), p.DestinationAddress(), header.UDP(p.Payload()))
}

// udpSum is what the checksum of u must be.
func udpSum(src, dst tcpip.Address, u header.UDP) uint16 {
	sum := header.PseudoHeaderChecksum(header.UDPProtocolNumber, src, dst, uint16(len(u)))
	sum = checksum.Checksum(u[header.UDPMinimumSize:], checksum.Checksum(u[:6], sum)) // without itself
	if ^sum == 0 {
		return 0xffff
	}
	return ^sum
}
