package netstack

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/l2tpnet/l2tpnet/endpoint/link"
)

// RoutedConfig is how a [Router] is set up.
type RoutedConfig struct {
	Addresses []netip.Addr // the server's own, the gateway of its clients; IPv4, at least one
	MTU       int          // of IP packets, from 68. 0: 1400

	// ClientToClient lets sessions send to each other: switched below the stack,
	// with the checks of a router. Otherwise such packets are dropped and counted.
	ClientToClient bool
}

// PortConfig is how one session is routed: with plain values, as IPCP and IPV6CP
// negotiated them.
type PortConfig struct {
	Prefixes    []netip.Prefix // routed to the session: its IPv4 address, and networks behind it
	MTU         int            // of IP packets in the session. 0, or more than the Router's: the Router's
	InterfaceID [8]byte        // ours, which fe80::/64 makes the link-local address. Zero: no IPv6
	Prefix      netip.Prefix   // of 64 bits, advertised to the session, which makes its addresses from it. Zero: none
	Delegated   netip.Prefix   // for the networks behind the session, if it asks by DHCPv6. Zero: none
	DNS         []netip.Addr   // IPv6 addresses of the servers that the session is told to ask
}

// A Router is a Stack's one interface to many sessions: it looks the session up
// by destination address. Each session is attached through a [Port]. What
// comes from one client for another is dropped.
type Router struct {
	base
	table    table
	unrouted counters

	mu    sync.Mutex
	ports map[*Port]struct{}
	past  Counters // of ports that have been closed
}

// AddRouted adds a Router without sessions, and the default route into it.
func (s *Stack) AddRouted(cfg *RoutedConfig) (*Router, error) {
	r := &Router{ports: make(map[*Port]struct{})}
	var addresses []netip.Prefix
	for _, a := range cfg.Addresses {
		addresses = append(addresses, netip.PrefixFrom(a, a.BitLen()))
	}
	if err := s.add(&r.base, r, addresses, cfg.MTU, false); err != nil {
		return nil, err
	}
	return r, nil
}

// A Port joins one session to a [Router]. It is the [link.Sink] for what comes
// in from that session: frames that are IP packets.
type Port struct {
	router   *Router
	prefixes []netip.Prefix
	out      link.Sink
	life     context.Context
	end      context.CancelCauseFunc
	gate     sync.RWMutex // read-locked by a Put; locked for good by shut
	shutting sync.Once
	counters counters

	linkLocal atomic.Pointer[netip.Addr] // nil: no IPv6
}

// Attach joins a session: packets to its prefixes go to out, and only packets
// from them are taken from the session. Where prefixes of several sessions
// overlap the longest one counts. One that is attached already, or that has an
// address of the Router's in it, is refused.
func (r *Router) Attach(cfg *PortConfig, out link.Sink) (*Port, error) {
	prefixes := cfg.Prefixes
	for _, p := range prefixes {
		if !p.IsValid() || !p.Addr().Is4() || p != p.Masked() {
			return nil, fmt.Errorf("netstack: %v is not a prefix of IPv4 addresses", p)
		}
		for _, a := range r.addrs {
			if p.Contains(a) {
				return nil, fmt.Errorf("netstack: %v has the server's own address %v in it", p, a)
			}
		}
	}
	p := &Port{router: r, prefixes: prefixes, out: out}
	p.setInterfaceID(cfg.InterfaceID)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := context.Cause(r.life); err != nil {
		return nil, fmt.Errorf("netstack: %w", err)
	}
	p.life, p.end = context.WithCancelCause(r.life)
	if err := r.table.add(p, prefixes); err != nil {
		p.end(err)
		return nil, err
	}
	r.ports[p] = struct{}{}
	return p, nil
}

// toward is the way out to a session. The source address is the Router's own,
// since the stack forwards nothing.
func (r *Router) toward(dst uint32) (link.Sink, *counters) {
	if p := r.table.lookup(dst); p != nil {
		return p.out, &p.counters
	}
	return nil, &r.unrouted
}

func (r *Router) toward6([16]byte) (link.Sink, *counters) { return nil, &r.unrouted }

func (r *Router) carrier(remote netip.Addr) context.Context {
	if r.has(remote) {
		return r.life
	}
	if p := r.port(remote); p != nil {
		return p.life
	}
	return nil
}

// port is the port of the session that has addr, or nil.
func (r *Router) port(addr netip.Addr) *Port {
	if !addr.Is4() {
		return nil
	}
	return r.table.lookup(toUint32(addr))
}

func (r *Router) shut() {
	r.end(net.ErrClosed)
	// Attach fails from here on.
	r.mu.Lock()
	defer r.mu.Unlock()
	for p := range r.ports {
		p.shut()
	}
}

// Close removes the Router and its ports from the stack, as [NIC.Close] does.
func (r *Router) Close() error {
	r.shut()
	r.remove()
	return nil
}

// Counters are the sums of the counters of all ports, those that have been
// closed as well, and what had no port to go to.
func (r *Router) Counters() Counters {
	sum := r.unrouted.snapshot()
	r.mu.Lock()
	defer r.mu.Unlock()
	sum.Add(r.past)
	for p := range r.ports {
		sum.Add(p.Counters())
	}
	return sum
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

// refuses makes sure that a packet comes from where its answer would go, and
// that it is not for another client.
func (p *Port) refuses(src, dst uint32) *atomic.Uint64 {
	if p.router.table.lookup(src) != p {
		return &p.counters.spoofed
	}
	if p.router.table.lookup(dst) != nil {
		return &p.counters.clientToClient
	}
	return nil
}

func (p *Port) shut() {
	p.end(net.ErrClosed)
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
		r.table.remove(p.prefixes)
	}
	return nil
}

// Counters are the port's counters so far.
func (p *Port) Counters() Counters { return p.counters.snapshot() }

func toUint32(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}
