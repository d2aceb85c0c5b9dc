package netstack

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/link"
	"golang.org/x/net/nettest"
	"gvisor.dev/gvisor/pkg/tcpip"
)

// connect makes a TCP connection from p.a to p.b.
func (p *pair) connect(t testing.TB) (client, server net.Conn) {
	ln, err := p.b.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client, err = p.a.DialContext(patience(t), "tcp", at(addrB, ln.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	if server, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		client.Close()
		server.Close()
	})
	return client, server
}

// at is "host:port" with the port of a listener's address.
func at(host netip.Addr, ln net.Addr) string {
	ap := netip.MustParseAddrPort(ln.String())
	return netip.AddrPortFrom(host, ap.Port()).String()
}

// x/net's tests of what package net documents of a net.Conn: concurrent use,
// deadlines past, present and future, Close while a call is blocked.
func TestTCPIsANetConn(t *testing.T) {
	nettest.TestConn(t, func() (net.Conn, net.Conn, func(), error) {
		p := newPair(t, nil, nil)
		c1, c2 := p.connect(t)
		return c1, c2, func() { c1.Close(); c2.Close() }, nil
	})
}

func TestTCPAddresses(t *testing.T) {
	p := newPair(t, nil, nil)
	client, server := p.connect(t)
	if client.LocalAddr().String() != server.RemoteAddr().String() || client.RemoteAddr().String() != server.LocalAddr().String() {
		t.Errorf("the client is %v to %v, the server %v to %v",
			client.LocalAddr(), client.RemoteAddr(), server.LocalAddr(), server.RemoteAddr())
	}
	if !strings.HasPrefix(client.LocalAddr().String(), "10.0.0.1:") || !strings.HasPrefix(client.RemoteAddr().String(), "10.0.0.2:") {
		t.Errorf("the client is %v to %v", client.LocalAddr(), client.RemoteAddr())
	}
	client.Close()
	if client.RemoteAddr() == nil || client.RemoteAddr().String() != server.LocalAddr().String() {
		t.Error("a conn has forgotten its address when it was closed")
	}
}

// A side that has finished sending goes on receiving (RFC 9293 §3.6: "a
// connection [is] half-closed"): 8 MiB up, FIN, then 1 MiB down, over a link that
// loses, doubles and reorders, and spoils every buffer that it was lent.
func TestHalfClose(t *testing.T) {
	for _, row := range []struct {
		name string
		like *wire
		up   int
		down int
	}{
		{"over a clean link", &wire{}, 8 << 20, 1 << 20},
		{"over a bad link", &wire{lose: 0.01, double: 0.02, exchange: 0.02}, 1 << 20, 256 << 10},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := newPair(t, row.like, nil)
			client, server := p.connect(t)
			var wg sync.WaitGroup
			wg.Go(func() {
				// The server reads to the end, and only then answers.
				if err := sameStream(server, row.up); err != nil {
					t.Errorf("upwards: %v", err)
				}
				if _, err := io.Copy(server, &pattern{size: row.down}); err != nil {
					t.Errorf("downwards: %v", err)
				}
				server.Close()
			})
			if _, err := io.Copy(client, &pattern{size: row.up}); err != nil {
				t.Fatalf("upwards: %v", err)
			}
			if err := client.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if err := sameStream(client, row.down); err != nil {
				t.Errorf("downwards: %v", err)
			}
			if _, err := client.Write([]byte("more")); !errors.Is(err, syscall.EPIPE) {
				t.Errorf("writing after CloseWrite: %v, want EPIPE", err)
			}
			wg.Wait()
			p.ab.mu.Lock()
			defer p.ab.mu.Unlock()
			if p.ab.largest < 2 || p.ab.largest > link.BatchMax {
				t.Errorf("the largest batch had %d frames", p.ab.largest)
			}
		})
	}
}

// sameStream reads r to its end and compares it with the pattern of size bytes.
func sameStream(r io.Reader, size int) error {
	got, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	want, _ := io.ReadAll(&pattern{size: size})
	if !bytes.Equal(got, want) {
		return errors.New("not the bytes that were sent")
	}
	return nil
}

func TestCloseRead(t *testing.T) {
	p := newPair(t, nil, nil)
	client, server := p.connect(t)
	var wg sync.WaitGroup
	wg.Go(func() {
		if n, err := client.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("a read that CloseRead ended gives %d, %v, want EOF", n, err)
		}
	})
	if err := client.(interface{ CloseRead() error }).CloseRead(); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	if _, err := client.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(server, make([]byte, 1)); err != nil {
		t.Error(err)
	}
}

