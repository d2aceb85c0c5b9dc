package order

import (
	"encoding/binary"
	"testing"
	"time"
)

// FuzzQueue drives a queue by operations: whatever they are, it keeps within its bounds,
// what it delivers is what it was given, each at most once, and in order but for a new
// start.
func FuzzQueue(f *testing.F) {
	f.Add(uint8(0), []byte{0, 0, 0, 0, 2, 0, 0, 1, 0})
	f.Add(uint8(1), []byte{0, 0, 0, 0, 2, 0, 1, 9, 0, 0, 1, 0, 0, 255, 255})
	f.Add(uint8(7), []byte{0, 255, 255, 0, 1, 0, 0, 2, 0, 0, 3, 0, 0, 4, 0, 0, 5, 0, 0, 6, 0})
	f.Fuzz(func(t *testing.T, kind uint8, ops []byte) {
		cfg := Config{Bits: 16, Frames: 4, Bytes: 64, Resync: 3}
		if kind&1 != 0 {
			cfg.Bits = 24
		}
		if kind&2 == 0 {
			cfg.Timeout = 10 * time.Millisecond
		}
		if kind&4 != 0 {
			cfg.Window = 100
		}
		q, now := New(cfg), t0
		given, delivered, resyncs := 0, make(map[uint32]bool), uint64(0)
		last, any := uint32(0), false
		for ; len(ops) >= 3; ops = ops[3:] {
			number := uint32(binary.LittleEndian.Uint16(ops[1:]))
			var out [][]byte
			switch ops[0] % 4 {
			case 1:
				now = now.Add(time.Duration(number%20) * time.Millisecond)
				continue
			case 2:
				out = q.Expire(now, nil)
			case 3:
				number = uint32(int32(int16(number))) & (1<<cfg.Bits - 1) // near the end of the numbers
				fallthrough
			default:
				frame := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, uint32(given)), number)
				given++
				out = q.Add(now, number, append(frame, make([]byte, ops[0]/4)...), nil)
			}
			for i, frame := range out {
				id, number := binary.BigEndian.Uint32(frame), binary.BigEndian.Uint32(frame[4:])
				if delivered[id] {
					t.Fatalf("frame %d is delivered twice", id)
				}
				delivered[id] = true
				ahead := (number - last) & (1<<cfg.Bits - 1)
				started := i == len(out)-1 && q.Counters().Resyncs > resyncs
				if any && !started && (ahead == 0 || ahead > 1<<(cfg.Bits-1)) {
					t.Fatalf("%d is delivered after %d", number, last)
				}
				last, any = number, true
			}
			resyncs = q.Counters().Resyncs
			if len(q.held) > cfg.Frames || q.bytes > cfg.Bytes || q.Deadline().IsZero() != (len(q.held) == 0) {
				t.Fatalf("%d frames and %d bytes wait, the deadline is %v", len(q.held), q.bytes, q.Deadline())
			}
			if c := q.Counters(); len(delivered)+len(q.held)+int(c.Discarded) != given {
				t.Fatalf("%d frames given, %d delivered, %d wait, %+v", given, len(delivered), len(q.held), c)
			}
		}
	})
}
