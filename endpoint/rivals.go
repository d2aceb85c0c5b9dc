package endpoint

import (
	"net/netip"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/control"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

// Tunnels that compete for a peer: both ends dial each other at once, or a peer that
// has restarted dials while its old tunnel stands. The machines know the rules; who
// meets whom is known here.

// rivalTime is for how long after a tunnel of ours has been established a losing
// SCCRQ of the peer's may still come: a full retransmission cycle.
const rivalTime = 31 * time.Second

// rival is our tunnel to the address that an SCCRQ came from, if it is being dialled or
// was until just now.
func (e *Endpoint) rival(from netip.AddrPort) *Tunnel {
	e.mu.Lock()
	defer e.mu.Unlock()
	t := e.dialling[from]
	if t == nil {
		return nil
	}
	if up := t.upAt.Load(); up != nil && time.Since(*up) > rivalTime {
		return nil
	}
	return t
}

// collide decides whether an SCCRQ is answered although we are dialling its sender. The
// tunnel that goes for it, once it is established, comes back.
func (e *Endpoint) collide(from netip.AddrPort, sccrq *wire.Message) (loser *Tunnel, answer bool) {
	r := e.rival(from)
	if r == nil {
		return nil, true
	}
	outcome := control.Collide(r.machine.TieBreaker(), control.PeerTieBreaker(sccrq))
	switch outcome {
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

// prevail ends the tunnels that an established one takes the place of. On its loop.
func (t *Tunnel) prevail(single bool) {
	if r := t.replaces; r != nil {
		t.replaces = nil
		if r.caller == (peerID{}) {
			r.winner.Store(t)
			r.runner.Do(r.machine.LoseTie)
		} else {
			r.runner.Do(r.machine.Superseded)
		}
	}
	if !single || t.caller == (peerID{}) {
		return
	}
	// RFC 2661 §4.4.3: with a Tie Breaker, the peer "wishes a single tunnel to
	// exist between the given LAC-LNS pair".
	t.ep.mu.Lock()
	var old []*Tunnel
	for o := range t.ep.all {
		if o != t && o.caller != (peerID{}) && o.Peer() == t.Peer() && o.upAt.Load() != nil {
			old = append(old, o)
		}
	}
	t.ep.mu.Unlock()
	for _, o := range old {
		o.runner.Do(o.machine.Superseded)
	}
}

// restarted opens another tunnel for a peer that has begun anew under the id of
// this one, which stands until the other is established. On the loop.
func (t *Tunnel) restarted(sccrq []byte) {
	e := t.ep
	if t.caller == (peerID{}) || e.cfg.Answer == nil || !e.roomForAnother() {
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
