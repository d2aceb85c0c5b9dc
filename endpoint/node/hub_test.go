package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint"
	"github.com/l2tpnet/l2tpnet/netstack"
)

// A site is a host at the far end of a port of a hub: another one's stack.
type site struct{ *Hub }

// hubOf is a hub with so many ports on one socket, and the sites at their far ends, whose
// addresses come by DHCP unless they are changed.
func hubOf(t *testing.T, n int, change func(*Hub), changeSite func(int, *Hub)) (*Hub, []site) {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &Hub{Conn: conn, LAN: &LAN{
		Addresses: []netip.Prefix{netip.MustParsePrefix("10.9.0.1/24")},
		ServeDHCP: DHCPRange{netip.MustParseAddr("10.9.0.10"), netip.MustParseAddr("10.9.0.99")},
	}}
	var sites []site
	for i := range n {
		o := newOutlet(t, "127.0.0.1:0")
		cookie := []byte{1, 2, 3, byte(i)}
		h.Ports = append(h.Ports, HubPort{Remote: o.addr, Static: endpoint.StaticConfig{SessionID: uint32(100 + i), PeerSessionID: 1, PeerCookie: cookie}})
		far, _ := o.open("")
		p := &Hub{
			Conn: far, LAN: &LAN{DHCP: true, NoIPv6: true},
			Ports: []HubPort{{Remote: conn.LocalAddr().String(), Static: endpoint.StaticConfig{SessionID: 1, PeerSessionID: uint32(100 + i), Cookie: cookie}}},
		}
		if changeSite != nil {
			changeSite(i, p)
		}
		sites = append(sites, site{p})
	}
	if change != nil {
		change(h)
	}
	if _, err := StartHub(patiently(t), h); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	for _, s := range sites {
		if _, err := StartHub(patiently(t), s.Hub); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
	}
	return h, sites
}

// address is the site's IPv4 address.
func (s site) address(t *testing.T) netip.Addr {
	t.Helper()
	for _, a := range s.Status().LAN.Addresses {
		if a.Is4() {
			return a
		}
	}
	t.Fatalf("no IPv4 address among %v", s.Status().LAN.Addresses)
	return netip.Addr{}
}

// Issue 6: "Three sites on the hub, one of them our stack, all pairs, ping and bulk TCP"; "small DHCPv4 server".
func TestAHubJoinsItsPorts(t *testing.T) {
	h, sites := hubOf(t, 2, nil, nil)
	type host struct {
		name   string
		addr   netip.Addr
		dial   func(context.Context, string, string) (net.Conn, error)
		listen func(string, string) (net.Listener, error)
		ping   func(context.Context, netip.Addr, *netstack.PingOptions) (*netstack.PingReply, error)
	}
	hosts := []host{{"the hub", netip.MustParseAddr("10.9.0.1"), h.DialContext, h.Listen, h.Ping}}
	for i, s := range sites {
		hosts = append(hosts, host{fmt.Sprint("site ", i), s.address(t), s.DialContext, s.Listen, s.Ping})
	}
	for _, x := range hosts {
		ln, err := x.listen("tcp", ":7")
		if err != nil {
			t.Fatal(err)
		}
		echoing(t, ln)
	}
	for _, x := range hosts {
		for _, y := range hosts {
			if x.name == y.name {
				continue
			}
			if _, err := x.ping(patiently(t), y.addr, nil); err != nil {
				t.Errorf("%s to %s: %v", x.name, y.name, err)
			}
			wantEcho(t, x.dial, netip.AddrPortFrom(y.addr, 7).String())
		}
	}

	st := h.Status()
	// Each far end has a stack, and a switch that sends probes.
	if len(st.Ports) != 2 || st.Ports[0].Bridge.Name != "port1" || st.Ports[1].Session.Traffic.BytesIn == 0 || st.Ports[0].Bridge.Counters.FramesOut == 0 || st.Ports[0].Bridge.Addresses > 2 {
		t.Errorf("ports %+v", st.Ports)
	}
	var leased []string
	for _, l := range st.LAN.Leases {
		leased = append(leased, l.Address.String())
	}
	if want := []string{"10.9.0.10", "10.9.0.11"}; !slices.Equal(leased, want) || st.LAN.DHCP.Ack < 2 { // a client may have asked twice
		t.Errorf("leases %v, want %v; counted %+v", leased, want, st.LAN.DHCP)
	}
	if last := st.Stations[len(st.Stations)-1]; last.Port != "lan" || !slices.Equal(last.MAC, st.LAN.MAC) || st.Stations[0].Port != "port1" {
		t.Errorf("stations %v", st.Stations)
	}
	if st.LAN.Egress != nil || len(st.Endpoints) != 1 || st.LAN.Addresses[0].String() != "10.9.0.1" {
		t.Errorf("status %+v", st.LAN)
	}
}

