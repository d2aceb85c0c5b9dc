package netstack

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// A dhcp4Link is a server, and clients that ask it, in virtual time.
type dhcp4Link struct {
	*DHCPv4Server
	t   *testing.T
	now time.Time
}

func dhcp4LinkOf(t *testing.T, change func(*DHCPv4ServerConfig)) *dhcp4Link {
	t.Helper()
	cfg := &DHCPv4ServerConfig{
		Server: netip.MustParsePrefix("192.0.2.1/24"), First: netip.MustParseAddr("192.0.2.10"), Last: netip.MustParseAddr("192.0.2.12"),
		Router: netip.MustParseAddr("192.0.2.1"), DNS: []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("198.51.100.53")},
		Domain: "example.net", MTU: 1450,
	}
	if change != nil {
		change(cfg)
	}
	s, err := NewDHCPv4Server(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return &dhcp4Link{s, t, time.Unix(1e9, 0)}
}

func (l *dhcp4Link) mac(n int) mac { return mac{2, 0, 0, 0, byte(n >> 8), byte(n)} }

// ask sends a message of client n, and returns the reply, if there is one, and where it goes.
func (l *dhcp4Link) ask(n int, kind dhcpv4.MessageType, with ...dhcpv4.Modifier) (*dhcpv4.DHCPv4, string) {
	l.t.Helper()
	from := l.mac(n)
	m, err := dhcpv4.New(append([]dhcpv4.Modifier{
		dhcpv4.WithMessageType(kind), dhcpv4.WithHwAddr(from[:]), dhcpv4.WithTransactionID(dhcpv4.TransactionID{1, 2, 3, byte(n)}),
	}, with...)...)
	if err != nil {
		l.t.Fatal(err)
	}
	r := l.handle(l.now, m.ToBytes(), from)
	if r == nil {
		return nil, ""
	}
	got, err := dhcpv4.FromBytes(r.message)
	if err != nil {
		l.t.Fatalf("the reply: %v", err)
	}
	if got.OpCode != dhcpv4.OpcodeBootReply || got.TransactionID != m.TransactionID || !slices.Equal(got.ClientHWAddr, from[:]) || len(r.message) > 576 {
		l.t.Errorf("reply %v", got.Summary())
	}
	if id := ip4(got.ServerIdentifier()); id != l.cfg.Server.Addr() {
		l.t.Errorf("the reply is from the server %v", id)
	}
	to := r.to.String()
	if r.at == broadcastMAC {
		to += " all"
	} else if r.at != from {
		l.t.Errorf("the reply goes to %x", r.at)
	}
	return got, to
}

func withAddress(a string) dhcpv4.Modifier {
	return dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(net.ParseIP(a)))
}
func withServer(a string) dhcpv4.Modifier {
	return dhcpv4.WithOption(dhcpv4.OptServerIdentifier(net.ParseIP(a)))
}
func withClient(a string) dhcpv4.Modifier { return dhcpv4.WithClientIP(net.ParseIP(a)) }
func withID(id string) dhcpv4.Modifier {
	return dhcpv4.WithOption(dhcpv4.OptClientIdentifier([]byte(id)))
}

// says is what a reply says, in short.
func says(m *dhcpv4.DHCPv4, _ string) string {
	if m == nil {
		return "nothing"
	}
	return m.MessageType().String() + " " + m.YourIPAddr.String()
}

func (l *dhcp4Link) want(what, got, want string) {
	l.t.Helper()
	if got != want {
		l.t.Errorf("%s: %s, want %s", what, got, want)
	}
}

// lease has client n get an address as clients do.
func (l *dhcp4Link) lease(n int, with ...dhcpv4.Modifier) string {
	l.t.Helper()
	offer, _ := l.ask(n, dhcpv4.MessageTypeDiscover, with...)
	if offer == nil {
		return "nothing"
	}
	a := offer.YourIPAddr.String()
	return says(l.ask(n, dhcpv4.MessageTypeRequest, append(with, withAddress(a), withServer("192.0.2.1"))...))
}

