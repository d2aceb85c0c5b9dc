package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint"
	"github.com/l2tpnet/l2tpnet/endpoint/bridge"
	"github.com/l2tpnet/l2tpnet/endpoint/link"
)

// A hubPort is a HubPort at work: a port of the switch that is there as long as the hub is,
// and a session that comes and goes.
//
//	static     up with its socket
//	dialled    keeper: control connection, session; again when it is lost
//	answered   the other end asks for it by its Remote End ID
type hubPort struct {
	*HubPort
	name       string
	hub        *Hub
	socket     *hubSocket
	port       *bridge.Port
	pseudowire *endpoint.PseudowireConfig // nil: static
	allowed    netip.AddrPort             // who may ask for it; port 0: any, zero: anybody
	keeper     *keeper                    // of one that is dialled, else nil
	woke       chan struct{}              // the keeper's

	mu    sync.Mutex
	link  *hubLink // nil: the port is down
	ups   int
	err   error // why it is down, or was last
	next  time.Time
	shown string // what was told last: isUp, isGone, or what is the matter with its circuit
}

// A hubLink is a session at a port, and the sink for what comes out of it.
type hubLink struct {
	port    *hubPort
	session *endpoint.Session
	ep      *endpoint.Endpoint
	changed chan struct{} // the peer's circuit has; holds one

	// Under the port's lock.
	circuit endpoint.CircuitStatus
}

func (l *hubLink) Put(b *link.Batch) { l.port.port.Put(b) }

// SetPeerCircuit is that of an [endpoint.CircuitSetter]: a circuit that is not active is a
// link that is down.
func (l *hubLink) SetPeerCircuit(c endpoint.CircuitStatus) {
	p := l.port
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.link != l {
		return
	}
	l.circuit = c
	if c.Usable() {
		p.port.SetLink(l.session)
	} else {
		p.port.SetLink(nil)
	}
	select {
	case l.changed <- struct{}{}:
	default:
	}
}

// ended is why the session is over, or the socket's error if that was the reason.
func (l *hubLink) ended() error {
	err := l.session.Err()
	if errors.Is(err, net.ErrClosed) {
		select {
		case <-l.ep.Done(): // nobody else ends a session that is at its port
			return l.ep.Err()
		case <-l.port.hub.life.Done():
		}
	}
	return err
}

// newHubPort is a port that is checked and not open.
func newHubPort(h *Hub, i int) (p *hubPort, err error) {
	p = &hubPort{HubPort: &h.Ports[i], name: h.name(i), hub: h}
	if p.Pseudowire == nil {
		return p, nil
	}
	p.pseudowire = new(*p.Pseudowire)
	p.pseudowire.Type = cmp.Or(p.pseudowire.Type, endpoint.PseudowireEthernet)
	p.pseudowire.RemoteEndID = cmp.Or(p.pseudowire.RemoteEndID, p.name)
	if p.Answer {
		p.allowed, err = parsePeer(p.Remote)
		return p, err
	}
	p.woke = make(chan struct{}, 1)
	p.keeper, err = p.newKeeper()
	return p, err
}

// parsePeer reads an address, with a port or without: whose sessions are taken.
func parsePeer(s string) (netip.AddrPort, error) {
	if s == "" {
		return netip.AddrPort{}, nil
	}
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()), nil
	}
	a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"))
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("expected the address of who may ask for the port, such as 192.0.2.7, found %q", s)
	}
	return netip.AddrPortFrom(a.Unmap(), 0), nil
}

// kind is the type of the sessions.
func (p *HubPort) kind() endpoint.PseudowireType {
	if p.Pseudowire != nil {
		return cmp.Or(p.Pseudowire.Type, endpoint.PseudowireEthernet)
	}
	return cmp.Or(p.Static.Type, endpoint.PseudowireEthernet)
}

// mtu is the longest payload of the port's frames; 0: there is no limit.
func (p *HubPort) mtu() int {
	if p.Pseudowire != nil {
		return p.Pseudowire.MTU
	}
	return p.Static.MTU
}

