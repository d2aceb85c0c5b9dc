package endpoint

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"
	"unicode/utf8"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/control"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
	"github.com/l2tpnet/l2tpnet/endpoint/link"
)

// A Call is what a peer has told of a session that it opens (RFC 2661 §4.4.3, §4.4.5, RFC
// 3931 §5.4.4). The words are the peer's and may hold anything.
type Call struct {
	Peer     netip.AddrPort
	PeerName string // the peer's Host Name
	// CalledNumber, CallingNumber and SubAddress are those of ICRQ, or of OCRQ without
	// CallingNumber.
	CalledNumber, CallingNumber, SubAddress string
	// ProxyUser is who the caller has said to the LAC that it is, where the LAC tells it
	// (Proxy Authen Name): not yet when AnswerConfig.RawPPP is asked.
	ProxyUser string
	// Type is what the frames are to be, and RemoteEndID names the circuit that is asked
	// for, in L2TPv3.
	Type        PseudowireType
	RemoteEndID string
}

// A rawCall is what [Tunnel.OpenRawPPP] passes on.
type rawCall struct {
	Call
	line control.Line
	told [lineReports]time.Time // when the peer was told last; the loop's
}

// What is told of a call's line while the call stands.
const (
	lineErrors  = iota // WEN: by the LAC
	lineFraming        // SLI: by the LNS
	lineReports
)

// lineReportEvery is how often a peer is told at most, whatever the other end of a
// switch may send: RFC 2661 §6.13 has a WEN "not more than once every 60 seconds".
var lineReportEvery = [lineReports]time.Duration{lineErrors: time.Minute, lineFraming: time.Second}

// passOn has the peer of the session that s is switched to told what the peer of s has
// told of its line, if there is a control connection.
func (s *Session) passOn(report int, tell func(now time.Time, p *Session)) {
	p := s.partner.Load()
	if p == nil || p.raw == nil {
		return
	}
	p.tunnel.runner.Do(func(now time.Time) {
		if at := &p.raw.told[report]; at.IsZero() || now.Sub(*at) >= lineReportEvery[report] {
			*at = now
			tell(now, p)
		}
	})
}

// Call is what the peer has told of a session whose PPP passes as it is; ok tells
// whether this is one that a peer has opened.
func (s *Session) Call() (c Call, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.raw == nil || !s.answer {
		return c, false
	}
	return s.raw.Call, true
}

// OpenRawPPP opens a session whose PPP does not end here: what is put into it and comes
// out of it are PPP frames, with or without FF 03, for [Switch]. Where from is a session
// that was accepted so (AnswerConfig.RawPPP), the peer is told what from's has told: the
// numbers, the line's speeds, whether frames have numbers, and what it has negotiated
// with the caller, so that the other end of the switch may take it up (RFC 2661
// §4.4.5). In L2TPv3 that is the Remote End ID, or else the called number. Nil: there is
// nothing to tell.
//
// It returns when the call stands, when that failed, or when ctx is done, which abandons
// it.
func (t *Tunnel) OpenRawPPP(ctx context.Context, from *Session) (*Session, error) {
	if t.static() {
		return nil, ErrStatic
	}
	if t.isV3() {
		cfg := &PseudowireConfig{Type: PseudowirePPP, RawPPP: true}
		if from != nil {
			call, _ := from.Call()
			if cfg.RemoteEndID = call.RemoteEndID; cfg.RemoteEndID == "" {
				cfg.RemoteEndID = call.CalledNumber // whom the call was for, in L2TPv2
			}
		}
		return t.Open(ctx, cfg)
	}
	s := newSession(t, false, PseudowirePPP)
	s.raw = &rawCall{}
	if from != nil {
		from.mu.Lock()
		if from.raw != nil {
			s.raw.Call, s.raw.line = from.raw.Call, from.raw.line
		}
		from.mu.Unlock()
	}
	if !t.runner.Do(func(now time.Time) { s.call(now) }) {
		return nil, net.ErrClosed
	}
	return s.established(ctx)
}

// newRawAnswerer is a session that the peer opens, whose PPP passes as it is.
func newRawAnswerer(t *Tunnel, c Call) *Session {
	s := newSession(t, true, PseudowirePPP)
	s.raw = &rawCall{Call: c}
	return s
}

// connectedRaw takes that the call of a session stands in which no PPP ends. On the
// loop.
func (s *Session) connectedRaw(ev control.SessionUp) {
	if s.answer {
		s.mu.Lock()
		s.raw.line = ev.Line
		if ev.Proxy != nil {
			s.raw.ProxyUser = ev.Proxy.ProxyAuthenName
		}
		s.mu.Unlock()
	}
	s.carryFrames()
	s.tunnel.loop.Do(s.tunnel.measure)
	s.setState(SessionUp)
	s.settled()
}

