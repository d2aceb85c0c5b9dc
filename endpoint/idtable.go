package endpoint

import (
	"encoding/binary"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
)

// An idTable finds a value by the low 16 bits of an identifier, which are all that L2TPv2
// has, for readers without a lock: two levels, of which the second is made when it is
// needed. Writers take turns under a lock of the owner's.
type idTable[T any] struct {
	rows [256]atomic.Pointer[[256]atomic.Pointer[T]]
}

func (t *idTable[T]) get(id uint32) *T {
	row := t.rows[id>>8&0xff].Load()
	if row == nil {
		return nil
	}
	return row[id&0xff].Load()
}

func (t *idTable[T]) set(id uint32, v *T) {
	row := t.rows[id>>8&0xff].Load()
	if row == nil {
		row = new([256]atomic.Pointer[T])
		t.rows[id>>8&0xff].Store(row)
	}
	row[id&0xff].Store(v)
}

// An idSpace is which identifiers are taken, by their low 16 bits.
type idSpace struct {
	mu    sync.Mutex
	bits  [1 << 16 / 64]uint64
	taken int
}

// take draws identifiers at random, since what cannot be guessed cannot be forged
// from off the path, until one is free. Wide ones have the 32 bits of L2TPv3, others 16.
func (s *idSpace) take(random io.Reader, wide bool) (uint32, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken >= tunnelIDsMax {
		return 0, fmt.Errorf("no tunnel id is left: %d are in use", s.taken)
	}
	for {
		var b [4]byte
		drawn := b[2:]
		if wide {
			drawn = b[:]
		}
		if _, err := io.ReadFull(random, drawn); err != nil {
			return 0, err
		}
		id := binary.BigEndian.Uint32(b[:])
		low := id & 0xffff
		// Zero is never assigned: on the wire it means "not known yet".
		if word, bit := &s.bits[low/64], uint64(1)<<(low%64); low != 0 && *word&bit == 0 {
			*word |= bit
			s.taken++
			return id, nil
		}
	}
}

// free gives back an identifier that take has given.
func (s *idSpace) free(id uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	low := id & 0xffff
	s.bits[low/64] &^= 1 << (low % 64)
	s.taken--
}
