package netstack

import (
	"net/netip"
	"slices"
	"testing"
	"time"
)

// newDHCPServer serves 10.0.0.100 to 10.0.0.110 at 10.0.0.2.
func newDHCPServer(t testing.TB) *DHCPv4Server {
	s, err := NewDHCPv4Server(&DHCPv4ServerConfig{
		Server: netip.MustParsePrefix("10.0.0.2/24"), First: netip.MustParseAddr("10.0.0.100"), Last: netip.MustParseAddr("10.0.0.110"),
		Router: addrB, DNS: []netip.Addr{addrB}, MTU: 1280,
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A host of the segment has its address, router, DNS server and MTU from the gateway, and
// gives the address back when it closes.
func TestAnAddressByDHCP(t *testing.T) {
	server := newDHCPServer(t)
	p := newEtherPair(t, &EthernetConfig{DHCP: true},
		&EthernetConfig{Addresses: prefixes("10.0.0.2/24"), Forwarder: answerTCP(), DHCPServer: server})
	if err := p.nicA.Wait(patience(t)); err != nil {
		t.Fatal(err)
	}
	addr := p.nicA.Addresses()[0]
	if !netip.MustParsePrefix("10.0.0.100/28").Contains(addr) && !netip.MustParsePrefix("10.0.0.96/28").Contains(addr) {
		t.Errorf("the address is %v", addr)
	}
	if dns := p.nicA.DNS(); !slices.Equal(dns, []netip.Addr{addrB}) {
		t.Errorf("the DNS servers are %v", dns)
	}
	if mtu := p.nicA.nic.ep.MTU(); mtu != 1280 {
		t.Errorf("the MTU is %d, want 1280 of option 26", mtu)
	}
	transfer(t, p.a, p.b, addrB, 100<<10)
	transfer(t, p.b, p.a, addr, 100<<10)
	c, err := p.a.DialContext(patience(t), "tcp", "203.0.113.5:80")
	if err != nil {
		t.Fatalf("beyond the router: %v", err)
	}
	c.Close()
	p.nicA.Close()
	for wait := patience(t); server.Counters().Release == 0; time.Sleep(time.Millisecond) {
		if wait.Err() != nil {
			t.Fatal("the address was not given back")
		}
	}
}