func TestRefused(t *testing.T) {
	p := newPair(t, nil, nil)
	_, err := p.a.DialContext(patience(t), "tcp", "10.0.0.2:81")
	want(t, "a dial to a port that nobody listens at", err, syscall.ECONNREFUSED)
	if got := err.Error(); got != "dial tcp 10.0.0.2:81: connect: connection refused" {
		t.Errorf("the error reads %q", got)
	}
}

// want fails the test unless err is a *net.OpError and target.
func want(t *testing.T, what string, err, target error) {
	t.Helper()
	var op *net.OpError
	if !errors.Is(err, target) || !errors.As(err, &op) {
		t.Errorf("%s: %v (%T), want a *net.OpError of %v", what, err, err, target)
	}
}

// A peer that resets a connection has cut the stream short: that must never
// look like its end, on either side, however often one asks.
func TestResetIsNotEOF(t *testing.T) {
	p := newPair(t, nil, nil)
	client, server := p.connect(t)
	var wg sync.WaitGroup
	wg.Go(func() {
		_, err := client.Read(make([]byte, 1))
		want(t, "the read that was blocked", err, syscall.ECONNRESET)
	})
	server.(interface{ SetLinger(int) error }).SetLinger(0)
	server.Close()
	wg.Wait()
	for range 3 {
		_, err := client.Write([]byte("x"))
		want(t, "a write", err, syscall.ECONNRESET)
		_, err = client.Read(make([]byte, 1))
		want(t, "a read", err, syscall.ECONNRESET)
	}
}

func TestResetSeenByTheWriterFirst(t *testing.T) {
	p := newPair(t, nil, nil)
	client, server := p.connect(t)
	server.(interface{ SetLinger(int) error }).SetLinger(0)
	server.Close()
	for {
		if _, err := client.Write([]byte("x")); err != nil {
			want(t, "the write that met the reset", err, syscall.ECONNRESET)
			break
		}
	}
	_, err := client.Read(make([]byte, 1))
	want(t, "the read after it", err, syscall.ECONNRESET)
}

// gVisor tells once what broke a connection. If a call on the other side has
// been told and has not returned yet, this side still does not see an end.
func TestBreakThatSomebodyElseWasTold(t *testing.T) {
	p := newPair(t, nil, nil)
	client, server := p.connect(t)
	server.(interface{ SetLinger(int) error }).SetLinger(0)
	server.Close()
	for client.(*tcpConn).ep.LastError() == nil {
		runtime.Gosched()
	}
	_, err := client.Read(make([]byte, 1))
	want(t, "a read", err, syscall.ECONNRESET)
}

// A peer that is gone is an error on both sides, the same one for ever.
func TestTimedOut(t *testing.T) {
	p := newPair(t, nil, nil)
	client, _ := p.connect(t)
	timeout := tcpip.TCPUserTimeoutOption(time.Millisecond)
	client.(*tcpConn).ep.SetSockOpt(&timeout)
	p.ab.setTamper(func([]byte) []byte { return nil })
	var err error
	for err == nil {
		_, err = client.Write(make([]byte, 1<<20))
	}
	want(t, "the write that waited", err, syscall.ETIMEDOUT)
	for range 2 {
		_, err = client.Read(make([]byte, 1))
		want(t, "a read", err, syscall.ETIMEDOUT)
		_, err = client.Write([]byte("x"))
		want(t, "a write", err, syscall.ETIMEDOUT)
	}
}

// What arrived before a reset can still be read.
func TestReadBeforeReset(t *testing.T) {
	p := newPair(t, nil, nil)
	client, server := p.connect(t)
	if _, err := server.Write([]byte("last words")); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 4)
	if _, err := io.ReadFull(client, b); err != nil {
		t.Fatal(err)
	}
	server.(interface{ SetLinger(int) error }).SetLinger(0)
	server.Close()
	rest, err := io.ReadAll(client)
	want(t, "the end", err, syscall.ECONNRESET)
	if string(b)+string(rest) != "last words" {
		t.Errorf("read %q", string(b)+string(rest))
	}
}

