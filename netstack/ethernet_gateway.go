package netstack

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

// An Advertisement is what a gateway tells the hosts of an Ethernet segment by Router
// Advertisements (RFC 4861 §6.2, RFC 8106): that it is an IPv6 router, and
type Advertisement struct {
	Prefix netip.Prefix // of 64 bits, which they make their addresses from
	DNS    []netip.Addr // IPv6 addresses of the servers that they are to ask, 8 at most
}

// isGateway reports whether the interface is the router of its segment.
func (c *EthernetConfig) isGateway() bool { return c.Forwarder != nil || c.Advertise != nil }

func (c *EthernetConfig) checkGateway() error {
	switch {
	case !slices.ContainsFunc(c.Addresses, func(a netip.Prefix) bool { return a.IsValid() }):
		return errors.New("a gateway needs an address of its own, that its clients send to")
	case c.DHCP:
		return errors.New("a gateway has the addresses that it is given, and cannot have one leased by DHCP")
	case c.Gateway.IsValid() || c.Gateway6.IsValid() || len(c.Routes) > 0:
		return errors.New("a gateway hands everything to its Forwarder, and has no routes nor gateway beside it")
	case len(c.DNS) > 0:
		return errors.New("a gateway resolves no names in its segment: DNS servers for its clients are told by DHCP and Advertise")
	case c.Advertise != nil && c.NoIPv6:
		return errors.New("what a gateway advertises is IPv6, which NoIPv6 forbids")
	case c.Advertise != nil && (!c.Advertise.Prefix.IsValid() || c.Advertise.Prefix.Addr().Is4()):
		return fmt.Errorf("%v cannot be advertised, only an IPv6 prefix of 64 bits", c.Advertise.Prefix)
	}
	return nil
}

// addGateway makes the segment the one session of a Router, whose addresses are the
// interface's own.
func (n *EthernetNIC) addGateway(s *Stack, iid [8]byte) error {
	cfg := &n.cfg
	rc := &RoutedConfig{MTU: cfg.MTU, Forwarder: cfg.Forwarder}
	pc := &PortConfig{InterfaceID: iid, segment: true}
	for _, a := range cfg.Addresses {
		rc.Addresses = append(rc.Addresses, a.Addr())
		if p := a.Masked(); !slices.Contains(pc.Prefixes, p) {
			pc.Prefixes = append(pc.Prefixes, p)
		}
	}
	if cfg.Advertise != nil {
		pc.Prefix, pc.DNS = cfg.Advertise.Prefix.Masked(), cfg.Advertise.DNS
	}
	r, err := s.AddRouted(rc)
	if err != nil {
		return err
	}
	r.routeTo(append(slices.Clone(pc.Prefixes), pc.Prefix)) // before what other interfaces are the way to
	p := &Port{router: r, out: etherDown{n.layer}, ether: n.layer}
	n.router, n.port, n.layer.above, n.layer.counters, n.layer.router = r, p, p, &p.counters, true
	if err := p.configure(pc); err != nil {
		r.Close()
		return fmt.Errorf("netstack: %w", err)
	}
	own4, r4 := cfg.static(netip.Addr.Is4)
	own6, r6 := cfg.static(netip.Addr.Is6)
	if p.v6 != nil {
		p.v6.mac = n.layer.mac
		own6 = append(own6, netip.PrefixFrom(p.v6.linkLocal, 64))
		if pc.Prefix.IsValid() {
			r6 = append(r6, route{prefix: pc.Prefix})
		}
	}
	n.layer.set4(own4, r4)
	n.layer.set6(own6, r6)
	if err := r.enter(p); err != nil {
		r.Close()
		return err
	}
	if p.advertises() {
		p.announce()
	}
	return nil
}

// failGateway is Fail of a gateway.
func (n *EthernetNIC) failGateway(err error) {
	n.port.end(err)
	n.router.end(err)
}

func (n *EthernetNIC) closeGateway() error {
	n.port.Close()
	return n.router.Close()
}

// gatewayAddresses are a gateway's own.
func (n *EthernetNIC) gatewayAddresses() []netip.Addr {
	all := slices.Clone(n.router.addrs)
	if v := n.port.v6; v != nil {
		all = append(all, v.linkLocal.WithZone(zone(n.router.id)))
	}
	return all
}
