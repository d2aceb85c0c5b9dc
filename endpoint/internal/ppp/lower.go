package ppp

import (
	"slices"
	"time"
)

// earlyMax is how many frames are kept that come before Open. The lower layer
// of L2TP is up when ICCN has come, which the frames behind it may overtake; if
// they were lost, the link would wait for the restart timer.
const earlyMax = 4

// keepEarly keeps a frame until Open.
func (l *Link) keepEarly(frame []byte) {
	if !l.ended && len(l.beforeOpen) < earlyMax && len(frame) <= max(fullMRU, l.cfg.MRU)+HeaderLen {
		l.beforeOpen = append(l.beforeOpen, slices.Clone(frame))
	}
}

// Lost says that the lower layer is gone, and why. [Down] follows at once: with
// the cause that the link already had for ending, if it had one, since a peer
// that refuses us in PPP clears the call as well; else with err.
func (l *Link) Lost(now time.Time, err error) {
	switch {
	case l.ended:
	case l.phase == dead:
		l.ended = true
		l.Emit(Down{Err: err})
	default:
		// A Terminate-Request that gives no reason says less than the call's end.
		if t, ok := l.lcp.parting.(*TerminatedError); l.lcp.parting != nil && !(ok && t.Reason == "") {
			l.blame(l.lcp.parting)
		}
		l.blame(err)
		l.lcp.event(now, evDown)
		l.setPhase(now, dead)
	}
}

// OutOfStep says that the data path cannot decrypt what comes any more
// ([ErrOutOfStep]): the link ends.
func (l *Link) OutOfStep(now time.Time) { l.fail(now, &EncryptionError{ErrOutOfStep}) }

// Resumed says that the way to the peer is open again, which was closed while the link's
// clock stood still: what was sent meanwhile is lost, and so were the answers. A negotiation
// sends its request again at once, and has all its tries left (an authentication repeats
// itself in its own time); the keepalive has not missed anything yet; and a measurement of
// the path that was under way begins anew, or it would take for narrow what was closed.
func (l *Link) Resumed(now time.Time) {
	if l.phase == dead || l.phase == terminate {
		return
	}
	for _, a := range []*automaton{&l.lcp.automaton, &l.ccp.automaton, &l.ipcp.automaton, &l.ipv6cp.automaton} {
		if a.state >= reqSent && a.state < opened && !a.timer.IsZero() {
			a.restart, a.repeats, a.timer = a.tries, 0, now
			a.expire(now)
		}
	}
	l.lcp.heard(now)
	if s := l.sizing; s != nil && s.token != 0 {
		s.token, s.at = 0, now.Add(sizingDelay)
	}
}

// Ending tells whether the link is on its way down.
func (l *Link) Ending() bool { return l.phase == terminate }
