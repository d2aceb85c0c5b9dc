package node

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint"
	"github.com/l2tpnet/l2tpnet/endpoint/bridge"
	"github.com/l2tpnet/l2tpnet/endpoint/link"
	"github.com/l2tpnet/l2tpnet/netstack"
)

// portOf is the switch's port of who has asked for a circuit.
func (l *called) portOf(t *testing.T, id string) *bridge.Port {
	t.Helper()
	l.segment.mu.Lock()
	defer l.segment.mu.Unlock()
	for p, c := range l.segment.clients {
		if c.shows.RemoteEndID == id {
			return p
		}
	}
	t.Fatalf("no port of %q", id)
	return nil
}

// Clients of the LAN reach each other as those of PPP do: if the server lets them, and not
// the isolated ones.
func TestClientToClientInTheLAN(t *testing.T) {
	all := endpoint.PseudowireConfig{}
	for name, c := range map[string]struct {
		allowed  bool
		isolated bool
		reached  bool
	}{
		"not allowed": {false, false, false},
		"allowed":     {true, false, true},
		"isolated":    {true, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			l := wireServer(t, func(s *Server) {
				s.ClientToClient, s.LAN.NoIPv6 = c.allowed, true // it says nothing by itself
				s.Circuits = []Circuit{{ID: "red", Isolated: c.isolated}, {ID: "blue", Isolated: c.isolated}}
			})
			var sessions []*endpoint.Session
			for _, id := range []string{"red", "blue"} {
				cfg := all
				cfg.RemoteEndID = id
				s, err := l.tunnel(t).Open(soon(t), &cfg)
				if err != nil {
					t.Fatal(err)
				}
				l.event(t, true)
				sessions = append(sessions, s)
			}
			got := make(chan struct{}, 1000)
			sessions[1].Attach(link.SinkFunc(func(b *link.Batch) {
				for i := range b.Frames {
					if strings.Contains(string(b.Frames[i].AppendTo(nil)), "hello") {
						got <- struct{}{}
					}
				}
			}))
			say := func(text string) {
				b := link.NewBatch()
				defer b.Free()
				b.Add(0, append([]byte("\xff\xff\xff\xff\xff\xff\x02\x00\x00\x00\x00\x01\x88\xb5"+text), make([]byte, 46)...), nil)
				sessions[0].Put(b)
			}
			seen := func() uint64 { return l.segment.lan.port.Counters().FramesOut }
			blue := l.portOf(t, "blue")
			before := seen()
			for i := range uint64(2) { // when the second is there the first has been everywhere
				say("hello")
				waitUntil(t, func() bool { return seen() >= before+i+1 })
			}
			if c.reached {
				select {
				case <-got:
				case <-soon(t).Done():
					t.Error("a client does not reach another one")
				}
			} else if n := blue.Counters().FramesOut; n != 0 {
				t.Errorf("%d frames have gone out to another client", n)
			}
		})
	}
}

// Issue 7: "with a gateway on an in-process switch (DHCP, advertisements, egress) for
// Ethernet clients".
func TestTheGatewayOfEthernetClients(t *testing.T) {
	host := hostAddress(t)
	ln, err := net.Listen("tcp", netip.AddrPortFrom(host, 0).String())
	if err != nil {
		t.Skipf("%v", err)
	}
	echoing(t, ln)
	allow, err := ParseAllow(ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	l := wireServer(t, func(s *Server) {
		s.Egress = &Egress{}
		s.LAN.Egress = &Egress{AllowHost: []Allow{allow}}
		s.LAN.Advertise = netip.MustParsePrefix("fd00:78::/64")
		s.LAN.ForwardDNS = []netip.AddrPort{nameserver(t)}
	})
	w := plug(t, l.tunnel(t), nil)
	if err := w.ether.WaitIPv6(soon(t)); err != nil {
		t.Fatalf("no router advertisement: %v", err)
	}
	var six netip.Addr
	for _, a := range w.ether.Addresses() {
		if netip.MustParsePrefix("fd00:78::/64").Contains(a) {
			six = a
		}
	}
	if !six.IsValid() || w.ether.Gateway() != netip.MustParseAddr("10.78.0.1") {
		t.Errorf("addresses %v, gateway %v", w.ether.Addresses(), w.ether.Gateway())
	}
	wantEcho(t, w.stack.DialContext, ln.Addr().String())
	web, err := l.Listen("tcp", ":7")
	if err != nil {
		t.Fatal(err)
	}
	echoing(t, web)
	for _, own := range []string{"10.78.0.1:7", "[fd00:78::1]:7"} {
		wantEcho(t, w.stack.DialContext, own)
	}
	if got, err := w.stack.LookupHost(soon(t), "www.example"); err != nil || len(got) == 0 {
		t.Errorf("the forwarder says %v, %v", got, err)
	}
	// And the server reaches it by either.
	in, err := w.stack.Listen("tcp", ":7")
	if err != nil {
		t.Fatal(err)
	}
	echoing(t, in)
	for _, a := range []netip.Addr{w.address(t), six} {
		wantEcho(t, l.DialContext, netip.AddrPortFrom(a, 7).String())
	}
	// Neither network leaves through the host for the other one.
	alice := l.call(t, "alice")
	for _, c := range []struct {
		stack *netstack.Stack
		to    string
	}{{w.stack, "10.77.0.1:7"}, {w.stack, alice.address().String() + ":7"}, {alice.stack, "10.78.0.1:7"}, {alice.stack, w.address(t).String() + ":7"}} {
		conn, err := c.stack.DialContext(soon(t), "tcp", c.to)
		if err == nil {
			conn.Close()
			t.Errorf("%s is reached", c.to)
		} else if errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: no refusal: %v", c.to, err)
		}
	}
	if st := l.Status().LAN; st.Egress == nil || st.Egress.TCP.Opened != 1 || st.Egress.TCP.Prohibited == 0 {
		t.Errorf("the egress of the LAN is %+v", st.Egress)
	}
}