// Issue 6: "small DHCPv4 server". RFC 2131 §3.1, figure 3.
func TestDHCPv4GivesAnAddressAndTheRest(t *testing.T) {
	l := dhcp4LinkOf(t, nil)
	offer, to := l.ask(1, dhcpv4.MessageTypeDiscover)
	l.want("discover", says(offer, to), "OFFER 192.0.2.10")
	l.want("discover", to, "192.0.2.10")
	ack, to := l.ask(1, dhcpv4.MessageTypeRequest, withAddress("192.0.2.10"), withServer("192.0.2.1"), dhcpv4.WithOption(dhcpv4.OptHostName("printer")))
	l.want("request", says(ack, to), "ACK 192.0.2.10")
	for _, m := range []*dhcpv4.DHCPv4{offer, ack} {
		got := fmt.Sprintln(m.SubnetMask(), m.Router(), m.DNS(), m.DomainName(), m.GetOneOption(dhcpv4.OptionInterfaceMTU),
			m.IPAddressLeaseTime(0), m.IPAddressRenewalTime(0), m.IPAddressRebindingTime(0))
		l.want("options", got, "ffffff00 [192.0.2.1] [192.0.2.1 198.51.100.53] example.net [5 170] 1h0m0s 30m0s 52m30s\n")
	}
	// Nothing that was not configured is told.
	l = dhcp4LinkOf(t, func(c *DHCPv4ServerConfig) { c.Router, c.DNS, c.Domain, c.MTU = netip.Addr{}, nil, "", 0 })
	offer, _ = l.ask(1, dhcpv4.MessageTypeDiscover)
	for _, code := range []dhcpv4.OptionCode{dhcpv4.OptionRouter, dhcpv4.OptionDomainNameServer, dhcpv4.OptionDomainName, dhcpv4.OptionInterfaceMTU} {
		if offer.Options.Has(code) {
			t.Errorf("told of %v", code)
		}
	}
}

// Whoever wants to know is told of leases, and of no offers.
func TestDHCPv4LeasesAreTold(t *testing.T) {
	var told []string
	l := dhcp4LinkOf(t, func(c *DHCPv4ServerConfig) {
		c.Leased = func(l DHCPv4Lease) { told = append(told, fmt.Sprint(l.Address, " ", l.MAC)) }
	})
	l.ask(1, dhcpv4.MessageTypeDiscover)
	l.ask(1, dhcpv4.MessageTypeRequest, withAddress("192.0.2.10"), withServer("192.0.2.1"))
	l.ask(2, dhcpv4.MessageTypeRequest, withAddress("192.0.2.10")) // somebody else's
	l.ask(1, dhcpv4.MessageTypeRequest, withClient("192.0.2.10"))
	if want := "[192.0.2.10 02:00:00:00:00:01 192.0.2.10 02:00:00:00:00:01]"; fmt.Sprint(told) != want {
		t.Errorf("told of %v, want %v", told, want)
	}
}

