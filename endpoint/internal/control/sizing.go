package control

import (
	"slices"
	"time"

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
// What waits for the peer goes first: the message is not filled up any more then, and the
// measurement is made later.
type sizing struct {
	sizes []int     // octets of datagrams, the longest first
	at    time.Time // of the next measurement; zero: one is being made
	once  int       // what the last one has found, if it is to be confirmed; else 0
	told  int       // what the owner goes by; 0: that the longest come through
}

const (
	sizingDelay    = 500 * time.Millisecond // lest it burden a set-up
	sizingInterval = 500 * time.Millisecond // for the acknowledgement of each
	sizingLongest  = 3                      // how often the longest is sent
	sizingRepeat   = time.Minute            // until the next attempt, when others had to go first
	sizingLifetime = 10 * time.Minute       // of what has been found (RFC 8201 §4)
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
// which of the others do, which are shorter and shorter. [PathMax] tells when it is not
// the first. No sizes: it is not measured any more.
func (t *Tunnel) Measure(now time.Time, sizes []int) {
	k := &t.alive
	if t.state != established || len(sizes) == 0 {
		k.sizing = nil
		return
	}
	told := 0
	if k.sizing != nil {
		if slices.Equal(k.sizing.sizes, sizes) {
			return
		}
		told = k.sizing.told
	}
	k.sizing = &sizing{sizes: slices.Clone(sizes), told: told, at: now.Add(sizingDelay)}
}

// sizingAt is when expireSizing is to be called.
func (t *Tunnel) sizingAt() time.Time {
	if t.alive.sizing == nil {
		return time.Time{}
	}
	return t.alive.sizing.at
}

func (t *Tunnel) expireSizing(now time.Time) {
	s := t.alive.sizing
	if s == nil || !due(now, s.at) {
		return
	}
	if len(t.reliable.queue) > 0 {
		s.at = now.Add(time.Second)
		return
	}
	longest := slices.Repeat(s.sizes[:1], sizingLongest)
	s.at = time.Time{}
	t.reliable.sounding = &sounding{
		sizes: append(longest, s.sizes[1:]...), random: t.random, send: t.transmitWhole, acknowledged: t.sounded,
	}
	t.sendHello(now)
}

// sounded takes that a sounding has been acknowledged.
func (t *Tunnel) sounded(now time.Time, o *sounding) {
	s := t.alive.sizing
	if s == nil || !s.at.IsZero() {
		return // it was one of a measurement before
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
