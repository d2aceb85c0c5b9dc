package netstack

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/l2tpnet/l2tpnet/endpoint/link"
	"pgregory.net/rapid"
)

var gateway = netip.MustParseAddr("10.77.0.1")

func newRouter(t testing.TB, s *Stack) *Router {
	r, err := s.AddRouted(&RoutedConfig{Addresses: []netip.Addr{gateway}})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// A basket is a sink that keeps what it gets.
type basket struct {
	mu      sync.Mutex
	packets [][]byte
}

func (k *basket) Put(b *link.Batch) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for i := range b.Frames {
		k.packets = append(k.packets, b.Frames[i].AppendTo(nil))
	}
}

// take empties the basket.
func (k *basket) take() [][]byte {
	k.mu.Lock()
	defer k.mu.Unlock()
	taken := k.packets
	k.packets = nil
	return taken
}

func attach(t testing.TB, r *Router, out link.Sink, prefixes ...string) *Port {
	return attachWith(t, r, out, PortConfig{}, prefixes...)
}

func attachWith(t testing.TB, r *Router, out link.Sink, cfg PortConfig, prefixes ...string) *Port {
	for _, p := range prefixes {
		cfg.Prefixes = append(cfg.Prefixes, netip.MustParsePrefix(p))
	}
	port, err := r.Attach(&cfg, out)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func as4(s string) [4]byte { return netip.MustParseAddr(s).As4() }

// A session may send from its own addresses only, and only to the server. The
// answer goes to the session that asked, from the gateway's address.
func TestRouterChecksSourceAndDestination(t *testing.T) {
	s := newStack(t, nil)
	r := newRouter(t, s)
	var one, two basket
	portOne := attach(t, r, &one, "10.77.0.2/32", "192.168.1.0/24")
	attach(t, r, &two, "10.77.0.3/32", "192.168.1.128/25")
	for _, row := range []struct {
		name     string
		src, dst string
		want     Counters
		answered bool
	}{
		{"its own address", "10.77.0.2", "10.77.0.1", Counters{PacketsIn: 1, BytesIn: 34, PacketsOut: 1, BytesOut: 34}, true},
		{"an address of its network", "192.168.1.7", "10.77.0.1", Counters{PacketsIn: 1, BytesIn: 34, PacketsOut: 1, BytesOut: 34}, true},
		{"an address in a longer prefix of another's", "192.168.1.200", "10.77.0.1", Counters{Spoofed: 1}, false},
		{"another client's address", "10.77.0.3", "10.77.0.1", Counters{Spoofed: 1}, false},
		{"nobody's address", "203.0.113.5", "10.77.0.1", Counters{Spoofed: 1}, false},
		{"the gateway's address", "10.77.0.1", "10.77.0.1", Counters{Spoofed: 1}, false},
		{"no address", "0.0.0.0", "10.77.0.1", Counters{Spoofed: 1}, false},
		{"to another client", "10.77.0.2", "10.77.0.3", Counters{ClientToClient: 1}, false},
		{"to another client's network", "10.77.0.2", "192.168.1.129", Counters{ClientToClient: 1}, false},
		{"to itself", "10.77.0.2", "192.168.1.7", Counters{ClientToClient: 1}, false},
		{"beyond the server, which forwards nothing", "10.77.0.2", "203.0.113.5", Counters{PacketsIn: 1, BytesIn: 34}, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			before := portOne.Counters()
			put(portOne, ipv4Packet(as4(row.src), as4(row.dst), 1, echo()))
			got := portOne.Counters()
			got.subtract(before)
			if got != row.want {
				t.Errorf("counted %+v, want %+v", got, row.want)
			}
			answers := one.take()
			if len(answers) != 0 != row.answered {
				t.Fatalf("%d answers", len(answers))
			}
			for _, a := range answers {
				if [4]byte(a[12:16]) != gateway.As4() || [4]byte(a[16:20]) != as4(row.src) {
					t.Errorf("the answer is from %v to %v", a[12:16], a[16:20])
				}
			}
			if n := len(two.take()); n != 0 {
				t.Errorf("the other session was sent %d packets", n)
			}
		})
	}
}

