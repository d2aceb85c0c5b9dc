package wire

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha1"
	"encoding/binary"
	"hash"
)

// A DigestType is how a Message Digest is calculated (RFC 3931 §5.4.1).
type DigestType uint8

const (
	DigestMD5  DigestType = 0 // HMAC-MD5
	DigestSHA1 DigestType = 1 // HMAC-SHA-1
)

func (t DigestType) hash() func() hash.Hash {
	switch t {
	case DigestMD5:
		return md5.New
	case DigestSHA1:
		return sha1.New
	}
	return nil
}

// size is the length of the digest in octets; 0: the type is not known.
func (t DigestType) size() int {
	switch t {
	case DigestMD5:
		return md5.Size
	case DigestSHA1:
		return sha1.Size
	}
	return 0
}

// HidingKey is the key with which AVPs of L2TPv3 are hidden, for a secret.
//
//	shared_key = HMAC_MD5 (shared_secret, 1)    (RFC 3931 §5.3)
func HidingKey(secret []byte) []byte { return derive(secret, 1) }

// DigestKey is the key of Message Digests, of either type, for a secret. An empty secret
// is that of an integrity check without authentication (RFC 3931 §4.3).
//
//	shared_key = HMAC_MD5 (shared_secret, 2)    (RFC 3931 §5.4.1)
func DigestKey(secret []byte) []byte { return derive(secret, 2) }

func derive(secret []byte, use byte) []byte {
	h := hmac.New(md5.New, secret)
	h.Write([]byte{use})
	return h.Sum(nil)
}

// digestsAt is where the first Message Digest of a message stands: behind the header and
// the Message Type, "at a well-known and fixed offset" (RFC 3931 §5.4.1).
const digestsAt = V3ControlHeaderLen + avpHeaderLen + 2

// Sign fills in the Message Digests of a complete control message whose header is final:
// the first with the first key, and a second one with the last. Own is the sender's nonce
// and other the receiver's; an SCCRQ has neither in its calculation, nor has an integrity
// check.
func Sign(message, own, other []byte, keys ...[]byte) {
	found := findDigests(message)
	for i := range found {
		clear(found[i].digest)
	}
	// "When calculating a digest for a control message, the Value field for both of the
	// Message Digest AVPs MUST be set to zero": so both before one is written.
	var sums [2][]byte
	for i := range found {
		sums[i] = found[i].sum(message, own, other, keys[min(i, len(keys)-1)])
	}
	for i := range found {
		copy(found[i].digest, sums[i])
	}
}

// Verify reports whether one of the Message Digests of a control message is valid, with
// one of the keys, for a message whose sender's nonce is own and whose receiver's is
// other. Present is whether there is any. The message is as it was when Verify returns.
//
//	"This message authenticity and integrity checking MUST be performed before utilizing
//	any information contained within the control message." (RFC 3931 §5.4.1)
func Verify(message, own, other []byte, keys ...[]byte) (present, valid bool) {
	present, by := VerifiedBy(message, own, other, keys...)
	return present, by >= 0
}

// VerifiedBy is [Verify] for who has several keys: by is the place of the one that the
// first valid digest was made with, or -1.
func VerifiedBy(message, own, other []byte, keys ...[]byte) (present bool, by int) {
	found := findDigests(message)
	if len(found) == 0 {
		return false, -1
	}
	blank := bytes.Clone(message)
	for _, f := range findDigests(blank) {
		clear(f.digest)
	}
	by = -1
	for _, f := range found {
		for i, key := range keys {
			if hmac.Equal(f.sum(blank, own, other, key), f.digest) && by < 0 {
				by = i
			}
		}
	}
	return true, by
}

// Nonce is the Control Message Authentication Nonce of a message that has not been
// verified yet: that of an SCCRP goes into its own digest. Nil: there is none.
func Nonce(avps []byte) []byte {
	for d := NewAVPs(avps); d.Next(); {
		if a := editionV3.meant(d.AVP()); a.Vendor == 0 && a.Type == AVPNonce && !a.Hidden {
			return a.Value
		}
	}
	return nil
}

// A foundDigest is a Message Digest of a message, whose octets are part of it.
type foundDigest struct {
	kind   DigestType
	digest []byte
}

func (f foundDigest) sum(blank, own, other, key []byte) []byte {
	h := hmac.New(f.kind.hash(), key)
	h.Write(own)
	h.Write(other)
	h.Write(blank)
	return h.Sum(nil)
}

// findDigests finds the Message Digests of known types: there may be two, one directly
// after the other. What stands elsewhere is none.
func findDigests(message []byte) (found []foundDigest) {
	if len(message) < digestsAt || binary.BigEndian.Uint16(message[V3ControlHeaderLen:])&maskLength != avpHeaderLen+2 {
		return nil
	}
	d := NewAVPs(message[digestsAt:])
	for n := 0; n < 2 && d.Next(); n++ {
		a := editionV3.meant(d.AVP())
		if a.Vendor != 0 || a.Type != AVPMessageDigest || a.Hidden {
			break
		}
		if len(a.Value) == 0 {
			continue
		}
		if t := DigestType(a.Value[0]); t.size() != 0 && len(a.Value) == 1+t.size() {
			found = append(found, foundDigest{t, a.Value[1:]})
		}
	}
	return found
}
