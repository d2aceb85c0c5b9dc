package endpoint

import (
	"hash/maphash"
	"io"
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
//	SCCRQ ─► rate of its source ─► the same again? ─► under load: has it come before? ─► record, SCCRP
//	SCCCN ─► record, the machine made again: established ─► Tunnel
type halfOpen struct {
	limits *Limits
	began  time.Time // of the clock of all below

	hasher    hasher
	mu        sync.Mutex
	records   halfOpenTable
	rates     rates
	memory    memory
	admission admission
	refusals  float64       // of the last second, about
	at        time.Duration // of the last SCCRQ
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
		limits: l, began: time.Now(), hasher: hasher{maphash.MakeSeed()}, records: newHalfOpenTable(), rates: newRates(l),
		admission: admission{rate: float64(l.HalfOpenMax)},
		warnedAt:  -warningInterval, summaryAt: -summaryInterval,
	}
}

// loaded tells whether an SCCRQ has to earn its answer: too many half-open tunnels are
// kept, or too many SCCRQs have to be refused.
func (h *halfOpen) loaded() bool {
	return h.records.len()+int(h.refusals) >= h.limits.HalfOpen
}

// sccrq takes an SCCRQ that names no tunnel. On the reader.
func (e *Endpoint) sccrq(caller peerID, to netip.Addr, datagram, hidden []byte) {
	if e.ctx.Err() != nil {
		// While the others hear our goodbye. A caller whom we answered now would wait for
		// us for 31 s, though who follows us on this port could have answered.
		return
	}
	h, from := e.half, caller.addr
	h.mu.Lock()
	defer h.mu.Unlock()
	e.counters.sccrqs.Add(1)
	now := time.Since(h.began)
	e.expire(now)
	// The rate is of those that cost something: not, under load, of those that are
	// only remembered.
	loaded := h.loaded()
	if !loaded && !e.allow(now, from) {
		return
	}
	earned := false
	if hidden != nil {
		// It takes the secret, and more time, to tell whether it is known.
		if earned = e.earns(now, caller, hidden); !earned {
			return
		}
		if caller.id = e.opened(datagram, caller.v3).AssignedTunnelID; caller.id == 0 {
			e.counters.unknownTunnel.Add(1)
			return
		}
	}
	r := h.records.ofKey(h.hasher.sccrq(caller, nil))
	again := r.is(caller) && r.same(datagram)
	e.mu.Lock()
	t := e.byPeer[caller]
	e.mu.Unlock()
	stands := t != nil && !t.isDown()
	if !again && !stands && !earned && !e.earns(now, caller, nil) || loaded && !e.allow(now, from) {
		return
	}
	switch {
	case again:
		e.again(r, datagram)
	case !stands:
		e.open(now, to, datagram, caller)
	case !t.runner.Handle(datagram):
		// Its machine tells the SCCRQ that it began with from that of a peer that
		// has restarted, which comes back to reopen.
		e.counters.overrun.Add(1)
	}
}

// allow tells whether an SCCRQ keeps to the rate of its source. h.mu is held.
func (e *Endpoint) allow(now time.Duration, from netip.AddrPort) bool {
	ok := e.half.rates.allow(e.half.hasher.source(from.Addr()), now)
	if !ok {
		e.counters.rateLimit.Add(1)
	}
	return ok
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
	if e.earns(now, t.caller, nil) {
		e.open(now, t.path.Load().Local, sccrq, t.caller)
	}
}

// earns tells whether an SCCRQ may have a record and an answer; hidden is its sender's id
// if that is not known. h.mu is held.
func (e *Endpoint) earns(now time.Duration, caller peerID, hidden []byte) bool {
	h := e.half
	if !h.loaded() {
		return true
	}
	if now-h.summaryAt >= summaryInterval {
		e.summarize(now)
	}
	seen := h.memory.see(h.hasher.sccrq(caller, hidden), now)
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
	h.refusals = max(0, h.refusals-float64(h.limits.HalfOpen)*(now-h.at).Seconds())
	h.at = now
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
	e.ids.free(r.id)
	e.half.records.remove(r, e.half.hasher.source(r.peer.Addr()))
}