// Without an egress nothing goes anywhere else, and who tries is told so; and nobody tells the
// server where things go.
func TestALANWithoutEgress(t *testing.T) {
	l := wireServer(t, nil)
	w := plug(t, l.tunnel(t), nil)
	if g := w.ether.Gateway(); g.IsValid() {
		t.Errorf("the client is told of the router %v", g)
	}
	static := newStack(t)
	session, err := l.tunnel(t).Open(soon(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	nic, err := static.AddEthernet(session, &netstack.EthernetConfig{
		Addresses: []netip.Prefix{netip.MustParsePrefix("10.78.0.9/24")}, Gateway: netip.MustParseAddr("10.78.0.1"), MTU: session.MTU(),
	})
	if err != nil {
		t.Fatal(err)
	}
	session.Attach(nic)
	if conn, err := static.DialContext(soon(t), "tcp", "192.0.2.80:80"); err == nil {
		conn.Close()
		t.Error("somebody else is reached")
	} else if errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("no refusal: %v", err)
	}
	// A router advertisement of a client's.
	m := slices.Concat([]byte{134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0, 3, 4, 64, 0xc0, 0, 0, 7, 8, 0, 0, 7, 8, 0, 0, 0, 0}, netip.MustParseAddr("fd00:bad::").AsSlice())
	src, dst := netip.MustParseAddr("fe80::9"), netip.MustParseAddr("ff02::1")
	p := slices.Concat([]byte{0x60, 0, 0, 0, 0, byte(len(m)), 58, 255}, src.AsSlice(), dst.AsSlice(), m)
	binary.BigEndian.PutUint16(p[42:], icmpv6Sum(p))
	b := link.NewBatch()
	defer b.Free()
	b.Add(0, ethernetFrame(net.HardwareAddr{0x33, 0x33, 0, 0, 0, 1}, net.HardwareAddr{2, 0, 0, 0, 0, 9}, 0x86dd, p), nil)
	refused := func() uint64 { return l.Status().LAN.Inside.LinkLocal }
	before := refused()
	w.session.Put(b)
	waitUntil(t, func() bool { return refused() > before })
	for _, a := range l.Status().LAN.Addresses {
		if netip.MustParsePrefix("fd00:bad::/64").Contains(a) {
			t.Errorf("the server has taken the address %v of a client's", a)
		}
	}
}

// icmpv6Sum is the checksum of a packet of ICMPv6, in which it is zero.
func icmpv6Sum(p []byte) uint16 {
	sum := uint32(len(p)-40) + 58
	for _, part := range [][]byte{p[8:40], p[40:]} {
		for i := 0; i+1 < len(part); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(part[i:]))
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// A mortal socket may fall silent, as when the power fails.
type mortal struct {
	net.PacketConn
	dead atomic.Bool
}

func (m *mortal) WriteTo(p []byte, to net.Addr) (int, error) {
	if m.dead.Load() {
		return len(p), nil
	}
	return m.PacketConn.WriteTo(p, to)
}

// A hardClient is one of L2TPv3 at an address, with a MAC address of its own, that may
// vanish without a word.
type hardClient struct {
	conn  *mortal
	ep    *endpoint.Endpoint
	stack *netstack.Stack
}

func (l *called) hardClient(t *testing.T, at string) *hardClient {
	t.Helper()
	conn, err := net.ListenPacket("udp", at)
	if err != nil {
		t.Fatal(err)
	}
	c := &hardClient{conn: &mortal{PacketConn: conn}, stack: newStack(t)}
	if c.ep, err = endpoint.New(c.conn, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.ep.Close() })
	tun, err := c.ep.Dial(soon(t), l.Addr().String(), &endpoint.TunnelConfig{Secret: l.Secret, V3: &endpoint.V3Config{}})
	if err != nil {
		t.Fatal(err)
	}
	session, err := tun.Open(soon(t), &endpoint.PseudowireConfig{RemoteEndID: "red"})
	if err != nil {
		t.Fatal(err)
	}
	nic, err := c.stack.AddEthernet(session, &netstack.EthernetConfig{DHCP: true, MTU: session.MTU(), MAC: net.HardwareAddr{2, 0, 0x5e, 0, 0x53, 7}})
	if err != nil {
		t.Fatal(err)
	}
	session.Attach(nic)
	long, cancel := context.WithTimeout(t.Context(), 4*patience) // perhaps another one has to be given up first
	defer cancel()
	if err := nic.Wait(long); err != nil {
		t.Fatal(err)
	}
	if _, err := c.stack.Ping(soon(t), netip.MustParseAddr("10.78.0.1"), nil); err != nil {
		t.Fatal(err)
	}
	return c
}

// A client whose machine has gone, and comes again from the same port, does not wait for
// what it had before: that gives way, and the client has its address again.
func TestAnEthernetClientThatRestarts(t *testing.T) {
	l := circuitServer(t, nil)
	c := l.hardClient(t, "127.0.0.1:0")
	l.event(t, true)
	address := l.event(t, true).Host.Address
	for range 2 {
		c.conn.dead.Store(true)
		c.ep.Close()
		c = l.hardClient(t, c.ep.Addr().String())
		if e := l.event(t, false); e.Err != ErrReplaced {
			t.Errorf("told of %+v", e)
		}
		l.event(t, true)
		if e := l.event(t, true); e.Host == nil || e.Host.Address != address {
			t.Errorf("told of %+v, want the address %v again", e, address)
		}
	}
	if n := len(l.Status().Sessions); n != 1 {
		t.Errorf("%d sessions stand", n)
	}
}

// Without a circuit nobody knows that it is the same client: who has his MAC address is asked
// whether he is there still, and has it no longer when he is not.
func TestAnEthernetClientThatRestartsElsewhere(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes a quarter of a minute")
	}
	t.Parallel()
	l := wireServer(t, nil)
	c := l.hardClient(t, "127.0.0.1:0")
	l.event(t, true)
	address := l.event(t, true).Host.Address
	c.conn.dead.Store(true)
	l.hardClient(t, "127.0.0.1:0")
	l.event(t, true)
	for range 2 { // in either order
		select {
		case e := <-l.events:
			if !e.Up && e.Session.Peer != c.ep.Addr() || e.Up && (e.Host == nil || e.Host.Address != address) {
				t.Errorf("told of %+v", e)
			}
		case <-soon(t).Done():
			t.Fatal("told of nothing")
		}
	}
	if v := l.Status().Sessions; len(v) != 1 || len(v[0].Hosts) != 1 || v[0].Hosts[0].Address != address {
		t.Errorf("sessions %+v, want one with the address %v again", v, address)
	}
}

