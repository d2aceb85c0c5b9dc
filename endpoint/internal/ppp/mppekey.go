package ppp

import (
	"crypto/sha1"
	"fmt"

	"golang.org/x/crypto/md4"
)

// This file is RFC 3079 §3, how MS-CHAPv2 gives keys, and RFC 3078 §7, how they
// change.

// The pads and constants of RFC 3079 §3.4.
const (
	shaPad     = 40 // octets 00 in SHSpad1, f2 in SHSpad2
	magic1     = "This is the MPPE Master Key"
	magic2     = "On the client side, this is the send key; on the server side, it is the receive key."
	magic3     = "On the client side, this is the receive key; on the server side, it is the send key."
	fromClient = magic2
	fromServer = magic3
)

// A strength is one of the option's encryption bits (RFC 3078 §2).
type strength uint32

const (
	bits40  strength = 0x20 // L
	bits128 strength = 0x40 // S
	bits56  strength = 0x80 // M
)

// keyLen is the length of keys: "40- and 56-bit keys are 8 octets in length,
// while 128-bit keys are 16 octets long" (RFC 3079 §3).
func (s strength) keyLen() int {
	if s == bits128 {
		return 16
	}
	return 8
}

func (s strength) String() string {
	switch s {
	case bits40:
		return "40 bit"
	case bits56:
		return "56 bit"
	case bits128:
		return "128 bit"
	}
	return fmt.Sprintf("strength %#x", uint32(s))
}

// reduce fixes the octets that make a key weaker (RFC 3079 §3.1, §3.2).
func (s strength) reduce(key []byte) {
	switch s {
	case bits40:
		copy(key, "\xd1\x26\x9e")
	case bits56:
		copy(key, "\xd1")
	}
}

// withKeys are those of the methods that leave a master key. A link that must be
// encrypted has no use for others, and shows them no password.
func withKeys(list []Method) (keyed []Method) {
	for _, m := range list {
		if _, ok := m.digest().(*mschapv2); ok {
			keyed = append(keyed, m)
		}
	}
	if len(keyed) == 0 {
		panic("BUG: ppp: MPPE is required, and no method gives keys")
	}
	return keyed
}

// masterKey is GetMasterKey (RFC 3079 §3.4), of NtPasswordHash and the
// NT-Response.
func masterKey(ntHash [16]byte, response []byte) *[16]byte {
	hashHash := md4.New()
	hashHash.Write(ntHash[:])
	h := sha1.New()
	h.Write(hashHash.Sum(nil))
	h.Write(response)
	h.Write([]byte(magic1))
	return (*[16]byte)(h.Sum(nil))
}

// A keyChain is the succession of one direction's session keys.
type keyChain struct {
	strength strength
	// material is what GetNewKeyFromSHA hashes:
	//
	//	| StartKey 8 or 16 | SHApad1 40 | SessionKey 8 or 16 | SHApad2 40 |
	material []byte
	cipher   rc4
}

// newKeyChain has the initial session key of a direction, fromClient or
// fromServer. It is never used to encrypt: the first packet has the next one.
func newKeyChain(master *[16]byte, direction string, s strength) keyChain {
	n := s.keyLen()
	start := startKey(master, direction)
	k := keyChain{strength: s, material: make([]byte, 2*(n+shaPad))}
	for i := range shaPad {
		k.material[len(k.material)-1-i] = 0xf2
	}
	copy(k.material, start[:n])
	copy(k.session(), start[:n])
	digest := sha1.Sum(k.material)
	copy(k.session(), digest[:])
	s.reduce(k.session())
	return k
}

// startKey is GetAsymmetricStartKey (RFC 3079 §3.4), of which a key takes as
// many octets as it has.
func startKey(master *[16]byte, direction string) [16]byte {
	h := sha1.New()
	h.Write(master[:])
	h.Write(make([]byte, shaPad))
	h.Write([]byte(direction))
	for range shaPad {
		h.Write([]byte{0xf2})
	}
	return [16]byte(h.Sum(nil))
}

// session is the current session key.
func (k *keyChain) session() []byte {
	n := k.strength.keyLen()
	return k.material[n+shaPad:][:n]
}

// next changes the session key (RFC 3078 §7.3).
func (k *keyChain) next() {
	session := k.session()
	digest := sha1.Sum(k.material)
	interim := digest[:len(session)]
	k.cipher.setKey(interim)
	k.cipher.xor(session, interim)
	k.strength.reduce(session)
}

// start initializes the cipher with the session key.
func (k *keyChain) start() { k.cipher.setKey(k.session()) }
