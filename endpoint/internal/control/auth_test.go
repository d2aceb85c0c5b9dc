package control

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

// response is CHAP's, written down once more (RFC 1994 §4.1: the identifier, the
// secret and the challenge value, hashed).
func response(id byte, secret string, challenge []byte) [16]byte {
	return md5.Sum(append(append([]byte{id}, secret...), challenge...))
}

func chacha(seed byte) *rand.ChaCha8 { return rand.NewChaCha8([32]byte{seed}) }

// RFC 2661 §5.1.1: "If a Challenge AVP is received in an SCCRQ or SCCRP, a
// Challenge Response AVP MUST be sent in the following SCCRP or SCCCN,
// respectively." §4.4.3: "For purposes of the ID value in the CHAP response
// calculation, the value of the Message Type AVP for this message is used (e.g.
// 2 for an SCCRP, and 3 for an SCCCN)."
func TestTunnelAuthentication(t *testing.T) {
	theirs := []byte("their challenge, of any length")
	challenge := func(m *wire.Message) { m.Challenge = theirs }

	// We dial.
	s := newScript(t, Dial, Config{Rand: chacha(1), Secret: []byte("tunsecret")})
	ours := s.last.Challenge
	if len(ours) != 16 || bytes.Equal(ours, make([]byte, 16)) {
		t.Fatalf("challenge %x, expected 16 random octets", ours)
	}
	s.peer(0, sccrp(challenge, func(m *wire.Message) { m.ChallengeResponse = response(2, "tunsecret", ours) }))
	s.want("0s SCCRQ ns=0 nr=0 tunnel=0", "0s SCCCN ns=1 nr=1", "0s TunnelUp peer=7 lns")
	if s.last.ChallengeResponse != response(3, "tunsecret", theirs) {
		t.Errorf("SCCCN's response is %x", s.last.ChallengeResponse)
	}

	// The peer dials.
	s = newScript(t, Answer, Config{Rand: chacha(2), Secret: []byte("tunsecret")})
	s.peer(0, sccrq(challenge))
	s.want("0s SCCRP ns=0 nr=1")
	if s.last.ChallengeResponse != response(2, "tunsecret", theirs) {
		t.Errorf("SCCRP's response is %x", s.last.ChallengeResponse)
	}
	if bytes.Equal(s.last.Challenge, ours) {
		t.Errorf("the challenge is not fresh")
	}
	s.peer(0, &wire.Message{Type: wire.SCCCN, ChallengeResponse: response(3, "tunsecret", s.last.Challenge)})
	s.want("0s TunnelUp peer=7 lac")

	// It need not challenge us.
	s = newScript(t, Answer, Config{Rand: chacha(3), Secret: []byte("tunsecret")})
	s.peer(0, sccrq())
	if s.last.Has(wire.AVPChallengeResponse) || !s.last.Has(wire.AVPChallenge) {
		t.Errorf("SCCRP has a response to no challenge, or no challenge")
	}
	s.peer(0, &wire.Message{Type: wire.SCCCN, ChallengeResponse: response(3, "tunsecret", s.last.Challenge)})
	s.want("0s SCCRP ns=0 nr=1", "0s TunnelUp peer=7 lac")

	// Nobody is challenged without a secret; nor is an empty one a secret.
	for _, open := range []func(time.Time, Config) *Tunnel{Dial, Answer} {
		s = newScript(t, open, Config{Secret: []byte{}})
		if s.ns == 0 && s.m.state == idle {
			s.peer(0, sccrq())
		}
		if s.last.Has(wire.AVPChallenge) {
			t.Errorf("%v has a challenge", s.last.Type)
		}
	}
}

