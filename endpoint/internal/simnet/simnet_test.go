package simnet

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"reflect"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// host opens a socket that is closed with the test.
func host(t *testing.T, n *Net, address string) *Conn {
	t.Helper()
	c, err := n.Listen(address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func send(t *testing.T, from, to *Conn, payload string) {
	t.Helper()
	if _, err := from.WriteTo([]byte(payload), to.LocalAddr()); err != nil {
		t.Fatal(err)
	}
}

// wantRead reads one datagram, waiting for as long as it takes.
func wantRead(t *testing.T, c *Conn, from *Conn, payload string) {
	t.Helper()
	b := make([]byte, 2000)
	n, addr, err := c.ReadFrom(b)
	if err != nil {
		t.Fatal(err)
	}
	if string(b[:n]) != payload || addr.String() != from.LocalAddr().String() {
		t.Fatalf("read %q from %v, want %q from %v", b[:n], addr, payload, from.LocalAddr())
	}
}

// wantNothing says that nothing waits in the queue of c.
func wantNothing(t *testing.T, c *Conn) {
	t.Helper()
	if len(c.queue) > 0 {
		d := <-c.queue
		t.Fatalf("%q from %v waits, want nothing", d.payload, d.from)
	}
}

func TestDatagramsTravel(t *testing.T) {
	for _, tc := range []struct{ name, a, b string }{
		{"IPv4", "10.0.0.1:1701", "10.0.0.2:1701"},
		{"IPv6", "[fd00::1]:1701", "[fd00::2]:1701"},
		{"one host", "10.0.0.1:1701", "10.0.0.1:0"},
		{"hosts without a name", ":1701", ":1701"},
		{"an IPv4 address as IPv6 writes it", "[::ffff:10.0.0.1]:1701", "10.0.0.2:1701"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := New(1)
				a, b := host(t, n, tc.a), host(t, n, tc.b)
				send(t, a, b, "one")
				send(t, a, b, "two")
				send(t, a, b, "")
				wantRead(t, b, a, "one")
				wantRead(t, b, a, "two")
				wantRead(t, b, a, "")
				send(t, b, a, "back")
				wantRead(t, a, b, "back")
			})
		})
	}
}

func TestThePayloadIsCopied(t *testing.T) {
	n := New(1)
	a, b := host(t, n, ":0"), host(t, n, ":0")
	p := []byte("before")
	if _, err := a.WriteTo(p, b.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	copy(p, "AFTER!")
	wantRead(t, b, a, "before")
}

func TestReadTruncatesAndPoisons(t *testing.T) {
	n := New(1)
	a, b := host(t, n, ":0"), host(t, n, ":0")
	send(t, a, b, "a long one")
	send(t, a, b, "x")
	p := make([]byte, 6)
	if n, _, err := b.ReadFrom(p); n != 6 || err != nil || string(p) != "a long" {
		t.Fatalf("read %d %q %v, want 6 %q", n, p, err, "a long")
	}
	n2, _, err := b.ReadFrom(p)
	if want := []byte{'x', poison, poison, poison, poison, poison}; n2 != 1 || err != nil || !reflect.DeepEqual(p, want) {
		t.Fatalf("read %d %x %v, want %x", n2, p, err, want)
	}
}

func TestDelayIsVirtual(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1)
		a, b := host(t, n, "10.0.0.1:1"), host(t, n, "10.0.0.2:1")
		n.SetLink("10.0.0.1", "10.0.0.2", Link{Delay: 3 * time.Hour})
		start := time.Now()
		send(t, a, b, "first")
		time.Sleep(time.Hour)
		send(t, a, b, "second")
		wantRead(t, b, a, "first")
		if d := time.Since(start); d != 3*time.Hour {
			t.Errorf("the first came after %v, want 3h", d)
		}
		wantRead(t, b, a, "second")
		if d := time.Since(start); d != 4*time.Hour {
			t.Errorf("the second came after %v, want 4h", d)
		}
		// The other direction is a link of its own.
		send(t, b, a, "back")
		wantRead(t, a, b, "back")
		if d := time.Since(start); d != 4*time.Hour {
			t.Errorf("the answer came after %v, want 4h", d)
		}
	})
}

func TestALinkWithoutJitterKeepsTheOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(7)
		n.SetDefault(Link{Delay: 5 * time.Millisecond, Duplicate: .5})
		a, b := host(t, n, ":0"), host(t, n, ":0")
		for i := range 100 {
			send(t, a, b, fmt.Sprint(i))
		}
		time.Sleep(5 * time.Millisecond)
		synctest.Wait()
		last := 0
		for len(b.queue) > 0 {
			var i int
			fmt.Sscan(string((<-b.queue).payload), &i)
			if i != last && i != last+1 {
				t.Fatalf("%d came after %d", i, last)
			}
			last = i
		}
		if last != 99 {
			t.Fatalf("the last one was %d, want 99", last)
		}
	})
}

// share sends many datagrams over a link and returns how many of each fate
// there were, per datagram sent, and how many overtook another one.
func share(t *testing.T, l Link) (fates map[Fate]float64, overtook float64) {
	const many = 5000
	synctest.Test(t, func(t *testing.T) {
		n := New(3)
		n.SetDefault(l)
		fates = make(map[Fate]float64)
		last := 0
		n.SetTap(func(r Record) {
			fates[r.Fate] += 1. / many
			if r.Fate == Delivered {
				var i int
				fmt.Sscan(string(r.Payload), &i)
				if i < last {
					overtook += 1. / many
				}
				last = max(last, i)
			}
		})
		a, b := host(t, n, ":0"), host(t, n, ":0")
		for i := range many {
			send(t, a, b, fmt.Sprint(i))
			time.Sleep(time.Millisecond)
			synctest.Wait()
			for len(b.queue) > 0 {
				<-b.queue
			}
		}
		time.Sleep(time.Minute)
	})
	return fates, overtook
}

func TestShares(t *testing.T) {
	near := func(got, want float64) bool { return got > want-.03 && got < want+.03 }
	if f, _ := share(t, Link{Loss: .2}); !near(f[Lost], .2) || !near(f[Delivered], .8) {
		t.Errorf("of a link that loses 0.2, got %v", f)
	}
	if f, o := share(t, Link{Duplicate: .3}); !near(f[Delivered], 1.3) || o != 0 {
		t.Errorf("of a link that doubles 0.3, got %v, %v overtook", f, o)
	}
	if f, o := share(t, Link{Reorder: .1}); !near(f[Delivered], 1) || !near(o, .1) {
		t.Errorf("of a link that reorders 0.1, got %v, %v overtook", f, o)
	}
	if f, o := share(t, Link{Loss: 1, Duplicate: 1}); !near(f[Lost], 1) || f[Delivered] != 0 || o != 0 {
		t.Errorf("of a partition, got %v", f)
	}
	if f, o := share(t, Link{Delay: 100 * time.Millisecond, Jitter: 10 * time.Millisecond}); !near(f[Delivered], 1) || o < .2 {
		t.Errorf("of a link with 10 ms of jitter and a datagram each ms, got %v, %v overtook", f, o)
	}
}

// A story is the whole run of several hosts that all talk at once.
func story(t *testing.T, seed uint64) (records []string) {
	synctest.Test(t, func(t *testing.T) {
		n := New(seed)
		n.SetDefault(Link{Delay: time.Millisecond, Jitter: 4 * time.Millisecond, Loss: .2, Duplicate: .2, Reorder: .2})
		n.SetTap(func(r Record) {
			if r.Fate == Delivered { // what is sent at the same instant may be recorded in any order
				records = append(records, fmt.Sprint(r.Time, r.From, r.To, string(r.Payload)))
			}
		})
		server := host(t, n, "10.0.0.1:1701")
		var all sync.WaitGroup
		for i := range 5 {
			c := host(t, n, fmt.Sprintf("10.0.1.%d:0", i))
			all.Go(func() {
				for j := range 50 {
					c.WriteTo(fmt.Append(nil, j), server.LocalAddr())
					time.Sleep(time.Millisecond)
				}
			})
		}
		all.Wait()
		time.Sleep(time.Second)
	})
	return records
}

