package control

import (
	"bytes"
	"encoding/binary"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

// V3 is what a control connection of L2TPv3 needs (RFC 3931). With [Config.Secret],
// Control Message Authentication is on (§4.3): every message of either side has a
// Message Digest, and what has none, or a wrong one, is dropped as if it had not come.
type V3 struct {
	// RouterID is what the peer is told of us (Router ID AVP, §5.4.3); any number.
	RouterID uint32
	// Pseudowires are the types that sessions may have here.
	Pseudowires []uint16
	// OldSecret is another secret that a peer may still have, during a roll-over: what
	// is signed with it is accepted, and what we send is signed with both.
	OldSecret []byte
	// Digests are how messages are signed, one or two. Nil: HMAC-MD5.
	Digests []wire.DigestType
	// Integrity has messages carry a digest when there is no secret: what has been
	// damaged is dropped. It authenticates nobody.
	Integrity bool
	// Fallback has Dial's SCCRQ be one that a peer of L2TPv2 understands as well, and
	// the tunnel be of the version in which the peer replies (§4.7.3).
	Fallback bool
}

// version3 is what a control connection of L2TPv3 knows.
type version3 struct {
	authenticates    bool              // there is a secret
	digests          []wire.DigestType // of what we send
	signing          [][]byte          // their keys
	keys             [][]byte          // that the peer's digests may have been made with
	hidings          [][]byte          // keys of hidden AVPs, of the same secrets as keys; nil: there are none
	hiding           []byte            // the one that we hide by
	unhiding         []byte            // the one that the peer does
	nonce, peerNonce []byte            // nil without authentication
	told             bool              // our nonce is the peer's to know: our SCCRQ or SCCRP has gone
}

// beginV3 derives the keys, and draws our nonce.
func (t *Tunnel) beginV3() {
	cfg, v := t.cfg.V3, &t.v3
	v.authenticates = t.cfg.Secret != nil
	if !v.authenticates {
		v.keys = [][]byte{wire.DigestKey(nil)}
		if !cfg.Integrity {
			return
		}
	} else {
		v.keys = [][]byte{wire.DigestKey(t.cfg.Secret)}
		v.hidings = [][]byte{wire.HidingKey(t.cfg.Secret)}
		v.hiding, v.unhiding = v.hidings[0], v.hidings[0]
		v.nonce = make([]byte, challengeLen)
		t.random(v.nonce)
	}
	v.digests, v.signing = cfg.Digests, v.keys
	if len(v.digests) == 0 {
		v.digests = []wire.DigestType{wire.DigestMD5}
	}
	if len(cfg.OldSecret) > 0 && v.authenticates {
		v.keys = append(v.keys, wire.DigestKey(cfg.OldSecret))
		v.hidings = append(v.hidings, wire.HidingKey(cfg.OldSecret))
		v.digests, v.signing = []wire.DigestType{v.digests[0], v.digests[0]}, v.keys
	}
}

// helloV3 is what SCCRQ and SCCRP have in L2TPv3.
func (t *Tunnel) helloV3() wire.V3 {
	if t.cfg.V3 == nil {
		return wire.V3{}
	}
	return wire.V3{RouterID: t.cfg.V3.RouterID, Pseudowires: t.cfg.V3.Pseudowires, Nonce: t.v3.nonce}
}

// read reads a datagram, and reports whether it is to be heeded. The first one that the
// peer's version shows in decides about ours, if that is open.
func (t *Tunnel) read(datagram []byte) (h wire.Header, avps []byte, ok bool) {
	var err error
	version, _ := wire.Version(datagram)
	if version == 3 && t.cfg.V3 != nil {
		h, avps, err = wire.ParseV3Control(datagram)
	} else {
		h, avps, err = wire.ParseHeader(datagram)
	}
	if err != nil || !h.Control {
		t.counters.Malformed++
		return h, nil, false
	}
	if t.cfg.V3 == nil {
		return h, avps, true
	}
	kind := messageType(avps)
	isV3 := version == 3 || kind == wire.SCCRQ && wire.OffersV3(avps)
	if !t.open && isV3 != (t.version == 3) {
		t.counters.Malformed++
		return h, nil, false
	}
	if !isV3 {
		return h, avps, true
	}
	// Both headers have 12 octets.
	if !t.genuine(datagram[:wire.V3ControlHeaderLen+len(avps)], kind, avps) {
		t.counters.BadDigest++
		return h, nil, false
	}
	if t.open && (kind == wire.SCCRQ || kind == wire.SCCRP || kind == wire.StopCCN) {
		t.version, t.open = 3, false
	}
	return h, avps, true
}

// genuine reports whether a message of L2TPv3 may be used.
//
//	"This message authenticity and integrity checking MUST be performed before utilizing
//	any information contained within the control message. If the calculation fails, the
//	message MUST be dropped." (RFC 3931 §5.4.1)
func (t *Tunnel) genuine(message []byte, kind wire.MessageType, avps []byte) bool {
	v := &t.v3
	if !v.authenticates {
		present, valid := wire.Verify(message, nil, nil, v.keys...)
		return valid || !present
	}
	own, other := v.peerNonce, v.toldNonce()
	switch kind {
	case wire.SCCRQ:
		// A nonce of ours that comes back would have us prove to ourselves that we know
		// the secret.
		if n := wire.Nonce(avps); len(n) == 0 || t.cfg.Outstanding != nil && t.cfg.Outstanding(n) {
			return false
		}
		own, other = nil, nil
	case wire.SCCRP:
		if own = wire.Nonce(avps); len(own) == 0 {
			return false
		}
	}
	_, by := wire.VerifiedBy(message, own, other, v.keys...)
	if by < 0 && kind == wire.StopCCN && t.state == waitCtlConn {
		// Our SCCRP has not arrived: its sender knows nothing of our nonce.
		_, by = wire.VerifiedBy(message, own, nil, v.keys...)
	}
	if by >= 0 && (kind != wire.SCCRQ || t.state == idle) { // another one may be a repetition of long ago
		t.agreeOnHiding(by, message, own, other)
	}
	return by >= 0
}

// agreeOnHiding learns which of two secrets AVPs are hidden by, during a roll-over, from a
// message that was signed with one of them. Who has two signs with both, its own first: it
// hides by that if the other end has it too, else by the other, and both ends can tell.
func (t *Tunnel) agreeOnHiding(by int, message, own, other []byte) {
	v := &t.v3
	v.unhiding = v.hidings[by]
	if by > 0 {
		_, first := wire.Verify(message, own, other, v.keys[0])
		by = 0
		if !first {
			by = 1
		}
	}
	v.hiding = v.hidings[by]
}

// transmit signs a packet, as all are in L2TPv3, when it is about to go: Nr is
// part of what is signed.
func (t *Tunnel) transmit(packet []byte) {
	t.sign(packet)
	t.Send(packet)
}

// transmitWhole is transmit for what must not be sent in pieces.
func (t *Tunnel) transmitWhole(packet []byte) {
	t.sign(packet)
	t.Emit(Whole{packet})
}

func (t *Tunnel) sign(packet []byte) {
	if len(t.v3.digests) > 0 && (t.version == 3 || t.open) {
		switch messageType(packet[wire.V3ControlHeaderLen:]) {
		case wire.SCCRQ:
			t.v3.told = true
			wire.Sign(packet, nil, nil, t.v3.signing...)
			return
		case wire.SCCRP:
			t.v3.told = true
		}
		wire.Sign(packet, t.v3.toldNonce(), t.v3.peerNonce, t.v3.signing...)
	}
}

// toldNonce is our nonce, if the peer can know it. Who refuses an SCCRQ has sent none, so
// that its StopCCN is made with the peer's alone. That nobody else can make, who does not
// know the secret, nor can one of another time be sent again: the nonce is of this SCCRQ,
// and an SCCRQ of ours that comes back is not answered.
func (v *version3) toldNonce() []byte {
	if !v.told {
		return nil
	}
	return v.nonce
}

// meet takes the peer's nonce from the message that begins or answers in its turn, which
// has been verified. What is wrong with the rest of it does not matter: a refusal too
// has to be signed for the peer.
func (t *Tunnel) meet(avps []byte) {
	v, kind := &t.v3, messageType(avps)
	if v.authenticates && t.version == 3 && v.peerNonce == nil && (t.state == idle && kind == wire.SCCRQ || t.state == waitCtlReply && kind == wire.SCCRP) {
		v.peerNonce = bytes.Clone(wire.Nonce(avps))
	}
}

// acknowledgement is a message that only acknowledges.
//
//	"ZLB messages are only permitted when Control Message Authentication […] is not
//	enabled." (RFC 3931 §6.15)
func (t *Tunnel) acknowledgement(ns, nr uint16) []byte {
	if t.version == 2 {
		return wire.AppendControlHeader(nil, t.peer.PeerID, 0, ns, nr)
	}
	b := wire.AppendV3ControlHeader(nil, t.peer.PeerID, ns, nr)
	if len(t.v3.digests) > 0 {
		b = (&wire.Message{Type: wire.ACK, V3: wire.V3{Digests: t.v3.digests}}).AppendV3(b)
		wire.SetLength(b)
	}
	return b
}

func (t *Tunnel) encodeV3(peerSession uint32, m *wire.Message, hide bool) []byte {
	m.RemoteSessionID, m.Digests = peerSession, t.v3.digests
	b := wire.AppendV3ControlHeader(nil, t.peer.PeerID, 0, 0)
	if hide && t.v3.authenticates {
		return m.AppendHiddenV3(b, t.v3.hiding, t.cfg.Rand)
	}
	return m.AppendV3(b)
}

func (t *Tunnel) parse(avps []byte) (*wire.Message, error) {
	if t.version == 3 {
		return wire.ParseMessageV3(avps, t.v3.unhiding)
	}
	return wire.ParseMessage(avps, t.cfg.Secret)
}

func (t *Tunnel) known(m wire.MessageType) bool {
	if t.version == 3 {
		return m.KnownV3()
	}
	return m.Known()
}

// messageType is what a message says that it is, without a look at the rest; 0: it does
// not say.
func messageType(avps []byte) wire.MessageType {
	const length = 8
	be := binary.BigEndian
	if len(avps) < length || be.Uint16(avps)&0x43ff != length || be.Uint32(avps[2:]) != 0 {
		return 0
	}
	return wire.MessageType(be.Uint16(avps[6:]))
}
