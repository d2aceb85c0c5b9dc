package netstack

import (
	"bytes"
	"net"
	"net/netip"
	"syscall"

	"gvisor.dev/gvisor/pkg/tcpip"
)

// A udpConn is a UDP socket, as net.PacketConn, and as net.Conn if it is
// connected.
type udpConn struct {
	*socket
	stack *Stack
	dst   tcpip.SliceWriter // where ReadFrom reads to, under rd.mu
	src   bytes.Reader      // what WriteTo writes, under wr.mu
}

func (c *udpConn) Read(b []byte) (int, error) {
	n, _, err := c.read(b)
	return n, err
}

// ReadFrom reads one datagram. What of it does not fit into b is lost.
func (c *udpConn) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := c.read(b)
	if err != nil {
		return n, nil, err
	}
	return n, net.UDPAddrFromAddrPort(from), nil
}

func (c *udpConn) read(b []byte) (int, netip.AddrPort, error) {
	d := &c.rd
	d.mu.Lock()
	defer d.mu.Unlock()
	for {
		if err := c.check(d); err != nil {
			return 0, netip.AddrPort{}, c.opError("read", err)
		}
		c.dst = b
		res, terr := c.ep.Read(&c.dst, tcpip.ReadOptions{NeedRemoteAddr: true})
		c.dst = nil
		switch terr.(type) {
		case nil:
			return res.Count, fromFullAddress(res.RemoteAddr), nil
		case *tcpip.ErrBadBuffer: // a datagram, and no room for any of it
			return 0, fromFullAddress(res.RemoteAddr), nil
		case *tcpip.ErrWouldBlock:
			c.wait(d, nil)
		default:
			return 0, netip.AddrPort{}, c.opError("read", c.failure(d, "read", terr))
		}
	}
}

func (c *udpConn) Write(b []byte) (int, error) { return c.write(b, c.remote, nil) }

// WriteTo sends one datagram. The address must be a *net.UDPAddr of a family that
// the conn has, and the conn not be connected.
func (c *udpConn) WriteTo(b []byte, addr net.Addr) (int, error) {
	if c.remote != nil {
		return 0, c.opError("write", net.ErrWriteToConnected)
	}
	to, ok := addr.(*net.UDPAddr)
	if !ok || to == nil {
		return 0, c.opErrorTo(addr, syscall.EINVAL)
	}
	ap := netip.AddrPortFrom(to.AddrPort().Addr().Unmap(), to.AddrPort().Port())
	f, err := familyOf("udp", c.network)
	switch {
	case err != nil:
		panic("BUG: netstack: a UDP conn of the network " + c.network)
	case !ap.IsValid() || !f.has(ap.Addr()):
		return 0, c.opErrorTo(addr, &net.AddrError{Err: "not an " + f.String() + " address", Addr: to.String()})
	case ap.Addr().IsUnspecified():
		return 0, c.opErrorTo(addr, inCall("sendto", syscall.ENETUNREACH)) // gVisor would take it for itself
	}
	full, err := c.stack.toFullAddress(ap)
	if err != nil {
		return 0, c.opErrorTo(addr, err)
	}
	return c.write(b, addr, &full)
}

func (c *udpConn) write(b []byte, addr net.Addr, to *tcpip.FullAddress) (int, error) {
	d := &c.wr
	d.mu.Lock()
	defer d.mu.Unlock()
	defer c.src.Reset(nil)
	for {
		if err := c.check(d); err != nil {
			return 0, c.opErrorTo(addr, err)
		}
		c.src.Reset(b)
		n, terr := c.ep.Write(&c.src, tcpip.WriteOptions{To: to})
		switch terr.(type) {
		case nil:
			return int(n), nil
		case *tcpip.ErrWouldBlock:
			c.wait(d, nil)
		default:
			return 0, c.opErrorTo(addr, c.failure(d, "write", terr))
		}
	}
}

func (c *udpConn) opErrorTo(addr net.Addr, err error) error {
	return &net.OpError{Op: "write", Net: c.network, Source: c.local, Addr: addr, Err: err}
}
