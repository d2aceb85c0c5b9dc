package udp

import (
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

	name []byte // Peer and
	oob  []byte // Local, as sendmsg wants them

	learnt atomic.Pointer[lessons] // nil: nothing
}

// lessons are what the system's refusals have taught about a peer.
type lessons struct {
	max         int       // bytes; longer datagrams are refused or fragmented
	maxUntil    time.Time // when that is forgotten
	singlyUntil time.Time // until when each message has one datagram
}

// MaxDatagram is the most bytes of a datagram to the peer that is neither refused
// nor fragmented by our own system; 0 when it has not objected to any.
func (p *Path) MaxDatagram() int {
	if l := p.learnt.Load(); l != nil && l.max > 0 && time.Now().Before(l.maxUntil) {
		return l.max
	}
	return 0
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

// tooLong notes that a datagram of n bytes was refused for its length.
func (p *Path) tooLong(n int) {
	p.learn(func(l *lessons) {
		now := time.Now()
		if known := l.max > 0 && now.Before(l.maxUntil); !known || n-1 < l.max {
			l.max, l.maxUntil = n-1, now.Add(mtuLifetime)
		}
	})
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
