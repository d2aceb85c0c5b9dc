package netstack

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"
)

// What one lease can make a host remember.
const (
	maxLeaseRoutes = 32
	maxLeaseDNS    = 8
)

// leastLeaseMTU is what every host can receive (RFC 791 §3.1): less is a server's
// mistake.
const leastLeaseMTU = 576

// parse takes a message apart that may be a server's answer to us.
func (c *leaseClient) parse(message []byte) (*dhcpv4.DHCPv4, bool) {
	m, err := dhcpv4.FromBytes(message)
	if err != nil || m.OpCode != dhcpv4.OpcodeBootReply || m.TransactionID != c.xid || !bytes.Equal(m.ClientHWAddr, c.mac[:]) {
		return nil, false
	}
	return m, true
}

// message is one of ours (RFC 2131 §4.4.1, table 5).
func (c *leaseClient) message(now time.Time, kind dhcpv4.MessageType) *dhcpv4.DHCPv4 {
	m := &dhcpv4.DHCPv4{
		OpCode:        dhcpv4.OpcodeBootRequest,
		HWType:        iana.HWTypeEthernet,
		TransactionID: c.xid,
		ClientHWAddr:  net.HardwareAddr(c.mac[:]),
		Options: dhcpv4.OptionsFromList(
			dhcpv4.OptMessageType(kind),
			// RFC 2132 §9.14: the type of hardware, and the address.
			dhcpv4.OptClientIdentifier(append([]byte{1}, c.mac[:]...)),
		),
	}
	asks := kind == dhcpv4.MessageTypeDiscover || kind == dhcpv4.MessageTypeRequest
	if asks {
		m.NumSeconds = uint16(min(now.Sub(c.began)/time.Second, math.MaxUint16))
		m.UpdateOption(dhcpv4.OptMaxMessageSize(minMTU6 - 100))
		m.UpdateOption(dhcpv4.OptParameterRequestList(
			dhcpv4.OptionSubnetMask, dhcpv4.OptionClasslessStaticRoute, dhcpv4.OptionRouter, dhcpv4.OptionDomainNameServer,
			dhcpv4.OptionInterfaceMTU, dhcpv4.OptionRenewTimeValue, dhcpv4.OptionRebindingTimeValue,
		))
	}
	addr := func(a netip.Addr) net.IP { return net.IP(a.AsSlice()) }
	switch {
	case kind == dhcpv4.MessageTypeDecline, kind == dhcpv4.MessageTypeRequest && c.state == leaseRequesting:
		m.UpdateOption(dhcpv4.OptRequestedIPAddress(addr(c.offered.addr.Addr())))
		m.UpdateOption(dhcpv4.OptServerIdentifier(addr(c.offered.server)))
	case kind == dhcpv4.MessageTypeRelease:
		m.ClientIPAddr = addr(c.held.addr.Addr())
		m.UpdateOption(dhcpv4.OptServerIdentifier(addr(c.held.server)))
	case kind == dhcpv4.MessageTypeRequest:
		m.ClientIPAddr = addr(c.held.addr.Addr())
	}
	return m
}

// broadcast sends a message to whoever is there: from no address, unless there is one.
func (c *leaseClient) broadcast(now time.Time, kind dhcpv4.MessageType) {
	from := netip.IPv4Unspecified()
	if c.state == leaseRebinding {
		from = c.held.addr.Addr()
	}
	c.emit(leaseEvent{send: &dhcp4Datagram{
		message: c.message(now, kind).ToBytes(), at: broadcastMAC,
		from: netip.AddrPortFrom(from, dhcp4ClientPort), to: netip.AddrPortFrom(broadcast4, dhcp4ServerPort),
	}})
}

// unicast sends a message to the server that we have a lease of.
func (c *leaseClient) unicast(now time.Time, kind dhcpv4.MessageType) {
	c.emit(leaseEvent{send: &dhcp4Datagram{
		message: c.message(now, kind).ToBytes(), at: c.held.at,
		from: netip.AddrPortFrom(c.held.addr.Addr(), dhcp4ClientPort), to: netip.AddrPortFrom(c.held.server, dhcp4ServerPort),
	}})
}

