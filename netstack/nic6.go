package netstack

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/link"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// A nic6 is what a NIC with IPv6 has more. Its lock is held while the stack is
// told what has changed, so that it is told in order; the stack never waits
// for it.
type nic6 struct {
	linkLocal netip.Addr // without a zone

	given bool // a global address and a way out, whatever routers advertise

	mu      sync.Mutex
	linkMTU uint32 // of the session
	auto    autoconf
	info    infoClient    // on Ethernet
	addrs   []autoAddress // as the stack has them
	routed  bool          // the stack has the default route
	dns     []netip.Addr
	timer   *time.Timer   // for auto's deadline
	changed chan struct{} // closed when one of them changes, and then another
}

// linkLocal is the address that an interface identifier makes (RFC 5072 §5).
func linkLocal(id [8]byte) netip.Addr {
	a := [16]byte{0: 0xfe, 1: 0x80}
	copy(a[8:], id[:])
	return netip.AddrFrom16(a)
}

// start6 gives the NIC its link-local address and begins to look for routers.
// Duplicates are not looked for: the peers have negotiated different identifiers, and
// have no address of the prefixes that they advertise (RFC 5072 §5).
func (n *NIC) start6() error {
	if err := n.addAddress6(autoAddress{addr: n.v6.linkLocal}); err != nil {
		return err
	}
	n.v6.mu.Lock()
	defer n.v6.mu.Unlock()
	now := time.Now()
	n.v6.linkMTU = n.ep.MTU()
	n.v6.info.random = n.stack.rand
	n.v6.auto.start(now)
	n.v6.timer = time.AfterFunc(time.Hour, n.tick)
	n.settle(now)
	return nil
}

func (n *NIC) addAddress6(a autoAddress) error {
	terr := n.stack.gv.AddProtocolAddress(n.id, tcpip.ProtocolAddress{
		Protocol:          ipv6.ProtocolNumber,
		AddressWithPrefix: tcpip.AddressWithPrefix{Address: toAddress(a.addr), PrefixLen: 64},
	}, stack.AddressProperties{Lifetimes: stack.AddressLifetimes{Deprecated: a.deprecated}})
	if terr != nil {
		return toError(terr)
	}
	return nil
}

// tick is called when auto's deadline has come.
func (n *NIC) tick() {
	if !n.gate.TryRLock() {
		return
	}
	defer n.gate.RUnlock()
	n.v6.mu.Lock()
	now := time.Now()
	solicit := n.v6.auto.advance(now)
	request := n.v6.info.advance(now)
	n.settle(now)
	n.v6.mu.Unlock()
	if n.life.Err() != nil {
		return
	}
	if solicit {
		n.tell(routerSolicitation(n.v6.linkLocal))
	}
	if request != nil {
		n.tell(informationRequest(n.v6.linkLocal, request))
	}
}

// tell sends a packet of the NIC's own.
func (n *NIC) tell(p []byte) {
	n.counters.sent(1, len(p))
	putWhole(n.out, [][]byte{p}, len(p))
}

// admit6 has a look at Router Advertisements in passing: the stack itself takes
// no notice of them.
func (n *NIC) admit6(p header.IPv6) verdict {
	if n.v6 == nil {
		return verdict{drop: &n.counters.noIPv6}
	}
	if ra, ok := parseRouterAdvert(p); ok {
		n.v6.mu.Lock()
		defer n.v6.mu.Unlock()
		now := time.Now()
		n.v6.auto.handle(now, ra)
		n.settle(now)
	}
	if n.ether != nil && p.TransportProtocol() == header.UDPProtocolNumber && p.DestinationAddress() == toAddress(n.v6.linkLocal) {
		n.v6.mu.Lock()
		defer n.v6.mu.Unlock()
		if now := time.Now(); n.v6.inform(now, p) {
			n.settle(now)
			return verdict{done: true}
		}
	}
	n.stack.echoes.look6(p)
	if p.TransportProtocol() == header.ICMPv6ProtocolNumber {
		return verdict{amend: actOnUnreachable}
	}
	return verdict{}
}

func (n *NIC) toward6([16]byte) (link.Sink, *counters) { return &n.down, &n.counters }

