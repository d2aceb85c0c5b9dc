package netstack

import (
	"net/netip"
	"slices"

	"gvisor.dev/gvisor/pkg/tcpip"
)

// leased reports whether a is an address that DHCP has given.
func (n *EthernetNIC) leased(a netip.Addr) bool { return slices.Contains(n.leasedAddresses(), a) }

func (n *EthernetNIC) leasedAddresses() []netip.Addr {
	if l := n.current(); l != nil {
		return []netip.Addr{l.addr.Addr()}
	}
	return nil
}

// current is the lease that there is now, or nil.
func (n *EthernetNIC) current() *lease {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.held
}

// leasedDNS are the servers that DHCP has told.
func (n *EthernetNIC) leasedDNS() []netip.Addr {
	if l := n.current(); l != nil {
		return l.dns
	}
	return nil
}

// Gateway is the IPv4 router that leads everywhere: the one that was given, or that DHCP
// has told. Zero: none.
func (n *EthernetNIC) Gateway() netip.Addr {
	if n.cfg.Gateway.IsValid() {
		return n.cfg.Gateway
	}
	if l := n.current(); l != nil {
		if i := slices.IndexFunc(l.routes, func(r Route) bool { return r.Prefix.Bits() == 0 }); i >= 0 {
			return l.routes[i].Via
		}
	}
	return netip.Addr{}
}

// notify says that something has changed.
func (n *EthernetNIC) notify() {
	n.mu.Lock()
	defer n.mu.Unlock()
	close(n.changed)
	n.changed = make(chan struct{})
}

// Changed is closed when Addresses, DNS or the routes change next.
func (n *EthernetNIC) Changed() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.changed
}

// static are the interface's own routes of one version of IP: its subnets, and what it
// was set up with.
func (c *EthernetConfig) static(is func(netip.Addr) bool) (own []netip.Prefix, r routes) {
	for _, a := range c.Addresses {
		if is(a.Addr()) {
			own = append(own, a)
			r = append(r, route{prefix: a.Masked(), source: a.Addr()})
		}
	}
	for _, x := range append(slices.Clone(c.Routes), c.gateways()...) {
		if is(x.Prefix.Addr()) {
			r = append(r, route{prefix: x.Prefix.Masked(), via: x.Via, source: sourceTo(x.Via, own)})
		}
	}
	return own, r
}

// sourceTo is the address that has its subnet in common with a router, or the zero one.
func sourceTo(router netip.Addr, own []netip.Prefix) netip.Addr {
	for _, p := range own {
		if router.IsValid() && p.Contains(router) {
			return p.Addr()
		}
	}
	return netip.Addr{}
}

// settle4 makes the layer and the stack agree with what is known of IPv4.
func (n *EthernetNIC) settle4() {
	own, r := n.cfg.static(netip.Addr.Is4)
	if l := n.current(); l != nil {
		own = append(own, l.addr)
		for _, x := range l.routes {
			r = append(r, route{prefix: x.Prefix, via: x.Via, source: l.addr.Addr()})
		}
	}
	n.layer.set4(own, r)
	n.route(&n.routed4, r)
}

// settle6 does the same for IPv6, when there are no routers to be heard.
func (n *EthernetNIC) settle6() {
	own, r := n.cfg.static(netip.Addr.Is6)
	if v := n.nic.v6; v != nil {
		v.mu.Lock()
		defer v.mu.Unlock()
		n.learnt6()
		return
	}
	n.layer.set6(own, r)
	n.route(&n.routed6, r)
}

// learnt6 is settle6 where what routers say has changed, under n.nic.v6.mu.
func (n *EthernetNIC) learnt6() {
	v := n.nic.v6
	own, r := n.cfg.static(netip.Addr.Is6)
	own = append(own, netip.PrefixFrom(v.linkLocal, 64))
	for _, a := range v.addrs {
		own = append(own, netip.PrefixFrom(a.addr, 128))
	}
	for _, p := range v.auto.onLink() {
		r = append(r, route{prefix: p})
	}
	n.route(&n.routed6, r)
	// The stack has the default route from the NIC, which knows when there is an address
	// to go with it.
	for _, via := range v.auto.routers {
		r = append(r, route{prefix: netip.PrefixFrom(netip.IPv6Unspecified(), 0), via: via.value})
	}
	n.layer.set6(own, r)
}

// lostRouter is called when a neighbor does not answer any more.
func (n *EthernetNIC) lostRouter(addr netip.Addr) {
	if n.nic == nil || n.nic.v6 == nil || !addr.IsLinkLocalUnicast() {
		return
	}
	v := n.nic.v6
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.auto.prefer(addr) {
		n.nic.stack.log.Info("IPv6 router does not answer", "router", addr)
		n.learnt6()
	}
}

// route gives the stack those of r that it does not have, and takes away the others.
// Who is next on the way is the layer's business: the stack wants to know which
// interface it is, and what to send from.
func (n *EthernetNIC) route(has *[]tcpip.Route, r routes) {
	var want []tcpip.Route
	for _, x := range r {
		subnet, err := tcpip.NewSubnet(toAddress(x.prefix.Addr()), tcpip.MaskFromBytes(netmask(x.prefix)))
		if err != nil {
			panic("BUG: netstack: " + err.Error())
		}
		y := tcpip.Route{Destination: subnet, NIC: n.nic.id}
		if x.via.IsValid() {
			y.Gateway = toAddress(x.via)
		}
		if x.source.IsValid() {
			y.SourceHint = toAddress(x.source)
		}
		want = append(want, y)
	}
	gv := n.nic.stack.gv
	for _, y := range *has {
		if !slices.ContainsFunc(want, y.Equal) {
			gv.RemoveRoutes(y.Equal)
		}
	}
	for _, y := range want {
		if !slices.ContainsFunc(*has, y.Equal) {
			gv.AddRoute(y)
		}
	}
	*has = want
}

// netmask is a prefix's length as a mask.
func netmask(p netip.Prefix) []byte {
	m := make([]byte, p.Addr().BitLen()/8)
	for i := range p.Bits() {
		m[i/8] |= 0x80 >> (i % 8)
	}
	return m
}
