package netstack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"weak"
)

var errDown = errors.New("the peer stopped answering")

// Tunnel down means errors, never a direct connection: whatever waits returns
// at once, whatever is begun later fails, with the reason that was given.
func TestTunnelDown(t *testing.T) {
	for _, row := range []struct {
		name string
		down func(p *pair)
		why  error
	}{
		{"Fail", func(p *pair) { p.a.Fail(errDown) }, errDown},
		{"Fail without a reason", func(p *pair) { p.a.Fail(nil) }, net.ErrClosed},
		{"Close", func(p *pair) { p.a.Close() }, net.ErrClosed},
		{"Close after Fail", func(p *pair) { p.a.Fail(errDown); p.a.Close() }, errDown},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := newPair(t, nil, nil, addrB)
			client, server := p.connect(t)
			udp, err := p.a.Dial("udp", "10.0.0.2:9")
			if err != nil {
				t.Fatal(err)
			}
			pc, err := p.a.ListenPacket("udp", ":0")
			if err != nil {
				t.Fatal(err)
			}
			ln, err := p.a.Listen("tcp", ":80")
			if err != nil {
				t.Fatal(err)
			}
			p.ab.setTamper(func([]byte) []byte { return nil }) // nothing answers any more
			ctx := patience(t)
			b := make([]byte, 1)
			calls := map[string]func() error{
				"Read": func() error { _, err := client.Read(b[:]); return err },
				"Write": func() (err error) {
					for err == nil {
						_, err = client.Write(make([]byte, 1<<20))
					}
					return err
				},
				"Read of UDP":    func() error { _, err := udp.Read(make([]byte, 1)); return err },
				"ReadFrom":       func() error { _, _, err := pc.ReadFrom(make([]byte, 1)); return err },
				"Accept":         func() error { _, err := ln.Accept(); return err },
				"Dial":           func() error { _, err := p.a.DialContext(ctx, "tcp", "10.0.0.2:80"); return err },
				"Dial of a name": func() error { _, err := p.a.DialContext(ctx, "tcp", "www.example.net:80"); return err },
				"LookupHost":     func() error { _, err := p.a.LookupHost(ctx, "www.example.net"); return err },
				"Ping":           func() error { _, err := p.a.Ping(ctx, addrB, nil); return err },
			}
			check := func(when, what string, err error) {
				if !errors.Is(err, row.why) {
					t.Errorf("%s %s: %v, want %v", what, when, err, row.why)
				}
			}
			var wg, begun sync.WaitGroup
			for what, call := range calls {
				begun.Add(1)
				wg.Go(func() {
					begun.Done()
					check("was under way", what, call())
				})
			}
			begun.Wait()
			row.down(p)
			wg.Wait()
			for what, call := range calls {
				check("came later", what, call())
			}
			_, err = p.a.Listen("tcp", ":81")
			check("came later", "Listen", err)
			_, err = p.a.ListenPacket("udp", ":81")
			check("came later", "ListenPacket", err)
			_, err = p.a.AddIP(discard, &IPConfig{Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.9/32")}})
			check("came later", "AddIP", err)
			check("is over", "the stack", p.a.Err())
			<-p.a.Done()
			for _, c := range []io.Closer{client, udp, pc, ln} {
				if err := c.Close(); err != nil {
					t.Errorf("Close of %T: %v", c, err)
				}
			}
			server.Close()
			// Nothing goes on trying to deliver what cannot be delivered.
			if left := p.a.gv.RegisteredEndpoints(); len(left) != 0 {
				t.Errorf("%d endpoints are left", len(left))
			}
			p.a.Close()
			if p.nicA.ep.IsAttached() {
				t.Error("the NIC of a closed stack is attached")
			}
		})
	}
}

// What a tunnel has lost is not the other's business: its peer keeps its stack.
func TestNICClose(t *testing.T) {
	p := newPair(t, nil, nil, addrB)
	client, _ := p.connect(t)
	bound, err := p.a.Listen("tcp", "10.0.0.1:80")
	if err != nil {
		t.Fatal(err)
	}
	defer bound.Close()
	everywhere, err := p.a.Listen("tcp", ":81")
	if err != nil {
		t.Fatal(err)
	}
	defer everywhere.Close()
	var wg sync.WaitGroup
	wg.Go(func() {
		_, err := client.Read(make([]byte, 1))
		want(t, "a blocked Read", err, net.ErrClosed)
	})
	wg.Go(func() {
		_, err := bound.Accept()
		want(t, "a blocked Accept at the NIC's address", err, net.ErrClosed)
	})
	p.nicA.Close()
	p.nicA.Close()
	wg.Wait()
	if n := connected(p.a, "10.0.0.2"); n != 0 {
		t.Errorf("%d connections of the NIC's are left", n)
	}
	_, err = p.a.DialContext(patience(t), "tcp", "10.0.0.2:80")
	want(t, "a dial", err, syscall.ENETUNREACH)
	if _, err := p.a.LookupHost(patience(t), host); err == nil || !strings.Contains(err.Error(), "no DNS server") {
		t.Errorf("a look-up: %v", err)
	}
	put(p.nicA, ipv4Packet(addrB.As4(), addrA.As4(), 1, echo()))
	if p.nicA.Counters().Late == 0 {
		t.Error("a closed NIC takes packets")
	}
	// Another NIC, and the listener at any address has connections again.
	p.ba.deliverTo(addIP(t, p.a, p.ab, addrA))
	c, err := p.b.DialContext(patience(t), "tcp", "10.0.0.1:81")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s, err := everywhere.Accept()
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
}

