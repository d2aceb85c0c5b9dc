package control

import (
	"slices"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/machine"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

// A sizing finds out how long datagrams may be on the way to the peer, where nobody
// tells: long ones may vanish without a word, because ICMP is filtered. It asks by a
// HELLO that is filled up with a Random Vector, which nothing uses: an AVP of "arbitrary
// length" that every message may have (RFC 2661 §4.4.1, RFC 3931 §5.4.1). Mostly the
// longest is acknowledged at once. If it is not, even when sent again, the same message
// goes out shorter and shorter, as the HELLO that it is at last: which one was
// acknowledged tells what comes through. A path is narrow if that comes out twice.
//
// Paths change. So one that is in use is checked between the measurements, in the same way,
// by messages as long as the longest datagrams; if none of them is acknowledged, it is measured.
//
// What waits for the peer goes first: the message is not filled up any more then, and the
// measurement is made later.
type sizing struct {
	sizes []int     // octets of datagrams, the longest first
	at    time.Time // of the next measurement; zero: one is being made
	once  int       // what the last one has found, if it is to be confirmed; else 0
	told  int       // what the owner goes by; 0: that the longest come through

	heeds    bool      // a long one has been acknowledged
	checking bool      // what is under way is a check
	next     time.Time // of the next measurement, during a check
	checkAt  time.Time // of the next check
	sent     uint64    // what had been sent at the last check or measurement
}

const (
	sizingDelay    = 500 * time.Millisecond // lest it burden a set-up
	sizingInterval = 500 * time.Millisecond // for the acknowledgement of each
	sizingLongest  = 3                      // how often the longest is sent
	sizingRepeat   = time.Minute            // until the next attempt, when others had to go first
	sizingLifetime = 10 * time.Minute       // of what has been found (RFC 8201 §4)
	sizingCheck    = 20 * time.Second       // between checks
	sizingLeast    = 512                    // octets of data: who sends less cannot miss any that are long
)

// PathMax tells how long datagrams may be that get to the peer, by octets, as a measurement
// has shown; it comes again before that time is over, as long as it is so. 0: no limit
// is known any more.
type PathMax struct {
	Bytes int
	For   time.Duration
}

// Whole is a packet to be sent in one piece, or not at all.
type Whole struct{ Packet []byte }

func (PathMax) event() {}
func (Whole) event()   {}

// Measure has an established tunnel find out soon, and every ten minutes, whether
// datagrams as long as the first of some sizes come through to the peer and, if they do not,
// which of the others do, which are shorter and shorter. While data is sent (Config.Sent)
// it is checked every twenty seconds, and it is found out again when the path has become
// narrower, and by [Tunnel.Probe]. [PathMax] tells when it is not the first. No sizes: it
// is not measured any more.
func (t *Tunnel) Measure(now time.Time, sizes []int) {
	k := &t.alive
	if t.state != established || len(sizes) == 0 {
		k.sizing = nil
		return
	}
	s := &sizing{sizes: slices.Clone(sizes), at: now.Add(sizingDelay), checkAt: nextCheck(now), sent: t.cfg.Sent()}
	if was := k.sizing; was != nil {
		if slices.Equal(was.sizes, sizes) {
			return
		}
		s.told, s.heeds = was.told, was.heeds
	}
	k.sizing = s
}

// Remeasure is Measure with the sizes that it was called with last, for an owner that
// suspects the path to be another.
func (t *Tunnel) Remeasure(now time.Time) {
	if s := t.alive.sizing; s != nil && !s.at.IsZero() {
		s.at = now.Add(sizingDelay)
	}
}

// nextCheck is the time of the next check, at the moment of a look.
func nextCheck(now time.Time) time.Time {
	return now.Add(sizingCheck - time.Duration(now.UnixNano())%lookStep)
}

// sizingAt is when expireSizing is to be called.
func (t *Tunnel) sizingAt() time.Time {
	if t.alive.sizing == nil {
		return time.Time{}
	}
	return machine.Earliest(t.alive.sizing.at, t.alive.sizing.checkAt)
}

func (t *Tunnel) expireSizing(now time.Time) {
	s := t.alive.sizing
	if s == nil {
		return
	}
	if due(now, s.checkAt) {
		t.checkSizing(now)
	}
	if !due(now, s.at) {
		return
	}
	if len(t.reliable.queue) > 0 {
		s.at = now.Add(time.Second)
		return
	}
	longest := slices.Repeat(s.sizes[:1], sizingLongest)
	s.at, s.sent, s.checkAt = time.Time{}, t.cfg.Sent(), nextCheck(now)
	t.sound(now, append(longest, s.sizes[1:]...))
}

// checkSizing checks the path if something may have been sent that has become too long.
func (t *Tunnel) checkSizing(now time.Time) {
	s := t.alive.sizing
	s.checkAt = nextCheck(now)
	if s.at.IsZero() || due(now, s.at) || !s.heeds || len(t.reliable.queue) > 0 {
		return // it is measured, or soon; or the next time
	}
	sent := t.cfg.Sent()
	if sent-s.sent < sizingLeast {
		return
	}
	s.sent, s.next, s.at, s.checking = sent, s.at, time.Time{}, true
	longest := s.told
	if longest == 0 {
		longest = s.sizes[0]
	}
	t.sound(now, slices.Repeat([]int{longest}, sizingLongest))
}

func (t *Tunnel) sound(now time.Time, sizes []int) {
	t.reliable.sounding = &sounding{sizes: sizes, random: t.random, send: t.transmitWhole, acknowledged: t.sounded}
	t.sendHello(now)
}

// sounded takes that a sounding has been acknowledged.
func (t *Tunnel) sounded(now time.Time, o *sounding) {
	s := t.alive.sizing
	if s == nil || !s.at.IsZero() {
		return // it was one of a measurement before
	}
	s.heeds = s.heeds || o.size > 0
	if s.checking {
		s.checking, s.at = false, s.next
		if o.size == 0 && !o.outOfTheWay { // it does not come through any more
			s.at = now.Add(sizingDelay)
		}
		return
	}
	s.at = now.Add(sizingLifetime)
	was := s.once
	s.once = 0
	switch {
	case o.size == s.sizes[0]:
		if s.told != 0 {
			s.told = 0
			t.Emit(PathMax{})
		}
	case o.outOfTheWay:
		s.at = now.Add(sizingRepeat)
	case o.size == 0: // it heeds no long ones, whatever the path
	case was == 0:
		s.once, s.at = o.size, now.Add(sizingDelay)
	default:
		s.told = max(was, o.size)
		t.Emit(PathMax{s.told, sizingLifetime + sizingRepeat})
	}
}

// A sounding is how a message is filled up that is sent again and again, each time less.
type sounding struct {
	sizes       []int // octets to be filled up to, the next first
	size        int   // what it was filled up to when it was sent last; 0: it was not
	outOfTheWay bool  // others have to go first

	random       func(b []byte)
	send         func(packet []byte) // in one piece
	acknowledged func(now time.Time, s *sounding)
}

// fill fills a packet up to the next size.
func (s *sounding) fill(packet []byte) []byte {
	s.size = 0
	if len(s.sizes) == 0 {
		return packet
	}
	s.size, s.sizes = s.sizes[0], s.sizes[1:]
	packet = wire.AppendFilling(packet, s.size, s.random)
	wire.SetLength(packet)
	return packet
}

// filled reports whether the oldest message was filled up when it was sent last.
func (r *reliable) filled() bool { return r.sounding != nil && r.sounding.size > 0 }

// interval is the wait for an acknowledgement of the oldest message.
func (r *reliable) interval() time.Duration {
	if r.filled() {
		return sizingInterval
	}
	return r.cfg.retryInterval(r.tries)
}

// clearTheWay has the message of a sounding that is in flight go again, at once and as it
// is, before others that are to be flushed.
func (r *reliable) clearTheWay() {
	if r.filled() {
		r.sounding.sizes, r.sounding.outOfTheWay = nil, true
		r.next, r.retryAt = 0, time.Time{}
	}
}
