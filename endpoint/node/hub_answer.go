package node

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/l2tpnet/l2tpnet/endpoint"
)

// answers tells whether some port is for others to ask for.
func (s *hubSocket) answers() bool {
	return slices.ContainsFunc(s.ports, func(p *hubPort) bool { return p.Answer })
}

// answer is how those are answered who ask for one.
func (s *hubSocket) answer() *endpoint.AnswerConfig {
	if !s.answers() {
		return nil
	}
	v3 := new(*s.hub.v3())
	for _, p := range s.ports {
		if p.Answer && !slices.Contains(v3.Pseudowires, p.kind()) {
			v3.Pseudowires = append(slices.Clip(v3.Pseudowires), p.kind())
		}
	}
	return &endpoint.AnswerConfig{
		Secret: s.hub.Secret, V3: v3, HelloInterval: s.hub.HelloInterval,
		Pseudowire: func(c endpoint.Call) (*endpoint.PseudowireConfig, error) {
			p, err := s.asked(c)
			if err != nil {
				return nil, err
			}
			return p.pseudowire, nil
		},
	}
}

// asked is the port that a peer asks for.
func (s *hubSocket) asked(c endpoint.Call) (*hubPort, error) {
	i := slices.IndexFunc(s.ports, func(p *hubPort) bool { return p.Answer && p.pseudowire.RemoteEndID == c.RemoteEndID })
	if i < 0 {
		return nil, errors.New("expected the Remote End ID of a port, found another one")
	}
	p := s.ports[i]
	switch {
	case p.kind() != c.Type:
		return nil, fmt.Errorf("port %s: expected a session of %v, found %v", p.name, p.kind(), c.Type)
	case !p.lets(c.Peer):
		return nil, fmt.Errorf("port %s: expected %s to ask for it, found %v", p.name, p.Remote, c.Peer)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.free(p.link, c) {
		return nil, fmt.Errorf("port %s: %w: %v has it, found %v", p.name, endpoint.ErrCircuitInUse, p.link.session.Tunnel().Peer(), c.Peer)
	}
	return p, nil
}

// lets tells whether a peer may ask for the port.
func (p *hubPort) lets(peer netip.AddrPort) bool {
	a := p.allowed
	return !a.IsValid() && a.Port() == 0 || a.Addr() == peer.Addr() && (a.Port() == 0 || a.Port() == peer.Port())
}

// free tells whether a peer may have the port whose session is old, nil if there is none: it
// may take the place of its own, which it has forgotten. The other one's is asked whether it
// is still there, since the port may be free soon.
func (p *hubPort) free(old *hubLink, c endpoint.Call) bool {
	if old == nil {
		return true
	}
	before, _ := old.session.Call()
	if before.Peer.Addr() == c.Peer.Addr() && before.PeerName == c.PeerName {
		return true
	}
	select {
	case <-old.session.Done():
		return true
	default:
	}
	old.session.Tunnel().Probe()
	return false
}

// accept takes the sessions that others have opened to an endpoint.
func (s *hubSocket) accept(ep *endpoint.Endpoint) {
	for {
		session, err := ep.Accept(s.hub.life)
		if err != nil {
			return
		}
		c, _ := session.Call()
		p, err := s.asked(c)
		if err == nil && p.join(session, ep, func(old *hubLink) bool { return p.free(old, c) }) == nil {
			err = endpoint.ErrCircuitInUse
		}
		if err != nil { // somebody else was faster
			s.hub.log.Warn("a session is refused that was asked for", "peer", c.Peer, "reason", err)
			go session.Close()
		}
	}
}
