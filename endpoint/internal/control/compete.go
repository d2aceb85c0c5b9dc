package control

import (
	"bytes"
	"hash/fnv"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

// Tunnels that compete: both ends dial each other at once, or a peer that has
// restarted dials while its old tunnel stands. Each tunnel is a machine of its
// own, so their owner, who alone sees both, decides, and tells the one that
// goes.

// A Collision is what becomes of two tunnels when both ends dial each other.
type Collision uint8

const (
	BothStand  Collision = iota // two tunnels
	OursWins                    // the peer's SCCRQ is to be dropped in silence
	TheirsWins                  // it is to be answered: see [Tunnel.Yield]
	NoneWins                    // it is to be dropped, and ours is to end: [Tunnel.DrawTie]
)

// Collide compares the Tie Breaker of our SCCRQ, to which the peer has not
// replied yet, with the one of an SCCRQ of the peer's; nil means that there is
// none.
//
// An SCCRQ that has lost may still be under way when our tunnel is established
// already. So OursWins is to be heeded for a full retransmission cycle more (31
// s); any other SCCRQ is then that of another tunnel.
//
// RFC 2661 §4.4.3: "The lower value "wins", and the "loser" MUST silently
// discard its tunnel. In the case where a tie breaker is present on both sides,
// and the value is equal, both sides MUST discard their tunnels. If a tie
// breaker is received, and an outstanding SCCRQ had no tie breaker value, the
// initiator which included the Tie Breaker AVP "wins". If neither side issues a
// tie breaker, then two separate tunnels are opened."
func Collide(ours, theirs *[8]byte) Collision {
	switch {
	case ours == nil && theirs == nil:
		return BothStand
	case theirs == nil:
		return OursWins
	case ours == nil:
		return TheirsWins
	}
	switch bytes.Compare(ours[:], theirs[:]) {
	case -1:
		return OursWins
	case 1:
		return TheirsWins
	}
	return NoneWins
}

// PeerTieBreaker is the Tie Breaker of an SCCRQ for [Collide]; nil if it has
// none.
func PeerTieBreaker(sccrq *wire.Message) *[8]byte {
	if !sccrq.Has(wire.AVPTieBreaker) {
		return nil
	}
	return &sccrq.TieBreaker
}

// TieBreaker is the one of our SCCRQ; nil: it has none. It never changes.
func (t *Tunnel) TieBreaker() *[8]byte { return t.tieBreaker }

// DialledFor tells in which versions of L2TP, of 2 and 3, a tunnel that we have dialled may
// come to be; both: its SCCRQ leaves the choice to the peer. It never changes.
func (t *Tunnel) DialledFor() (v2, v3 bool) {
	return t.cfg.V3 == nil || t.cfg.V3.Fallback, t.cfg.V3 != nil
}

// Authenticates tells whether the peer has to know a secret. It never changes.
func (t *Tunnel) Authenticates() bool { return t.cfg.Secret != nil }

func (t *Tunnel) addTieBreaker(sccrq *wire.Message) {
	if !t.cfg.TieBreaker {
		return
	}
	t.tieBreaker = new([8]byte)
	t.random(t.tieBreaker[:])
	sccrq.TieBreaker = *t.tieBreaker
	sccrq.Set(wire.AVPTieBreaker)
}

// Yield makes room for a tunnel of the peer's that wins: SCCRQ is not sent
// again for as long as that one has to get established ([Config.SetupTimeout]).
// When it is, [Tunnel.LoseTie] ends this one; otherwise SCCRQ goes out again
// then ("Re-queue SCCRQ for idle state", RFC 2661 §7.2.1), and a reply to it is
// taken all the time. So an SCCRQ that anybody has sent in the peer's name, and
// an all-zero Tie Breaker wins always, does not end what is being dialled: an
// honest peer discards our SCCRQ in silence, and one that has sent none replies.
// It yields once: after that, and after the reply, nothing happens.
func (t *Tunnel) Yield(now time.Time) {
	if t.state == waitCtlReply && !t.yielded {
		t.yielded = true
		t.reliable.pause(now, t.cfg.SetupTimeout)
	}
}

// LoseTie ends a tunnel that has lost: without a word, with ErrLostTie. Once
// the peer has replied, nothing happens: it has taken both.
func (t *Tunnel) LoseTie(now time.Time) {
	if t.state == waitCtlReply {
		t.vanish(now, ErrLostTie)
	}
}

// DrawTie ends a tunnel whose tie breaker was the peer's as well, as LoseTie does, with
// ErrEqualTie: another one, of other random numbers, may be dialled at once.
//
// RFC 3931 §5.4.3: "both sides MUST discard their control connections and restart control
// connection negotiation with a new, random tie breaker value." RFC 2661 has both discard
// theirs, and does not forbid the rest.
func (t *Tunnel) DrawTie(now time.Time) {
	if t.state == waitCtlReply {
		t.vanish(now, ErrEqualTie)
	}
}

// Superseded ends a tunnel that stands from before the peer restarted, with
// ErrSuperseded; its owner has seen another tunnel of the peer's established.
//
// Nothing is sent. A peer that has restarted knows nothing of the old tunnel, so
// every StopCCN, and all its retransmissions, would be for nobody, as many times
// as there are old tunnels; or worse, since some peers assign the same ids again
// after each start, for the new tunnel, in whose sequence it might have a place.
func (t *Tunnel) Superseded(now time.Time) {
	if t.state < closing {
		t.vanish(now, ErrSuperseded)
	}
}

// Evict ends a tunnel whose place another one takes, with ErrEvicted. Nothing is sent:
// what it would take to say so until it has arrived is what there is too little of.
func (t *Tunnel) Evict(now time.Time) {
	if t.state < closing {
		t.vanish(now, ErrEvicted)
	}
}

// restarted reports whether a message is the SCCRQ of a peer that has lost the
// tunnel, begins anew, and assigns the id that it assigned before: in the old
// sequence it would be a duplicate, be acknowledged with numbers that the peer
// cannot make sense of, and keep alive what is dead. The SCCRQ that the tunnel
// began with may come again too; it is the same octet by octet, challenge
// included, and does not come later than a full retransmission cycle after it
// has been answered.
func (t *Tunnel) restarted(now time.Time, h wire.Header, avps []byte) bool {
	// Some peers of L2TPv3 put their own id there.
	named := h.TunnelID != 0 && (t.version == 2 || h.TunnelID == t.cfg.LocalID)
	if t.state != established || t.begun == 0 || named || h.Ns != 0 {
		return false
	}
	if messageType(avps) != wire.SCCRQ {
		return false
	}
	return sum(avps) != t.begun || !now.Before(t.upAt.Add(t.cfg.cycle()))
}

// sum tells one SCCRQ from another.
func sum(avps []byte) uint64 {
	h := fnv.New64a()
	h.Write(avps)
	return h.Sum64()
}

// vanish ends the tunnel without a word.
func (t *Tunnel) vanish(now time.Time, err error) {
	t.err = err
	t.setState(now, gone)
}
