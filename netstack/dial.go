package netstack

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"syscall"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// Dial is DialContext without a context.
func (s *Stack) Dial(network, address string) (net.Conn, error) {
	return s.DialContext(context.Background(), network, address)
}

// DialContext opens a connection through the tunnel. Networks are tcp, tcp4,
// tcp6, udp, udp4 and udp6; a host's name is resolved by LookupHost, and its
// addresses are tried in order, those of the other family meanwhile if
// that takes long (RFC 8305); the port is a number. A link-local address may have
// the zone that [NIC.Addresses] shows, and needs it where several NICs have IPv6.
// A TCP connection has CloseRead, CloseWrite and SetLinger as *net.TCPConn does;
// a UDP one is a net.PacketConn, too.
func (s *Stack) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	fail := func(err error) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	d := dialer{network: network, toAddr: tcpAddr, one: s.dialTCP}
	kind := "tcp"
	if strings.HasPrefix(network, "udp") {
		kind, d.toAddr, d.one = "udp", udpAddr, s.dialUDP
	}
	f, err := familyOf(kind, network)
	if err != nil {
		return fail(err)
	}
	host, port, err := splitAddress(address)
	if err != nil {
		return fail(err)
	}
	if err := s.Err(); err != nil {
		return fail(err)
	}
	addrs, err := s.lookup(ctx, f, host)
	if err != nil {
		return fail(err)
	}
	d.because, d.port = s.because, port
	return d.dial(ctx, addrs)
}

func (s *Stack) dialTCP(ctx context.Context, network string, ap netip.AddrPort) (net.Conn, error) {
	life, to, err := s.carrier(ap)
	if err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, contextError(ctx)
	}
	wq := new(waiter.Queue)
	ep, terr := s.gv.NewEndpoint(tcp.ProtocolNumber, protocolOf(ap.Addr()), wq)
	if terr != nil {
		return nil, toError(terr)
	}
	c := newTCPConn(newSocket(ep, wq, life, network), &s.windows, tcpBufferMax)
	if err := c.connect(ctx, to); err != nil {
		ep.Abort()
		return nil, err
	}
	c.setAddresses(to)
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
	life, to, err := s.carrier(ap)
	if err != nil {
		return nil, err
	}
	c, err := s.newUDP(life, network, ap.Addr(), func(ep tcpip.Endpoint) tcpip.Error { return ep.Connect(to) })
	if err != nil {
		return nil, err
	}
	c.remote = udpAddr(ap)
	return c, nil
}

// newUDP makes a UDP socket for addr's family: for both, if addr is any of IPv6
// and the network does not say which.
func (s *Stack) newUDP(life context.Context, network string, addr netip.Addr, begin func(tcpip.Endpoint) tcpip.Error) (*udpConn, error) {
	wq := new(waiter.Queue)
	ep, terr := s.gv.NewEndpoint(udp.ProtocolNumber, protocolOf(addr), wq)
	if terr != nil {
		return nil, toError(terr)
	}
	ep.SocketOptions().SetV6Only(network == "udp6")
	c := &udpConn{socket: newSocket(ep, wq, life, network), stack: s}
	if terr := begin(ep); terr != nil {
		ep.Close()
		return nil, toError(terr)
	}
	c.local = udpAddr(c.localAddrPort(addr))
	if life.Err() != nil { // while we were at it: Close may not have seen it
		ep.Close()
		return nil, context.Cause(life)
	}
	return c, nil
}

func tcpAddr(ap netip.AddrPort) net.Addr { return net.TCPAddrFromAddrPort(ap) }
func udpAddr(ap netip.AddrPort) net.Addr { return net.UDPAddrFromAddrPort(ap) }
