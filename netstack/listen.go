package netstack

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"
)

const backlog = 4096 // connections that nobody has accepted yet; as Linux has it (somaxconn)

// Listen opens a TCP listener inside the tunnel: at ":80", or at one of the
// stack's own addresses. Networks are tcp, which is both families at ":80", also
// when IPv6 comes later, tcp4 and tcp6. Port 0 chooses one.
func (s *Stack) Listen(network, address string) (net.Listener, error) {
	l, err := s.listen(network, address)
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Err: s.because(err)}
	}
	return l, nil
}

func (s *Stack) listen(network, address string) (*listener, error) {
	ap, at, life, err := s.listenAddress("tcp", network, address)
	if err != nil {
		return nil, err
	}
	wq := new(waiter.Queue)
	ep, terr := s.gv.NewEndpoint(tcp.ProtocolNumber, protocolOf(ap.Addr()), wq)
	if terr != nil {
		return nil, toError(terr)
	}
	ep.SocketOptions().SetV6Only(network == "tcp6")
	l := &listener{socket: newSocket(ep, wq, life, network), stack: s}
	call := "bind"
	if terr = ep.Bind(at); terr == nil {
		call, terr = "listen", ep.Listen(backlog)
	}
	if terr != nil {
		ep.Close()
		return nil, inCall(call, toError(terr))
	}
	l.local = tcpAddr(l.localAddrPort(ap.Addr()))
	if life.Err() != nil { // while we were at it: Close may not have seen it
		ep.Close()
		return nil, context.Cause(life)
	}
	return l, nil
}

// ListenPacket opens a UDP socket inside the tunnel: at ":53", or at one of the
// stack's own addresses. Networks are udp, which is both families at ":53", also
// when IPv6 comes later, udp4 and udp6. Port 0 chooses one.
func (s *Stack) ListenPacket(network, address string) (net.PacketConn, error) {
	c, err := s.listenUDP(network, address)
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Err: s.because(err)}
	}
	return c, nil
}

func (s *Stack) listenUDP(network, address string) (*udpConn, error) {
	ap, at, life, err := s.listenAddress("udp", network, address)
	if err != nil {
		return nil, err
	}
	c, err := s.newUDP(life, network, ap.Addr(), func(ep tcpip.Endpoint) tcpip.Error { return ep.Bind(at) })
	if err != nil {
		return nil, inCall("bind", err)
	}
	return c, nil
}

// listenAddress is the address to listen at, also as gVisor has it, and the life
// of what it belongs to.
func (s *Stack) listenAddress(kind, network, address string) (ap netip.AddrPort, at tcpip.FullAddress, life context.Context, err error) {
	f, err := familyOf(kind, network)
	if err != nil {
		return ap, at, nil, err
	}
	if ap, err = localAddress(f, address); err != nil {
		return ap, at, nil, err
	}
	life, err = s.owner(ap.Addr(), ap.Addr())
	if errors.Is(err, syscall.EADDRNOTAVAIL) {
		err = inCall("bind", err)
	}
	if err == nil {
		at, err = s.toFullAddress(ap)
	}
	return ap, at, life, err
}