// RFC 2661 §5.1.1: "If the expected response and response received from a peer
// does not match, establishment of the tunnel MUST be disallowed."
func TestTunnelAuthenticationFails(t *testing.T) {
	const (
		differ     = " TunnelDown tunnel authentication failed: the peer has another tunnel secret"
		noResponse = " TunnelDown tunnel authentication failed: the peer does not respond to our challenge, so it seems to have no tunnel secret"
		noSecret   = " TunnelDown tunnel authentication failed: the peer asks for a tunnel secret, and none is configured"
	)
	challenge := func(m *wire.Message) { m.Challenge = []byte("x") }
	secret := Config{Rand: chacha(1), Secret: []byte("right")}

	for name, response := range map[string]func(ours []byte) [16]byte{
		"wrong secret":           func(ours []byte) [16]byte { return response(2, "wrong", ours) },
		"the other message's id": func(ours []byte) [16]byte { return response(3, "right", ours) },
		"other challenge":        func(ours []byte) [16]byte { return response(2, "right", []byte("x")) },
	} {
		s := newScript(t, Dial, secret)
		s.peer(0, sccrp(func(m *wire.Message) { m.ChallengeResponse = response(s.last.Challenge) }))
		s.want("0s SCCRQ ns=0 nr=0 tunnel=0", "0s StopCCN ns=1 nr=1 result=4/0", "0s"+differ)
		if !errors.Is(s.m.err, SecretsDiffer) {
			t.Errorf("%s: the error is %#v", name, s.m.err)
		}
	}

	s := newScript(t, Dial, secret) // an LNS that ignores the challenge, as some do
	s.peer(0, sccrp())
	s.want("0s SCCRQ ns=0 nr=0 tunnel=0", "0s StopCCN ns=1 nr=1 result=4/0", "0s"+noResponse)

	s = newScript(t, Dial, Config{})
	s.peer(0, sccrp(challenge))
	s.want("0s SCCRQ ns=0 nr=0 tunnel=0", "0s StopCCN ns=1 nr=1 result=4/0", "0s"+noSecret)

	s = newScript(t, Answer, secret)
	s.peer(0, sccrq(challenge))
	s.peer(0, &wire.Message{Type: wire.SCCCN, ChallengeResponse: response(3, "wrong", s.last.Challenge)})
	s.want("0s SCCRP ns=0 nr=1", "0s StopCCN ns=1 nr=2 result=4/0", "0s"+differ)

	s = newScript(t, Answer, secret)
	s.peer(0, sccrq())
	s.peer(0, &wire.Message{Type: wire.SCCCN})
	s.want("0s SCCRP ns=0 nr=1", "0s StopCCN ns=1 nr=2 result=4/0", "0s"+noResponse)

	s = newScript(t, Answer, Config{})
	s.peer(0, sccrq(challenge))
	s.want("0s StopCCN ns=0 nr=1 result=4/0", "0s"+noSecret)
}

// Before the peer has proved anything, nothing of its is done: a call that
// comes in the same breath, its SCCCN being wrong, does not ring.
func TestNoCallBeforeAuthentication(t *testing.T) {
	s := newScript(t, Answer, Config{Rand: chacha(1), Secret: []byte("right")})
	s.peer(0, sccrq())
	s.peerAt(2, 1, 0, icrq(9).Append(nil))
	s.peer(0, &wire.Message{Type: wire.SCCCN, ChallengeResponse: response(3, "wrong", s.last.Challenge)})
	s.want("0s SCCRP ns=0 nr=1", "0s StopCCN ns=1 nr=2 result=4/0", "0s TunnelDown "+SecretsDiffer.Error())

	// One that cannot even be read gets no CDN: the tunnel ends.
	s = newScript(t, Answer, Config{Rand: chacha(1), Secret: []byte("right")})
	s.peer(0, sccrq())
	s.peerAt(1, 1, 0, append(icrq(9).Append(nil), 0x80, 8, 0, 0, 0, 99, 1, 2))
	s.want("0s SCCRP ns=0 nr=1", "0s StopCCN ns=1 nr=2 result=2/8",
		"0s TunnelDown we ended the tunnel because of the peer's ICRQ: unknown AVP 99 with the M bit set")
}

// Two responses that md5sum has computed.
func TestChallengeResponse(t *testing.T) {
	for carrier, want := range map[wire.MessageType]string{
		wire.SCCRP: "8c84b6bcdd7c6f33c1b079d4d31d0150", // printf '\x02tunsecret0123456789abcdef' | md5sum
		wire.SCCCN: "78d24885334212a12dbfd1cd8746257c", // printf '\x03tunsecret0123456789abcdef' | md5sum
	} {
		if got := challengeResponse(carrier, []byte("tunsecret"), []byte("0123456789abcdef")); hex.EncodeToString(got[:]) != want {
			t.Errorf("the response in %v is %x, expected %s", carrier, got, want)
		}
	}
}

// RFC 2661 §4.4.3: "The Challenge is one or more octets of random data."
func TestEmptyChallenge(t *testing.T) {
	empty := []byte{0x80, 6, 0, 0, 0, 11}
	s := newScript(t, Answer, Config{Secret: []byte("x")})
	s.peerAt(0, 0, 0, append(sccrq().Append(nil), empty...))
	s.wantState(closing)
	if s.last.Type != wire.StopCCN || s.last.Result.Code != 2 || s.last.Result.Error != 2 {
		t.Errorf("sent %v with %+v, expected StopCCN with result 2, error 2", s.last.Type, s.last.Result)
	}
	s = newScript(t, Dial, Config{})
	s.peerAt(0, 1, 0, append(sccrp().Append(nil), empty...))
	s.wantState(closing)
}

// One of 96 octets is as good as any.
func TestLongChallenge(t *testing.T) {
	long := bytes.Repeat([]byte("123456"), 16)
	s := newScript(t, Answer, Config{Secret: []byte("x")})
	s.peer(0, sccrq(func(m *wire.Message) { m.Challenge = long }))
	if s.last.ChallengeResponse != response(2, "x", long) {
		t.Errorf("SCCRP's response is %x", s.last.ChallengeResponse)
	}
}
