package proxy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if os.Getenv(farVariable) != "" {
		farEnd()
		return
	}
	goleak.VerifyTestMain(m)
}

// A tunnel is a dialer for tests: it records what it was asked for, and dials a
// server of the test instead.
type tunnel struct {
	dial func(ctx context.Context) (net.Conn, error)

	mu    sync.Mutex
	asked []string
}

func (d *tunnel) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	d.mu.Lock()
	d.asked = append(d.asked, network+" "+address)
	d.mu.Unlock()
	return d.dial(ctx)
}

// wantAsked says what the dialer was asked for.
func (d *tunnel) wantAsked(t *testing.T, want ...string) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if strings.Join(d.asked, "\n") != strings.Join(want, "\n") {
		t.Errorf("the dialer was asked for %q, want %q", d.asked, want)
	}
}

// to is a tunnel that leads every connection to a real address.
func to(address string) *tunnel {
	return &tunnel{dial: func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", address)
	}}
}

// failing is a tunnel in which every connection fails.
func failing(err error) *tunnel {
	return &tunnel{dial: func(context.Context) (net.Conn, error) { return nil, err }}
}

// listen is a real listener on a free loopback port, closed with the test.
func listen(t testing.TB) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln
}

// accepting is the address of a server that hands each connection to f.
func accepting(t testing.TB, f func(*net.TCPConn)) string {
	t.Helper()
	ln := listen(t)
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer c.Close()
				f(c.(*net.TCPConn))
			})
		}
	})
	t.Cleanup(func() { ln.Close(); all.Wait() })
	return ln.Addr().String()
}

// echo sends back what it gets.
func echo(c *net.TCPConn) {
	io.Copy(c, c)
	c.CloseWrite()
}

// A serving is anything with Serve.
type serving interface {
	Serve(ctx context.Context, ln net.Listener) error
}

// start serves on a real listener, whose address it returns, until the test
// ends or stop is called; Serve must return nil then.
func start(t testing.TB, s serving) (address string, stop func()) {
	t.Helper()
	ln := listen(t)
	return ln.Addr().String(), startOn(t, s, ln)
}

func startOn(t testing.TB, s serving, ln net.Listener) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, ln) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Serve returned %v, want nil", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// dial is a real connection to address, closed with the test.
func dial(t testing.TB, address string) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.(*net.TCPConn)
}

func write(t testing.TB, c io.Writer, b string) {
	t.Helper()
	if _, err := io.WriteString(c, b); err != nil {
		t.Fatal(err)
	}
}

// wantBytes reads exactly what is wanted.
func wantBytes(t testing.TB, c io.Reader, want string) {
	t.Helper()
	b := make([]byte, len(want))
	n, err := io.ReadFull(c, b)
	if err != nil || string(b) != want {
		t.Fatalf("read %q, %v; want %q", b[:n], err, want)
	}
}

// wantEnd reads to the end, which must be one in order, and compares.
func wantEnd(t testing.TB, c io.Reader, want string) {
	t.Helper()
	b, err := io.ReadAll(c)
	if err != nil || string(b) != want {
		t.Fatalf("read %d bytes, %.100q, %v; want %d, %.100q, and an end in order", len(b), b, err, len(want), want)
	}
}

// noise is n bytes that depend on the seed and do not repeat.
func noise(seed byte, n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

// pipes is a listener in memory, for virtual time: net.Pipe blocks durably.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipes() *pipes {
	return &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1080} }

// dial connects from an address that the listener's side sees.
func (p *pipes) dial(from string) net.Conn {
	client, server := net.Pipe()
	p.conns <- addressed{server, net.TCPAddrFromAddrPort(netip.MustParseAddrPort(from))}
	return client
}

type addressed struct {
	net.Conn
	remote net.Addr
}

func (a addressed) RemoteAddr() net.Addr { return a.remote }

// wantOpen says that c is open, and wantClosed that it is closed, which takes
// no time in a bubble where everybody else waits.
func wantOpen(t *testing.T, c net.Conn) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(time.Nanosecond))
	if _, err := c.Read(make([]byte, 1)); err == nil || !isTimeout(err) {
		t.Errorf("a read ended with %v, want an open connection", err)
	}
	c.SetReadDeadline(time.Time{})
}

func wantClosed(t *testing.T, c net.Conn) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(time.Nanosecond))
	if n, err := c.Read(make([]byte, 1)); n > 0 || isTimeout(err) {
		t.Errorf("a read ended with %d bytes, %v; want a closed connection", n, err)
	}
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// logs is a logger and what it wrote.
func logs(level slog.Level) (*slog.Logger, func() string) {
	var mu sync.Mutex
	var b bytes.Buffer
	w := writerFunc(func(p []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return b.Write(p)
	})
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level})), func() string {
		mu.Lock()
		defer mu.Unlock()
		return b.String()
	}
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
