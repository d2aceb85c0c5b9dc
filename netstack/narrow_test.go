package netstack

import (
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"

	"github.com/l2tpnet/l2tpnet/endpoint/link"
)

// A gauge looks at what goes through a wire, and takes what is too long away, as a
// session does.
type gauge struct {
	mu                            sync.Mutex
	mtu, longest, lost, fragments int
}

func newGauge(out link.Sink) *gauge {
	g := &gauge{mtu: 65535}
	out.(*wire).setTamper(g.pass)
	return g
}

func (g *gauge) pass(p []byte) []byte {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(p) > g.mtu {
		g.lost++
		return nil
	}
	g.longest = max(g.longest, len(p))
	if p[0]>>4 == 4 && (p[6]&0x3f != 0 || p[7] != 0) || p[0]>>4 == 6 && p[6] == 44 {
		g.fragments++
	}
	return p
}

// since has the gauge begin anew, and tells what it has seen.
func (g *gauge) since(mtu int) (longest, lost, fragments int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	longest, lost, fragments = g.longest, g.lost, g.fragments
	g.mtu, g.longest, g.lost, g.fragments = mtu, 0, 0, 0
	return
}

// exchanged sends 1 MiB through a connection that stands, and waits for all of it.
func exchanged(t *testing.T, from, to net.Conn) {
	t.Helper()
	const size = 1 << 20
	deadline, _ := patience(t).Deadline()
	from.SetDeadline(deadline)
	to.SetDeadline(deadline)
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := sameStream(io.LimitReader(to, size), size); err != nil {
			t.Error(err)
		}
	})
	if _, err := io.Copy(struct{ io.Writer }{from}, &pattern{size: size}); err != nil {
		t.Error(err)
	}
	wg.Wait()
}

// A narrowable is a NIC or a Port.
type narrowable interface {
	SetMTU(int)
	Counters() Counters
}

// outlives has a connection stand when the path becomes narrow.
func outlives(t *testing.T, g *gauge, way narrowable, from, to net.Conn) {
	t.Helper()
	exchanged(t, from, to)
	if longest, _, _ := g.since(65535); longest < 1350 || longest > 1400 {
		t.Errorf("the longest packet has %d bytes, want nearly 1400", longest)
	}
	way.SetMTU(1300)
	g.since(1300)
	exchanged(t, from, to)
	if n := way.Counters().Fragmented; n == 0 {
		t.Error("nothing was fragmented, expected what the stack sent before it knew")
	}
	if longest, lost, _ := g.since(1300); lost > 0 || longest < 1200 {
		t.Errorf("%d packets were too long, the longest that was not has %d bytes", lost, longest)
	}
	exchanged(t, from, to)
	if longest, lost, fragments := g.since(1300); lost > 0 || fragments > 0 || longest < 1200 {
		t.Errorf("when it knew, %d packets were too long, and %d fragments; the longest has %d bytes", lost, fragments, longest)
	}
}

// Issue: "path MTU from the outer socket, Packet Too Big made inside". A connection
// that stands when the path becomes narrow loses nothing, and has shorter segments
// from then on.
func TestAConnectionOutlivesANarrowPath(t *testing.T) {
	for i, c := range []struct {
		name   string
		v6, up bool
	}{{"4 up", false, true}, {"4 down", false, false}, {"6 up", true, true}, {"6 down", true, false}} {
		t.Run(c.name, func(t *testing.T) {
			server := newStack(t, nil)
			client := newClient6(t, newRouter6(t, server, RoutedConfig{}), i+2, 0)
			to := gateway
			if c.v6 {
				to = gateway6
			}
			ln, err := server.Listen("tcp", ":0")
			if err != nil {
				t.Fatal(err)
			}
			a, err := client.stack.DialContext(patience(t), "tcp", at(to, ln.Addr()))
			if err != nil {
				t.Fatal(err)
			}
			b, err := ln.Accept()
			if err != nil {
				t.Fatal(err)
			}
			if c.up {
				outlives(t, newGauge(client.nic.out), client.nic, a, b)
			} else {
				outlives(t, newGauge(client.port.out), client.port, b, a)
			}
		})
	}
}

// So does one that goes through a Forwarder.
func TestAForwardedConnectionOutlivesANarrowPath(t *testing.T) {
	accepted := make(chan net.Conn, 1)
	x := newForwardTest(t, &Forwarder{TCP: func(f *TCPFlow) {
		c, err := f.Accept()
		if err != nil {
			t.Error(err)
		}
		accepted <- c
	}})
	a, err := x.client.stack.DialContext(patience(t), "tcp", outside+":80")
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	b := <-accepted
	if b == nil {
		return
	}
	defer b.Close()
	outlives(t, newGauge(x.client.port.out), x.client.port, b, a)
}

// What begins on a narrow path has segments that fit, and when the path is wide
// again, longer ones. The MTU is never more than that of the configuration, nor less
// than what IP needs.
func TestTheMTUOfAnInterfaceChanges(t *testing.T) {
	server := newStack(t, nil)
	client := newClient6(t, newRouter6(t, server, RoutedConfig{}), 2, 0)
	up, down := newGauge(client.nic.out), newGauge(client.port.out)
	for _, c := range []struct{ set, want int }{{1300, 1300}, {9000, 1400}, {1000, 1280}, {1400, 1400}} {
		client.nic.SetMTU(c.set)
		client.port.SetMTU(c.set)
		up.since(c.want)
		down.since(c.want)
		for _, to := range []netip.Addr{gateway, gateway6} {
			bulk(t, client.stack, server, to)
		}
		for i, to := range client.nic.Addresses()[:2] {
			bulk(t, server, client.stack, to)
			echoUDP(t, server, client.stack, to, 3000)
			echoUDP(t, client.stack, server, []netip.Addr{gateway, gateway6}[i], 3000)
		}
		for name, g := range map[string]*gauge{"up": up, "down": down} {
			if longest, lost, _ := g.since(c.want); lost > 0 || longest < c.want-60 {
				t.Errorf("%s, the MTU set to %d: %d packets were too long, the longest that was not has %d bytes, want %d", name, c.set, lost, longest, c.want)
			}
		}
	}
	v4 := addIP(t, newStack(t, nil), discard, addrA)
	v4.SetMTU(0)
	if mtu := v4.ep.MTU(); mtu != 68 {
		t.Errorf("the MTU is %d, want 68", mtu)
	}
	v4.Close()
	v4.SetMTU(1000) // does nothing
}
