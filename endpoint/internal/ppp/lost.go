package ppp

import "time"

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
