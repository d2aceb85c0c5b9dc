package ppp

import (
	"encoding/binary"
	"math/bits"
	"time"
)

// A sizing finds out how long packets may be on the way to the peer and back, where
// nobody tells: long ones may vanish without a word, because ICMP is filtered. It asks
// by Echo-Requests with as much data as a packet would have, which come back with it
// (RFC 1661 §5.8). Mostly one is enough. When it is not answered, others of many sizes
// follow, and short ones beside them: only if the short ones come back, and some long
// ones, and those beyond a length never do, the path is narrow. A peer that has never
// answered a long one says nothing about the path, and a line that loses a fifth of
// everything is not narrow.
//
// Paths change. So one that is in use is checked between the measurements, by an
// Echo-Request as long as the longest packets; if that gets lost again and again, it is
// measured. One that carries nothing is left in peace, and costs nothing: there is no
// timer for it, the keepalive's is enough.
type sizing struct {
	most    int       // bytes of the longest packets
	at      time.Time // of the next step; zero: there is none
	step    int       // 0: one of the longest; then the rounds
	token   uint32    // by which answers are known; 0: nothing is under way
	longest int       // that was answered in this measurement
	heard   uint32    // the rounds whose short one was answered, as bits
	told    int       // what the owner goes by
	answers bool      // the peer has answered a long one

	check int       // how many have been sent of the check that is under way; 0: none is
	next  time.Time // of the next measurement, during a check
	after time.Time // before which there is no check
	sent  uint64    // what the owner had sent at the last check or measurement
}

const (
	sizingDelay    = 500 * time.Millisecond // lest it burden the set-up
	sizingPatience = time.Second            // for the answer to the first
	sizingInterval = 300 * time.Millisecond // of the rounds
	sizingWait     = 2 * time.Second        // for answers to the last
	sizingRounds   = 10
	sizingHeard    = 7                // rounds, at least, or the line is too bad for a conclusion
	sizingRepeat   = time.Minute      // until the next attempt on such a line
	sizingLifetime = 10 * time.Minute // of what has been found (RFC 8201 §4)
	sizingCheck    = 20 * time.Second // until the first check, and between them
	sizingChecks   = 3                // how often it is lost until it is measured again

	sizingHeader = 4 + 4 + 2 + 1 // of an echo's data: magic number, token, size, round
)

// sizes are what is tried, all of them in each round: below the longest.
var sizes = [...]int{1400, 1360, 1320, 1280, 1152, 1024, 768, 576, sizingLeast}

const sizingLeast = 512 // with what is around it, what every IPv4 host takes (RFC 791 §3.1)

// Measure has the link find out soon, and every ten minutes, whether packets of most
// bytes come through, and if they do not, how long ones do. While the owner sends
// (Config.Sent) it is checked every twenty seconds, and it is found out again when the
// path has become narrower, and by [Link.Probe]. [PathMTU] tells when that is less than
// most, and when it changes. Nothing happens outside the Network phase, or when the owner
// or the peer does not want Echo-Requests.
func (l *Link) Measure(now time.Time, most int) {
	if l.phase != network || l.cfg.EchoInterval < 0 || l.lcp.echo.refused || most <= sizingLeast {
		l.sizing = nil
		return
	}
	l.sizing = &sizing{most: most, told: most, at: now.Add(sizingDelay)}
}

func (l *Link) beginSizing(now time.Time) {
	s := l.sizing
	s.token, s.longest, s.heard, s.step, s.check = l.random32(), 0, 0, 0, 0
	s.sent = l.cfg.Sent()
	l.sendSizing(s.most)
	s.at = now.Add(sizingPatience)
}

// checkSizing begins a check when it is time for one, and something may have been sent
// that has become too long.
func (l *Link) checkSizing(now time.Time) {
	s := l.sizing
	if s == nil || s.token != 0 || !s.answers || now.Before(s.after) {
		return
	}
	sent := l.cfg.Sent()
	if sent-s.sent < sizingLeast {
		s.after = now.Add(sizingCheck)
		return
	}
	s.token, s.sent, s.next = l.random32(), sent, s.at
	s.longest, s.heard, s.step, s.check = 0, 0, 0, 0
	l.sendCheck(now)
}

