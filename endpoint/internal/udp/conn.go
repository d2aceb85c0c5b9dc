// Package udp is the datagram socket of an endpoint: it knows which of our
// addresses a datagram was sent to, and answers from there.
package udp

import (
	"errors"
	"net"
	"net/netip"
	"sync"

	"github.com/l2tpnet/l2tpnet/endpoint/link"
)

// DatagramMax is the most bytes that a datagram has.
const DatagramMax = 65535

const socketBuffer = 4 << 20 // bytes asked of the kernel, which may grant fewer

// A Path is the two ends of a conversation: the peer's address and port, and the
// address that it knows us by.
type Path struct {
	Peer  netip.AddrPort
	Local netip.Addr // the zero value: the system's choice
	oob   []byte     // the same, as sendmsg wants it
}

// A Conn sends and receives datagrams: through a *net.UDPConn without allocations,
// through any other net.PacketConn by its plain methods. One goroutine reads, any
// may write.
type Conn struct {
	conn    net.PacketConn
	udp     *net.UDPConn // conn, when it is one
	pktinfo bool         // the system tells which address a datagram was sent to
	oob     []byte       // the reader's
}

// New makes a Conn of a socket, which is the Conn's from then on.
func New(conn net.PacketConn) *Conn {
	c := &Conn{conn: conn}
	c.udp, _ = conn.(*net.UDPConn)
	if c.udp == nil {
		return c
	}
	// What the system does not allow it lowers by itself.
	c.udp.SetReadBuffer(socketBuffer)
	c.udp.SetWriteBuffer(socketBuffer)
	// One that is bound to an address needs not be told.
	if c.LocalAddr().Addr().IsUnspecified() && askForDestination(c.udp) == nil {
		c.pktinfo = true
		c.oob = make([]byte, 128)
	}
	return c
}

// Read waits for a datagram, and tells whence it came and to which of our
// addresses, if the system says so. Addresses come back unmapped, so that a peer
// has one address whatever the socket's family.
func (c *Conn) Read(b []byte) (n int, from netip.AddrPort, to netip.Addr, err error) {
	switch {
	case c.pktinfo:
		var oobn int
		n, oobn, _, from, err = c.udp.ReadMsgUDPAddrPort(b, c.oob)
		return n, unmap(from), destination(c.oob[:oobn]), err
	case c.udp != nil:
		n, from, err = c.udp.ReadFromUDPAddrPort(b)
		return n, unmap(from), to, err
	}
	n, addr, err := c.conn.ReadFrom(b)
	if err != nil {
		return n, from, to, err
	}
	ua, ok := addr.(interface{ AddrPort() netip.AddrPort })
	if !ok {
		return n, from, to, errors.New("expected a packet from an IP address and port, found " + addr.Network() + " " + addr.String())
	}
	return n, unmap(ua.AddrPort()), to, nil
}

// Path is the way to a peer, from the address that it has sent to; the zero value
// leaves that to the system.
func (c *Conn) Path(peer netip.AddrPort, local netip.Addr) *Path {
	p := &Path{Peer: peer, Local: local}
	if c.pktinfo && local.IsValid() {
		p.oob = source(c.udp, local)
	}
	return p
}

// Write sends a datagram.
func (c *Conn) Write(b []byte, p *Path) error {
	switch {
	case c.udp != nil && p.oob != nil:
		_, _, err := c.udp.WriteMsgUDPAddrPort(b, p.oob, p.Peer)
		return err
	case c.udp != nil:
		_, err := c.udp.WriteToUDPAddrPort(b, p.Peer)
		return err
	}
	_, err := c.conn.WriteTo(b, net.UDPAddrFromAddrPort(p.Peer))
	return err
}

var sendBuffers = sync.Pool{New: func() any { b := make([]byte, 0, 2048); return &b }}

// Send sends frames, each as a datagram, and reports how many went, and the last
// error of the others.
func (c *Conn) Send(frames []link.Frame, p *Path) (sent int, err error) {
	buf := sendBuffers.Get().(*[]byte)
	defer sendBuffers.Put(buf)
	for i := range frames {
		*buf = frames[i].AppendTo((*buf)[:0])
		if e := c.Write(*buf, p); e != nil {
			err = e
			continue
		}
		sent++
	}
	return sent, err
}

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
