package endpoint

import (
	"errors"
	"net"
	"net/netip"
	"sync"

	"github.com/l2tpnet/l2tpnet/endpoint/link"
)

const (
	datagramMax  = 65535   // bytes of a UDP datagram, at most
	socketBuffer = 4 << 20 // bytes asked of the kernel, which may grant fewer
)

// A path is the two ends of a conversation: the peer's address and port, and how
// the socket is told to send from the address that the peer knows us by.
type path struct {
	peer  netip.AddrPort
	local netip.Addr // the zero value: the system's choice
	oob   []byte     // the same, as sendmsg wants it
}

// A socket sends and receives datagrams for an endpoint: a *net.UDPConn
// without allocations, any other net.PacketConn by its plain methods.
type socket struct {
	conn    net.PacketConn
	udp     *net.UDPConn // conn, when it is one
	pktinfo bool         // the system tells which address a datagram was sent to
	oob     []byte       // the reader's
}

func newSocket(conn net.PacketConn) *socket {
	s := &socket{conn: conn}
	s.udp, _ = conn.(*net.UDPConn)
	if s.udp == nil {
		return s
	}
	// What the system does not allow it lowers by itself.
	s.udp.SetReadBuffer(socketBuffer)
	s.udp.SetWriteBuffer(socketBuffer)
	// One that is bound to an address needs not be told.
	if s.local().Addr().IsUnspecified() && askForDestination(s.udp) == nil {
		s.pktinfo = true
		s.oob = make([]byte, 128)
	}
	return s
}

// read waits for a datagram, and tells whence it came and to which of our
// addresses, if the system says so. Addresses come back unmapped, so that a peer
// has one address whatever the socket's family.
func (s *socket) read(b []byte) (n int, from netip.AddrPort, to netip.Addr, err error) {
	switch {
	case s.pktinfo:
		var oobn int
		n, oobn, _, from, err = s.udp.ReadMsgUDPAddrPort(b, s.oob)
		return n, unmap(from), destination(s.oob[:oobn]), err
	case s.udp != nil:
		n, from, err = s.udp.ReadFromUDPAddrPort(b)
		return n, unmap(from), to, err
	}
	n, addr, err := s.conn.ReadFrom(b)
	if err != nil {
		return n, from, to, err
	}
	ua, ok := addr.(interface{ AddrPort() netip.AddrPort })
	if !ok {
		return n, from, to, errors.New("expected a packet from an IP address and port, found " + addr.Network() + " " + addr.String())
	}
	return n, unmap(ua.AddrPort()), to, nil
}

// path is the way to a peer, from the address that it has sent to.
func (s *socket) path(peer netip.AddrPort, local netip.Addr) *path {
	p := &path{peer: peer, local: local}
	if s.pktinfo && local.IsValid() {
		p.oob = source(s.udp, local)
	}
	return p
}

func (s *socket) write(b []byte, p *path) error {
	switch {
	case s.udp != nil && p.oob != nil:
		_, _, err := s.udp.WriteMsgUDPAddrPort(b, p.oob, p.peer)
		return err
	case s.udp != nil:
		_, err := s.udp.WriteToUDPAddrPort(b, p.peer)
		return err
	}
	_, err := s.conn.WriteTo(b, net.UDPAddrFromAddrPort(p.peer))
	return err
}

var sendBuffers = sync.Pool{New: func() any { b := make([]byte, 0, 2048); return &b }}

// send sends frames, each as a datagram, and reports how many went.
func (s *socket) send(frames []link.Frame, p *path) (sent int, err error) {
	buf := sendBuffers.Get().(*[]byte)
	defer sendBuffers.Put(buf)
	for i := range frames {
		*buf = frames[i].AppendTo((*buf)[:0])
		if e := s.write(*buf, p); e != nil {
			err = e
			continue
		}
		sent++
	}
	return sent, err
}

func (s *socket) local() netip.AddrPort {
	if a, ok := s.conn.LocalAddr().(interface{ AddrPort() netip.AddrPort }); ok {
		return unmap(a.AddrPort())
	}
	return netip.AddrPort{}
}

func unmap(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}
