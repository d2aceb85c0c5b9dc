package endpoint

import (
	"net/netip"
	"slices"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/control"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/udp"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
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

// index and unindex keep the tunnels of each address; mu is held.
func (e *Endpoint) index(t *Tunnel) {
	peer := t.Peer()
	e.byAddr[peer] = append(e.byAddr[peer], t)
}

func (e *Endpoint) unindex(t *Tunnel) {
	peer := t.Peer()
	left := slices.DeleteFunc(e.byAddr[peer], func(o *Tunnel) bool { return o == t })
	if e.byAddr[peer] = left; len(left) == 0 {
		delete(e.byAddr, peer)
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

// find is the first tunnel of an address that is wanted, or nil.
func (e *Endpoint) find(peer netip.AddrPort, want func(*Tunnel) bool) *Tunnel {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, t := range e.byAddr[peer] {
		if want(t) {
			return t
		}
	}
	return nil
}

// only is the tunnel of an address that has no other; nil when it has none or more.
func (e *Endpoint) only(peer netip.AddrPort) *Tunnel {
	e.mu.Lock()
	defer e.mu.Unlock()
	if ts := e.byAddr[peer]; len(ts) == 1 {
		return ts[0]
	}
	return nil
}

// rival is our tunnel to the address that an SCCRQ came from, if it is being dialled or
// was until just now.
func (e *Endpoint) rival(from netip.AddrPort) *Tunnel {
	return e.find(from, func(t *Tunnel) bool {
		up := t.upAt.Load()
		return t.dialed() && !t.isDown() && (up == nil || time.Since(*up) <= rivalTime)
	})
}

// collide decides whether an SCCRQ is answered although we are dialling its sender. The
// tunnel that goes for it, once it is established, comes back.
func (e *Endpoint) collide(from netip.AddrPort, sccrq *wire.Message) (loser *Tunnel, answer bool) {
	r := e.rival(from)
	if r == nil {
		return nil, true
	}
	switch control.Collide(r.machine.TieBreaker(), control.PeerTieBreaker(sccrq)) {
	case control.OursWins:
		return nil, false
	case control.NoneWins:
		r.runner.Do(r.machine.LoseTie)
		return nil, false
	case control.TheirsWins:
		r.runner.Do(r.machine.Yield)
		return r, true
	}
	return nil, true
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
	if !single || t.dialed() {
		return
	}
	// RFC 2661 §4.4.3: with a Tie Breaker, the peer "wishes a single tunnel to
	// exist between the given LAC-LNS pair". If it has others, it has forgotten them.
	t.ep.mu.Lock()
	others := slices.Clone(t.ep.byAddr[t.Peer()])
	t.ep.mu.Unlock()
	for _, o := range others {
		if o != t && !o.dialed() && o.upAt.Load() != nil {
			o.runner.Do(o.machine.Superseded)
		}
	}
}

// restarted opens another tunnel for a peer that has begun anew under the id of
// this one, which stands until the other is established. On the loop.
func (t *Tunnel) restarted(sccrq []byte) {
	e := t.ep
	if t.dialed() || e.cfg.Answer == nil || !e.roomForAnother() {
		return
	}
	next, err := e.newTunnel(t.path.Load(), t.caller, control.Answer, e.answering())
	if err != nil {
		t.log.Warn("a peer that has restarted was not answered", "error", err)
		return
	}
	next.runner.Do(func(time.Time) { next.replaces = t })
	next.runner.Handle(sccrq)
}
