package bridge

import (
	"crypto/subtle"
	"encoding/binary"
	"io"
	"sync"

	"github.com/l2tpnet/l2tpnet/endpoint/link"
)

// A probe is a frame of 60 bytes, the least that Ethernet knows:
//
//	 0                   6                  12        14        18        22           38
//	├───────────────────┼──────────────────┼─────────┼─────────┼─────────┼────────────┼───
//	  03:4c:32:54:50:4e   the bridge's own   88 b5     "loop"    port      16 random
//	                      random address                         number    bytes
//
// The group address is a locally administered one, so that other bridges flood it, and
// no station takes it.
const (
	probeTo   mac = 0x034c3254504e
	probeType     = 0x88b5 // local experimental EtherType 1 (IEEE 802, table 3)
	probeMark     = "loop"
	probeLen      = 60
	tokenLen      = 16

	portAt  = headerLen + len(probeMark)
	tokenAt = portAt + 4

	// remembered is how many probes of a port are known when they come back, the last
	// ones.
	remembered = 4
	// strikes is how many beats in a row a probe has to come back before a port is held
	// that another one is expected to be held for: the one with the higher number, or one
	// of another bridge with a lower address. Where that does not happen the loop has one
	// direction only, or the other bridge is not in it.
	strikes = 3
)

// probing is what a port knows of its probes.
type probing struct {
	mu     sync.Mutex
	tokens [remembered][tokenLen]byte
	sent   int
}

// holding is how a port is held.
type holding struct {
	until      int64 // if it is
	strikes    int
	struckTick int
}

// sendProbes sends a probe out of each port, also those that are held: to see whether
// the loop is still there.
func (b *Bridge) sendProbes() {
	batch := link.NewBatch()
	defer batch.Free()
	for _, p := range *b.ports.Load() {
		if p.edge || !p.gate.TryRLock() {
			continue
		}
		if out := p.out.Load(); out != nil && p.newProbe(batch) {
			(*out).Put(batch)
		}
		p.gate.RUnlock()
		batch.Reset()
	}
}

// newProbe adds a probe to batch, unless there is no randomness.
func (p *Port) newProbe(batch *link.Batch) bool {
	frame := batch.Add(probeLen, nil, nil).Head()
	clear(frame)
	binary.BigEndian.PutUint64(frame, uint64(probeTo<<16|p.bridge.self>>32))
	binary.BigEndian.PutUint32(frame[8:], uint32(p.bridge.self))
	binary.BigEndian.PutUint16(frame[12:], probeType)
	copy(frame[headerLen:], probeMark)
	binary.BigEndian.PutUint32(frame[portAt:], uint32(p.number))
	token := frame[tokenAt : tokenAt+tokenLen]
	if _, err := io.ReadFull(p.bridge.rand, token); err != nil {
		return false
	}
	p.probing.mu.Lock()
	p.probing.tokens[p.probing.sent%remembered] = [tokenLen]byte(token)
	p.probing.sent++
	p.probing.mu.Unlock()
	return true
}

// isMine reports whether the port has sent such a probe of late.
func (p *probing) isMine(token []byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range min(p.sent, remembered) {
		if subtle.ConstantTimeCompare(p.tokens[i][:], token) == 1 {
			return true
		}
	}
	return false
}

// probeCameBack is for a frame from the bridge's own address. It goes no further.
func (p *Port) probeCameBack(f *link.Frame, now int64) {
	var room [probeLen]byte
	h := f.Peek(tokenAt + tokenLen)
	if h == nil {
		if f.Len() < tokenAt+tokenLen || f.Len() > probeLen {
			p.counters.malformed.Add(1)
			return
		}
		h = f.AppendTo(room[:0])
	}
	if string(h[headerLen:portAt]) != probeMark || etherTypeOf(h) != probeType {
		p.counters.malformed.Add(1)
		return
	}
	number := int(binary.BigEndian.Uint32(h[portAt:]))
	for _, from := range *p.bridge.ports.Load() {
		if from.number == number && from.probing.isMine(h[tokenAt:tokenAt+tokenLen]) {
			p.counters.loops.Add(1)
			p.bridge.looped(from, p, now)
			return
		}
	}
	p.counters.malformed.Add(1)
}

// looped is for a probe of one port that came in at another, or at the same.
func (b *Bridge) looped(from, at *Port, now int64) {
	b.mu.Lock()
	if at.closed || from.closed {
		b.mu.Unlock()
		return
	}
	fresh := false
	switch {
	case at.held.Load():
		at.hold.until = b.end(now)
	case from.held.Load():
		from.hold.until = b.end(now) // its loop is there still, and cut
	case at.strike(b.tick) > b.patience(from, at, now):
		at.held.Store(true)
		at.hold.until, at.hold.struckTick = b.end(now), -1
		at.counters.holds.Add(1)
		fresh = true
	}
	b.mu.Unlock()
	if fresh {
		b.log.Warn("bridge port held: a loop", "port", at.name, "from", from.name)
		b.tell(Event{Port: at, Held: true, From: from})
	}
}

// patience is in how many beats a probe may come back without consequences.
func (b *Bridge) patience(from, at *Port, now int64) (beats int) {
	if at.number < from.number {
		beats += strikes
	}
	if last := b.lower.Load(); last != 0 && now-last < strikes*int64(b.interval()) {
		beats += strikes
	}
	return beats
}

// strike counts a probe that came back, once a beat: so many beats in a row.
func (p *Port) strike(tick int) int {
	h := &p.hold
	switch h.struckTick {
	case tick:
	case tick - 1:
		h.strikes++
	default:
		h.strikes = 1
	}
	h.struckTick = tick
	return h.strikes
}

// end is when a port that is held now is released, unless another probe comes back.
func (b *Bridge) end(now int64) int64 {
	return now + min(b.hold, 1<<62) // no overflow
}

// release releases the ports that have been held for long enough.
func (b *Bridge) release(now int64) (released []*Port) {
	for _, p := range *b.ports.Load() {
		if p.held.Load() && now >= p.hold.until {
			p.held.Store(false)
			released = append(released, p)
			b.log.Info("bridge port released", "port", p.name)
		}
	}
	return released
}

func (b *Bridge) tell(e Event) {
	if b.events == nil {
		return
	}
	b.telling.Lock()
	defer b.telling.Unlock()
	b.events(e)
}