// RFC 3931 §4.4: a peer that acknowledges no HELLO is gone, and what it had with it.
func TestAnEthernetClientThatFallsSilent(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes half a minute")
	}
	t.Parallel()
	l := wireServer(t, nil)
	c := l.hardClient(t, "127.0.0.1:0")
	l.event(t, true)
	address := l.event(t, true).Host.Address
	c.conn.dead.Store(true)
	// Somebody wants something of it.
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
	defer cancel()
	conn, err := l.DialContext(ctx, "udp", netip.AddrPortFrom(address, 9).String())
	if err != nil {
		t.Fatal(err)
	}
	said := make(chan struct{})
	go func() {
		defer close(said)
		for ctx.Err() == nil {
			conn.Write([]byte("hello"))
			time.Sleep(200 * time.Millisecond)
		}
	}()
	select {
	case e := <-l.events:
		if _, silent := errors.AsType[*endpoint.TimeoutError](e.Err); e.Up || !silent {
			t.Errorf("told of %+v", e)
		}
	case <-ctx.Done():
		t.Fatal("the session stands")
	}
	cancel()
	<-said
	if n := len(l.segment.bridge.Ports()); n != 1 || len(l.Status().Sessions) != 0 || len(l.Status().Endpoint.Tunnels) != 0 {
		t.Errorf("%d ports are left, and %+v", n, l.Status())
	}
}
