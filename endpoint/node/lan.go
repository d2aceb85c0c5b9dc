package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/l2tpnet/l2tpnet/netstack"
)

// A LAN is how our own stack takes part in an Ethernet segment: as one host among
// others, with addresses that are given or leased, or as the others' gateway, which
// gives them addresses, resolves names and lets them out. Its zero value is a host
// with IPv6 only.
type LAN struct {
	// Addresses are our own, with the lengths of their subnets: 10.9.0.1/24.
	Addresses []netip.Prefix
	// DHCP has an IPv4 address leased, where somebody else is the gateway.
	DHCP bool
	// Gateway and Gateway6 are the segment's routers, where somebody else is. Zero: none,
	// or those that DHCP and router advertisements tell of.
	Gateway, Gateway6 netip.Addr
	// DNS are the servers that names are resolved with, and that clients are told of. Nil:
	// those that DHCP and router advertisements tell of; clients are told of us, if we
	// forward questions.
	DNS []netip.Addr
	// MAC is our address. Nil: a random one.
	MAC net.HardwareAddr
	// MTU is that of IP packets in the segment, in bytes, which clients are told as well.
	// 0: the least of what the ports carry when it begins, at most 1,500.
	MTU int
	// NoIPv6 leaves IPv6 off.
	NoIPv6 bool

	// ServeDHCP has clients' IPv4 addresses leased to them, for Lease at most (0: one
	// hour). FixedIPv4 are those of certain ones, by their MAC addresses, and Domain is what
	// they are told. We are their router if there is an Egress.
	ServeDHCP DHCPRange
	Lease     time.Duration
	FixedIPv4 map[string]netip.Addr
	Domain    string
	// Advertise is an IPv6 prefix of 64 bits that clients make their addresses from. We
	// have the first of its addresses, unless there is another one among Addresses.
	Advertise netip.Prefix
	// ForwardDNS are the servers that our addresses forward clients' questions to, from
	// the host. Nil: with Egress, and without DNS, those of the host's /etc/resolv.conf;
	// otherwise questions are not forwarded.
	ForwardDNS []netip.AddrPort
	// Egress carries what clients send elsewhere, through the host's sockets. It is the
	// LAN's from the start on. Nil: nothing goes anywhere but to us and to each other.
	Egress *Egress

	ours   bool                       // nobody else is a router there, even without Egress
	beside func(netip.Addr) bool      // what else clients do not reach through the host; nil: nothing
	leased func(netstack.DHCPv4Lease) // told of what the DHCP server gives; nil: nobody
}

const (
	defaultLANMTU = 1500
	leastIPv6MTU  = 1280 // RFC 8200 §5
)

// A DHCPRange is the addresses that clients are given. The zero value has none.
type DHCPRange struct{ First, Last netip.Addr }

// ParseDHCPRange reads "10.9.0.100-10.9.0.199", or "10.9.0.100-199".
func ParseDHCPRange(s string) (DHCPRange, error) {
	fail := func() (DHCPRange, error) {
		return DHCPRange{}, fmt.Errorf("expected a range of IPv4 addresses such as 10.9.0.100-10.9.0.199, found %q", s)
	}
	from, to, ok := strings.Cut(s, "-")
	if !ok {
		return fail()
	}
	first, err := netip.ParseAddr(strings.TrimSpace(from))
	if err != nil || !first.Is4() {
		return fail()
	}
	to = strings.TrimSpace(to)
	if !strings.Contains(to, ".") {
		text := first.String()
		to = text[:strings.LastIndexByte(text, '.')+1] + to
	}
	last, err := netip.ParseAddr(to)
	if err != nil || !last.Is4() || last.Less(first) {
		return fail()
	}
	return DHCPRange{first, last}, nil
}

// String is what ParseDHCPRange reads; empty for the zero value.
func (r DHCPRange) String() string {
	if r == (DHCPRange{}) {
		return ""
	}
	return r.First.String() + "-" + r.Last.String()
}

// isGateway reports whether clients' packets to other networks come to us.
func (l *LAN) isGateway() bool { return l.Egress != nil || l.Advertise.IsValid() || l.ours }

