package netstack

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"

	"github.com/l2tpnet/l2tpnet/endpoint/link"
	"gvisor.dev/gvisor/pkg/tcpip"
)

// EthernetConfig is how an Ethernet interface is set up.
type EthernetConfig struct {
	Addresses []netip.Prefix // the interface's own, with the lengths of their subnets; of IPv4 and IPv6
	Gateway   netip.Addr     // the IPv4 router of the link; zero: none, or DHCP's
	Gateway6  netip.Addr     // the IPv6 router of the link; zero: those that advertise themselves
	Routes    []Route        // more ways to other networks
	DNS       []netip.Addr   // servers to resolve names with, before those that DHCP and routers tell
	MTU       int            // of IP packets, without the Ethernet header: from 68, with IPv6 from 1280. 0: 1400

	// MAC is the interface's address, of 6 octets and unicast. nil: a random one, locally
	// administered
	MAC net.HardwareAddr

	DHCP   bool   // have an IPv4 address leased, with router, DNS servers and MTU (RFC 2131)
	NoIPv6 bool   // neither a link-local address nor those that routers advertise prefixes for
	Name   string // what IPv6 addresses depend on, with prefix and AddressKey, as in [IPConfig]. Empty: the MAC address

	// With a Forwarder, or something to advertise, the interface is the gateway of its
	// segment: what the hosts there send to other networks is the Forwarder's ([Flow.Port]
	// is the same for all of them), and the Stack itself reaches the segment only.
	Forwarder *Forwarder     // nil, with Advertise: what is for other networks is dropped
	Advertise *Advertisement // nil: it is no IPv6 router

	// DHCPServer gives the hosts of the segment their IPv4 addresses, whether the interface
	// is their gateway or not. nil: nobody is answered
	DHCPServer *DHCPv4Server
}

// A Route is a way to other networks.
type Route struct {
	Prefix netip.Prefix
	Via    netip.Addr // a router on the link; zero: the addresses are on the link themselves
}

// An EthernetNIC is a Stack's interface to an Ethernet segment: the [link.Sink] for the
// frames that come in from there, with their headers and without a check sequence.
// Frames to its MAC address, to all, and to the multicast groups that it is in are for it;
// others are dropped and counted.
//
// Neighbors are found by ARP (RFC 826) and Neighbor Discovery (RFC 4861).
type EthernetNIC struct {
	nic    *NIC    // nil: a gateway
	router *Router // of a gateway
	port   *Port   // its only one
	layer  *etherLayer
	cfg    EthernetConfig

	above *EthernetNIC // whose sub-interface this is; nil: nobody's
	subs  sync.Mutex
	vlans map[uint16]*EthernetNIC

	duplicates pacer // log lines about other hosts' having our addresses

	dhcp    *leasing      // nil: no DHCP
	routed4 []tcpip.Route // as the stack has them
	routed6 []tcpip.Route

	mu      sync.Mutex
	held    *lease        // that DHCP has given; nil: none
	changed chan struct{} // closed when something changes, and then another
}

// AddEthernet adds an interface that sends frames to out. With static addresses it can
// be used at once; others come later ([EthernetNIC.Wait]).
func (s *Stack) AddEthernet(out link.Sink, cfg *EthernetConfig) (*EthernetNIC, error) {
	at, err := s.chooseMAC(cfg.MAC)
	if err != nil {
		return nil, fmt.Errorf("netstack: %w", err)
	}
	return s.addEthernet(out, cfg, at, 0)
}

// chooseMAC is the address that is wanted, or a random one. IEEE 802: the least bit of
// the first octet says that a group is meant, the next one that the address is no
// manufacturer's.
func (s *Stack) chooseMAC(want net.HardwareAddr) (m mac, err error) {
	switch {
	case len(want) == 0:
		if _, err := io.ReadFull(s.rand, m[:]); err != nil {
			return m, err
		}
		m[0] = m[0]&^1 | 2
		return m, nil
	case len(want) != len(m):
		return m, fmt.Errorf("the MAC address %v has %d octets, not %d", want, len(want), len(m))
	case want[0]&1 != 0:
		return m, fmt.Errorf("the MAC address %v is a group's: the first octet of an interface's own is even, such as 02:%s", want, want.String()[3:])
	case mac(want) == mac{}:
		return m, errors.New("the MAC address 00:00:00:00:00:00 is nobody's")
	}
	return mac(want), nil
}

func (s *Stack) addEthernet(out link.Sink, cfg *EthernetConfig, at mac, vlan uint16) (*EthernetNIC, error) {
	n := &EthernetNIC{cfg: *cfg, changed: make(chan struct{})}
	if err := n.cfg.check(); err != nil {
		return nil, fmt.Errorf("netstack: %w", err)
	}
	n.cfg.Name = cmp.Or(cfg.Name, at.String())
	ip := &IPConfig{Addresses: cfg.Addresses, DNS: cfg.DNS, MTU: cfg.MTU, Name: n.cfg.Name}
	if !cfg.NoIPv6 && cmp.Or(cfg.MTU, defaultMTU) >= minMTU6 {
		ip.InterfaceID = opaqueIID(s.addressKey, n.cfg.Name, linkLocalPrefix)
	}
	nic := &NIC{ether: n}
	n.layer = newEtherLayer(out, at, vlan, &nic.counters)
	n.layer.server, n.layer.clash, n.layer.gone = cfg.DHCPServer, n.clashed, n.lostRouter
	if cfg.isGateway() {
		if err := n.addGateway(s, ip.InterfaceID); err != nil {
			n.layer.shut()
			return nil, err
		}
		return n, nil
	}
	n.nic, n.layer.above, nic.out = nic, nic, etherDown{n.layer}
	if err := s.addNIC(nic, ip); err != nil {
		n.layer.shut()
		return nil, err
	}
	n.settle4()
	n.settle6()
	if cfg.DHCP {
		n.lease()
	}
	return n, nil
}

