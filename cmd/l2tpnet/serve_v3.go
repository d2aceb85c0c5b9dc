package main

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/l2tpnet/l2tpnet/endpoint"
	"github.com/l2tpnet/l2tpnet/endpoint/node"
)

// serveV3Flags are what serve has for callers by L2TPv3.
type serveV3Flags struct {
	V3 bool `name:"v3" help:"Answer L2TPv3 too, on the same port: Ethernet for all who know the tunnel secret, or what --circuit says, and PPP."`
	v3Flags
	LAN          lanAddress `name:"lan" placeholder:"CIDR" help:"With --v3: our address on the Ethernet of its clients, with the length of its network, or none for no Ethernet. Default: 10.78.0.1/24."`
	LANDHCP      string     `name:"lan-dhcp" placeholder:"RANGE" help:"Addresses to lease to them, such as 10.78.0.100-10.78.0.199, or none. Default: the upper half of --lan's network."`
	LANAdvertise prefix     `name:"lan-advertise" placeholder:"PREFIX" help:"IPv6 prefix of 64 bits that they make their addresses from, such as fd00:78::/64. Default: none."`
	Circuit      []string   `placeholder:"ID,KEY=VALUE,..." sep:"none" help:"What a caller who asks for this Remote End ID gets: pw=ethernet, vlan:N, ip (with address, route, prefix) or ppp, and cookie-len, l2spec, seq, reorder-timeout, mtu, hosts=N, sessions=N, isolated. The ID * is for all others. May be repeated; without any, all IDs are taken."`
	CircuitsFile string     `type:"path" placeholder:"FILE" help:"File of circuits: a line with the ID of each, and indented lines below it such as: pw vlan:7."`
}

// defaultLAN is what Ethernet clients have for a network, beside the default pool.
var defaultLAN = netip.MustParsePrefix("10.78.0.1/24")

// A lanAddress is an address with the length of its network, or "none".
type lanAddress struct {
	given  bool
	prefix netip.Prefix // zero: none
}

func (l *lanAddress) UnmarshalText(text []byte) error {
	*l = lanAddress{given: true}
	if string(text) == "none" {
		return nil
	}
	var c cidr
	if err := c.UnmarshalText(text); err != nil {
		return fmt.Errorf("%w, or none", err)
	}
	l.prefix = netip.Prefix(c)
	return nil
}

// set gives a server what the flags say of L2TPv3.
func (f *serveV3Flags) set(s *node.Server, cmd *serveCmd) (err error) {
	if !f.V3 {
		if name := cmp.Or(f.v3Flags.given(), firstGiven([]flagGiven{
			{"--lan", f.LAN.given}, {"--lan-dhcp", f.LANDHCP != ""}, {"--lan-advertise", netip.Prefix(f.LANAdvertise).IsValid()},
			{"--circuit", len(f.Circuit) > 0}, {"--circuits-file", f.CircuitsFile != ""},
		})); name != "" {
			return usage(fmt.Errorf("expected --v3 with %s, which is for callers by L2TPv3, found none", name), "")
		}
		return nil
	}
	if s.V3, err = f.v3(s.Secret); err != nil {
		return err
	}
	if s.LAN, err = f.lan(cmd); err != nil {
		return err
	}
	if s.Circuits, err = f.circuits(); err != nil {
		return err
	}
	if s.LAN == nil && s.Users == nil && len(s.Circuits) == 0 {
		return usage(errors.New("expected a LAN, users or circuits for callers by L2TPv3, found none"), "--lan gives them an Ethernet, --users-file PPP, --circuit more")
	}
	return nil
}

