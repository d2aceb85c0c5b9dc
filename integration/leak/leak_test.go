// Package leak counts what connecting leaves behind. It is a package of its own, and so a process of its own, since it
// counts everything that there is in one.
package leak

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"runtime/pprof"
	"sync"
	"testing"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint"
	"github.com/l2tpnet/l2tpnet/endpoint/node"
)

// A thousand connects leave goroutines, descriptors, timers and stack objects where they were, at both ends. Timers and
// whatever belongs to a stack, a tunnel or a session are objects on the heap, which somebody refers to who has not let go.
func TestConnectsLeaveNothing(t *testing.T) {
	connects := 50
	if os.Getenv("L2TPNET_FULL") == "1" {
		connects = 1000
	}
	// What there is but once comes to be with the first ones; their server takes with it what it remembers of them.
	first := serve(t)
	for range 5 {
		connect(t, first)
	}
	first.Close()
	s := serve(t)
	fillRuntime()
	before := settle(t, s, nil, 0)
	for range connects {
		connect(t, s)
	}
	after := settle(t, s, &before, connects)
	t.Logf("before %d connects: %v; after: %v", connects, before, after)
	if extra := after.above(before, connects); extra != "" {
		var stacks bytes.Buffer
		pprof.Lookup("goroutine").WriteTo(&stacks, 1)
		t.Errorf("after %d connects: expected nothing left, found %s\n%s", connects, extra, stacks.String())
	}
}

// fillRuntime has many wait at once. What a goroutine waits with, Go keeps for the next one that waits, up to 128 of them
// for each processor, which would look like something that connects leave.
func fillRuntime() {
	never, release := make(chan struct{}), make(chan struct{})
	var all, waiting sync.WaitGroup
	for range 256 * runtime.GOMAXPROCS(0) {
		waiting.Add(1)
		all.Go(func() {
			waiting.Done()
			select {
			case <-never:
			case <-release:
			}
		})
	}
	waiting.Wait()
	close(release)
	all.Wait()
}

// serve is a server with an echo inside.
func serve(t *testing.T) *node.Server {
	t.Helper()
	s := &node.Server{
		Address: "127.0.0.1:0",
		Users:   map[string]node.User{"alice": {Password: "s3cret"}},
		Pool:    netip.MustParsePrefix("10.77.0.0/16"),
		Pool6:   netip.MustParsePrefix("2001:db8:77::/48"),
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	ln, err := s.Listen("tcp", ":7")
	if err != nil {
		t.Fatal(err)
	}
	go echo(ln)
	return s
}

// connect has a client come, use what it has, and go.
func connect(t *testing.T, s *node.Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c, err := node.Dial(ctx, &node.Client{Server: s.Addr().String(), User: "alice", Password: "s3cret"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ln, err := c.Listen("tcp", ":80")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	packets, err := c.ListenPacket("udp", ":53")
	if err != nil {
		t.Fatal(err)
	}
	defer packets.Close()
	for _, gateway := range s.Gateways() {
		conn, err := c.DialContext(node.WithWait(ctx), "tcp", net.JoinHostPort(gateway.String(), "7"))
		if err != nil {
			t.Fatalf("to %v: %v", gateway, err)
		}
		defer conn.Close() // some are closed before their tunnel, and one is open when it goes
		sent := []byte("is anybody there?")
		got := make([]byte, len(sent))
		if _, err := conn.Write(sent); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(conn, got); err != nil || !bytes.Equal(sent, got) {
			t.Fatalf("expected %q back, found %q, %v", sent, got, err)
		}
	}
}

func echo(ln net.Listener) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{c})
		}()
	}
}

// A census is what there is in this process.
type census struct {
	goroutines, descriptors, objects int
	tunnels                          int // of the server
}

func (c census) String() string {
	return fmt.Sprintf("%d goroutines, %d descriptors, %d objects on the heap, %d tunnels", c.goroutines, c.descriptors, c.objects, c.tunnels)
}

// above says what there is more of than before. Half an object a connect is nothing that somebody has forgotten: a stack has
// thousands, a tunnel hundreds, and a timer two, with what it calls. A few threads of Go's may be new, and the table of
// tunnels keeps its 256 rows, each from the first id on that is in it.
func (c census) above(before census, connects int) string {
	switch {
	case c.tunnels > before.tunnels:
	case c.goroutines > before.goroutines:
	case c.descriptors > before.descriptors:
	case c.objects > before.objects+100+min(connects, 256)+connects/2:
	default:
		return ""
	}
	return fmt.Sprintf("%v; before %v", c, before)
}

// settle counts until there is no more than there was before, or if that is nil, for a second. Who has heard
// StopCCN keeps the state for as long as it may be repeated (RFC 2661 §5.7), half a minute, and TCP has its own reasons.
func settle(t *testing.T, s *node.Server, before *census, connects int) (c census) {
	t.Helper()
	patience := 3 * time.Minute
	if before == nil {
		patience = time.Second
	}
	for end := time.Now().Add(patience); ; {
		c = count(t, s.Endpoint())
		if before != nil && c.above(*before, connects) == "" || time.Now().After(end) {
			return c
		}
		time.Sleep(250 * time.Millisecond)
	}
}

func count(t *testing.T, ep *endpoint.Endpoint) census {
	t.Helper()
	runtime.GC()
	runtime.GC() // the pools' victims
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return census{runtime.NumGoroutine(), len(open), int(m.HeapObjects), len(ep.Status().Tunnels)}
}