// leaseOf is the lease in an offer or an acknowledgement, of which everything has been
// looked at that somebody will rely on.
func leaseOf(m *dhcpv4.DHCPv4, from mac, asked time.Time) (l lease, err error) {
	l.server, l.at = ip4(m.ServerIdentifier()), from
	if !isHost4(l.server) {
		return l, errors.New("it does not say whose it is")
	}
	mask := m.SubnetMask()
	addr := ip4(m.YourIPAddr)
	if mask == nil {
		mask = addr.AsSlice() // by its class, as before there were masks (RFC 950 §2.1)
		mask = net.IP(mask).DefaultMask()
	}
	bits, size := mask.Size()
	if size != 32 || bits == 0 {
		return l, fmt.Errorf("the subnet mask %v is none", mask)
	}
	if l.addr = netip.PrefixFrom(addr, bits); !isHost4(addr) || bits < 31 && (addr == l.addr.Masked().Addr() || isBroadcast(addr, []netip.Prefix{l.addr})) {
		return l, fmt.Errorf("%v is not the address of a host", l.addr)
	}
	if err := l.setTimes(m, asked); err != nil {
		return l, err
	}
	for _, a := range m.DNS() {
		if server := ip4(a); isHost4(server) && len(l.dns) < maxLeaseDNS {
			l.dns = append(l.dns, server)
		}
	}
	l.setRoutes(m)
	if b := m.Options.Get(dhcpv4.OptionInterfaceMTU); len(b) == 2 {
		if mtu := int(b[0])<<8 | int(b[1]); mtu >= leastLeaseMTU {
			l.mtu = mtu
		}
	}
	return l, nil
}

// setTimes says when to ask again (RFC 2131 §4.4.5).
func (l *lease) setTimes(m *dhcpv4.DHCPv4, asked time.Time) error {
	length := m.IPAddressLeaseTime(0)
	switch {
	case length < leastLease:
		return fmt.Errorf("it would last for %v", length)
	case length >= infiniteLease:
		return nil
	}
	t1, t2 := m.IPAddressRenewalTime(length/2), m.IPAddressRebindingTime(length/8*7)
	if t1 <= 0 || t1 >= t2 || t2 >= length {
		t1, t2 = length/2, length/8*7
	}
	l.renew, l.rebind, l.end = asked.Add(t1), asked.Add(t2), asked.Add(length)
	return nil
}

// setRoutes takes the ways out. RFC 3442: "If the DHCP server returns both a Classless
// Static Routes option and a Router option, the DHCP client MUST ignore the Router
// option."
func (l *lease) setRoutes(m *dhcpv4.DHCPv4) {
	l.routes = append(l.routes, Route{Prefix: l.addr.Masked()})
	add := func(p netip.Prefix, via netip.Addr) {
		if via.IsUnspecified() { // RFC 3442: the addresses are on the link
			l.routes = append(l.routes, Route{Prefix: p})
			return
		}
		if !isHost4(via) || via == l.addr.Addr() {
			return
		}
		if !l.addr.Contains(via) {
			l.routes = append(l.routes, Route{Prefix: netip.PrefixFrom(via, 32)})
		}
		l.routes = append(l.routes, Route{Prefix: p, Via: via})
	}
	if classless := m.ClasslessStaticRoute(); len(classless) > 0 {
		for _, r := range classless[:min(len(classless), maxLeaseRoutes)] {
			if dst, bits := ip4(r.Dest.IP), maskBits(r.Dest.Mask); dst.IsValid() && bits >= 0 {
				add(netip.PrefixFrom(dst, bits).Masked(), ip4(r.Router))
			}
		}
		return
	}
	for _, router := range m.Router() {
		if via := ip4(router); isHost4(via) {
			add(netip.PrefixFrom(netip.IPv4Unspecified(), 0), via)
			return
		}
	}
}

func maskBits(m net.IPMask) int {
	bits, size := m.Size()
	if size != 32 {
		return -1
	}
	return bits
}

// isHost4 reports whether a can be the address of one host, anywhere.
func isHost4(a netip.Addr) bool {
	return a.Is4() && !a.IsUnspecified() && !a.IsMulticast() && !a.IsLoopback() && a.As4()[0] != 0 && a.As4()[0] < 240
}
