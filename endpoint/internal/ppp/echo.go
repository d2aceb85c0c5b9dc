package ppp

import (
	"encoding/binary"
	"fmt"
	"time"
)

// echo is the keepalive: Echo-Requests (RFC 1661 §5.8) to a peer that is
// silent.
type echo struct {
	timer      time.Time // when the peer's silence is long enough; zero: nobody listens
	unanswered int       // requests since the peer was last heard
	traffic    uint64    // what the owner had from the peer by then
	refused    bool      // by a Code-Reject: the peer does not know them
}

// startEcho begins to listen, with the network phase.
func (l *lcp) startEcho(now time.Time) {
	l.echo.unanswered, l.echo.traffic = 0, l.link.cfg.Traffic()
	if l.link.cfg.EchoInterval > 0 && !l.echo.refused {
		l.echo.timer = now.Add(l.link.cfg.EchoInterval)
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
	}
}

// expireEcho sends the next Echo-Request, or gives up.
func (l *lcp) expireEcho(now time.Time) {
	if !past(now, l.echo.timer) {
		return
	}
	if l.link.cfg.Traffic() != l.echo.traffic {
		l.startEcho(now)
		return
	}
	if l.echo.unanswered == l.link.cfg.EchoFailures {
		l.link.fail(now, &TimeoutError{Waited: fmt.Sprintf("%s Echo-Request", l.name), Tries: l.echo.unanswered})
		return
	}
	l.echo.unanswered++
	l.echo.timer = now.Add(l.link.cfg.EchoInterval)
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
	if p.code != echoRequest {
		return // there is nothing to do but to have heard it
	}
	if l.state >= reqSent && l.state < opened {
		l.sendEchoReply(p) // before LCP is opened: see the package's comment
		return
	}
	l.in = p
	l.event(now, evRXR)
	l.in = packet{}
}

// sendEchoReply answers with the request's data. "Until the Magic-Number
// Configuration Option has been successfully negotiated, the Magic-Number MUST
// be transmitted as zero" (RFC 1661 §5.8).
func (l *lcp) sendEchoReply(p packet) {
	magic := l.magic
	if l.state != opened {
		magic = 0
	}
	data := binary.BigEndian.AppendUint32(nil, magic)
	data = append(data, l.link.cut(p.data[4:], len(data))...)
	l.send(packet{echoReply, p.id, data})
}
