package node

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/l2tpnet/l2tpnet/endpoint"
	"github.com/l2tpnet/l2tpnet/endpoint/link"
	"github.com/l2tpnet/l2tpnet/netstack"
)

// circuitServer has one circuit of each type.
func circuitServer(t *testing.T, change func(*Server)) *called {
	t.Helper()
	return wireServer(t, func(s *Server) {
		s.Circuits = []Circuit{
			{ID: "red", CookieLen: 4, Sequencing: endpoint.SequencingBoth},
			{ID: "blue", Type: endpoint.PseudowireVLAN, VLAN: 7},
			{ID: "branch", Type: endpoint.PseudowireIP, Address: netip.MustParseAddr("10.77.0.50"), Routes: []netip.Prefix{netip.MustParsePrefix("192.168.50.0/24")}},
			{ID: "users", Type: endpoint.PseudowirePPP},
		}
		if change != nil {
			change(s)
		}
	})
}

// Issue 7: "Remote End ID matched against configuration".
func TestACircuitThatThereIsNot(t *testing.T) {
	l := circuitServer(t, nil)
	tun := l.tunnel(t)
	for _, cfg := range []endpoint.PseudowireConfig{
		{RemoteEndID: "green"}, {}, {RemoteEndID: "re"}, {RemoteEndID: "red\x00"}, {RemoteEndID: "*"},
		{RemoteEndID: "blue"}, {RemoteEndID: "red", Type: endpoint.PseudowireIP}, {RemoteEndID: "branch", Type: endpoint.PseudowireVLAN, VLAN: 1},
		{RemoteEndID: "green", Type: endpoint.PseudowirePPP, PPP: &endpoint.PPPConfig{User: "alice", Password: "a"}},
		{RemoteEndID: "red", Type: endpoint.PseudowirePPP, PPP: &endpoint.PPPConfig{User: "alice", Password: "a"}},
	} {
		_, err := tun.Open(soon(t), &cfg)
		refusal, ok := errors.AsType[*endpoint.PeerError](err)
		if !ok || refusal.Message != "CDN" || !strings.Contains(refusal.Text, "no such pseudowire here") {
			t.Errorf("%v by the id %q: %v", cfg.Type, cfg.RemoteEndID, err)
		}
	}
	if _, err := tun.Open(soon(t), &endpoint.PseudowireConfig{RemoteEndID: "red", Type: endpoint.PseudowireHDLC}); err == nil || len(l.Status().Sessions) != 0 {
		t.Errorf("HDLC: %v", err)
	}
	// The tunnel is none the worse for it.
	plug(t, tun, &endpoint.PseudowireConfig{RemoteEndID: "red"})
}

// What a caller names itself may hold anything, and up to 1,017 octets of it: the log has it
// quoted, and cut.
func TestACallerIsLoggedInBounds(t *testing.T) {
	peer := netip.MustParseAddrPort("192.0.2.7:1701")
	for _, row := range []struct {
		shows ServerSession
		want  string
	}{
		{ServerSession{User: "alice", RemoteEndID: "red"}, "alice"},
		{ServerSession{RemoteEndID: "rouge-é", PeerName: "lac"}, "rouge-é"},
		{ServerSession{RemoteEndID: "red\nl2tpnet: all is well\x1b[2J"}, `"red\nl2tpnet: all is well\x1b[2J"`},
		{ServerSession{RemoteEndID: strings.Repeat("x", 128)}, strings.Repeat("x", 128)},
		{ServerSession{RemoteEndID: strings.Repeat("x", 1017)}, `"` + strings.Repeat("x", 128) + `"…`},
		{ServerSession{PeerName: "x" + strings.Repeat("é", 500)}, `"x` + strings.Repeat("é", 63) + `"…`},
		{ServerSession{PeerName: "\x00\xff"}, `"\x00\xff"`},
		{ServerSession{Peer: peer}, "192.0.2.7:1701"},
	} {
		if who := (&caller{shows: row.shows}).who(); who != row.want {
			t.Errorf("%+v is logged as %s, expected %s", row.shows, who, row.want)
		}
	}
}

