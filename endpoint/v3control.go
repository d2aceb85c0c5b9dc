package endpoint

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/control"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

// Control connections of L2TPv3 (RFC 3931) beside those of L2TPv2, on one socket: an
// SCCRQ of either kind, or of both, goes the same way; which machine answers it is the
// same too.

// parseControl splits a control message of either version.
func parseControl(datagram []byte) (h wire.Header, avps []byte, err error) {
	if v, _ := wire.Version(datagram); v == 3 {
		return wire.ParseV3Control(datagram)
	}
	return wire.ParseHeader(datagram)
}

// opening is what a control message that names no tunnel tells at a glance, and whether
// its sender's id is one of L2TPv3. An SCCRQ of L2TPv2 that offers to go on in L2TPv3 is
// one of L2TPv3, if we answer that.
func (e *Endpoint) opening(h wire.Header, avps []byte) (o wire.Opening, v3, ok bool) {
	if h.Version == 3 {
		o, ok = wire.ParseOpeningV3(avps)
		return o, true, ok
	}
	o, ok = wire.ParseOpening(avps)
	if e.answering.V3 != nil && wire.OffersV3(avps) {
		o, ok = wire.ParseOpeningV3(avps)
		return o, true, ok
	}
	return o, false, ok
}

// opened is a whole message of somebody who calls us, with what our secret unhides.
func (e *Endpoint) opened(datagram []byte, v3 bool) *wire.Message {
	h, avps, _ := parseControl(datagram)
	if v3 || h.Version == 3 {
		m, _ := wire.ParseMessageV3(avps, e.hidingKey(datagram[:wire.V3ControlHeaderLen+len(avps)]))
		return m
	}
	m, _ := wire.ParseMessage(avps, e.cfg.answerSecret())
	return m
}

// hidingKey is that of the secret, of those that we have, by which an SCCRQ is signed.
func (e *Endpoint) hidingKey(sccrq []byte) []byte {
	secret := e.cfg.answerSecret()
	if len(secret) == 0 {
		return nil
	}
	if v := e.cfg.Answer.V3; v != nil && v.OldSecret != "" {
		if _, by := wire.VerifiedBy(sccrq, nil, nil, wire.DigestKey(secret), wire.DigestKey(v.OldSecret.bytes())); by == 1 {
			secret = v.OldSecret.bytes()
		}
	}
	return wire.HidingKey(secret)
}

// receiveControlV3 takes a control message of L2TPv3. On the reader.
func (e *Endpoint) receiveControlV3(from netip.AddrPort, to netip.Addr, datagram []byte) {
	h, avps, err := wire.ParseV3Control(datagram)
	switch {
	case !e.speaksV3.Load():
		e.counters.unknownVersion.Add(1)
		return
	case err != nil:
		e.counters.malformed.Add(1)
		e.log.Debug("malformed datagram", "peer", from, "error", err)
		return
	}
	t := e.tunnel(h.TunnelID)
	o, opens := wire.ParseOpeningV3(avps)
	switch {
	case opens && o.Type == wire.SCCRQ && (h.TunnelID == 0 || h.TunnelID == o.TunnelID && (t == nil || t.Peer() != from)):
		// Some peers put their own id into the header as long as they do not know ours.
		if t = e.answer(from, to, h, datagram, avps); t == nil {
			return
		}
	case h.TunnelID != 0:
		if t == nil && e.complete(peerID{addr: from, v3: true}, h.TunnelID, h, datagram, avps) {
			return
		}
	case opens:
		if t = e.answer(from, to, h, datagram, avps); t == nil {
			return
		}
	default:
		t = e.only(from)
	}
	switch {
	case t == nil:
		e.counters.unknownTunnel.Add(1)
	case t.Peer() != from:
		if !(opens && o.Type == wire.SCCRP && t.adoptV3(from, datagram)) {
			e.counters.wrongPeer.Add(1)
		}
	default:
		if t.log.Enabled(e.ctx, slog.LevelDebug) {
			t.log.Debug("received", "message", describe(avps), "ns", h.Ns, "nr", h.Nr)
		}
		if !t.runner.Handle(datagram) {
			e.counters.overrun.Add(1)
		}
	}
}

