package udp

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"sync"
	"syscall"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"

	"github.com/l2tpnet/l2tpnet/endpoint/link"
)

// portable is the form that needs nothing of the system, and makes one call a
// datagram.
type portable struct {
	conn net.PacketConn
	udp  *net.UDPConn // conn, when it is one
	info control      // nil: the system does not tell addresses, or needs not
	buf  []byte
	oob  []byte
	run  [1]Run
}

// control reads and writes the control messages that tell which of our addresses
// a datagram was sent to, and is to be sent from.
type control interface {
	destination(oob []byte) netip.Addr
	source(from netip.Addr) []byte
}

func newPortable(conn net.PacketConn) *portable {
	f := &portable{conn: conn, buf: make([]byte, DatagramMax)}
	f.udp, _ = conn.(*net.UDPConn)
	if f.udp == nil {
		return f
	}
	// What the system does not allow it lowers by itself.
	f.udp.SetReadBuffer(socketBuffer)
	f.udp.SetWriteBuffer(socketBuffer)
	// One that is bound to an address needs not be told.
	if a, ok := conn.LocalAddr().(*net.UDPAddr); ok && a.IP.IsUnspecified() {
		if f.info = askForDestination(f.udp, a.IP.To4() != nil); f.info != nil {
			f.oob = make([]byte, 128)
		}
	}
	return f
}

func (f *portable) read() ([]Run, error) {
	r := &f.run[0]
	*r = Run{}
	var n int
	var err error
	if f.udp != nil {
		var oobn int
		n, oobn, _, r.From, err = f.udp.ReadMsgUDPAddrPort(f.buf, f.oob)
		if f.info != nil {
			r.To = f.info.destination(f.oob[:oobn])
		}
	} else {
		var addr net.Addr
		if n, addr, err = f.conn.ReadFrom(f.buf); err == nil {
			a, ok := addr.(interface{ AddrPort() netip.AddrPort })
			if !ok {
				return nil, errors.New("expected a packet from an IP address and port, found " + addr.Network() + " " + addr.String())
			}
			r.From = a.AddrPort()
		}
	}
	if err != nil {
		return nil, err
	}
	r.From = unmap(r.From)
	r.bytes = f.buf[:n]
	return f.run[:], nil
}

func (f *portable) route(p *Path) {
	if f.info != nil && p.Local.IsValid() {
		p.oob = f.info.source(p.Local)
	}
}

// wholes are where frames are put together.
var wholes = sync.Pool{New: func() any { b := make([]byte, 0, 2048); return &b }}

func (f *portable) send(frames []link.Frame, p *Path) (sent int, err error) {
	buf := wholes.Get().(*[]byte)
	defer wholes.Put(buf)
	for i := range frames {
		*buf = frames[i].AppendTo((*buf)[:0])
		if e := f.write(*buf, p); e != nil {
			err = e
			if errors.Is(e, syscall.EMSGSIZE) {
				p.tooLong(len(*buf), 0)
			}
			continue
		}
		sent++
	}
	return sent, err
}

func (f *portable) sendEach(frames []link.Frame, paths []*Path) (sent int, err error) {
	for i := range frames {
		n, e := f.send(frames[i:i+1], paths[i])
		if sent += n; e != nil {
			err = e
		}
	}
	return sent, err
}

// sendWhole sends as any other datagram is: none is sent in pieces knowingly.
func (f *portable) sendWhole(b []byte, p *Path) error {
	err := f.write(b, p)
	if errors.Is(err, syscall.EMSGSIZE) {
		p.tooLong(len(b), 0)
	}
	return err
}

func (f *portable) write(b []byte, p *Path) error {
	switch {
	case p.oob != nil:
		_, _, err := f.udp.WriteMsgUDPAddrPort(b, p.oob, p.Peer)
		return err
	case f.udp != nil:
		_, err := f.udp.WriteToUDPAddrPort(b, p.Peer)
		return err
	}
	_, err := f.conn.WriteTo(b, net.UDPAddrFromAddrPort(p.Peer))
	return err
}

func (f *portable) buffers() (receive, send int) {
	if sc, ok := f.conn.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			return granted(raw)
		}
	}
	return 0, 0
}

// askForDestination has a socket tell which address a datagram was sent to, by
// IP_PKTINFO or IP_RECVDSTADDR and IPV6_PKTINFO (RFC 3542 §6); nil where the system
// does not. An answer has to come from the address that was asked, or the peer
// drops it: on a host with several addresses the system would choose by its routes.
func askForDestination(c *net.UDPConn, four bool) control {
	if four {
		if ipv4.NewPacketConn(c).SetControlMessage(ipv4.FlagDst, true) != nil {
			return nil
		}
		return new(control4)
	}
	if ipv6.NewPacketConn(c).SetControlMessage(ipv6.FlagDst, true) != nil {
		return nil
	}
	return new(control6)
}

type control4 struct{ in ipv4.ControlMessage }

func (c *control4) destination(oob []byte) netip.Addr {
	clear(c.in.Dst)
	if c.in.Parse(oob) != nil {
		return netip.Addr{}
	}
	return ours(c.in.Dst)
}

func (c *control4) source(from netip.Addr) []byte {
	return (&ipv4.ControlMessage{Src: from.AsSlice()}).Marshal()
}

// control6 is that of a socket of the IPv6 family, also when it takes IPv4 too:
// then addresses are mapped ones.
type control6 struct{ in ipv6.ControlMessage }

func (c *control6) destination(oob []byte) netip.Addr {
	clear(c.in.Dst)
	if c.in.Parse(oob) != nil {
		return netip.Addr{}
	}
	return ours(c.in.Dst)
}

func (c *control6) source(from netip.Addr) []byte {
	// The library takes no mapped address; the system does.
	b := (&ipv6.ControlMessage{Src: net.IPv6loopback}).Marshal()
	if at := bytes.Index(b, net.IPv6loopback); at >= 0 {
		a := from.As16()
		copy(b[at:], a[:])
	}
	return b
}

// ours is an address as one of ours; the zero value for a group's.
func ours(ip net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(ip)
	a = a.Unmap()
	if a.IsMulticast() || a.IsUnspecified() {
		return netip.Addr{}
	}
	return a
}