// Switch joins two sessions: what comes in by one goes out by the other (tunnel
// switching). They have the same type, whatever the versions of L2TP, the endpoints and
// the kinds of set-up, and no PPP ends in either: see AnswerConfig.RawPPP,
// [Tunnel.OpenRawPPP] and StaticConfig.RawPPP. When one of them ends so does the other,
// with a [SwitchError]; a peer with a control connection is told, and so it is what the
// other's peer tells of its line meanwhile: a LAC's errors (WEN), framing (SLI).
// [Session.Attach] with another sink parts them.
//
// Frames are as long as they come. Where the path to one peer is narrower than that to
// the other, the datagrams of long ones are fragmented.
func Switch(a, b *Session) error {
	switch {
	case a == b:
		return errors.New("expected two sessions to switch, found one")
	case a.ppp != nil || b.ppp != nil:
		return errors.New("expected sessions whose PPP passes as it is (RawPPP) to switch, found one in which PPP ends")
	case a.kind != b.kind:
		return fmt.Errorf("expected two sessions of one type to switch, found %v and %v", a.kind, b.kind)
	}
	a.Attach(nil)
	b.Attach(nil)
	a.partner.Store(b)
	b.partner.Store(a)
	a.attach(b)
	b.attach(a)
	a.passCircuit(b)
	b.passCircuit(a)
	for _, s := range []*Session{a, b} {
		select {
		case <-s.done:
			s.endPartner()
			return fmt.Errorf("a session that was to be switched is over: %w", s.Err())
		default:
		}
	}
	return nil
}

// A SwitchError ends a session since the one has ended that it was switched to.
type SwitchError struct{ Err error } // the other's

func (e *SwitchError) Error() string {
	return "the session that it was switched to has ended: " + reason(e.Err)
}

// Unwrap is why the other has ended.
func (e *SwitchError) Unwrap() error { return e.Err }

// part ends that s is switched, if it is, and is whom it was switched to.
func (s *Session) part() *Session {
	p := s.partner.Swap(nil)
	if p != nil && p.partner.CompareAndSwap(s, nil) {
		p.sink.Store(nil)
		s.SetCircuit(true)
		p.SetCircuit(true)
	}
	return p
}

// endPartner ends whom a session was switched to that is over.
func (s *Session) endPartner() {
	p := s.part()
	if p == nil {
		return
	}
	err := s.Err()
	p.setErr(&SwitchError{err})
	p.hangup(p.passedOn(err))
}

// passedOn is what the peer of s is told when the session is over that it was switched
// to: what that one's peer has said, in words that this one's version of L2TP has; else RFC
// 2661 §4.4.2: "1 - Call disconnected due to loss of carrier".
func (s *Session) passedOn(err error) wire.Result {
	lost := wire.Result{Code: wire.CallLostCarrier}
	e, ok := errors.AsType[*PeerError](err)
	if !ok || e.Message != wire.CDN.String() || !s.tunnel.isV3() && e.ResultCode > wire.CallNoFraming {
		return lost
	}
	r := wire.Result{Code: e.ResultCode, Error: e.ErrorCode, Text: e.Text}
	if !utf8.ValidString(r.Text) || len(r.Text) > passedTextMost { // RFC 2661 §4.4.2: "in the UTF-8 charset"
		r.Text = ""
	}
	return r
}

// passedTextMost is how many octets of a peer's words are passed on to another.
const passedTextMost = 255

var _ link.Sink = (*Session)(nil)

// circuitEvery is how often a peer is told of the circuit of another at most: whoever
// says that it comes and goes all the time fills nobody's queue by that.
const circuitEvery = time.Second

// passCircuit has the peer of p told what the peer of s tells of its circuit: all of it,
// faults and standby (RFC 5641 §2), but not that it is new, which each session is for
// itself. What comes sooner than circuitEvery after the last is told then.
func (s *Session) passCircuit(p *Session) {
	if s.circuit == nil || p.circuit == nil {
		return
	}
	c, now := p.circuit, time.Now()
	p.mu.Lock()
	status := CircuitStatus(s.circuit.peerStatus.Load()) &^ wire.CircuitNew
	wait := c.passed.Add(circuitEvery).Sub(now)
	switch {
	case status == c.status:
	case wait <= 0:
		c.status, c.passed = status, now
		p.mu.Unlock()
		p.showCircuit()
		return
	case !c.passing:
		c.passing = true
		time.AfterFunc(wait, func() {
			p.mu.Lock()
			c.passing = false
			p.mu.Unlock()
			if s := p.partner.Load(); s != nil {
				s.passCircuit(p)
			}
		})
	}
	p.mu.Unlock()
}
