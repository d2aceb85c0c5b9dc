package wire

import (
	"crypto/md5"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
)

// RFC 2661 §4.3. A hidden AVP's value is a subformat,
//
//	│ Length of Original Value │ Original Attribute Value … │ Padding … │
//
// in blocks p(1), p(2), … of 16 octets, the last of which may be shorter, each
// XORed with a hash that depends on the block before:
//
//	c(1) = p(1) xor MD5(Attribute Type + secret + Random Vector)
//	c(i) = p(i) xor MD5(secret + c(i-1))
const (
	hiddenLengthLen = 2 // octets of Length of Original Value
	maxHidden       = maxValue - hiddenLengthLen

	// vectorLen is the length of our Random Vectors: "a random vector of at
	// least 16 octets is recommended" (RFC 2661 §4.4.1).
	vectorLen = 16
)

// A hider hides the AVPs of a message.
type hider struct {
	secret []byte
	random io.Reader
	vector []byte // the value of the last Random Vector; nil: there was none
}

// newHider is a hider for one message.
//
//	"The H bit MUST only be set if a shared secret exists between the LAC and
//	LNS." (RFC 2661 §4.3)
func newHider(secret []byte, random io.Reader) *hider {
	if len(secret) == 0 {
		panic("BUG: wire: AVPs are hidden with a secret")
	}
	return &hider{secret: secret, random: random}
}

// renew draws the value of another Random Vector.
func (h *hider) renew() {
	h.vector = make([]byte, vectorLen)
	h.read(h.vector)
}

func (h *hider) read(b []byte) {
	if _, err := io.ReadFull(h.random, b); err != nil {
		panic("BUG: wire: the random source fails: " + err.Error())
	}
}

// hide is the hidden form of a subformat, in its place and further: b has room
// for the length, which it does not have yet, and the original value. The last
// block is filled up with padding, as far as an AVP takes it. So the AVP's
// length tells only how many blocks there are, always; padding of random length
// would tell more, the more often a value is sent.
func (h *hider) hide(t AVPType, b []byte) []byte {
	n := len(b) - hiddenLengthLen
	if n > maxHidden {
		panic(fmt.Sprintf("BUG: wire: %v of %d octets, a hidden AVP takes %d", t, n, maxHidden))
	}
	binary.BigEndian.PutUint16(b, uint16(n))
	blocks := (len(b) + md5.Size - 1) / md5.Size
	padding := make([]byte, min(blocks*md5.Size, maxValue)-len(b))
	h.read(padding)
	b = append(b, padding...)

	key := firstKey(t, h.secret, h.vector)
	for block := range slices.Chunk(b, md5.Size) {
		sum := md5.Sum(key)
		subtle.XORBytes(block, block, sum[:])
		key = append(append(key[:0], h.secret...), block...)
	}
	return b
}

// unhide is the original value of a hidden AVP. It reports false when the
// length lies, as it does when the secret is not the sender's.
func unhide(t AVPType, secret, vector, hidden []byte) (original []byte, ok bool) {
	plain := make([]byte, len(hidden))
	rest := plain
	key := firstKey(t, secret, vector)
	for block := range slices.Chunk(hidden, md5.Size) {
		sum := md5.Sum(key)
		rest = rest[subtle.XORBytes(rest, block, sum[:]):]
		key = append(append(key[:0], secret...), block...)
	}
	if len(plain) < hiddenLengthLen {
		return nil, false
	}
	n := int(binary.BigEndian.Uint16(plain))
	plain = plain[hiddenLengthLen:]
	if n > len(plain) {
		return nil, false
	}
	return plain[:n], true
}

// firstKey is what the first block's hash is made of.
func firstKey(t AVPType, secret, vector []byte) []byte {
	key := binary.BigEndian.AppendUint16(nil, uint16(t))
	return append(append(key, secret...), vector...)
}