// attach joins the port to the switch, without a link.
func (p *hubPort) attach() (err error) {
	p.port, err = p.hub.bridge.Attach(p.name, nil, &bridge.PortConfig{
		MTU: p.mtu(), Isolated: p.Isolated, Learned: p.Learned, Unknown: p.Unknown, Broadcast: p.Broadcast, Multicast: p.Multicast,
	})
	return err
}

// openStatic has the static session at the port, and returns its MTU.
func (p *hubPort) openStatic(ctx context.Context) (mtu int, err error) {
	ep := p.socket.endpoint()
	session, err := ep.Static(ctx, p.Remote, &p.Static)
	if err != nil {
		return 0, err
	}
	p.join(session, ep, nil)
	return session.MTU(), nil
}

// join has a session at the port, in the place of another one, which is closed. allowed, if
// any, is asked before about that.
func (p *hubPort) join(s *endpoint.Session, ep *endpoint.Endpoint, allowed func(old *hubLink) bool) *hubLink {
	l := &hubLink{port: p, session: s, ep: ep, changed: make(chan struct{}, 1)}
	p.mu.Lock()
	old := p.link
	if allowed != nil && !allowed(old) {
		p.mu.Unlock()
		return nil
	}
	p.port.SetLink(nil)
	p.link = l
	p.err, p.next = nil, time.Time{}
	p.ups++
	p.mu.Unlock()
	if old != nil {
		go old.session.Close()
	}
	if c, ok := s.PeerCircuit(); ok {
		l.SetPeerCircuit(c)
	} else {
		l.SetPeerCircuit(endpoint.CircuitActive)
	}
	s.Attach(l)
	p.hub.running.Go(func() { p.watch(l) })
	return l
}

// leave takes a session that is over away from the port, unless another one is there.
func (p *hubPort) leave(l *hubLink) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.link != l {
		return false
	}
	p.link = nil
	p.port.SetLink(nil)
	return true
}

// circuitPause is the least time from one word on a circuit to the next: a peer may change
// its mind all the time.
const circuitPause = time.Second

// watch tells of a session at the port until it is over. The end of one that is dialled the
// keeper tells.
func (p *hubPort) watch(l *hubLink) {
	rest := time.NewTimer(circuitPause)
	defer rest.Stop()
	for {
		select {
		case <-l.session.Done():
			if p.leave(l) && p.keeper == nil {
				p.lacks(PortDown, l.ended(), time.Time{})
			}
			return
		case <-l.changed:
			p.report(l)
		}
		rest.Reset(circuitPause)
		select {
		case <-l.session.Done():
		case <-rest.C:
		}
	}
}

// report tells whether frames go through a session, unless that is told already.
func (p *hubPort) report(l *hubLink) {
	e := HubEvent{Port: p.name, What: PortUp, Peer: l.session.Tunnel().Peer()}
	word := isUp
	p.mu.Lock()
	if !l.circuit.Usable() {
		e = HubEvent{Port: p.name, What: PortDown, Err: &CircuitError{l.circuit}}
		word = e.Err.Error()
	}
	tell := p.link == l && p.shown != word
	if tell {
		p.shown, p.err = word, e.Err
	}
	p.mu.Unlock()
	if tell {
		p.hub.tell(e)
	}
}

// What may have been told of a port.
const isUp, isGone = "up", "gone"

// lacks tells that there is no session at the port, and why.
func (p *hubPort) lacks(what PortChange, err error, next time.Time) {
	p.mu.Lock()
	p.err, p.next, p.shown = err, next, isGone
	p.mu.Unlock()
	p.hub.tell(HubEvent{Port: p.name, What: what, Err: err, Next: next})
}

// A CircuitError is why a port is down whose session stands: its peer has told that its
// circuit is not to be sent to (RFC 3931 §5.4.5).
type CircuitError struct{ Status endpoint.CircuitStatus }

func (e *CircuitError) Error() string { return "the other end's circuit is " + e.Status.String() }
