package wire

import (
	"bytes"
	"encoding/hex"
	"slices"
	"testing"
)

// Every value of this file was computed by Python from the RFC's text:
//
//	import hashlib, hmac
//	def digest(packet, own, other, secret, *digests):  # of which each is where, and of what kind
//		p = bytearray.fromhex(packet)
//		for at, h in digests: p[at:at+hashlib.new(h).digest_size] = bytes(hashlib.new(h).digest_size)
//		key = hmac.new(secret, b"\2", "md5").digest()
//		return [hmac.new(key, own + other + p, h).hexdigest() for at, h in digests]
//	def hide(kind, value, vector, secret):
//		s = hmac.new(secret, b"\1", "md5").digest()
//		p = len(value).to_bytes(2, "big") + value; p += bytes(-len(p) % 16)
//		b, hidden = hashlib.md5(kind.to_bytes(2, "big") + s + vector).digest(), b""
//		for i in range(0, len(p), 16):
//			c = bytes(x ^ y for x, y in zip(p[i:i+16], b)); hidden += c; b = hashlib.md5(s + c).digest()
//		return hidden.hex()
//	a, b = bytes(range(16)), bytes(range(16, 32))
//	print(digest("c803006900…", b"", b"", b"tunsecret", (27, "md5")))
//	print(digest("c803008411…", b, a, b"tunsecret", (27, "md5"), (50, "sha1")))
//	print(digest("c803002f55…", a, b, b"tunsecret", (27, "sha1")))
//	print(digest("c803002b55…", b"", b"", b"", (27, "md5")))
//	print(hide(65, bytes(range(1, 9)), bytes(range(0x40, 0x50)), b"tunsecret"))
//	print(hide(66, b"a remote end of more than one block", bytes(range(0x40, 0x50)), b"tunsecret"))
//
// where packets are those of TestDigests, whose digests do not count. The first key is
// printf '\2' | openssl dgst -md5 -hmac tunsecret.
var (
	tunKey = octetsOf("4dbad203609b042843f941730e65fa6c")
	nonceA = octetsOf("000102030405060708090a0b0c0d0e0f")
	nonceB = octetsOf("101112131415161718191a1b1c1d1e1f")
)

func octetsOf(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

func helloV3(t MessageType, nonce []byte, d ...DigestType) *Message {
	return &Message{Type: t, HostName: "lcce", AssignedTunnelID: 0x11223344, V3: V3{
		RouterID: 0xc0000201, Pseudowires: []uint16{5, 4}, Nonce: nonce, Digests: d}}
}

// "shared_key = HMAC_MD5 (shared_secret, 2)" (RFC 3931 §5.4.1), and with 1 for hiding
// (§5.3).
func TestKeys(t *testing.T) {
	if got := DigestKey([]byte("tunsecret")); !bytes.Equal(got, tunKey) {
		t.Errorf("the digest key is %x, expected %x", got, tunKey)
	}
	if got, want := HidingKey([]byte("tunsecret")), octetsOf("152ee5085944703ccd77dc74f7b7e562"); !bytes.Equal(got, want) {
		t.Errorf("the hiding key is %x, expected %x", got, want)
	}
}

func TestDigests(t *testing.T) {
	for _, c := range []struct {
		name       string
		connection uint32
		ns, nr     uint16
		message    *Message
		own, other []byte
		key        []byte
		want       string
	}{
		{"SCCRQ, without nonces", 0, 0, 0, helloV3(SCCRQ, nonceA, DigestMD5), nil, nil, tunKey,
			"c80300690000000000000000800800000000000180170000003b00e0058a805c0bafa9827b2975f4f01673" +
				"800a000000076c636365800a0000003cc0000201800a0000003d11223344800a0000003e000500048016000000" +
				"49000102030405060708090a0b0c0d0e0f"},
		{"SCCRP, both digests", 0x11223344, 0, 1, helloV3(SCCRP, nonceB, DigestMD5, DigestSHA1), nonceB, nonceA, tunKey,
			"c80300841122334400000001800800000000000280170000003b00021768501305affdd148dd62d219d85b" +
				"801b0000003b019c01f0bbc76ce5feb1a67850d402d799056cca66800a000000076c636365800a0000003cc0000201" +
				"800a0000003d11223344800a0000003e00050004801600000049101112131415161718191a1b1c1d1e1f"},
		{"SCCCN, SHA-1", 0x55667788, 1, 1, &Message{Type: SCCCN, V3: V3{Digests: []DigestType{DigestSHA1}}}, nonceA, nonceB, tunKey,
			"c803002f55667788000100018008000000000003801b0000003b013527f016860c6a627c6b6a3dfee5899e1f94345f"},
		{"HELLO, integrity alone", 0x55667788, 2, 1, &Message{Type: HELLO, V3: V3{Digests: []DigestType{DigestMD5}}}, nil, nil, DigestKey(nil),
			"c803002b5566778800020001800800000000000680170000003b00d6c9ebc07fca056b50b59100dc627ee2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			packet := c.message.AppendV3(AppendV3ControlHeader(nil, c.connection, c.ns, c.nr))
			SetLength(packet)
			Sign(packet, c.own, c.other, c.key)
			if want := octetsOf(c.want); !bytes.Equal(packet, want) {
				t.Fatalf("signed\n%x, expected\n%x", packet, want)
			}
			if Sign(packet, c.own, c.other, c.key); hex.EncodeToString(packet) != c.want {
				t.Errorf("signed again\n%x, expected\n%s", packet, c.want)
			}
			if present, valid := Verify(packet, c.own, c.other, c.key); !present || !valid {
				t.Errorf("present %v, valid %v", present, valid)
			}
			// The roll-over of a secret: "each (separately) MUST be used".
			if _, valid := Verify(packet, c.own, c.other, DigestKey([]byte("the old one")), c.key); !valid {
				t.Error("it is not valid with the second of two secrets")
			}
			if _, valid := Verify(packet, c.own, c.other, DigestKey([]byte("tunsecrets"))); valid {
				t.Error("it is valid with another secret")
			}
			if c.own != nil {
				if _, valid := Verify(packet, c.other, c.own, c.key); valid {
					t.Error("it is valid when it comes back to its sender")
				}
			}
			// "the entire message is used in the hash" (§4.3).
			for i := range packet {
				changed := slices.Clone(packet)
				changed[i] ^= 0x10
				_, valid := Verify(changed, c.own, c.other, c.key)
				// One digest of two suffices, so the other may be broken.
				other := len(c.message.Digests) == 2 && (i >= digestsAt+7 && i < digestsAt+23 || i >= digestsAt+30 && i < digestsAt+50)
				if valid != other {
					t.Errorf("octet %d changed, valid: %v", i, valid)
				}
			}
		})
	}
}

