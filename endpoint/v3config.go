package endpoint

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/control"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

// A V3Config is what a control connection of L2TPv3 needs beside what L2TPv2's has (RFC
// 3931). With a tunnel secret every message of either side carries a Message Digest, and
// what has none, or a wrong one, is dropped as if it had not come (§4.3): who has another
// secret finds nobody there. Messages are not encrypted.
type V3Config struct {
	// RouterID is what peers are told of us (Router ID AVP, §5.4.3); any number.
	RouterID uint32
	// Pseudowires are the types that the sessions of the peer may have, and what it is
	// told of them. Nil: Ethernet, IP and PPP, and for who dials VLAN and HDLC as well.
	Pseudowires []PseudowireType
	// OldSecret is another secret that peers may still have, while it is changed on one
	// end after the other: it is accepted too, and messages are signed with both.
	OldSecret Secret
	// Digests are how messages are signed, by one or two. Nil: DigestMD5.
	Digests []DigestType
	// Integrity has messages carry a digest when there is no secret, so that damaged
	// ones are dropped. It authenticates nobody.
	Integrity bool
}

// A DigestType is how a Message Digest is calculated (RFC 3931 §5.4.1).
type DigestType uint8

const (
	DigestMD5  = DigestType(wire.DigestMD5)  // HMAC-MD5
	DigestSHA1 = DigestType(wire.DigestSHA1) // HMAC-SHA-1
)

func (d DigestType) String() string {
	switch d {
	case DigestMD5:
		return "md5"
	case DigestSHA1:
		return "sha1"
	}
	return fmt.Sprintf("digest type %d", uint8(d))
}

// ParseDigestType reads "md5" or "sha1".
func ParseDigestType(s string) (DigestType, error) {
	word, err := oneOf(s, "md5", "sha1")
	if word == "sha1" {
		return DigestSHA1, err
	}
	return DigestMD5, err
}

// Validate tells what is wrong in itself; secret is the tunnel's.
func (c *V3Config) Validate(secret Secret) error {
	if c == nil {
		return nil
	}
	var errs []error
	if len(c.Digests) > 2 {
		errs = append(errs, fmt.Errorf("expected at most two digest types, found %d", len(c.Digests)))
	}
	for _, d := range c.Digests {
		if d != DigestMD5 && d != DigestSHA1 {
			errs = append(errs, fmt.Errorf("expected the digest types md5 and sha1, found %v", d))
		}
	}
	if c.OldSecret != "" && secret == "" {
		errs = append(errs, errors.New("expected a tunnel secret beside the old one, found none"))
	}
	return errors.Join(errs...)
}

// control is the machine's configuration, with what is to be told where Pseudowires is
// nil.
func (c *V3Config) control(byDefault []PseudowireType) *control.V3 {
	types := c.Pseudowires
	if types == nil {
		types = byDefault
	}
	v := &control.V3{RouterID: c.RouterID, OldSecret: c.OldSecret.bytes(), Integrity: c.Integrity}
	for _, t := range types {
		v.Pseudowires = append(v.Pseudowires, uint16(t))
	}
	for _, d := range c.Digests {
		v.Digests = append(v.Digests, wire.DigestType(d))
	}
	return v
}

// dialledTypes are those of the sessions in a tunnel that we dial, by default.
var dialledTypes = []PseudowireType{PseudowireEthernet, PseudowireVLAN, PseudowireIP, PseudowirePPP, PseudowireHDLC}

// answeredTypes are those that callers may have, by default.
func (a *AnswerConfig) answeredTypes() []PseudowireType {
	types := []PseudowireType{PseudowireEthernet, PseudowireIP}
	if a.Pseudowire != nil {
		types = append(types, PseudowireVLAN, PseudowireHDLC)
	}
	if a.endsPPP() || a.RawPPP != nil || a.Pseudowire != nil {
		types = append(types, PseudowirePPP)
	}
	return types
}

