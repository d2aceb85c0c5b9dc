package order

import (
	"testing"
	"time"
)

func BenchmarkAdd(b *testing.B) {
	for _, c := range []struct {
		name string
		cfg  Config
		swap uint32 // every so manyth frame overtakes the one before it; 0: none
	}{
		{"in order", Config{Bits: 24, Timeout: 100 * time.Millisecond}, 0},
		{"1 of 16 overtaken", Config{Bits: 24, Timeout: 100 * time.Millisecond}, 16},
	} {
		b.Run(c.name, func(b *testing.B) {
			q, frame, out := New(c.cfg), make([]byte, 1400), make([][]byte, 0, 4)
			b.ReportAllocs()
			for n := uint32(0); b.Loop(); n++ {
				number := n
				if c.swap > 0 && n%c.swap < 2 {
					number = n ^ 1
				}
				out = q.Add(t0, number, frame, out[:0])
			}
		})
	}
}
