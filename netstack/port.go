package netstack

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"

	"github.com/l2tpnet/l2tpnet/endpoint/link"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// PortConfig is how one session is routed: with plain values, as IPCP and IPV6CP
// negotiated them.
type PortConfig struct {
	Prefixes []netip.Prefix // routed to the session: its IPv4 address, and networks behind it
	MTU      int            // of IP packets in the session, from 68; more than the Router's is cut to that. 0: the Router's

	// InterfaceID is ours, which fe80::/64 makes our link-local address. Where it is
	// zero, or the MTU less than 1280, there is no IPv6, and prefixes of IPv6 are not
	// routed.
	InterfaceID [8]byte

	Prefix    netip.Prefix // of 64 bits, advertised to the session, which makes its addresses from it, and routed to it. Zero: none
	Delegated netip.Prefix // for the networks behind the session: routed to it, and given when it asks by DHCPv6. Zero: none
	DNS       []netip.Addr // IPv6 addresses of the servers that the session is told to ask, 8 at most

	segment bool // an Ethernet segment, with the Router's addresses in it
}

// A Port joins one session to a [Router]. It is the [link.Sink] for what comes
// in from that session: frames that are IP packets.
type Port struct {
	router               *Router
	prefixes4, prefixes6 []netip.Prefix
	out                  link.Sink // to the session
	down                 narrow    // from the stack to the session
	given                uint32    // the MTU of PortConfig
	life                 context.Context
	end                  context.CancelCauseFunc
	gate                 sync.RWMutex // read-locked by a Put; locked for good by shut
	shutting             sync.Once
	counters             counters
	complaints           pacer       // ICMP errors to the session
	ether                *etherLayer // below, where the session is an Ethernet segment; nil: point to point

	v6 *port6 // nil: no IPv6
}

const maxAdvertisedServers = 8

func (p *Port) configure(cfg *PortConfig) error {
	switch {
	case cfg.MTU != 0 && (cfg.MTU < minMTU || cfg.MTU > maxMTU):
		return fmt.Errorf("an MTU of %d is not from %d to %d", cfg.MTU, minMTU, maxMTU)
	}
	p.down.out, p.down.back, p.down.counters = p.out, p, &p.counters
	p.down.most = p.router.ep.MTU()
	if p.given = p.down.most; cfg.MTU != 0 {
		p.given = min(uint32(cfg.MTU), p.down.most)
	}
	p.down.mtu.Store(p.given)
	if a := cfg.Prefix; a != (netip.Prefix{}) && a.Bits() != 64 {
		return fmt.Errorf("%v cannot be advertised, only a prefix of 64 bits (RFC 4291 §2.5.1)", a)
	}
	if a := cfg.Delegated; a != (netip.Prefix{}) && (a.Addr().Is4() || a.Bits() > 64 || cfg.Prefix.IsValid() && a.Overlaps(cfg.Prefix)) {
		return fmt.Errorf("%v cannot be delegated, only 64 bits or less, without %v of the session itself", a, cfg.Prefix)
	}
	if len(cfg.DNS) > maxAdvertisedServers {
		return fmt.Errorf("%d DNS servers are more than the %d that a session can be told", len(cfg.DNS), maxAdvertisedServers)
	}
	for _, server := range cfg.DNS {
		if !isGlobal(server) {
			return fmt.Errorf("a session cannot be told the DNS server %v, only global addresses of IPv6", server)
		}
	}
	prefixes := slices.Clone(cfg.Prefixes)
	for _, a := range []netip.Prefix{cfg.Prefix, cfg.Delegated} {
		if a != (netip.Prefix{}) && !slices.Contains(prefixes, a) {
			prefixes = append(prefixes, a)
		}
	}
	hasIPv6 := cfg.InterfaceID != [8]byte{} && p.given >= minMTU6
	for _, a := range prefixes {
		if !a.IsValid() || a != a.Masked() || a.Addr().Is6() && !isGlobal(a.Addr()) {
			return fmt.Errorf("%v is not a prefix of unicast addresses", a)
		}
		for _, own := range p.router.addrs {
			if a.Contains(own) && !cfg.segment {
				return fmt.Errorf("%v has the server's own address %v in it", a, own)
			}
		}
		switch {
		case a.Addr().Is4():
			p.prefixes4 = append(p.prefixes4, a)
		case hasIPv6:
			p.prefixes6 = append(p.prefixes6, a)
		}
	}
	if hasIPv6 {
		p.v6 = &port6{linkLocal: linkLocal(cfg.InterfaceID), prefix: cfg.Prefix, delegated: cfg.Delegated, dns: slices.Clone(cfg.DNS)}
	}
	return nil
}

