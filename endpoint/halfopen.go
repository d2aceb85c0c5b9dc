package endpoint

import (
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/control"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

// Half-open tunnels: a peer has sent an SCCRQ, in its own name or another's, and its
// SCCCN is waited for. All that is kept is a record; the machine that answers is
// thrown away, and made again, with the same random numbers, for every repetition of
// the SCCRQ and for the SCCCN. Nothing is sent but in reply: the peer, not we, sends
// again what is lost. A [Tunnel] begins with the machine that the SCCCN establishes.
//
//	SCCRQ ─► rate of the source ─► the same again? ─► under load: come again? ─► record, SCCRP
//	SCCCN ─► record, the machine made again: established ─► Tunnel
type halfOpen struct {
	limits *Limits
	began  time.Time // of the clock of all below

	mu        sync.Mutex
	records   halfOpenTable
	rates     rates
	memory    memory
	admission admission
	summaryAt time.Duration // of what has happened under load
	summary   [3]uint64     // its counts then
	warnedAt  time.Duration // of a secret that differs
}

const (
	summaryInterval = 10 * time.Second
	warningInterval = time.Second
)

func newHalfOpen(l *Limits) *halfOpen {
	return &halfOpen{
		limits: l, began: time.Now(), records: newHalfOpenTable(), rates: newRates(l),
		admission: admission{rate: float64(l.HalfOpenMax)},
		warnedAt:  -warningInterval, summaryAt: -summaryInterval,
	}
}

func (h *halfOpen) loaded() bool { return h.records.len() >= h.limits.HalfOpen }

// sccrq takes an SCCRQ that names no tunnel. On the reader.
func (e *Endpoint) sccrq(from netip.AddrPort, to netip.Addr, datagram []byte, o wire.Opening) {
	h := e.half
	h.mu.Lock()
	defer h.mu.Unlock()
	e.counters.sccrqs.Add(1)
	now := time.Since(h.began)
	e.expire(now)
	if !h.rates.allow(sourceOf(from.Addr()), now) {
		e.counters.rateLimit.Add(1)
		return
	}
	earned := false
	if o.Hidden != nil {
		// It takes the secret, and more time, to tell whether it is known.
		if earned = e.earns(now, from, o); !earned {
			return
		}
		_, avps, _ := wire.ParseHeader(datagram)
		m, _ := wire.ParseMessage(avps, e.cfg.answerSecret())
		o.TunnelID = m.AssignedTunnelID
	}
	caller := peerID{from, o.TunnelID}
	if r := h.records.ofPeer(caller); r != nil && r.same(datagram) {
		e.again(r, datagram)
		return
	}
	e.mu.Lock()
	t := e.byPeer[caller]
	e.mu.Unlock()
	if t != nil && !t.isDown() {
		// It stands: its machine knows the SCCRQ that it began with from that of
		// a peer that has restarted, which comes back to reopen.
		if !t.runner.Handle(datagram) {
			e.counters.overrun.Add(1)
		}
		return
	}
	if o.TunnelID != 0 && !earned {
		earned = e.earns(now, from, o)
	}
	if earned {
		e.open(now, to, datagram, caller)
	}
}

// reopen takes the SCCRQ of a peer that has a tunnel under the same id already. The
// tunnel stands until the other is established, if ever it is. On the loop.
func (e *Endpoint) reopen(t *Tunnel, sccrq []byte) {
	h := e.half
	if h == nil || t.dialed() {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Since(h.began)
	if e.earns(now, t.caller.addr, wire.Opening{TunnelID: t.caller.id}) {
		e.open(now, t.path.Load().Local, sccrq, t.caller)
	}
}

// earns tells whether an SCCRQ may have a record and an answer. h.mu is held.
func (e *Endpoint) earns(now time.Duration, from netip.AddrPort, o wire.Opening) bool {
	h := e.half
	if !h.loaded() {
		return true
	}
	if now-h.summaryAt >= summaryInterval {
		e.summarize(now)
	}
	seen := h.memory.see(h.memory.key(from, o.TunnelID, o.Hidden), now)
	admitted, enough := h.admission.admit(seen, now)
	switch {
	case admitted:
	case enough:
		e.counters.unanswered.Add(1)
	default:
		e.counters.remembered.Add(1)
	}
	return admitted
}

// summarize logs what has happened under load, at most every ten seconds.
func (e *Endpoint) summarize(now time.Duration) {
	h, c := e.half, &e.counters
	current := [...]uint64{c.sccrqs.Load(), c.answered.Load(), c.evicted.Load()}
	was := h.summary
	h.summary, h.summaryAt = current, now
	e.log.Warn("under load: half-open tunnels are opened to those only who ask again", "half-open", h.records.len(),
		"SCCRQs since the last time", current[0]-was[0], "answered", current[1]-was[1], "evicted", current[2]-was[2])
}

// expire removes the records whose time is over. h.mu is held.
func (e *Endpoint) expire(now time.Duration) {
	h := e.half
	for r := h.records.oldest(); r != nil; r = h.records.oldest() {
		lifetime := h.limits.HalfOpenLifetime
		if h.loaded() {
			lifetime = h.limits.HalfOpenLifetimeLoaded
		}
		if now-r.came < lifetime {
			return
		}
		e.counters.expired.Add(1)
		e.drop(r)
	}
}

// drop removes a record that becomes no tunnel. h.mu is held.
func (e *Endpoint) drop(r *halfOpenRecord) {
	e.ids.free(uint32(r.id))
	e.half.records.remove(r)
}

// open makes a record of an SCCRQ and answers it, or refuses it. h.mu is held.
func (e *Endpoint) open(now time.Duration, to netip.Addr, datagram []byte, caller peerID) {
	h, c := e.half, &e.counters
	hdr, avps, err := wire.ParseHeader(datagram)
	if err != nil || hdr.Ns != 0 || hdr.Nr != 0 {
		c.malformed.Add(1) // in no sequence does an SCCRQ follow anything
		return
	}
	datagram = datagram[:wire.ControlHeaderLen+len(avps)]
	if len(datagram) > sccrqMax || h.loaded() && len(datagram) > len(halfOpenRecord{}.sccrq) {
		c.lengthLimit.Add(1)
		return
	}
	old := h.records.ofPeer(caller) // of a peer that begins anew
	if old == nil && h.records.sources[sourceOf(caller.addr.Addr())] >= h.limits.HalfOpenPerSource {
		c.sourceLimit.Add(1)
		return
	}
	yields, answer := e.collide(caller.addr, avps)
	if !answer {
		c.lostTie.Add(1)
		return
	}
	r := halfOpenRecord{peer: caller.addr, local: to, came: now, peerID: uint16(caller.id), received: uint32(len(datagram)), length: uint16(len(datagram))}
	if copy(r.sccrq[:], datagram) < len(datagram) {
		r.long = append([]byte(nil), datagram...)
	}
	id, err := e.ids.take(e.random)
	if err == nil {
		_, err = io.ReadFull(e.random, r.seed[:])
	}
	if err != nil {
		e.log.Error("an SCCRQ was not answered", "error", err)
		return
	}
	r.id = uint16(id)
	m, _ := e.replay(&r)
	full := e.isFull()
	if full {
		c.tunnelLimit.Add(1)
		m.Close(time.Now(), tooManyTunnels)
	}
	reply, down := drain(m)
	switch {
	case down == nil && reply != nil:
		if old != nil {
			e.drop(old)
		}
		if h.records.len() >= h.limits.HalfOpenMax {
			c.evicted.Add(1)
			e.drop(h.records.oldest())
		}
		if e.sendTo(h.records.add(&r), reply) {
			c.answered.Add(1)
		}
		if yields != nil {
			yields.runner.Do(yields.machine.Yield)
		}
		return
	case full && h.loaded():
		// Not now.
	case reply != nil:
		c.refused.Add(1)
		e.log.Debug("SCCRQ refused", "peer", caller.addr, "reason", down)
		e.sendTo(&r, reply)
	}
	e.ids.free(id)
}

// again answers an SCCRQ once more. h.mu is held.
func (e *Endpoint) again(r *halfOpenRecord, datagram []byte) {
	r.received += uint32(len(datagram))
	if r.messages++; r.messages > recordMessagesMax {
		r.messages--
		return
	}
	m, _ := e.replay(r)
	if reply, _ := drain(m); reply != nil && e.sendTo(r, reply) {
		e.counters.answered.Add(1)
	}
}

// complete takes a control message for a half-open tunnel: by our id, or by the
// peer's address and its id when ours is 0. It reports false when there is none.
// On the reader.
func (e *Endpoint) complete(from netip.AddrPort, ours, theirs uint32, hdr wire.Header, datagram, avps []byte) bool {
	h := e.half
	if h == nil {
		return false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	e.expire(time.Since(h.began))
	r := h.records.ofID(ours)
	if ours == 0 {
		r = h.records.ofPeer(peerID{from, theirs})
	}
	switch {
	case r == nil:
		return false
	case r.peer != from:
		e.counters.wrongPeer.Add(1)
		return true
	}
	r.received += uint32(len(datagram))
	if len(avps) == 0 {
		if r.refused && hdr.Nr == 2 {
			e.drop(r) // our StopCCN has arrived
		}
		return true
	}
	// What overtakes the SCCCN comes again, as the SCCCN does.
	if hdr.Ns != 1 || r.messages == recordMessagesMax {
		return true
	}
	r.messages++
	m, owner := e.replay(r)
	drain(m)
	now := time.Now()
	m.Handle(now, datagram)
	if m.Established() {
		if !e.isFull() {
			owner.Reader = e.random
			e.establish(r, m, owner)
			return true
		}
		e.counters.tunnelLimit.Add(1)
		m.Close(now, tooManyTunnels)
	}
	reply, down := drain(m)
	if reply != nil {
		e.sendTo(r, reply)
	}
	if _, stopped := errors.AsType[*control.PeerError](down); stopped {
		e.drop(r)
	} else if down != nil {
		e.refuse(r, down)
	}
	return true
}

var tooManyTunnels = wire.Result{Code: wire.StopError, Error: wire.ErrorResources, Text: "too many tunnels"}

// refuse notes that a half-open tunnel has failed. It stays for its time, in which it
// says so to each repetition of the SCCCN. h.mu is held.
func (e *Endpoint) refuse(r *halfOpenRecord, reason error) {
	e.counters.refused.Add(1)
	r.refused = true
	level := slog.LevelDebug
	if _, ok := errors.AsType[control.AuthError](reason); ok {
		// Somebody does not know the secret.
		if now := time.Since(e.half.began); now-e.half.warnedAt >= warningInterval {
			level, e.half.warnedAt = slog.LevelWarn, now
		}
	}
	e.log.Log(e.ctx, level, "tunnel refused", "peer", r.peer, "reason", reason)
}

// establish makes a tunnel of a record. h.mu is held.
func (e *Endpoint) establish(r *halfOpenRecord, m *control.Tunnel, o *owner) {
	id, caller, way := uint32(r.id), r.caller(), e.sock.Path(r.peer, r.local)
	_, avps, _ := wire.ParseHeader(r.datagram())
	rival := e.overcome(caller.addr, avps)
	e.half.records.remove(r)
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

// replay makes the machine of a record, which has handled the SCCRQ. Its random
// numbers are the same each time, as long as its owner does not give it others.
func (e *Endpoint) replay(r *halfOpenRecord) (*control.Tunnel, *owner) {
	o := &owner{Reader: rand.NewChaCha8(r.seed)}
	cfg := e.answering
	cfg.Rand, cfg.Traffic, cfg.LocalID = o, o.traffic, uint32(r.id)
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
		_, avps, _ := wire.ParseHeader(reply)
		e.log.Debug("sent", "message", describe(avps), "tunnel", r.id, "peer", r.peer)
	}
	if err := e.write(reply, e.sock.Path(r.peer, r.local)); err != nil {
		e.counters.socketErrors.Add(1)
	}
	return true
}

// isFull tells whether as many tunnels stand as may.
func (e *Endpoint) isFull() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.all) >= e.half.limits.Tunnels
}