func (l *Link) sendCheck(now time.Time) {
	s := l.sizing
	s.check++
	l.sendSizing(s.told)
	s.at = now.Add(sizingPatience)
}

// sizingDeadline is when expireSizing is to be called.
func (l *Link) sizingDeadline() time.Time {
	if l.sizing == nil {
		return time.Time{}
	}
	return l.sizing.at
}

func (l *Link) expireSizing(now time.Time) {
	s := l.sizing
	if s == nil || !past(now, s.at) {
		return
	}
	if l.lcp.echo.refused {
		l.sizing = nil
		return
	}
	if s.token == 0 {
		l.beginSizing(now)
		return
	}
	if s.check > 0 && s.check < sizingChecks {
		l.sendCheck(now)
		return
	}
	s.check = 0
	if s.step == sizingRounds {
		l.conclude(now)
		return
	}
	s.step++
	// The longest first: a peer that answers only so many answers these.
	l.sendSizing(s.most)
	for _, size := range sizes {
		if size < s.most {
			l.sendSizing(size)
		}
	}
	l.sendSizing(0)
	s.at = now.Add(sizingInterval)
	if s.step == sizingRounds {
		s.at = now.Add(sizingWait)
	}
}

// conclude ends a measurement in which the longest was not answered.
func (l *Link) conclude(now time.Time) {
	s := l.sizing
	switch {
	case !s.answers: // it does not answer long ones, whatever the path
		s.token, s.at = 0, time.Time{}
	case s.longest == 0 || bits.OnesCount32(s.heard) < sizingHeard:
		l.endSizing(now, s.told, sizingRepeat)
	default:
		l.endSizing(now, s.longest, sizingLifetime)
	}
}

// endSizing tells what has been found, and waits for the next time.
func (l *Link) endSizing(now time.Time, mtu int, until time.Duration) {
	s := l.sizing
	s.token, s.at, s.after = 0, now.Add(until), now.Add(sizingCheck)
	if mtu != s.told {
		s.told = mtu
		l.Emit(PathMTU{MTU: mtu})
	}
}

// sendSizing sends an Echo-Request as long as a packet of size bytes, with its
// encryption, and never more than the peer wants to receive; of size 0, a short one. It
// must go in one piece, or it would not tell how long the path lets packets be.
func (l *Link) sendSizing(size int) {
	n := size - packetHeaderLen
	if l.ccp.encryption != nil {
		n += EncryptionLen
	}
	n = min(max(n, sizingHeader), l.lcp.peerMRU-packetHeaderLen)
	data := make([]byte, max(n, sizingHeader))
	binary.BigEndian.PutUint32(data, l.lcp.magic)
	binary.BigEndian.PutUint32(data[4:], l.sizing.token)
	binary.BigEndian.PutUint16(data[8:], uint16(size))
	data[10] = byte(l.sizing.step)
	l.lcp.id++
	l.Emit(Whole{Frame: packet{echoRequest, l.lcp.id, data}.frame(protocolLCP)})
}

// sized takes the data of an Echo-Reply.
func (l *Link) sized(now time.Time, data []byte) {
	s := l.sizing
	if s == nil || s.token == 0 || len(data) < sizingHeader || binary.BigEndian.Uint32(data[4:]) != s.token {
		return
	}
	size, round := int(binary.BigEndian.Uint16(data[8:])), data[10]
	if size > 0 && size <= s.most {
		s.answers = true
	}
	switch {
	case size == s.most:
		l.endSizing(now, s.most, sizingLifetime)
	case s.check > 0 && size == s.told:
		s.token, s.at, s.after, s.check = 0, s.next, now.Add(sizingCheck), 0
	case size == 0 && round <= sizingRounds:
		s.heard |= 1 << round
	case size >= sizingLeast && size < s.most:
		s.longest = max(s.longest, size)
	}
}