// Issue 7: "PPP over v3, Ethernet, VLAN and IP by negotiation", all in one tunnel.
func TestACircuitOfEachType(t *testing.T) {
	l := circuitServer(t, nil)
	web, err := l.Listen("tcp", ":7")
	if err != nil {
		t.Fatal(err)
	}
	echoing(t, web)
	tun := l.tunnel(t)
	red := plug(t, tun, &endpoint.PseudowireConfig{RemoteEndID: "red"})
	blue := plug(t, tun, &endpoint.PseudowireConfig{RemoteEndID: "blue", Type: endpoint.PseudowireVLAN, VLAN: 99})
	for _, w := range []*wire{red, blue} {
		wantEcho(t, w.stack.DialContext, "10.78.0.1:7")
	}
	// An IP pseudowire is routed beside PPP's sessions.
	branch, err := tun.Open(soon(t), &endpoint.PseudowireConfig{RemoteEndID: "branch", Type: endpoint.PseudowireIP})
	if err != nil {
		t.Fatal(err)
	}
	stack := newStack(t)
	nic, err := stack.AddIP(branch, &netstack.IPConfig{
		Addresses: []netip.Prefix{netip.MustParsePrefix("10.77.0.50/32"), netip.MustParsePrefix("192.168.50.1/32")}, MTU: branch.MTU(),
	})
	if err != nil {
		t.Fatal(err)
	}
	branch.Attach(nic)
	wantEcho(t, stack.DialContext, "10.77.0.1:7")
	in, err := stack.Listen("tcp", ":7")
	if err != nil {
		t.Fatal(err)
	}
	echoing(t, in)
	for _, to := range []string{"10.77.0.50:7", "192.168.50.1:7"} {
		wantEcho(t, l.DialContext, to)
	}
	// PPP with the id of its circuit, and with none.
	for i, id := range []string{"users", ""} {
		s, err := tun.Open(soon(t), &endpoint.PseudowireConfig{RemoteEndID: id, Type: endpoint.PseudowirePPP, PPP: &endpoint.PPPConfig{User: "alice", Password: "a"}})
		if err != nil {
			t.Fatalf("PPP by the id %q: %v", id, err)
		}
		if want := fmt.Sprintf("10.77.0.%d/32", 2+i); s.Addresses()[0].String() != want {
			t.Errorf("PPP by the id %q has %v, want %s", id, s.Addresses(), want)
		}
	}
	waitUntil(t, func() bool { return len(l.Status().Sessions) == 5 })
	shown := map[string]ServerSession{}
	for _, v := range l.Status().Sessions {
		shown[v.RemoteEndID] = v
	}
	if v := shown["branch"]; v.Type != endpoint.PseudowireIP || v.Address.String() != "10.77.0.50" || len(v.Routes) != 1 || v.User != "" {
		t.Errorf("the IP circuit is shown as %+v", v)
	}
	if v := shown["users"]; v.Type != endpoint.PseudowirePPP || v.User != "alice" || v.Address.String() != "10.77.0.2" {
		t.Errorf("the PPP circuit is shown as %+v", v)
	}
	if v := shown["blue"]; v.Type != endpoint.PseudowireVLAN || len(v.Hosts) != 1 || v.Hosts[0].Address != blue.address(t) {
		t.Errorf("the VLAN circuit is shown as %+v", v)
	}
	// What is there for users leaves the others alone.
	if err := l.SetUsers(map[string]User{"bob": {Password: "b"}}); err != nil {
		t.Fatal(err)
	}
	waitUntil(t, func() bool { return len(l.Status().Sessions) == 3 })
}

