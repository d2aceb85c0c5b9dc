package bridge

import (
	"math"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/l2tpnet/l2tpnet/endpoint/link"
)

// What is bounded in frames a second.
type flood int

const (
	unknown flood = iota
	toAll
	toGroup
	unlearned
	floods
)

// A Port is one link of a [Bridge]. It is the [link.Sink] for what comes in from
// that link: Ethernet frames, from the destination address on and without a check
// sequence.
type Port struct {
	bridge   *Bridge
	name     string
	number   int
	out      atomic.Pointer[link.Sink] // nil: the link is down
	isolated bool
	edge     bool

	learnedOnly bool

	longest  atomic.Int64 // bytes of a frame without a tag
	rates    [floods]rate
	held     atomic.Bool
	shut     atomic.Bool
	gate     sync.RWMutex // read-locked by what goes out; locked for good by Close
	shutting sync.Once
	counters counters
	probing  probing

	most    int // of learned addresses
	learned atomic.Int64

	// Under the bridge's lock.
	entries map[place]*entry
	closed  bool
	hold    holding
}

// Name is what the port was attached by.
func (p *Port) Name() string { return p.name }

// ChangeMTU says what the MTU of the port's link is now ([PortConfig]). It is not for a
// session to call when its path turns out to be narrow, as endpoint.MTUSetter's SetMTU
// would be: nobody in a segment is told that a frame was too long, so that it had better
// arrive in pieces.
func (p *Port) ChangeMTU(mtu int) {
	longest := int64(math.MaxInt64)
	if mtu > 0 {
		longest = int64(mtu) + headerLen
	}
	p.longest.Store(longest)
}

// SetLink says where frames go that go out of the port: to a link that takes the place of
// the one before. Nil: the link is down. What has been learned behind the port is forgotten
// then, no probes are sent, and frames in either direction are dropped, until there is a
// link again. One that is sent at this moment may still go to the link before.
func (p *Port) SetLink(out link.Sink) {
	if out != nil {
		p.out.Store(&out)
		return
	}
	b := p.bridge
	b.mu.Lock()
	defer b.mu.Unlock()
	p.out.Store(nil)
	for _, e := range p.entries {
		if !e.static {
			b.forget(e)
		}
	}
}

// Put takes frames that came in from the link, and puts each where it belongs. Those
// for one port go in one batch.
func (p *Port) Put(b *link.Batch) {
	if p.shut.Load() {
		p.counters.late.Add(uint64(len(b.Frames)))
		return
	}
	if p.out.Load() == nil {
		p.counters.down.Add(uint64(len(b.Frames)))
		return
	}
	s := sortings.Get().(*sorting)
	p.sort(b, s)
	switch {
	case s.one != nil:
		s.one.send(b)
	case s.flooded:
		for _, q := range *p.bridge.ports.Load() {
			if q != p && !(p.isolated && q.isolated) {
				s.sendTo(q, b)
			}
		}
	default:
		for _, q := range s.ports {
			s.sendTo(q, b)
		}
	}
	s.free()
}

// A sorting is where the frames of a batch go.
type sorting struct {
	to      []*Port // of each frame; nil: nowhere, everyone: all other ports
	ports   []*Port // to which any goes, once each
	flooded bool
	one     *Port // to which all go
	out     link.Batch
}

var sortings = sync.Pool{New: func() any { return new(sorting) }}

func (s *sorting) free() {
	clear(s.to)
	clear(s.ports)
	s.to, s.ports, s.flooded, s.one = s.to[:0], s.ports[:0], false, nil
	sortings.Put(s)
}

// everyone stands for all ports but the one where a frame came in.
var everyone = new(Port)

// A class is what frames with the same addresses have in common.
type class struct {
	to        *Port          // one, or everyone
	kind      flood          // of those for everyone
	unlearned bool           // the table has no room for the source
	drop      *atomic.Uint64 // it goes nowhere, and is counted there
	probe     bool           // it is one of the bridge's own
}

// sort says where each frame of b goes, and counts all.
func (p *Port) sort(b *link.Batch, s *sorting) {
	now := p.bridge.now()
	held := p.held.Load()
	var room [seenLen]byte
	var dst, src mac // of the frame before: they come in runs
	var vlan uint16
	var c class
	frames, bytes, kept := 0, 0, 0
	for i := range b.Frames {
		f := &b.Frames[i]
		size := f.Len()
		frames++
		bytes += size
		s.to = append(s.to, nil)
		if size < headerLen {
			p.counters.malformed.Add(1)
			continue
		}
		h := header(f, &room)
		if d, from, v := destinationOf(h), sourceOf(h), vlanOf(h); d != dst || from != src || v != vlan || i == 0 {
			dst, src, vlan = d, from, v
			c = p.classify(dst, src, vlan, held, now)
		}
		switch {
		case c.probe:
			p.probeCameBack(f, now)
			continue
		case c.drop != nil:
			c.drop.Add(1)
			continue
		case c.unlearned && !p.rates[unlearned].allow(now):
			p.counters.limited[unlearned].Add(1)
			continue
		case c.to == everyone && !p.rates[c.kind].allow(now):
			p.counters.limited[c.kind].Add(1)
			continue
		}
		s.to[i] = c.to
		kept++
		if c.to == everyone {
			s.flooded = true
		} else if len(s.ports) == 0 || s.ports[len(s.ports)-1] != c.to && !slices.Contains(s.ports, c.to) {
			s.ports = append(s.ports, c.to)
		}
	}
	p.counters.framesIn.Add(uint64(frames))
	p.counters.bytesIn.Add(uint64(bytes))
	if kept == len(b.Frames) && len(s.ports) == 1 && !s.flooded {
		s.one = s.ports[0]
	}
}

