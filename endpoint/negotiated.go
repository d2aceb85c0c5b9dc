package endpoint

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/control"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

// Sessions of L2TPv3 that are negotiated: each end tells the other which cookie, which
// sublayer and which sequence numbers it wants to receive (RFC 3931 §5.4.4). The rest of
// a session is the same as of one that both ends know beforehand (static.go).

// ErrVersion is the error of a session that only a tunnel of L2TPv3 can have.
var ErrVersion = errors.New("a tunnel of L2TPv2 carries PPP alone")

// ErrCircuitInUse is for AnswerConfig.Pseudowire to refuse a session with, or to wrap,
// whose circuit is another's for the moment: the peer is told that it may come again.
var ErrCircuitInUse = errors.New("the circuit is in use")

// Open opens a session in a tunnel of L2TPv3. It returns when the session stands, and
// where PPP ends in it when that is up, as [Tunnel.OpenPPP] does; when that failed; or
// when ctx is done, which abandons it. PPP waits for ever for a peer whose circuit is
// inactive. In a tunnel of L2TPv2 only PPP may be asked for.
func (t *Tunnel) Open(ctx context.Context, cfg *PseudowireConfig) (*Session, error) {
	if t.static() {
		return nil, ErrStatic
	}
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	full := cfg.withDefaults()
	if !t.isV3() {
		switch {
		case full.Type != PseudowirePPP:
			return nil, ErrVersion
		case full.RawPPP:
			return t.OpenRawPPP(ctx, nil)
		}
		return t.OpenPPP(ctx, full.PPP)
	}
	for again := 0; ; again++ {
		s, err := newNegotiated(t, &full, false)
		if err != nil {
			return nil, err
		}
		if !t.runner.Do(func(now time.Time) { s.call(now) }) {
			return nil, net.ErrClosed
		}
		// The loop may still have to call s, whatever becomes of it.
		if up, err := s.established(ctx); !errors.Is(err, ErrEqualSessionTie) || again == equalTiesMost {
			return up, err
		}
	}
}

// ofPPP is a session of L2TPv3 that carries what [Tunnel.OpenPPP] is asked for.
func ofPPP(cfg *PPPConfig) *PseudowireConfig {
	p := &PseudowireConfig{Type: PseudowirePPP, PPP: cfg}
	if cfg != nil && cfg.Sequenced {
		p.Sequencing = SequencingBoth
	}
	if cfg != nil && cfg.Outgoing != nil {
		p.Outgoing, p.RemoteEndID = true, cfg.Outgoing.Number
	}
	return p
}

// A circuit is what a session of L2TPv3 that is negotiated has beside the others. The
// loop's, but for what is said otherwise.
type circuit struct {
	cfg  *PseudowireConfig
	ours control.Pseudowire // as the peer is told

	peerStatus atomic.Uint32 // a CircuitStatus
	change     occasion      // of it, in the log
	beginning  *time.Timer   // bounds the set-up of PPP; nil: it has not had to wait

	// Under the session's lock.
	status  CircuitStatus // our end's
	passed  time.Time     // when that was last told in the name of whom the session is switched to
	passing bool          // it is going to be told again
}

// newNegotiated is our end of a session, by its configuration, which has all defaults.
func newNegotiated(t *Tunnel, cfg *PseudowireConfig, answer bool) (s *Session, err error) {
	switch {
	case cfg.Type != PseudowirePPP || cfg.RawPPP:
		s = newSession(t, answer, cfg.Type)
		s.raw = &rawCall{}
	case answer:
		s = newAnswerer(t)
	default:
		if s, err = newCaller(t, cfg.PPP); err != nil {
			return nil, err
		}
	}
	cookie := make([]byte, cfg.CookieLen)
	if _, err := io.ReadFull(t.ep.random, cookie); err != nil {
		return nil, err
	}
	c := &circuit{cfg: cfg, status: CircuitActive, ours: control.Pseudowire{
		Type: uint16(cfg.Type), RemoteEndID: []byte(cfg.RemoteEndID), Cookie: cookie,
		Status: wire.CircuitActive, MTU: uint16(cfg.MTU),
	}}
	s.circuit, s.tag, s.mtuMax = c, cfg.VLAN, cfg.MTU
	s.arrival = arrival{cookie: cookie, sublayer: cfg.Sublayer == SublayerDefault, negotiated: true}
	if s.arrival.sublayer {
		c.ours.Sublayer = wire.SublayerDefault
	}
	if cfg.orders() {
		c.ours.Sequencing = wire.SequencingAll
		s.keepOrder(cfg.ReorderTimeout, cfg.ReorderMax)
	}
	return s, nil
}