// RFC 2131 §4.1: "If the 'giaddr' field is zero and the 'ciaddr' field is nonzero, then the server unicasts
// DHCPOFFER and DHCPACK messages to the address in 'ciaddr'. If 'giaddr' is zero and 'ciaddr' is zero, and the
// broadcast bit is set, then the server broadcasts DHCPOFFER and DHCPACK messages to 0xffffffff. If the broadcast bit
// is not set and 'giaddr' is zero and 'ciaddr' is zero, then the server unicasts DHCPOFFER and DHCPACK messages to the
// client's hardware address and 'yiaddr' address. In all cases, when 'giaddr' is zero, the server broadcasts any
// DHCPNAK messages to 0xffffffff."
func TestDHCPv4RepliesGoWhereTheClientHears(t *testing.T) {
	l := dhcp4LinkOf(t, nil)
	ask := func(kind dhcpv4.MessageType, with ...dhcpv4.Modifier) string {
		m, to := l.ask(1, kind, with...)
		return says(m, "") + " to " + to
	}
	l.want("unicast", ask(dhcpv4.MessageTypeDiscover), "OFFER 192.0.2.10 to 192.0.2.10")
	l.want("broadcast", ask(dhcpv4.MessageTypeDiscover, dhcpv4.WithBroadcast(true)), "OFFER 192.0.2.10 to 255.255.255.255 all")
	l.want("unicast", ask(dhcpv4.MessageTypeRequest, withAddress("192.0.2.10"), withServer("192.0.2.1")), "ACK 192.0.2.10 to 192.0.2.10")
	l.want("ciaddr", ask(dhcpv4.MessageTypeRequest, withClient("192.0.2.10"), dhcpv4.WithBroadcast(true)), "ACK 192.0.2.10 to 192.0.2.10")
	l.want("NAK", ask(dhcpv4.MessageTypeRequest, withClient("203.0.113.10")), "NAK 0.0.0.0 to 255.255.255.255 all")
	l.want("inform", ask(dhcpv4.MessageTypeInform, withClient("192.0.2.77")), "ACK 0.0.0.0 to 192.0.2.77")
	m, _ := l.ask(1, dhcpv4.MessageTypeInform, withClient("192.0.2.77"))
	if m.Options.Has(dhcpv4.OptionIPAddressLeaseTime) || len(m.Router()) != 1 {
		t.Errorf("an answer to DHCPINFORM says %v", m.Summary())
	}
	l.want("a client elsewhere", ask(dhcpv4.MessageTypeInform, withClient("203.0.113.77")), "nothing to ")
}

// RFC 2131 §4.3.1: the client's current address, else its previous one, else the one that it wants, else a new one.
func TestDHCPv4ChoosesTheAddress(t *testing.T) {
	l := dhcp4LinkOf(t, func(c *DHCPv4ServerConfig) {
		c.Fixed = map[string]netip.Addr{"02:00:00:00:00:09": netip.MustParseAddr("192.0.2.200"), "02:00:00:00:00:08": netip.MustParseAddr("192.0.2.11")}
		c.Last = netip.MustParseAddr("192.0.2.14")
	})
	l.want("what it wants", l.lease(1, withAddress("192.0.2.13")), "ACK 192.0.2.13")
	l.now = l.now.Add(time.Second)
	l.want("new", l.lease(2), "ACK 192.0.2.10")
	l.want("somebody else's", l.lease(3, withAddress("192.0.2.13")), "ACK 192.0.2.12")
	l.want("out of the range", l.lease(4, withAddress("192.0.2.1")), "ACK 192.0.2.14")
	l.want("current", l.lease(3, withAddress("192.0.2.14")), "ACK 192.0.2.12")
	l.want("none left: .11 is fixed", l.lease(5), "nothing")
	l.want("fixed", l.lease(9), "ACK 192.0.2.200")
	l.want("fixed, in the range", l.lease(8, withAddress("192.0.2.10")), "ACK 192.0.2.11")
	l.want("fixed, another system", l.lease(8, withID("\x00another")), "ACK 192.0.2.11")
	l.want("fixed for another", says(l.ask(2, dhcpv4.MessageTypeRequest, withAddress("192.0.2.11"))), "NAK 0.0.0.0")
	if n := l.Counters().Exhausted; n != 1 {
		t.Errorf("%d were told that nothing is left", n)
	}
	l.now = l.now.Add(2 * time.Hour)
	l.want("previous", l.lease(3), "ACK 192.0.2.12")
	l.want("free for longest", l.lease(5), "ACK 192.0.2.13")
	l.want("previous, but taken", l.lease(1), "ACK 192.0.2.10")
}

