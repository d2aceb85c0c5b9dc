package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/simnet"
	"github.com/l2tpnet/l2tpnet/endpoint/link"
	"github.com/l2tpnet/l2tpnet/netstack"
)

// Issue 7: "proxying, hub and switching work over them as over static ones": three hosts, one
// of them the hub's own stack, behind a port that is dialled, one that is answered and one
// that is static.
func TestAHubOfNegotiatedPorts(t *testing.T) {
	conn := func() (net.PacketConn, string) {
		c, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		return c, c.LocalAddr().String()
	}
	middle, at := conn()
	west, westAt := conn()
	east, _ := conn()
	south, southAt := conn()
	lan := func(n byte) *LAN {
		return &LAN{Addresses: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 9, 0, n}), 24)}, NoIPv6: true}
	}
	named := func(id string) *endpoint.PseudowireConfig { return &endpoint.PseudowireConfig{RemoteEndID: id} }
	start := func(h *Hub) *Hub {
		h.Secret = "tunsecret"
		h.V3 = &endpoint.V3Config{Digests: []endpoint.DigestType{endpoint.DigestSHA1}}
		if _, err := StartHub(patiently(t), h); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { h.Close() })
		return h
	}
	hubs := []*Hub{
		start(&Hub{Conn: middle, LAN: lan(1), Ports: []HubPort{
			{Name: "west", Remote: westAt, Pseudowire: &endpoint.PseudowireConfig{Sequencing: endpoint.SequencingBoth, ReorderTimeout: 50 * time.Millisecond}},
			{Name: "east", Answer: true, Remote: "127.0.0.1", Pseudowire: &endpoint.PseudowireConfig{Type: endpoint.PseudowireVLAN, VLAN: 7}},
			{Name: "south", Remote: southAt, Static: endpoint.StaticConfig{SessionID: 1, PeerSessionID: 2}},
		}}),
		start(&Hub{Conn: west, LAN: lan(2), Ports: []HubPort{{Answer: true, Pseudowire: named("west")}}}),
		start(&Hub{Conn: east, LAN: lan(3), Ports: []HubPort{{Remote: at, Pseudowire: &endpoint.PseudowireConfig{Type: endpoint.PseudowireVLAN, VLAN: 9, RemoteEndID: "east", CookieLen: 4}}}}),
		start(&Hub{Conn: south, LAN: lan(4), Ports: []HubPort{{Remote: at, Static: endpoint.StaticConfig{SessionID: 2, PeerSessionID: 1}}}}),
	}
	for _, h := range hubs {
		waitUntil(t, func() bool {
			return !slices.ContainsFunc(h.Status().Ports, func(p HubPortStatus) bool { return !p.Up })
		})
		ln, err := h.Listen("tcp", ":7")
		if err != nil {
			t.Fatal(err)
		}
		echoing(t, ln)
	}
	for i, h := range hubs {
		for j := range hubs {
			if to := lan(byte(j + 1)).Addresses[0].Addr(); i != j {
				reaches(t, h, to)
				wantEcho(t, h.DialContext, netip.AddrPortFrom(to, 7).String())
			}
		}
	}
	for i, p := range hubs[0].Status().Ports {
		if st := p.Session; i < 2 && (st.Circuit != "active" || st.RemoteEndID != []string{"west", "east"}[i] || st.Dialed != (i == 0)) || p.Err != nil || p.Ups != 1 {
			t.Errorf("port %s: %+v", p.Bridge.Name, p)
		}
	}
}

// reaches has h ping an address, again if the first frames have found no way yet.
func reaches(t *testing.T, h *Hub, to netip.Addr) {
	t.Helper()
	for whole := patiently(t); ; {
		ctx, cancel := context.WithTimeout(whole, 5*time.Second)
		_, err := h.Ping(ctx, to, &netstack.PingOptions{})
		cancel()
		if err == nil {
			return
		}
		if whole.Err() != nil {
			t.Fatalf("%v: %v", to, err)
		}
	}
}