// open makes a record of an SCCRQ and answers it, or refuses it. h.mu is held.
func (e *Endpoint) open(now time.Duration, to netip.Addr, datagram []byte, caller peerID) {
	h, c := e.half, &e.counters
	hdr, avps, err := parseControl(datagram)
	if err != nil || hdr.Ns != 0 || hdr.Nr != 0 {
		c.malformed.Add(1) // in no sequence does an SCCRQ follow anything
		return
	}
	datagram = datagram[:wire.ControlHeaderLen+len(avps)]
	if len(datagram) > sccrqMax || h.loaded() && len(datagram) > len(halfOpenRecord{}.sccrq) {
		c.lengthLimit.Add(1)
		return
	}
	key, source := h.hasher.sccrq(caller, nil), h.hasher.source(caller.addr.Addr())
	old := h.records.ofKey(key) // of a peer that begins anew
	if old == nil && int(h.records.sources[source]) >= h.limits.HalfOpenPerSource {
		c.sourceLimit.Add(1)
		return
	}
	var yields *Tunnel
	if !caller.v3 {
		var outcome control.Collision
		if yields, outcome = e.collide(caller, datagram); outcome == control.OursWins || outcome == control.NoneWins {
			c.lostTie.Add(1)
			return
		}
	}
	full := !e.hasRoom(false)
	if full {
		c.tunnelLimit.Add(1)
		if h.loaded() {
			return
		}
	}
	r := halfOpenRecord{key: key, peer: caller.addr, local: to, came: now, peerID: caller.id, v3: caller.v3, received: uint32(len(datagram)), length: uint16(len(datagram))}
	if copy(r.sccrq[:], datagram) < len(datagram) {
		r.long = append([]byte(nil), datagram...)
	}
	_, err = io.ReadFull(e.random, r.seed[:])
	id := uint32(0)
	if err == nil {
		id, err = e.ids.take(e.random, caller.v3)
	}
	if err != nil {
		e.log.Error("an SCCRQ was not answered", "error", err)
		return
	}
	r.id = id
	refusal := wire.Result{}
	if full {
		refusal = tooManyTunnels // in the place of the SCCRP: a StopCCN behind one that never comes would wait for it
	}
	m, _ := e.replay(&r, refusal)
	if caller.v3 {
		if m.Counters().BadDigest > 0 {
			// Nothing else of it is of any use, not even to settle a tie.
			c.badDigest.Add(1)
			e.log.Log(e.ctx, h.warns(), "an SCCRQ of L2TPv3 was dropped, whose Message Digest is wrong or missing: its sender may have another tunnel secret, or none", "peer", caller.addr)
			e.ids.free(id)
			h.refusals++
			return
		}
		var outcome control.Collision
		yields, outcome = e.collide(caller, datagram)
		switch outcome {
		case control.OursWins:
			c.lostTie.Add(1)
			m, _ = e.replay(&r, lostTie)
		case control.NoneWins:
			// There is no winner to say so. Who has not seen ours will see the next one.
			c.lostTie.Add(1)
			e.ids.free(id)
			return
		}
	}
	reply, down := drain(m)
	if down == nil && reply != nil {
		if old != nil {
			e.drop(old)
		}
		if h.records.len() >= h.limits.HalfOpenMax {
			c.evicted.Add(1)
			e.drop(h.records.oldest())
		}
		if e.sendTo(h.records.add(&r, source), reply) {
			c.answered.Add(1)
		}
		if yields != nil {
			yields.runner.Do(yields.machine.Yield)
		}
		return
	}
	e.ids.free(id)
	h.refusals++
	if reply != nil {
		c.refused.Add(1)
		e.log.Debug("SCCRQ refused", "peer", caller.addr, "reason", down)
		e.sendTo(&r, reply)
	}
}

// again answers an SCCRQ once more. h.mu is held.
func (e *Endpoint) again(r *halfOpenRecord, datagram []byte) {
	r.received += uint32(len(datagram))
	if r.messages++; r.messages > recordMessagesMax {
		r.messages--
		return
	}
	m, _ := e.replay(r, wire.Result{})
	if reply, _ := drain(m); reply != nil && e.sendTo(r, reply) {
		e.counters.answered.Add(1)
	}
}
