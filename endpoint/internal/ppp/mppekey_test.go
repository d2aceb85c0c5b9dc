package ppp

import (
	"encoding/hex"
	"strings"
	"testing"
)

// octets reads hexadecimal with spaces, as RFCs print it.
func octets(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The sample key derivations of RFC 3079 §3.5: a server's send keys, for the
// password clientPass. In the message of 56 bit the RFC has a last octet of 58,
// which its own key does not give.
func TestSampleKeys(t *testing.T) {
	response := octets(t, "82 30 9E CD 8D 70 8B 5E A0 8F AA 39 81 CD 83 54 42 33 11 4A 3D 85 D6 DF")
	hash := ntPasswordHash([]byte("clientPass"))
	if want := octets(t, "44 EB BA 8D 53 12 B8 D6 11 47 44 11 F5 69 89 AE"); string(hash[:]) != string(want) {
		t.Errorf("PasswordHash is %x, want %x", hash, want)
	}
	master := masterKey(hash, response)
	if want := octets(t, "FD EC E3 71 7A 8C 83 8C B3 88 E5 27 AE 3C DD 31"); string(master[:]) != string(want) {
		t.Errorf("MasterKey is %x, want %x", master, want)
	}
	for _, test := range []struct {
		strength                strength
		start, session, message string
	}{
		{bits40, "8B 7C DC 14 9B 99 3A 1B", "D1 26 9E C4 9F A6 2E 3E", "92 91 37 91 7E 58 03 D6 68 D7 58 98"},
		{bits56, "8B 7C DC 14 9B 99 3A 1B", "D1 5C 00 C4 9F A6 2E 3E", "3F 10 68 33 FA 44 8D A8 42 BC 57 B8"},
		{bits128, "8B 7C DC 14 9B 99 3A 1B A1 18 CB 15 3F 56 DC CB", "40 5C B2 24 7A 79 56 E6 E2 11 00 7A E2 7B 22 D4",
			"81 84 83 17 DF 68 84 62 72 FB 5A BE"},
	} {
		t.Run(test.strength.String(), func(t *testing.T) {
			k := newKeyChain(master, fromServer, test.strength)
			start := startKey(master, fromServer)
			if want := octets(t, test.start); string(start[:len(want)]) != string(want) || string(k.material[:len(want)]) != string(want) {
				t.Errorf("SendStartKey is %x, want %x", start, want)
			}
			if want := octets(t, test.session); string(k.session()) != string(want) {
				t.Errorf("SendSessionKey is %x, want %x", k.session(), want)
			}
			message := []byte("test message")
			k.start()
			k.cipher.xor(message, message)
			if want := octets(t, test.message); string(message) != string(want) {
				t.Errorf("the message is encrypted as %x, want %x", message, want)
			}
			// "For 40-bit session keys the most significant three octets of the new
			// session key are now set to 0xD1, 0x26 and 0x9E respectively; for 56-bit
			// keys, the most significant octet is set to 0xD1" (RFC 3078 §7.3), at
			// each change.
			first := string(k.session())
			k.next()
			fixed := map[strength]int{bits40: 3, bits56: 1}[test.strength]
			if now := string(k.session()); now[:fixed] != first[:fixed] || now == first {
				t.Errorf("after %x comes %x", first, now)
			}
		})
	}
}

// The directions have different keys, and each is the other end's other one.
func TestDirections(t *testing.T) {
	master := &[16]byte{1}
	client := newEncryption(master, false, bits128, bits56)
	server := newEncryption(master, true, bits56, bits128)
	if string(client.Sealer.keys.session()) != string(server.Opener.keys.session()) ||
		string(client.Opener.keys.session()) != string(server.Sealer.keys.session()) {
		t.Error("the ends have different keys")
	}
	if client.String() != "MPPE 128 bit out, 56 bit in" || newEncryption(master, true, bits40, bits40).String() != "MPPE 40 bit" {
		t.Errorf("%v", client)
	}
}
