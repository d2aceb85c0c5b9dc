package netstack

import (
	"errors"
	"io"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// A direct is a connection of a stack's beside a socket of the system's.
type direct struct {
	conn   *tcpConn
	peer   net.Conn // at the other end of conn
	socket *net.TCPConn
	raw    syscall.RawConn
	host   *net.TCPConn // at the other end of socket
}

func newDirect(t *testing.T, like *wire) *direct {
	t.Helper()
	if !canMove {
		t.Skip("the system cannot do it")
	}
	d := &direct{}
	var conn net.Conn
	conn, d.peer = newPair(t, like, nil).connect(t)
	d.conn = conn.(*tcpConn)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	host, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	socket, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	d.host, d.socket = host.(*net.TCPConn), socket.(*net.TCPConn)
	t.Cleanup(func() {
		d.host.Close()
		d.socket.Close()
	})
	if d.raw, err = d.socket.SyscallConn(); err != nil {
		t.Fatal(err)
	}
	return d
}

// What moves without a buffer between is what was sent, however little the other side
// takes at a time, and an end is passed on as nil.
func TestDirectlyThereAndBack(t *testing.T) {
	for _, row := range []struct {
		name string
		like *wire
		size int
	}{
		{"over a clean link", &wire{}, 8 << 20},
		{"over a bad link", &wire{lose: 0.01, double: 0.02, exchange: 0.02}, 512 << 10},
	} {
		t.Run("from a socket "+row.name, func(t *testing.T) {
			d := newDirect(t, row.like)
			var moved atomic.Int64
			ended := make(chan error, 1)
			go func() {
				err := d.conn.SendFrom(d.raw, func(n int) { moved.Add(int64(n)) })
				d.conn.CloseWrite()
				ended <- err
			}()
			go func() {
				// Small pieces, and then as much as there is room for.
				p := &pattern{size: row.size}
				for range 100 {
					io.CopyN(d.host, p, 777)
				}
				io.Copy(d.host, p)
				d.host.CloseWrite()
			}()
			if err := sameStream(d.peer, row.size); err != nil {
				t.Error(err)
			}
			if err := <-ended; err != nil || moved.Load() != int64(row.size) {
				t.Errorf("%d bytes moved, %v; want %d and no error", moved.Load(), err, row.size)
			}
		})
		t.Run("to a socket "+row.name, func(t *testing.T) {
			d := newDirect(t, row.like)
			// There is room for a part of what waits only.
			d.socket.SetWriteBuffer(16 << 10)
			var moved atomic.Int64
			ended := make(chan error, 1)
			go func() {
				err := d.conn.ReceiveTo(d.raw, func(n int) { moved.Add(int64(n)) })
				d.socket.CloseWrite()
				ended <- err
			}()
			go func() {
				p := &pattern{size: row.size}
				for range 100 {
					io.CopyN(d.peer, p, 777)
				}
				io.Copy(d.peer, p)
				d.peer.(*tcpConn).CloseWrite()
			}()
			if err := sameStream(d.host, row.size); err != nil {
				t.Error(err)
			}
			if err := <-ended; err != nil || moved.Load() != int64(row.size) {
				t.Errorf("%d bytes moved, %v; want %d and no error", moved.Load(), err, row.size)
			}
		})
	}
}

// waitsIn returns when a goroutine waits, with these functions on its stack.
func waitsIn(t *testing.T, functions ...string) {
	t.Helper()
	stacks := make([]byte, 1<<20)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		all := string(stacks[:runtime.Stack(stacks, true)])
		for one := range strings.SplitSeq(all, "\n\n") {
			if !slices.ContainsFunc(functions, func(f string) bool { return !strings.Contains(one, f) }) {
				return
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("nobody waits in %v; there are\n%s", functions, all)
		}
	}
}

// Whatever ends a connection or a socket in another way ends what moves.
func TestDirectlyUntilSomethingFails(t *testing.T) {
	send := func(d *direct) error { return d.conn.SendFrom(d.raw, nil) }
	receive := func(d *direct) error { return d.conn.ReceiveTo(d.raw, nil) }
	const sends, receives = "netstack.(*tcpConn).SendFrom(", "netstack.(*tcpConn).ReceiveTo("
	const forBytes, forRoom, forStack = "poll.(*pollDesc).waitRead(", "poll.(*pollDesc).waitWrite(", "netstack.(*socket).wait("
	// While it waits for bytes that nobody sends.
	for _, row := range []struct {
		name        string
		move        func(*direct) error
		mover, wait string
		fail        func(*direct)
		want        error
	}{
		{"the socket is reset", send, sends, forBytes, func(d *direct) { d.host.SetLinger(0); d.host.Close() }, syscall.ECONNRESET},
		{"the socket is closed", send, sends, forBytes, func(d *direct) { d.socket.Close() }, net.ErrClosed},
		{"the connection is reset", receive, receives, forStack, func(d *direct) { d.peer.(*tcpConn).SetLinger(0); d.peer.Close() }, syscall.ECONNRESET},
		{"the connection is closed", receive, receives, forStack, func(d *direct) { d.conn.Close() }, net.ErrClosed},
	} {
		t.Run(row.name, func(t *testing.T) {
			d := newDirect(t, &wire{})
			ended := make(chan error, 1)
			go func() { ended <- row.move(d) }()
			waitsIn(t, row.mover, row.wait)
			row.fail(d)
			if err := <-ended; !errors.Is(err, row.want) {
				t.Errorf("it ended with %v, want %v", err, row.want)
			}
		})
	}
	// While it waits for room that nobody makes.
	for _, row := range []struct {
		name        string
		move        func(*direct) error
		from        func(*direct) net.Conn // who sends
		mover, wait string
		fail        func(*direct)
		want        error
	}{
		{"the connection is closed, and full", send, func(d *direct) net.Conn { return d.host }, sends, forStack, func(d *direct) { d.conn.Close() }, net.ErrClosed},
		{"the socket is closed, and full", receive, func(d *direct) net.Conn { return d.peer }, receives, forRoom, func(d *direct) { d.socket.Close() }, net.ErrClosed},
	} {
		t.Run(row.name, func(t *testing.T) {
			d := newDirect(t, &wire{})
			ended, sent := make(chan error, 1), make(chan struct{})
			go func() { ended <- row.move(d) }()
			go func() {
				defer close(sent)
				io.Copy(row.from(d), &pattern{size: 64 << 20}) // more than all have room for
			}()
			waitsIn(t, row.mover, row.wait)
			row.fail(d)
			if err := <-ended; !errors.Is(err, row.want) {
				t.Errorf("it ended with %v, want %v", err, row.want)
			}
			for _, c := range []net.Conn{d.host, d.socket, d.peer, d.conn} {
				c.Close()
			}
			<-sent
		})
	}
}

// A socket that does not take any more is told of as it is.
func TestDirectlyToNobody(t *testing.T) {
	d := newDirect(t, &wire{})
	d.host.SetLinger(0)
	d.host.Close()
	go io.Copy(d.peer, &pattern{size: 1 << 20})
	if err := d.conn.ReceiveTo(d.raw, nil); !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
		t.Errorf("it ended with %v, want ECONNRESET or EPIPE", err)
	}
	d.peer.Close()
}