func TestAttachRefuses(t *testing.T) {
	s := newStack(t, nil)
	r := newRouter(t, s)
	p := attach(t, r, discard, "10.77.0.2/32", "192.168.1.0/24")
	for _, row := range []struct {
		prefixes []string
		want     string
	}{
		{[]string{"10.77.0.2/32"}, "10.77.0.2/32 is attached already"},
		{[]string{"10.77.0.9/32", "192.168.1.0/24"}, "192.168.1.0/24 is attached already"},
		{[]string{"10.77.0.8/32", "10.77.0.8/32"}, "10.77.0.8/32 is attached already"},
		{[]string{"10.77.0.1/32"}, "the server's own address 10.77.0.1"},
		{[]string{"10.77.0.0/24"}, "the server's own address 10.77.0.1"},
		{[]string{"0.0.0.0/0"}, "the server's own address 10.77.0.1"},
		{[]string{"10.78.0.1/24"}, "not a prefix of unicast"},
		{[]string{"fe80::/64"}, "not a prefix of unicast"},
		{[]string{"::ffff:10.78.0.0/112"}, "not a prefix of unicast"},
	} {
		var list []netip.Prefix
		for _, p := range row.prefixes {
			list = append(list, netip.MustParsePrefix(p))
		}
		if _, err := r.Attach(&PortConfig{Prefixes: list}, discard); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("Attach %v: %v, want %q", row.prefixes, err, row.want)
		}
	}
	// What was refused left nothing behind, and what is closed is free again.
	attach(t, r, discard, "10.77.0.8/32", "10.77.0.9/32")
	p.Close()
	p.Close()
	attach(t, r, discard, "10.77.0.2/32", "192.168.1.0/24")
	if got := len(r.ports); got != 2 {
		t.Errorf("%d ports", got)
	}
	r.Close()
	if _, err := r.Attach(&PortConfig{}, discard); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Attach after Close: %v", err)
	}
}

// The table agrees with a plain search for the longest prefix.
func TestTable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var table table4
		in := map[netip.Prefix]*Port{}
		prefix := rapid.Custom(func(t *rapid.T) netip.Prefix {
			// Few addresses and lengths, so that prefixes meet.
			addr := netip.AddrFrom4([4]byte{10, byte(rapid.IntRange(0, 2).Draw(t, "b")), byte(rapid.IntRange(0, 3).Draw(t, "c")), byte(rapid.IntRange(0, 7).Draw(t, "d"))})
			return netip.PrefixFrom(addr, rapid.SampledFrom([]int{0, 8, 16, 23, 24, 30, 31, 32}).Draw(t, "bits")).Masked()
		})
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				p := prefix.Draw(t, "prefix")
				port := new(Port)
				err := table.add(port, []netip.Prefix{p})
				if (err != nil) != (in[p] != nil) {
					t.Fatalf("add %v: %v", p, err)
				}
				if err == nil {
					in[p] = port
				}
			},
			"remove": func(t *rapid.T) {
				p := prefix.Draw(t, "prefix")
				if in[p] != nil {
					table.remove([]netip.Prefix{p})
					delete(in, p)
				}
			},
			"": func(t *rapid.T) {
				a := prefix.Draw(t, "address").Addr()
				var want *Port
				longest := -1
				for p, port := range in {
					if p.Contains(a) && p.Bits() > longest {
						want, longest = port, p.Bits()
					}
				}
				if got := table.lookup(addr4(0).from(a)); got != want {
					t.Fatalf("%v is found at %p, want %p", a, got, want)
				}
			},
		})
	})
}

// A client is a stack behind one port of a router.
type client struct {
	stack *Stack
	nic   *NIC
	port  *Port
}

func newClient(t *testing.T, r *Router, addr string) *client {
	up, down := newWire(t, &wire{}), newWire(t, &wire{})
	c := &client{stack: newStack(t, nil)}
	c.nic = addIP(t, c.stack, up, netip.MustParseAddr(addr))
	c.port = attach(t, r, down, addr+"/32")
	up.deliverTo(c.port)
	down.deliverTo(c.nic)
	return c
}

func TestManyClientsOfOneServer(t *testing.T) {
	server := newStack(t, nil)
	r := newRouter(t, server)
	ln, err := server.Listen("tcp", "10.77.0.1:80")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			fmt.Fprintf(c, "you are %v", c.RemoteAddr().(*net.TCPAddr).IP)
			c.Close()
		}
	})
	var clients sync.WaitGroup
	for i := range 20 {
		addr := fmt.Sprintf("10.77.0.%d", i+2)
		c := newClient(t, r, addr)
		clients.Go(func() {
			conn, err := c.stack.DialContext(patience(t), "tcp", "10.77.0.1:80")
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			got, err := io.ReadAll(conn)
			if string(got) != "you are "+addr || err != nil {
				t.Errorf("%s is told %q, %v", addr, got, err)
			}
		})
	}
	clients.Wait()
	ln.Close()
	wg.Wait()
	// The server can dial its clients, and those that are not there at once not.
	_, err = server.DialContext(patience(t), "tcp", "10.77.0.5:80")
	want(t, "a dial to a client that does not listen", err, syscall.ECONNREFUSED)
	for _, network := range []string{"tcp", "udp"} {
		_, err = server.DialContext(patience(t), network, "10.77.0.99:80")
		want(t, "a dial to a client that is not there", err, syscall.EHOSTUNREACH)
	}
	_, err = server.Ping(patience(t), netip.MustParseAddr("10.77.0.99"), nil)
	want(t, "a ping to a client that is not there", err, syscall.EHOSTUNREACH)
	pc, err := server.ListenPacket("udp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	_, err = pc.WriteTo([]byte("x"), &net.UDPAddr{IP: net.IPv4(10, 77, 0, 99), Port: 9})
	want(t, "a datagram to a client that is not there", err, syscall.EHOSTUNREACH)
	if n := r.Counters(); n.NoRoute != 1 || n.PacketsIn == 0 || n.PacketsOut == 0 {
		t.Errorf("%+v", n)
	}
}