// adoptV3 takes the port that the peer answers from as its own, once, if the SCCRP that
// comes from there is accepted: only the machine can tell whether its digest is right. On
// the reader.
func (t *Tunnel) adoptV3(from netip.AddrPort, sccrp []byte) bool {
	way := t.path.Load()
	if !t.dialed() || t.upAt.Load() != nil || from.Addr() != way.Peer.Addr() || !t.adopting.CompareAndSwap(false, true) {
		return false
	}
	sccrp = append([]byte(nil), sccrp...)
	return t.runner.Do(func(now time.Time) {
		defer t.adopting.Store(false)
		before := t.machine.Established()
		t.metered().Handle(now, sccrp)
		if !before && t.machine.Established() {
			t.log.Info("the peer answers from another port", "port", from.Port())
			t.ep.move(t, t.ep.pathTo(from, way.Local))
		}
	})
}

// A metered machine is a tunnel's that tells how many messages it has dropped for their
// Message Digest. Nothing else comes out of it then.
type metered struct {
	*control.Tunnel
	dropped, all *atomic.Uint64
}

// Handle takes a packet, as a [machine.Machine] does.
func (m metered) Handle(now time.Time, packet []byte) {
	before := m.Counters().BadDigest
	m.Tunnel.Handle(now, packet)
	if n := m.Counters().BadDigest - before; n > 0 {
		m.dropped.Add(n)
		m.all.Add(n)
	}
}

func (t *Tunnel) metered() metered {
	return metered{t.machine, &t.badDigest, &t.ep.counters.badDigest}
}

// isV3 tells whether the tunnel is one of L2TPv3, once it is up.
func (t *Tunnel) isV3() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.version == 3
}

// sessionTaken tells whether a session of L2TPv3 has an identifier.
func (e *Endpoint) sessionTaken(id uint32) bool {
	_, known := e.sessions.get(id, netip.AddrPort{})
	return known
}

// lostTo is the tunnel that one of ours has lost to, which its peer was dialling at the
// same time; nil: it has not. The peer's StopCCN may be here before its tunnel is.
func (e *Endpoint) lostTo(ctx context.Context, t *Tunnel) *Tunnel {
	if w := t.winner.Load(); w != nil {
		return w
	}
	refusal, ok := errors.AsType[*PeerError](t.Err())
	if !ok || refusal.Message != wire.StopCCN.String() || refusal.ResultCode != lostTie.Code || t.machine.TieBreaker() == nil {
		return nil
	}
	patience := time.NewTimer(rivalTime)
	defer patience.Stop()
	for {
		up := e.whenUp()
		w := e.find(t.Peer(), func(o *Tunnel) bool { return !o.dialed() && !o.isDown() && o.upAt.Load() != nil })
		if w != nil {
			return w
		}
		select {
		case <-up:
		case <-patience.C:
			return nil
		case <-ctx.Done():
			return nil
		case <-e.done:
			return nil
		}
	}
}

// equalTiesMost is how often what has the peer's tie breaker is tried again with another
// one: by chance that happens never, but somebody may send ours back.
const equalTiesMost = 3

// whenUp is closed when the next tunnel is established that a peer has dialled.
func (e *Endpoint) whenUp() <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.nextUp == nil {
		e.nextUp = make(chan struct{})
	}
	return e.nextUp
}

// tellUp tells that a tunnel is established. On its loop.
func (e *Endpoint) tellUp(t *Tunnel) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.byAddr[t.Peer()].named(t)
	e.byAddr[t.Peer()].settled(t)
	if e.nextUp != nil {
		close(e.nextUp)
		e.nextUp = nil
	}
}
