package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/link"
	"github.com/l2tpnet/l2tpnet/netstack"
)

// An egressTest is a Router with an Egress, and clients of it.
//
//	client's Stack ── NIC ══ hose ══ Port ── Router ── Egress ── the host's sockets
type egressTest struct {
	*testing.T
	egress *Egress
	router *netstack.Router
}

type egressCaller struct {
	*netstack.Stack
	port *netstack.Port
}

var egressGateways = []netip.Addr{netip.MustParseAddr("10.77.0.1"), netip.MustParseAddr("2001:db8:77::1")}

func newEgressTest(t *testing.T, e *Egress) *egressTest {
	s, err := netstack.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.AddRouted(&netstack.RoutedConfig{
		Addresses: egressGateways,
		Forwarder: e.forwarder(testOwn),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Close()
		e.Close()
		if st := e.Status(); st.TCP.Open != 0 || st.UDP.Open != 0 || st.Echo.Open != 0 || e.state.flows != 0 || len(e.state.clients) != 0 {
			t.Errorf("left behind: %+v, %d flows, %d clients", st, e.state.flows, len(e.state.clients))
		}
	})
	return &egressTest{t, e, r}
}

// call attaches the client number n, with IPv4 and IPv6.
func (x *egressTest) call(n byte) *egressCaller {
	x.Helper()
	s, err := netstack.New(nil)
	if err != nil {
		x.Fatal(err)
	}
	up, down := newHose(x.T), newHose(x.T)
	address := netip.AddrFrom4([4]byte{10, 77, 0, n})
	prefix := netip.MustParsePrefix(fmt.Sprintf("2001:db8:77:%x::/64", n))
	nic, err := s.AddIP(up, &netstack.IPConfig{Addresses: []netip.Prefix{netip.PrefixFrom(address, 32)}, InterfaceID: [8]byte{7: 2}})
	if err != nil {
		x.Fatal(err)
	}
	down.to <- nic
	port, err := x.router.Attach(&netstack.PortConfig{Prefixes: []netip.Prefix{netip.PrefixFrom(address, 32)}, InterfaceID: [8]byte{7: 1}, Prefix: prefix}, down)
	if err != nil {
		x.Fatal(err)
	}
	up.to <- port
	if err := nic.WaitIPv6(patiently(x.T)); err != nil {
		x.Fatal(err)
	}
	x.Cleanup(func() { s.Close() })
	return &egressCaller{s, port}
}

// A hose is one direction of a link: it copies what it gets, and delivers it on a
// goroutine of its own.
type hose struct {
	to     chan link.Sink // once
	frames chan []byte
	over   chan struct{}
}

func newHose(t *testing.T) *hose {
	h := &hose{to: make(chan link.Sink, 1), frames: make(chan []byte, 4096), over: make(chan struct{})}
	var running sync.WaitGroup
	running.Go(func() {
		var to link.Sink
		for {
			select {
			case to = <-h.to:
			case <-h.over:
				return
			}
			for to != nil {
				select {
				case f := <-h.frames:
					b := link.NewBatch()
					b.Add(0, f, nil)
					to.Put(b)
					b.Free()
				case <-h.over:
					return
				}
			}
		}
	})
	t.Cleanup(func() {
		close(h.over)
		running.Wait()
	})
	return h
}

func (h *hose) Put(b *link.Batch) {
	for i := range b.Frames {
		select {
		case h.frames <- b.Frames[i].AppendTo(nil):
		case <-h.over:
		}
	}
}

// here is a Dialer by which far ends anywhere are the host's loopback addresses:
// so the tests need no network.
type here struct{ net.Dialer }

func (d *here) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	ap := netip.MustParseAddrPort(address)
	a := netip.MustParseAddr("127.0.0.1")
	if ap.Addr().Is6() {
		a = netip.IPv6Loopback()
	}
	return d.Dialer.DialContext(ctx, network, netip.AddrPortFrom(a, ap.Port()).String())
}

// far are addresses that clients go to, and where that is here.
var far = []struct{ name, addr, here string }{
	{"IPv4", "203.0.113.5", "127.0.0.1"},
	{"IPv6", "2001:db8:5::5", "::1"},
}

