package netstack

import (
	"net/netip"
	"sync/atomic"

	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// setInterfaceID says which interface identifier is ours in the session, after
// IPV6CP; zero: there is no IPv6. The link-local addresses of two sessions may be
// the same, and one stack has no place for that: so the Port itself answers echo
// requests to ours. Other IPv6 packets are dropped, and counted as NoIPv6.
func (p *Port) setInterfaceID(id [8]byte) {
	if id == [8]byte{} {
		p.linkLocal.Store(nil)
		return
	}
	a := linkLocal(id)
	p.linkLocal.Store(&a)
}

// refuses6 answers an echo request from one link-local address to ours.
func (p *Port) refuses6(h header.IPv6) (reason *atomic.Uint64, done bool) {
	own := p.linkLocal.Load()
	src := netip.AddrFrom16(h.SourceAddress().As16())
	if own == nil || netip.AddrFrom16(h.DestinationAddress().As16()) != *own || !src.IsLinkLocalUnicast() || src == *own ||
		h.TransportProtocol() != header.ICMPv6ProtocolNumber {
		return &p.counters.noIPv6, false
	}
	// What lies behind the packet is padding.
	request := h[:header.IPv6MinimumSize+int(h.PayloadLength())]
	m := header.ICMPv6(request.Payload())
	if len(m) < header.ICMPv6EchoMinimumSize || m.Type() != header.ICMPv6EchoRequest || m.Code() != 0 || len(request) > int(p.router.ep.MTU()) {
		return &p.counters.noIPv6, false
	}
	if !checksumOK(request) {
		return &p.counters.malformed, false
	}
	reply := header.IPv6(append([]byte(nil), request...))
	reply.SetSourceAddress(h.DestinationAddress())
	reply.SetDestinationAddress(h.SourceAddress())
	reply.SetHopLimit(echoHopLimit)
	r := header.ICMPv6(reply.Payload())
	r.SetType(header.ICMPv6EchoReply)
	r.SetChecksum(icmpv6Checksum(reply))
	putWhole(p.out, [][]byte{reply}, len(reply))
	p.counters.packetsOut.Add(1)
	p.counters.bytesOut.Add(uint64(len(reply)))
	return nil, true
}

const echoHopLimit = 64 // as gVisor's own replies have it
