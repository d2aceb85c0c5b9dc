package node

import (
	"context"
	"math/rand/v2"
	"net"
	"net/netip"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint"
)

// A hubTrunk is a control connection that all ports have in common that are dialled from
// one socket to one address.
type hubTrunk struct {
	dialled chan struct{} // closed when one of these is known
	tunnel  *endpoint.Tunnel
	err     error
}

// over tells whether it takes another one.
func (t *hubTrunk) over() bool {
	select {
	case <-t.dialled:
	default:
		return false
	}
	if t.err != nil {
		return true
	}
	select {
	case <-t.tunnel.Done():
		return true
	default:
		return false
	}
}

// tunnel is the control connection to an address, which is dialled if there is none.
func (s *hubSocket) tunnel(ctx context.Context, to netip.AddrPort) (*endpoint.Tunnel, *endpoint.Endpoint, error) {
	s.mu.Lock()
	ep, t := s.ep, s.trunks[to]
	if t == nil || t.over() {
		t = &hubTrunk{dialled: make(chan struct{})}
		s.trunks[to] = t
		s.hub.running.Go(func() {
			t.tunnel, t.err = ep.Dial(s.hub.life, to.String(), &endpoint.TunnelConfig{
				Secret: s.hub.Secret, V3: s.hub.v3(), HelloInterval: s.hub.HelloInterval,
			})
			close(t.dialled)
		})
	}
	s.mu.Unlock()
	select {
	case <-t.dialled:
		return t.tunnel, ep, t.err
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
}

// v3 is what all control connections have.
func (h *Hub) v3() *endpoint.V3Config {
	if h.V3 == nil {
		return &endpoint.V3Config{}
	}
	return h.V3
}

// newKeeper keeps a port that is dialled.
func (p *hubPort) newKeeper() (*keeper, error) {
	servers, err := parseServers(p.Remote)
	if err != nil {
		return nil, err
	}
	return &keeper{
		servers: servers, dial: p.dial, tell: p.kept, jitter: rand.Float64, woke: p.woke, patience: defaultPatience,
		resolve: func(ctx context.Context, host string) ([]netip.Addr, error) {
			network := "ip"
			if a := p.socket.endpoint().Addr().Addr(); !a.IsUnspecified() {
				network = map[bool]string{true: "ip4", false: "ip6"}[a.Is4()]
			}
			return net.DefaultResolver.LookupNetIP(ctx, network, host)
		},
	}, nil
}

// dial opens a session of the port to one address.
func (p *hubPort) dial(ctx context.Context, t *target, to netip.AddrPort, patience time.Duration) (connection, error) {
	type way struct {
		tunnel *endpoint.Tunnel
		ep     *endpoint.Endpoint
	}
	w, err := within(ctx, patience, func(ctx context.Context) (way, error) {
		tunnel, ep, err := p.socket.tunnel(ctx, to)
		return way{tunnel, ep}, err
	})
	if err != nil {
		return nil, err
	}
	session, err := w.tunnel.Open(ctx, p.pseudowire)
	if err != nil {
		return nil, err
	}
	return &hubConn{p.join(session, w.ep, nil), t.name}, nil
}

// A hubConn is a session for the keeper.
type hubConn struct {
	*hubLink
	server string
}

func (c *hubConn) Done() <-chan struct{}    { return c.session.Done() }
func (c *hubConn) Err() error               { return c.ended() }
func (c *hubConn) Changed() <-chan struct{} { return nil }
func (c *hubConn) Probe()                   { c.session.Tunnel().Probe() }
func (c *hubConn) fail(*DownError)          { c.port.leave(c.hubLink) }
func (c *hubConn) close()                   { go c.session.Close() }

func (c *hubConn) describe() Connected {
	t := c.session.Tunnel()
	return Connected{Server: c.server, Peer: t.Peer(), PeerName: t.PeerName(), MTU: c.session.MTU(), Version: 3, Type: c.session.Type()}
}

// kept takes what the keeper has to tell. That a session is there its watch tells.
func (p *hubPort) kept(e Event) {
	switch e := e.(type) {
	case Failed:
		p.lacks(PortFailed, e.Err, e.Next)
	case Disconnected:
		p.lacks(PortDown, e.Err, e.Next)
	}
}