// A PseudowireConfig describes our end of a session of L2TPv3 that is negotiated (RFC
// 3931 §3.4): each end tells the other what it wants to receive. Nil is the zero value.
type PseudowireConfig struct {
	// Type is what the frames are. Zero: PseudowireEthernet. To who answers it is told.
	Type PseudowireType
	// RemoteEndID names the circuit that is asked for, in octets that the peer knows
	// (§5.4.4); it may be empty. To who answers it is told.
	RemoteEndID string
	// CookieLen is how long the cookie is, of random octets, that the peer has to put
	// into its frames: 4 or 8. Zero: 8; negative: there is none.
	CookieLen int
	// Sublayer is what stands between cookie and frame in what we receive. Zero:
	// SublayerDefault if there are to be sequence numbers, else SublayerNone.
	Sublayer Sublayer
	// Sequencing is what becomes of sequence numbers. With SequencingRecv and
	// SequencingBoth the peer is asked for them, frames without are dropped and the
	// others kept in order. Ours have them if the peer asks for them, and with
	// SequencingSend and SequencingBoth whenever it leaves room for them. Zero:
	// SequencingNone.
	Sequencing Sequencing
	// ReorderTimeout and ReorderMax are as in [StaticConfig].
	ReorderTimeout time.Duration
	ReorderMax     int
	// VLAN is the identifier of a VLAN pseudowire at our end: as in [StaticConfig].
	VLAN uint16
	// MTU is the most that [Session.MTU] says, in bytes, and it is told to the peer,
	// which has to have the same if it has any (RFC 4667 §4.3). Zero: what the path lets
	// through. Not for PPP, which negotiates it.
	MTU int
	// TieBreaker has one session stand when the peer asks for the same RemoteEndID at the
	// same time, instead of none (§5.4.4). An endpoint that answers as well does so in any
	// case.
	TieBreaker bool
	// Outgoing asks the peer to bring the circuit up (OCRQ), for peers that place calls;
	// otherwise we tell that ours is (ICRQ).
	Outgoing bool
	// PPP is how we introduce ourselves to a peer that is PPP's server, by
	// PseudowirePPP. Nil: without a name.
	PPP *PPPConfig
	// RawPPP has PPP's frames pass as they are, for [Switch].
	RawPPP bool
}

// remoteEndIDMost is how many octets an AVP holds (RFC 3931 §5.1).
const remoteEndIDMost = 1017

// Validate tells what is wrong in itself.
func (c *PseudowireConfig) Validate() error {
	if c == nil {
		return nil
	}
	static := StaticConfig{
		Type: c.Type, SessionID: 1, PeerSessionID: 1, Sublayer: c.Sublayer, Sequencing: c.Sequencing,
		ReorderTimeout: c.ReorderTimeout, ReorderMax: c.ReorderMax, VLAN: c.VLAN, MTU: c.MTU, PPP: c.PPP, RawPPP: c.RawPPP,
	}
	errs := []error{static.Validate()}
	if c.CookieLen > 0 && c.CookieLen != 4 && c.CookieLen != 8 {
		errs = append(errs, fmt.Errorf("expected a cookie of 4 or 8 octets, found %d", c.CookieLen))
	}
	if len(c.RemoteEndID) > remoteEndIDMost {
		errs = append(errs, fmt.Errorf("expected a Remote End ID of at most %d octets, found %d", remoteEndIDMost, len(c.RemoteEndID)))
	}
	return errors.Join(errs...)
}

func (c *PseudowireConfig) withDefaults() PseudowireConfig {
	if c == nil {
		c = &PseudowireConfig{}
	}
	full := *c
	static := StaticConfig{Type: c.Type, Sublayer: c.Sublayer, Sequencing: c.Sequencing}
	static = static.withDefaults()
	full.Type, full.Sublayer, full.Sequencing = static.Type, static.Sublayer, static.Sequencing
	full.CookieLen = max(orDefault(c.CookieLen, 8), 0)
	return full
}

// orders tells whether the peer is to number its frames.
func (c *PseudowireConfig) orders() bool {
	return c.Sequencing == SequencingRecv || c.Sequencing == SequencingBoth
}

// numbers tells whether our frames have numbers although the peer does not ask for them.
func (c *PseudowireConfig) numbers() bool {
	return slices.Contains([]Sequencing{SequencingSend, SequencingBoth}, c.Sequencing)
}
