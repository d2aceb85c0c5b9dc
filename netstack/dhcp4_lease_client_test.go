package netstack

import (
	"bytes"
	"math/rand"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

var (
	leaseEpoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	clientMAC  = mac{2, 0, 0, 0, 0, 1}
	serverMAC  = mac{2, 0, 0, 0, 0, 2}
)

// A leaseTest is a client and what it does, in virtual time.
type leaseTest struct {
	*testing.T
	c      *leaseClient
	now    time.Time
	sent   []*dhcp4Datagram
	when   []time.Duration
	probes []netip.Addr
	claims int
	have   *lease
	lost   []string
}

func newLeaseTest(t *testing.T) *leaseTest {
	x := &leaseTest{T: t, c: &leaseClient{mac: clientMAC, random: rand.New(rand.NewSource(1))}, now: leaseEpoch}
	x.c.start(x.now)
	x.drain()
	return x
}

func (x *leaseTest) drain() {
	for e, ok := x.c.next(); ok; e, ok = x.c.next() {
		switch {
		case e.send != nil:
			x.sent, x.when = append(x.sent, e.send), append(x.when, x.now.Sub(leaseEpoch))
		case e.probe.IsValid():
			x.probes = append(x.probes, e.probe)
		case e.claim.IsValid():
			x.claims++
		case e.bound != nil:
			x.have = e.bound
		default:
			x.have, x.lost = nil, append(x.lost, e.lost)
		}
	}
}

// until lets time pass, up to the given moment after the beginning.
func (x *leaseTest) until(d time.Duration) {
	end := leaseEpoch.Add(d)
	for due := x.c.deadline(); !due.IsZero() && !due.After(end); due = x.c.deadline() {
		if due.After(x.now) {
			x.now = due
		}
		x.c.expire(x.now)
		x.drain()
	}
	x.now = end
}

// last is the last message that was sent, which must be of this kind.
func (x *leaseTest) last(kind dhcpv4.MessageType) (*dhcpv4.DHCPv4, *dhcp4Datagram) {
	x.Helper()
	d := x.sent[len(x.sent)-1]
	m, err := dhcpv4.FromBytes(d.message)
	if err != nil {
		x.Fatal(err)
	}
	if m.MessageType() != kind {
		x.Fatalf("sent %v, want %v", m.MessageType(), kind)
	}
	return m, d
}

// reply is a server's answer to the client's last message.
func (x *leaseTest) reply(kind dhcpv4.MessageType, change ...func(*dhcpv4.DHCPv4)) []byte {
	m := &dhcpv4.DHCPv4{
		OpCode: dhcpv4.OpcodeBootReply, HWType: 1, TransactionID: x.c.xid, ClientHWAddr: net.HardwareAddr(clientMAC[:]),
		YourIPAddr: net.IP{192, 0, 2, 50}, Options: dhcpv4.OptionsFromList(
			dhcpv4.OptMessageType(kind),
			dhcpv4.OptServerIdentifier(net.IP{192, 0, 2, 1}),
			dhcpv4.OptIPAddressLeaseTime(time.Hour),
			dhcpv4.OptSubnetMask(net.IPMask{255, 255, 255, 0}),
			dhcpv4.OptRouter(net.IP{192, 0, 2, 254}),
			dhcpv4.OptDNS(net.IP{192, 0, 2, 53}, net.IP{127, 0, 0, 1}),
		),
	}
	for _, f := range change {
		f(m)
	}
	return m.ToBytes()
}

func (x *leaseTest) hear(message []byte) {
	x.c.handle(x.now, message, serverMAC)
	x.drain()
}

// bind brings the client into BOUND.
func (x *leaseTest) bind(change ...func(*dhcpv4.DHCPv4)) {
	x.Helper()
	x.hear(x.reply(dhcpv4.MessageTypeOffer, change...))
	x.hear(x.reply(dhcpv4.MessageTypeAck, change...))
	x.until(x.now.Sub(leaseEpoch) + time.Second)
	if x.have == nil {
		x.Fatalf("no lease in state %v: %s", x.c.state, x.c.trouble)
	}
}

// RFC 2131 §4.1: "the delay before the first retransmission SHOULD be 4 seconds randomized
// by the value of a uniform random number chosen from the range -1 to +1 … The delay before
// the next retransmission SHOULD be 8 seconds … The retransmission delay SHOULD be doubled
// with subsequent retransmissions up to a maximum of 64 seconds."
func TestADiscoverIsRepeated(t *testing.T) {
	x := newLeaseTest(t)
	x.until(5 * time.Minute)
	want := []time.Duration{0, 4, 8, 16, 32, 64, 64}
	for i := range want[1:] {
		got := x.when[i+1] - x.when[i]
		if off := got - want[i+1]*time.Second; off < -time.Second || off > time.Second {
			t.Errorf("the %d. DHCPDISCOVER came %v after the one before it, want %v s, one more or less", i+2, got, int(want[i+1]))
		}
	}
	if d := x.when[2] - x.when[1] - 8*time.Second; d == 0 {
		t.Error("the delays are not random")
	}
	m, d := x.last(dhcpv4.MessageTypeDiscover)
	if d.at != broadcastMAC || d.from.String() != "0.0.0.0:68" || d.to.String() != "255.255.255.255:67" {
		t.Errorf("sent from %v to %v at %v", d.from, d.to, d.at)
	}
	if got := time.Duration(m.NumSeconds) * time.Second; got != x.when[len(x.when)-1].Truncate(time.Second) {
		t.Errorf("secs says %v, want the time since the first one, %v", got, x.when[len(x.when)-1])
	}
	if !strings.Contains(x.c.trouble, "no DHCP server has made an offer") {
		t.Errorf("the trouble is %q", x.c.trouble)
	}
}

func TestALease(t *testing.T) {
	x := newLeaseTest(t)
	x.hear(x.reply(dhcpv4.MessageTypeOffer))
	m, _ := x.last(dhcpv4.MessageTypeRequest)
	// RFC 2131 §4.3.2: "Client inserts the address of the selected server in 'server
	// identifier', 'ciaddr' MUST be zero, 'requested IP address' MUST be filled in with the
	// yiaddr value from the chosen DHCPOFFER."
	if ip4(m.ServerIdentifier()).String() != "192.0.2.1" || !m.ClientIPAddr.IsUnspecified() || m.RequestedIPAddress().String() != "192.0.2.50" {
		t.Errorf("the request is %v", m)
	}
	x.hear(x.reply(dhcpv4.MessageTypeAck))
	if x.have != nil {
		t.Error("the address is used before it was asked whether somebody has it")
	}
	x.until(2 * time.Second)
	if len(x.probes) != arpProbes || x.have == nil {
		t.Fatalf("%d probes, lease %+v", len(x.probes), x.have)
	}
	if x.have.addr.String() != "192.0.2.50/24" || !slices.Equal(x.have.dns, []netip.Addr{netip.MustParseAddr("192.0.2.53")}) {
		t.Errorf("the lease is %+v", x.have)
	}
	want := []Route{{Prefix: netip.MustParsePrefix("192.0.2.0/24")}, {netip.MustParsePrefix("0.0.0.0/0"), netip.MustParseAddr("192.0.2.254")}}
	if !slices.Equal(x.have.routes, want) {
		t.Errorf("the routes are %v, want %v", x.have.routes, want)
	}
}

// RFC 2131 §4.4.5: "T1 defaults to (0.5 * duration_of_lease). T2 defaults to (0.875 *
// duration_of_lease)." At T1 the server is asked, at T2 everybody.
func TestALeaseIsExtended(t *testing.T) {
	x := newLeaseTest(t)
	x.bind()
	n := len(x.sent)
	x.until(30 * time.Minute)
	m, d := x.last(dhcpv4.MessageTypeRequest)
	if len(x.sent) != n+1 || d.at != serverMAC || d.to.String() != "192.0.2.1:67" || d.from.String() != "192.0.2.50:68" {
		t.Fatalf("%d messages, the last from %v to %v at %v", len(x.sent)-n, d.from, d.to, d.at)
	}
	// RFC 2131 §4.3.2: "'server identifier' MUST NOT be filled in, 'requested IP address'
	// option MUST NOT be filled in, 'ciaddr' MUST be filled in with client's IP address."
	if m.ClientIPAddr.String() != "192.0.2.50" || m.ServerIdentifier() != nil || m.RequestedIPAddress() != nil {
		t.Errorf("the request is %v", m)
	}
	x.hear(x.reply(dhcpv4.MessageTypeAck))
	if x.c.state != leaseHeld || len(x.lost) != 0 || !x.have.end.Equal(leaseEpoch.Add(90*time.Minute)) {
		t.Fatalf("in %v until %v, lost %q", x.c.state, x.have.end, x.lost)
	}

	// Nobody answers any more.
	x.until(30*time.Minute + 52*time.Minute)
	if x.c.state != leaseRenewing {
		t.Errorf("in %v after 52 minutes, want RENEWING", x.c.state)
	}
	x.until(30*time.Minute + 53*time.Minute)
	if _, d = x.last(dhcpv4.MessageTypeRequest); d.at != broadcastMAC || x.c.state != leaseRebinding {
		t.Errorf("in %v after 53 minutes, sent to %v: want REBINDING, to all", x.c.state, d.at)
	}
	x.until(30*time.Minute + 61*time.Minute)
	if x.have != nil || len(x.lost) != 1 || !strings.Contains(x.lost[0], "run out") {
		t.Errorf("after its end the lease is %+v, lost %q", x.have, x.lost)
	}
	x.last(dhcpv4.MessageTypeDiscover)
	for i := n + 2; i < len(x.sent)-1; i++ {
		if d := x.when[i] - x.when[i-1]; x.when[i] < 82*time.Minute && d < time.Minute {
			t.Errorf("asked again after %v, want a minute at least", d)
		}
	}
}

// RFC 2131 §3.1 step 5: "If the client detects that the address is already in use …, the
// client MUST send a DHCPDECLINE message to the server and restarts the configuration
// process. The client SHOULD wait a minimum of ten seconds".
func TestAnAddressThatIsInUseIsDeclined(t *testing.T) {
	x := newLeaseTest(t)
	x.hear(x.reply(dhcpv4.MessageTypeOffer))
	x.hear(x.reply(dhcpv4.MessageTypeAck))
	x.c.conflict(x.now, netip.MustParseAddr("192.0.2.51"), serverMAC) // another one
	x.c.conflict(x.now, netip.MustParseAddr("192.0.2.50"), serverMAC)
	x.drain()
	m, _ := x.last(dhcpv4.MessageTypeDecline)
	if m.RequestedIPAddress().String() != "192.0.2.50" || ip4(m.ServerIdentifier()).String() != "192.0.2.1" || !m.ClientIPAddr.IsUnspecified() {
		t.Errorf("the DHCPDECLINE is %v", m)
	}
	if x.have != nil {
		t.Error("it is used all the same")
	}
	n := len(x.sent)
	x.until(9 * time.Second)
	if len(x.sent) != n {
		t.Error("asked again too soon")
	}
	x.until(11 * time.Second)
	x.last(dhcpv4.MessageTypeDiscover)

	// Later it is defended once (RFC 5227 §2.4).
	x.bind()
	x.c.conflict(x.now, netip.MustParseAddr("192.0.2.50"), serverMAC)
	x.drain()
	if x.claims != 1 || x.have == nil {
		t.Errorf("%d claims, lease %v", x.claims, x.have)
	}
	x.c.conflict(x.now.Add(time.Second), netip.MustParseAddr("192.0.2.50"), serverMAC)
	x.drain()
	if x.have != nil {
		t.Error("an address that another host insists on is used all the same")
	}
	x.last(dhcpv4.MessageTypeDecline)
}

func TestAServerRefuses(t *testing.T) {
	x := newLeaseTest(t)
	// However often it does, and however fast, we ask ever more seldom.
	for range 20 {
		for x.c.state != leaseSelecting {
			x.until(x.c.deadline().Sub(leaseEpoch))
		}
		x.hear(x.reply(dhcpv4.MessageTypeOffer))
		x.hear(x.reply(dhcpv4.MessageTypeNak))
	}
	if passed := x.now.Sub(leaseEpoch); passed < 10*time.Minute {
		t.Errorf("20 refusals in %v", passed)
	}
	for x.c.state != leaseSelecting {
		x.until(x.c.deadline().Sub(leaseEpoch))
	}
	x.bind()
	x.until(x.now.Sub(leaseEpoch) + 31*time.Minute)
	x.hear(x.reply(dhcpv4.MessageTypeNak, func(m *dhcpv4.DHCPv4) { m.UpdateOption(dhcpv4.OptServerIdentifier(net.IP{192, 0, 2, 9})) }))
	if x.have == nil {
		t.Error("another server has taken the lease away")
	}
	x.hear(x.reply(dhcpv4.MessageTypeNak))
	if x.have != nil {
		t.Error("a lease that its server has refused to extend is used all the same")
	}
}

func TestALeaseIsGivenBack(t *testing.T) {
	x := newLeaseTest(t)
	x.bind()
	x.c.release(x.now)
	x.drain()
	m, d := x.last(dhcpv4.MessageTypeRelease)
	if d.at != serverMAC || m.ClientIPAddr.String() != "192.0.2.50" || ip4(m.ServerIdentifier()).String() != "192.0.2.1" || x.have != nil {
		t.Errorf("sent %v to %v", m, d.at)
	}
	x.until(24 * time.Hour)
	if _, d2 := x.last(dhcpv4.MessageTypeRelease); d2 != d {
		t.Error("something was sent after the release")
	}
}

// RFC 3442: "If the DHCP server returns both a Classless Static Routes option and a Router
// option, the DHCP client MUST ignore the Router option."
func TestRoutesAndMTUOfALease(t *testing.T) {
	x := newLeaseTest(t)
	x.bind(func(m *dhcpv4.DHCPv4) {
		m.UpdateOption(dhcpv4.OptGeneric(dhcpv4.OptionClasslessStaticRoute, []byte{
			16, 10, 1, 192, 0, 2, 7, // 10.1.0.0/16 by 192.0.2.7
			24, 198, 51, 100, 0, 0, 0, 0, // on the link
			0, 203, 0, 113, 1, // by a router outside of the subnet
		}))
		m.UpdateOption(dhcpv4.OptGeneric(dhcpv4.OptionInterfaceMTU, []byte{5, 0x50}))
	})
	want := []Route{
		{Prefix: netip.MustParsePrefix("192.0.2.0/24")},
		{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParseAddr("192.0.2.7")},
		{Prefix: netip.MustParsePrefix("198.51.100.0/24")},
		{Prefix: netip.MustParsePrefix("203.0.113.1/32")},
		{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParseAddr("203.0.113.1")},
	}
	if !slices.Equal(x.have.routes, want) {
		t.Errorf("the routes are %v, want %v", x.have.routes, want)
	}
	if x.have.mtu != 0x550 {
		t.Errorf("the MTU is %d", x.have.mtu)
	}
}

// What a server offers that nobody can use is not requested.
func TestOffersOfNoUse(t *testing.T) {
	for name, change := range map[string]func(*dhcpv4.DHCPv4){
		"another transaction":      func(m *dhcpv4.DHCPv4) { m.TransactionID[0] ^= 1 },
		"another client":           func(m *dhcpv4.DHCPv4) { m.ClientHWAddr = net.HardwareAddr(serverMAC[:]) },
		"a request":                func(m *dhcpv4.DHCPv4) { m.OpCode = dhcpv4.OpcodeBootRequest },
		"no server identifier":     func(m *dhcpv4.DHCPv4) { m.DeleteOption(dhcpv4.OptionServerIdentifier) },
		"a server of nowhere":      func(m *dhcpv4.DHCPv4) { m.UpdateOption(dhcpv4.OptServerIdentifier(net.IP{0, 0, 0, 0})) },
		"no time":                  func(m *dhcpv4.DHCPv4) { m.DeleteOption(dhcpv4.OptionIPAddressLeaseTime) },
		"a second":                 func(m *dhcpv4.DHCPv4) { m.UpdateOption(dhcpv4.OptIPAddressLeaseTime(time.Second)) },
		"no address":               func(m *dhcpv4.DHCPv4) { m.YourIPAddr = net.IP{0, 0, 0, 0} },
		"a loopback address":       func(m *dhcpv4.DHCPv4) { m.YourIPAddr = net.IP{127, 0, 0, 1} },
		"a multicast address":      func(m *dhcpv4.DHCPv4) { m.YourIPAddr = net.IP{224, 0, 0, 1} },
		"the subnet's own address": func(m *dhcpv4.DHCPv4) { m.YourIPAddr = net.IP{192, 0, 2, 0} },
		"the broadcast address":    func(m *dhcpv4.DHCPv4) { m.YourIPAddr = net.IP{192, 0, 2, 255} },
		"a mask with a hole":       func(m *dhcpv4.DHCPv4) { m.UpdateOption(dhcpv4.OptSubnetMask(net.IPMask{255, 0, 255, 0})) },
		"no mask bits":             func(m *dhcpv4.DHCPv4) { m.UpdateOption(dhcpv4.OptSubnetMask(net.IPMask{0, 0, 0, 0})) },
	} {
		t.Run(name, func(t *testing.T) {
			x := newLeaseTest(t)
			x.hear(x.reply(dhcpv4.MessageTypeOffer, change))
			x.last(dhcpv4.MessageTypeDiscover)
		})
	}
	x := newLeaseTest(t)
	x.bind(func(m *dhcpv4.DHCPv4) { m.UpdateOption(dhcpv4.OptIPAddressLeaseTime(infiniteLease)) })
	if due := x.c.deadline(); !due.IsZero() {
		t.Errorf("a lease that does not end is extended at %v", due)
	}
}

// Whatever servers send, and whenever, the client does not panic, sends no more than a
// message for each that it gets, and has its address for no longer than it may.
func FuzzDHCPv4Client(f *testing.F) {
	x := newLeaseTest(&testing.T{})
	offer := x.reply(dhcpv4.MessageTypeOffer)
	f.Add(offer, []byte{1, 2, 3, 4, 5}, int64(1))
	f.Add(x.reply(dhcpv4.MessageTypeAck), []byte{0, 0, 1, 0, 255}, int64(2))
	f.Add(x.reply(dhcpv4.MessageTypeNak), []byte{9, 9}, int64(3))
	f.Fuzz(func(t *testing.T, message, steps []byte, seed int64) {
		x := &leaseTest{T: t, c: &leaseClient{mac: clientMAC, random: rand.New(rand.NewSource(seed))}, now: leaseEpoch}
		x.c.start(x.now)
		x.drain()
		for _, s := range steps {
			message := bytes.Clone(message)
			if len(message) >= 34 && s&1 != 0 { // otherwise few would be looked at
				copy(message[4:], x.c.xid[:])
				copy(message[28:], clientMAC[:])
			}
			switch s >> 1 & 7 {
			case 0, 1, 2:
				before := len(x.sent)
				x.hear(message)
				if n := len(x.sent) - before; n > 1 {
					t.Fatalf("%d messages in reply to one", n)
				}
			case 3:
				x.c.conflict(x.now, netip.MustParseAddr("192.0.2.50"), serverMAC)
				x.drain()
			default:
				x.until(x.now.Sub(leaseEpoch) + time.Duration(s)*10*time.Second)
			}
			if x.have != nil {
				if !isHost4(x.have.addr.Addr()) || !x.have.end.IsZero() && x.now.After(x.have.end) {
					t.Fatalf("%v with the lease %+v", x.now, x.have)
				}
				if len(x.have.routes) > 2*maxLeaseRoutes+1 || len(x.have.dns) > maxLeaseDNS {
					t.Fatalf("too much is remembered: %+v", x.have)
				}
			}
		}
	})
}
