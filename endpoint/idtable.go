package endpoint

import (
	"encoding/binary"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
)

// An idTable finds a value by an L2TPv2 identifier (16 bits), for readers
// without a lock: two levels, of which the second is made when it is needed.
// Writers take turns under a lock of the owner's.
type idTable[T any] struct {
	rows [256]atomic.Pointer[[256]atomic.Pointer[T]]
}

func (t *idTable[T]) get(id uint32) *T {
	if id > 0xffff {
		return nil
	}
	row := t.rows[id>>8].Load()
	if row == nil {
		return nil
	}
	return row[id&0xff].Load()
}

func (t *idTable[T]) set(id uint32, v *T) {
	row := t.rows[id>>8].Load()
	if row == nil {
		row = new([256]atomic.Pointer[T])
		t.rows[id>>8].Store(row)
	}
	row[id&0xff].Store(v)
}

// An idSpace is which of L2TPv2's identifiers are taken.
type idSpace struct {
	mu    sync.Mutex
	bits  [1 << 16 / 64]uint64
	taken int
}

// take draws identifiers at random, since what cannot be guessed cannot be forged
// from off the path, until one is free.
func (s *idSpace) take(random io.Reader) (uint32, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken >= tunnelIDsMax {
		return 0, fmt.Errorf("no tunnel id is left: %d are in use", s.taken)
	}
	for {
		var b [2]byte
		if _, err := io.ReadFull(random, b[:]); err != nil {
			return 0, err
		}
		// Zero is never assigned: on the wire it means "not known yet".
		id := uint32(binary.BigEndian.Uint16(b[:]))
		if word, bit := &s.bits[id/64], uint64(1)<<(id%64); id != 0 && *word&bit == 0 {
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
	s.bits[id/64] &^= 1 << (id % 64)
	s.taken--
}