// Issue 6: "a gateway for Ethernet clients: small DHCPv4 server, router advertisements, DNS forwarder, the same egress
// as v2".
func TestAHubIsAGateway(t *testing.T) {
	backend := listenHere(t, "127.0.0.1")
	go http.Serve(backend, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("outside")) }))
	t.Cleanup(func() { backend.Close() })
	h, sites := hubOf(t, 1, func(h *Hub) {
		h.LAN.Advertise = netip.MustParsePrefix("fd00:9::/64")
		h.LAN.ForwardDNS = []netip.AddrPort{nameserver(t)}
		h.LAN.Egress = &Egress{AllowHost: []Allow{{Prefix: netip.MustParsePrefix("127.0.0.1/32")}}}
		h.LAN.Domain = "example.net"
	}, func(_ int, p *Hub) { p.LAN.NoIPv6 = false })
	s := sites[0]
	if got, err := s.LookupHost(patiently(t), "www.example"); err != nil || !slices.Contains(got, "192.0.2.80") {
		t.Errorf("www.example is %v, %v", got, err)
	}
	var global netip.Addr
	waitUntil(t, func() bool {
		for _, a := range s.Status().LAN.Addresses {
			if h.LAN.Advertise.Contains(a) {
				global = a
			}
		}
		return global.IsValid()
	})
	if got := s.Status().LAN.DNS; !slices.Contains(got, netip.MustParseAddr("fd00:9::1")) || !slices.Contains(got, netip.MustParseAddr("10.9.0.1")) {
		t.Errorf("the site is told of the DNS servers %v", got)
	}
	web, err := h.Listen("tcp", ":7")
	if err != nil {
		t.Fatal(err)
	}
	echoing(t, web)
	for _, gateway := range []string{"10.9.0.1:7", "[fd00:9::1]:7"} {
		wantEcho(t, s.DialContext, gateway)
	}
	in, err := s.Listen("tcp", ":7")
	if err != nil {
		t.Fatal(err)
	}
	echoing(t, in)
	for _, a := range []netip.Addr{s.address(t), global} {
		wantEcho(t, h.DialContext, netip.AddrPortFrom(a, 7).String())
	}

	// 127.0.0.1 does not leave a host: what the site means by another address, the Dialer
	// takes there.
	if st := h.Status(); st.LAN.Egress == nil || st.LAN.Egress.TCP.Opened != 0 {
		t.Errorf("egress %+v", st.LAN.Egress)
	}
	if _, err := s.DialContext(patiently(t), "tcp", "10.9.0.77:80"); err == nil {
		t.Error("who is not there has answered")
	}
	if n := h.Status().LAN.Egress.TCP.Opened; n != 0 {
		t.Errorf("%d connections for the segment have left it", n)
	}
}

// What the clients of a LAN send elsewhere goes through the host's sockets, each client's
// for itself.
func TestAHubsEgress(t *testing.T) {
	backend := listenHere(t, "127.0.0.1")
	echoing(t, backend)
	_, port, _ := net.SplitHostPort(backend.Addr().String())
	var owners []egressOwner
	h, sites := hubOf(t, 2, func(h *Hub) {
		h.LAN.DNS = []netip.Addr{netip.MustParseAddr("192.0.2.53")}
		h.LAN.Egress = &Egress{Dialer: dialerFunc(func(ctx context.Context, network, address string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, backend.Addr().String())
		})}
	}, nil)
	var conns []net.Conn
	for _, s := range sites {
		if got := s.Status().LAN.DNS; !slices.Equal(got, h.LAN.DNS) {
			t.Errorf("told of the DNS servers %v", got)
		}
		conn, err := s.DialContext(patiently(t), "tcp", "198.51.100.7:"+port)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conns = append(conns, conn)
	}
	e := &h.LAN.Egress.state
	e.mu.Lock()
	for owner := range e.clients {
		owners = append(owners, owner)
	}
	e.mu.Unlock()
	if len(owners) != 2 || owners[0].host == owners[1].host || owners[0].port != owners[1].port {
		t.Errorf("flows are counted by %v", owners)
	}
	if st := h.Status().LAN.Egress; st.TCP.Open != 2 {
		t.Errorf("egress %+v", st)
	}
	h.Close()
	for _, conn := range conns {
		conn.SetDeadline(time.Now().Add(time.Minute))
	}
}

