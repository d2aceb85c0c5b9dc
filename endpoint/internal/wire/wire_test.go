package wire

import (
	"crypto/md5"
	"encoding/binary"
	"encoding/hex"
	"strings"
	"testing"
)

// unhex is the octets of golden bytes, which are written in groups, a field each.
func unhex(t testing.TB, groups ...string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(strings.Join(groups, ""), " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// fields is the opposite: the octets of a message, one line for each AVP, its
// fields apart.
func fields(avps []byte) string {
	var lines []string
	for len(avps) >= avpHeaderLen {
		n := int(binary.BigEndian.Uint16(avps) & maskLength)
		n = max(avpHeaderLen, min(n, len(avps)))
		lines = append(lines, strings.TrimSpace(hex.EncodeToString(avps[:2])+" "+hex.EncodeToString(avps[2:4])+" "+
			hex.EncodeToString(avps[4:6])+" "+hex.EncodeToString(avps[6:n])))
		avps = avps[n:]
	}
	if len(avps) > 0 {
		lines = append(lines, "trailing "+hex.EncodeToString(avps))
	}
	return strings.Join(lines, "\n")
}

// raw is an AVP on the wire, whatever it is.
func raw(a AVP) []byte {
	bits := uint16(a.Reserved)<<10 | uint16(avpHeaderLen+len(a.Value))
	if a.Mandatory {
		bits |= bitM
	}
	if a.Hidden {
		bits |= bitH
	}
	b := binary.BigEndian.AppendUint16(nil, bits)
	b = binary.BigEndian.AppendUint16(b, a.Vendor)
	b = binary.BigEndian.AppendUint16(b, uint16(a.Type))
	return append(b, a.Value...)
}

// hide is the hidden form of an original value with padding, as RFC 2661 §4.3
// describes it for the sender. length is what it claims, honest or not, about
// the original value.
func hide(t AVPType, secret, vector string, length int, original, padding []byte) (hidden []byte) {
	plain := binary.BigEndian.AppendUint16(nil, uint16(length))
	plain = append(append(plain, original...), padding...)
	b := md5.Sum([]byte(string([]byte{byte(t >> 8), byte(t)}) + secret + vector))
	for len(plain) > 0 {
		n := min(16, len(plain))
		for i := range n {
			hidden = append(hidden, plain[i]^b[i])
		}
		b = md5.Sum([]byte(secret + string(hidden[len(hidden)-n:])))
		plain = plain[n:]
	}
	return hidden
}