// When a session goes down, its connections fail at once, those of others go
// on, and whoever gets its address next is sent nothing of them.
func TestPortClose(t *testing.T) {
	server := newStack(t, nil)
	r := newRouter(t, server)
	ln, err := server.Listen("tcp", ":80")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	one, two := newClient(t, r, "10.77.0.2"), newClient(t, r, "10.77.0.3")
	dial := func(c *client) (there, here net.Conn) {
		there, err := c.stack.DialContext(patience(t), "tcp", "10.77.0.1:80")
		if err != nil {
			t.Fatal(err)
		}
		if here, err = ln.Accept(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { there.Close() })
		t.Cleanup(func() { here.Close() })
		return there, here
	}
	_, blocked := dial(one)
	_, closed := dial(one)
	other, otherHere := dial(two)
	udp, err := server.Dial("udp", "10.77.0.2:9")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	// One more that nobody accepts, and bytes on their way that nobody takes.
	unaccepted, err := one.stack.DialContext(patience(t), "tcp", "10.77.0.1:80")
	if err != nil {
		t.Fatal(err)
	}
	defer unaccepted.Close()
	for _, c := range []net.Conn{blocked, closed} {
		if _, err := c.Write(make([]byte, 100_000)); err != nil {
			t.Fatal(err)
		}
	}
	closed.Close()

	var wg sync.WaitGroup
	wg.Go(func() {
		_, err := blocked.Read(make([]byte, 1))
		want(t, "a blocked Read", err, net.ErrClosed)
	})
	one.port.Close()
	wg.Wait()
	_, err = blocked.Write([]byte("x"))
	want(t, "a Write", err, net.ErrClosed)
	_, err = udp.Write([]byte("x"))
	want(t, "a Write to a UDP conn", err, net.ErrClosed)
	_, err = server.DialContext(patience(t), "tcp", "10.77.0.2:80")
	want(t, "a dial", err, syscall.EHOSTUNREACH)

	var next basket
	attach(t, r, &next, "10.77.0.2/32")
	blocked.Close()
	if n := connected(server, "10.77.0.2"); n != 0 {
		t.Errorf("%d connections with the old session are left", n)
	}
	if _, err := other.Write([]byte("still here")); err != nil {
		t.Error(err)
	}
	if _, err := io.ReadFull(otherHere, make([]byte, 10)); err != nil {
		t.Error(err)
	}
	for _, p := range next.take() {
		// What was in the stack's queue when the port was closed is reset: RST,
		// without payload, to a connection that the next session does not have.
		if len(p) != 40 || p[33] != 0x04 {
			t.Errorf("the next session was sent a packet of the last one's: % x", p[:min(len(p), 60)])
		}
	}
	put(one.port, ipv4Packet(as4("10.77.0.2"), gateway.As4(), 1, echo()))
	if got := one.port.Counters().Late; got == 0 {
		t.Error("a closed port takes packets")
	}
}

// connected is the number of TCP endpoints of s whose peer is addr.
func connected(s *Stack, addr string) (n int) {
	s.abort(func(_, remote netip.Addr) bool {
		if remote.String() == addr {
			n++
		}
		return false
	})
	return n
}

// BenchmarkAttach attaches and detaches one session where there are so many.
func BenchmarkAttach(b *testing.B) {
	for _, sessions := range []int{0, 100, 10_000} {
		b.Run(fmt.Sprint(sessions), func(b *testing.B) {
			s := newStack(b, nil)
			r := newRouter(b, s)
			addr := func(i uint32) []netip.Prefix {
				var a [4]byte
				binary.BigEndian.PutUint32(a[:], 10<<24|100<<16+i)
				return []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4(a), 32)}
			}
			for i := range sessions {
				if _, err := r.Attach(&PortConfig{Prefixes: addr(uint32(i))}, discard); err != nil {
					b.Fatal(err)
				}
			}
			mine := addr(1 << 20)
			b.ReportAllocs()
			for b.Loop() {
				p, err := r.Attach(&PortConfig{Prefixes: mine}, discard)
				if err != nil {
					b.Fatal(err)
				}
				p.Close()
			}
		})
	}
}

func BenchmarkLookup(b *testing.B) {
	var t table4
	for i := range 10_000 {
		a := netip.AddrFrom4([4]byte{10, 77, byte(i >> 8), byte(i)})
		if err := t.add(new(Port), []netip.Prefix{netip.PrefixFrom(a, 32)}); err != nil {
			b.Fatal(err)
		}
	}
	i := uint32(0)
	for b.Loop() {
		i = (i + 77) % 10_000
		if t.lookup(addr4(10<<24|77<<16|i)) == nil {
			b.Fatal("not found")
		}
	}
}