func TestDHCPv4LeasesEnd(t *testing.T) {
	l := dhcp4LinkOf(t, nil)
	for i := range 3 {
		l.want("lease", l.lease(i), fmt.Sprint("ACK 192.0.2.", 10+i))
	}
	l.want("none left", l.lease(4), "nothing")
	l.now = l.now.Add(40 * time.Minute)
	l.want("renew", says(l.ask(0, dhcpv4.MessageTypeRequest, withClient("192.0.2.10"))), "ACK 192.0.2.10")
	l.now = l.now.Add(40 * time.Minute)
	l.want("who has not renewed", l.lease(4), "ACK 192.0.2.11")
	l.want("too late", says(l.ask(1, dhcpv4.MessageTypeRequest, withClient("192.0.2.11"))), "NAK 0.0.0.0")
	l.want("late", says(l.ask(2, dhcpv4.MessageTypeRequest, withClient("192.0.2.12"))), "ACK 192.0.2.12")
	l.want("none left", l.lease(5), "nothing")
	l.want("release by another", says(l.ask(5, dhcpv4.MessageTypeRelease, withClient("192.0.2.12"), withServer("192.0.2.1"))), "nothing")
	l.want("none left", l.lease(5), "nothing")
	l.want("release", says(l.ask(2, dhcpv4.MessageTypeRelease, withClient("192.0.2.12"), withServer("192.0.2.1"))), "nothing")
	l.want("released", l.lease(5), "ACK 192.0.2.12")
	// As long as it likes, but not longer than it may.
	for want, wish := range map[string]time.Duration{"1m0s": time.Second, "10m0s": 10 * time.Minute, "1h0m0s": 24 * time.Hour} {
		m, _ := l.ask(0, dhcpv4.MessageTypeRequest, withClient("192.0.2.10"), dhcpv4.WithOption(dhcpv4.OptIPAddressLeaseTime(wish)))
		l.want("lease time", m.IPAddressLeaseTime(0).String(), want)
	}
}

func TestDHCPv4OffersAreKeptForAWhile(t *testing.T) {
	l := dhcp4LinkOf(t, nil)
	for i := range 3 {
		l.want("offer", says(l.ask(i, dhcpv4.MessageTypeDiscover)), fmt.Sprint("OFFER 192.0.2.", 10+i))
	}
	l.want("all are offered", says(l.ask(4, dhcpv4.MessageTypeDiscover)), "nothing")
	l.want("another server", says(l.ask(1, dhcpv4.MessageTypeRequest, withAddress("192.0.2.77"), withServer("192.0.2.2"))), "nothing")
	l.want("free", says(l.ask(4, dhcpv4.MessageTypeDiscover)), "OFFER 192.0.2.11")
	l.now = l.now.Add(offerTime)
	l.want("too late", says(l.ask(5, dhcpv4.MessageTypeDiscover)), "OFFER 192.0.2.10")
	l.want("too late", says(l.ask(0, dhcpv4.MessageTypeRequest, withAddress("192.0.2.10"), withServer("192.0.2.1"))), "NAK 0.0.0.0")
	if len(l.Leases()) != 0 {
		t.Errorf("offers are leases: %v", l.Leases())
	}
}

// RFC 2131 §4.3.2, INIT-REBOOT: "Server SHOULD send a DHCPNAK message to the client if the 'requested IP address' is
// incorrect, or is on the wrong network." One that is right may be had again, since a server that was started again
// knows nothing.
func TestDHCPv4ClientsOfAnEarlierServer(t *testing.T) {
	l := dhcp4LinkOf(t, nil)
	l.want("reboot", says(l.ask(1, dhcpv4.MessageTypeRequest, withAddress("192.0.2.11"))), "ACK 192.0.2.11")
	l.want("renew", says(l.ask(2, dhcpv4.MessageTypeRequest, withClient("192.0.2.10"))), "ACK 192.0.2.10")
	l.want("taken", says(l.ask(3, dhcpv4.MessageTypeRequest, withAddress("192.0.2.10"))), "NAK 0.0.0.0")
	l.want("ours", says(l.ask(3, dhcpv4.MessageTypeRequest, withAddress("192.0.2.1"))), "NAK 0.0.0.0")
	l.want("another network", says(l.ask(3, dhcpv4.MessageTypeRequest, withAddress("10.0.0.10"))), "NAK 0.0.0.0")
	l.want("none", says(l.ask(3, dhcpv4.MessageTypeRequest)), "NAK 0.0.0.0")
}

