package netstack

import (
	"errors"
	"io"
	"os"
	"sync"
	"syscall"

	"gvisor.dev/gvisor/pkg/tcpip"
)

// A TCP connection moves bytes between itself and a socket of the system's without
// a buffer in between: the system reads into what gVisor will send, and writes out
// of what gVisor has received. Nothing is held while there is nothing to move.
//
//	socket ─► read ─► gVisor's send queue         SendFrom
//	socket ◄─ writev ◄─ gVisor's receive queue    ReceiveTo

const (
	// directMax is the most bytes that are moved at once: the sockets of either side
	// have room for more, and others of the connection's calls are not kept waiting.
	directMax = 256 << 10

	// directLeast is how many bytes there have to be for the system to read into
	// gVisor's memory. To find out how many there are is a system call too, and a copy
	// of fewer costs less than that.
	directLeast = 8 << 10

	// piecesMax is how many pieces of received data are written by one call.
	piecesMax = 128
)

// SendFrom sends what comes out of a stream socket of the system's until it ends, or
// something fails. moved is called with the number of bytes whenever some have been
// sent; nil: nobody. The error is [errors.ErrUnsupported], and nothing has been moved,
// where the system is not Linux.
func (c *tcpConn) SendFrom(s syscall.RawConn, moved func(n int)) error {
	if !canMove {
		return errors.ErrUnsupported
	}
	if moved == nil {
		moved = func(int) {}
	}
	m := sending{c: c, busy: false}
	for {
		err := s.Read(m.attempt)
		if err == nil {
			err = m.settle()
		}
		if m.n > 0 {
			moved(m.n)
		}
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
}

// A sending is one call of SendFrom.
type sending struct {
	c    *tcpConn
	busy bool // the last attempt has found much

	// Of the last attempt.
	n       int           // bytes that have been sent
	few     *[]byte       // the buffer of what has been read but not sent, or nil
	read    int           // bytes of that
	failed  syscall.Errno // of the socket
	refused tcpip.Error   // of the connection
	ended   bool
}

var fewPool = sync.Pool{New: func() any { b := make([]byte, directLeast); return &b }}

// attempt takes what the socket has; false: it has nothing. The caller holds the
// socket, so nothing here waits.
func (m *sending) attempt(fd uintptr) bool {
	m.n, m.failed, m.refused, m.ended = 0, 0, nil, false
	if m.busy {
		size, err := readable(fd)
		if m.busy = err == 0 && size >= directLeast; m.busy {
			m.n, m.refused = m.c.sendDirectly(fd, min(size, directMax))
			return true
		}
	}
	m.few = fewPool.Get().(*[]byte)
	m.read, m.failed = read(fd, *m.few)
	if m.failed == 0 && m.read > 0 {
		m.busy = m.read == len(*m.few)
		return true
	}
	fewPool.Put(m.few)
	m.few = nil
	m.ended = m.failed == 0
	return m.failed != syscall.EAGAIN
}

// settle does what an attempt has left to do: it may wait. io.EOF: the socket has
// ended.
func (m *sending) settle() (err error) {
	c := m.c
	switch {
	case m.few != nil:
		m.n, err = c.Write((*m.few)[:m.read])
		fewPool.Put(m.few)
		m.few = nil
		return err
	case m.failed != 0:
		return os.NewSyscallError("read", m.failed)
	case m.ended:
		return io.EOF
	}
	switch m.refused.(type) {
	case nil:
		return nil
	case *tcpip.ErrWouldBlock:
		d := &c.wr
		d.mu.Lock()
		defer d.mu.Unlock()
		c.wait(d, nil)
		if err := c.check(d); err != nil {
			return c.opError("write", err)
		}
		return nil
	}
	return c.opError("write", c.failure(&c.wr, "write", m.refused))
}

// sendDirectly sends up to size bytes, which a socket has.
func (c *tcpConn) sendDirectly(fd uintptr, size int) (int, tcpip.Error) {
	c.wr.mu.Lock()
	defer c.wr.mu.Unlock()
	p := incoming{fd, size}
	n, terr := c.ep.Write(&p, tcpip.WriteOptions{})
	return int(n), terr
}

// incoming is bytes that a socket has, as what gVisor fills its buffers from. It
// never takes more of them than that, and keeps asking until it has them all.
type incoming struct {
	fd   uintptr
	left int
}

func (p *incoming) Len() int { return p.left }

func (p *incoming) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	n, err := read(p.fd, b[:min(len(b), p.left)])
	switch {
	case err != 0:
		return 0, err
	case n == 0:
		return 0, io.ErrUnexpectedEOF
	}
	p.left -= n
	return n, nil
}

