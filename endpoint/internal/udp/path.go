package udp

import (
	"math"
	"net/netip"
	"sync/atomic"
	"time"
)

// What is learnt of a peer holds for a while, since routes change: a path's MTU as
// long as RFC 8201 §4 suggests, and the refusal of segments until it costs little
// to be refused again.
const (
	mtuLifetime     = 10 * time.Minute
	refusalLifetime = time.Minute
)

// A Path is the two ends of a conversation: the peer's address and port, and the
// address that it knows us by. Many may send on it at a time.
type Path struct {
	Peer  netip.AddrPort
	Local netip.Addr // the zero value: the system's choice

	conn *Conn  // whose it is
	name []byte // Peer and
	oob  []byte // Local, as sendmsg wants them

	learnt atomic.Pointer[lessons] // nil: nothing
}

// Conn is the one whose path it is.
func (p *Path) Conn() *Conn { return p.conn }

// lessons are what the system's refusals have taught about a peer.
type lessons struct {
	max         int       // bytes; longer datagrams are refused or fragmented
	maxUntil    time.Time // when that is forgotten
	lost        int       // bytes; longer datagrams get lost, which the system does not know; 0: none do
	lostUntil   time.Time // when that is forgotten
	singlyUntil time.Time // until when each message has one datagram
}

// MaxDatagram is the most bytes of a datagram to the peer that goes in one piece, as
// far as our own system knows, for ten minutes (RFC 1191 §6.3, RFC 8201 §4), and
// [Path.Narrow] has said; 0 when there has been no objection to any.
func (p *Path) MaxDatagram() int {
	l := p.learnt.Load()
	if l == nil {
		return 0
	}
	most, now := 0, time.Now()
	if l.max > 0 && now.Before(l.maxUntil) {
		most = l.max
	}
	if l.lost > 0 && now.Before(l.lostUntil) && (most == 0 || l.lost < most) {
		most = l.lost
	}
	return most
}

// Narrow notes for some time that datagrams of more than n bytes get lost on the way to
// the peer, without a word to the system: until then they are sent in pieces, where the
// system has a way for that. 0: they do not, as far as is known.
func (p *Path) Narrow(n int, lifetime time.Duration) {
	p.learn(func(l *lessons) { l.lost, l.lostUntil = n, time.Now().Add(lifetime) })
}

// wholeMax is the most bytes of a datagram that needs not be sent in pieces lest it get
// lost: any number if none does.
func (p *Path) wholeMax() int {
	if l := p.learnt.Load(); l != nil && l.lost > 0 && time.Now().Before(l.lostUntil) {
		return l.lost
	}
	return math.MaxInt
}

// segmentMax is the most bytes of a datagram that may share a message with others,
// 0 when none may.
func (p *Path) segmentMax() int {
	l := p.learnt.Load()
	if l == nil {
		return DatagramMax
	}
	if time.Now().Before(l.singlyUntil) {
		return 0
	}
	if n := p.MaxDatagram(); n > 0 {
		return n
	}
	return DatagramMax
}

// tooLong notes that a datagram of n bytes was refused for its length. mtu is what
// IP packets on the path may have, as the system says; 0: it does not.
func (p *Path) tooLong(n, mtu int) {
	headers := p.headers()
	max := mtu - headers
	if max <= 0 || max >= n {
		max = plateau(n+headers) - headers
	}
	p.learn(func(l *lessons) {
		now := time.Now()
		if known := l.max > 0 && now.Before(l.maxUntil); !known || max < l.max {
			l.max, l.maxUntil = max, now.Add(mtuLifetime)
		}
	})
}

// What a datagram has in front of its payload, in bytes.
const (
	headers4 = 20 + 8
	headers6 = 40 + 8
)

func (p *Path) headers() int {
	if p.Peer.Addr().Unmap().Is4() {
		return headers4
	}
	return headers6
}

// plateaus are MTUs that paths are likely to have, where it is not known which: "search
// strategies" of RFC 1191 §7. Between those of Ethernet and the least of IPv6 they
// lie close, since there are tunnels of all kinds below ours.
var plateaus = [...]int{65535, 32000, 17914, 9000, 8166, 4352, 2002, 1500, 1492, 1480, 1460, 1440, 1420, 1400, 1380, 1360, 1340, 1320, 1300, 1280, 1006, 576}

// plateau is the next MTU below that of a packet of n bytes.
func plateau(n int) int {
	for _, mtu := range plateaus {
		if mtu < n {
			return mtu
		}
	}
	return max(n-1, headers6+1)
}

// segmentsRefused notes that a message of several datagrams was refused.
func (p *Path) segmentsRefused() {
	p.learn(func(l *lessons) { l.singlyUntil = time.Now().Add(refusalLifetime) })
}

func (p *Path) learn(change func(*lessons)) {
	for {
		before := p.learnt.Load()
		after := &lessons{}
		if before != nil {
			*after = *before
		}
		change(after)
		if p.learnt.CompareAndSwap(before, after) {
			return
		}
	}
}