// Addresses of the simulated network.
const (
	simHub   = "192.0.2.1:1701"
	simWest  = "192.0.2.2:1701"
	simSouth = "192.0.2.3:1701"
	simOther = "192.0.2.4:1701"
)

// A simHubTest is a hub in virtual time, with a static port "south" beside those that are
// under test, and what is at the far end of that.
type simHubTest struct {
	t      *testing.T
	net    *simnet.Net
	hub    *Hub
	conn   *simnet.Conn // the hub's, the last one
	events chan HubEvent
	south  *endpoint.Session
	came   chan string // out of south
}

func onSimNet(t *testing.T, n *simnet.Net, ports ...HubPort) *simHubTest {
	t.Helper()
	s := &simHubTest{t: t, net: n, events: make(chan HubEvent, 100), came: make(chan string, 100)}
	s.hub = &Hub{
		Local: simHub, Socket: func(local string) (net.PacketConn, error) {
			conn, err := n.Listen(local)
			if err == nil {
				s.conn = conn
			}
			return conn, err
		},
		Ports:         append(ports, HubPort{Name: "south", Remote: simSouth, Static: endpoint.StaticConfig{SessionID: 1, PeerSessionID: 2}}),
		ProbeInterval: -1, Secret: "tunsecret",
		Events: func(e HubEvent) { s.events <- e },
	}
	if _, err := StartHub(t.Context(), s.hub); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.hub.Close() })
	far := s.peer(simSouth, "south")
	session, err := far.Static(t.Context(), simHub, &endpoint.StaticConfig{SessionID: 2, PeerSessionID: 1})
	if err != nil {
		t.Fatal(err)
	}
	s.south = session
	session.Attach(frames(s.came))
	return s
}

// peer is somebody else in the network.
func (s *simHubTest) peer(address, name string) *endpoint.Endpoint {
	s.t.Helper()
	conn, err := s.net.Listen(address)
	if err != nil {
		s.t.Fatal(err)
	}
	ep, err := endpoint.New(conn, &endpoint.Config{HostName: name, Answer: &endpoint.AnswerConfig{Secret: "tunsecret", V3: &endpoint.V3Config{}}})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { ep.Close() })
	return ep
}

// frames is a sink that tells what the frames carry, after their addresses.
func frames(to chan string) link.Sink {
	return link.SinkFunc(func(b *link.Batch) {
		for i := range b.Frames {
			to <- string(b.Frames[i].AppendTo(nil)[14:])
		}
	})
}

// put sends a frame from one station to another.
func put(s *endpoint.Session, from, to byte, text string) {
	b := link.NewBatch()
	defer b.Free()
	b.Add(0, append([]byte{2, 0, 0, 0, 0, to, 2, 0, 0, 0, 0, from, 8, 0}, text...), nil)
	s.Put(b)
	synctest.Wait()
}

func (s *simHubTest) wantCame(where string, came chan string, want ...string) {
	s.t.Helper()
	time.Sleep(time.Second)
	var got []string
	for len(came) > 0 {
		got = append(got, <-came)
	}
	if !slices.Equal(got, want) {
		s.t.Errorf("%s: %q came, want %q", where, got, want)
	}
}

// wantEvents is all that has been told, in words, after a while.
func (s *simHubTest) wantEvents(want ...string) {
	s.t.Helper()
	time.Sleep(3 * time.Second)
	var got []string
	for len(s.events) > 0 {
		e := <-s.events
		words := fmt.Sprintf("%s %s", e.Port, e.What)
		if e.Peer.IsValid() {
			words += " " + e.Peer.String()
		}
		if e.Err != nil {
			words += ": " + e.Err.Error()
		}
		if (e.Next.IsZero() || e.Next.Before(time.Now().Add(-3*time.Second))) != (e.Next.IsZero()) {
			words += ", next in the past"
		}
		got = append(got, words)
	}
	if !slices.EqualFunc(got, want, func(got, want string) bool {
		before, after, found := strings.Cut(want, "…")
		return got == want || found && strings.HasPrefix(got, before) && strings.Contains(got, after)
	}) {
		s.t.Errorf("told %q, want %q", got, want)
	}
}

