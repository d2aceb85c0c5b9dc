package endpoint

import (
	"net/netip"
	"slices"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/control"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/udp"
)

// Tunnels that compete for a peer: both ends dial each other at once, or a peer that
// has restarted dials while its old tunnel stands. The machines know the rules; who
// meets whom is known here.

// rivalTime is for how long after a tunnel of ours has been established a losing
// SCCRQ of the peer's may still come: a full retransmission cycle.
const rivalTime = 31 * time.Second

// dialed tells whether we opened the tunnel.
func (t *Tunnel) dialed() bool { return t.caller == (peerID{}) }

func (t *Tunnel) isDown() bool {
	select {
	case <-t.done:
		return true
	default:
		return false
	}
}

// move changes the peer's address.
func (e *Endpoint) move(t *Tunnel, way *udp.Path) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.unindex(t)
	t.path.Store(way)
	e.index(t)
}

// knows tells whether an address has a tunnel, half-open ones included: of a NAT's
// clients perhaps another one has.
func (e *Endpoint) knows(peer netip.AddrPort) bool {
	if e.half != nil {
		e.half.mu.Lock()
		defer e.half.mu.Unlock()
		if e.half.records.sources[e.half.hasher.source(peer.Addr())] > 0 {
			return true
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.byAddr[peer] != nil
}

// collide decides whether an SCCRQ is answered although we are dialling its sender: unless
// ours wins, or none. The tunnel that is to yield, as soon as it is answered, comes back.
//
// An SCCRQ of L2TPv2 may be anybody's, in the peer's name. What is dialled with a fall-back
// and a secret could come to be of L2TPv3, where it is not: it does not wait for one that
// wins, and is not discarded for one that draws, but goes when the other is established.
func (e *Endpoint) collide(caller peerID, sccrq []byte) (yields *Tunnel, outcome control.Collision) {
	r := e.rival(caller)
	if r == nil {
		return nil, control.BothStand
	}
	wary := !caller.v3 && r.contest == ofEither && r.machine.Authenticates()
	switch outcome = r.tie(sccrq); {
	case wary:
	case outcome == control.NoneWins:
		r.runner.Do(r.machine.DrawTie)
	case outcome == control.TheirsWins:
		return r, outcome
	}
	return nil, outcome
}

// overcome is our tunnel to the address that an SCCRQ came from, if it has to go when
// that one's is established.
func (e *Endpoint) overcome(caller peerID, sccrq []byte) *Tunnel {
	if r := e.rival(caller); r != nil && r.tie(sccrq) == control.TheirsWins {
		return r
	}
	return nil
}

func (t *Tunnel) tie(sccrq []byte) control.Collision {
	return control.Collide(t.machine.TieBreaker(), control.PeerTieBreaker(t.ep.opened(sccrq, false)))
}

// wantsSingle tells whether a tunnel to a peer is to say that it wishes to be the only
// one: when the peer may dial us at the same time, and no other stands.
func (e *Endpoint) wantsSingle(peer netip.AddrPort) bool {
	return e.cfg.Answer != nil && e.find(peer, func(t *Tunnel) bool { return !t.isDown() }) == nil
}

// prevail ends the tunnels that an established one takes the place of. On its loop.
func (t *Tunnel) prevail(single bool) {
	if r := t.replaces; r != nil {
		t.replaces = nil
		if r.dialed() {
			r.winner.Store(t)
			r.runner.Do(r.machine.LoseTie)
		} else {
			r.runner.Do(r.machine.Superseded)
		}
	}
	t.ep.tellUp(t)
	if !single || t.dialed() {
		return
	}
	// RFC 2661 §4.4.3: with a Tie Breaker, the peer "wishes a single tunnel to
	// exist between the given LAC-LNS pair". If it has others, it has forgotten them.
	t.ep.mu.Lock()
	others := slices.Collect(t.ep.byAddr[t.Peer()].all())
	t.ep.mu.Unlock()
	for _, o := range others {
		if o != t && !o.dialed() && o.upAt.Load() != nil {
			o.runner.Do(o.machine.Superseded)
		}
	}
}
