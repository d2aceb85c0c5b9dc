package simnet

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"
)

const (
	// QueueMax is how many datagrams wait in a socket's queue; what arrives
	// when it is full is dropped, as a kernel does.
	QueueMax = 256

	// payloadMax is the most that a UDP datagram over IPv4 carries, in bytes.
	payloadMax = 65507

	// poison fills what of a read buffer lies behind the datagram, so that
	// whoever looks there sees that it is not zero.
	poison = 0xA5
)

// A Conn is a UDP socket of one host. Its methods can be called from several
// goroutines. Errors are [net.OpError]s: [net.ErrClosed] after Close,
// [os.ErrDeadlineExceeded] after a deadline.
type Conn struct {
	net    *Net
	local  netip.AddrPort
	queue  chan datagram
	closed chan struct{}

	read, write deadline
}

var _ net.PacketConn = (*Conn)(nil)

// LocalAddr is a *net.UDPAddr.
func (c *Conn) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(c.local) }

// ReadFrom waits for a datagram and puts it into p; what does not fit is lost,
// as UDP does it. The rest of p is overwritten as well. The address is a
// *net.UDPAddr.
func (c *Conn) ReadFrom(p []byte) (int, net.Addr, error) {
	expired := c.read.passed()
	// What has ended already wins over what could be read.
	select {
	case <-c.closed:
		return 0, nil, c.error("read", net.ErrClosed)
	case <-expired:
		return 0, nil, c.error("read", os.ErrDeadlineExceeded)
	default:
	}
	select {
	case d := <-c.queue:
		n := copy(p, d.payload)
		for i := range p[n:] {
			p[n+i] = poison
		}
		return n, net.UDPAddrFromAddrPort(d.from), nil
	case <-c.closed:
		return 0, nil, c.error("read", net.ErrClosed)
	case <-expired:
		return 0, nil, c.error("read", os.ErrDeadlineExceeded)
	}
}

// WriteTo sends a copy of p to a *net.UDPAddr. It never blocks, and it does not
// tell whether anybody receives the datagram.
func (c *Conn) WriteTo(p []byte, to net.Addr) (int, error) {
	select {
	case <-c.closed:
		return 0, c.error("write", net.ErrClosed)
	case <-c.write.passed():
		return 0, c.error("write", os.ErrDeadlineExceeded)
	default:
	}
	addr, ok := to.(*net.UDPAddr)
	if !ok || addr == nil {
		return 0, c.error("write", fmt.Errorf("simnet: the address is a %T, a *net.UDPAddr is needed: %w", to, syscall.EINVAL))
	}
	dest := addr.AddrPort()
	dest = netip.AddrPortFrom(dest.Addr().Unmap(), dest.Port())
	switch {
	case !dest.Addr().IsValid() || dest.Port() == 0:
		return 0, c.error("write", syscall.EINVAL)
	case dest.Addr().Is4() != c.local.Addr().Is4():
		return 0, c.error("write", syscall.ENETUNREACH)
	case len(p) > payloadMax:
		return 0, c.error("write", syscall.EMSGSIZE)
	}
	c.net.send(c.local, dest, append([]byte(nil), p...))
	return len(p), nil
}

// Close frees the address and ends all reads that wait, with [net.ErrClosed].
// A second Close returns it too.
func (c *Conn) Close() error {
	if !c.net.close(c) {
		return c.error("close", net.ErrClosed)
	}
	return nil
}

// SetDeadline sets both deadlines.
func (c *Conn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

// SetReadDeadline sets when reads end with [os.ErrDeadlineExceeded], those that
// wait already included. Zero: never.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.setDeadline(&c.read, t) }

// SetWriteDeadline sets when writes begin to fail. Zero: never.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.setDeadline(&c.write, t) }

func (c *Conn) setDeadline(d *deadline, t time.Time) error {
	select {
	case <-c.closed:
		return c.error("set", net.ErrClosed)
	default:
	}
	d.set(t)
	return nil
}

func (c *Conn) error(op string, err error) error {
	return &net.OpError{Op: op, Net: "udp", Source: c.LocalAddr(), Err: err}
}
