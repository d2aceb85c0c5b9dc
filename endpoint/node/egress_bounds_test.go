package node

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/l2tpnet/l2tpnet/netstack"
)

// A silent far end accepts connections and datagrams, and says nothing.
type silentEnd struct {
	tcp      net.Listener
	udp      net.PacketConn
	accepted chan net.Conn
}

func newSilentEnd(t *testing.T) *silentEnd {
	e := &silentEnd{tcp: listenHere(t, "127.0.0.1"), accepted: make(chan net.Conn, 1000)}
	var err error
	if e.udp, err = net.ListenPacket("udp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := e.tcp.Accept()
			if err != nil {
				return
			}
			e.accepted <- c
		}
	})
	t.Cleanup(func() {
		e.tcp.Close()
		e.udp.Close()
		running.Wait()
		close(e.accepted)
		for c := range e.accepted {
			c.Close()
		}
	})
	return e
}

// A flow through which nothing goes ends on both sides.
func TestEgressIdle(t *testing.T) {
	x := newEgressTest(t, &Egress{Dialer: &here{}, TCPIdle: 50 * time.Millisecond, UDPIdle: 50 * time.Millisecond})
	end := newSilentEnd(t)
	caller := x.call(2)
	c, err := caller.DialContext(patiently(t), "tcp", portOf("203.0.113.5", end.tcp.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetReadDeadline(deadlineOf(t))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the client's Read: %v", err)
	}
	accepted := <-end.accepted
	defer accepted.Close()
	accepted.SetReadDeadline(deadlineOf(t))
	if _, err := accepted.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the far end's Read: %v", err)
	}
	u, err := caller.DialContext(patiently(t), "udp", portOf("203.0.113.5", end.udp.LocalAddr()))
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	u.Write([]byte("x"))
	waitUntil(t, func() bool {
		st := x.egress.Status()
		return st.UDP.Opened == 1 && st.UDP.Open == 0 && st.TCP.Open == 0
	})
	// The next datagram begins a new one.
	u.Write([]byte("x"))
	waitUntil(t, func() bool { return x.egress.Status().UDP.Opened == 2 })
}

func TestIdler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		ended := make(chan time.Duration, 1)
		begin := func(limit time.Duration) *idler {
			start = time.Now()
			return newIdler(limit, func() { ended <- time.Since(start) })
		}
		want := func(what string, d time.Duration) {
			t.Helper()
			if got := <-ended; got != d {
				t.Errorf("%s: over after %v, want %v", what, got, d)
			}
		}
		begin(time.Minute)
		want("never touched", time.Minute)

		i := begin(time.Minute)
		for range 10 {
			time.Sleep(50 * time.Second)
			i.touch()
		}
		want("touched for 500 s", 560*time.Second)

		i = begin(time.Minute)
		time.Sleep(30 * time.Second)
		i.touch()
		i.shorten(10 * time.Second)
		i.shorten(20 * time.Second) // does not lengthen
		want("shortened", 40*time.Second)

		i = begin(time.Minute)
		i.end()
		time.Sleep(time.Hour)
		if len(ended) != 0 {
			t.Error("one that has ended is over")
		}
	})
}

// A flow to a DNS server ends soon after the answer, but not before.
func TestEgressDNSFlow(t *testing.T) {
	end := newSilentEnd(t)
	x := newEgressTest(t, &Egress{Dialer: dialerFunc(func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, end.udp.LocalAddr().String())
	})})
	c := x.call(2)
	u, err := c.DialContext(patiently(t), "udp", "203.0.113.5:53")
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	u.Write([]byte("question"))
	b := make([]byte, 100)
	_, from, err := end.udp.ReadFrom(b)
	if err != nil {
		t.Fatal(err)
	}
	limit := func() time.Duration {
		s := &x.egress.state
		s.mu.Lock()
		defer s.mu.Unlock()
		for f := range s.clients[egressOwner{port: c.port}].udp {
			if f.idle != nil {
				f.idle.mu.Lock()
				defer f.idle.mu.Unlock()
				return f.idle.limit
			}
		}
		return 0
	}
	if got := limit(); got != defaultEgressUDPIdle {
		t.Errorf("before the answer it may be idle for %v", got)
	}
	end.udp.WriteTo([]byte("answer"), from)
	u.SetReadDeadline(deadlineOf(t))
	if _, err := u.Read(b); err != nil {
		t.Fatal(err)
	}
	if got := limit(); got != egressDNSIdle {
		t.Errorf("after the answer it may be idle for %v", got)
	}
}