func (s *simHubTest) port(i int) HubPortStatus { return s.hub.Status().Ports[i] }

// opens has a peer dial the hub and ask for a circuit.
func (s *simHubTest) opens(ep *endpoint.Endpoint, cfg *endpoint.PseudowireConfig) (*endpoint.Session, error) {
	s.t.Helper()
	tunnel, err := ep.Dial(s.t.Context(), simHub, &endpoint.TunnelConfig{Secret: "tunsecret", V3: &endpoint.V3Config{}})
	if err != nil {
		s.t.Fatal(err)
	}
	return tunnel.Open(s.t.Context(), cfg)
}

func wantCDN(t *testing.T, err error, code uint16, text string) {
	t.Helper()
	if e, ok := errors.AsType[*endpoint.PeerError](err); !ok || e.Message != "CDN" || e.ResultCode != code || !strings.Contains(e.Text, text) {
		t.Errorf("got %v (%T), want a CDN with result %d that says %q", err, err, code, text)
	}
}

// "the Remote End ID names the port": issue 7, "Remote End ID matched against configuration;
// Circuit Status (RFC 5641) tracked and obeyed".
func TestAPortThatIsAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := onSimNet(t, simnet.New(1),
			HubPort{Name: "west", Answer: true, Pseudowire: &endpoint.PseudowireConfig{}},
			HubPort{Name: "guarded", Answer: true, Remote: simOther, Pseudowire: &endpoint.PseudowireConfig{Type: endpoint.PseudowireVLAN, VLAN: 7}})
		west := s.peer(simWest, "west")
		if st := s.port(0); st.Up || st.Remote.IsValid() || !st.Bridge.Down || st.Ups != 0 || !s.port(2).Up {
			t.Errorf("before anybody asks: %+v", st)
		}

		_, err := s.opens(west, &endpoint.PseudowireConfig{RemoteEndID: "elsewhere"})
		wantCDN(t, err, 5, "no such pseudowire")
		_, err = s.opens(west, &endpoint.PseudowireConfig{RemoteEndID: "guarded", Type: endpoint.PseudowireVLAN, VLAN: 1})
		wantCDN(t, err, 5, "no such pseudowire")
		_, err = s.opens(west, &endpoint.PseudowireConfig{RemoteEndID: "west", Type: endpoint.PseudowireVLAN, VLAN: 1})
		wantCDN(t, err, 5, "no such pseudowire")
		s.wantEvents()

		came := make(chan string, 100)
		ask := func(ep *endpoint.Endpoint) *endpoint.Session {
			t.Helper()
			session, err := s.opens(ep, &endpoint.PseudowireConfig{RemoteEndID: "west"})
			if err != nil {
				t.Fatal(err)
			}
			session.Attach(frames(came))
			return session
		}
		first := ask(west)
		s.wantEvents("west up " + simWest)
		if st := s.port(0); !st.Up || st.Remote.String() != simWest || st.Bridge.Down || st.Ups != 1 {
			t.Errorf("it is %+v", st)
		}
		put(first, 1, 2, "to the south")
		put(s.south, 2, 1, "to the west")
		s.wantCame("south", s.came, "to the south")
		s.wantCame("west", came, "to the west")

		// A peer that has restarted.
		again := ask(west)
		time.Sleep(time.Second)
		wantCDN(t, first.Err(), 3, "")
		put(s.south, 2, 1, "to the newer one")
		s.wantCame("west", came, "to the newer one")
		s.wantEvents()

		// Another one.
		other := s.peer(simOther, "other")
		_, err = s.opens(other, &endpoint.PseudowireConfig{RemoteEndID: "west"})
		wantCDN(t, err, 4, "in use")
		if again.Err() != nil {
			t.Errorf("the session has ended: %v", again.Err())
		}
		s.wantEvents()

		// RFC 3931 §5.4.5.
		again.SetCircuit(false)
		s.wantEvents("west down: the other end's circuit is inactive")
		if st := s.port(0); st.Up || !st.Bridge.Down || st.Bridge.Addresses != 0 || st.Err == nil || st.Session.PeerCircuit != "inactive" {
			t.Errorf("with a circuit that is inactive it is %+v", st)
		}
		put(s.south, 2, 1, "to nobody")
		s.wantCame("west", came)
		again.SetCircuit(true)
		s.wantEvents("west up " + simWest)
		put(s.south, 2, 1, "again")
		s.wantCame("west", came, "again")

		again.Close()
		s.wantEvents("west down: the peer ended the call: result 3…")
		if st := s.port(0); st.Up || st.Remote.IsValid() || st.Ups != 2 || st.Err == nil || !st.Next.IsZero() {
			t.Errorf("when its session has ended it is %+v", st)
		}
		taken, err := s.opens(other, &endpoint.PseudowireConfig{RemoteEndID: "west"})
		if err != nil {
			t.Fatal(err)
		}
		s.wantEvents("west up " + simOther)
		taken.Close()
		if _, err := s.opens(other, &endpoint.PseudowireConfig{RemoteEndID: "guarded", Type: endpoint.PseudowireVLAN, VLAN: 1}); err != nil {
			t.Error(err)
		}
	})
}