// An IP circuit has a prefix of IPv6, which its caller is told as in PPP.
func TestAnIPCircuitWithIPv6(t *testing.T) {
	prefix := netip.MustParsePrefix("fd00:50:0:1::/64")
	l := wireServer(t, func(s *Server) {
		s.Pool6 = pool6
		s.Circuits = []Circuit{{ID: "branch", Type: endpoint.PseudowireIP, Prefix6: prefix}}
	})
	session, err := l.tunnel(t).Open(soon(t), &endpoint.PseudowireConfig{RemoteEndID: "branch", Type: endpoint.PseudowireIP})
	if err != nil {
		t.Fatal(err)
	}
	stack := newStack(t)
	nic, err := stack.AddIP(session, &netstack.IPConfig{MTU: session.MTU(), InterfaceID: [8]byte{2, 0, 0, 0, 0, 0, 0, 7}})
	if err != nil {
		t.Fatal(err)
	}
	session.Attach(nic)
	if err := nic.WaitIPv6(soon(t)); err != nil {
		t.Fatalf("no router advertisement: %v", err)
	}
	if e := l.event(t, true); e.Session.Prefix != prefix || e.Session.Address.IsValid() {
		t.Errorf("told of %+v", e.Session)
	}
	web, err := l.Listen("tcp", ":7")
	if err != nil {
		t.Fatal(err)
	}
	echoing(t, web)
	wantEcho(t, stack.DialContext, "[fd00:77::1]:7")
}

// The circuit's own caller, who has restarted, does not wait for his old session to be
// given up.
func TestACallerWhoComesAgainForHisCircuit(t *testing.T) {
	l := circuitServer(t, nil)
	var last *wire
	for i := range 3 {
		w := plug(t, l.tunnel(t), &endpoint.PseudowireConfig{RemoteEndID: "red"})
		if i > 0 {
			if e := l.event(t, false); e.Err != ErrReplaced || e.Session.RemoteEndID != "red" {
				t.Errorf("told of %+v", e)
			}
			select {
			case <-last.session.Done():
			case <-soon(t).Done():
				t.Fatal("the old session stands")
			}
		}
		l.event(t, true)
		l.event(t, true) // its address
		last = w
	}
	if st := l.Status(); len(st.Sessions) != 1 || len(l.segment.bridge.Ports()) != 2 {
		t.Errorf("%d sessions, and %d ports", len(st.Sessions), len(l.segment.bridge.Ports()))
	}
	if _, err := last.stack.Ping(soon(t), netip.MustParseAddr("10.78.0.1"), nil); err != nil {
		t.Error(err)
	}
	// Where there is room for two the oldest of three goes.
	l = circuitServer(t, func(s *Server) { s.Circuits[0].Sessions = 2 })
	tun := l.tunnel(t)
	first := plug(t, tun, &endpoint.PseudowireConfig{RemoteEndID: "red"})
	second := plug(t, tun, &endpoint.PseudowireConfig{RemoteEndID: "red"})
	plug(t, tun, &endpoint.PseudowireConfig{RemoteEndID: "red"})
	select {
	case <-first.session.Done():
	case <-soon(t).Done():
		t.Fatal("the oldest session stands")
	}
	if second.session.Err() != nil || len(l.Status().Sessions) != 2 {
		t.Errorf("the second: %v, of %d", second.session.Err(), len(l.Status().Sessions))
	}
}

// Issue 4's limits hold for sessions of L2TPv3, and what ends makes room.
func TestLimitsOfSessionsOfL2TPv3(t *testing.T) {
	l := wireServer(t, func(s *Server) { s.Limits = endpoint.Limits{Sessions: 1} })
	tun := l.tunnel(t)
	for range 3 {
		w := plug(t, tun, nil)
		l.event(t, true)
		l.event(t, true)
		if _, err := tun.Open(soon(t), nil); err == nil || !strings.Contains(err.Error(), "too many sessions") {
			t.Errorf("a second session: %v", err)
		}
		w.session.Close()
		l.event(t, false)
		if n := len(l.segment.bridge.Ports()); n != 1 {
			t.Errorf("%d ports are left, want our own", n)
		}
	}
}

