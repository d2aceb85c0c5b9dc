package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// idle is how long a direction may keep a borrowed buffer that it moves less
// than that buffer's size through.
const idle = time.Second

// Splice joins two connections, as the package's flows are joined: it copies both
// ways between them until both directions have ended, each by itself, or something
// has failed, ctx's end included. Both connections are closed then. up is the
// number of bytes that target took, down those that client took. err is what cut
// the flow short; nil: both directions ended in order.
func Splice(ctx context.Context, client, target net.Conn) (up, down int64, err error) {
	return splice(ctx, client, target, nil)
}

// splice copies both ways between client and target, first sending to target
// the bytes that the client has sent already, until both directions have ended
// or something has failed, ctx's end included; both connections are closed
// then. up is the number of bytes that target took, down those that client
// took. err is what cut the flow short; nil: both directions ended in order.
func splice(ctx context.Context, client, target net.Conn, first []byte) (up, down int64, err error) {
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
	run := func(n *int64, dst, src net.Conn, first []byte) {
		k, cause := copyStream(dst, src, first)
		mu.Lock()
		*n = k
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
	other.Go(func() { run(&down, client, target, nil) })
	run(&up, target, client, first)
	other.Wait()
	mu.Lock()
	over = true // a late end of ctx changes nothing
	mu.Unlock()
	client.Close()
	target.Close()
	return up, down, err
}

// copyStream copies from src to dst until src ends in order. It returns how
// many bytes dst took.
func copyStream(dst, src net.Conn, first []byte) (n int64, err error) {
	if len(first) > 0 {
		k, err := dst.Write(first)
		n += int64(k)
		if err != nil {
			return n, err
		}
	}
	b := newBuffer()
	defer b.release()
	// While a borrowed buffer is held, reads have a deadline, so that one that
	// waits for long gives it back. It is set once in a while, not for each
	// read.
	var moved int // bytes since the deadline was set
	for {
		k, err := src.Read(b.bytes)
		if k > 0 {
			w, err := dst.Write(b.bytes[:k])
			n += int64(w)
			if err != nil {
				return n, err
			}
			moved += k
		}
		switch {
		case err == io.EOF:
			return n, nil
		case b.borrowed() && errors.Is(err, os.ErrDeadlineExceeded):
			if moved < len(b.bytes) {
				b.release()
			}
		case err != nil:
			return n, err
		default:
			held := b.borrowed()
			if b.read(k); b.borrowed() == held {
				continue
			}
		}
		moved = 0
		var deadline time.Time
		if b.borrowed() {
			deadline = time.Now().Add(idle)
		}
		if err := src.SetReadDeadline(deadline); err != nil {
			return n, err
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