// A port whose peer has gone without a word is free for another one soon after that asks.
func TestAPortWhosePeerIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := onSimNet(t, simnet.New(1), HubPort{Name: "west", Answer: true, Pseudowire: &endpoint.PseudowireConfig{}})
		west, other := s.peer(simWest, "west"), s.peer(simOther, "other")
		if _, err := s.opens(west, &endpoint.PseudowireConfig{RemoteEndID: "west"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		s.net.SetLink("192.0.2.2", "192.0.2.1", simnet.Link{Loss: 1})
		_, err := s.opens(other, &endpoint.PseudowireConfig{RemoteEndID: "west"})
		wantCDN(t, err, 4, "in use")
		time.Sleep(15 * time.Second)
		if _, err := s.opens(other, &endpoint.PseudowireConfig{RemoteEndID: "west"}); err != nil {
			t.Error(err)
		}
		s.wantEvents("west up "+simWest, "west down: …", "west up "+simOther)
	})
}

// A port that is dialled is dialled again, later each time; its stations are forgotten
// meanwhile.
func TestAPortThatIsDialled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wire := &endpoint.PseudowireConfig{}
		s := onSimNet(t, simnet.New(1), HubPort{Name: "west", Remote: simWest, Pseudowire: wire}, HubPort{Name: "west2", Remote: simWest, Pseudowire: wire})
		came := make(chan string, 100)
		peer := func() (*endpoint.Endpoint, map[string]*endpoint.Session) {
			ep, all := s.peer(simWest, "west"), map[string]*endpoint.Session{}
			for range 2 {
				session, err := ep.Accept(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				c, _ := session.Call()
				if all[c.RemoteEndID] = session; c.RemoteEndID == "west" {
					session.Attach(frames(came))
				}
			}
			return ep, all
		}
		time.Sleep(10 * time.Minute) // nobody is there
		if st := s.port(0); st.Up || st.Err == nil || st.Ups != 0 || !st.Bridge.Down {
			t.Errorf("it is %+v", st)
		}
		for len(s.events) > 0 {
			if e := <-s.events; e.What != PortFailed || e.Err == nil || e.Next.IsZero() {
				t.Errorf("told %+v of a peer that is silent", e)
			}
		}
		for range 2 {
			ep, all := peer()
			time.Sleep(time.Second)
			for range 2 {
				if e := <-s.events; e.What != PortUp || e.Peer.String() != simWest {
					t.Errorf("told %+v", e)
				}
			}
			if len(ep.Status().Tunnels) != 1 {
				t.Errorf("two ports with one peer have %d tunnels", len(ep.Status().Tunnels))
			}
			put(all["west"], 1, 2, "to the south")
			s.wantCame("south", s.came, "to the south")
			put(s.south, 2, 1, "to the west")
			s.wantCame("west", came, "to the west")
			ep.Close()
			time.Sleep(100 * time.Millisecond)
			for range 2 {
				if e := <-s.events; e.What != PortDown || e.Err == nil || !e.Next.After(time.Now()) {
					t.Errorf("told %+v", e)
				}
			}
			if st := s.port(0); st.Up || !st.Bridge.Down || st.Bridge.Addresses != 0 || st.Next.IsZero() {
				t.Errorf("when its session has ended it is %+v", st)
			}
		}
	})
}