// "at least one Message Digest AVP MUST be present in all messages and MUST be placed
// immediately after the Message Type AVP." (RFC 3931 §5.4.1)
func TestDigestOutOfPlace(t *testing.T) {
	digest := raw(AVP{Mandatory: true, Type: AVPMessageDigest, Value: make([]byte, 17)})
	kind := raw(AVP{Mandatory: true, Type: AVPMessageType, Value: []byte{0, 6}})
	other := raw(AVP{Mandatory: true, Type: AVPHostName, Value: []byte("x")})
	for name, avps := range map[string][][]byte{
		"none": {kind}, "behind another": {kind, other, digest}, "at the front": {digest, kind}, "no AVPs": {},
		"cut":             {kind, digest[:20]},
		"of unknown type": {kind, raw(AVP{Mandatory: true, Type: AVPMessageDigest, Value: append([]byte{2}, make([]byte, 16)...)})},
	} {
		packet := append(AppendV3ControlHeader(nil, 1, 0, 0), bytes.Join(avps, nil)...)
		SetLength(packet)
		Sign(packet, nonceA, nonceB, tunKey)
		if present, valid := Verify(packet, nonceA, nonceB, tunKey); present || valid {
			t.Errorf("%s: present %v, valid %v", name, present, valid)
		}
	}
}

// A digest of a type that we do not know may stand beside one that we do.
func TestDigestBesideAnUnknownOne(t *testing.T) {
	packet := AppendV3ControlHeader(nil, 1, 0, 0)
	packet = append(packet, raw(AVP{Mandatory: true, Type: AVPMessageType, Value: []byte{0, 6}})...)
	packet = append(packet, raw(AVP{Mandatory: true, Type: AVPMessageDigest, Value: append([]byte{9}, make([]byte, 32)...)})...)
	packet = append(packet, raw(AVP{Mandatory: true, Type: AVPMessageDigest, Value: make([]byte, 17)})...)
	SetLength(packet)
	Sign(packet, nonceA, nonceB, tunKey)
	if present, valid := Verify(packet, nonceA, nonceB, tunKey); !present || !valid {
		t.Errorf("present %v, valid %v", present, valid)
	}
	if m, err := ParseMessageV3(packet[V3ControlHeaderLen:], nil); err != nil {
		t.Errorf("%+v: %v", m, err)
	}
}

// The hidden values are those of the lines above: the Random Vector is 40 41 … 4f, and the
// padding zeros.
func TestHiddenV3(t *testing.T) {
	random := func() *bytes.Reader {
		return bytes.NewReader(append(octetsOf("404142434445464748494a4b4c4d4e4f"), make([]byte, 256)...))
	}
	for _, c := range []struct {
		avp  AVPType
		m    Message
		want string
	}{
		{AVPAssignedCookie, Message{Type: ICRP, V3: V3{AssignedCookie: octetsOf("0102030405060708")}}, "7a504837ed8341305039c57b2d9d2608"},
		{AVPRemoteEndID, Message{Type: ICRQ, V3: V3{RemoteEndID: []byte("a remote end of more than one block")}},
			"9b48569b864f303799b0a6b773720822b1f7e46874402b2f54108e3bab368cf9dbc54deed5e3f1f315ce08caef8cac0d"},
	} {
		c.m.AssignedSessionID = 1
		key := HidingKey([]byte("tunsecret"))
		avps := c.m.AppendHiddenV3(nil, key, random())
		found := false
		for d := NewAVPs(avps); d.Next(); {
			if a := d.AVP(); a.Type == c.avp {
				found = true
				if !a.Hidden || !bytes.Equal(a.Value, octetsOf(c.want)) {
					t.Errorf("%v is %x (hidden: %v), expected %s", c.avp, a.Value, a.Hidden, c.want)
				}
			}
		}
		m, err := ParseMessageV3(avps, key)
		if err != nil || !found || !bytes.Equal(m.AssignedCookie, c.m.AssignedCookie) || !bytes.Equal(m.RemoteEndID, c.m.RemoteEndID) {
			t.Errorf("%v: found %v, unhidden %+v, error %v", c.avp, found, m, err)
		}
	}
}
