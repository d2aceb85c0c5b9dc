package node

import (
	"context"
	"net/netip"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint"
	"github.com/l2tpnet/l2tpnet/netstack"
)

// advertisementWait is how long a router advertisement is waited for, in a session
// that has IPv6: a router that is there answers our solicitation at once, and who is
// told of the connection wants to know its addresses.
const advertisementWait = 500 * time.Millisecond

// A call is the way of who dials a server: a tunnel, and PPP in it.
type call struct {
	tunnel endpoint.TunnelConfig
	ppp    endpoint.PPPConfig
}

func (w *call) open(ctx context.Context, ep *endpoint.Endpoint, to netip.AddrPort, patience time.Duration) (*endpoint.Session, error) {
	tunnel, err := w.dial(ctx, ep, to, patience)
	if err != nil {
		return nil, err
	}
	return tunnel.OpenPPP(ctx, &w.ppp)
}

func (w *call) dial(ctx context.Context, ep *endpoint.Endpoint, to netip.AddrPort, patience time.Duration) (*endpoint.Tunnel, error) {
	return within(ctx, patience, func(ctx context.Context) (*endpoint.Tunnel, error) {
		return ep.Dial(ctx, to.String(), &w.tunnel)
	})
}

// within has f called with a context that is over after patience, and tells when that is
// why f has failed. Zero: f has all the time of ctx.
func within[T any](ctx context.Context, patience time.Duration, f func(context.Context) (T, error)) (T, error) {
	short := ctx
	if patience > 0 {
		var cancel context.CancelFunc
		short, cancel = context.WithTimeout(ctx, patience)
		defer cancel()
	}
	v, err := f(short)
	if err != nil && short.Err() != nil && ctx.Err() == nil {
		var none T
		return none, &PatienceError{patience}
	}
	return v, err
}

func (w *call) join(ctx context.Context, stack *netstack.Stack, session *endpoint.Session) (inside, error) {
	return joinPPP(ctx, stack, session)
}

// A pppInside is the NIC of a session with PPP.
type pppInside struct {
	*netstack.NIC
	session *endpoint.Session
}

func (i pppInside) gateway() netip.Addr { return i.session.PeerAddress() }

// joinPPP makes the NIC that a session's PPP has negotiated, with DNS servers besides
// those that the peer has named.
func joinPPP(ctx context.Context, stack *netstack.Stack, session *endpoint.Session, dns ...netip.Addr) (inside, error) {
	id, _ := session.InterfaceIDs()
	nic, err := stack.AddIP(session, &netstack.IPConfig{
		Addresses: session.Addresses(), DNS: append(dns, session.DNS()...), MTU: session.MTU(), InterfaceID: id,
		Name: "tunnel", // the same for each connection, so that IPv6 addresses are, too
	})
	if err != nil {
		return nil, err
	}
	session.Attach(nic)
	if id != [8]byte{} {
		wait, cancel := context.WithTimeout(ctx, advertisementWait)
		defer cancel()
		nic.WaitIPv6(wait)
	}
	return pppInside{nic, session}, nil
}
