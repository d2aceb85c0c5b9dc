package node

import (
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/link"
)

// A claim is an address that a client of the LAN has: a MAC address, or one of IP.
type claim struct {
	mac [6]byte
	ip  netip.Addr
}

// claims are whose the addresses of a segment are, so that nobody takes another's packets
// away: who has used an address first has it for as long as his session stands (as RFC 6620
// has it for IPv6), and who has been leased one has it in any case. Whoever uses another's
// is not heard, and the other one is asked whether he is there still.
type claims struct {
	lan func(netip.Addr) bool // whether hosts of the segment may have an address

	mu sync.RWMutex
	by map[claim]*guard
}

// A guard is the way in of one client: it takes frames on to the switch, but for those with
// addresses of others.
type guard struct {
	of   *claims
	next link.Sink
	ask  func() // whether the client is there still; nil: it is we
	most int    // addresses; 0: any number

	forged atomic.Uint64 // frames with others' addresses
	asked  atomic.Int64  // when it was asked last, in nanoseconds since guardEpoch
	mine   []claim       // under the lock of claims
	left   bool          // the same
}

const (
	claimsPerHost = 8                // addresses of IP, of both versions
	askAgain      = 10 * time.Second // as long as an answer may take
)

var guardEpoch = time.Now()

// may tells whether g may use an address, which is its own from then on, if it is nobody's
// and there is room.
func (cs *claims) may(g *guard, a claim) bool {
	cs.mu.RLock()
	owner := cs.by[a]
	cs.mu.RUnlock()
	if owner == nil {
		owner = cs.first(g, a)
	}
	if owner == g || owner == nil {
		return true
	}
	if now := int64(time.Since(guardEpoch)); owner.ask != nil {
		if last := owner.asked.Load(); (last == 0 || now-last >= int64(askAgain)) && owner.asked.CompareAndSwap(last, now) {
			owner.ask()
		}
	}
	return false
}

// first is whose an address is that was nobody's just now.
func (cs *claims) first(g *guard, a claim) *guard {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if owner := cs.by[a]; owner != nil {
		return owner
	}
	if !g.left && (g.most == 0 || len(g.mine) < g.most) {
		cs.give(a, g)
	}
	return cs.by[a]
}

// give is with the lock.
func (cs *claims) give(a claim, g *guard) {
	cs.by[a] = g
	g.mine = append(g.mine, a)
}

// lease gives an address of IP to who has been leased it.
func (cs *claims) lease(mac net.HardwareAddr, ip netip.Addr) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	g := cs.by[claim{mac: [6]byte(mac)}]
	old := cs.by[claim{ip: ip}]
	if g == nil || old == g || old != nil && old.ask == nil {
		return
	}
	if old != nil {
		old.mine = slices.DeleteFunc(old.mine, func(a claim) bool { return a.ip == ip })
	}
	cs.give(claim{ip: ip}, g)
}

// leave takes away all that g has.
func (cs *claims) leave(g *guard) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for _, a := range g.mine {
		delete(cs.by, a)
	}
	g.mine, g.left = nil, true
}

// Put implements [link.Sink].
func (g *guard) Put(b *link.Batch) {
	var last [3]claim // of the frame before: they come in runs
	for i := range b.Frames {
		if !g.passes(&b.Frames[i], &last) {
			g.putRest(b, i)
			return
		}
	}
	g.next.Put(b)
}

// putRest puts those that may pass of a batch, whose frame with index bad may not.
func (g *guard) putRest(b *link.Batch, bad int) {
	rest := link.NewBatch()
	defer rest.Free()
	var last [3]claim
	for i := range b.Frames {
		switch {
		case i < bad, i > bad && g.passes(&b.Frames[i], &last):
			rest.Frames = append(rest.Frames, b.Frames[i])
		default:
			g.forged.Add(1)
		}
	}
	if len(rest.Frames) > 0 {
		g.next.Put(rest)
	}
}

func (g *guard) passes(f *link.Frame, last *[3]claim) bool {
	frame := f.Body
	if len(f.Head()) > 0 || len(f.Tail) > 0 {
		frame = f.AppendTo(nil)
	}
	used := claimed(frame)
	for i, a := range used {
		if a == last[i] || a == (claim{}) || a.ip.IsValid() && !g.of.lan(a.ip) {
			continue
		}
		if !g.of.may(g, a) {
			return false
		}
		last[i] = a
	}
	return true
}

// claimed are the addresses that a frame says are its sender's: its source, the one of the
// packet, and where a Neighbor Advertisement has one more, that.
func claimed(frame []byte) (used [3]claim) {
	const (
		header, arp, ipv4, ipv6            = 14, 0x0806, 0x0800, 0x86dd
		ipv6Len, icmpv6, advertisement, at = 40, 58, 136, 8
	)
	if len(frame) < header {
		return used
	}
	if frame[6]&1 == 0 {
		used[0].mac = [6]byte(frame[6:])
	}
	p := frame[header:]
	ip := func(a netip.Addr) claim {
		if a.IsUnspecified() || a.IsMulticast() { // who has none yet, and what the switch or the stack drops
			return claim{}
		}
		return claim{ip: a}
	}
	switch kind := binary.BigEndian.Uint16(frame[12:]); {
	case kind == arp && len(p) >= 28:
		used[1] = ip(netip.AddrFrom4([4]byte(p[14:])))
	case kind == ipv4 && len(p) >= 20:
		used[1] = ip(netip.AddrFrom4([4]byte(p[12:])))
	case kind == ipv6 && len(p) >= ipv6Len:
		used[1] = ip(netip.AddrFrom16([16]byte(p[8:])))
		if m := p[ipv6Len:]; p[6] == icmpv6 && len(m) >= at+16 && m[0] == advertisement {
			used[2] = ip(netip.AddrFrom16([16]byte(m[at:])))
		}
	}
	return used
}