func listenHere(t *testing.T, addr string) net.Listener {
	ln, err := net.Listen("tcp", net.JoinHostPort(addr, "0"))
	if err != nil {
		t.Skipf("SKIPPED: the host has no %s: %v", addr, err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln
}

// portOf is host with the port of a.
func portOf(host string, a net.Addr) string {
	_, port, err := net.SplitHostPort(a.String())
	if err != nil {
		panic(err)
	}
	return net.JoinHostPort(host, port)
}

// "half-close (8 MiB up, FIN, 1 MiB back: nothing lost)"
func TestEgressTCP(t *testing.T) {
	const up, down = 8 << 20, 1 << 20
	for _, f := range far {
		t.Run(f.name, func(t *testing.T) {
			x := newEgressTest(t, &Egress{Dialer: &here{}})
			ln := listenHere(t, f.here)
			var running sync.WaitGroup
			defer running.Wait()
			running.Go(func() {
				c, err := ln.Accept()
				if err != nil {
					t.Error(err)
					return
				}
				defer c.Close()
				if n, err := io.Copy(io.Discard, c); n != up || err != nil {
					t.Errorf("%d bytes came, %v", n, err)
				}
				if _, err := c.Write(make([]byte, down)); err != nil {
					t.Error(err)
				}
			})
			c, err := x.call(2).DialContext(patiently(t), "tcp", portOf(f.addr, ln.Addr()))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			running.Go(func() {
				if _, err := c.Write(make([]byte, up)); err != nil {
					t.Error(err)
				}
				c.(interface{ CloseWrite() error }).CloseWrite()
			})
			if n, err := io.Copy(io.Discard, c); n != down || err != nil {
				t.Errorf("%d bytes came back, %v", n, err)
			}
			if st := x.egress.Status(); st.TCP.Opened != 1 || st.BytesUp != up || st.BytesDown != down {
				t.Errorf("%+v", st)
			}
		})
	}
}

// "refusals passed on as refusals"
func TestEgressRefused(t *testing.T) {
	for _, f := range far {
		t.Run(f.name, func(t *testing.T) {
			x := newEgressTest(t, &Egress{Dialer: &here{}})
			c := x.call(2)
			ln := listenHere(t, f.here)
			to := portOf(f.addr, ln.Addr())
			ln.Close()
			_, err := c.DialContext(patiently(t), "tcp", to)
			if !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("TCP: %v", err)
			}
			u, err := c.DialContext(patiently(t), "udp", to)
			if err != nil {
				t.Fatal(err)
			}
			defer u.Close()
			if _, err := u.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
			u.SetReadDeadline(deadlineOf(t))
			if _, err := u.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("UDP: %v", err)
			}
			if st := x.egress.Status(); st.TCP.Failed != 1 || st.UDP.Failed != 1 {
				t.Errorf("%+v", st)
			}
		})
	}
}

func deadlineOf(t *testing.T) time.Time {
	d, _ := patiently(t).Deadline()
	return d
}

// A dialerFunc fails as it is told.
type dialerFunc func(ctx context.Context, network, address string) (net.Conn, error)

func (f dialerFunc) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	return f(ctx, network, address)
}

// What the host finds unreachable is so for the client; what takes too long, too;
// and that there are no sockets left.
func TestEgressUnreachable(t *testing.T) {
	for _, row := range []struct {
		name      string
		err, want error
	}{
		{"host", os.NewSyscallError("connect", syscall.EHOSTUNREACH), syscall.EHOSTUNREACH},
		{"network", os.NewSyscallError("connect", syscall.ENETUNREACH), syscall.ENETUNREACH},
		{"time", nil, syscall.EHOSTUNREACH},
		{"descriptors", os.NewSyscallError("socket", syscall.EMFILE), syscall.EHOSTUNREACH},
		{"the host's firewall", os.NewSyscallError("connect", syscall.EPERM), syscall.EHOSTUNREACH},
	} {
		t.Run(row.name, func(t *testing.T) {
			x := newEgressTest(t, &Egress{
				DialTimeout: time.Millisecond,
				Dialer: dialerFunc(func(ctx context.Context, network, address string) (net.Conn, error) {
					if row.err != nil {
						return nil, row.err
					}
					<-ctx.Done()
					return nil, ctx.Err()
				}),
			})
			c := x.call(2)
			if _, err := c.DialContext(patiently(t), "tcp", "203.0.113.5:80"); !errors.Is(err, row.want) {
				t.Errorf("%v, want %v", err, row.want)
			}
			if _, err := c.DialContext(patiently(t), "tcp", "[2001:db8:5::5]:80"); !errors.Is(err, syscall.ENETUNREACH) {
				t.Errorf("IPv6: %v, want %v", err, syscall.ENETUNREACH)
			}
		})
	}
}

