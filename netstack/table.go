package netstack

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"net/netip"
	"sync"
	"sync/atomic"
)

// A table finds the port with the longest prefix that an address lies in.
// Look-ups take no lock: each shard is a map that is never written to but
// replaced, so that attaching one of ten thousand sessions copies about forty
// entries. There is one for each version of IP: A is an address, and K a prefix.
type table[A numeric[A, K], K prefixKey] struct {
	lengths [3]atomic.Uint64 // bit n: there are prefixes of n bits
	shards  [256]atomic.Pointer[map[K]*Port]

	mu     sync.Mutex // of writers
	counts [129]int   // prefixes of n bits
}

// A numeric is an IP address as a number.
type numeric[A any, K prefixKey] interface {
	from(netip.Addr) A // the address, whatever the receiver is
	prefix(n int) K    // the address's first n bits
}

type prefixKey interface {
	comparable
	shard() uint8
}

type (
	table4 = table[addr4, key4]
	table6 = table[addr6, key6]
)

type addr4 uint32

// A key4 is a prefix of IPv4: its length above its address.
type key4 uint64

func (addr4) from(a netip.Addr) addr4 {
	b := a.As4()
	return addr4(binary.BigEndian.Uint32(b[:]))
}

func (a addr4) prefix(n int) key4 { return key4(n)<<32 | key4(uint64(a)>>(32-n)<<(32-n)) }

func (k key4) shard() uint8 { return uint8(uint64(k) * 0x9e3779b97f4a7c15 >> 56) } // Fibonacci hashing

type addr6 struct{ high, low uint64 }

// A key6 is a prefix of IPv6 and its length.
type key6 struct{ high, low, n uint64 }

func (addr6) from(a netip.Addr) addr6 {
	return toAddr6(a.As16())
}

func toAddr6(b [16]byte) addr6 {
	return addr6{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

func (a addr6) prefix(n int) key6 {
	// Go's shifts by 64 and more leave nothing.
	if n <= 64 {
		return key6{a.high >> (64 - n) << (64 - n), 0, uint64(n)}
	}
	return key6{a.high, a.low >> (128 - n) << (128 - n), uint64(n)}
}

func (k key6) shard() uint8 {
	return uint8((bits.RotateLeft64(k.high*0x9e3779b97f4a7c15, 32) ^ k.low ^ k.n) * 0x9e3779b97f4a7c15 >> 56)
}

func (t *table[A, K]) lookup(addr A) *Port {
	for i := len(t.lengths) - 1; i >= 0; i-- {
		for lengths := t.lengths[i].Load(); lengths != 0; {
			n := bits.Len64(lengths) - 1
			lengths &^= 1 << n
			k := addr.prefix(64*i + n)
			if m := t.shards[k.shard()].Load(); m != nil {
				if p := (*m)[k]; p != nil {
					return p
				}
			}
		}
	}
	return nil
}

func keyOf[A numeric[A, K], K prefixKey](p netip.Prefix) K {
	var zero A
	return zero.from(p.Addr()).prefix(p.Bits())
}

// add enters all the prefixes for p, or none.
func (t *table[A, K]) add(p *Port, prefixes []netip.Prefix) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, prefix := range prefixes {
		k := keyOf[A](prefix)
		if m := t.shards[k.shard()].Load(); m != nil && (*m)[k] != nil {
			t.removeLocked(prefixes[:i])
			return fmt.Errorf("netstack: %v is attached already", prefix)
		}
		t.replace(k, func(m map[K]*Port) { m[k] = p })
		n := prefix.Bits()
		t.counts[n]++
		t.lengths[n/64].Or(1 << (n % 64))
	}
	return nil
}

func (t *table[A, K]) remove(prefixes []netip.Prefix) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.removeLocked(prefixes)
}

func (t *table[A, K]) removeLocked(prefixes []netip.Prefix) {
	for _, prefix := range prefixes {
		k := keyOf[A](prefix)
		t.replace(k, func(m map[K]*Port) { delete(m, k) })
		n := prefix.Bits()
		if t.counts[n]--; t.counts[n] == 0 {
			t.lengths[n/64].And(^(uint64(1) << (n % 64)))
		}
	}
}

// replace puts a changed copy in the place of k's shard.
func (t *table[A, K]) replace(k K, change func(map[K]*Port)) {
	shard := &t.shards[k.shard()]
	var old map[K]*Port
	if m := shard.Load(); m != nil {
		old = *m
	}
	m := make(map[K]*Port, len(old)+1)
	for k, p := range old {
		m[k] = p
	}
	change(m)
	if len(m) == 0 {
		shard.Store(nil)
		return
	}
	shard.Store(&m)
}
