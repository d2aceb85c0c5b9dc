package link

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// RFC 1071 §3 works this example out: the bytes 00 01 f2 03 f4 f5 f6 f7 sum up
// to ddf2, before the complement.
func TestSumIsThatOfRFC1071(t *testing.T) {
	if got := sum([]byte{0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7}); got != 0xddf2 {
		t.Errorf("the sum of the example of RFC 1071 §3 is %#04x, want 0xddf2", got)
	}
}

// plainSum adds up words as RFC 1071 §1 says it, two bytes at a time.
func plainSum(b []byte) uint16 {
	s := uint32(0)
	for i := 0; i < len(b); i += 2 {
		word := uint32(b[i]) << 8
		if i+1 < len(b) {
			word |= uint32(b[i+1])
		}
		if s += word; s > 0xffff {
			s = s&0xffff + 1
		}
	}
	return uint16(s)
}

func TestSumOfEveryLength(t *testing.T) {
	b := randomBytes(1500)
	for n := range b {
		if got, want := sum(b[:n]), plainSum(b[:n]); got != want {
			t.Fatalf("the sum of %d bytes is %#04x, want %#04x", n, got, want)
		}
	}
	// All ones carry out of every addition; all zeros out of none.
	for n := range 200 {
		ones := bytes.Repeat([]byte{0xff}, n)
		if got, want := sum(ones), plainSum(ones); got != want {
			t.Fatalf("the sum of %d bytes of ff is %#04x, want %#04x", n, got, want)
		}
		if got := sum(make([]byte, n)); got != 0 {
			t.Fatalf("the sum of %d zero bytes is %#04x", n, got)
		}
	}
}

func TestSumOfTwoPieces(t *testing.T) {
	b := randomBytes(200)
	for cut := range b {
		if got, want := sum2(b[:cut], b[cut:]), plainSum(b); got != want {
			t.Fatalf("cut at %d the sum is %#04x, want %#04x", cut, got, want)
		}
	}
}

func FuzzSum(f *testing.F) {
	f.Add([]byte{0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7}, 3)
	f.Fuzz(func(t *testing.T, b []byte, cut int) {
		want := plainSum(b)
		if got := sum(b); got != want {
			t.Fatalf("the sum is %#04x, want %#04x", got, want)
		}
		if cut >= 0 && cut <= len(b) {
			if got := sum2(b[:cut], b[cut:]); got != want {
				t.Fatalf("cut at %d the sum is %#04x, want %#04x", cut, got, want)
			}
		}
	})
}

func BenchmarkSum(b *testing.B) {
	data := randomBytes(1348)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		sum(data)
	}
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}
