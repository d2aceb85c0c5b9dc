// Package udp is the datagram socket of an endpoint: it takes and gives many
// datagrams by one system call where the system allows it, knows which of our
// addresses a datagram was sent to, and answers from there.
//
// It has two forms with one behaviour. The fast one (Linux) uses the socket's
// descriptor: recvmmsg with UDP_GRO, sendmmsg with UDP_SEGMENT. The portable one
// makes one call a datagram, of a *net.UDPConn or of any other net.PacketConn.
// (The batches of golang.org/x/net would save no calls there: they are of one datagram
// outside of Linux, and on Windows there are none.)
package udp

import (
	"iter"
	"net"
	"net/netip"

	"github.com/l2tpnet/l2tpnet/endpoint/link"
)

// DatagramMax is the most bytes that a datagram has.
const DatagramMax = 65535

const socketBuffer = 4 << 20 // bytes asked of the kernel, which may grant fewer

// A Conn sends and receives datagrams. One goroutine reads, any may write.
type Conn struct {
	conn net.PacketConn
	form form
}

// A form is one of the ways to use a socket.
type form interface {
	read() ([]Run, error)
	send(frames []link.Frame, p *Path) (sent int, err error)
	sendEach(frames []link.Frame, paths []*Path) (sent int, err error)
	sendWhole(b []byte, p *Path) error
	route(p *Path)
	buffers() (receive, send int)
}

// New makes a Conn of a socket, which is the Conn's from then on. The fast form
// is for a *net.UDPConn and for what offers its SyscallConn, as a type that embeds
// one does: datagrams then pass the type's own ReadFrom and WriteTo by.
func New(conn net.PacketConn) *Conn {
	c := &Conn{conn: conn}
	if fastForm {
		if f, err := newFast(conn); err == nil {
			c.form = f
			return c
		}
	}
	c.form = newPortable(conn)
	return c
}

// A Run is datagrams that one peer has sent in a row to one of our addresses. They
// are of equal length, but that the last may be shorter.
type Run struct {
	// From is the peer's address, unmapped, so that a peer has one address
	// whatever the socket's family.
	From netip.AddrPort

	// To is which of our addresses they were sent to; the zero value when the
	// system does not say it, or the socket is bound to one.
	To netip.Addr

	bytes []byte
	size  int // of each; 0: there is one
}

// Datagrams are the datagrams in the order of their arrival.
func (r *Run) Datagrams() iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		b := r.bytes
		for r.size > 0 && len(b) > r.size {
			if !yield(b[:r.size:r.size]) {
				return
			}
			b = b[r.size:]
		}
		yield(b)
	}
}

// Read waits for datagrams and returns all that are there, up to a bound, in the
// order of their arrival. They are valid until the next call. An error of one peer
// (ECONNREFUSED, EHOSTUNREACH) is no reason not to read on; net.ErrClosed is.
func (c *Conn) Read() ([]Run, error) { return c.form.read() }

// Path is the way to a peer, from the address that it has sent to; the zero value
// leaves that to the system.
func (c *Conn) Path(peer netip.AddrPort, local netip.Addr) *Path {
	p := &Path{Peer: peer, Local: local, conn: c}
	c.form.route(p)
	return p
}

// Send sends frames, each as a datagram, and reports how many went, and the last
// error of the others. It blocks while the socket's buffer is full.
func (c *Conn) Send(frames []link.Frame, p *Path) (sent int, err error) {
	return c.form.send(frames, p)
}

// SendEach is Send for frames that each have a path of their own, at the same index.
func (c *Conn) SendEach(frames []link.Frame, paths []*Path) (sent int, err error) {
	return c.form.sendEach(frames, paths)
}

// Write sends a datagram.
func (c *Conn) Write(b []byte, p *Path) error {
	batch := link.NewBatch()
	defer batch.Free()
	batch.Add(0, b, nil)
	_, err := c.form.send(batch.Frames, p)
	return err
}

// WriteWhole sends a datagram in one piece, or not at all: what is too long for the
// path is an error, or gets lost.
func (c *Conn) WriteWhole(b []byte, p *Path) error { return c.form.sendWhole(b, p) }

// Buffers is how many bytes the system has granted for datagrams that wait to be
// read, and to be sent, its own overhead included; 0: it does not tell.
func (c *Conn) Buffers() (receive, send int) { return c.form.buffers() }

// LocalAddr is the socket's own address; the zero value when it has no IP address.
func (c *Conn) LocalAddr() netip.AddrPort {
	if a, ok := c.conn.LocalAddr().(interface{ AddrPort() netip.AddrPort }); ok {
		return unmap(a.AddrPort())
	}
	return netip.AddrPort{}
}

// Close closes the socket: Read returns net.ErrClosed.
func (c *Conn) Close() error { return c.conn.Close() }

func unmap(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}