// RFC 2131 §4.3.3: "the server MUST mark the network address as not available".
func TestDHCPv4AddressesThatAreInUse(t *testing.T) {
	l := dhcp4LinkOf(t, nil)
	l.want("lease", l.lease(1), "ACK 192.0.2.10")
	l.want("decline by another", says(l.ask(2, dhcpv4.MessageTypeDecline, withAddress("192.0.2.10"), withServer("192.0.2.1"))), "nothing")
	if n := len(l.leases); n != 1 || l.leases[netip.MustParseAddr("192.0.2.10")].state != leaseBound {
		t.Errorf("%d leases", n)
	}
	l.want("decline", says(l.ask(1, dhcpv4.MessageTypeDecline, withAddress("192.0.2.10"), withServer("192.0.2.1"))), "nothing")
	l.want("another", l.lease(1), "ACK 192.0.2.11")
	l.want("not available", says(l.ask(2, dhcpv4.MessageTypeRequest, withAddress("192.0.2.10"))), "NAK 0.0.0.0")
	l.now = l.now.Add(declinedTime)
	l.want("tried again", says(l.ask(2, dhcpv4.MessageTypeRequest, withAddress("192.0.2.10"))), "ACK 192.0.2.10")
	if c := l.Counters(); c.Decline != 1 || c.Ignored != 1 {
		t.Errorf("counted %+v", c)
	}
}

// A client that goes to another address leaves its old one to others, who have it when there
// is no fresh one left.
func TestDHCPv4AClientThatMoves(t *testing.T) {
	l := dhcp4LinkOf(t, nil)
	l.want("lease", l.lease(1), "ACK 192.0.2.10")
	l.want("elsewhere", says(l.ask(1, dhcpv4.MessageTypeRequest, withAddress("192.0.2.12"))), "ACK 192.0.2.12")
	l.want("a fresh one", l.lease(2), "ACK 192.0.2.11")
	l.want("the one that is free again", l.lease(3), "ACK 192.0.2.10")
	l.want("none", l.lease(4), "nothing")
	if n := len(l.records); n != 3 || len(l.leases) != n || len(l.clients) != n {
		t.Errorf("%d records, %d leases, %d clients", n, len(l.leases), len(l.clients))
	}
}

// "hostile DHCP": a client cannot say that it is another one, to get its address or to have it
// taken away.
func TestDHCPv4WhoAsksInTheNameOfAnother(t *testing.T) {
	l := dhcp4LinkOf(t, nil)
	own := l.mac(1)
	for _, id := range []string{"\x01" + string(own[:]), "laptop"} {
		mine := strings.TrimPrefix(l.lease(1, withID(id)), "ACK ")
		for range 2 {
			if got := l.lease(2, withID(id)); got == "ACK "+mine {
				t.Errorf("%q: another one gets %v", id, mine)
			}
			l.ask(2, dhcpv4.MessageTypeRelease, withID(id), withClient(mine), withServer("192.0.2.1"))
			l.ask(2, dhcpv4.MessageTypeDecline, withID(id), withAddress(mine), withServer("192.0.2.1"))
		}
		l.want("extended", says(l.ask(1, dhcpv4.MessageTypeRequest, withID(id), withClient(mine))), "ACK "+mine)
	}
}

// "hostile DHCP": who says of every address that it is in use does not take them all from the
// others.
func TestDHCPv4WhoDeclinesEverything(t *testing.T) {
	l := dhcp4LinkOf(t, func(c *DHCPv4ServerConfig) { c.Last = netip.MustParseAddr("192.0.2.100") })
	for range 91 {
		if offer, _ := l.ask(1, dhcpv4.MessageTypeDiscover); offer != nil {
			l.ask(1, dhcpv4.MessageTypeDecline, withAddress(offer.YourIPAddr.String()), withServer("192.0.2.1"))
		}
	}
	if n := l.Counters().Decline; n != maxOfMAC {
		t.Errorf("%d addresses were declined, want %d", n, maxOfMAC)
	}
	l.want("another client", l.lease(2), "ACK 192.0.2.18")
	l.now = l.now.Add(declinedTime)
	l.want("later", l.lease(1)[:4], "ACK ")
}