// Ports may have sockets of their own, be isolated, or be one VLAN of the far end.
func TestAHubsPorts(t *testing.T) {
	h, sites := hubOf(t, 3, func(h *Hub) {
		for i := range h.Ports {
			h.Ports[i].Name = []string{"north", "south", "vlan"}[i]
			h.Ports[i].Isolated = i < 2
		}
		h.Ports[2].Static.Type, h.Ports[2].Static.VLAN = endpoint.PseudowireVLAN, 7
	}, func(i int, p *Hub) {
		if i == 2 {
			p.Ports[0].Static.Type, p.Ports[0].Static.VLAN = endpoint.PseudowireVLAN, 8 // the tag is rewritten
		}
		p.LAN.DHCP, p.LAN.Addresses = false, []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 9, 0, byte(2 + i)}), 24)}
	})
	for i, s := range sites {
		if _, err := h.Ping(patiently(t), s.address(t), nil); err != nil {
			t.Errorf("site %d: %v", i, err)
		}
		if i < 2 {
			if _, err := s.Ping(patiently(t), sites[2].address(t), nil); err != nil {
				t.Errorf("site %d to the VLAN: %v", i, err)
			}
		}
	}
	ctx, cancel := context.WithTimeout(patiently(t), 2*time.Second)
	defer cancel()
	if _, err := sites[0].Ping(ctx, sites[1].address(t), nil); err == nil {
		t.Error("isolated ports reach each other")
	}
	if st := h.Status(); st.Ports[2].Bridge.Name != "vlan" || st.Ports[2].Session.Type != endpoint.PseudowireVLAN {
		t.Errorf("status %+v", st.Ports[2])
	}
}

// Our stack is a host among others where somebody else is the gateway: here that of another
// hub.
func TestAHubWithALeasedAddress(t *testing.T) {
	far, near := newOutlet(t, "127.0.0.1:0"), newOutlet(t, "127.0.0.1:0")
	farConn, _ := far.open("")
	nearConn, _ := near.open("")
	gateway, err := StartHub(patiently(t), &Hub{
		Conn: farConn, Ports: []HubPort{{Remote: near.addr, Static: endpoint.StaticConfig{SessionID: 1, PeerSessionID: 2}}},
		LAN: &LAN{
			Addresses: []netip.Prefix{netip.MustParsePrefix("10.9.0.1/24")}, NoIPv6: true,
			ServeDHCP: DHCPRange{netip.MustParseAddr("10.9.0.10"), netip.MustParseAddr("10.9.0.99")},
			FixedIPv4: map[string]netip.Addr{"02:00:00:00:00:07": netip.MustParseAddr("10.9.0.7")},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { gateway.Close() })
	h, err := StartHub(patiently(t), &Hub{
		Conn: nearConn, Ports: []HubPort{{Remote: far.addr, Static: endpoint.StaticConfig{SessionID: 2, PeerSessionID: 1}}},
		LAN: &LAN{DHCP: true, NoIPv6: true, MAC: net.HardwareAddr{2, 0, 0, 0, 0, 7}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	if a := h.Status().LAN.Addresses; len(a) != 1 || a[0].String() != "10.9.0.7" {
		t.Errorf("addresses %v", a)
	}
	ln, err := h.Listen("tcp", ":7")
	if err != nil {
		t.Fatal(err)
	}
	echoing(t, ln)
	wantEcho(t, gateway.DialContext, "10.9.0.7:7")
	h.Close() // it gives its lease back
	waitUntil(t, func() bool { st := gateway.Status().LAN; return st.DHCP.Release == 1 && len(st.Leases) == 0 })
}

func TestAHubThatEnds(t *testing.T) {
	h, sites := hubOf(t, 1, nil, nil)
	ln, err := h.Listen("tcp", ":7")
	if err != nil {
		t.Fatal(err)
	}
	echoing(t, ln)
	wantEcho(t, sites[0].DialContext, "10.9.0.1:7")
	if h.Err() != nil {
		t.Errorf("err %v", h.Err())
	}
	h.Close()
	h.Close()
	<-h.Done()
	if h.Err() != net.ErrClosed {
		t.Errorf("err %v", h.Err())
	}
	if _, err := h.Dial("tcp", "10.9.0.10:7"); !errors.Is(err, net.ErrClosed) {
		t.Errorf("dial %v", err)
	}
	if _, err := h.Listen("tcp", ":8"); !errors.Is(err, net.ErrClosed) {
		t.Errorf("listen %v", err)
	}
	if _, err := StartHub(patiently(t), h); err == nil {
		t.Error("started twice")
	}
}

// One socket that fails is the end of the hub, and all inside says why.
func TestAHubWhoseSocketFails(t *testing.T) {
	h, sites := hubOf(t, 1, nil, nil)
	ln, err := h.Listen("tcp", ":7")
	if err != nil {
		t.Fatal(err)
	}
	echoing(t, ln)
	conn, err := sites[0].Dial("tcp", "10.9.0.1:7")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	sites[0].Conn.Close()
	select {
	case <-sites[0].Done():
	case <-patiently(t).Done():
		t.Fatal("the hub goes on without a socket")
	}
	if err := sites[0].Err(); err == nil {
		t.Error("the hub does not say why it has ended")
	}
	conn.SetDeadline(time.Now().Add(time.Minute))
	if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a connection inside: %v", err)
	}
}

func TestAHubWithoutAStack(t *testing.T) {
	static := func(i int, p *Hub) {
		p.LAN.DHCP, p.LAN.Addresses = false, []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 9, 0, byte(2 + i)}), 24)}
	}
	h, sites := hubOf(t, 2, func(h *Hub) { h.LAN = nil }, static)
	if _, err := sites[0].Ping(patiently(t), sites[1].address(t), nil); err != nil {
		t.Error(err)
	}
	for _, err := range []error{
		second(h.Dial("tcp", "10.9.0.2:7")), second(h.Listen("tcp", ":7")), second(h.ListenPacket("udp", ":7")),
		second(h.LookupHost(patiently(t), "www.example")), second(h.Ping(patiently(t), netip.MustParseAddr("10.9.0.2"), nil)),
	} {
		if !errors.Is(err, errNoLAN) && (err == nil || !strings.Contains(err.Error(), errNoLAN.Error())) {
			t.Errorf("error %v", err)
		}
	}
	if st := h.Status(); st.LAN != nil || len(st.Ports) != 2 {
		t.Errorf("status %+v", st)
	}
	var none Hub
	if st := none.Status(); st.Ports != nil || none.Close() != nil || none.Err() != nil {
		t.Errorf("before the start: %+v", st)
	}
	if none.Done() != nil || none.Endpoints() != nil {
		t.Error("there is something before the start")
	}
	if _, err := none.Dial("tcp", "10.9.0.2:7"); err == nil {
		t.Error("dialled before the start")
	}
}

