package node

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/l2tpnet/l2tpnet/endpoint/link"
	"github.com/l2tpnet/l2tpnet/netstack"
)

// A fakeICMP is an ICMP socket: what is sent with it comes out of sent, and what goes
// into replies comes in.
type fakeICMP struct {
	sent    chan fakeEcho
	replies chan fakeEcho
	closing sync.Once
	closed  chan struct{}
}

type fakeEcho struct {
	m    []byte
	addr string
}

func newFakeICMP() *fakeICMP {
	return &fakeICMP{sent: make(chan fakeEcho, 10_000), replies: make(chan fakeEcho), closed: make(chan struct{})}
}

func (f *fakeICMP) WriteTo(b []byte, to net.Addr) (int, error) {
	if ipOf(to) == netip.MustParseAddr("203.0.113.99") {
		return 0, os.NewSyscallError("sendto", syscall.ENETUNREACH)
	}
	f.sent <- fakeEcho{bytes.Clone(b), ipOf(to).String()}
	return len(b), nil
}

func (f *fakeICMP) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case r := <-f.replies:
		return copy(b, r.m), &net.UDPAddr{IP: net.ParseIP(r.addr)}, nil
	case <-f.closed:
		return 0, nil, net.ErrClosed
	}
}

func (f *fakeICMP) Close() error {
	f.closing.Do(func() { close(f.closed) })
	return nil
}

// reply turns a request into its reply.
func (r fakeEcho) reply(v6 bool) fakeEcho {
	m := bytes.Clone(r.m)
	m[0] = 0
	if v6 {
		m[0] = 129
	}
	return fakeEcho{m, r.addr}
}

// "id/seq mapped back; payload intact; replies only from the asked address": two
// clients ask with the same identifier and number, and each has its own reply.
func TestEgressEcho(t *testing.T) {
	for _, f := range far {
		v6 := f.name == "IPv6"
		t.Run(f.name, func(t *testing.T) {
			fake := newFakeICMP()
			e := &Egress{}
			x := newEgressTest(t, e)
			e.state.policy.interfaces = func() ([]net.Addr, error) { return nil, nil }
			e.state.echo.listen = func(v6 bool) (*echoSocket, error) { return &echoSocket{conn: fake, v6: v6, raw: true, id: 4242}, nil }
			to := netip.MustParseAddr(f.addr)
			var pings sync.WaitGroup
			for _, n := range []byte{2, 3} {
				c := x.call(n)
				pings.Go(func() {
					reply, err := c.Ping(patiently(t), to, &netstack.PingOptions{ID: 77, Seq: 5, Size: 1000 + int(n)})
					if err != nil || reply.ID != 77 || reply.Seq != 5 || reply.Size != 1008+int(n) {
						t.Errorf("client %d: %+v, %v", n, reply, err)
					}
				})
			}
			one, two := <-fake.sent, <-fake.sent
			for _, r := range []fakeEcho{one, two} {
				if r.addr != f.addr || binary.BigEndian.Uint16(r.m[4:]) != 4242 {
					t.Errorf("sent to %s: % x", r.addr, r.m[:8])
				}
			}
			if bytes.Equal(one.m[6:8], two.m[6:8]) {
				t.Error("two requests have the same number")
			}
			good := one.reply(v6)
			stranger := fakeEcho{one.reply(v6).m, "203.0.113.66"}
			otherID, otherNumber, otherType, short := one.reply(v6), one.reply(v6), one, fakeEcho{good.m[:7], f.addr}
			otherID.m[5]++
			for _, r := range []fakeEcho{stranger, otherID} {
				r.m[len(r.m)-1]++ // who takes it for the reply has another payload
			}
			binary.BigEndian.PutUint16(otherNumber.m[6:], 9999)
			// None of these is a reply to anything; then both, the second one twice.
			for _, r := range []fakeEcho{stranger, otherID, otherNumber, otherType, short, two.reply(v6), two.reply(v6), good} {
				fake.replies <- r
			}
			pings.Wait()
			if st := e.Status(); st.Echo.Opened != 2 || st.Echo.Open != 0 {
				t.Errorf("%+v", st)
			}
		})
	}
}

// An echoCaller sees what comes back as it is.
type echoCaller struct {
	port *netstack.Port
	back chan []byte
}

