package netstack

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/link"
)

// RoutedConfig is how a [Router] is set up.
type RoutedConfig struct {
	Addresses []netip.Addr // the server's own, the gateways of its clients: at least one
	MTU       int          // of IP packets, from 68, with IPv6 from 1280. 0: 1400

	// ClientToClient lets sessions send to each other: switched below the stack,
	// with the checks of a router. Otherwise such packets are dropped and counted.
	ClientToClient bool

	// Forwarder has the sessions' flows to all other addresses. nil: they are
	// dropped.
	Forwarder *Forwarder
}

// A Router is a Stack's one interface to many sessions: it looks the session up
// by destination address. Each session is attached through a [Port].
type Router struct {
	base
	table4         table4
	table6         table6
	clientToClient bool
	duid           []byte // by which DHCP clients know the server
	unrouted       counters
	forward        *forwarding // nil: nothing is forwarded

	mu          sync.Mutex
	ports       map[*Port]struct{}
	past        Counters    // of ports that have been closed
	advertising *time.Timer // nil: no port has been told of a prefix yet
}

// AddRouted adds a Router without sessions, and the default routes into it.
func (s *Stack) AddRouted(cfg *RoutedConfig) (*Router, error) {
	r := &Router{ports: make(map[*Port]struct{}), clientToClient: cfg.ClientToClient, duid: newDUID(s.addressKey)}
	var addresses []netip.Prefix
	for _, a := range cfg.Addresses {
		addresses = append(addresses, netip.PrefixFrom(a, a.BitLen()))
	}
	if len(addresses) == 0 {
		return nil, errNoAddress
	}
	if err := s.add(&r.base, r, addresses, cfg.MTU, slices.ContainsFunc(cfg.Addresses, netip.Addr.Is6)); err != nil {
		return nil, err
	}
	r.routeAll()
	if cfg.Forwarder != nil {
		var err error
		if r.forward, err = newForwarding(cfg.Forwarder, r); err != nil {
			r.Close()
			return nil, err
		}
		r.ep.beside = r.forward.takes
		s.beginWith(r.forward.gv, forwardBuffer, forwardBufferMax)
	}
	return r, nil
}

// Attach joins a session: packets to its prefixes go to out, and only packets
// from them are taken from the session. Where prefixes of several sessions
// overlap the longest one counts. One that is attached already, or that has an
// address of the Router's in it, is refused.
//
// Where IPv6 is routed to the session it is told so at once, and now and then, by
// Router Advertisements.
func (r *Router) Attach(cfg *PortConfig, out link.Sink) (*Port, error) {
	p := &Port{router: r, out: out}
	if err := p.configure(cfg); err != nil {
		return nil, fmt.Errorf("netstack: %w", err)
	}
	if err := r.enter(p); err != nil {
		return nil, err
	}
	if p.advertises() {
		p.announce()
	}
	return p, nil
}

func (r *Router) enter(p *Port) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := context.Cause(r.life); err != nil {
		return fmt.Errorf("netstack: %w", err)
	}
	p.life, p.end = context.WithCancelCause(r.life) // from the tables on everybody sees it
	err := r.table4.add(p, p.prefixes4)
	if err == nil {
		if err = r.table6.add(p, p.prefixes6); err != nil {
			r.table4.remove(p.prefixes4)
		}
	}
	if err != nil {
		p.end(err)
		return err
	}
	r.ports[p] = struct{}{}
	if p.advertises() {
		r.schedule(p)
	}
	return nil
}

// toward is the way out to a session. The source address is the Router's own,
// since the stack forwards nothing.
func (r *Router) toward(dst uint32) (link.Sink, *counters) {
	if p := r.table4.lookup(addr4(dst)); p != nil {
		return &p.down, &p.counters
	}
	return nil, &r.unrouted
}

func (r *Router) toward6(dst [16]byte) (link.Sink, *counters) {
	if p := r.table6.lookup(toAddr6(dst)); p != nil {
		return &p.down, &p.counters
	}
	return nil, &r.unrouted
}

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
	if addr.Is4() {
		return r.table4.lookup(addr4(0).from(addr))
	}
	return r.table6.lookup(addr6{}.from(addr))
}

func (r *Router) hasIPv6() bool { return slices.ContainsFunc(r.addrs, netip.Addr.Is6) }

// gateway is the first of the addresses of one version of IP, or the zero one.
func (r *Router) gateway(is func(netip.Addr) bool) netip.Addr {
	if i := slices.IndexFunc(r.addrs, is); i >= 0 {
		return r.addrs[i]
	}
	return netip.Addr{}
}

func (r *Router) shut() {
	r.end(net.ErrClosed)
	// Attach fails from here on.
	r.mu.Lock()
	if r.advertising != nil {
		r.advertising.Stop()
	}
	for p := range r.ports {
		p.shut()
	}
	r.mu.Unlock()
	if r.forward != nil {
		r.forward.close()
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
