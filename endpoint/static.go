package endpoint

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/udp"
)

// A StaticConfig describes a pseudowire of L2TPv3 that both ends know beforehand, so
// that there is no control connection (RFC 3931 §4.1, ip-l2tp(8)).
type StaticConfig struct {
	// Type is what the frames are. Zero: PseudowireEthernet.
	Type PseudowireType
	// SessionID is ours, which the peer puts into its frames, and PeerSessionID the
	// peer's. Both are required.
	SessionID, PeerSessionID uint32
	// Cookie is what we put into our frames and PeerCookie what the peer puts into its
	// own, 0, 4 or 8 octets each (RFC 3931 §4.1, as "ip l2tp" has it). Frames with
	// another one are dropped.
	Cookie, PeerCookie []byte
	// Sublayer is what stands between cookie and frame, in both directions. Zero:
	// SublayerDefault if there are sequence numbers, else SublayerNone. Linux has
	// SublayerDefault unless told otherwise.
	Sublayer Sublayer
	// Sequencing is in which directions frames have numbers. Zero: SequencingNone. With
	// SublayerNone there is no place for them: SequencingSend has none either then, as
	// in Linux, and what insists on the peer's is refused.
	Sequencing Sequencing
	// ReorderTimeout is how long a frame that has overtaken others waits for them, where
	// we keep frames in order. Zero: it does not wait, and those that come later are
	// dropped.
	ReorderTimeout time.Duration
	// ReorderMax is how many frames wait at most. Zero: 128.
	ReorderMax int
	// VLAN is the identifier of a VLAN pseudowire, 1 to 4094: our frames get it, and
	// those of the peer lose theirs, whichever it is.
	VLAN uint16
	// MTU is the most that [Session.MTU] says, in bytes: what it says until the path turns
	// out to be narrower. Zero: what a path of 1,500 bytes lets through. Not for PPP,
	// which negotiates it.
	MTU int
	// PPP is how we introduce ourselves to a peer that is PPP's server, by
	// PseudowirePPP. Nil: without a name.
	PPP *PPPConfig
	// PPPServer makes us PPP's server, as the endpoint's Config.Answer says. We wait
	// for the peer to begin.
	PPPServer bool
	// RawPPP has PPP's frames pass as they are, for [Switch].
	RawPPP bool
}

// Validate tells what is wrong in itself.
func (c *StaticConfig) Validate() error {
	full := c.withDefaults()
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(c.SessionID != 0 && c.PeerSessionID != 0, "expected session ids of 1 to 4294967295 for both ends, found %d for ours and %d for the peer's", c.SessionID, c.PeerSessionID)
	for _, cookie := range [][]byte{c.Cookie, c.PeerCookie} {
		check(len(cookie) == 0 || len(cookie) == 4 || len(cookie) == 8, "expected cookies of 0, 4 or 8 octets, found one of %d", len(cookie))
	}
	_, err := ParseSublayer(string(full.Sublayer))
	errs = append(errs, err)
	_, err = ParseSequencing(string(full.Sequencing))
	errs = append(errs, err)
	ordered := full.Sequencing == SequencingRecv || full.Sequencing == SequencingBoth
	check(!ordered || full.Sublayer != SublayerNone, "expected the default sublayer, which has the sequence numbers, for sequencing %s, found none", full.Sequencing)
	check(c.ReorderTimeout >= 0 && c.ReorderTimeout <= time.Minute, "expected a reorder timeout of 0 to 1 minute, found %v", c.ReorderTimeout)
	check(c.ReorderTimeout == 0 || ordered, "expected sequencing recv or both, which keep frames in order, with a reorder timeout, found %s", full.Sequencing)
	check(c.ReorderMax >= 0 && c.ReorderMax <= reorderMost, "expected a reorder queue of 0 to %d frames, found %d", reorderMost, c.ReorderMax)
	if full.Type == PseudowireVLAN {
		check(c.VLAN >= 1 && c.VLAN <= 4094, "expected a VLAN of 1 to 4094, found %d", c.VLAN)
	} else {
		check(c.VLAN == 0, "expected a VLAN for a VLAN pseudowire only, found %d for %v", c.VLAN, full.Type)
	}
	check(c.MTU == 0 || c.MTU >= leastMTU4 && c.MTU <= 65000, "expected an MTU of %d to 65000 bytes, found %d", leastMTU4, c.MTU)
	isPPP := full.Type == PseudowirePPP
	check(isPPP || c.PPP == nil && !c.PPPServer && !c.RawPPP, "expected PPP's configuration for a PPP pseudowire only, found it for %v", full.Type)
	check(!isPPP || c.MTU == 0 || c.RawPPP, "expected no MTU for PPP, which negotiates it (MRU), found %d", c.MTU)
	if c.PPP != nil {
		errs = append(errs, c.PPP.Validate())
		check(!c.PPPServer && !c.RawPPP, "expected either a client of PPP, a server, or frames that pass as they are, found more than one of them")
	}
	check(!c.PPPServer || !c.RawPPP, "expected either a server of PPP or frames that pass as they are, found both")
	return errors.Join(errs...)
}

// reorderMost is how many frames may wait at most, each of which costs its bytes.
const reorderMost = 4096

func (c *StaticConfig) withDefaults() StaticConfig {
	full := *c
	full.Type = orDefault(full.Type, PseudowireEthernet)
	full.Sequencing = orDefault(full.Sequencing, SequencingNone)
	byDefault := SublayerNone
	if full.Sequencing != SequencingNone {
		byDefault = SublayerDefault
	}
	full.Sublayer = orDefault(full.Sublayer, byDefault)
	return full
}