func newEchoCaller(x *egressTest, n byte) *echoCaller {
	c := &echoCaller{back: make(chan []byte, 10_000)}
	var err error
	c.port, err = x.router.Attach(&netstack.PortConfig{Prefixes: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 77, 0, n}), 32)}},
		link.SinkFunc(func(b *link.Batch) {
			for i := range b.Frames {
				c.back <- b.Frames[i].AppendTo(nil)
			}
		}))
	if err != nil {
		x.Fatal(err)
	}
	return c
}

// ask sends an echo request.
func (c *echoCaller) ask(from byte, to string, seq uint16) {
	c.send(from, to, 1, []byte{0: 8, 6: byte(seq >> 8), 7: byte(seq)})
}

// send sends a packet of ICMP, whose checksum it puts in, or of another protocol.
func (c *echoCaller) send(from byte, to string, protocol byte, payload []byte) {
	p := append([]byte{0: 0x45, 3: byte(20 + len(payload)), 8: 64, 9: protocol, 12: 10, 13: 77, 15: from, 19: 0}, payload...)
	copy(p[16:], netip.MustParseAddr(to).AsSlice())
	for _, part := range []struct {
		bytes []byte
		at    int
	}{{p[:20], 10}, {p[20:], 2}} {
		if part.at == 2 && protocol != 1 {
			continue
		}
		var sum uint32
		for i := 0; i < len(part.bytes); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(part.bytes[i:]))
		}
		sum = sum>>16 + sum&0xffff
		binary.BigEndian.PutUint16(part.bytes[part.at:], ^uint16(sum+sum>>16))
	}
	b := link.NewBatch()
	defer b.Free()
	b.Add(0, p, nil)
	c.port.Put(b)
}

// "Where the system gives no ICMP sockets: one log line, and an
// administratively-prohibited reply."
func TestEgressWithoutICMPSockets(t *testing.T) {
	var log logLines
	e := &Egress{Logger: slog.New(slog.NewTextHandler(&log, nil))}
	x := newEgressTest(t, e)
	e.state.policy.interfaces = func() ([]net.Addr, error) { return nil, nil }
	e.state.echo.listen = func(bool) (*echoSocket, error) {
		return nil, &net.OpError{Op: "listen", Err: os.NewSyscallError("socket", fs.ErrPermission)}
	}
	c := newEchoCaller(x, 2)
	for seq := range uint16(10) {
		c.ask(2, "203.0.113.5", seq)
		p := <-c.back
		// RFC 1812 §5.2.7.1: type 3, code 13; then the request.
		if p[20] != 3 || p[21] != 13 || binary.BigEndian.Uint16(p[54:]) != seq {
			t.Errorf("the client is told % x", p)
		}
	}
	if got := log.with("ICMP"); len(got) != 1 || !strings.Contains(got[0], "level=WARN") || !strings.Contains(got[0], "permission denied") {
		t.Errorf("logged %q", got)
	}
}

type logLines struct {
	mu    sync.Mutex
	lines []string
}

func (l *logLines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, string(b))
	return len(b), nil
}

func (l *logLines) with(text string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(l.lines), func(s string) bool { return !strings.Contains(s, text) })
}

// Errors of the host's socket are for the client; and what the policy refuses is not
// sent, but logged, once for a flood.
func TestEgressEchoRefused(t *testing.T) {
	var log logLines
	fake := newFakeICMP()
	e := &Egress{Logger: slog.New(slog.NewTextHandler(&log, nil))}
	x := newEgressTest(t, e)
	e.state.policy.interfaces = func() ([]net.Addr, error) { return nil, nil }
	e.state.echo.listen = func(v6 bool) (*echoSocket, error) { return &echoSocket{conn: fake, v6: v6}, nil }
	c := newEchoCaller(x, 2)
	c.ask(2, "203.0.113.99", 1)
	if p := <-c.back; p[20] != 3 || p[21] != 0 {
		t.Errorf("a network that cannot be reached: % x", p[20:28])
	}
	for seq := range uint16(20) {
		c.ask(2, "169.254.169.254", seq)
		if p := <-c.back; p[20] != 3 || p[21] != 13 {
			t.Errorf("a destination that is refused: % x", p[20:28])
		}
	}
	if st := e.Status(); st.Echo.Prohibited != 20 || st.Echo.Failed != 1 || len(fake.sent) != 0 {
		t.Errorf("%+v, %d were sent", st, len(fake.sent))
	}
	if got := log.with("egress refused"); len(got) != 1 || !strings.Contains(got[0], "169.254.169.254") || !strings.Contains(got[0], "link-local") || !strings.Contains(got[0], "level=INFO") {
		t.Errorf("logged %q", got)
	}
}