// check finds what does not fit together.
func (l *LAN) check() error {
	serves := l.isGateway() || l.ServeDHCP != (DHCPRange{}) || len(l.ForwardDNS) > 0
	is4 := func(p netip.Prefix) bool { return p.Addr().Is4() }
	switch {
	case l.DHCP && slices.ContainsFunc(l.Addresses, is4):
		return errors.New("expected an IPv4 address or DHCP, found both")
	case l.DHCP && serves:
		return errors.New("expected addresses of our own, since others have theirs from us, found DHCP")
	case l.isGateway() && (l.Gateway.IsValid() || l.Gateway6.IsValid()):
		return errors.New("expected no gateway, since we are that, found one")
	case l.ServeDHCP != (DHCPRange{}) && !slices.ContainsFunc(l.Addresses, func(p netip.Prefix) bool { return is4(p) && p.Contains(l.ServeDHCP.First) }):
		return fmt.Errorf("expected an address of our own in the subnet of the DHCP range %v, such as %v/24, found %v", l.ServeDHCP, l.ServeDHCP.First, l.Addresses)
	case l.ServeDHCP == (DHCPRange{}) && (l.Lease != 0 || l.FixedIPv4 != nil || l.Domain != ""):
		return errors.New("expected a DHCP range with what its clients are given, found none")
	case l.Advertise.IsValid() && (!l.Advertise.Addr().Is6() || l.Advertise.Bits() != 64 || l.Advertise != l.Advertise.Masked()):
		return fmt.Errorf("expected an IPv6 prefix of 64 bits to advertise, such as fd00:9::/64, found %v", l.Advertise)
	case l.Advertise.IsValid() && l.NoIPv6:
		return errors.New("expected IPv6 with a prefix to advertise, found that it is off")
	case l.Egress != nil && len(l.Addresses) == 0 && !l.Advertise.IsValid():
		return errors.New("expected an address of our own, since we are others' gateway, found none")
	case len(l.Addresses) == 0 && !l.DHCP && l.NoIPv6:
		return errors.New("expected an address or DHCP, since there is no IPv6, found none")
	case l.MTU != 0 && !l.NoIPv6 && l.MTU < leastIPv6MTU:
		return fmt.Errorf("expected an MTU of %d or more, which IPv6 needs, found %d", leastIPv6MTU, l.MTU)
	}
	return nil
}

// addresses are our own, with that of the prefix that is advertised.
func (l *LAN) addresses() []netip.Prefix {
	all := slices.Clone(l.Addresses)
	if p := l.Advertise; p.IsValid() && !slices.ContainsFunc(all, func(a netip.Prefix) bool { return p.Contains(a.Addr()) }) {
		all = append(all, netip.PrefixFrom(p.Addr().Next(), p.Bits()))
	}
	return all
}

// ethernet is the interface of the LAN, with the MTU that it has.
func (l *LAN) ethernet(mtu int, dhcp *netstack.DHCPv4Server, forwardsDNS bool) *netstack.EthernetConfig {
	cfg := &netstack.EthernetConfig{
		Addresses: l.addresses(), Gateway: l.Gateway, Gateway6: l.Gateway6, MTU: mtu, MAC: l.MAC,
		DHCP: l.DHCP, NoIPv6: l.NoIPv6 || mtu < leastIPv6MTU, Name: "lan", DHCPServer: dhcp,
	}
	if !l.isGateway() {
		cfg.DNS = l.DNS
	}
	switch {
	case l.Egress != nil:
		cfg.Forwarder = l.Egress.forwarder(l.owns)
		l.Egress.state.perHost = true
	case l.ours:
		cfg.Forwarder = &netstack.Forwarder{} // which refuses all
	}
	if l.Advertise.IsValid() {
		cfg.Advertise = &netstack.Advertisement{Prefix: l.Advertise, DNS: l.tells(netip.Addr.Is6, forwardsDNS)}
	}
	return cfg
}

// owns reports whether an address is of the segment: clients do not reach it through the
// host.
func (l *LAN) owns(a netip.Addr) bool {
	return l.beside != nil && l.beside(a) || l.Advertise.IsValid() && l.Advertise.Contains(a) ||
		slices.ContainsFunc(l.Addresses, func(p netip.Prefix) bool { return p.Contains(a) })
}

// tells is the DNS servers that clients are told of, of one version of IP.
func (l *LAN) tells(is func(netip.Addr) bool, forwardsDNS bool) (servers []netip.Addr) {
	if l.DNS == nil && forwardsDNS {
		for _, p := range l.addresses() {
			if is(p.Addr()) {
				servers = append(servers, p.Addr())
			}
		}
		return servers
	}
	for _, a := range l.DNS {
		if is(a) {
			servers = append(servers, a)
		}
	}
	return servers
}

// dhcpServer gives clients their addresses; nil: nobody does.
func (l *LAN) dhcpServer(mtu int, forwardsDNS bool) (*netstack.DHCPv4Server, error) {
	if l.ServeDHCP == (DHCPRange{}) {
		return nil, nil
	}
	at := slices.IndexFunc(l.Addresses, func(p netip.Prefix) bool { return p.Contains(l.ServeDHCP.First) })
	cfg := &netstack.DHCPv4ServerConfig{
		Server: l.Addresses[at], First: l.ServeDHCP.First, Last: l.ServeDHCP.Last, Fixed: l.FixedIPv4,
		DNS: l.tells(netip.Addr.Is4, forwardsDNS), Domain: l.Domain, MTU: mtu, LeaseTime: cmp.Or(l.Lease, time.Hour), Leased: l.leased,
	}
	if l.Egress != nil {
		cfg.Router = l.Addresses[at].Addr()
	}
	return netstack.NewDHCPv4Server(cfg)
}

// wait returns when the interface has the addresses that are leased to it, or, without any,
// those that routers advertise.
func (l *LAN) wait(ctx context.Context, nic *netstack.EthernetNIC, log *slog.Logger) error {
	if !l.DHCP {
		return nil
	}
	log.Info("waiting for an address by DHCP")
	return nic.Wait(ctx)
}