func (p *Port) classify(dst, src mac, vlan uint16, held bool, now int64) class {
	b, c := p.bridge, &p.counters
	switch {
	case src == b.self:
		return class{probe: true}
	case held:
		return class{drop: &c.held}
	case !src.isStation():
		return class{drop: &c.malformed}
	case dst.isReserved():
		return class{drop: &c.reserved}
	case dst == b.self:
		return class{drop: &c.filtered}
	}
	heard := b.hear(p, src.in(vlan), now)
	switch {
	case heard == isElsewhere:
		return class{drop: &c.elsewhere}
	case heard == hasNoRoom && p.learnedOnly:
		return class{drop: &c.limited[unlearned]}
	}
	if dst == probeTo && src < b.self {
		b.lower.Store(now)
	}
	found := class{to: everyone, kind: unknown, unlearned: heard == hasNoRoom}
	switch {
	case dst == broadcast:
		found.kind = toAll
	case dst.isGroup():
		found.kind = toGroup
	default:
		e := b.table.look(dst.in(vlan))
		if e == nil || b.isOld(e, now) {
			break
		}
		found.to = e.port.Load()
		if found.to == p || p.isolated && found.to.isolated {
			return class{drop: &c.filtered}
		}
	}
	return found
}

// sendTo sends those of the frames that are for q.
func (s *sorting) sendTo(q *Port, b *link.Batch) {
	for i, to := range s.to {
		if to == q || to == everyone {
			s.out.Frames = append(s.out.Frames, b.Frames[i])
		}
	}
	if len(s.out.Frames) > 0 {
		q.send(&s.out)
		s.out.Reset()
	}
}

// send sends frames out of the port, but for those that are too long.
func (p *Port) send(b *link.Batch) {
	if !p.gate.TryRLock() {
		return // it has just been closed
	}
	defer p.gate.RUnlock()
	out := p.out.Load()
	if out == nil {
		p.counters.down.Add(uint64(len(b.Frames)))
		return
	}
	if p.held.Load() {
		p.counters.held.Add(uint64(len(b.Frames)))
		return
	}
	longest := int(p.longest.Load())
	bytes, fit := 0, true
	for i := range b.Frames {
		size := b.Frames[i].Len()
		bytes += size
		fit = fit && size <= longest
	}
	if !fit {
		p.sendShort(*out, b, longest)
		return
	}
	p.counters.framesOut.Add(uint64(len(b.Frames)))
	p.counters.bytesOut.Add(uint64(bytes))
	(*out).Put(b)
}

// sendShort sends those of the frames that are not too long. A tag is not counted: a link
// for frames of one length takes tagged ones of four bytes more.
func (p *Port) sendShort(out link.Sink, b *link.Batch, longest int) {
	short := link.NewBatch()
	defer short.Free()
	bytes := 0
	for i := range b.Frames {
		f := &b.Frames[i]
		size := f.Len()
		if size > longest && !(size <= longest+tagLen && isTagged(f)) {
			p.counters.tooLong.Add(1)
			continue
		}
		bytes += size
		short.Frames = append(short.Frames, *f)
	}
	if len(short.Frames) == 0 {
		return
	}
	p.counters.framesOut.Add(uint64(len(short.Frames)))
	p.counters.bytesOut.Add(uint64(bytes))
	out.Put(short)
}

// Close takes the port out of the bridge. When it returns nothing is being sent out of
// it, so that it must not be called from within its out's Put. A second Close does
// nothing. The error is nil.
func (p *Port) Close() error {
	b := p.bridge
	b.mu.Lock()
	if !p.closed {
		p.closed = true
		p.shut.Store(true)
		ports := slices.DeleteFunc(slices.Clone(*b.ports.Load()), func(q *Port) bool { return q == p })
		b.ports.Store(&ports)
		for _, e := range p.entries {
			b.forget(e)
		}
		b.log.Debug("bridge port closed", "port", p.name, "number", p.number)
	}
	b.mu.Unlock()
	p.shutting.Do(p.gate.Lock)
	return nil
}