// A socket that fails is opened again, and all that was through it comes back.
func TestASocketOfAHubThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := onSimNet(t, simnet.New(1),
			HubPort{Name: "west", Remote: simWest, Pseudowire: &endpoint.PseudowireConfig{}}, HubPort{Name: "any", Answer: true, Pseudowire: &endpoint.PseudowireConfig{}})
		s.peer(simWest, "west")
		other := s.peer(simOther, "other")
		if _, err := s.opens(other, &endpoint.PseudowireConfig{RemoteEndID: "any"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		for len(s.events) > 0 {
			<-s.events
		}
		var file bytes.Buffer
		stop, err := s.hub.Capture(&file)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.hub.Capture(&file); !errors.Is(err, endpoint.ErrCapturing) {
			t.Errorf("captured twice: %v", err)
		}
		before := s.hub.Endpoints()[0]
		s.conn.Close()
		time.Sleep(10 * time.Second)
		told := map[string]bool{}
		for len(s.events) > 0 {
			e := <-s.events
			told[fmt.Sprint(e.Port, " ", e.What)] = true
			if e.What == PortDown && (e.Err == nil || e.Err.Error() == net.ErrClosed.Error()) {
				t.Errorf("told %+v", e)
			}
		}
		for _, want := range []string{"south down", "south up", "west down", "west up", "any down"} {
			if !told[want] {
				t.Errorf("not told %q, but %v", want, told)
			}
		}
		if s.hub.Endpoints()[0] == before || s.hub.Err() != nil {
			t.Errorf("the hub has ended with %v, or its socket is the same", s.hub.Err())
		}
		if _, err := s.opens(other, &endpoint.PseudowireConfig{RemoteEndID: "any"}); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Second)
		put(s.south, 2, 9, "to all")
		time.Sleep(time.Second)
		for i, p := range s.hub.Status().Ports {
			if !p.Up || i < 2 && p.Bridge.Counters.FramesOut == 0 {
				t.Errorf("port %s is %+v", p.Bridge.Name, p)
			}
		}
		s.hub.Close()
		if err := stop(); err != nil {
			t.Error(err)
		}
		if n := bytes.Count(file.Bytes(), []byte{0x0a, 0x0d, 0x0d, 0x0a}); n != 2 { // which begins a section
			t.Errorf("a capture with %d sections, want 2", n)
		}
	})
}

// A peer of whom nobody knows whether it is there says that its circuit comes and goes: what
// is told of that is bounded.
func TestACircuitThatComesAndGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := onSimNet(t, simnet.New(1), HubPort{Name: "west", Answer: true, Pseudowire: &endpoint.PseudowireConfig{}})
		west := s.peer(simWest, "west")
		session, err := s.opens(west, &endpoint.PseudowireConfig{RemoteEndID: "west"})
		if err != nil {
			t.Fatal(err)
		}
		s.wantEvents("west up " + simWest)
		for i := range 1000 {
			session.SetCircuit(i%2 == 1)
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(5 * time.Second)
		if n := len(s.events); n > 12 {
			t.Errorf("%d events in 10 s", n)
		}
		if !s.port(0).Up {
			t.Errorf("in the end it is %+v", s.port(0))
		}
	})
}

