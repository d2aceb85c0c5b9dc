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

// A socket sends and receives datagrams for an endpoint: a *net.UDPConn
// without allocations, any other net.PacketConn by its plain methods.
type socket struct {
	conn net.PacketConn
	udp  *net.UDPConn // conn, when it is one
}

func newSocket(conn net.PacketConn) *socket {
	udp, _ := conn.(*net.UDPConn)
	if udp != nil {
		// What the system does not allow it lowers by itself.
		udp.SetReadBuffer(socketBuffer)
		udp.SetWriteBuffer(socketBuffer)
	}
	return &socket{conn: conn, udp: udp}
}

// read waits for a datagram. Addresses come back unmapped, so that a peer has
// one address whatever the socket's family.
func (s *socket) read(b []byte) (int, netip.AddrPort, error) {
	if s.udp != nil {
		n, from, err := s.udp.ReadFromUDPAddrPort(b)
		return n, unmap(from), err
	}
	n, from, err := s.conn.ReadFrom(b)
	if err != nil {
		return n, netip.AddrPort{}, err
	}
	ua, ok := from.(interface{ AddrPort() netip.AddrPort })
	if !ok {
		return n, netip.AddrPort{}, errors.New("expected a packet from an IP address and port, found " + from.Network() + " " + from.String())
	}
	return n, unmap(ua.AddrPort()), nil
}

func (s *socket) write(b []byte, to netip.AddrPort) error {
	if s.udp != nil {
		_, err := s.udp.WriteToUDPAddrPort(b, to)
		return err
	}
	_, err := s.conn.WriteTo(b, net.UDPAddrFromAddrPort(to))
	return err
}

var sendBuffers = sync.Pool{New: func() any { b := make([]byte, 0, 2048); return &b }}

// send sends a batch's frames, each as a datagram, and reports how many went.
func (s *socket) send(frames []link.Frame, to netip.AddrPort) (sent int, err error) {
	p := sendBuffers.Get().(*[]byte)
	defer sendBuffers.Put(p)
	for i := range frames {
		*p = frames[i].AppendTo((*p)[:0])
		if e := s.write(*p, to); e != nil {
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