// settle makes the stack agree with auto, under n.v6.mu.
func (n *NIC) settle(now time.Time) {
	v, changed := n.v6, false
	addrs := v.auto.addresses(now)
	for i, a := range addrs {
		known := slices.IndexFunc(v.addrs, func(b autoAddress) bool { return b.addr == a.addr })
		switch {
		case known < 0:
			if err := n.addAddress6(a); err != nil {
				n.stack.log.Debug("IPv6 address not added", "address", a.addr, "error", err)
				continue
			}
		case v.addrs[known].deprecated != a.deprecated:
			n.stack.gv.SetAddressLifetimes(n.id, toAddress(a.addr), stack.AddressLifetimes{Deprecated: a.deprecated})
		default:
			continue
		}
		changed = true
		n.stack.log.Debug("IPv6 address", "address", addrs[i].addr, "deprecated", a.deprecated)
	}
	for _, a := range v.addrs {
		if !slices.ContainsFunc(addrs, func(b autoAddress) bool { return b.addr == a.addr }) {
			n.stack.abort(func(local, _ netip.Addr) bool { return local == a.addr })
			n.stack.gv.RemoveAddress(n.id, toAddress(a.addr))
			changed = true
			n.stack.log.Debug("IPv6 address has expired", "address", a.addr)
		}
	}
	v.addrs = addrs

	routed := v.auto.routed() && len(addrs) > 0 // the link-local address must not go beyond the link
	given := n.ether == nil && slices.ContainsFunc(n.addrs, netip.Addr.Is6)
	if routed != v.routed && !given { // whose route is there already
		route := tcpip.Route{Destination: header.IPv6EmptySubnet, NIC: n.id}
		if routed {
			n.stack.gv.AddRoute(route)
		} else {
			n.stack.gv.RemoveRoutes(route.Equal)
		}
		v.routed, changed = routed, true
		n.stack.log.Debug("IPv6 default route", "there", routed)
	}

	if n.ether != nil {
		n.ether.learnt6()
		if v.auto.other {
			v.info.start(now)
		}
	}

	// The stack has one MTU for both versions of IP. That of IPv6 is never more than
	// the link's, and IPv4 does not mind less.
	if mtu := v.auto.mtu(v.linkMTU); mtu != n.ep.MTU() {
		n.ep.mtu.Store(mtu)
		n.stack.log.Debug("MTU advertised", "mtu", mtu)
	}

	servers := v.auto.servers()
	for _, s := range v.info.dns {
		if !slices.Contains(servers, s) {
			servers = append(servers, s)
		}
	}
	for i, s := range servers {
		if isScoped(s) {
			servers[i] = s.WithZone(zone(n.id))
		}
	}
	if !slices.Equal(servers, v.dns) {
		v.dns, changed = servers, true
		n.stack.log.Debug("IPv6 DNS servers", "servers", servers)
	}

	if changed && n.ether != nil {
		n.ether.notify()
	}
	if changed {
		close(v.changed)
		v.changed = make(chan struct{})
	}
	v.timer.Stop()
	t := v.auto.deadline(now)
	if other := v.info.deadline(); t.IsZero() || !other.IsZero() && other.Before(t) {
		t = other
	}
	if !t.IsZero() {
		v.timer.Reset(t.Sub(now))
	}
}

// stop6 ends the timer, when no Put and no tick is left.
func (n *NIC) stop6() {
	n.v6.mu.Lock()
	defer n.v6.mu.Unlock()
	if n.v6.timer != nil {
		n.v6.timer.Stop()
	}
}

// ready reports whether there is a global address to begin connections from, and
// a way for them.
func (v *nic6) ready() bool {
	return v.given || v.routed && slices.ContainsFunc(v.addrs, func(a autoAddress) bool { return !a.deprecated })
}

// Addresses are the NIC's own: those of [IPConfig], then those that IPv6 has made
// by now, preferred ones first, and the link-local one, with a zone.
func (n *NIC) Addresses() []netip.Addr {
	all := slices.Clone(n.addrs)
	if n.ether != nil {
		all = append(all, n.ether.leasedAddresses()...)
	}
	if n.v6 == nil {
		return all
	}
	n.v6.mu.Lock()
	defer n.v6.mu.Unlock()
	for _, deprecated := range []bool{false, true} {
		for _, a := range n.v6.addrs {
			if a.deprecated == deprecated {
				all = append(all, a.addr)
			}
		}
	}
	return append(all, n.v6.linkLocal.WithZone(zone(n.id)))
}

// DNS are the servers that names are resolved with: those of [IPConfig], then
// those that routers advertise now.
func (n *NIC) DNS() []netip.Addr {
	n.stack.mu.Lock()
	all := slices.Clone(n.dns)
	n.stack.mu.Unlock()
	if n.ether != nil {
		all = append(all, n.ether.leasedDNS()...)
	}
	if n.v6 == nil {
		return all
	}
	n.v6.mu.Lock()
	defer n.v6.mu.Unlock()
	return append(all, n.v6.dns...)
}

// Changed is closed when Addresses, DNS or the way out over IPv6 change next.
// Without IPv6 it is nil: they never do.
func (n *NIC) Changed() <-chan struct{} {
	if n.v6 == nil {
		return nil
	}
	n.v6.mu.Lock()
	defer n.v6.mu.Unlock()
	return n.v6.changed
}

// WaitIPv6 waits until a router has given the NIC a global IPv6 address and a
// default route. It fails when ctx or the NIC ends, and at once without IPv6.
func (n *NIC) WaitIPv6(ctx context.Context) error {
	if n.v6 == nil {
		return errNoIPv6
	}
	for {
		n.v6.mu.Lock()
		ready, changed := n.v6.ready(), n.v6.changed
		n.v6.mu.Unlock()
		if ready {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return contextError(ctx)
		case <-n.life.Done():
			return context.Cause(n.life)
		}
	}
}
