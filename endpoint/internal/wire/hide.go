package wire

import (
	"crypto/md5"
	"encoding/binary"
)

// unhide is the original value of a hidden AVP (RFC 2661 §4.3). The hidden one
// is, in blocks of 16 octets of which the last may be shorter,
//
//	c(1) = p(1) xor MD5(Attribute Type + secret + Random Vector)
//	c(i) = p(i) xor MD5(secret + c(i-1))
//
// and p(1)+p(2)+… is the length of the original value in two octets, the value,
// and padding of any length. It reports false when the length lies, as it does
// when the secret is not the sender's.
func unhide(t AVPType, secret, vector, hidden []byte) (original []byte, ok bool) {
	key := binary.BigEndian.AppendUint16(nil, uint16(t))
	key = append(append(key, secret...), vector...)
	plain := make([]byte, 0, len(hidden))
	for rest := hidden; len(rest) > 0; {
		sum := md5.Sum(key)
		block := rest[:min(len(sum), len(rest))]
		for i, c := range block {
			plain = append(plain, c^sum[i])
		}
		key = append(append(key[:0], secret...), block...)
		rest = rest[len(block):]
	}
	if len(plain) < 2 {
		return nil, false
	}
	n := int(binary.BigEndian.Uint16(plain))
	if n > len(plain)-2 {
		return nil, false
	}
	return plain[2 : 2+n], true
}