// Each datagram goes and comes as it is, whatever its length.
func TestEgressUDP(t *testing.T) {
	for _, f := range far {
		t.Run(f.name, func(t *testing.T) {
			x := newEgressTest(t, &Egress{Dialer: &here{}})
			pc, err := net.ListenPacket("udp", net.JoinHostPort(f.here, "0"))
			if err != nil {
				t.Skipf("SKIPPED: the host has no %s: %v", f.here, err)
			}
			var running sync.WaitGroup
			defer running.Wait()
			defer pc.Close()
			running.Go(func() {
				b := make([]byte, 65535)
				for {
					n, from, err := pc.ReadFrom(b)
					if err != nil {
						return
					}
					pc.WriteTo(b[:n], from)
				}
			})
			c, err := x.call(2).DialContext(patiently(t), "udp", portOf(f.addr, pc.LocalAddr()))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			c.SetReadDeadline(deadlineOf(t))
			got := make([]byte, 65535)
			for _, n := range []int{1, 0, 1000, 1400, 1472, 9000, 60_000} {
				sent := bytes.Repeat([]byte{byte(n), 7}, n)[:n]
				if _, err := c.Write(sent); err != nil {
					t.Fatal(err)
				}
				k, err := c.Read(got)
				if err != nil || !bytes.Equal(got[:k], sent) {
					t.Fatalf("%d bytes came back for %d, %v", k, n, err)
				}
			}
			if st := x.egress.Status(); st.UDP.Opened != 1 || st.UDP.Open != 1 {
				t.Errorf("%+v", st)
			}
		})
	}
}

// What is refused is never dialled, and the client is told at once.
func TestEgressProhibits(t *testing.T) {
	x := newEgressTest(t, &Egress{Dialer: dialerFunc(func(_ context.Context, network, address string) (net.Conn, error) {
		t.Errorf("%s to %s was dialled", network, address)
		return nil, syscall.ECONNREFUSED
	})})
	c := x.call(2)
	for _, to := range []string{"169.254.169.254:80", "10.77.0.99:80", "[64:ff9b::169.254.169.254]:80", "[2001:db8:77:99::1]:80"} {
		if _, err := c.DialContext(patiently(t), "tcp", to); !errors.Is(err, syscall.EHOSTUNREACH) && !errors.Is(err, syscall.ENETUNREACH) {
			t.Errorf("%s: %v", to, err)
		}
	}
	u, err := c.DialContext(patiently(t), "udp", "169.254.169.254:53")
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	u.Write([]byte("x"))
	waitUntil(t, func() bool { st := x.egress.Status(); return st.UDP.Prohibited == 1 && st.TCP.Prohibited == 4 })
}

// waitUntil waits for what must happen.
func waitUntil(t *testing.T, happened func() bool) {
	t.Helper()
	ctx := patiently(t)
	for !happened() {
		select {
		case <-ctx.Done():
			t.Fatal("it did not happen")
		case <-time.After(time.Millisecond):
		}
	}
}

// The host's own address, with its own sockets: refused, and open when it is
// listed.
func TestEgressHostsOwnAddress(t *testing.T) {
	var own netip.Addr
	list, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range list {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && n.IP.IsGlobalUnicast() {
			own = netip.AddrFrom4([4]byte(n.IP.To4()))
		}
	}
	if !own.IsValid() {
		t.Skip("SKIPPED: the host has no address but loopback ones")
	}
	ln, err := net.Listen("tcp", netip.AddrPortFrom(own, 0).String())
	if err != nil {
		t.Skipf("SKIPPED: %v", err)
	}
	defer ln.Close()
	var running sync.WaitGroup
	defer running.Wait()
	defer ln.Close()
	running.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			io.WriteString(c, "hello")
			c.Close()
		}
	})
	allow, err := ParseAllow(ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	refused := newEgressTest(t, &Egress{})
	if _, err := refused.call(2).DialContext(patiently(t), "tcp", ln.Addr().String()); !errors.Is(err, syscall.EHOSTUNREACH) {
		t.Errorf("%v", err)
	}
	// An address that no interface shows is found when it is connected.
	unseen := &Egress{}
	x := newEgressTest(t, unseen)
	unseen.state.policy.interfaces = func() ([]net.Addr, error) { return nil, nil }
	if _, err := x.call(2).DialContext(patiently(t), "tcp", ln.Addr().String()); !errors.Is(err, syscall.EHOSTUNREACH) {
		t.Errorf("%v", err)
	}
	listed := newEgressTest(t, &Egress{AllowHost: []Allow{allow}})
	c, err := listed.call(2).DialContext(patiently(t), "tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got, err := io.ReadAll(c); string(got) != "hello" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}
