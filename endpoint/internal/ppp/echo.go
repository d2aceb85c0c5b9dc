package ppp

import (
	"encoding/binary"
	"fmt"
	"time"
)

// echo is the keepalive: Echo-Requests (RFC 1661 §5.8) to a peer that is
// silent, seldom at first, and often once one has not been answered: a line that
// loses a fifth of all loses four in succession every few minutes, and fifteen never.
type echo struct {
	timer      time.Time // when the peer's silence is long enough; zero: nobody listens
	unanswered int       // requests since the peer was last heard
	traffic    uint64    // what the owner had from the peer by then
	probed     bool      // by Probe: sooner and fewer
	refused    bool      // by a Code-Reject: the peer does not know them
}

// While the peer is being probed: 5 s in all.
const (
	probeRetry    = 500 * time.Millisecond
	probeFailures = 10
)

// startEcho begins to listen, with the network phase.
func (l *lcp) startEcho(now time.Time) {
	l.echo.unanswered, l.echo.traffic, l.echo.probed = 0, l.link.cfg.Traffic(), false
	if n := l.link.cfg.EchoInterval; n > 0 && !l.echo.refused {
		// An owner with 10,000 idle links, that woke up for each of them, would do little
		// else. So in 5 s there are fifty moments for all.
		step := max(n/50, 1)
		l.echo.timer = now.Add(n - time.Duration(now.UnixNano())%step)
	}
}

func (l *lcp) stopEcho() {
	l.echo.timer = time.Time{}
	l.echo.refused = true
}

// heard says that the peer lives.
func (l *lcp) heard(now time.Time) {
	if !l.echo.timer.IsZero() {
		l.startEcho(now)
		l.link.checkSizing(now)
	}
}

// Probe is for an owner that suspects the peer to be gone: Echo-Requests go out
// from now on, twice a second, and when ten are not answered, nor anything else
// comes, the link is lost. Nothing happens where there are no Echo-Requests:
// before the network phase, or since the owner or the peer does not want them. The way
// to the peer may be another, so it is measured, too ([Link.Measure]).
func (l *Link) Probe(now time.Time) {
	e := &l.lcp.echo
	if e.timer.IsZero() || e.probed {
		return
	}
	e.unanswered, e.traffic, e.probed = 0, l.cfg.Traffic(), true
	l.lcp.sendEcho(now)
	if s := l.sizing; s != nil && (s.token == 0 || s.check > 0) {
		l.beginSizing(now)
	}
}

// expireEcho sends the next Echo-Request, or gives up: the lower layer is as
// good as down, and Terminate-Requests would be in vain. One is sent nevertheless,
// to a peer that hears us.
func (l *lcp) expireEcho(now time.Time) {
	if !past(now, l.echo.timer) {
		return
	}
	if l.link.cfg.Traffic() != l.echo.traffic {
		l.startEcho(now)
		return
	}
	most := l.link.cfg.EchoFailures
	if l.echo.probed {
		most = probeFailures
	}
	if l.echo.unanswered < most {
		l.sendEcho(now)
		return
	}
	l.link.fail(now, &TimeoutError{Waited: fmt.Sprintf("%s Echo-Request", l.name()), Tries: l.echo.unanswered})
	l.event(now, evDown)
	l.link.setPhase(now, dead)
}

func (l *lcp) sendEcho(now time.Time) {
	retry := l.link.cfg.EchoRetry
	if l.echo.probed {
		retry = probeRetry
	}
	l.echo.unanswered++
	l.echo.timer = now.Add(retry)
	l.id++
	l.send(packet{echoRequest, l.id, binary.BigEndian.AppendUint32(nil, l.magic)})
}

// receiveEcho takes an Echo-Request, Echo-Reply or Discard-Request. One with
// our own Magic-Number is ours, looped back, and gets no answer.
func (l *lcp) receiveEcho(now time.Time, p packet) {
	if l.state < closed || len(p.data) < 4 {
		return
	}
	if magic := binary.BigEndian.Uint32(p.data); magic != 0 && magic == l.magic {
		return
	}
	if p.code == echoReply {
		l.link.sized(now, p.data) // otherwise there is nothing to do but to have heard it
	}
	if p.code != echoRequest {
		return
	}
	if l.state >= reqSent && l.state < opened {
		l.sendEchoReply(p) // before LCP is opened: see the package's comment
		return
	}
	l.in = &handled{packet: p}
	l.event(now, evRXR)
	l.in = &nothing
}

// sendEchoReply answers with the request's data. "Until the Magic-Number
// Configuration Option has been successfully negotiated, the Magic-Number MUST
// be transmitted as zero" (RFC 1661 §5.8).
func (l *lcp) sendEchoReply(p packet) {
	magic := l.magic
	if l.state != opened {
		magic = 0
	}
	rest := l.link.cut(p.data[4:], 4)
	data := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(rest)), magic)
	data = append(data, rest...)
	l.send(packet{echoReply, p.id, data})
}
