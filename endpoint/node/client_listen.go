package node

import (
	"net"
	"net/netip"
	"os"
	"time"
)

// Listen opens a TCP listener inside the tunnel, as [netstack.Stack.Listen] does, also
// while the tunnel is down. It lasts until it or the Client is closed: after a redial
// it listens again. At ":80" that is so whatever address the server gives; at one
// address, whenever that is ours.
func (c *Client) Listen(network, address string) (net.Listener, error) {
	fail := func(err error) (net.Listener, error) {
		return nil, &net.OpError{Op: "listen", Net: network, Err: err}
	}
	r := c.running()
	if r == nil {
		return fail(errClientNotStarted)
	}
	at, fixed := fixedAddress(address)
	if !fixed {
		return r.stack.Listen(network, address)
	}
	l := &clientListener{rebound[net.Listener]{
		run: r, network: network,
		listen: func(address string) (net.Listener, error) { return r.stack.Listen(network, address) },
		local:  net.Listener.Addr,
		expire: func(l net.Listener, read, _ time.Time) {
			l.(interface{ SetDeadline(time.Time) error }).SetDeadline(read)
		},
	}}
	if err := l.begin(at, net.TCPAddrFromAddrPort(at)); err != nil {
		return nil, err
	}
	return l, nil
}

// ListenPacket opens a UDP socket inside the tunnel, as [netstack.Stack.ListenPacket]
// does, also while the tunnel is down. It lasts as a listener does (see Listen):
// meanwhile ReadFrom waits, and WriteTo fails.
func (c *Client) ListenPacket(network, address string) (net.PacketConn, error) {
	fail := func(err error) (net.PacketConn, error) {
		return nil, &net.OpError{Op: "listen", Net: network, Err: err}
	}
	r := c.running()
	if r == nil {
		return fail(errClientNotStarted)
	}
	at, fixed := fixedAddress(address)
	if !fixed {
		return r.stack.ListenPacket(network, address)
	}
	p := &clientPacketConn{rebound[net.PacketConn]{
		run: r, network: network,
		listen: func(address string) (net.PacketConn, error) { return r.stack.ListenPacket(network, address) },
		local:  net.PacketConn.LocalAddr,
		expire: func(c net.PacketConn, read, write time.Time) { c.SetReadDeadline(read); c.SetWriteDeadline(write) },
	}}
	if err := p.begin(at, net.UDPAddrFromAddrPort(at)); err != nil {
		return nil, err
	}
	return p, nil
}

// fixedAddress is an address that only one connection may have: what else there is,
// such as ":80", the stack itself keeps listening at.
func fixedAddress(address string) (netip.AddrPort, bool) {
	ap, err := netip.ParseAddrPort(address)
	if err != nil || ap.Addr().IsUnspecified() {
		return ap, false
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()), true
}

// A clientListener listens at one address whenever that is the Client's.
type clientListener struct{ rebound[net.Listener] }

func (l *clientListener) Addr() net.Addr { return l.addr }

// SetDeadline makes Accept fail from t on, as *net.TCPListener's does.
func (l *clientListener) SetDeadline(t time.Time) error { return l.setDeadlines(&t, nil) }

func (l *clientListener) Accept() (conn net.Conn, err error) {
	err = l.read("accept", func(inner net.Listener) (err error) {
		conn, err = inner.Accept()
		return err
	})
	return conn, err
}

// A clientPacketConn is a UDP socket at one address whenever that is the Client's.
type clientPacketConn struct{ rebound[net.PacketConn] }

func (p *clientPacketConn) LocalAddr() net.Addr { return p.addr }

func (p *clientPacketConn) SetDeadline(t time.Time) error      { return p.setDeadlines(&t, &t) }
func (p *clientPacketConn) SetReadDeadline(t time.Time) error  { return p.setDeadlines(&t, nil) }
func (p *clientPacketConn) SetWriteDeadline(t time.Time) error { return p.setDeadlines(nil, &t) }

func (p *clientPacketConn) ReadFrom(b []byte) (n int, from net.Addr, err error) {
	err = p.read("read", func(inner net.PacketConn) (err error) {
		n, from, err = inner.ReadFrom(b)
		return err
	})
	return n, from, err
}

// WriteTo sends one datagram, or fails with a [DownError].
func (p *clientPacketConn) WriteTo(b []byte, to net.Addr) (int, error) {
	inner, bound, _, err := p.now()
	switch {
	case err != nil:
	case bound:
		return inner.WriteTo(b, to)
	default:
		if err = p.run.whyDown(); err == nil { // connected, with another address
			err = os.NewSyscallError("sendto", errNotOurs)
		}
	}
	return 0, &net.OpError{Op: "write", Net: p.network, Source: p.addr, Addr: to, Err: err}
}
