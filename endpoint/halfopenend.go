package endpoint

import (
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/control"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

// What becomes of half-open tunnels: halfopen.go has how they begin.

// complete takes a control message for a half-open tunnel: by our id, or by the
// peer's address and its id when ours is 0. It reports false when there is none.
// On the reader.
func (e *Endpoint) complete(caller peerID, ours uint32, hdr wire.Header, datagram, avps []byte) bool {
	h, from := e.half, caller.addr
	if h == nil {
		return false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	e.expire(time.Since(h.began))
	r := h.records.ofID(ours)
	if ours == 0 {
		r = h.records.ofKey(h.hasher.sccrq(caller, nil))
	}
	switch {
	case r == nil || ours == 0 && !r.is(caller):
		return false
	case r.peer != from:
		e.counters.wrongPeer.Add(1)
		return true
	}
	r.received += uint32(len(datagram))
	if len(avps) == 0 {
		// With a secret L2TPv3 believes nothing that has no digest.
		if r.refused && hdr.Nr == 2 && !(r.v3 && len(e.answering.Secret) > 0) {
			e.drop(r) // our StopCCN has arrived
		}
		return true
	}
	// What overtakes the SCCCN comes again, as the SCCCN does.
	if hdr.Ns != 1 || r.messages == recordMessagesMax {
		return true
	}
	r.messages++
	m, owner := e.replay(r, wire.Result{})
	drain(m)
	now := time.Now()
	m.Handle(now, datagram)
	e.counters.badDigest.Add(m.Counters().BadDigest)
	if m.Established() {
		if e.hasRoom(true) {
			owner.Reader = e.random
			e.establish(r, m, owner)
			return true
		}
		e.counters.tunnelLimit.Add(1)
		m.Close(now, tooManyTunnels)
	}
	reply, down := drain(m)
	_, stopped := errors.AsType[*control.PeerError](down)
	if down != nil && !stopped {
		e.refuse(r, down)
	}
	if reply != nil {
		e.sendTo(r, reply)
	}
	if stopped {
		e.drop(r)
	}
	return true
}

var tooManyTunnels = wire.Result{Code: wire.StopError, Error: wire.ErrorResources, Text: "too many tunnels"}

// lostTie is what L2TPv3 tells of an SCCRQ that has lost to ours.
//
// RFC 3931 §5.4.3: "A StopCCN SHOULD be sent by the winner as an explicit rejection for
// the losing SCCRQ."
var lostTie = wire.Result{Code: wire.StopExists}

// refuse notes that a half-open tunnel has failed. It stays for its time, in which it
// says so to each repetition of the SCCCN. h.mu is held.
func (e *Endpoint) refuse(r *halfOpenRecord, reason error) {
	e.counters.refused.Add(1)
	r.refused = true
	level := slog.LevelDebug
	if _, ok := errors.AsType[control.AuthError](reason); ok {
		level = e.half.warns()
	}
	e.log.Log(e.ctx, level, "tunnel refused", "peer", r.peer, "reason", reason)
}

// warns is how loud it is said that somebody does not know the secret, which may be any
// stranger: not more than once a second. h.mu is held.
func (h *halfOpen) warns() slog.Level {
	now := time.Since(h.began)
	if now-h.warnedAt < warningInterval {
		return slog.LevelDebug
	}
	h.warnedAt = now
	return slog.LevelWarn
}

// establish makes a tunnel of a record. h.mu is held.
func (e *Endpoint) establish(r *halfOpenRecord, m *control.Tunnel, o *owner) {
	id, caller, way := r.id, r.caller(), e.pathTo(r.peer, r.local)
	rival := e.overcome(caller, r.datagram())
	e.half.records.remove(r, e.half.hasher.source(r.peer.Addr()))
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closing {
		e.ids.free(id)
		return
	}
	replaces := e.byPeer[caller]
	if replaces == nil {
		replaces = rival
	}
	e.byPeer[caller] = e.add(id, way, caller, replaces, m, o)
}

// replay makes the machine of a record, which has handled the SCCRQ, and refused it with
// refusal, if that is not zero. Its random numbers are the same each time, as long as
// its owner does not give it others.
func (e *Endpoint) replay(r *halfOpenRecord, refusal wire.Result) (*control.Tunnel, *owner) {
	o := &owner{Reader: rand.NewChaCha8(r.seed)}
	cfg := e.answering
	if !r.v3 {
		cfg.V3 = nil
	}
	cfg.Rand, cfg.Traffic, cfg.Sent, cfg.LocalID, cfg.Refusal = o, o.traffic, o.sent, r.id, refusal
	now := time.Now()
	m := control.Answer(now, cfg)
	m.Handle(now, r.datagram())
	return m, o
}

// drain takes what a machine has to send, of which the last packet counts, and the
// reason why it is down, if it is.
func drain(m *control.Tunnel) (reply []byte, down error) {
	for {
		packet, event, ok := m.Next()
		if !ok {
			return reply, down
		}
		switch ev := event.(type) {
		case nil:
			reply = packet
		case control.TunnelDown:
			if down = ev.Err; down == nil {
				down = errors.New(tooManyTunnels.Text)
			}
		}
	}
}

// sendTo sends a reply to somebody of whom nothing is proved, unless that would be
// out of proportion to what has come from there.
func (e *Endpoint) sendTo(r *halfOpenRecord, reply []byte) bool {
	if !r.credit(reply, e.half.limits.ReplyFactor) {
		e.counters.creditLimit.Add(1)
		return false
	}
	if e.log.Enabled(e.ctx, slog.LevelDebug) {
		_, avps, _ := parseControl(reply)
		e.log.Debug("sent", "message", describe(avps), "tunnel", r.id, "peer", r.peer)
	}
	if err := e.write(reply, e.pathTo(r.peer, r.local)); err != nil {
		e.counters.socketErrors.Add(1)
	}
	return true
}