// ask places the call, on the loop, and is our id for it.
func (c *circuit) ask(now time.Time, t *Tunnel) uint32 {
	m, tieBreaker := t.machine, c.cfg.TieBreaker || t.ep.answering.V3 != nil && c.cfg.RemoteEndID != ""
	if c.cfg.Outgoing {
		return m.PlaceCall(now, control.OutgoingCall{Pseudowire: &c.ours, TieBreaker: tieBreaker})
	}
	return m.Call(now, control.CallConfig{Pseudowire: &c.ours, TieBreaker: tieBreaker})
}

// setNegotiated puts a session where the reader finds it. On the loop.
func (s *Session) setNegotiated() {
	e := s.tunnel.ep
	s.tunnel.setSession(s.id, s)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.sessions.add(s)
}

// removeNegotiated takes it away from there. On the loop.
func (s *Session) removeNegotiated() {
	e := s.tunnel.ep
	e.mu.Lock()
	defer e.mu.Unlock()
	e.sessions.remove(s)
}

// calledV3 takes a session of L2TPv3 that the peer asks for. On the loop.
func (t *Tunnel) calledV3(id uint32, c Call, theirs *control.Pseudowire) {
	refuse := func(r wire.Result) {
		t.runner.Do(func(now time.Time) { t.machine.Hangup(now, id, r) })
	}
	none := wire.Result{Code: wire.CallNoFacilitiesEver}
	a := t.ep.cfg.Answer
	if a == nil || a.V3 == nil {
		refuse(none)
		return
	}
	c.Peer, c.PeerName = t.Peer(), t.PeerName()
	c.Type, c.RemoteEndID = PseudowireType(theirs.Type), string(theirs.RemoteEndID)
	cfg, err := a.pseudowire(c)
	if err != nil {
		t.log.Log(t.ep.ctx, t.ep.refusal.level(slog.LevelWarn), "pseudowire refused", "type", c.Type.String(), "remote end id", shown(c.RemoteEndID), "reason", err)
		none.Error, none.Text = wire.ErrorNone, "there is no such pseudowire here"
		if errors.Is(err, ErrCircuitInUse) {
			none.Code, none.Text = wire.CallNoFacilities, ErrCircuitInUse.Error()
		}
		refuse(none)
		return
	}
	if r, refused := t.refuseSession(); refused {
		refuse(r)
		return
	}
	s, err := newNegotiated(t, cfg, true)
	if err != nil {
		t.log.Log(t.ep.ctx, t.ep.refusal.level(slog.LevelWarn), "pseudowire refused", "reason", err)
		refuse(wire.Result{Code: wire.CallNoFacilities, Error: wire.ErrorResources})
		return
	}
	if s.raw != nil {
		s.raw.Call = c
	}
	s.named(id)
	s.setNegotiated()
	s.log.Info("pseudowire", "type", c.Type.String(), "remote end id", shown(c.RemoteEndID))
	t.runner.Do(func(now time.Time) { t.machine.AcceptPseudowire(now, id, s.circuit.ours) })
}

// pseudowire is our end of what a peer asks for.
func (a *AnswerConfig) pseudowire(c Call) (*PseudowireConfig, error) {
	var asked *PseudowireConfig
	if a.Pseudowire != nil {
		var err error
		if asked, err = a.Pseudowire(c); err != nil {
			return nil, err
		}
	}
	cfg := PseudowireConfig{}
	if asked != nil {
		cfg = *asked
	}
	cfg.Type, cfg.RemoteEndID, cfg.PPP = c.Type, c.RemoteEndID, nil
	if c.Type == PseudowirePPP {
		cfg.RawPPP = cfg.RawPPP || a.RawPPP != nil && a.RawPPP(c)
		if !cfg.RawPPP && !a.endsPPP() {
			return nil, errors.New("expected an Authenticator and an AddressPool to answer PPP with, found none")
		}
	}
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	return &cfg, nil
}

// connectedV3 takes what the peer wants to receive: the session stands. On the loop.
//
// RFC 3931 §5.4.4, of Data Sequencing level 1: "All traffic that can be classified as IP
// MUST be sent with no sequencing".
func (s *Session) connectedV3(now time.Time, ev control.SessionUp) {
	sublayer, level := ev.Theirs.Sublayer == wire.SublayerDefault, ev.Theirs.Sequencing
	s.encap.kind, s.encap.nonIP = s.kind, level == wire.SequencingNonIP
	s.encap.v3(ev.PeerSession, ev.Theirs.Cookie, sublayer, sublayer && (level != wire.SequencingNone || s.circuit.cfg.numbers()))
	s.heedCircuit(now, CircuitStatus(ev.Theirs.Status))
}
