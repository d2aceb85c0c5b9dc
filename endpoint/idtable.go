package endpoint

import (
	"encoding/binary"
	"io"
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

// unused draws identifiers at random, since what cannot be guessed cannot be
// forged from off the path, until one is free. The caller bounds how many are
// taken.
func (t *idTable[T]) unused(random io.Reader) (uint32, error) {
	for {
		var b [2]byte
		if _, err := io.ReadFull(random, b[:]); err != nil {
			return 0, err
		}
		// Zero is never assigned: on the wire it means "not known yet".
		if id := uint32(binary.BigEndian.Uint16(b[:])); id != 0 && t.get(id) == nil {
			return id, nil
		}
	}
}