// "hostile DHCP": who asks in the names of many does not get all addresses.
func TestDHCPv4WhoAsksInTheNamesOfMany(t *testing.T) {
	l := dhcp4LinkOf(t, func(c *DHCPv4ServerConfig) { c.Last = netip.MustParseAddr("192.0.2.100") })
	for i := range 100 {
		l.lease(1, withID(fmt.Sprint("name ", i)))
	}
	if n := len(l.leases); n != maxOfMAC || len(l.clients) != n {
		t.Errorf("%d addresses for one MAC address, want %d", n, maxOfMAC)
	}
	from := l.mac(2)
	m, err := dhcpv4.New(dhcpv4.WithMessageType(dhcpv4.MessageTypeDiscover), dhcpv4.WithHwAddr(from[:]))
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range []dhcpv4.Modifier{
		dhcpv4.WithHwAddr([]byte{2, 0, 0, 0, 0, 3}), dhcpv4.WithHwAddr(make([]byte, 16)), dhcpv4.WithGatewayIP(net.IP{192, 0, 2, 5}),
		func(m *dhcpv4.DHCPv4) { m.OpCode = dhcpv4.OpcodeBootReply }, func(m *dhcpv4.DHCPv4) { m.HWType = 6 },
		dhcpv4.WithoutOption(dhcpv4.OptionDHCPMessageType), dhcpv4.WithMessageType(dhcpv4.MessageTypeAck), dhcpv4.WithMessageType(99),
	} {
		copied, _ := dhcpv4.FromBytes(m.ToBytes())
		change(copied)
		if r := l.handle(l.now, copied.ToBytes(), from); r != nil {
			t.Errorf("answered %v", copied.Summary())
		}
	}
	for n := range m.ToBytes() {
		l.handle(l.now, m.ToBytes()[:n], from)
	}
	for i := range 5000 {
		l.ask(100+i, dhcpv4.MessageTypeDiscover)
	}
	if n, k := len(l.leases), len(l.clients); n > 91 || k > 91 {
		t.Errorf("%d records and %d clients for 91 addresses", n, k)
	}
}

func TestDHCPv4NamesForPeople(t *testing.T) {
	l := dhcp4LinkOf(t, nil)
	l.now = time.Now()
	for i, name := range []string{"printer-2.example", "evil\x1b[31m", strings.Repeat("x", 64)} {
		l.lease(i, dhcpv4.WithOption(dhcpv4.OptHostName(name)))
	}
	var got []string
	for _, lease := range l.Leases() {
		got = append(got, fmt.Sprintln(lease.Address, lease.MAC, lease.Name))
	}
	l.want("leases", strings.Join(got, ""), "192.0.2.10 02:00:00:00:00:00 printer-2.example\n192.0.2.11 02:00:00:00:00:01 \n192.0.2.12 02:00:00:00:00:02 \n")
}