// Put takes packets that came in from the session. After Close they are
// dropped.
func (p *Port) Put(b *link.Batch) {
	if !p.gate.TryRLock() {
		p.counters.late.Add(uint64(len(b.Frames)))
		return
	}
	defer p.gate.RUnlock()
	p.router.ep.receive(b, p, &p.counters)
}

// admit4 makes sure that a packet comes from where its answer would go, and that
// it may go where it is for.
func (p *Port) admit4(h header.IPv4) verdict {
	if p.router.table4.lookup(addr4(binary.BigEndian.Uint32(h[12:]))) != p {
		return verdict{drop: &p.counters.spoofed}
	}
	to := p.router.table4.lookup(addr4(binary.BigEndian.Uint32(h[16:])))
	if to == p && p.ether != nil && p.ether.has(netip.AddrFrom4([4]byte(h[16:]))) {
		to = nil
	}
	return p.destined(to, h)
}

// destined is the verdict on a packet, which came from where it should, for what is
// behind another port, or for the stack.
func (p *Port) destined(to *Port, packet []byte) verdict {
	switch {
	case to == nil:
		if mtu := p.mtu(); mtu < int(p.down.most) && hasSYN(packet) {
			return verdict{amend: func(packet []byte) { clampMSS(packet, mtu) }}
		}
		return verdict{}
	case to == p || !p.router.clientToClient:
		return verdict{drop: &p.counters.clientToClient}
	}
	return verdict{from: p, to: to}
}

// SetMTU says what the session's MTU is now, in bytes; an endpoint.Session that the
// Port is attached to does it when the path to its peer turns out to be narrow. More
// than [PortConfig] has said is cut to that.
func (p *Port) SetMTU(mtu int) {
	least := minMTU
	if p.v6 != nil {
		least = minMTU6
	}
	p.down.mtu.Store(min(uint32(max(mtu, least)), p.given))
}

func (p *Port) mtu() int { return int(p.down.mtu.Load()) }

// send sends a packet of the Port's own to the session.
func (p *Port) send(packet []byte) {
	p.counters.sent(1, len(packet))
	putWhole(p.out, [][]byte{packet}, len(packet))
}

func (p *Port) shut() {
	p.end(net.ErrClosed)
	if p.ether != nil {
		p.ether.shut()
	}
	p.shutting.Do(p.gate.Lock)
}

// Close detaches the session. Connections with its addresses fail with
// net.ErrClosed and are reset, and none of their data reaches the session that
// has one of these addresses next.
func (p *Port) Close() error {
	p.shut()
	r := p.router
	r.mu.Lock()
	_, there := r.ports[p]
	delete(r.ports, p)
	if there {
		r.past.Add(p.Counters())
	}
	r.mu.Unlock()
	if there {
		r.stack.abort(func(_, remote netip.Addr) bool { return r.port(remote) == p })
		if r.forward != nil {
			r.forward.abort(p)
		}
		r.table4.remove(p.prefixes4)
		r.table6.remove(p.prefixes6)
	}
	return nil
}

// Counters are the port's counters so far.
func (p *Port) Counters() Counters { return p.counters.snapshot() }
