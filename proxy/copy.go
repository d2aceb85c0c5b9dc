package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// idle is how long a direction may keep a borrowed buffer that it moves less
// than that buffer's size through.
const idle = time.Second

// Splice joins two connections, as the package's flows are joined: it copies both
// ways between them until both directions have ended, each by itself, or something
// has failed, ctx's end included. Both connections are closed then. moved is called
// with what target has taken (up) or client (down) since the last time, by two
// goroutines; nil: nobody. up and down are the sums of that. err is what cut the flow
// short; nil: both directions ended in order.
func Splice(ctx context.Context, client, target net.Conn, moved func(up, down int)) (up, down int64, err error) {
	return splice(ctx, client, target, nil, moved)
}

// splice copies both ways between client and target, first sending to target
// the bytes that the client has sent already, until both directions have ended
// or something has failed, ctx's end included; both connections are closed
// then. The rest is as for Splice.
func splice(ctx context.Context, client, target net.Conn, first []byte, moved func(up, down int)) (up, down int64, err error) {
	if moved == nil {
		moved = func(_, _ int) {}
	}
	var (
		mu    sync.Mutex
		ended int  // directions that have ended in order
		over  bool // err is final
	)
	stop := context.AfterFunc(ctx, func() {
		mu.Lock()
		defer mu.Unlock()
		if !over {
			over, err = true, context.Cause(ctx)
		}
		abort(client)
		abort(target)
	})
	defer stop()
	run := func(dst, src net.Conn, first []byte, moved func(n int)) {
		cause := copyStream(dst, src, first, moved)
		mu.Lock()
		if cause == nil {
			// Under the lock, so that nobody resets what has just ended.
			cause = closeWrite(dst)
		}
		if cause == nil {
			ended++
		} else if !over {
			over, err = true, cause
		}
		complete := ended == 1 // if this direction has failed: the other one
		mu.Unlock()
		switch {
		case cause == nil:
		case complete:
			// What src was sent is all on its way. A reset would destroy it.
			abort(dst)
			part(src)
		default:
			abort(dst)
			abort(src)
		}
	}
	var other sync.WaitGroup
	other.Go(func() {
		run(client, target, nil, func(n int) {
			down += int64(n)
			moved(0, n)
		})
	})
	run(target, client, first, func(n int) {
		up += int64(n)
		moved(n, 0)
	})
	other.Wait()
	mu.Lock()
	over = true // a late end of ctx changes nothing
	mu.Unlock()
	client.Close()
	target.Close()
	return up, down, err
}

// copyStream copies from src to dst until src ends in order. moved is called with the
// number of bytes that dst takes.
func copyStream(dst, src net.Conn, first []byte, moved func(n int)) error {
	if len(first) > 0 {
		n, err := dst.Write(first)
		moved(n)
		if err != nil {
			return err
		}
	}
	if err := move(dst, src, moved); !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return copyByBuffer(dst, src, moved)
}

// A mover is a connection that moves bytes between itself and a socket of the
// system's, with nothing in between: SendFrom reads from the socket until that ends,
// ReceiveTo writes to it until the connection has ended. Both may fail with
// errors.ErrUnsupported when nothing has been moved. Package netstack's are such.
type mover interface {
	SendFrom(s syscall.RawConn, moved func(n int)) error
	ReceiveTo(s syscall.RawConn, moved func(n int)) error
}

// move copies as copyStream does if one of the two is a mover, and the other a socket.
func move(dst, src net.Conn, moved func(n int)) error {
	if m, ok := dst.(mover); ok {
		if s := socketOf(src); s != nil {
			return m.SendFrom(s, moved)
		}
	}
	if m, ok := src.(mover); ok {
		if s := socketOf(dst); s != nil {
			return m.ReceiveTo(s, moved)
		}
	}
	return errors.ErrUnsupported
}

// socketOf is the socket of a connection of package net's; nil: it has none. Types
// that embed such a connection may do something of their own when they are read.
func socketOf(c net.Conn) syscall.RawConn {
	var s syscall.RawConn
	switch c := c.(type) {
	case *net.TCPConn:
		s, _ = c.SyscallConn()
	case *net.UnixConn:
		s, _ = c.SyscallConn()
	}
	return s
}

// copyByBuffer is copyStream between any two.
func copyByBuffer(dst, src net.Conn, moved func(n int)) error {
	b := newBuffer()
	defer b.release()
	// While a borrowed buffer is held, reads have a deadline, so that one that
	// waits for long gives it back. It is set once in a while, not for each
	// read.
	var recent int // bytes since the deadline was set
	for {
		k, err := src.Read(b.bytes)
		if k > 0 {
			w, err := dst.Write(b.bytes[:k])
			moved(w)
			if err != nil {
				return err
			}
			recent += k
		}
		switch {
		case err == io.EOF:
			return nil
		case b.borrowed() && errors.Is(err, os.ErrDeadlineExceeded):
			if recent < len(b.bytes) {
				b.release()
			}
		case err != nil:
			return err
		default:
			held := b.borrowed()
			if b.read(k); b.borrowed() == held {
				continue
			}
		}
		recent = 0
		var deadline time.Time
		if b.borrowed() {
			deadline = time.Now().Add(idle)
		}
		if err := src.SetReadDeadline(deadline); err != nil {
			return err
		}
	}
}

// closeWrite tells the far end of c that no more bytes come. A connection that
// cannot be half closed is closed: better than one that never ends.
func closeWrite(c net.Conn) error {
	if h, ok := c.(interface{ CloseWrite() error }); ok {
		return h.CloseWrite()
	}
	return c.Close()
}

// abort closes c in a way that its far end can tell from an end in order.
func abort(c net.Conn) {
	if l, ok := c.(interface{ SetLinger(seconds int) error }); ok {
		l.SetLinger(0)
	}
	c.Close()
}

const (
	// partTime and partBytes bound how long one is listened to who has been
	// told everything. RFC 1928 §6, of a refused request: the connection ends
	// "no more than 10 seconds after detecting the condition that caused a
	// failure".
	partTime  = 2 * time.Second
	partBytes = 64 << 10
)

// part closes c after our last word. To close a connection while bytes wait to
// be read resets it, and the far end might never see that word.
func part(c net.Conn) {
	closeWrite(c)
	c.SetReadDeadline(time.Now().Add(partTime))
	io.CopyN(io.Discard, c, partBytes)
	c.Close()
}
