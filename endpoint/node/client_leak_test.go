package node

import (
	"runtime"
	"testing"
	"time"
	"weak"

	"github.com/l2tpnet/l2tpnet/netstack"
)

// settles waits until the garbage collector has left no more than most of a number of
// things.
func settles(t *testing.T, what string, most int, count func() int) {
	t.Helper()
	for deadline := time.Now().Add(clientPatience); ; time.Sleep(20 * time.Millisecond) {
		runtime.GC()
		n := count()
		if n <= most {
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("%d %s are left, want at most %d", n, what, most)
			return
		}
	}
}

func alive[T any](list []weak.Pointer[T]) func() int {
	return func() (n int) {
		for _, p := range list {
			if p.Value() != nil {
				n++
			}
		}
		return n
	}
}

// "a hundred connect/close cycles leave no goroutines and no stack objects": a hundred
// connections of one Client, whose stack stays, and a dozen Clients, whose stacks go.
func TestClientLeavesNothing(t *testing.T) {
	s := lns(t, "127.0.0.1:0")
	c := connected(t, &Client{Server: s.Addr().String(), User: "alice", Password: "s3cret", NoIPv6: true})
	run := c.running()
	before := runtime.NumGoroutine()
	var nics []weak.Pointer[netstack.NIC]
	var conns []weak.Pointer[clientConn]
	for range 100 {
		conn, err := run.dial(t.Context(), run.keeper.servers[0], s.Addr(), 0)
		if err != nil {
			t.Fatal(err)
		}
		nics = append(nics, weak.Make(conn.(*clientConn).inside.(pppInside).NIC))
		conns = append(conns, weak.Make(conn.(*clientConn)))
		conn.close()
	}
	settles(t, "NICs", 2, alive(nics)) // gVisor's last packet may know one
	settles(t, "connections", 2, alive(conns))
	settles(t, "goroutines more than before", 0, func() int { return runtime.NumGoroutine() - before })
	c.Close()

	var stacks []weak.Pointer[netstack.Stack]
	for range 12 {
		c := connected(t, &Client{Server: s.Addr().String(), User: "alice", Password: "s3cret", NoIPv6: true})
		stacks = append(stacks, weak.Make(c.running().stack))
		c.Close()
		c.mu.Lock()
		c.run = nil // t.Cleanup knows the Client
		c.mu.Unlock()
	}
	settles(t, "stacks", 2, alive(stacks))
}
