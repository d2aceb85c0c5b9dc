package control

import (
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/machine"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

// How a peer is found dead (RFC 2661 §6.5): by HELLO, which is sent
//
//	when                                           and the tunnel is lost after
//	nothing has come for Config.HelloInterval      a full retransmission cycle, 31 s
//	data has gone one way, from us, for 5 s        17 s in which nothing at all comes
//	the owner suspects it, by Probe                10 s in which nothing at all comes
//
// The last two are the times of one that is in a hurry: they are shorter than a
// cycle, since to miss data too says more than to miss acknowledgements.
const (
	lookInterval  = 2500 * time.Millisecond // how often Config.Traffic is looked at
	lookStep      = 100 * time.Millisecond  // the steps in which that is done
	oneWayMax     = 5 * time.Second
	oneWaySilence = 17 * time.Second
	probeSilence  = 10 * time.Second
)

// livelyFor is how long after a sign of life the peer is not given up although it
// does not acknowledge, and livelyRetries by how much more often a message is
// then sent: on a line that loses a fifth of all, one message in five hundred is
// not acknowledged in five retransmissions.
const (
	livelyFor     = 10 * time.Second
	livelyRetries = 3
)

// keepalive is what a tunnel knows of its peer's life.
type keepalive struct {
	heardAt  time.Time     // its last valid message; of data, when it was looked at
	jitter   time.Duration // by which our HELLOs are sooner than the interval says
	lookAt   time.Time     // when the traffic is looked at again; zero: it is not
	sent     uint64        // data messages, when they were looked at
	received uint64
	oneWayAt time.Time     // since when data goes, and nothing comes; zero: it does not
	loseAt   time.Time     // when the peer is lost, if nothing comes; zero: it is not probed
	silence  time.Duration // which that would have been
	sizing   *sizing       // nil: how long datagrams may be is not measured
}

// startKeepalive begins with an established tunnel. The tenth of the interval in
// which HELLOs are spread keeps those of many tunnels that a restart has set up
// at once from coming at once for ever.
func (t *Tunnel) startKeepalive(now time.Time) {
	t.alive.heardAt = now
	t.alive.jitter = t.cfg.HelloInterval / 10 * time.Duration(t.calls.serial&0xff) / 0x100
	if t.cfg.Traffic != nil && t.cfg.HelloInterval > 0 {
		t.alive.lookAt = nextLook(now)
		t.alive.sent, t.alive.received = t.cfg.Traffic()
	}
}

// stopKeepalive ends with it.
func (t *Tunnel) stopKeepalive() {
	t.alive.lookAt, t.alive.oneWayAt, t.alive.loseAt = time.Time{}, time.Time{}, time.Time{}
	t.alive.sizing = nil
}

// heard notes a sign of life.
func (t *Tunnel) heard(now time.Time) {
	t.alive.heardAt, t.alive.oneWayAt, t.alive.loseAt = now, time.Time{}, time.Time{}
}

// nextLook is the time of the next look. An owner with 10,000 idle tunnels that woke up
// for each of them would do little else, so they are looked at by hundreds.
func nextLook(now time.Time) time.Time {
	return now.Add(lookInterval - time.Duration(now.UnixNano())%lookStep)
}

// look learns from the data that has come and gone since the last look.
func (t *Tunnel) look(now time.Time) {
	if t.cfg.Traffic == nil || t.state != established {
		return
	}
	k := &t.alive
	if !k.lookAt.IsZero() {
		k.lookAt = nextLook(now)
	}
	sent, received := t.cfg.Traffic()
	switch {
	case received != k.received:
		t.heard(now)
	case sent != k.sent && k.oneWayAt.IsZero():
		k.oneWayAt = now
	}
	k.sent, k.received = sent, received
}

// Probe is for an owner that suspects the peer to be gone, because the host was
// suspended or its route or address has changed: HELLO goes out at once, and
// when nothing comes for 10 s, neither message nor data, the tunnel is lost.
// Whatever comes makes all as it was. A tunnel that is not established has its
// retransmissions. What [Tunnel.Measure] has measured is measured again.
func (t *Tunnel) Probe(now time.Time) {
	t.look(now) // what came before the probe does not answer it
	t.probe(now, probeSilence)
	t.Remeasure(now)
}

func (t *Tunnel) probe(now time.Time, silence time.Duration) {
	k, at := &t.alive, now.Add(silence)
	if t.state != established || !k.loseAt.IsZero() && !at.Before(k.loseAt) {
		return // it is being probed
	}
	k.loseAt, k.silence = at, silence
	if len(t.reliable.queue) > 0 {
		t.reliable.hurry(now)
	} else {
		t.sendHello(now)
	}
}

func (t *Tunnel) sendHello(now time.Time) { t.sendMessage(now, 0, 0, &wire.Message{Type: wire.HELLO}) }

// expireKeepalive probes a peer of which too little is heard. It reports false
// when the peer is lost.
func (t *Tunnel) expireKeepalive(now time.Time) bool {
	k := &t.alive
	if due(now, k.lookAt) || due(now, t.helloAt()) || due(now, k.loseAt) {
		t.look(now)
	}
	switch {
	case due(now, k.loseAt):
		return false
	case !k.lookAt.IsZero() && !k.oneWayAt.IsZero() && due(now, k.oneWayAt.Add(oneWayMax)):
		t.probe(now, oneWaySilence)
	case due(now, t.helloAt()):
		t.sendHello(now)
	}
	t.expireSizing(now)
	return true
}

func (t *Tunnel) keepaliveDeadline() time.Time {
	return machine.Earliest(t.helloAt(), t.alive.lookAt, t.alive.loseAt, t.sizingAt())
}

// helloAt is when the peer has been silent for so long that it is probed.
// While a message is on its way to it, that is the probe.
//
// RFC 2661 §6.5: "Keepalives for the tunnel MAY be implemented by sending a
// HELLO if a period of time (a recommended default is 60 seconds, but SHOULD be
// configurable) has passed without receiving any message (data or control) from
// the peer."
func (t *Tunnel) helloAt() time.Time {
	if t.state != established || t.cfg.HelloInterval == 0 || len(t.reliable.queue) > 0 {
		return time.Time{}
	}
	return t.alive.heardAt.Add(t.cfg.HelloInterval - t.alive.jitter)
}

// retries is how often a message is sent again before the peer is given up.
//
// RFC 2661 §5.8: "If no peer response is detected after several retransmissions,
// (a recommended default is 5, but SHOULD be configurable), the tunnel and all
// sessions within MUST be cleared." Data is a response too, but not for ever.
func (t *Tunnel) retries(now time.Time) int {
	if t.reliable.tries < t.cfg.Retries {
		return t.cfg.Retries
	}
	t.look(now)
	if t.state == established && t.cfg.Traffic != nil && now.Before(t.alive.heardAt.Add(livelyFor)) {
		return livelyRetries * t.cfg.Retries
	}
	return t.cfg.Retries
}

func due(now, at time.Time) bool { return !at.IsZero() && !now.Before(at) }
