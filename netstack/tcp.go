package netstack

import (
	"bytes"
	"io"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// Package net's defaults: a peer that has vanished is noticed in some minutes.
const (
	keepAliveInterval = 15 * time.Second
	keepAliveProbes   = 9
)

// A tcpConn is a TCP connection as net.Conn. It has CloseRead, CloseWrite and
// SetLinger as *net.TCPConn does.
type tcpConn struct {
	*socket
	dst tcpip.SliceWriter // where Read reads to, under rd.mu
	src bytes.Reader      // what Write writes, under wr.mu

	windows *windows
	share   windowShare // under rd.mu

	brokenMu sync.Mutex
	broken   error // what broke the connection
}

// newTCPConn wraps an endpoint that is connected or about to be. Its receive buffer
// may have a share of w, and at most so many bytes.
func newTCPConn(k *socket, w *windows, most int) *tcpConn {
	o := k.ep.SocketOptions()
	o.SetKeepAlive(true)
	idle, interval := tcpip.KeepaliveIdleOption(keepAliveInterval), tcpip.KeepaliveIntervalOption(keepAliveInterval)
	k.ep.SetSockOpt(&idle)
	k.ep.SetSockOpt(&interval)
	k.ep.SetSockOptInt(tcpip.KeepaliveCountOption, keepAliveProbes)
	return &tcpConn{socket: k, windows: w, share: windowShare{most: int64(most)}}
}

// setAddresses notes both addresses: gVisor forgets them when a connection
// breaks.
func (c *tcpConn) setAddresses(remote tcpip.FullAddress) {
	c.remote = tcpAddr(fromFullAddress(remote))
	c.local = tcpAddr(c.localAddrPort(netip.IPv6Unspecified()))
}

// failure is what a call fails with for which the endpoint gave terr. gVisor
// tells what broke a connection once, to whoever asks first, and reports an
// orderly end from then on; but each side needs to know, and for ever.
func (c *tcpConn) failure(d *side, call string, terr tcpip.Error) error {
	if err := c.check(d); err != nil {
		return err
	}
	c.brokenMu.Lock()
	defer c.brokenMu.Unlock()
	switch terr.(type) {
	case *tcpip.ErrClosedForReceive, *tcpip.ErrClosedForSend:
		if c.broken != nil {
			return inCall(call, c.broken)
		}
		if tcp.EndpointState(c.ep.State()) == tcp.StateError {
			return inCall(call, syscall.ECONNRESET) // a call on the other side is about to say why
		}
		if _, ok := terr.(*tcpip.ErrClosedForReceive); ok {
			return io.EOF
		}
	default:
		if c.broken == nil && tcp.EndpointState(c.ep.State()) == tcp.StateError {
			c.broken = toError(terr)
		}
	}
	return inCall(call, toError(terr))
}

func (c *tcpConn) Read(b []byte) (int, error) {
	d := &c.rd
	d.mu.Lock()
	defer d.mu.Unlock()
	for {
		if err := c.check(d); err != nil {
			return 0, c.opError("read", err)
		}
		if len(b) == 0 {
			return 0, nil
		}
		c.dst = b
		res, terr := c.ep.Read(&c.dst, tcpip.ReadOptions{})
		c.dst = nil
		switch terr.(type) {
		case nil:
			c.moderate(res.Count)
			return res.Count, nil
		case *tcpip.ErrWouldBlock:
			c.wait(d, nil)
		default:
			err := c.failure(d, "read", terr)
			if err != io.EOF {
				err = c.opError("read", err)
			}
			return 0, err
		}
	}
}

func (c *tcpConn) Write(b []byte) (n int, err error) {
	d := &c.wr
	d.mu.Lock()
	defer d.mu.Unlock()
	defer c.src.Reset(nil)
	for {
		if err := c.check(d); err != nil {
			return n, c.opError("write", err)
		}
		if n == len(b) {
			return n, nil
		}
		c.src.Reset(b[n:])
		m, terr := c.ep.Write(&c.src, tcpip.WriteOptions{})
		n += int(m)
		switch terr.(type) {
		case nil:
			if n == len(b) {
				return n, nil
			}
		case *tcpip.ErrWouldBlock:
			c.wait(d, nil)
		default:
			return n, c.opError("write", c.failure(d, "write", terr))
		}
	}
}

// CloseWrite sends a FIN after what has been written. Reading goes on.
func (c *tcpConn) CloseWrite() error { return c.shutdown(&c.wr, tcpip.ShutdownWrite) }

// CloseRead makes reading return io.EOF. Writing goes on.
func (c *tcpConn) CloseRead() error { return c.shutdown(&c.rd, tcpip.ShutdownRead) }

func (c *tcpConn) shutdown(d *side, how tcpip.ShutdownFlags) error {
	select {
	case <-c.closed:
		return c.opError("close", net.ErrClosed)
	default:
	}
	if err := c.life.Err(); err != nil {
		return c.opError("close", c.check(d))
	}
	if terr := c.ep.Shutdown(how); terr != nil {
		return c.opError("close", c.failure(d, "shutdown", terr))
	}
	return nil
}

// SetLinger says what Close does with data that has not been acknowledged: it
// is sent, in the background, if sec is negative, which is the default; if
// it is 0 it is discarded and the connection is reset. Another value sends it,
// too: Close does not wait.
func (c *tcpConn) SetLinger(sec int) error {
	c.ep.SocketOptions().SetLinger(tcpip.LingerOption{Enabled: sec >= 0, Timeout: time.Duration(max(sec, 0)) * time.Second})
	return nil
}

// A listener is a net.Listener that has SetDeadline as *net.TCPListener does.
type listener struct {
	*socket
	stack *Stack
}

func (l *listener) Addr() net.Addr { return l.local }

// SetDeadline makes Accept fail from t on.
func (l *listener) SetDeadline(t time.Time) error { return l.SetReadDeadline(t) }

func (l *listener) Accept() (net.Conn, error) {
	d := &l.rd
	d.mu.Lock()
	defer d.mu.Unlock()
	for {
		if err := l.check(d); err != nil {
			return nil, l.opError("accept", err)
		}
		var remote tcpip.FullAddress
		ep, wq, terr := l.ep.Accept(&remote)
		switch terr.(type) {
		case nil:
			if c := l.stack.accepted(ep, wq, remote, l.network); c != nil {
				return c, nil
			}
		case *tcpip.ErrWouldBlock:
			l.wait(d, nil)
		default:
			return nil, l.opError("accept", l.failure(d, "accept", terr))
		}
	}
}

// accepted wraps a connection that a peer has opened, or resets it and returns
// nil if nothing carries it any more.
func (s *Stack) accepted(ep tcpip.Endpoint, wq *waiter.Queue, remote tcpip.FullAddress, network string) net.Conn {
	local, terr := ep.GetLocalAddress()
	if terr != nil {
		panic("BUG: netstack: an accepted connection without a local address: " + terr.String())
	}
	life, err := s.owner(fromAddress(local.Addr), fromAddress(remote.Addr))
	if err != nil {
		ep.Abort()
		return nil
	}
	c := newTCPConn(newSocket(ep, wq, life, network), &s.windows, tcpBufferMax)
	c.setAddresses(remote)
	return c
}
