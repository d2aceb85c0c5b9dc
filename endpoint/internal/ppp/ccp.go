package ppp

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"time"
)

// Codes that CCP has besides those of every automaton (RFC 1962 §3).
const (
	resetRequest = 14
	resetAck     = 15
)

// The CCP option that we know: MPPE and MPPC (RFC 3078 §2). The other
// compression protocols are rejected.
const ccpMPPE = 18

// Supported Bits, beside the strengths.
const (
	mppeStateless = 0x01000000 // H
	mppeStrengths = uint32(bits40 | bits56 | bits128)
)

// ccp is the Compression Control Protocol (RFC 1962): here it agrees on
// encryption, on nothing else. Each end asks for what it wants to receive.
type ccp struct {
	automaton
	pending bool  // the NCPs wait for it
	err     error // why it ends

	asks   uint32 // the Supported Bits of our request
	grants uint32 // of the peer's request in force; zero: it has none

	encryption *Encryption // in force
}

func (c *ccp) init(link *Link) {
	c.automaton = automaton{link: link, layer: c, protocol: protocolCCP, in: &nothing, tries: link.cfg.MaxConfigure}
	if link.cfg.MPPE == MPPEAllowed {
		c.tries = max(1, c.tries/2) // a peer that is silent may have begun its NCPs, which do not wait for ever
	}
}

// start opens CCP, if encryption is wanted and there are keys for it.
func (c *ccp) start(now time.Time) {
	l := c.link
	switch {
	case l.cfg.MPPE == MPPEOff || l.master == nil && l.cfg.MPPE == MPPEAllowed:
		return
	case l.master == nil:
		l.fail(now, &EncryptionError{c.error("only an authentication by %v gives keys", MSCHAPv2)})
		return
	}
	c.pending, c.err = true, nil
	// "The initiator SHOULD request all of the options it supports" (RFC 3078
	// §2.1): pppd ends a link whose request has not the strength that it wants,
	// without a Nak. The peer's Nak chooses.
	c.asks = mppeStateless | mppeStrengths
	c.open(now)
}

// stop takes CCP down with LCP; the keys go with it.
func (c *ccp) stop(now time.Time) {
	c.pending, c.encryption = false, nil
	if c.state >= closed {
		c.event(now, evDown)
	}
}

// resolved lets the NCPs start: there is encryption now, or there will be none.
func (c *ccp) resolved(now time.Time) {
	if c.pending {
		c.pending = false
		c.link.startNetworks(now)
	}
}

// supportedBits are those of an option's data; none if that has another length.
func supportedBits(o option) uint32 {
	if len(o.data) != 4 {
		return 0
	}
	return binary.BigEndian.Uint32(o.data)
}

// acceptable is the nearest to the peer's bits that we take: stateless, one
// strength, "the 'strongest' option offered" (RFC 3078 §2.1), no MPPC.
func acceptable(bits uint32) uint32 {
	for _, s := range [...]strength{bits128, bits56, bits40} {
		if bits&uint32(s) != 0 {
			return mppeStateless | uint32(s)
		}
	}
	return mppeStateless | uint32(bits128)
}

func (c *ccp) request() []option { return []option{uint32Option(ccpMPPE, c.asks)} }

func (c *ccp) review(o option) (verdict, option, error) {
	if o.kind != ccpMPPE {
		return reject, o, nil
	}
	bits := supportedBits(o)
	if want := acceptable(bits); want != bits {
		return nak, uint32Option(ccpMPPE, want), nil
	}
	return ack, o, nil
}

// prompt asks a peer for MPPE that has not thought of it, if it is required.
func (c *ccp) prompt(listed func(uint8) bool) []option {
	if c.link.cfg.MPPE != MPPERequired || listed(ccpMPPE) {
		return nil
	}
	return []option{uint32Option(ccpMPPE, acceptable(0))}
}

func (c *ccp) granted(list []option) {
	c.grants = 0
	for _, o := range list {
		c.grants = supportedBits(o)
	}
}

// naked takes another strength, and nothing else.
func (c *ccp) naked(list []option) error {
	for _, o := range list {
		if o.kind != ccpMPPE {
			continue
		}
		bits := supportedBits(o)
		switch {
		case bits&mppeStrengths == 0:
			return c.error("the peer wants no encryption")
		case bits&mppeStateless == 0:
			return c.error("the peer wants MPPE in stateful mode, only stateless is supported")
		}
		c.asks = acceptable(bits)
	}
	return nil
}

func (c *ccp) rejected([]option) error { return c.error("the peer rejects MPPE") }

func (c *ccp) up(now time.Time) {
	if c.grants == 0 {
		c.giveUp(now, c.error("the peer wants no encryption"))
		return
	}
	c.requests = 0
	c.encryption = newEncryption(c.link.master, c.link.cfg.Server, strength(c.grants&mppeStrengths), strength(acceptable(c.asks)&mppeStrengths))
	c.resolved(now)
}

// down: what it means is seen when the packet has been dealt with.
func (c *ccp) down(time.Time) {}

func (c *ccp) finished(now time.Time) { c.giveUp(now, cmp.Or(c.parting, c.error("it has ended"))) }

func (c *ccp) blame(err error) {
	if c.err == nil {
		c.err = err
	}
}

// giveUp does without encryption, if that is allowed.
func (c *ccp) giveUp(now time.Time, err error) {
	c.blame(err)
	if c.link.cfg.MPPE == MPPERequired {
		c.link.fail(now, &EncryptionError{c.err})
		return
	}
	if c.state != closed && c.state != closing {
		c.event(now, evClose)
	}
	c.resolved(now)
}

func (c *ccp) terminated(reason string) error {
	return c.error("the peer terminates it: %s", quote(reason))
}

func (c *ccp) error(format string, args ...any) error {
	return &NegotiationError{Protocol: c.name(), Reason: fmt.Sprintf(format, args...)}
}

// receive takes a CCP packet. The initial keys are good for one CCP that is
// opened: used again, they would show what they have encrypted. So a peer that
// ends or renegotiates it ends the link. The same options again are neither, under
// another identifier too: our Ack was lost.
func (c *ccp) receive(now time.Time, p packet) {
	switch {
	case p.code == resetRequest:
		// In stateless mode there is nothing to reset, but "a CCP packet MUST be
		// transmitted with the Code field set to 15" (RFC 1962 §3.1).
		if c.state == opened {
			c.send(packet{resetAck, p.id, nil})
		}
	case p.code == resetAck: // we request none
	case c.encryption != nil && p.code == configureRequest:
		if bytes.Equal(p.data, c.inForce.data) {
			c.send(packet{configureAck, p.id, p.data})
			return
		}
		c.link.fail(now, &EncryptionError{c.error("the peer negotiates it again, and keys are used once")})
	default:
		if c.pending && p.code == configureRequest {
			c.restart = c.link.cfg.MaxConfigure // it speaks CCP, and may have come late
		}
		c.automaton.receive(now, p)
		c.check(now)
	}
}

// check ends a link whose encryption has ended.
func (c *ccp) check(now time.Time) {
	if c.encryption == nil || c.state == opened {
		return
	}
	err := cmp.Or(c.err, c.parting, c.error("the peer ends it"))
	c.link.fail(now, &EncryptionError{err})
}