// lan is our end of the clients' Ethernet; nil: there is none.
func (f *serveV3Flags) lan(cmd *serveCmd) (l *node.LAN, err error) {
	own := f.LAN.prefix
	if !f.LAN.given {
		own = defaultLAN
	}
	if !own.IsValid() {
		if name := firstGiven([]flagGiven{{"--lan-dhcp", f.LANDHCP != ""}, {"--lan-advertise", netip.Prefix(f.LANAdvertise).IsValid()}}); name != "" {
			return nil, usage(fmt.Errorf("expected a LAN with %s, found --lan none", name), "")
		}
		return nil, nil
	}
	l = &node.LAN{
		Addresses: []netip.Prefix{own}, Advertise: netip.Prefix(f.LANAdvertise), NoIPv6: cmd.NoIPv6,
		DNS: plain(cmd.DNS), ForwardDNS: cmd.forwards(),
	}
	switch f.LANDHCP {
	case "none":
	case "":
		l.ServeDHCP = upperHalf(own)
	default:
		if l.ServeDHCP, err = node.ParseDHCPRange(f.LANDHCP); err != nil {
			return nil, usage(fmt.Errorf("--lan-dhcp: %w", err), "")
		}
		if r := l.ServeDHCP; !own.Contains(r.First) || !own.Contains(r.Last) {
			return nil, usage(fmt.Errorf("--lan-dhcp: expected addresses in the network of --lan, %v, found %v", own.Masked(), r), "")
		}
	}
	l.Egress, err = cmd.egress()
	return l, err
}

// dhcpMost is how many addresses are leased where nobody says how many.
const dhcpMost = 4096

// upperHalf is the addresses of hosts in the upper half of a network, but no more than a
// server has; none where there is no room for any.
func upperHalf(own netip.Prefix) node.DHCPRange {
	if !own.Addr().Is4() || own.Bits() > 30 {
		return node.DHCPRange{}
	}
	count := uint32(1) << (32 - own.Bits())
	b := own.Masked().Addr().As4()
	base := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	at := func(n uint32) netip.Addr {
		n += base
		return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
	}
	first, last := count/2, count-2
	if own.Bits() == 30 {
		first = 1 // there are two, and one is ours
	}
	return node.DHCPRange{First: at(first), Last: at(min(last, first+dhcpMost-1))}
}

// describeV3 is what a user wants to know of what there is for callers by L2TPv3, in a line.
func describeV3(s *node.Server) string {
	st := s.Status().LAN
	if s.V3 == nil {
		return ""
	}
	var b strings.Builder
	b.WriteString("L2TPv3 too: ")
	if st == nil {
		b.WriteString("no Ethernet")
	} else {
		fmt.Fprintf(&b, "Ethernet with %v", s.LAN.Addresses[0])
		if r := s.LAN.ServeDHCP; r != (node.DHCPRange{}) {
			fmt.Fprintf(&b, ", DHCP %v", r)
		}
		if p := s.LAN.Advertise; p.IsValid() {
			fmt.Fprintf(&b, ", IPv6 %v", p)
		}
		if s.LAN.Egress != nil {
			b.WriteString(", egress")
		}
	}
	switch n := len(s.Circuits); {
	case n == 1:
		b.WriteString(", 1 circuit")
	case n > 1:
		fmt.Fprintf(&b, ", %d circuits", n)
	}
	return b.String() + "\n"
}

// errNoUsers is what there is to say to who wants PPP answered.
var errNoUsers = errors.New("expected --users-file, or --v3, which needs none, found neither")

// sessionName is what a session is called in what is printed: as its user, its circuit, or
// by where it comes from.
func sessionName(v node.ServerSession) string {
	switch {
	case v.Type == endpoint.PseudowirePPP:
		return printable(v.User)
	case v.RemoteEndID != "":
		return printable(v.RemoteEndID)
	case v.PeerName != "":
		return printable(v.PeerName) + " at " + v.Peer.String()
	}
	return v.Peer.String()
}

// sessionAddresses is what a session has inside, as far as it is known.
func sessionAddresses(v node.ServerSession) string {
	var words []string
	if v.Type != endpoint.PseudowirePPP {
		words = append(words, pseudowire{kind: v.Type}.word())
	}
	if v.Address.IsValid() {
		words = append(words, v.Address.String())
	}
	if v.Prefix.IsValid() {
		words = append(words, v.Prefix.String())
	}
	for _, h := range v.Hosts {
		if h.Address.IsValid() {
			words = append(words, h.Address.String())
		} else {
			words = append(words, h.MAC.String())
		}
	}
	return cmp.Or(strings.Join(words, " "), "no address")
}

// word is what a pseudowire carries, without the tag that one end has.
func (pw pseudowire) word() string {
	if pw.kind == endpoint.PseudowireVLAN {
		return "VLAN"
	}
	return pw.String()
}
