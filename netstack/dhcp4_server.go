package netstack

import (
	"bytes"
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

const (
	defaultLeaseTime = time.Hour
	leaseTimeLeast   = time.Minute
	offerTime        = 30 * time.Second // for which an address is kept for who has been offered it
	declinedTime     = 10 * time.Minute // for which one that is in use by somebody else is not given

	// maxRange is how many addresses a server gives: it looks through them all when it
	// is asked for one.
	maxRange = 4096

	// maxOfMAC is how many addresses there are for clients that call themselves by
	// different names and have one MAC address.
	maxOfMAC = 8

	maxHostName = 63 // RFC 1035 §2.3.4
)

// DHCPv4ServerConfig is how a [DHCPv4Server] is set up.
type DHCPv4ServerConfig struct {
	Server      netip.Prefix          // our own address on the link, with the length of its subnet
	First, Last netip.Addr            // the addresses to give, in that subnet: 4,096 at most. Our own, Router and Fixed are left out
	Fixed       map[string]netip.Addr // those of certain clients, by MAC address ("02:00:00:00:00:01"), in the subnet

	Router    netip.Addr    // of the subnet. Zero: clients are told none
	DNS       []netip.Addr  // servers that clients are told of: of IPv4
	Domain    string        // that clients are told of. Empty: none
	MTU       int           // that clients are told of. 0: none
	LeaseTime time.Duration // at most, from a minute. 0: an hour

	// Leased, if set, is told of each address that a client gets, or has renewed. It must
	// not wait.
	Leased func(DHCPv4Lease)
}

// A DHCPv4Server gives the hosts of an Ethernet segment IPv4 addresses (RFC 2131), and
// tells them of router, DNS servers, domain and MTU. It is the only one on its link:
// clients that ask for an address that they cannot have are told so, also when nothing
// is known of them, and those who had one before the server was started again may have
// it again. Relay agents are not answered.
//
// A server remembers one client for each address, so that there are never more records
// than addresses, and a client that comes back has the one that it had, unless somebody
// else needed it.
//
// It is for one interface ([EthernetConfig]).
type DHCPv4Server struct {
	cfg   DHCPv4ServerConfig
	fixed map[mac]netip.Addr
	kept  map[netip.Addr]bool // that are not to be given

	mu      sync.Mutex
	leases  map[netip.Addr]*lease4
	records []*lease4          // all of leases: looking through a map takes many times as long
	fresh   netip.Addr         // those of the range before it have been given, or are kept
	clients map[string]*lease4 // by what identifies them
	full    time.Time          // until when no address is free
	leased  *lease4            // what the present message has led to
	counts  DHCPv4Counters
}

// DHCPv4Counters are what a server has been asked, and has said.
type DHCPv4Counters struct {
	Discover, Request, Inform, Release, Decline uint64 // that were for it
	Offer, Ack, Nak                             uint64
	Ignored                                     uint64 // malformed, relayed, for another server, or not from the client itself
	Exhausted                                   uint64 // questions that were not answered because no address was free
}

// NewDHCPv4Server is a server without leases.
func NewDHCPv4Server(cfg *DHCPv4ServerConfig) (*DHCPv4Server, error) {
	s := &DHCPv4Server{
		cfg:     *cfg,
		fixed:   map[mac]netip.Addr{},
		kept:    map[netip.Addr]bool{cfg.Server.Addr(): true, cfg.Router: true},
		leases:  map[netip.Addr]*lease4{},
		fresh:   cfg.First,
		clients: map[string]*lease4{},
	}
	s.cfg.LeaseTime = cmp.Or(cfg.LeaseTime, defaultLeaseTime)
	fail := func(format string, args ...any) (*DHCPv4Server, error) {
		return nil, fmt.Errorf("netstack: DHCP server: "+format, args...)
	}
	switch {
	case !cfg.Server.IsValid() || !cfg.Server.Addr().Is4() || cfg.Server.Bits() > 30:
		return fail("expected its own IPv4 address with a subnet of at most 30 bits, such as 192.0.2.1/24, found %v", cfg.Server)
	case !s.isHost(cfg.First) || !s.isHost(cfg.Last) || cfg.Last.Less(cfg.First):
		return fail("expected a range of hosts' addresses in %v, found %v to %v", cfg.Server.Masked(), cfg.First, cfg.Last)
	case addr4(0).from(cfg.Last)-addr4(0).from(cfg.First) >= maxRange:
		return fail("the range from %v to %v has more than %d addresses", cfg.First, cfg.Last, maxRange)
	case s.cfg.LeaseTime < leaseTimeLeast:
		return fail("expected a lease of %v or more, found %v", leaseTimeLeast, cfg.LeaseTime)
	case cfg.MTU != 0 && (cfg.MTU < minMTU || cfg.MTU > maxMTU):
		return fail("an MTU of %d is not from %d to %d", cfg.MTU, minMTU, maxMTU)
	case cfg.Router.IsValid() && !cfg.Router.Is4():
		return fail("expected an IPv4 address of the router, found %v", cfg.Router)
	case len(cfg.Domain) > 253:
		return fail("a domain of %d bytes is longer than 253", len(cfg.Domain))
	case len(cfg.DNS) > maxAdvertisedServers:
		return fail("%d DNS servers are more than the %d that a client can be told", len(cfg.DNS), maxAdvertisedServers)
	}
	for _, a := range cfg.DNS {
		if !a.Is4() {
			return fail("a client cannot be told the DNS server %v, only IPv4 addresses", a)
		}
	}
	for name, a := range cfg.Fixed {
		m, err := net.ParseMAC(name)
		if err != nil || len(m) != len(mac{}) {
			return fail("expected a MAC address such as 02:00:00:00:00:01, found %q", name)
		}
		if !s.isHost(a) || s.kept[a] {
			return fail("%v cannot be fixed for %s: expected a host's address in %v that is nobody else's", a, name, cfg.Server.Masked())
		}
		s.fixed[mac(m)], s.kept[a] = a, true
	}
	return s, nil
}

// isHost reports whether a host of the subnet can have a.
func (s *DHCPv4Server) isHost(a netip.Addr) bool {
	subnet := s.cfg.Server
	return subnet.Contains(a) && a != subnet.Masked().Addr() && !isBroadcast(a, []netip.Prefix{subnet})
}

// Counters are the counters so far.
func (s *DHCPv4Server) Counters() DHCPv4Counters {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts
}

// A dhcp4Reply is a message to a client, with the addresses that it goes to.
type dhcp4Reply struct {
	message []byte
	to      netip.Addr
	at      mac
}

var broadcast4 = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// handle takes a message, the payload of a UDP datagram that came from the MAC address
// from. The reply is nil when there is none.
func (s *DHCPv4Server) handle(now time.Time, message []byte, from mac) *dhcp4Reply {
	m, err := dhcpv4.FromBytes(message)
	s.mu.Lock()
	s.leased = nil
	reply := s.answer(now, m, err, from)
	var lease DHCPv4Lease
	told := s.leased != nil && s.cfg.Leased != nil
	if told {
		lease = s.leased.public()
	}
	s.mu.Unlock()
	if told {
		s.cfg.Leased(lease)
	}
	return reply
}

// answer is handle, with s.mu, of a message that may be malformed.
func (s *DHCPv4Server) answer(now time.Time, m *dhcpv4.DHCPv4, err error, from mac) *dhcp4Reply {
	if err != nil || !s.isFor(m, from) {
		s.counts.Ignored++
		return nil
	}
	c := leaseholder{id: client4ID(m), mac: from, name: hostName(m)}
	if s.fixed[from].IsValid() {
		c.id = macID(m) // whichever of its systems is running
	}
	switch m.MessageType() {
	case dhcpv4.MessageTypeDiscover:
		s.counts.Discover++
		return s.discover(now, m, &c)
	case dhcpv4.MessageTypeRequest:
		return s.request(now, m, &c)
	case dhcpv4.MessageTypeInform:
		return s.inform(m)
	case dhcpv4.MessageTypeRelease:
		if l := s.clients[c.id]; s.isOurs(m) && l != nil && l.addr == ip4(m.ClientIPAddr) {
			s.counts.Release++
			l.state, l.until = leaseEnded, now
			s.full = time.Time{}
			return nil
		}
	case dhcpv4.MessageTypeDecline:
		if l := s.clients[c.id]; s.isOurs(m) && l != nil && l.addr == ip4(m.RequestedIPAddress()) {
			s.counts.Decline++
			delete(s.clients, c.id)
			// It counts as that MAC address's still, else one client could decline them all.
			l.client, l.state, l.until = leaseholder{mac: c.mac}, leaseDeclined, now.Add(declinedTime)
			return nil
		}
	}
	s.counts.Ignored++
	return nil
}

// isFor reports whether m is a question of a client on the link that speaks for itself:
// who asks in the names of others would soon have all addresses.
func (s *DHCPv4Server) isFor(m *dhcpv4.DHCPv4, from mac) bool {
	return m.OpCode == dhcpv4.OpcodeBootRequest && m.HWType == 1 && m.GatewayIPAddr.IsUnspecified() &&
		from.isUnicast() && bytes.Equal(m.ClientHWAddr, from[:])
}

// isOurs reports whether m says that it is for this server.
func (s *DHCPv4Server) isOurs(m *dhcpv4.DHCPv4) bool {
	return ip4(m.ServerIdentifier()) == s.cfg.Server.Addr()
}

// discover answers a client that looks for servers (RFC 2131 §4.3.1).
func (s *DHCPv4Server) discover(now time.Time, m *dhcpv4.DHCPv4, c *leaseholder) *dhcp4Reply {
	l := s.offer(now, c, ip4(m.RequestedIPAddress()))
	if l == nil {
		s.counts.Exhausted++
		return nil
	}
	s.counts.Offer++
	return s.reply(m, dhcpv4.MessageTypeOffer, l.addr, s.leaseTime(m))
}

// request answers a client that wants an address: one that has been offered, or one that
// it has, or had (RFC 2131 §4.3.2).
func (s *DHCPv4Server) request(now time.Time, m *dhcpv4.DHCPv4, c *leaseholder) *dhcp4Reply {
	wanted := ip4(m.RequestedIPAddress())
	if a := ip4(m.ClientIPAddr); a.IsValid() && !a.IsUnspecified() {
		wanted = a // it has it: RENEWING, REBINDING
	}
	if m.Options.Has(dhcpv4.OptionServerIdentifier) && !s.isOurs(m) {
		// It has chosen another server. RFC 2131 §3.1: "Those servers not selected by the
		// DHCPREQUEST message use the message as notification that the client has declined
		// that server's offer."
		if l := s.clients[c.id]; l != nil && l.state == leaseOffered {
			l.state, l.until = leaseEnded, now
			s.full = time.Time{}
		}
		s.counts.Ignored++
		return nil
	}
	s.counts.Request++
	l := s.grant(now, c, wanted, s.leaseTime(m))
	if l == nil {
		s.counts.Nak++
		return s.reply(m, dhcpv4.MessageTypeNak, netip.Addr{}, 0)
	}
	s.counts.Ack++
	s.leased = l
	return s.reply(m, dhcpv4.MessageTypeAck, l.addr, s.leaseTime(m))
}

// inform tells a client that has an address of its own the rest (RFC 2131 §4.3.5).
func (s *DHCPv4Server) inform(m *dhcpv4.DHCPv4) *dhcp4Reply {
	if !s.isHost(ip4(m.ClientIPAddr)) {
		s.counts.Ignored++
		return nil
	}
	s.counts.Inform++
	s.counts.Ack++
	return s.reply(m, dhcpv4.MessageTypeAck, netip.Addr{}, 0)
}

// leaseTime is for how long the client has its address: not longer than it wants.
func (s *DHCPv4Server) leaseTime(m *dhcpv4.DHCPv4) time.Duration {
	return min(s.cfg.LeaseTime, max(m.IPAddressLeaseTime(s.cfg.LeaseTime), leaseTimeLeast))
}

// reply is a message to the client (RFC 2131 table 3, §4.1).
func (s *DHCPv4Server) reply(m *dhcpv4.DHCPv4, kind dhcpv4.MessageType, your netip.Addr, lease time.Duration) *dhcp4Reply {
	r := &dhcpv4.DHCPv4{
		OpCode: dhcpv4.OpcodeBootReply, HWType: m.HWType, TransactionID: m.TransactionID, Flags: m.Flags,
		ClientIPAddr: net.IPv4zero, YourIPAddr: net.IPv4zero, ServerIPAddr: net.IPv4zero, GatewayIPAddr: net.IPv4zero,
		ClientHWAddr: m.ClientHWAddr, Options: dhcpv4.Options{},
	}
	say := func(o dhcpv4.Option) { r.UpdateOption(o) }
	say(dhcpv4.OptMessageType(kind))
	say(dhcpv4.OptServerIdentifier(s.cfg.Server.Addr().AsSlice()))
	if id := m.GetOneOption(dhcpv4.OptionClientIdentifier); id != nil {
		say(dhcpv4.OptGeneric(dhcpv4.OptionClientIdentifier, id)) // RFC 6842 §3
	}
	to, at := broadcast4, broadcastMAC
	if kind == dhcpv4.MessageTypeNak {
		say(dhcpv4.OptMessage("the address is not to be had here"))
		return &dhcp4Reply{r.ToBytes(), to, at} // RFC 2131 §4.1: always to all
	}
	if kind == dhcpv4.MessageTypeAck {
		r.ClientIPAddr = m.ClientIPAddr
	}
	if your.IsValid() {
		r.YourIPAddr = your.AsSlice()
		say(dhcpv4.OptIPAddressLeaseTime(lease))
		say(dhcpv4.OptRenewTimeValue(lease / 2))
		say(dhcpv4.OptRebindingTimeValue(lease * 7 / 8))
	}
	say(dhcpv4.OptSubnetMask(net.CIDRMask(s.cfg.Server.Bits(), 32)))
	if s.cfg.Router.IsValid() {
		say(dhcpv4.OptRouter(s.cfg.Router.AsSlice()))
	}
	if len(s.cfg.DNS) > 0 {
		var servers []net.IP
		for _, a := range s.cfg.DNS {
			servers = append(servers, a.AsSlice())
		}
		say(dhcpv4.OptDNS(servers...))
	}
	if s.cfg.Domain != "" {
		say(dhcpv4.OptDomainName(s.cfg.Domain))
	}
	if s.cfg.MTU != 0 {
		say(dhcpv4.OptGeneric(dhcpv4.OptionInterfaceMTU, []byte{byte(s.cfg.MTU >> 8), byte(s.cfg.MTU)}))
	}
	// Who has an address gets the reply there; who has none, at the one that it is given,
	// unless it says that it cannot take that yet.
	switch client := ip4(m.ClientIPAddr); {
	case s.isHost(client):
		to, at = client, mac(m.ClientHWAddr)
	case your.IsValid() && !m.IsBroadcast():
		to, at = your, mac(m.ClientHWAddr)
	}
	return &dhcp4Reply{r.ToBytes(), to, at}
}

// client4ID is what a client is known by: the identifier that it gives itself, if it does
// (RFC 2131 §4.2), with its MAC address. By the first alone anybody could say that he is
// another one, and have its address.
func client4ID(m *dhcpv4.DHCPv4) string {
	if id := m.GetOneOption(dhcpv4.OptionClientIdentifier); len(id) >= 2 && len(id) <= 255 {
		return string(id) + string(m.ClientHWAddr)
	}
	return macID(m)
}

// macID is that of who gives itself none, or one that is nothing but its MAC address (RFC 2132
// §9.14).
func macID(m *dhcpv4.DHCPv4) string { return "\x01" + string(m.ClientHWAddr) + string(m.ClientHWAddr) }

// hostName is how a client calls itself, for people, in what a name may be made of.
func hostName(m *dhcpv4.DHCPv4) string {
	name := string(m.GetOneOption(dhcpv4.OptionHostName))
	if len(name) > maxHostName || strings.ContainsFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !slices.Contains([]rune("-._"), r)
	}) {
		return ""
	}
	return name
}

// ip4 is an address of a message; the zero one if there is none.
func ip4(ip net.IP) netip.Addr {
	if v4 := ip.To4(); v4 != nil {
		return netip.AddrFrom4([4]byte(v4))
	}
	return netip.Addr{}
}