// "bounds per client": one that has all its flows does not keep another from its
// own, and one that ends makes room.
func TestEgressFlowsPerClient(t *testing.T) {
	x := newEgressTest(t, &Egress{Dialer: &here{}, FlowsPerClient: 3})
	end := newSilentEnd(t)
	greedy, modest := x.call(2), x.call(3)
	to := portOf("203.0.113.5", end.tcp.Addr())
	dial := func(c *egressCaller) (net.Conn, error) {
		conn, err := c.DialContext(patiently(t), "tcp", to)
		if err == nil {
			t.Cleanup(func() { conn.Close() })
		}
		return conn, err
	}
	var conns []net.Conn
	for range 3 {
		c, err := dial(greedy)
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	if _, err := dial(greedy); !errors.Is(err, syscall.EHOSTUNREACH) {
		t.Errorf("the fourth: %v", err)
	}
	if _, err := dial(modest); err != nil {
		t.Errorf("another client: %v", err)
	}
	if st := x.egress.Status(); st.TCP.Open != 4 || st.TCP.Limited != 1 {
		t.Errorf("%+v", st)
	}
	conns[0].Close()
	(<-end.accepted).Close()
	waitUntil(t, func() bool { return x.egress.Status().TCP.Open == 3 })
	if _, err := dial(greedy); err != nil {
		t.Errorf("after one has ended: %v", err)
	}
}

func TestEgressFlowsOfAll(t *testing.T) {
	x := newEgressTest(t, &Egress{Dialer: &here{}, Flows: 2, FlowsPerClient: -1})
	end := newSilentEnd(t)
	c := x.call(2)
	for i := range 3 {
		conn, err := c.DialContext(patiently(t), "tcp", portOf("203.0.113.5", end.tcp.Addr()))
		if (err != nil) != (i == 2) {
			t.Errorf("connection %d: %v", i, err)
		}
		if err == nil {
			defer conn.Close()
		}
	}
}

// "Each client's flood must not stop another client": a few cannot use up what there
// is for all.
func TestEgressFlowsForThoseWhoHaveLittle(t *testing.T) {
	e := &Egress{Flows: 100, FlowsPerClient: 60}
	e.begin()
	defer e.Close()
	var in []*egressFlow
	take := func(n int) (got int) {
		port := new(netstack.Port)
		for range n {
			if f, err := e.enter(egressTCP, t.Context(), egressOwner{port: port}); err == nil {
				in = append(in, f)
				got++
				f.dialled()
			}
		}
		return got
	}
	for i, want := range []int{60, 16, 16, 8, 0} { // 75 and the quarter
		if got := take(80); got != want {
			t.Errorf("client %d has %d flows, want %d", i, got, want)
		}
	}
	for _, f := range in {
		f.leave()
	}
}

// Connections that are being opened are bounded for themselves: far ends that do
// not answer hold up nobody else.
func TestEgressDialsPerClient(t *testing.T) {
	dialling := make(chan struct{}, 10)
	x := newEgressTest(t, &Egress{DialsPerClient: 2, DialTimeout: -1, Dialer: dialerFunc(func(ctx context.Context, network, address string) (net.Conn, error) {
		if netip.MustParseAddrPort(address).Port() == 1 {
			dialling <- struct{}{}
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return nil, syscall.ECONNREFUSED
	})})
	greedy, modest := x.call(2), x.call(3)
	ctx, cancel := context.WithCancel(patiently(t))
	var running sync.WaitGroup
	for range 2 {
		running.Go(func() { greedy.DialContext(ctx, "tcp", "203.0.113.5:1") })
		<-dialling
	}
	if _, err := greedy.DialContext(patiently(t), "tcp", "203.0.113.5:2"); !errors.Is(err, syscall.EHOSTUNREACH) {
		t.Errorf("the third: %v", err)
	}
	if _, err := modest.DialContext(patiently(t), "tcp", "203.0.113.5:2"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("another client: %v", err)
	}
	cancel()
	running.Wait()
	greedy.port.Close() // ends what is still being dialled
	waitUntil(t, func() bool { return x.egress.Status().TCP.Open == 0 })
}

// A client that has all its flows loses the UDP flow that has been idle for the
// longest time, if that has been idle for a while, and never another client's.
func TestEgressEvicts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &Egress{FlowsPerClient: 2, Flows: 3}
		e.begin()
		one, two := new(netstack.Port), new(netstack.Port)
		enter := func(p *netstack.Port, kind egressKind) *egressFlow {
			f, err := e.enter(kind, t.Context(), egressOwner{port: p})
			if err != nil {
				return nil
			}
			f.expires(time.Hour)
			return f
		}
		a, b, c := enter(one, egressUDP), enter(one, egressUDP), enter(two, egressUDP)
		time.Sleep(egressEvictAfter - 1)
		if enter(one, egressUDP) != nil {
			t.Error("a flow that is hardly idle was evicted")
		}
		a.idle.touch()
		time.Sleep(1)
		d := enter(one, egressUDP)
		if d == nil || context.Cause(b.ctx) != errEgressEvicted || a.ctx.Err() != nil || c.ctx.Err() != nil {
			t.Errorf("evicted: %v, %v, %v", context.Cause(a.ctx), context.Cause(b.ctx), context.Cause(c.ctx))
		}
		if enter(one, egressTCP) != nil {
			t.Error("a UDP flow was evicted for a TCP one")
		}
		for _, f := range []*egressFlow{a, b, c, d} {
			f.leave()
		}
		if e.state.flows != 0 || len(e.state.clients) != 0 {
			t.Errorf("%d flows, %d clients left", e.state.flows, len(e.state.clients))
		}
		e.Close()
	})
}

