package netstack

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"
)

const backlog = 4096 // connections that nobody has accepted yet; as Linux has it (somaxconn)

// Dial is DialContext without a context.
func (s *Stack) Dial(network, address string) (net.Conn, error) {
	return s.DialContext(context.Background(), network, address)
}

// DialContext opens a connection through the tunnel. Networks are tcp, tcp4, udp
// and udp4; a host's name is resolved by LookupHost, and its addresses are
// tried in order; the port is a number. A TCP connection has CloseRead,
// CloseWrite and SetLinger as *net.TCPConn does; a UDP one is a
// net.PacketConn, too.
func (s *Stack) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	fail := func(addr net.Addr, err error) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: network, Addr: addr, Err: err}
	}
	var dial func(context.Context, string, netip.AddrPort) (net.Conn, error)
	switch network {
	case "tcp", "tcp4":
		dial = s.dialTCP
	case "udp", "udp4":
		dial = s.dialUDP
	default:
		return fail(nil, net.UnknownNetworkError(network))
	}
	host, port, err := splitAddress(address)
	if err != nil {
		return fail(nil, err)
	}
	if err := s.Err(); err != nil {
		return fail(nil, err)
	}
	addrs, err := s.lookup(ctx, host)
	if err != nil {
		return fail(nil, err)
	}
	var first error
	for i, a := range addrs {
		ap := netip.AddrPortFrom(a, port)
		part, cancel := share(ctx, len(addrs)-i)
		c, err := dial(part, network, ap)
		cancel()
		if err == nil {
			return c, nil
		}
		if first == nil {
			var addr net.Addr = net.TCPAddrFromAddrPort(ap)
			if network[:3] == "udp" {
				addr = net.UDPAddrFromAddrPort(ap)
			}
			_, first = fail(addr, inCall("connect", s.because(err)))
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, first
}

// share gives one of n addresses its part of the time that is left, so that
// the first one cannot use up all of it; but not less than two seconds.
func share(ctx context.Context, n int) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok || n == 1 {
		return ctx, func() {}
	}
	left := time.Until(deadline)
	return context.WithTimeout(ctx, max(left/time.Duration(n), min(left, 2*time.Second)))
}

func (s *Stack) dialTCP(ctx context.Context, network string, ap netip.AddrPort) (net.Conn, error) {
	life, err := s.carrier(ap.Addr())
	if err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, contextError(ctx)
	}
	wq := new(waiter.Queue)
	ep, terr := s.gv.NewEndpoint(tcp.ProtocolNumber, ipv4.ProtocolNumber, wq)
	if terr != nil {
		return nil, toError(terr)
	}
	c := newTCPConn(newSocket(ep, wq, life, network))
	if err := c.connect(ctx, toFullAddress(ap)); err != nil {
		ep.Abort()
		return nil, err
	}
	c.setAddresses(toFullAddress(ap))
	return c, nil
}

func (c *tcpConn) connect(ctx context.Context, to tcpip.FullAddress) error {
	terr := c.ep.Connect(to)
	if _, ok := terr.(*tcpip.ErrConnectStarted); !ok {
		if terr == nil {
			panic("BUG: netstack: connected without a handshake")
		}
		return toError(terr)
	}
	for {
		if err := c.check(&c.wr); err != nil {
			return err
		}
		switch tcp.EndpointState(c.ep.State()) {
		case tcp.StateConnecting, tcp.StateSynSent, tcp.StateSynRecv:
		case tcp.StateError, tcp.StateClose:
			if terr := c.ep.LastError(); terr != nil {
				return toError(terr)
			}
			return syscall.ECONNABORTED
		default:
			return nil
		}
		if ctx.Err() != nil {
			return contextError(ctx)
		}
		c.wait(&c.wr, ctx.Done())
	}
}