func TestDeadlines(t *testing.T) {
	p := newPair(t, nil, nil)
	client, _ := p.connect(t)
	ln, err := p.b.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	pc, err := p.a.ListenPacket("udp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	soon := time.Now().Add(time.Millisecond)
	client.SetDeadline(soon)
	pc.SetDeadline(soon)
	ln.(interface{ SetDeadline(time.Time) error }).SetDeadline(soon)
	timedOut := func(what string, err error) {
		t.Helper()
		want(t, what, err, os.ErrDeadlineExceeded)
		var ne net.Error
		if !errors.As(err, &ne) || !ne.Timeout() {
			t.Errorf("%s: %v is no timeout", what, err)
		}
	}
	_, err = client.Read(make([]byte, 1))
	timedOut("Read", err)
	for err = nil; err == nil; { // the peer does not read
		_, err = client.Write(make([]byte, 1<<20))
	}
	timedOut("Write", err)
	_, _, err = pc.ReadFrom(make([]byte, 1))
	timedOut("ReadFrom", err)
	_, err = pc.WriteTo([]byte("x"), &net.UDPAddr{IP: addrB.AsSlice(), Port: 9})
	timedOut("WriteTo", err)
	_, err = ln.Accept()
	timedOut("Accept", err)

	ctx, cancel := context.WithDeadline(context.Background(), soon)
	defer cancel()
	p.ab.setTamper(func([]byte) []byte { return nil })
	_, err = p.a.DialContext(ctx, "tcp", "10.0.0.2:80")
	timedOut("DialContext", err)
	want(t, "DialContext", err, context.DeadlineExceeded)

	// A deadline can be taken back.
	p.ab.setTamper(nil)
	ln.(interface{ SetDeadline(time.Time) error }).SetDeadline(time.Time{})
	c, err := p.a.DialContext(patience(t), "tcp", at(addrB, ln.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
}

// A dial whose context is done leaves nothing behind (gonet's does).
func TestDialWithAContextThatIsDone(t *testing.T) {
	p := newPair(t, nil, nil)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := p.a.DialContext(ctx, "tcp", "10.0.0.2:80")
	want(t, "a dial that was cancelled before", err, context.Canceled)

	p.ab.setTamper(func([]byte) []byte { return nil })
	ctx, cancel = context.WithCancel(context.Background())
	time.AfterFunc(time.Millisecond, cancel)
	_, err = p.a.DialContext(ctx, "tcp", "10.0.0.2:80")
	want(t, "a dial that was cancelled meanwhile", err, context.Canceled)
	if left := p.a.gv.RegisteredEndpoints(); len(left) != 0 {
		t.Errorf("%d endpoints are left", len(left))
	}
}

func TestClosed(t *testing.T) {
	p := newPair(t, nil, nil)
	client, _ := p.connect(t)
	ln, err := p.b.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	pc, err := p.a.ListenPacket("udp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		_, err := client.Read(make([]byte, 1))
		want(t, "a blocked Read", err, net.ErrClosed)
	})
	wg.Go(func() {
		var err error
		for err == nil {
			_, err = client.Write(make([]byte, 1<<20))
		}
		want(t, "a blocked Write", err, net.ErrClosed)
	})
	wg.Go(func() {
		_, err := ln.Accept()
		want(t, "a blocked Accept", err, net.ErrClosed)
	})
	wg.Go(func() {
		_, _, err := pc.ReadFrom(make([]byte, 1))
		want(t, "a blocked ReadFrom", err, net.ErrClosed)
	})
	for _, c := range []io.Closer{client, ln, pc} {
		if err := c.Close(); err != nil {
			t.Errorf("Close of %T: %v", c, err)
		}
		want(t, "a second Close", c.Close(), net.ErrClosed)
	}
	wg.Wait()
	_, err = client.Read(make([]byte, 1))
	want(t, "Read", err, net.ErrClosed)
	_, err = client.Write([]byte("x"))
	want(t, "Write", err, net.ErrClosed)
	want(t, "SetDeadline", client.SetDeadline(time.Now()), net.ErrClosed)
	want(t, "CloseWrite", client.(interface{ CloseWrite() error }).CloseWrite(), net.ErrClosed)
	_, err = ln.Accept()
	want(t, "Accept", err, net.ErrClosed)
	_, err = pc.WriteTo([]byte("x"), &net.UDPAddr{IP: addrB.AsSlice(), Port: 9})
	want(t, "WriteTo", err, net.ErrClosed)
}

// Close sends what has been written, in the background.
func TestCloseSendsWhatWasWritten(t *testing.T) {
	p := newPair(t, nil, nil)
	client, server := p.connect(t)
	if _, err := io.Copy(client, &pattern{size: 100_000}); err != nil {
		t.Fatal(err)
	}
	client.Close()
	if err := sameStream(server, 100_000); err != nil {
		t.Error(err)
	}
}

func TestListenAddresses(t *testing.T) {
	p := newPair(t, nil, nil)
	ln, err := p.a.Listen("tcp", "10.0.0.1:80")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if ln.Addr().String() != "10.0.0.1:80" {
		t.Errorf("it listens at %v", ln.Addr())
	}
	for _, row := range []struct {
		network, address string
		want             error  // or nil, and then
		text             string // part of the error's
	}{
		{"tcp", "10.0.0.1:80", syscall.EADDRINUSE, ""},
		{"tcp", "10.0.0.7:80", syscall.EADDRNOTAVAIL, ""},
		{"udp", "10.0.0.7:53", nil, "unknown network udp"},
		{"tcp5", ":80", nil, "unknown network tcp5"},
		{"tcp", "[::1]:80", syscall.EADDRNOTAVAIL, ""},
		{"tcp4", "[::1]:80", nil, "not an IPv4 address"},
		{"tcp6", "10.0.0.1:81", nil, "not an IPv6 address"},
		{"tcp", "localhost:80", nil, "not an IP address"},
		{"tcp", ":http", nil, "not a number"},
		{"tcp", ":65536", nil, "not a number"},
		{"tcp", "80", nil, "missing port"},
	} {
		_, err := p.a.Listen(row.network, row.address)
		if row.want != nil {
			want(t, "Listen "+row.address, err, row.want)
		} else if err == nil || !strings.Contains(err.Error(), row.text) {
			t.Errorf("Listen(%q, %q): %v, want %q", row.network, row.address, err, row.text)
		}
	}
	if _, err := p.a.ListenPacket("tcp", ":53"); err == nil {
		t.Error("ListenPacket takes tcp")
	}
	_, err = p.a.ListenPacket("udp", "10.0.0.7:53")
	want(t, "ListenPacket at a foreign address", err, syscall.EADDRNOTAVAIL)
}

func TestDialRefusesAtOnce(t *testing.T) {
	p := newPair(t, nil, nil)
	empty := newStack(t, nil)
	for _, row := range []struct {
		what, network, address string
		stack                  *Stack
		want                   error
		text                   string
	}{
		{"without an interface", "tcp", "10.0.0.2:80", empty, syscall.ENETUNREACH, ""},
		{"without an interface", "udp", "10.0.0.2:80", empty, syscall.ENETUNREACH, ""},
		{"of IPv6", "tcp", "[2001:db8::1]:80", p.a, syscall.ENETUNREACH, "no IPv6 inside"},
		{"of the host's loopback", "tcp", "127.0.0.1:80", p.a, syscall.ENETUNREACH, ""},
		{"of the host's loopback", "udp", "127.0.0.1:80", p.a, syscall.ENETUNREACH, ""},
		{"of no host", "tcp", "0.0.0.0:80", p.a, syscall.ENETUNREACH, ""},
		{"of tcp5", "tcp5", "10.0.0.2:80", p.a, nil, "unknown network"},
		{"of IPv4 as IPv6", "tcp6", "10.0.0.2:80", p.a, nil, "not an IPv6 address"},
		{"of IPv6 as IPv4", "tcp4", "[2001:db8::1]:80", p.a, nil, "not an IPv4 address"},
		{"of a link-local address", "tcp", "[fe80::1]:80", p.a, syscall.ENETUNREACH, "no IPv6 inside"},
		{"of a service", "tcp", "10.0.0.2:http", p.a, nil, "not a number"},
		{"without a port", "tcp", "10.0.0.2", p.a, nil, "missing port"},
	} {
		_, err := row.stack.Dial(row.network, row.address)
		if row.want != nil {
			want(t, "a dial "+row.what, err, row.want)
		}
		if err == nil || !strings.Contains(err.Error(), row.text) {
			t.Errorf("a dial %s: %v, want %q", row.what, err, row.text)
		}
	}
	if out := p.nicA.Counters().PacketsOut; out != 0 {
		t.Errorf("%d packets went out", out)
	}
}

func TestDialOneself(t *testing.T) {
	p := newPair(t, nil, nil)
	ln, err := p.a.Listen("tcp", ":80")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c, err := p.a.DialContext(patience(t), "tcp", "10.0.0.1:80")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if out := p.nicA.Counters().PacketsOut; out != 0 {
		t.Errorf("%d packets went out", out)
	}
}
