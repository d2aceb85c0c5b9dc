package ppp

import (
	"bytes"
	stdrc4 "crypto/rc4"
	"testing"

	"pgregory.net/rapid"
)

// Ours is the standard library's, for keys of 8 and 16 octets, over pieces of any
// length.
func TestRC4(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.SampledFrom([]int{8, 16}).Draw(t, "key length")
		key := rapid.SliceOfN(rapid.Byte(), n, n).Draw(t, "key")
		std, err := stdrc4.NewCipher(key)
		if err != nil {
			t.Fatal(err)
		}
		var ours rc4
		ours.setKey(key)
		for _, piece := range rapid.SliceOfN(rapid.SliceOf(rapid.Byte()), 1, 5).Draw(t, "pieces") {
			want := make([]byte, len(piece))
			std.XORKeyStream(want, piece)
			got := make([]byte, len(piece))
			ours.xor(got, piece)
			if !bytes.Equal(got, want) {
				t.Fatalf("%x is encrypted as %x, want %x", piece, got, want)
			}
		}
	})
}
