package node

import (
	"context"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint"
	"github.com/l2tpnet/l2tpnet/netstack"
)

// A way is how a run comes to a session, and to an interface of the stack on it.
type way interface {
	// open opens a session through an endpoint. What is not established within patience,
	// unless that is 0, fails with a [PatienceError].
	open(ctx context.Context, ep *endpoint.Endpoint, to netip.AddrPort, patience time.Duration) (*endpoint.Session, error)
	// join adds the interface, and returns when it has its addresses.
	join(ctx context.Context, stack *netstack.Stack, session *endpoint.Session) (inside, error)
}

// An inside is an interface of the stack: what comes out of a session.
type inside interface {
	Addresses() []netip.Addr
	DNS() []netip.Addr
	Changed() <-chan struct{} // closed when one of these changes next; nil: never
	Counters() netstack.Counters
	Fail(error)
	Close() error
	gateway() netip.Addr
}

// A clientConn is a connection of a Client's: an endpoint with one tunnel and one
// session, and the interface that its packets come out of.
type clientConn struct {
	run     *clientRun
	target  *target
	ep      *endpoint.Endpoint
	session *endpoint.Session
	inside  inside
}

// A session tells both when its MTU changes.
var _, _ endpoint.MTUSetter = (*netstack.NIC)(nil), (*netstack.Port)(nil)

// dial makes a connection to one address: with a socket of its own, since a NAT may
// have forgotten the old one, and the server may still have a tunnel with it.
func (r *clientRun) dial(ctx context.Context, t *target, to netip.AddrPort, patience time.Duration) (_ connection, err error) {
	if r.c.SourcePort != 0 || r.c.captures() {
		// The port must be free again, and a capture's endpoints come one after the
		// other.
		r.closing.Wait()
	}
	c := &clientConn{run: r, target: t}
	if c.ep, err = r.listen(to); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			c.close()
		}
	}()
	r.mu.Lock()
	r.ep = c.ep
	r.mu.Unlock()
	r.stack.SetReceiveWindow(c.ep.Status().ReceiveBuffer)
	if err := r.c.capture(c.ep); err != nil {
		return nil, &CaptureError{err}
	}
	if c.session, err = r.way.open(ctx, c.ep, to, patience); err != nil {
		return nil, err
	}
	if c.inside, err = r.way.join(ctx, r.stack, c.session); err != nil {
		return nil, err
	}
	r.mu.Lock()
	r.conn = c
	r.mu.Unlock()
	r.c.capture(c.ep) // somebody may have begun meanwhile
	return c, nil
}

// listen opens the socket for an attempt, of the address's family.
func (r *clientRun) listen(to netip.AddrPort) (*endpoint.Endpoint, error) {
	network, host := "udp4", ""
	if to.Addr().Is6() {
		network = "udp6"
	}
	if r.c.Bind.IsValid() {
		host = r.c.Bind.String()
	}
	cfg := &endpoint.Config{Logger: r.log, HostName: r.c.HostName, Device: r.c.Device}
	if r.c.static != nil {
		cfg.Answer = r.c.static.answer
	}
	if r.c.Socket != nil {
		conn, err := r.c.Socket(network)
		if err != nil {
			return nil, &SocketError{network, err}
		}
		ep, err := endpoint.New(conn, cfg)
		if err != nil {
			conn.Close()
		}
		return ep, err
	}
	// A tunnel's socket is not connected, and would not be told that there is no way.
	local := net.JoinHostPort(host, strconv.Itoa(int(r.c.SourcePort)))
	if r.c.Device == "" {
		if err := reachable(network, r.c.Bind, to); err != nil && r.c.Bind.IsValid() {
			return nil, &SocketError{local, err}
		} else if err != nil {
			return nil, err
		}
	}
	ep, err := endpoint.Listen(network, local, cfg)
	if err != nil {
		return nil, &SocketError{local, err}
	}
	return ep, nil
}

// reachable asks the routes, and sends nothing.
func reachable(network string, from netip.Addr, to netip.AddrPort) error {
	var d net.Dialer
	if from.IsValid() {
		d.LocalAddr = net.UDPAddrFromAddrPort(netip.AddrPortFrom(from, 0))
	}
	conn, err := d.Dial(network, to.String())
	if err != nil {
		return err
	}
	return conn.Close()
}

func (c *clientConn) Done() <-chan struct{}    { return c.session.Done() }
func (c *clientConn) Err() error               { return c.session.Err() }
func (c *clientConn) Changed() <-chan struct{} { return c.inside.Changed() }

// Probe asks the peer whether it is there. On a static pseudowire nobody would answer.
func (c *clientConn) Probe() {
	if c.run.c.static != nil {
		return
	}
	c.run.log.Info("this machine has slept: is the server still there?")
	c.session.Tunnel().Probe()
}

func (c *clientConn) describe() Connected {
	t := c.session.Tunnel()
	return Connected{
		Server: c.target.name, Peer: t.Peer(), PeerName: t.PeerName(),
		Addresses: c.inside.Addresses(), Gateway: c.inside.gateway(), DNS: c.inside.DNS(), MTU: c.session.MTU(),
		Version: t.Status().Version, Type: c.session.Type(),
	}
}

// fail ends what goes through the tunnel. Who asks why finds the reason already.
func (c *clientConn) fail(err *DownError) {
	c.run.set(func(s *ClientStatus) { s.State, s.Err, s.Current = StateWaiting, err.Err, Connected{} })
	c.inside.Fail(err)
}

// close resets the connections inside while they can still be, and has the endpoint
// say goodbye in the background, which takes two seconds at most.
func (c *clientConn) close() {
	c.run.mu.Lock()
	if c.run.conn == c {
		c.run.conn = nil
	}
	if c.run.ep == c.ep {
		c.run.ep = nil
	}
	c.run.mu.Unlock()
	if c.inside != nil {
		c.inside.Close()
	}
	c.run.closing.Go(func() {
		c.ep.Close()
		c.run.c.captured(c.ep)
	})
}