// "Tunnel down means errors": the session's end resets what it had, at both ends,
// and leaves other sessions alone.
func TestEgressEndsWithTheSession(t *testing.T) {
	for _, how := range []string{"session", "egress"} {
		t.Run(how, func(t *testing.T) {
			x := newEgressTest(t, &Egress{Dialer: &here{}})
			end := newSilentEnd(t)
			one, two := x.call(2), x.call(3)
			var ends []net.Conn
			for _, c := range []*egressCaller{one, two} {
				conn, err := c.DialContext(patiently(t), "tcp", portOf("203.0.113.5", end.tcp.Addr()))
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				ends = append(ends, <-end.accepted)
				u, err := c.DialContext(patiently(t), "udp", portOf("203.0.113.5", end.udp.LocalAddr()))
				if err != nil {
					t.Fatal(err)
				}
				defer u.Close()
				u.Write([]byte("x"))
			}
			waitUntil(t, func() bool { return x.egress.Status().UDP.Open == 2 })
			left := 1
			if how == "session" {
				one.port.Close()
			} else {
				x.egress.Close()
				left = 0
				if _, err := two.DialContext(patiently(t), "tcp", "203.0.113.5:80"); !errors.Is(err, syscall.EHOSTUNREACH) {
					t.Errorf("a dial after Close: %v", err)
				}
			}
			ends[0].SetReadDeadline(deadlineOf(t))
			if _, err := ends[0].Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("the far end's Read: %v", err)
			}
			waitUntil(t, func() bool { st := x.egress.Status(); return st.UDP.Open == left && st.TCP.Open == left })
			for _, c := range ends {
				c.Close()
			}
		})
	}
}

// A connection that breaks at the far end does not look like one that has ended.
func TestEgressReset(t *testing.T) {
	x := newEgressTest(t, &Egress{Dialer: &here{}})
	end := newSilentEnd(t)
	c, err := x.call(2).DialContext(patiently(t), "tcp", portOf("203.0.113.5", end.tcp.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	accepted := (<-end.accepted).(*net.TCPConn)
	accepted.SetLinger(0)
	accepted.Close()
	c.SetReadDeadline(deadlineOf(t))
	if _, err := io.ReadAll(c); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the client's Read: %v", err)
	}
}