func TestDHCPv4ServersWithoutSense(t *testing.T) {
	addr := netip.MustParseAddr
	for _, c := range []struct {
		want   string
		change func(*DHCPv4ServerConfig)
	}{
		{"at most 30 bits", func(c *DHCPv4ServerConfig) { c.Server = netip.MustParsePrefix("192.0.2.1/31") }},
		{"at most 30 bits", func(c *DHCPv4ServerConfig) { c.Server = netip.MustParsePrefix("fd00::1/24") }},
		{"found 192.0.2.0 to 192.0.2.12", func(c *DHCPv4ServerConfig) { c.First = addr("192.0.2.0") }},
		{"found 192.0.2.10 to 192.0.2.255", func(c *DHCPv4ServerConfig) { c.Last = addr("192.0.2.255") }},
		{"found 192.0.2.10 to 192.0.2.9", func(c *DHCPv4ServerConfig) { c.Last = addr("192.0.2.9") }},
		{"found 192.0.2.10 to invalid IP", func(c *DHCPv4ServerConfig) { c.Last = netip.Addr{} }},
		{"more than 4096", func(c *DHCPv4ServerConfig) {
			c.Server, c.First, c.Last = netip.MustParsePrefix("10.0.0.1/8"), addr("10.1.0.0"), addr("10.1.16.0")
		}},
		{"lease of 1m0s or more", func(c *DHCPv4ServerConfig) { c.LeaseTime = time.Second }},
		{"MTU of 67", func(c *DHCPv4ServerConfig) { c.MTU = 67 }},
		{"only IPv4", func(c *DHCPv4ServerConfig) { c.DNS = []netip.Addr{addr("fd00::1")} }},
		{"IPv4 address of the router", func(c *DHCPv4ServerConfig) { c.Router = addr("fd00::1") }},
		{"9 DNS servers", func(c *DHCPv4ServerConfig) { c.DNS = slices.Repeat([]netip.Addr{addr("192.0.2.1")}, 9) }},
		{"longer than 253", func(c *DHCPv4ServerConfig) { c.Domain = strings.Repeat("x", 254) }},
		{`found "printer"`, func(c *DHCPv4ServerConfig) { c.Fixed = map[string]netip.Addr{"printer": addr("192.0.2.9")} }},
		{"nobody else's", func(c *DHCPv4ServerConfig) { c.Fixed = map[string]netip.Addr{"02:00:00:00:00:01": addr("192.0.2.1")} }},
		{"nobody else's", func(c *DHCPv4ServerConfig) {
			c.Fixed = map[string]netip.Addr{"02:00:00:00:00:01": addr("192.0.2.9"), "02:00:00:00:00:02": addr("192.0.2.9")}
		}},
	} {
		cfg := &DHCPv4ServerConfig{Server: netip.MustParsePrefix("192.0.2.1/24"), First: addr("192.0.2.10"), Last: addr("192.0.2.12")}
		c.change(cfg)
		if _, err := NewDHCPv4Server(cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want an error that says %q", err, c.want)
		}
	}
}

// FuzzDHCPv4Server has clients say anything, with time going by.
func FuzzDHCPv4Server(f *testing.F) {
	from := mac{2, 0, 0, 0, 0, 1}
	for _, kind := range []dhcpv4.MessageType{dhcpv4.MessageTypeDiscover, dhcpv4.MessageTypeRequest, dhcpv4.MessageTypeRelease, dhcpv4.MessageTypeDecline, dhcpv4.MessageTypeInform} {
		m, err := dhcpv4.New(dhcpv4.WithMessageType(kind), dhcpv4.WithHwAddr(from[:]), withAddress("192.0.2.10"), withServer("192.0.2.1"), withClient("192.0.2.10"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(m.ToBytes(), byte(1), uint16(20))
	}
	f.Fuzz(func(t *testing.T, message []byte, n byte, seconds uint16) {
		l := dhcp4LinkOf(t, nil)
		for i := range 4 {
			from[5] = n * byte(i)
			if len(message) > 34 {
				message[33] = from[5]
			}
			l.now = l.now.Add(time.Duration(seconds) * time.Second)
			r := l.handle(l.now, message, from)
			if r == nil {
				continue
			}
			if len(r.message) > 1200 || r.at != from && r.at != broadcastMAC || r.to != broadcast4 && !l.isHost(r.to) {
				t.Errorf("%d bytes to %v at %x", len(r.message), r.to, r.at)
			}
		}
		if len(l.leases) > 3 || len(l.clients) > len(l.leases) {
			t.Errorf("%d leases and %d clients for 3 addresses", len(l.leases), len(l.clients))
		}
		for id, lease := range l.clients {
			if lease.client.id != id || l.leases[lease.addr] != lease {
				t.Errorf("%q has %+v", id, lease)
			}
		}
	})
}
