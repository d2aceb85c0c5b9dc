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
// ones, and those beyond a length never do, the path is narrow. A peer that does not
// answer long ones at all says nothing about the path, and a line that loses a fifth of
// everything is not narrow.
type sizing struct {
	most, least int       // bytes of packets: what is to be found lies between them
	at          time.Time // of the next step; zero: there is none
	step        int       // 0: one of the longest; then the rounds
	token       uint32    // by which answers are known
	longest     int       // that was answered in this measurement
	heard       uint32    // the rounds whose short one was answered, as bits
	told        int       // what the owner goes by
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

	sizingHeader = 4 + 4 + 2 + 1 // of an echo's data: magic number, token, size, round
)

// sizes are what is tried, all of them in each round: below the longest.
var sizes = [...]int{1400, 1360, 1320, 1280, 1152, 1024, 768, 576}

// Measure has the link find out soon, and every ten minutes, whether packets of most
// bytes come through, and if they do not, how long ones do that have least bytes or
// more. [PathMTU] tells when that is less than most, and when it changes. Nothing
// happens outside the Network phase, or when the owner or the peer does not want
// Echo-Requests.
func (l *Link) Measure(now time.Time, most, least int) {
	if l.phase != network || l.cfg.EchoInterval < 0 || l.lcp.echo.refused || most <= least {
		l.sizing = nil
		return
	}
	l.sizing = &sizing{most: most, least: least, told: most, at: now.Add(sizingDelay)}
}

func (l *Link) beginSizing(now time.Time) {
	s := l.sizing
	s.token, s.longest, s.heard, s.step = l.random32(), 0, 0, 0
	l.sendSizing(s.most)
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
	if s.step == sizingRounds {
		l.conclude(now)
		return
	}
	s.step++
	// The longest first: a peer that answers only so many answers these.
	l.sendSizing(s.most)
	for _, size := range sizes {
		if size < s.most && size >= s.least {
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
	case s.longest == 0: // it does not answer long ones, whatever the path
		l.sizing = nil
	case bits.OnesCount32(s.heard) < sizingHeard:
		l.endSizing(now, s.told, sizingRepeat)
	default:
		l.endSizing(now, s.longest, sizingLifetime)
	}
}

// endSizing tells what has been found, and waits for the next time.
func (l *Link) endSizing(now time.Time, mtu int, until time.Duration) {
	s := l.sizing
	s.token, s.at = 0, now.Add(until)
	if mtu != s.told {
		s.told = mtu
		l.Emit(PathMTU{MTU: mtu})
	}
}

// sendSizing sends an Echo-Request as long as a packet of size bytes, with its
// encryption, and never more than the peer wants to receive; of size 0, a short one.
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
	l.lcp.send(packet{echoRequest, l.lcp.id, data})
}

// sized takes the data of an Echo-Reply.
func (l *Link) sized(now time.Time, data []byte) {
	s := l.sizing
	if s == nil || s.token == 0 || len(data) < sizingHeader || binary.BigEndian.Uint32(data[4:]) != s.token {
		return
	}
	size, round := int(binary.BigEndian.Uint16(data[8:])), data[10]
	switch {
	case size == s.most:
		l.endSizing(now, s.most, sizingLifetime)
	case size == 0 && round <= sizingRounds:
		s.heard |= 1 << round
	case size >= s.least && size < s.most:
		s.longest = max(s.longest, size)
	}
}