// A peer learns that a stack has been closed.
func TestCloseResetsThePeer(t *testing.T) {
	p := newPair(t, nil, nil)
	_, server := p.connect(t)
	p.a.Close()
	_, err := server.Read(make([]byte, 1))
	want(t, "the peer's Read", err, syscall.ECONNRESET)
}

// Close while packets come in from everywhere; the race detector watches.
func TestCloseUnderTraffic(t *testing.T) {
	for range 10 {
		s := newStack(t, nil)
		r := newRouter(t, s)
		ln, err := s.Listen("tcp", ":80")
		if err != nil {
			t.Fatal(err)
		}
		ports := []*Port{
			attach(t, r, discard, "10.77.0.2/32"), attach(t, r, discard, "10.77.0.3/32"), attach(t, r, discard, "10.77.0.4/32"),
		}
		var wg, begun sync.WaitGroup
		begun.Add(len(ports))
		for i, port := range ports {
			wg.Go(func() {
				src := [4]byte{10, 77, 0, byte(i + 2)}
				for n := range 300 {
					if n == 10 {
						begun.Done()
					}
					put(port, ipv4Packet(src, gateway.As4(), 1, echo()), syn(src, gateway.As4(), uint16(n)))
				}
			})
		}
		begun.Wait()
		ports[0].Close()
		s.Close()
		_, err = ln.Accept()
		want(t, "Accept", err, net.ErrClosed)
		wg.Wait()
	}
}

// syn opens a TCP connection to port 80.
func syn(src, dst [4]byte, port uint16) []byte {
	p := ipv4Packet(src, dst, 6, []byte{
		byte(port>>8) | 0x80, byte(port), 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0,
	})
	pseudo := append(append([]byte(nil), p[12:20]...), 0, 6, 0, 20)
	s := ^checksumOf(append(pseudo, p[20:]...))
	p[36], p[37] = byte(s>>8), byte(s)
	return p
}

// A stack that has been closed is garbage: no timer and no table of gVisor's
// holds it.
func TestStackIsFreed(t *testing.T) {
	var gone []weak.Pointer[Stack]
	for i := range 4 {
		gone = append(gone, useAndClose(t, i%2 == 0)...)
	}
	for deadline := time.Now().Add(20 * time.Second); ; runtime.Gosched() {
		runtime.GC()
		left := 0
		for _, w := range gone {
			if w.Value() != nil {
				left++
			}
		}
		if left == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d stacks are still there", left, len(gone))
		}
	}
}

// useAndClose closes two stacks that have a connection, which is closing if so
// told.
func useAndClose(t *testing.T, closing bool) (stacks []weak.Pointer[Stack]) {
	var ab, ba wire
	ab.start()
	ba.start()
	defer ab.stop()
	defer ba.stop()
	a, err := New(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	b, err := New(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	ba.deliverTo(addIP(t, a, &ab, addrA))
	ab.deliverTo(addIP(t, b, &ba, addrB))
	ln, err := b.Listen("tcp", ":80")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	c, err := a.DialContext(ctx, "tcp", "10.0.0.2:80")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ln.Accept(); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Ping(ctx, addrB, nil); err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(time.Minute))
	if closing {
		c.Close()
	}
	return []weak.Pointer[Stack]{weak.Make(a), weak.Make(b)}
}

// A stack has GOMAXPROCS goroutines, however many connections there are.
func TestGoroutinesAreBounded(t *testing.T) {
	p := newPair(t, nil, nil)
	ln, err := p.b.Listen("tcp", ":80")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	before := runtime.NumGoroutine()
	for i := range 200 {
		c, err := p.a.DialContext(patience(t), "tcp", "10.0.0.2:80")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		s, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if _, err := fmt.Fprintf(c, "%d", i); err != nil {
			t.Fatal(err)
		}
		s.Read(make([]byte, 10))
	}
	if after := runtime.NumGoroutine(); after > before+10 {
		t.Errorf("%d goroutines before, %d with 200 connections", before, after)
	}
}

func TestConfigIsChecked(t *testing.T) {
	if _, err := New(&Config{DNSTimeout: -1}); err == nil {
		t.Error("a negative DNSTimeout is taken")
	}
	s := newStack(t, nil)
	prefix := func(list ...string) (prefixes []netip.Prefix) {
		for _, p := range list {
			prefixes = append(prefixes, netip.MustParsePrefix(p))
		}
		return prefixes
	}
	for _, row := range []struct {
		name string
		cfg  IPConfig
		want string
	}{
		{"no address", IPConfig{}, "needs an address"},
		{"IPv6", IPConfig{Addresses: prefix("2001:db8::1/64")}, "2001:db8::1/64"},
		{"loopback", IPConfig{Addresses: prefix("127.0.0.1/8")}, "127.0.0.1/8"},
		{"multicast", IPConfig{Addresses: prefix("224.0.0.1/32")}, "224.0.0.1/32"},
		{"none at all", IPConfig{Addresses: []netip.Prefix{{}}}, "invalid"},
		{"the same twice", IPConfig{Addresses: prefix("10.0.0.1/32", "10.0.0.1/32")}, "10.0.0.1/32: duplicate"},
		{"an MTU too small", IPConfig{Addresses: prefix("10.0.0.1/32"), MTU: 67}, "MTU of 67"},
		{"an MTU too large", IPConfig{Addresses: prefix("10.0.0.1/32"), MTU: 65536}, "MTU of 65536"},
		{"a DNS server of IPv6", IPConfig{Addresses: prefix("10.0.0.1/32"), DNS: []netip.Addr{netip.IPv6Loopback()}}, "DNS server ::1"},
	} {
		if _, err := s.AddIP(discard, &row.cfg); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v, want %q", row.name, err, row.want)
		}
	}
	if n := len(s.gv.NICInfo()); n != 0 {
		t.Errorf("%d NICs are left", n)
	}
}