// ErrSessionID is the error of a session whose identifier another one has.
var ErrSessionID = errors.New("the session id is in use")

// Static opens a pseudowire of L2TPv3 over UDP without a control connection, as "ip
// l2tp" and QEMU do, to a peer "host" or "host:port"; the port is 1701 when there is
// none. It is up at once, whether the peer is there or not, but for one in which PPP
// ends: Static returns then as [Tunnel.OpenPPP] does, and with StaticConfig.PPPServer
// when a caller is up, for whom it waits until ctx is done.
//
// There may be many on a socket, of as many peers, beside tunnels of L2TPv2. Frames
// are taken from the peer's address and port only. Nothing but Close ends a session
// that is up, where no PPP ends in it.
func (e *Endpoint) Static(ctx context.Context, peer string, cfg *StaticConfig) (*Session, error) {
	if cfg == nil {
		cfg = &StaticConfig{}
	}
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.PPPServer && !e.cfg.Answer.endsPPP() {
		return nil, errors.New("expected an AnswerConfig with an Authenticator and an AddressPool to answer PPP with, found none")
	}
	to, err := e.resolve(ctx, peer)
	if err != nil {
		return nil, err
	}
	s, err := e.addStatic(to, cfg.withDefaults())
	if err != nil {
		return nil, err
	}
	s.log.Info("static session", "type", s.kind.String(), "peer session", cfg.PeerSessionID, "mtu inside", s.MTU())
	s.tunnel.loop.Do(func(now time.Time) {
		switch {
		case s.ppp == nil:
			s.setState(SessionUp)
			close(s.ready)
		case s.answer:
			s.setState(SessionNegotiating)
			s.ppp.silent.Store(true)
		default:
			s.setState(SessionNegotiating)
			s.ppp.open(now, nil)
		}
	})
	return s.established(ctx)
}

// newStatic is a session by its configuration, which has all defaults.
func newStatic(t *Tunnel, cfg *StaticConfig) (s *Session, err error) {
	switch {
	case cfg.PPPServer:
		s = newAnswerer(t)
	case cfg.Type == PseudowirePPP && !cfg.RawPPP:
		if s, err = newCaller(t, cfg.PPP); err != nil {
			return nil, err
		}
	default:
		s = newSession(t, false, cfg.Type)
	}
	s.named(cfg.SessionID)
	s.peerID, s.tag, s.mtuMax = cfg.PeerSessionID, cfg.VLAN, cfg.MTU
	sublayer := cfg.Sublayer == SublayerDefault
	s.encap.v3(cfg.PeerSessionID, cfg.Cookie, sublayer, sublayer && cfg.Sequencing != SequencingNone)
	s.arrival = arrival{cookie: slices.Clone(cfg.PeerCookie), sublayer: sublayer}
	if cfg.Sequencing == SequencingRecv || cfg.Sequencing == SequencingBoth {
		s.keepOrder(cfg.ReorderTimeout, cfg.ReorderMax)
	}
	if s.ppp == nil {
		s.carryFrames() // nobody sees it yet
	}
	return s, nil
}

// newStaticTunnel is what static sessions with a peer are in: a path without a
// control connection, that stands as long as one of them does.
func newStaticTunnel(e *Endpoint, way *udp.Path) *Tunnel {
	t := &Tunnel{
		ep: e, loop: e.takeLoop(), version: 3,
		up: make(chan struct{}), done: make(chan struct{}), gone: make(chan struct{}),
	}
	t.log.tunnel = t
	t.path.Store(way)
	t.sessions.Store(&noSessions)
	close(t.up)
	return t
}

// answerFrom has the tunnel's datagrams leave from the address that the peer knows us
// by, where the socket has several. On the reader.
func (t *Tunnel) answerFrom(local netip.Addr) {
	if way := t.path.Load(); way.Local != local && t.static() {
		t.path.Store(t.ep.pathTo(way.Peer, local))
		t.log.Debug("the peer knows us by another address", "address", local)
	}
}

// static tells of a tunnel that it has no control connection.
func (t *Tunnel) static() bool { return t.machine == nil }

// addStatic makes a session, and its tunnel if there is none.
func (e *Endpoint) addStatic(peer netip.AddrPort, cfg StaticConfig) (*Session, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closing {
		return nil, net.ErrClosed
	}
	if s, _ := e.sessions.get(cfg.SessionID, peer); s != nil {
		return nil, fmt.Errorf("%w: expected another one than %d for the peer %v", ErrSessionID, cfg.SessionID, peer)
	}
	t := e.statics[peer]
	if t == nil {
		t = newStaticTunnel(e, e.pathTo(peer, netip.Addr{}))
	}
	s, err := newStatic(t, &cfg)
	if err != nil {
		return nil, err
	}
	e.statics[peer] = t
	t.standing++
	t.setSession(s.id, s)
	e.sessions.add(s)
	return s, nil
}

// removeStatic takes a session out of all tables.
func (e *Endpoint) removeStatic(s *Session) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.sessions.remove(s)
	s.tunnel.bury(s)
	if len(*s.tunnel.sessions.Load()) == 0 {
		delete(e.statics, s.tunnel.Peer())
	}
}

// leaveStatic ends a tunnel whose last session is over.
func (e *Endpoint) leaveStatic(t *Tunnel) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if t.standing--; t.standing > 0 {
		return
	}
	t.mu.Lock()
	t.err = net.ErrClosed
	t.mu.Unlock()
	close(t.done)
	close(t.gone)
}