func (s *Stack) dialUDP(ctx context.Context, network string, ap netip.AddrPort) (net.Conn, error) {
	life, err := s.carrier(ap.Addr())
	if err != nil {
		return nil, err
	}
	c, err := s.newUDP(life, network, func(ep tcpip.Endpoint) tcpip.Error { return ep.Connect(toFullAddress(ap)) })
	if err != nil {
		return nil, err
	}
	c.remote = net.UDPAddrFromAddrPort(ap)
	return c, nil
}

func (s *Stack) newUDP(life context.Context, network string, begin func(tcpip.Endpoint) tcpip.Error) (*udpConn, error) {
	wq := new(waiter.Queue)
	ep, terr := s.gv.NewEndpoint(udp.ProtocolNumber, ipv4.ProtocolNumber, wq)
	if terr != nil {
		return nil, toError(terr)
	}
	c := &udpConn{socket: newSocket(ep, wq, life, network)}
	if terr := begin(ep); terr != nil {
		ep.Close()
		return nil, toError(terr)
	}
	local, terr := ep.GetLocalAddress()
	if terr != nil {
		panic("BUG: netstack: a UDP endpoint without a local address: " + terr.String())
	}
	c.local = net.UDPAddrFromAddrPort(fromFullAddress(local))
	if life.Err() != nil { // while we were at it: Close may not have seen it
		ep.Close()
		return nil, context.Cause(life)
	}
	return c, nil
}

// Listen opens a TCP listener inside the tunnel: at ":80", or at one of the
// stack's own addresses. Networks are tcp and tcp4. Port 0 chooses one.
func (s *Stack) Listen(network, address string) (net.Listener, error) {
	l, err := s.listen(network, address)
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Err: s.because(err)}
	}
	return l, nil
}

func (s *Stack) listen(network, address string) (*listener, error) {
	if network != "tcp" && network != "tcp4" {
		return nil, net.UnknownNetworkError(network)
	}
	ap, life, err := s.listenAddress(address)
	if err != nil {
		return nil, err
	}
	wq := new(waiter.Queue)
	ep, terr := s.gv.NewEndpoint(tcp.ProtocolNumber, ipv4.ProtocolNumber, wq)
	if terr != nil {
		return nil, toError(terr)
	}
	l := &listener{socket: newSocket(ep, wq, life, network), stack: s}
	call := "bind"
	if terr = ep.Bind(toFullAddress(ap)); terr == nil {
		call, terr = "listen", ep.Listen(backlog)
	}
	if terr != nil {
		ep.Close()
		return nil, inCall(call, toError(terr))
	}
	l.local = l.localTCPAddr()
	if life.Err() != nil { // while we were at it: Close may not have seen it
		ep.Close()
		return nil, context.Cause(life)
	}
	return l, nil
}

// ListenPacket opens a UDP socket inside the tunnel: at ":53", or at one of the
// stack's own addresses. Networks are udp and udp4. Port 0 chooses one.
func (s *Stack) ListenPacket(network, address string) (net.PacketConn, error) {
	c, err := s.listenUDP(network, address)
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Err: s.because(err)}
	}
	return c, nil
}

func (s *Stack) listenUDP(network, address string) (*udpConn, error) {
	if network != "udp" && network != "udp4" {
		return nil, net.UnknownNetworkError(network)
	}
	ap, life, err := s.listenAddress(address)
	if err != nil {
		return nil, err
	}
	c, err := s.newUDP(life, network, func(ep tcpip.Endpoint) tcpip.Error { return ep.Bind(toFullAddress(ap)) })
	if err != nil {
		return nil, inCall("bind", err)
	}
	return c, nil
}

func (s *Stack) listenAddress(address string) (netip.AddrPort, context.Context, error) {
	ap, err := localAddress(address)
	if err != nil {
		return ap, nil, err
	}
	life, err := s.owner(ap.Addr(), ap.Addr())
	if errors.Is(err, syscall.EADDRNOTAVAIL) {
		err = inCall("bind", err)
	}
	return ap, life, err
}