// Without users there is no PPP, which tells a client of L2TPv2 so, and one of L2TPv3.
func TestAServerWithoutUsers(t *testing.T) {
	l := wireServer(t, func(s *Server) { s.Users = nil })
	if _, err := l.tryCall(t, "alice"); err == nil {
		t.Error("PPP by L2TPv2 is answered")
	} else if _, ok := errors.AsType[*endpoint.PeerError](err); !ok {
		t.Errorf("PPP by L2TPv2: %v", err)
	}
	tun := l.tunnel(t)
	if _, err := tun.OpenPPP(soon(t), &endpoint.PPPConfig{User: "alice", Password: "a"}); err == nil || !strings.Contains(err.Error(), "ppp") {
		t.Errorf("PPP by L2TPv3: %v", err)
	}
	plug(t, tun, nil)
}

// A client cannot have all addresses by having many hosts.
func TestTooManyHostsOfAClient(t *testing.T) {
	l := wireServer(t, func(s *Server) { s.Circuits = []Circuit{{ID: "*", Hosts: 3}} })
	session, err := l.tunnel(t).Open(soon(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	l.event(t, true)
	b := link.NewBatch()
	defer b.Free()
	for i := range 100 {
		frame := append([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, byte(i), 0x88, 0xb5}, make([]byte, 46)...)
		b.Add(0, frame, nil)
	}
	port := func() (dropped uint64, known int) {
		ports := l.segment.bridge.Ports()
		st := ports[len(ports)-1].Status()
		return st.Counters.Limited.Unlearned, st.Addresses
	}
	waitUntil(t, func() bool { session.Put(b); n, _ := port(); return n >= 97 })
	if _, n := port(); n != 3 || len(l.Status().Sessions[0].Hosts) != 3 {
		t.Errorf("%d hosts are known, and %v shown", n, l.Status().Sessions[0].Hosts)
	}
}

func TestCircuitsWithoutSense(t *testing.T) {
	ip := endpoint.PseudowireIP
	address := netip.MustParseAddr("10.77.0.50")
	for _, c := range []struct {
		want   string
		change func(*Server)
	}{
		{"expected V3 with Circuits", func(s *Server) { s.V3, s.LAN = nil, nil }},
		{"expected V3 with a LAN", func(s *Server) { s.V3, s.Circuits = nil, nil }},
		{`"red": expected it once`, func(s *Server) { s.Circuits = append(s.Circuits, Circuit{ID: "red"}) }},
		{`"red": expected a LAN that ethernet can lead to`, func(s *Server) { s.LAN = nil }},
		{`"a": expected users for PPP`, func(s *Server) { s.Users, s.Circuits = nil, []Circuit{{ID: "a", Type: endpoint.PseudowirePPP}} }},
		{`"a": expected Ethernet, a VLAN, IP or PPP, found hdlc`, func(s *Server) { s.Circuits = []Circuit{{ID: "a", Type: endpoint.PseudowireHDLC}} }},
		{`"a": expected the address of who is`, func(s *Server) { s.Circuits = []Circuit{{ID: "a", Type: ip}} }},
		{`"*": expected one caller`, func(s *Server) { s.Circuits = []Circuit{{ID: "*", Type: ip, Address: address}} }},
		{`"a": expected one caller`, func(s *Server) { s.Circuits = []Circuit{{ID: "a", Type: ip, Address: address, Sessions: 2}} }},
		{`"a": expected an address for an IP pseudowire only, found it for ethernet`, func(s *Server) { s.Circuits = []Circuit{{ID: "a", Address: address}} }},
		{`"a": expected a VLAN of 1 to 4094`, func(s *Server) { s.Circuits = []Circuit{{ID: "a", Type: endpoint.PseudowireVLAN}} }},
		{`"a": expected a cookie of 4 or 8`, func(s *Server) { s.Circuits = []Circuit{{ID: "a", CookieLen: 3}} }},
		{`"a": 10.77.0.1/32 is fixed for it, and the server's own address`, func(s *Server) {
			s.Circuits = []Circuit{{ID: "a", Type: ip, Address: netip.MustParseAddr("10.77.0.1")}}
		}},
		{`"b": 10.77.0.50/32 is fixed for the circuit "a" as well`, func(s *Server) {
			s.Circuits = []Circuit{{ID: "a", Type: ip, Address: address}, {ID: "b", Type: ip, Address: address}}
		}},
		{`the user "alice": 10.77.0.50/32 is fixed for the circuit "branch" as well`, func(s *Server) { s.Users["alice"] = User{Password: "a", Address: address} }},
		{"a LAN or Circuits to answer", func(s *Server) { s.Users, s.LAN, s.Circuits = nil, nil, nil }},
		{"the LAN: expected an address of our own, which", func(s *Server) { s.LAN = &LAN{DHCP: true} }},
		{"the LAN: expected an Egress of its own", func(s *Server) { s.Egress = &Egress{}; s.LAN.Egress = s.Egress }},
		{"the LAN: expected an address of our own in the subnet", func(s *Server) { s.LAN.Addresses[0] = netip.MustParsePrefix("10.79.0.1/24") }},
		{"the LAN: expected another network than that of the pool", func(s *Server) { s.LAN = &LAN{Addresses: []netip.Prefix{netip.MustParsePrefix("10.77.0.200/25")}} }},
	} {
		s := &Server{Address: "127.0.0.1:0", Users: map[string]User{"alice": {Password: "a"}}, V3: &endpoint.V3Config{}, LAN: lanOf(), Circuits: []Circuit{
			{ID: "red"}, {ID: "branch", Type: ip, Address: address},
		}}
		c.change(s)
		err := s.Start()
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want an error that says %q", err, c.want)
		}
		s.Close()
	}
}

// Many that want the same circuit at the same time, and others that come and go: one of them
// has it in the end, and nothing is left of the rest.
func TestManyWhoWantTheSameCircuit(t *testing.T) {
	l := wireServer(t, func(s *Server) {
		s.Circuits = []Circuit{{ID: "red"}, {ID: AnyCircuit}}
		s.Limits = endpoint.Limits{Burst: -1, RatePerSource: -1, HalfOpenPerSource: -1}
		s.Events = nil
	})
	var all sync.WaitGroup
	for i := range 8 {
		tun := l.tunnel(t)
		all.Go(func() {
			for n := range 8 {
				id := "red"
				if n%2 == 1 {
					id = fmt.Sprint(i)
				}
				s, err := tun.Open(soon(t), &endpoint.PseudowireConfig{RemoteEndID: id})
				if err != nil {
					t.Errorf("caller %d, call %d: %v", i, n, err)
					return
				}
				b := link.NewBatch()
				b.Add(0, arpOf(netip.AddrFrom4([4]byte{10, 78, 0, byte(10 + i)}), []byte{2, 0, 0, 0, byte(n), byte(i)}), nil)
				s.Put(b)
				b.Free()
				if n%2 == 1 {
					s.Close()
				}
			}
		})
	}
	all.Wait()
	waitUntil(t, func() bool { // the last one may not have been taken in yet
		st, standing := l.Status(), 0
		for _, tun := range st.Endpoint.Tunnels {
			standing += len(tun.Sessions)
		}
		return standing == 1 && len(st.Sessions) == 1 && st.Sessions[0].RemoteEndID == "red"
	})
	// One that has hung up already may be taken in even now, and leave at once.
	if n := l.Disconnect(func(v ServerSession) bool { return v.RemoteEndID == "red" }); n != 1 {
		t.Errorf("%d were disconnected", n)
	}
	waitUntil(t, func() bool { return len(l.Status().Sessions) == 0 })
	g := l.segment
	waitUntil(t, func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.claims.mu.Lock()
		defer g.claims.mu.Unlock()
		for _, owner := range g.claims.by {
			if owner.ask != nil {
				return false
			}
		}
		return len(g.clients) == 0 && len(g.bridge.Ports()) == 1
	})
	l.mu.Lock()
	if len(l.byKey) != 0 || len(l.owners) != 0 {
		t.Errorf("left: %v, %v", l.byKey, l.owners)
	}
	l.mu.Unlock()
}