var linkLocalPrefix = netip.MustParsePrefix("fe80::/64")

// check looks for what makes no sense.
func (c *EthernetConfig) check() error {
	if c.isGateway() {
		if err := c.checkGateway(); err != nil {
			return err
		}
	}
	for _, a := range c.Addresses {
		// RFC 3021: in a subnet of two addresses both are hosts'.
		if ip := a.Addr(); a.IsValid() && ip.Is4() && a.Bits() < 31 && (ip == a.Masked().Addr() || isBroadcast(ip, []netip.Prefix{a})) {
			return fmt.Errorf("%v is no address of a host but the subnet's own, or that of all its hosts", a)
		}
	}
	v6 := slices.ContainsFunc(c.Addresses, func(a netip.Prefix) bool { return a.IsValid() && a.Addr().Is6() }) || c.Gateway6.IsValid()
	switch mtu := cmp.Or(c.MTU, defaultMTU); {
	case v6 && c.NoIPv6:
		return errors.New("an interface with NoIPv6 cannot have an IPv6 address or router, found one")
	case v6 && mtu < minMTU6:
		return fmt.Errorf("no IPv6 with an MTU of %d: it needs %d", mtu, minMTU6)
	}
	if len(c.Addresses) == 0 && !c.DHCP && c.NoIPv6 {
		return errors.New("an Ethernet interface needs an address, DHCP, or IPv6")
	}
	routes := append(slices.Clone(c.Routes), c.gateways()...)
	for _, r := range routes {
		switch {
		case !r.Prefix.IsValid():
			return fmt.Errorf("the route to %v is to no prefix", r.Prefix)
		case r.Via.IsValid() && (r.Via.Is4() != r.Prefix.Addr().Is4() || r.Via.IsUnspecified() || r.Via.IsMulticast()):
			return fmt.Errorf("%v cannot be the router for %v", r.Via, r.Prefix)
		case r.Via.IsValid() && !r.Via.IsLinkLocalUnicast() && !c.DHCP && !c.onLink(r.Via):
			return fmt.Errorf("the router %v is in none of the interface's subnets %v: give the address with its prefix length, such as 192.0.2.2/24", r.Via, c.Addresses)
		}
	}
	return nil
}

// gateways are the default routes.
func (c *EthernetConfig) gateways() (list []Route) {
	if c.Gateway != (netip.Addr{}) {
		list = append(list, Route{netip.PrefixFrom(netip.IPv4Unspecified(), 0), c.Gateway.Unmap()})
	}
	if c.Gateway6 != (netip.Addr{}) {
		list = append(list, Route{netip.PrefixFrom(netip.IPv6Unspecified(), 0), c.Gateway6.WithZone("")})
	}
	return list
}

func (c *EthernetConfig) onLink(a netip.Addr) bool {
	within := func(p netip.Prefix) bool { return p.Contains(a) }
	return slices.ContainsFunc(c.Addresses, within) ||
		slices.ContainsFunc(c.Routes, func(r Route) bool { return !r.Via.IsValid() && r.Prefix.Contains(a) })
}

// Put takes frames that came in. After Close they are dropped.
func (n *EthernetNIC) Put(b *link.Batch) { n.layer.Put(b) }

// MAC is the interface's address.
func (n *EthernetNIC) MAC() net.HardwareAddr { return slices.Clone(n.layer.mac[:]) }

// Addresses are the interface's own now: static ones, the one that DHCP has given, then
// those of IPv6, preferred ones first, and the link-local one, with a zone.
func (n *EthernetNIC) Addresses() []netip.Addr {
	if n.nic == nil {
		return n.gatewayAddresses()
	}
	return n.nic.Addresses()
}

// DNS are the servers that names are resolved with now. A gateway has none.
func (n *EthernetNIC) DNS() []netip.Addr {
	if n.nic == nil {
		return nil
	}
	return n.nic.DNS()
}

// Counters are the interface's counters so far, in IP packets and their bytes.
func (n *EthernetNIC) Counters() Counters {
	if n.nic == nil {
		return n.router.Counters()
	}
	return n.nic.Counters()
}

// SetMTU says what the MTU is now, of IP packets without a tag in bytes, as [NIC.SetMTU]
// does; sub-interfaces have four octets less.
func (n *EthernetNIC) SetMTU(mtu int) {
	if n.nic == nil {
		n.port.SetMTU(mtu)
	} else {
		n.nic.SetMTU(mtu)
	}
	for _, sub := range n.children() {
		sub.SetMTU(mtu - tagLen)
	}
}

// Fail ends what goes through the interface and its sub-interfaces at once, because what
// carried it is gone: conns fail with err (nil: net.ErrClosed), and so does what is begun
// later. It may be called anywhere; Close must follow.
func (n *EthernetNIC) Fail(err error) {
	if err == nil {
		err = net.ErrClosed
	}
	if n.nic == nil {
		n.failGateway(err)
	} else {
		n.nic.end(err)
	}
	for _, sub := range n.children() {
		sub.Fail(err)
	}
}

// Close removes the interface and its sub-interfaces from their stack, as [NIC.Close]
// does. An address that DHCP has leased is given back.
func (n *EthernetNIC) Close() error {
	for _, sub := range n.children() {
		sub.Close()
	}
	n.leave()
	if n.nic == nil {
		return n.closeGateway()
	}
	return n.nic.Close()
}