// ReceiveTo writes what is received into a stream socket of the system's, until the
// peer has ended its stream, or something fails. moved and the error are as those of
// SendFrom.
func (c *tcpConn) ReceiveTo(s syscall.RawConn, moved func(n int)) error {
	if !canMove {
		return errors.ErrUnsupported
	}
	if moved == nil {
		moved = func(int) {}
	}
	m := receiving{c: c}
	for {
		if err := m.wait(); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if err := s.Write(m.attempt); err != nil {
			return err
		}
		if m.n > 0 {
			moved(m.n)
		}
		if m.failed != 0 {
			return os.NewSyscallError("writev", m.failed)
		}
	}
}

// A receiving is one call of ReceiveTo.
type receiving struct {
	c      *tcpConn
	size   int           // bytes that wait
	n      int           // bytes that the last attempt has written
	failed syscall.Errno // of the socket, then
}

// wait returns when there is something to write. io.EOF: the peer has ended.
func (m *receiving) wait() error {
	c, d := m.c, &m.c.rd
	d.mu.Lock()
	defer d.mu.Unlock()
	for {
		if err := c.check(d); err != nil {
			return c.opError("read", err)
		}
		size, terr := c.ep.GetSockOptInt(tcpip.ReceiveQueueSizeOption)
		if terr == nil && size > 0 {
			m.size = size
			return nil
		}
		// Nothing, or no more: reading says which.
		_, terr = c.ep.Read(io.Discard, tcpip.ReadOptions{Peek: true})
		switch terr.(type) {
		case nil: // it has just come
		case *tcpip.ErrWouldBlock:
			c.wait(d, nil)
		default:
			if err := c.failure(d, "read", terr); err != io.EOF {
				return c.opError("read", err)
			}
			return io.EOF
		}
	}
}

// attempt writes what has been received; false: the socket has no room. As that of a
// sending, it does not wait.
func (m *receiving) attempt(fd uintptr) bool {
	c, d := m.c, &m.c.rd
	d.mu.Lock()
	defer d.mu.Unlock()
	o := outgoingPool.Get().(*outgoing)
	defer o.free()
	o.fd, o.left = fd, min(m.size, directMax)
	// The pieces are gVisor's only as long as its lock is held, which Read does: so the
	// last of them has them written. What has been is taken away then.
	c.ep.Read(o, tcpip.ReadOptions{Peek: true})
	m.n, m.failed = o.written, o.failed
	if m.failed == syscall.EAGAIN {
		m.failed = 0
		return false
	}
	if m.n > 0 {
		c.ep.Read(&discarded{m.n}, tcpip.ReadOptions{})
		c.moderate(m.n)
	}
	return true
}

// outgoing collects pieces of received data, and writes them to a socket when it has
// enough.
type outgoing struct {
	fd      uintptr
	left    int // bytes until it has
	pieces  vectors
	written int
	failed  syscall.Errno
}

var outgoingPool = sync.Pool{New: func() any { return new(outgoing) }}

// errEnough ends a reading that goes from piece to piece.
var errEnough = errors.New("enough")

func (o *outgoing) Write(b []byte) (int, error) {
	if o.left == 0 {
		return 0, errEnough
	}
	piece := b[:min(len(b), o.left)]
	o.left -= len(piece)
	if full := o.pieces.add(piece); full || o.left == 0 {
		o.left = 0
		o.written, o.failed = o.pieces.write(o.fd)
		return 0, errEnough
	}
	return len(b), nil
}

func (o *outgoing) free() {
	o.pieces.reset()
	*o = outgoing{pieces: o.pieces}
	outgoingPool.Put(o)
}

// discarded takes so many bytes, and no more.
type discarded struct{ left int }

func (d *discarded) Write(b []byte) (int, error) {
	n := min(len(b), d.left)
	if d.left -= n; n < len(b) {
		return n, io.ErrShortWrite
	}
	return n, nil
}
