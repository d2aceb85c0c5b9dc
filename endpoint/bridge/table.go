package bridge

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
)

const (
	shards = 16

	// heardStep is how exactly it is noted when a station was heard, in nanoseconds, so
	// that one that talks does not write to what others read with each batch.
	heardStep = 10e6

	// sampled is of how many addresses the oldest goes when room is made.
	sampled = 8
)

// An entry is where a station is. It never leaves its place in the table but to be
// forgotten.
type entry struct {
	place  place
	static bool
	port   atomic.Pointer[Port]
	heard  atomic.Int64
}

// A table has all entries. They are entered and removed under the bridge's lock and,
// for as long as that takes, that of their shard.
type table struct {
	seed   uint64 // odd, so that nobody can choose addresses for one shard
	shards [shards]struct {
		sync.RWMutex
		entries map[place]*entry
		_       [32]byte // a cache line for each
	}
	learned int // without the static ones
}

func (t *table) make() {
	t.seed = rand.Uint64() | 1
	for i := range t.shards {
		t.shards[i].entries = map[place]*entry{}
	}
}

func (t *table) shard(m place) int { return int(uint64(m) * t.seed >> 60) }

func (t *table) look(m place) *entry {
	s := &t.shards[t.shard(m)]
	s.RLock()
	e := s.entries[m]
	s.RUnlock()
	return e
}

func (t *table) enter(e *entry) {
	s := &t.shards[t.shard(e.place)]
	s.Lock()
	s.entries[e.place] = e
	s.Unlock()
}

func (t *table) remove(m place) {
	s := &t.shards[t.shard(m)]
	s.Lock()
	delete(s.entries, m)
	s.Unlock()
}

// A hearing is what comes of a frame's source address.
type hearing int

const (
	isKnown     hearing = iota // it is this port's
	hasNoRoom                  // it could not be learnt
	isElsewhere                // it was heard on another port just now
)

// hear notes that a frame from m came in at p.
func (b *Bridge) hear(p *Port, m place, now int64) hearing {
	e := b.table.look(m)
	switch {
	case e == nil:
		if p.learned.Load() >= int64(p.most) {
			return hasNoRoom
		}
	case e.port.Load() == p:
		if now-e.heard.Load() >= heardStep {
			e.heard.Store(now)
		}
		return isKnown
	case e.static || now-e.heard.Load() < b.moveAfter:
		return isElsewhere
	case p.learned.Load() >= int64(p.most):
		return hasNoRoom
	}
	return b.learn(p, m, now)
}

// learn enters m, or moves it to p.
func (b *Bridge) learn(p *Port, m place, now int64) hearing {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.table.look(m) // again: others learn as well
	switch {
	case p.closed || p.out.Load() == nil || p.learned.Load() >= int64(p.most):
		return hasNoRoom
	case e == nil:
		if b.table.learned >= b.most && !b.makeRoom(p) {
			return hasNoRoom
		}
		e = &entry{place: m}
		e.port.Store(p)
		e.heard.Store(now)
		b.table.enter(e)
		b.table.learned++
	case e.port.Load() == p:
		return isKnown
	case e.static || now-e.heard.Load() < b.moveAfter:
		return isElsewhere
	default:
		if !b.isOld(e, now) {
			p.counters.moved.Add(1)
		}
		from := e.port.Load()
		delete(from.entries, m)
		from.learned.Add(-1)
		e.heard.Store(now) // first, so that nobody sees it old on its new port
		e.port.Store(p)
	}
	p.entries[m] = e
	p.learned.Add(1)
	return isKnown
}

// makeRoom forgets an address of the port that has most of them, if p has less than
// its share.
func (b *Bridge) makeRoom(p *Port) bool {
	ports := *b.ports.Load()
	if p.learned.Load() >= int64(b.most/max(len(ports), 1)) {
		return false
	}
	fattest := p
	for _, q := range ports {
		if q.learned.Load() > fattest.learned.Load() {
			fattest = q
		}
	}
	var oldest *entry
	seen := 0
	for _, e := range fattest.entries { // in no order
		if e.static {
			continue
		}
		if oldest == nil || e.heard.Load() < oldest.heard.Load() {
			oldest = e
		}
		if seen++; seen == sampled {
			break
		}
	}
	if oldest == nil {
		return false
	}
	b.forget(oldest)
	fattest.counters.displaced.Add(1)
	return true
}

// fix enters a static address of p.
func (b *Bridge) fix(p *Port, m place) {
	if e := b.table.look(m); e != nil {
		if e.static {
			return // twice in the list
		}
		b.forget(e)
	}
	e := &entry{place: m, static: true}
	e.port.Store(p)
	p.entries[m] = e
	b.table.enter(e)
}

func (b *Bridge) forget(e *entry) {
	p := e.port.Load()
	delete(p.entries, e.place)
	b.table.remove(e.place)
	if !e.static {
		p.learned.Add(-1)
		b.table.learned--
	}
}

func (b *Bridge) isOld(e *entry, now int64) bool { return !e.static && now-e.heard.Load() > b.ageing }

func (b *Bridge) forgetOld(now int64) {
	for _, p := range *b.ports.Load() {
		for _, e := range p.entries {
			if b.isOld(e, now) {
				b.forget(e)
			}
		}
	}
}