func second[T any](_ T, err error) error { return err }

func TestAHubWithoutSense(t *testing.T) {
	prefix, addr := netip.MustParsePrefix, netip.MustParseAddr
	for _, c := range []struct {
		want   string
		change func(*Hub)
	}{
		{"one pseudowire or more", func(h *Hub) { h.Ports = nil }},
		{`found "lan" twice`, func(h *Hub) { h.Ports[0].Name = "lan" }},
		{`found "port1" twice`, func(h *Hub) { h.Ports = append(h.Ports, HubPort{Name: "port1"}) }},
		{"port1: expected a pseudowire of Ethernet or of a VLAN, found ppp", func(h *Hub) { h.Ports[0].Static.Type = endpoint.PseudowirePPP }},
		{"port1: expected the address of its other end", func(h *Hub) { h.Ports[0].Remote = "" }},
		{"port1: expected session ids", func(h *Hub) { h.Ports[0].Static.SessionID = 0 }},
		{"port2: ", func(h *Hub) {
			h.Ports = append(h.Ports, HubPort{Remote: "127.0.0.1:9", Local: "192.0.2.1:0", Static: h.Ports[0].Static})
		}},
		{"port2: the session id is in use", func(h *Hub) { h.Ports = append(h.Ports, h.Ports[0]); h.Ports[0].Name = "x" }},
		{"DHCP, found both", func(h *Hub) { h.LAN.DHCP = true }},
		{"others have theirs from us", func(h *Hub) { h.LAN.Addresses, h.LAN.DHCP = nil, true }},
		{"since we are that", func(h *Hub) { h.LAN.Egress, h.LAN.Gateway = &Egress{}, addr("10.9.0.9") }},
		{"in the subnet of the DHCP range", func(h *Hub) { h.LAN.Addresses = []netip.Prefix{prefix("10.8.0.1/24")} }},
		{"expected a range of hosts' addresses", func(h *Hub) { h.LAN.ServeDHCP.Last = addr("10.9.0.255") }},
		{"expected a DHCP range", func(h *Hub) { h.LAN.ServeDHCP, h.LAN.Lease = DHCPRange{}, time.Hour }},
		{"64 bits to advertise", func(h *Hub) { h.LAN.Advertise = prefix("fd00:9::/48") }},
		{"found that it is off", func(h *Hub) { h.LAN.Advertise, h.LAN.NoIPv6 = prefix("fd00:9::/64"), true }},
		{"since we are others' gateway", func(h *Hub) { h.LAN = &LAN{Egress: &Egress{}} }},
		{"since there is no IPv6", func(h *Hub) { h.LAN = &LAN{NoIPv6: true} }},
		{"which IPv6 needs", func(h *Hub) { h.LAN.MTU = 1000 }},
		{"MAC address of a station", func(h *Hub) { h.LAN.MAC = net.HardwareAddr{1, 2, 3, 4, 5, 6} }},
	} {
		conn, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		h := &Hub{
			Conn: conn, Ports: []HubPort{{Remote: "127.0.0.1:9", Static: endpoint.StaticConfig{SessionID: 1, PeerSessionID: 1}}},
			LAN: &LAN{Addresses: []netip.Prefix{prefix("10.9.0.1/24")}, ServeDHCP: DHCPRange{addr("10.9.0.10"), addr("10.9.0.99")}},
		}
		c.change(h)
		if _, err := StartHub(patiently(t), h); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want an error that says %q", err, c.want)
		}
		if _, err := conn.WriteTo([]byte("x"), conn.LocalAddr()); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: the socket is left open: %v", c.want, err)
		}
	}
}