// A client's flood of requests does not keep another one from its own.
func TestEgressEchoPerClient(t *testing.T) {
	fake := newFakeICMP()
	e := &Egress{}
	x := newEgressTest(t, e)
	e.state.policy.interfaces = func() ([]net.Addr, error) { return nil, nil }
	e.state.echo.listen = func(v6 bool) (*echoSocket, error) { return &echoSocket{conn: fake, v6: v6}, nil }
	greedy, modest := newEchoCaller(x, 2), newEchoCaller(x, 3)
	for seq := range uint16(echoPerClient) {
		greedy.ask(2, "203.0.113.5", seq)
		<-fake.sent
	}
	greedy.ask(2, "203.0.113.5", 1000)
	waitUntil(t, func() bool { return e.Status().Echo.Limited == 1 })
	modest.ask(3, "203.0.113.5", 1)
	r := <-fake.sent
	fake.replies <- r.reply(false)
	if p := <-modest.back; p[20] != 0 {
		t.Errorf("% x", p[20:28])
	}
	if len(fake.sent) != 0 || len(greedy.back) != 0 {
		t.Errorf("%d more were sent, %d came back", len(fake.sent), len(greedy.back))
	}
}

// The host's own ICMP sockets, where the system gives some.
func TestEgressEchoOfTheHost(t *testing.T) {
	for _, f := range far {
		v6 := f.name == "IPv6"
		t.Run(f.name, func(t *testing.T) {
			s, err := listenEcho(v6)
			if err != nil {
				t.Skipf("SKIPPED: the system gives no ICMP sockets for %s: %v", f.name, err)
			}
			s.conn.Close()
			e := &Egress{}
			x := newEgressTest(t, e)
			e.state.policy.interfaces = func() ([]net.Addr, error) { return nil, nil }
			e.state.echo.listen = func(v6 bool) (*echoSocket, error) {
				s, err := listenEcho(v6)
				if err == nil {
					s.conn = &hereICMP{s.conn, f.addr, f.here}
				}
				return s, err
			}
			ctx, c := patiently(t), x.call(2)
			for _, size := range []int{-1, 56, 1400, 20_000} {
				reply, err := c.Ping(ctx, netip.MustParseAddr(f.addr), &netstack.PingOptions{Size: size})
				if err != nil || reply.Size != max(size, 0)+8 {
					t.Errorf("a ping of %d bytes: %+v, %v", size, reply, err)
				}
				if errors.Is(err, context.DeadlineExceeded) {
					return
				}
			}
		})
	}
}

// A hereICMP sends to the host itself what is for another address, and has the
// replies from there.
type hereICMP struct {
	echoConn
	far, here string
}

func swap(a net.Addr, ip string) net.Addr {
	switch a := a.(type) {
	case *net.UDPAddr:
		return &net.UDPAddr{IP: net.ParseIP(ip), Port: a.Port}
	default:
		return &net.IPAddr{IP: net.ParseIP(ip)}
	}
}

func (h *hereICMP) WriteTo(b []byte, to net.Addr) (int, error) {
	return h.echoConn.WriteTo(b, swap(to, h.here))
}

func (h *hereICMP) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := h.echoConn.ReadFrom(b)
	if err == nil {
		from = swap(from, h.far)
	}
	return n, from, err
}

// "the host's loopback … refused unless listed", for a client whose system lets such
// packets out: with the host's own sockets.
func TestEgressLoopback(t *testing.T) {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	allow, err := ParseAllow(pc.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	port := allow.Port
	question := []byte{0x10, 0, byte(port >> 8), byte(port), 0, 9, 0, 0, '?'}
	for _, listed := range []bool{false, true} {
		e := &Egress{}
		if listed {
			e.AllowHost = []Allow{allow}
		}
		c := newEchoCaller(newEgressTest(t, e), 2)
		c.send(2, "127.0.0.1", 17, question)
		if !listed {
			if p := <-c.back; p[9] != 1 || p[20] != 3 || p[21] != 13 {
				t.Errorf("the client is told % x", p)
			}
			continue
		}
		b := make([]byte, 10)
		pc.SetReadDeadline(deadlineOf(t))
		n, from, err := pc.ReadFrom(b)
		if err != nil || string(b[:n]) != "?" {
			t.Fatalf("%q, %v", b[:n], err)
		}
		pc.WriteTo([]byte("!"), from)
		if p := <-c.back; p[9] != 17 || netip.AddrFrom4([4]byte(p[12:])).String() != "127.0.0.1" || string(p[28:]) != "!" {
			t.Errorf("% x came back", p)
		}
	}
}