func TestTheSameSeedTheSameRun(t *testing.T) {
	first := story(t, 42)
	if len(first) < 150 {
		t.Fatalf("%d datagrams were delivered of about 240", len(first))
	}
	for range 20 {
		if again := story(t, 42); !reflect.DeepEqual(first, again) {
			t.Fatal("the same seed gave another run")
		}
	}
	if other := story(t, 43); reflect.DeepEqual(first, other) {
		t.Fatal("another seed gave the same run")
	}
}

// A setting that is changed for a while changes what happens meanwhile only.
func TestSettingsDoNotMoveTheStream(t *testing.T) {
	fates := func(pause bool) (lost []bool) {
		n := New(9)
		lossy := Link{Loss: .5, Duplicate: .5}
		n.SetDefault(lossy)
		n.SetTap(func(r Record) {
			switch r.Fate {
			case Sent:
				lost = append(lost, false)
			case Lost:
				lost[len(lost)-1] = true
			}
		})
		a, b := host(t, n, ":0"), host(t, n, ":0")
		for i := range 100 {
			if pause && i == 20 {
				n.SetDefault(Link{MTU: 20})
			}
			if i == 40 {
				n.SetDefault(lossy)
			}
			send(t, a, b, "x")
		}
		return lost
	}
	if a, b := fates(false), fates(true); !reflect.DeepEqual(a[40:], b[40:]) {
		t.Errorf("the fates after the change are\n%v, want\n%v", b[40:], a[40:])
	}
}

func TestMTU(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		fits int // bytes of payload in an IP packet of 1,500
	}{{"10.0.0.1:1", "10.0.0.2:1", 1472}, {"[fd00::1]:1", "[fd00::2]:1", 1452}} {
		n := New(1)
		n.SetDefault(Link{MTU: 1500})
		var fates []Fate
		n.SetTap(func(r Record) { fates = append(fates, r.Fate) })
		a, b := host(t, n, tc.a), host(t, n, tc.b)
		for _, size := range []int{tc.fits, tc.fits + 1} {
			if _, err := a.WriteTo(make([]byte, size), b.LocalAddr()); err != nil {
				t.Fatal(err)
			}
		}
		if want := []Fate{Sent, Delivered, Sent, TooBig}; !reflect.DeepEqual(fates, want) {
			t.Errorf("%s: %d and %d bytes: %v, want %v", tc.a, tc.fits, tc.fits+1, fates, want)
		}
	}
}

func TestTheQueueIsBounded(t *testing.T) {
	n := New(1)
	fates := make(map[Fate]int)
	n.SetTap(func(r Record) { fates[r.Fate]++ })
	a, b := host(t, n, ":0"), host(t, n, ":0")
	for range QueueMax + 10 {
		send(t, a, b, "x")
	}
	if fates[Delivered] != QueueMax || fates[Overflow] != 10 {
		t.Errorf("%v, want %d delivered and 10 overflown", fates, QueueMax)
	}
}

func TestNobodyListens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1)
		n.SetDefault(Link{Delay: time.Second})
		var fates []Fate
		n.SetTap(func(r Record) { fates = append(fates, r.Fate) })
		a, b := host(t, n, "10.0.0.1:1"), host(t, n, "10.0.0.2:1")
		send(t, a, b, "to nobody: the socket closes before it arrives")
		b.Close()
		time.Sleep(time.Second)
		synctest.Wait()
		// Whoever has the address when a datagram arrives gets it.
		send(t, a, b, "to the successor")
		successor := host(t, n, "10.0.0.2:1")
		wantRead(t, successor, a, "to the successor")
		wantNothing(t, successor)
		if want := []Fate{Sent, Unreachable, Sent, Delivered}; !reflect.DeepEqual(fates, want) {
			t.Errorf("%v, want %v", fates, want)
		}
	})
}

func TestDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1)
		a, b := host(t, n, ":0"), host(t, n, ":0")
		b.SetReadDeadline(time.Now().Add(time.Minute))
		start := time.Now()
		_, _, err := b.ReadFrom(nil)
		var timeout net.Error
		if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Errorf("read: %v, want a deadline exceeded that is a timeout", err)
		}
		if d := time.Since(start); d != time.Minute {
			t.Errorf("the read ended after %v, want 1m", d)
		}

		// A deadline that has passed wins over a datagram that waits.
		send(t, a, b, "x")
		if _, _, err := b.ReadFrom(nil); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("read: %v, want a deadline exceeded", err)
		}
		b.SetReadDeadline(time.Time{})
		wantRead(t, b, a, "x")

		// A reader that waits already takes part in what is set later: put
		// off first, then made to end.
		ended := make(chan error)
		b.SetReadDeadline(time.Now().Add(time.Second))
		go func() {
			_, _, err := b.ReadFrom(nil)
			ended <- err
		}()
		synctest.Wait()
		b.SetReadDeadline(time.Now().Add(time.Hour))
		time.Sleep(time.Minute)
		select {
		case err := <-ended:
			t.Fatalf("the read ended with %v when its deadline had been put off", err)
		default:
		}
		b.SetDeadline(time.Now())
		if err := <-ended; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("read: %v, want a deadline exceeded", err)
		}
		if _, err := b.WriteTo([]byte("x"), a.LocalAddr()); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("write: %v, want a deadline exceeded", err)
		}
		b.SetDeadline(time.Time{})
		send(t, b, a, "x")
	})
}

func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1)
		a, b := host(t, n, ":0"), host(t, n, ":0")
		ended := make(chan error)
		for range 2 {
			go func() {
				_, _, err := b.ReadFrom(nil)
				ended <- err
			}()
		}
		synctest.Wait()
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := <-ended; !errors.Is(err, net.ErrClosed) {
				t.Errorf("a read that waited: %v, want closed", err)
			}
		}
		_, _, read := b.ReadFrom(nil)
		_, write := b.WriteTo(nil, a.LocalAddr())
		for what, err := range map[string]error{"read": read, "write": write, "deadline": b.SetDeadline(time.Now()), "close": b.Close()} {
			if !errors.Is(err, net.ErrClosed) {
				t.Errorf("%s after Close: %v, want closed", what, err)
			}
		}
	})
}

func TestWrongAddresses(t *testing.T) {
	n := New(1)
	a := host(t, n, "10.0.0.1:1701")
	for _, tc := range []struct {
		address string
		want    error
	}{
		{"10.0.0.1:1701", syscall.EADDRINUSE},
		{"[::ffff:10.0.0.1]:1701", syscall.EADDRINUSE},
		{"0.0.0.0:1701", syscall.EADDRNOTAVAIL},
		{"example.net:1701", nil},
		{"10.0.0.1", nil},
	} {
		c, err := n.Listen(tc.address)
		if c != nil || err == nil || tc.want != nil && !errors.Is(err, tc.want) {
			t.Errorf("Listen(%q): %v %v, want %v", tc.address, c, err, tc.want)
		}
	}
	udp := func(s string) net.Addr { return net.UDPAddrFromAddrPort(netip.MustParseAddrPort(s)) }
	for _, tc := range []struct {
		to   net.Addr
		size int
		want error
	}{
		{udp("[fd00::1]:1701"), 1, syscall.ENETUNREACH},
		{udp("10.0.0.2:0"), 1, syscall.EINVAL},
		{&net.UDPAddr{Port: 1}, 1, syscall.EINVAL},
		{(*net.UDPAddr)(nil), 1, syscall.EINVAL},
		{nil, 1, syscall.EINVAL},
		{&net.TCPAddr{IP: net.IPv4(10, 0, 0, 2), Port: 1}, 1, syscall.EINVAL},
		{udp("10.0.0.2:1"), 65507, nil},
		{udp("10.0.0.2:1"), 65508, syscall.EMSGSIZE},
	} {
		if _, err := a.WriteTo(make([]byte, tc.size), tc.to); !errors.Is(err, tc.want) {
			t.Errorf("%d bytes to %v: %v, want %v", tc.size, tc.to, err, tc.want)
		}
	}
}

func TestPortsRunOut(t *testing.T) {
	n := New(1)
	for range 1 << 14 {
		host(t, n, "10.0.0.1:0")
	}
	if _, err := n.Listen("10.0.0.1:0"); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("when all ports are in use: %v, want %v", err, syscall.EADDRINUSE)
	}
}
