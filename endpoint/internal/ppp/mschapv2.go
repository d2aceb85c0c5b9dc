package ppp

import (
	"bytes"
	"crypto/des"
	"crypto/sha1"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"

	"golang.org/x/crypto/md4"
)

// mschapv2 is the digest of RFC 2759: the server proves that it knows the
// password too.
type mschapv2 struct {
	authenticator [sha1.Size]byte // client: what the Success must show
	master        *[16]byte       // for encryption
}

// provesNothing is what is wrong with a server that cannot have the password.
const provesNothing = "the server accepts the user but does not prove that it knows the password"

// The Value of a Response (RFC 2759 §4):
//
//	| Peer-Challenge 16 | Reserved 8, zero | NT-Response 24 | Flags 1, zero |
const (
	msChallengeLen = 16
	msResponseLen  = 24
	msResponseAt   = msChallengeLen + 8
	msValueLen     = msResponseAt + msResponseLen + 1
)

func (x *mschapv2) respond(l *Link, _ uint8, challenge []byte) []byte {
	if len(challenge) != msChallengeLen {
		return nil
	}
	value := make([]byte, msValueLen)
	peer, user := value[:msChallengeLen], withoutDomain([]byte(cutTo(l.cfg.User, maxName)))
	copy(peer, l.random(msChallengeLen))
	hash := ntPasswordHash(l.cfg.Password)
	short := challengeHash(peer, challenge, user)
	copy(value[msResponseAt:], challengeResponse(short, hash))
	x.authenticator = authenticatorResponse(hash, value[msResponseAt:msResponseAt+msResponseLen], short)
	x.master = masterKey(hash, value[msResponseAt:msResponseAt+msResponseLen])
	return value
}

// proves looks for "S=<auth_string>" (RFC 2759 §5), before which MikroTik may
// put an octet.
func (x *mschapv2) proves(message []byte) bool {
	_, proof, ok := bytes.Cut(message, []byte("S="))
	if !ok || len(proof) < 2*sha1.Size {
		return false
	}
	var got [sha1.Size]byte
	if _, err := hex.Decode(got[:], proof[:2*sha1.Size]); err != nil {
		return false
	}
	return same(x.authenticator[:], got[:]) == nil
}

// explain reads "E=eeeeeeeeee R=r C=… V=vvvvvvvvvv M=<msg>" (RFC 2759 §6). A
// retry (R=1) would need another password, which nobody gives us.
func (*mschapv2) explain(message []byte) (reason, words string) {
	text := string(message)
	if i := strings.Index(text, "M="); i >= 0 {
		text, words = text[:i], text[i+2:]
	} else {
		words = text
	}
	_, code, _ := strings.Cut(text, "E=")
	code, _, _ = strings.Cut(code, " ")
	number, err := strconv.Atoi(code)
	if err != nil {
		return refusesProof, words
	}
	switch number {
	case 646:
		reason = "the account may not log on at this hour"
	case 647:
		reason = "the account is disabled"
	case 648:
		reason = "the password has expired"
	case 649:
		reason = "the account may not dial in"
	case 709:
		reason = "the password could not be changed"
	default: // 691, ERROR_AUTHENTICATION_FAILURE
		reason = refusesProof
	}
	return fmt.Sprintf("%s (error %d)", reason, number), words
}

func (*mschapv2) challengeLen() int { return msChallengeLen }

func (x *mschapv2) verify(c Credential, _ uint8, challenge, value, user []byte) ([]byte, error) {
	hash, err := c.ntHash()
	if err != nil {
		return nil, err
	}
	if len(value) != msValueLen {
		return nil, fmt.Errorf("the peer's response has %d octets instead of %d", len(value), msValueLen)
	}
	response := value[msResponseAt : msResponseAt+msResponseLen]
	short := challengeHash(value[:msChallengeLen], challenge, withoutDomain(user))
	if err := same(challengeResponse(short, hash), response); err != nil {
		return nil, err
	}
	x.master = masterKey(hash, response)
	proof := authenticatorResponse(hash, response, short)
	return fmt.Appendf(nil, "S=%X M=%s", proof, saysYes), nil
}

// failure has all the fields; R=0: no retry.
func (*mschapv2) failure(challenge []byte) []byte {
	return fmt.Appendf(nil, "E=691 R=0 C=%X V=3 M=%s", challenge, saysNo)
}

// ntPasswordHash is NtPasswordHash (RFC 2759 §8.3) of a password in UTF-8.
func ntPasswordHash(password []byte) (hash [16]byte) {
	var unicode []byte
	for _, u := range utf16.Encode([]rune(string(password))) {
		unicode = binary.LittleEndian.AppendUint16(unicode, u)
	}
	h := md4.New()
	h.Write(unicode)
	return [16]byte(h.Sum(nil))
}

// challengeHash is ChallengeHash (RFC 2759 §8.2).
func challengeHash(peer, authenticator, user []byte) [8]byte {
	h := sha1.New()
	h.Write(peer)
	h.Write(authenticator)
	h.Write(user)
	return [8]byte(h.Sum(nil))
}

// challengeResponse is ChallengeResponse (RFC 2759 §8.5): three DES blocks,
// keyed by seven octets each of the hash, padded with zeros to 21.
func challengeResponse(challenge [8]byte, hash [16]byte) []byte {
	var keys [21]byte
	copy(keys[:], hash[:])
	response := make([]byte, msResponseLen)
	for i := range 3 {
		block, err := des.NewCipher(desKey([7]byte(keys[7*i:])))
		if err != nil {
			panic("BUG: ppp: " + err.Error()) // the key has eight octets
		}
		block.Encrypt(response[8*i:], challenge[:])
	}
	return response
}

// desKey spreads 56 bits over eight octets, with room for the parity bits,
// which DES ignores (RFC 2759 §8.6).
func desKey(raw [7]byte) []byte {
	var bits uint64
	for _, b := range raw {
		bits = bits<<8 | uint64(b)
	}
	key := make([]byte, 8)
	for i := range key {
		key[i] = byte(bits>>(49-7*i)) << 1
	}
	return key
}

// authenticatorResponse is the digest in GenerateAuthenticatorResponse (RFC
// 2759 §8.7).
func authenticatorResponse(hash [16]byte, response []byte, challenge [8]byte) [sha1.Size]byte {
	hashHash := md4.New() // HashNtPasswordHash, §8.4
	hashHash.Write(hash[:])

	h := sha1.New()
	h.Write(hashHash.Sum(nil))
	h.Write(response)
	h.Write([]byte("Magic server to client signing constant"))
	inner := h.Sum(nil)

	h.Reset()
	h.Write(inner)
	h.Write(challenge[:])
	h.Write([]byte("Pad to make it do more than one iteration"))
	return [sha1.Size]byte(h.Sum(nil))
}
