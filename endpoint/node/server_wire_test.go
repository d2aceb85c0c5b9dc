package node

import (
	"net/netip"
	"testing"

	"github.com/l2tpnet/l2tpnet/endpoint"
	"github.com/l2tpnet/l2tpnet/netstack"
)

// lanOf is what a server of L2TPv3 has in these tests.
func lanOf() *LAN {
	return &LAN{
		Addresses: []netip.Prefix{netip.MustParsePrefix("10.78.0.1/24")},
		ServeDHCP: DHCPRange{netip.MustParseAddr("10.78.0.100"), netip.MustParseAddr("10.78.0.199")},
	}
}

// wireServer is a server of both versions, with users and a LAN.
func wireServer(t *testing.T, change func(*Server)) *called {
	t.Helper()
	return serverOf(t, func(s *Server) {
		s.V3, s.LAN, s.Secret = &endpoint.V3Config{}, lanOf(), "tunsecret"
		if change != nil {
			change(s)
		}
	})
}

// A wire is a client of L2TPv3, with a stack at its end.
type wire struct {
	session *endpoint.Session
	stack   *netstack.Stack
	ether   *netstack.EthernetNIC
}

// tunnel is one of L2TPv3 to the server.
func (l *called) tunnel(t *testing.T) *endpoint.Tunnel {
	t.Helper()
	ep, err := endpoint.Listen("udp", "127.0.0.1:0", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ep.Close() })
	tun, err := ep.Dial(soon(t), l.Addr().String(), &endpoint.TunnelConfig{Secret: l.Secret, V3: &endpoint.V3Config{}})
	if err != nil {
		t.Fatal(err)
	}
	return tun
}

// plug opens an Ethernet or VLAN pseudowire in a tunnel, and has an address by DHCP.
func plug(t *testing.T, tun *endpoint.Tunnel, cfg *endpoint.PseudowireConfig) *wire {
	t.Helper()
	session, err := tun.Open(soon(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{session: session, stack: newStack(t)}
	if w.ether, err = w.stack.AddEthernet(session, &netstack.EthernetConfig{DHCP: true, MTU: session.MTU()}); err != nil {
		t.Fatal(err)
	}
	session.Attach(w.ether)
	if err := w.ether.Wait(soon(t)); err != nil {
		t.Fatalf("no address: %v", err)
	}
	return w
}

func newStack(t *testing.T) *netstack.Stack {
	t.Helper()
	stack, err := netstack.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stack.Close() })
	return stack
}

// address is the client's IPv4 address.
func (w *wire) address(t *testing.T) netip.Addr {
	t.Helper()
	for _, a := range w.ether.Addresses() {
		if a.Is4() {
			return a
		}
	}
	t.Fatalf("no IPv4 address among %v", w.ether.Addresses())
	return netip.Addr{}
}

// Issue 7: "l2tpnet serve --v3 … answers v2 and v3 on one port, with a gateway on an in-process
// switch (DHCP, advertisements, egress) for Ethernet clients".
func TestAnEthernetClientBesideThoseOfPPP(t *testing.T) {
	l := wireServer(t, nil)
	web, err := l.Listen("tcp", ":7") // for all of them
	if err != nil {
		t.Fatal(err)
	}
	echoing(t, web)
	alice := l.call(t, "alice") // by L2TPv2
	if e := l.event(t, true); e.Session.Type != endpoint.PseudowirePPP || e.Session.User != "alice" {
		t.Errorf("told of %+v", e)
	}
	red := plug(t, l.tunnel(t), &endpoint.PseudowireConfig{RemoteEndID: "red"})
	e := l.event(t, true)
	if v := e.Session; v.Type != endpoint.PseudowireEthernet || v.RemoteEndID != "red" || v.PeerName != "l2tpnet" || v.User != "" || v.Peer.Addr().String() != "127.0.0.1" || v.MTU == 0 {
		t.Errorf("told of %+v", v)
	}
	if e := l.event(t, true); e.Host == nil || e.Host.Address != red.address(t) || e.Host.MAC.String() != red.ether.MAC().String() || e.Session.RemoteEndID != "red" {
		t.Errorf("told of %+v, and not of its address", e)
	}
	wantEcho(t, alice.stack.DialContext, "10.77.0.1:7")
	wantEcho(t, red.stack.DialContext, "10.78.0.1:7")
	if _, err := red.stack.Ping(soon(t), netip.MustParseAddr("10.78.0.1"), nil); err != nil {
		t.Errorf("ping: %v", err)
	}
	// And the other way.
	for _, c := range []struct {
		stack *netstack.Stack
		to    netip.Addr
	}{{alice.stack, alice.address()}, {red.stack, red.address(t)}} {
		ln, err := c.stack.Listen("tcp", ":7")
		if err != nil {
			t.Fatal(err)
		}
		echoing(t, ln)
		wantEcho(t, l.DialContext, netip.AddrPortFrom(c.to, 7).String())
	}
	st := l.Status()
	if len(st.Sessions) != 2 || st.LAN == nil || len(st.LAN.Leases) != 1 || st.LAN.Inside.PacketsIn == 0 {
		t.Fatalf("status %+v", st)
	}
	v := st.Sessions[1]
	if len(v.Hosts) != 1 || v.Hosts[0].Address != red.address(t) || v.Hosts[0].MAC.String() != red.ether.MAC().String() || v.Traffic.BytesIn == 0 {
		t.Errorf("the session is %+v", v)
	}
	red.session.Close()
	if e := l.event(t, false); e.Session.RemoteEndID != "red" || len(e.Session.Hosts) != 1 || e.Err == nil {
		t.Errorf("told of %+v", e)
	}
	if st := l.Status(); len(st.Sessions) != 1 {
		t.Errorf("status %+v", st.Sessions)
	}
	for _, h := range l.segment.bridge.Stations() {
		if !h.Static {
			t.Errorf("the switch has %v still", h)
		}
	}
}