func TestParseDHCPRange(t *testing.T) {
	for s, want := range map[string]string{
		"10.9.0.10-10.9.0.99": "10.9.0.10-10.9.0.99", "10.9.0.10-99": "10.9.0.10-10.9.0.99", "10.9.0.10 - 10.9.1.9": "10.9.0.10-10.9.1.9",
		"10.9.0.10": "", "10.9.0.10-": "", "10.9.0.10-9": "", "fd00::1-fd00::2": "", "10.9.0.10-fd00::1": "", "a-b": "", "10.9.0.10-256": "",
	} {
		got, err := ParseDHCPRange(s)
		if (err == nil) != (want != "") || got.String() != want {
			t.Errorf("%q is %v, %v, want %q", s, got, err, want)
		}
	}
}

// Issue 6: "a loop does not melt the process": two pseudowires lead to the same far switch.
// Each of the two switches sees the loop, one of the four ports is held, and everybody reaches
// everybody through the rest.
func TestALoopThroughTwoHubs(t *testing.T) {
	var conns [3]net.PacketConn
	var at [3]string
	for i := range conns {
		conn, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		conns[i], at[i] = conn, conn.LocalAddr().String()
	}
	static := func(ours, peers uint32) endpoint.StaticConfig {
		return endpoint.StaticConfig{SessionID: ours, PeerSessionID: peers}
	}
	events := make(chan HubEvent, 100)
	told := func(e HubEvent) { events <- e }
	var hubs []*Hub
	for i, h := range []*Hub{
		{Ports: []HubPort{{Remote: at[1], Static: static(1, 1)}, {Remote: at[1], Static: static(2, 2)}}, LAN: &LAN{Addresses: ends[:1], NoIPv6: true}, Events: told},
		{Ports: []HubPort{{Remote: at[0], Static: static(1, 1)}, {Remote: at[0], Static: static(2, 2)}, {Remote: at[2], Static: static(3, 1)}}, Events: told},
		{Ports: []HubPort{{Remote: at[1], Static: static(1, 3)}}, LAN: &LAN{Addresses: ends[1:], NoIPv6: true}},
	} {
		h.Conn = conns[i]
		if _, err := StartHub(patiently(t), h); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { h.Close() })
		hubs = append(hubs, h)
	}
	select {
	case e := <-events:
		if e.What != PortHeld || e.Port != "port2" {
			t.Errorf("told of %+v, want port2 held", e)
		}
	case <-patiently(t).Done():
		t.Fatal("the loop was not found")
	}
	for _, p := range []struct {
		from *Hub
		to   netip.Addr
	}{{hubs[0], ends[1].Addr()}, {hubs[2], ends[0].Addr()}} {
		waitUntil(t, func() bool { // frames may have been under way, and stations have moved
			ctx, cancel := context.WithTimeout(patiently(t), 5*time.Second)
			defer cancel()
			_, err := p.from.Ping(ctx, p.to, nil)
			return err == nil
		})
	}
	var frames uint64
	for _, h := range hubs[:2] {
		for _, p := range h.Status().Ports {
			frames += p.Bridge.Counters.FramesIn
		}
	}
	if frames > 100_000 {
		t.Errorf("%d frames have come in at the two switches", frames)
	}
}
