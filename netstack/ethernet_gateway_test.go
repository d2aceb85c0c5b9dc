package netstack

import (
	"errors"
	"io"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// answerTCP is a Forwarder that says where it was asked to go.
func answerTCP() *Forwarder {
	return &Forwarder{TCP: func(f *TCPFlow) {
		if f.Destination().Port() == 81 {
			f.Refuse(syscall.ECONNREFUSED)
			return
		}
		c, err := f.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		io.WriteString(c, f.Source().Addr().String()+" to "+f.Destination().String())
	}}
}

// A host of the segment reaches other networks through the gateway, over IPv4 and,
// with what that advertises, over IPv6; and the gateway itself.
func TestEthernetGateway(t *testing.T) {
	prefix := netip.MustParsePrefix("2001:db8:7::/64")
	server := netip.MustParseAddr("2001:db8:7::1")
	p := newEtherPair(t,
		&EthernetConfig{Addresses: prefixes("10.0.0.1/24"), Gateway: addrB},
		&EthernetConfig{
			Addresses: prefixes("10.0.0.2/24", "2001:db8:7::1/64"), Forwarder: answerTCP(),
			Advertise: &Advertisement{Prefix: prefix, DNS: []netip.Addr{server}}, MTU: 1300,
		})
	if err := p.nicA.WaitIPv6(patience(t)); err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(p.nicA.Addresses(), prefix.Contains)
	if i < 0 {
		t.Fatalf("the addresses are %v, want one of %v", p.nicA.Addresses(), prefix)
	}
	own := p.nicA.Addresses()[i]
	wait := patience(t)
	if dns := p.nicA.DNS(); !slices.Contains(dns, server) {
		t.Errorf("the DNS servers are %v, want %v", dns, server)
	}
	// RFC 4861 §4.2: with the O flag "other configuration information is available via DHCPv6".
	for informed := false; !informed; time.Sleep(10 * time.Millisecond) {
		v := p.nicA.nic.v6
		v.mu.Lock()
		informed = slices.Equal(v.info.dns, []netip.Addr{server})
		v.mu.Unlock()
		if wait.Err() != nil {
			t.Fatal("the gateway's DHCPv6 server was not asked for DNS servers")
		}
	}
	if mtu := p.nicA.nic.ep.MTU(); mtu != 1300 {
		t.Errorf("the MTU is %d, want the advertised 1300", mtu)
	}
	for to, from := range map[string]string{"203.0.113.5": "10.0.0.1", "2001:db8:1::5": own.String()} {
		c, err := p.a.DialContext(patience(t), "tcp", netip.AddrPortFrom(netip.MustParseAddr(to), 80).String())
		if err != nil {
			t.Errorf("to %s: %v", to, err)
			continue
		}
		if got, err := io.ReadAll(c); err != nil || !strings.HasPrefix(string(got), from+" to ") {
			t.Errorf("to %s: %q, %v", to, got, err)
		}
		c.Close()
		if _, err = p.a.DialContext(patience(t), "tcp", netip.AddrPortFrom(netip.MustParseAddr(to), 81).String()); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("to %s, port 81: %v, want the far end's refusal", to, err)
		}
	}
	for _, to := range []netip.Addr{addrB, server} {
		transfer(t, p.a, p.b, to, 100<<10)
		if _, err := p.a.Ping(patience(t), to, nil); err != nil {
			t.Errorf("ping %v: %v", to, err)
		}
	}
	for _, to := range []netip.Addr{addrA, own} {
		transfer(t, p.b, p.a, to, 100<<10)
		if _, err := p.b.Ping(patience(t), to, nil); err != nil {
			t.Errorf("ping %v: %v", to, err)
		}
	}
}

func TestAGatewayThatMakesNoSense(t *testing.T) {
	s := newStack(t, nil)
	f := answerTCP()
	for want, cfg := range map[string]*EthernetConfig{
		"needs an address":  {Forwarder: f},
		"leased by DHCP":    {Forwarder: f, Addresses: prefixes("10.0.0.2/24"), DHCP: true},
		"no routes":         {Forwarder: f, Addresses: prefixes("10.0.0.2/24"), Gateway: addrA},
		"IPv6 prefix of 64": {Addresses: prefixes("10.0.0.2/24"), Advertise: &Advertisement{}},
		"64 bits":           {Addresses: prefixes("10.0.0.2/24"), Advertise: &Advertisement{Prefix: netip.MustParsePrefix("2001:db8::/56")}},
		"NoIPv6":            {Addresses: prefixes("10.0.0.2/24"), NoIPv6: true, Advertise: &Advertisement{Prefix: netip.MustParsePrefix("2001:db8::/64")}},
		"resolves no names": {Addresses: prefixes("10.0.0.2/24"), Forwarder: f, DNS: []netip.Addr{addrA}},
	} {
		if _, err := s.AddEthernet(discard, cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q in it", cfg, err, want)
		}
	}
}

// A host of a segment has so many undecided flows and no more, and another one has its own;
// many hosts, or one that says that it is many, have no more than the segment.
func TestForwardPendingPerHost(t *testing.T) {
	release := make(chan struct{})
	arrived := make(chan netip.Addr, 10_000)
	n := addEthernet(t, newStack(t, nil), discard, &EthernetConfig{
		MAC: ownMAC[:], Addresses: prefixes("10.0.0.1/16"), Forwarder: &Forwarder{UDP: func(f *UDPFlow) {
			arrived <- f.Source().Addr()
			<-release
		}},
	})
	flow := func(from string, port int) {
		put(n, frameOf(ownMAC, peerMAC, etherIPv4, udpPacket(from, outside, 4000, uint16(port), nil)))
	}
	for i := range 2 * forwardPending {
		flow("10.0.0.2", i+1)
	}
	flow("10.0.0.3", 1)
	begun := map[netip.Addr]int{}
	for range forwardPending + 1 {
		begun[<-arrived]++
	}
	if begun[addrB] != forwardPending || len(arrived) != 0 {
		t.Errorf("the flows are %v, and %d more", begun, len(arrived))
	}
	for i := range 2 * forwardSegment {
		flow(netip.AddrFrom4([4]byte{10, 0, byte(1 + i/250), byte(1 + i%250)}).String(), 1)
	}
	for range forwardSegment - forwardPending - 1 {
		<-arrived
	}
	if len(arrived) != 0 {
		t.Errorf("%d flows more than %d", len(arrived), forwardSegment)
	}
	close(release)
}