func TestANegotiatedPortWithoutSense(t *testing.T) {
	ethernet := func() *endpoint.PseudowireConfig { return &endpoint.PseudowireConfig{} }
	for _, c := range []struct {
		want string
		hub  *Hub
	}{
		{"port1: expected a Static session or a Pseudowire", &Hub{Ports: []HubPort{{Remote: "127.0.0.1:9", Pseudowire: ethernet(), Static: endpoint.StaticConfig{SessionID: 1, PeerSessionID: 1}}}}},
		{"port1: expected a Pseudowire with Answer", &Hub{Ports: []HubPort{{Answer: true, Static: endpoint.StaticConfig{SessionID: 1, PeerSessionID: 1}}}}},
		{"port1: expected the address of its other end", &Hub{Ports: []HubPort{{Pseudowire: ethernet()}}}},
		{"port1: expected a pseudowire of Ethernet or of a VLAN, found ip", &Hub{Ports: []HubPort{{Answer: true, Pseudowire: &endpoint.PseudowireConfig{Type: endpoint.PseudowireIP}}}}},
		{"port1: expected a VLAN of 1 to 4094", &Hub{Ports: []HubPort{{Answer: true, Pseudowire: &endpoint.PseudowireConfig{Type: endpoint.PseudowireVLAN}}}}},
		{"port1: expected the address of who may ask", &Hub{Ports: []HubPort{{Answer: true, Remote: "peer.example", Pseudowire: ethernet()}}}},
		{"port1: not a server's address", &Hub{Ports: []HubPort{{Remote: "127.0.0.1:x", Pseudowire: ethernet()}}}},
		{`port2: expected another Remote End ID than "port1"`, &Hub{Ports: []HubPort{{Answer: true, Pseudowire: ethernet()}, {Answer: true, Pseudowire: &endpoint.PseudowireConfig{RemoteEndID: "port1"}}}}},
		{"expected a tunnel secret beside the old one", &Hub{V3: &endpoint.V3Config{OldSecret: "old"}, Ports: []HubPort{{Answer: true, Pseudowire: ethernet()}}}},
	} {
		c.hub.Local = "127.0.0.1:0"
		if _, err := StartHub(patiently(t), c.hub); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want an error that says %q", err, c.want)
		}
	}
}

// Two hubs dial each other, each for a port of its own: at once, where the tie breakers say
// whose control connection stands for both (RFC 3931 §5.4.3), or one after the other, where
// each has its own. On a line that loses datagrams it may take longer.
func TestHubsThatDialEachOther(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			n := simnet.New(seed)
			if seed%2 == 1 {
				n.SetDefault(simnet.Link{Delay: 20 * time.Millisecond, Jitter: 30 * time.Millisecond, Loss: 0.2, Duplicate: 0.05})
			}
			var hubs []*Hub
			for i, at := range []string{simHub, simWest} {
				mine, theirs, other := "east", "west", simWest
				if i == 1 {
					mine, theirs, other = theirs, mine, simHub
				}
				h := &Hub{
					Local: at, Socket: func(local string) (net.PacketConn, error) { return n.Listen(local) }, ProbeInterval: -1, Secret: "tunsecret", HostName: mine,
					Ports: []HubPort{
						{Name: mine, Remote: other, Isolated: true, Pseudowire: &endpoint.PseudowireConfig{}},
						{Name: theirs, Answer: true, Isolated: true, Pseudowire: &endpoint.PseudowireConfig{}},
					},
				}
				if _, err := StartHub(t.Context(), h); err != nil {
					t.Fatal(err)
				}
				defer h.Close()
				hubs = append(hubs, h)
			}
			time.Sleep(10 * time.Minute)
			for i, h := range hubs {
				st := h.Status()
				for _, p := range st.Ports {
					if !p.Up {
						t.Errorf("seed %d, hub %d: port %s is not up: %v", seed, i, p.Bridge.Name, p.Err)
					}
				}
				if n := len(st.Endpoints[0].Tunnels); n < 1 || n > 2 {
					t.Errorf("seed %d, hub %d: %d tunnels, want one or two", seed, i, n)
				}
			}
		})
	}
}
