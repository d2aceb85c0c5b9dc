package netstack

import (
	"fmt"
	"math/bits"
	"net/netip"
	"sync"
	"sync/atomic"
)

// A table finds the port with the longest prefix that an address lies in.
// Look-ups take no lock: each shard is a map that is never written to but
// replaced, so that attaching one of ten thousand sessions copies about forty
// entries.
type table struct {
	lengths atomic.Uint64 // bit n: there are prefixes of n bits
	shards  [256]atomic.Pointer[map[tableKey]*Port]

	mu     sync.Mutex // of writers
	counts [33]int    // prefixes of n bits
}

// A tableKey is a prefix: its length above its address.
type tableKey uint64

func keyOf(addr uint32, n int) tableKey {
	return tableKey(n)<<32 | tableKey(uint64(addr)>>(32-n)<<(32-n))
}

func (t *table) shard(k tableKey) *atomic.Pointer[map[tableKey]*Port] {
	return &t.shards[uint64(k)*0x9e3779b97f4a7c15>>56] // Fibonacci hashing
}

func (t *table) lookup(addr uint32) *Port {
	for lengths := t.lengths.Load(); lengths != 0; {
		n := bits.Len64(lengths) - 1
		lengths &^= 1 << n
		k := keyOf(addr, n)
		if m := t.shard(k).Load(); m != nil {
			if p := (*m)[k]; p != nil {
				return p
			}
		}
	}
	return nil
}

// add enters all the prefixes for p, or none.
func (t *table) add(p *Port, prefixes []netip.Prefix) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, prefix := range prefixes {
		k := keyOf(toUint32(prefix.Addr()), prefix.Bits())
		if m := t.shard(k).Load(); m != nil && (*m)[k] != nil {
			t.removeLocked(prefixes[:i])
			return fmt.Errorf("netstack: %v is attached already", prefix)
		}
		t.replace(k, func(m map[tableKey]*Port) { m[k] = p })
		t.counts[prefix.Bits()]++
		t.lengths.Or(1 << prefix.Bits())
	}
	return nil
}

func (t *table) remove(prefixes []netip.Prefix) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.removeLocked(prefixes)
}

func (t *table) removeLocked(prefixes []netip.Prefix) {
	for _, prefix := range prefixes {
		k := keyOf(toUint32(prefix.Addr()), prefix.Bits())
		t.replace(k, func(m map[tableKey]*Port) { delete(m, k) })
		if t.counts[prefix.Bits()]--; t.counts[prefix.Bits()] == 0 {
			t.lengths.And(^(1 << prefix.Bits()))
		}
	}
}

// replace puts a changed copy in the place of k's shard.
func (t *table) replace(k tableKey, change func(map[tableKey]*Port)) {
	shard := t.shard(k)
	var old map[tableKey]*Port
	if m := shard.Load(); m != nil {
		old = *m
	}
	m := make(map[tableKey]*Port, len(old)+1)
	for k, p := range old {
		m[k] = p
	}
	change(m)
	shard.Store(&m)
}
