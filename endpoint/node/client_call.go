package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint"
	"github.com/l2tpnet/l2tpnet/netstack"
)

// advertisementWait is how long a router advertisement is waited for, in a session
// that has IPv6: a router that is there answers our solicitation at once, and who is
// told of the connection wants to know its addresses.
const advertisementWait = 500 * time.Millisecond

// A call is the way of who dials a server: a tunnel, and a session in it.
type call struct {
	interior
	tunnel     endpoint.TunnelConfig
	pseudowire endpoint.PseudowireConfig // of a session; in L2TPv2 its PPP alone counts
	lease      time.Duration             // how long one is waited for
}

// newCall finds what does not fit together.
func (c *Client) newCall() (*call, error) {
	w := &call{
		tunnel: endpoint.TunnelConfig{
			Secret: c.Secret, HelloInterval: c.HelloInterval, HideAVPs: c.HideAVPs, V3: c.V3, Fallback: c.Fallback,
		},
		pseudowire: endpoint.PseudowireConfig{Type: endpoint.PseudowirePPP}, lease: leaseWait,
	}
	if c.Pseudowire != nil {
		w.pseudowire = *c.Pseudowire
	}
	p := &w.pseudowire
	p.Type = cmp.Or(p.Type, endpoint.PseudowireEthernet)
	w.interior = interior{
		kind: p.Type, addresses: c.Addresses, gateway: c.Gateway, gateway6: c.Gateway6,
		dns: c.DNS, dhcp: c.DHCP, noIPv6: c.NoIPv6, mac: c.MAC,
	}
	isPPP := p.Type == endpoint.PseudowirePPP
	switch {
	case c.V3 == nil && c.Pseudowire != nil:
		return nil, errors.New("expected V3 with a Pseudowire, since L2TPv2 carries PPP alone, found none")
	case c.V3 == nil && c.Fallback:
		return nil, errors.New("expected V3 with Fallback, found none")
	case c.Fallback && !isPPP:
		return nil, fmt.Errorf("expected a PPP pseudowire with Fallback, since L2TPv2 carries nothing else, found %v", p.Type)
	case p.PPP != nil || p.RawPPP:
		return nil, errors.New("expected PPP that is as the Client's own fields say, found it in its Pseudowire")
	case !isPPP && (c.User != "" || c.Address.IsValid()):
		return nil, fmt.Errorf("expected a PPP pseudowire with a User or the Address that is asked for, found %v", p.Type)
	case c.Address.IsValid() && len(c.Addresses) > 0:
		return nil, errors.New("expected the Address that PPP asks for once, found it in Addresses as well")
	}
	if err := errors.Join(w.complete(), c.V3.Validate(c.Secret)); err != nil {
		return nil, err
	}
	if c.Outgoing != nil && c.V3 != nil {
		p.Outgoing, p.RemoteEndID = true, cmp.Or(p.RemoteEndID, c.Outgoing.Number)
	}
	if isPPP {
		p.PPP = &endpoint.PPPConfig{
			User: c.User, Password: c.Password, Methods: c.Methods, Outgoing: c.Outgoing,
			NoIPv6: c.NoIPv6, MPPE: c.MPPE, MRU: c.MRU, Address: cmp.Or(c.Address, w.asked()),
			// For a peer of L2TPv2, of whom only a LAC may ask that.
			Sequenced: c.Outgoing == nil && (p.Sequencing == endpoint.SequencingRecv || p.Sequencing == endpoint.SequencingBoth),
		}
	}
	return w, p.Validate()
}

func (w *call) open(ctx context.Context, ep *endpoint.Endpoint, to netip.AddrPort, patience time.Duration) (*endpoint.Session, error) {
	tunnel, err := w.dial(ctx, ep, to, patience)
	if err != nil {
		return nil, err
	}
	return tunnel.Open(ctx, &w.pseudowire)
}

func (w *call) dial(ctx context.Context, ep *endpoint.Endpoint, to netip.AddrPort, patience time.Duration) (*endpoint.Tunnel, error) {
	tunnel, err := within(ctx, patience, func(ctx context.Context) (*endpoint.Tunnel, error) {
		return ep.Dial(ctx, to.String(), &w.tunnel)
	})
	if late, ok := errors.AsType[*PatienceError](err); ok && w.tunnel.V3 != nil {
		silent := endpoint.TimeoutError{Silent: true, V3: !w.tunnel.Fallback, Fallback: w.tunnel.Fallback, Secret: w.tunnel.Secret != ""}
		late.hint = silent.Hint()
	}
	return tunnel, err
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
		return none, &PatienceError{After: patience}
	}
	return v, err
}

// join waits for a lease as long as the session lasts, and not for ever, since there may be
// nobody who gives one.
func (w *call) join(ctx context.Context, stack *netstack.Stack, session *endpoint.Session) (inside, error) {
	short, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	late := time.AfterFunc(w.lease, func() { cancel(&LeaseError{w.lease, session.Status().PeerCircuit}) })
	defer late.Stop()
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		select {
		case <-session.Done():
			cancel(session.Err())
		case <-ended:
		}
	}()
	in, err := w.interior.join(short, stack, session)
	if err != nil && ctx.Err() == nil && short.Err() != nil {
		return nil, context.Cause(short)
	}
	return in, err
}

// leaseWait is how long a lease is waited for: a bridge on the way may be silent for half a
// minute, until it knows that there is no loop.
const leaseWait = time.Minute

// A LeaseError ends an attempt in which no address has come by DHCP.
type LeaseError struct {
	After   time.Duration
	Circuit string // the peer's Circuit Status, "active" or "inactive", perhaps with faults
}

func (e *LeaseError) Error() string {
	words := fmt.Sprintf("no address has come by DHCP within %v", e.After)
	if e.Circuit != "" && e.Circuit != "active" {
		words += ": the peer's circuit is " + e.Circuit
	}
	return words
}

// Timeout reports true, as net.Error's does.
func (e *LeaseError) Timeout() bool { return true }

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
