package control

import (
	"crypto/md5"
	"crypto/subtle"
	"encoding/binary"
	"io"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

const challengeLen = 16 // octets

// challengePeer makes the challenge that goes with SCCRQ or SCCRP, if there is
// a secret.
func (t *Tunnel) challengePeer() {
	if t.cfg.Secret != nil && t.version == 2 {
		t.challenge = make([]byte, challengeLen)
		t.random(t.challenge)
	}
}

// Nonce is ours of SCCRQ or SCCRP, in L2TPv3; nil: messages are not authenticated. It
// never changes.
func (t *Tunnel) Nonce() []byte { return t.v3.nonce }

// Challenge is ours of SCCRQ or SCCRP, in L2TPv2; nil: the peer is not to prove anything. It
// never changes.
func (t *Tunnel) Challenge() []byte { return t.challenge }

// respond puts the response to the challenge in m, if there is one, into the
// reply. It reports false, and the tunnel ends, when there is no secret.
//
// RFC 2661 §5.1.1: "If a Challenge AVP is received in an SCCRQ or SCCRP, a
// Challenge Response AVP MUST be sent in the following SCCRP or SCCCN,
// respectively."
func (t *Tunnel) respond(now time.Time, m, reply *wire.Message) bool {
	if t.version == 3 || !m.Has(wire.AVPChallenge) {
		return true
	}
	if t.cfg.Secret == nil {
		t.notAuthorized(now, NoSecret)
		return false
	}
	if reply.Type == wire.SCCRP && t.cfg.Outstanding != nil && t.cfg.Outstanding(m.Challenge) {
		t.notAuthorized(now, Reflected)
		return false
	}
	reply.ChallengeResponse = challengeResponse(reply.Type, t.cfg.Secret, m.Challenge)
	reply.Set(wire.AVPChallengeResponse)
	return true
}

// authenticate checks the response in m to our challenge, if we made one. It
// reports false, and the tunnel ends, when the peer has not proved anything.
//
// RFC 2661 §5.1.1: "If the expected response and response received from a peer
// does not match, establishment of the tunnel MUST be disallowed."
func (t *Tunnel) authenticate(now time.Time, m *wire.Message) bool {
	if t.challenge == nil || t.version == 3 {
		return true
	}
	if !m.Has(wire.AVPChallengeResponse) {
		t.notAuthorized(now, NoResponse)
		return false
	}
	expected := challengeResponse(m.Type, t.cfg.Secret, t.challenge)
	if subtle.ConstantTimeCompare(expected[:], m.ChallengeResponse[:]) != 1 {
		t.notAuthorized(now, SecretsDiffer)
		return false
	}
	return true
}

// notAuthorized ends the tunnel. The peer learns no more than that.
func (t *Tunnel) notAuthorized(now time.Time, err AuthError) {
	t.end(now, wire.Result{Code: wire.StopNotAuthorized}, err)
}

// challengeResponse is CHAP's with MD5 (RFC 1994 §4.1).
//
// RFC 2661 §4.4.3: "For purposes of the ID value in the CHAP response
// calculation, the value of the Message Type AVP for this message is used (e.g.
// 2 for an SCCRP, and 3 for an SCCCN)."
func challengeResponse(carrier wire.MessageType, secret, challenge []byte) (response [16]byte) {
	h := md5.New()
	h.Write([]byte{byte(carrier)})
	h.Write(secret)
	h.Write(challenge)
	h.Sum(response[:0])
	return response
}

// random fills b from the configured source.
func (t *Tunnel) random(b []byte) {
	if _, err := io.ReadFull(t.cfg.Rand, b); err != nil {
		panic("BUG: control: the random source fails: " + err.Error())
	}
}

func (t *Tunnel) random32() uint32 {
	var b [4]byte
	t.random(b[:])
	return binary.BigEndian.Uint32(b[:])
}
