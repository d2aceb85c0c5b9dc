package ppp

import (
	"encoding/binary"
	"errors"
)

// An Encryption is MPPE as a link has agreed on it (RFC 3078, stateless mode):
// [Up] and [Up6] bring it. Datagrams are then encrypted in both directions, and
// none is taken or sent in the clear. The owner's data path does it:
//
//	out  information := e.Sealer.Seal(buffer[:0], ProtocolIPv4, datagram)
//	     the frame is PutHeader(…, ProtocolMPPE), then the information
//	in   of a frame of ProtocolMPPE: protocol, datagram, err := e.Opener.Open(information)
//
// Each half is for one goroutine at a time, and what a Sealer gives is to be
// sent in that order: a datagram that overtakes others is lost. The halves and
// the Link share nothing.
//
// MPPE has no authenticity, and RC4 is broken: it serves peers that insist.
type Encryption struct {
	Sealer *Sealer
	Opener *Opener
}

// Strengths are the effective lengths of the keys, such as "128 bit", of what we
// send and of what we receive.
func (e *Encryption) Strengths() (send, receive string) {
	return e.Sealer.keys.strength.String(), e.Opener.keys.strength.String()
}

// String keeps keys out of logs.
func (e *Encryption) String() string {
	if e == nil {
		return "none"
	}
	send, receive := e.Strengths()
	if send != receive {
		return "MPPE " + send + " out, " + receive + " in"
	}
	return "MPPE " + send
}

// The octets in front of encrypted data (RFC 3078 §3.1), after the protocol
// 0x00FD:
//
//	|A|B|C|D| Coherency Count 12 bits | Encrypted: Protocol 2, Data
const (
	mppeHeaderLen = 2
	mppeFlushed   = 0x8000 // A: the tables were initialized; always, in stateless mode
	mppeEncrypted = 0x1000 // D
	mppeCount     = 0x0fff
)

// EncryptionLen is how many octets longer than a datagram what [Sealer.Seal]
// makes of it is: the MPPE header, and the datagram's protocol.
const EncryptionLen = mppeHeaderLen + 2

// newEncryption has the keys of both directions, of the strengths that the
// peer and we asked for.
func newEncryption(master *[16]byte, server bool, send, receive strength) *Encryption {
	out, in := fromClient, fromServer
	if server {
		out, in = in, out
	}
	return &Encryption{
		Sealer: &Sealer{keys: newKeyChain(master, out, send)},
		Opener: &Opener{keys: newKeyChain(master, in, receive), last: mppeCount, credit: maxCredit},
	}
}

// A Sealer encrypts what we send.
type Sealer struct {
	keys  keyChain
	count uint16 // the coherency count of the next packet
}

// Seal appends the information of a frame of [ProtocolMPPE] to dst: the
// datagram, which may come in pieces, and its protocol, encrypted. dst and the
// datagram do not overlap. Nothing is allocated when dst has room for
// [EncryptionLen] octets more than the datagram.
//
// "Only packets with PPP Protocol numbers in the range 0x0021 to 0x00FA are
// encrypted" (RFC 3078 §3).
func (s *Sealer) Seal(dst []byte, protocol uint16, datagram ...[]byte) []byte {
	if protocol < 0x0021 || protocol > 0x00fa {
		panic("BUG: ppp: a packet that MPPE does not encrypt")
	}
	// "In stateless mode, the sender MUST change its key before encrypting and
	// transmitting each packet" (RFC 3078 §7.1).
	s.keys.next()
	s.keys.start()
	dst = binary.BigEndian.AppendUint16(dst, mppeFlushed|mppeEncrypted|s.count)
	s.count = (s.count + 1) & mppeCount
	dst = binary.BigEndian.AppendUint16(dst, protocol)
	s.keys.cipher.xor(dst[len(dst)-2:], dst[len(dst)-2:])
	for _, piece := range datagram {
		n := len(dst)
		dst = append(dst, piece...)
		s.keys.cipher.xor(dst[n:], piece)
	}
	return dst
}

// An Opener decrypts what we receive.
type Opener struct {
	keys   keyChain
	last   uint16 // the coherency count of the last packet
	credit int    // how many keys may be passed over
	misses int    // packets since the last one that was decrypted
}

const (
	// maxGap is how far ahead of the last packet's a coherency count may be;
	// one that is farther ahead is behind.
	maxGap = (mppeCount + 1) / 2
	// maxCredit is how many keys may be passed over at once, and gainCredit
	// how many a packet makes up for: so that no peer can make us change keys
	// a thousand times with each of its packets.
	maxCredit  = maxGap
	gainCredit = 16
	// maxMisses is how many packets in succession can be lost, late or forged
	// while the keys still fit.
	maxMisses = 100
)

var (
	// ErrOutOfStep is the error of [Opener.Open] when so many packets in
	// succession could not be decrypted that none ever will: more than half of
	// the 4,096 coherency counts were lost in one go. The owner ends the link.
	ErrOutOfStep = errors.New("MPPE is out of step: the peer's keys are lost")

	errNotEncrypted = errors.New("an MPPE packet that is not encrypted, or not in stateless mode")
	errLate         = errors.New("an MPPE packet that comes twice or late")
	errSkips        = errors.New("an MPPE packet too far ahead")
	errGarbage      = errors.New("an MPPE packet with neither an IPv4 nor an IPv6 datagram")
)

// Open decrypts the information of a frame of [ProtocolMPPE] in place, and says
// which part of it is the datagram, and of which protocol: [ProtocolIPv4] or
// [ProtocolIPv6]. Nothing is allocated.
//
// An error means that the frame is to be dropped. Lost packets before this one
// do not matter; packets that come late or twice are dropped. A packet that does
// not decrypt to an IP datagram changes nothing, so that a forged one does not
// bring the keys out of step. After [ErrOutOfStep] only a new link helps.
func (o *Opener) Open(information []byte) (protocol uint16, datagram []byte, err error) {
	protocol, datagram, err = o.open(information)
	if err == nil {
		o.misses = 0
		return protocol, datagram, nil
	}
	if o.misses++; o.misses >= maxMisses {
		err = ErrOutOfStep
	}
	return 0, nil, err
}

func (o *Opener) open(information []byte) (uint16, []byte, error) {
	if len(information) < mppeHeaderLen {
		return 0, nil, errNotEncrypted
	}
	header := binary.BigEndian.Uint16(information)
	if header&mppeEncrypted == 0 || header&mppeFlushed == 0 {
		return 0, nil, errNotEncrypted
	}
	// Whatever becomes of it, a packet makes up for some keys: one that was forged
	// and far ahead must not cost those that come after it.
	o.credit = min(o.credit+gainCredit, maxCredit)
	count := header & mppeCount
	gap := int(count-o.last) & mppeCount
	switch {
	case gap == 0 || gap >= maxGap:
		return 0, nil, errLate
	case gap-1 > o.credit:
		return 0, nil, errSkips
	}
	o.credit -= gap - 1

	// "The receiver MUST perform N = C1 - C2 key changes before decrypting the
	// packet" (RFC 3078 §8.1).
	var before [16]byte
	session := o.keys.session()
	copy(before[:], session)
	for range gap {
		o.keys.next()
	}
	o.keys.start()
	protocol, datagram, ok := o.decrypt(information[mppeHeaderLen:])
	if !ok {
		copy(session, before[:])
		return 0, nil, errGarbage
	}
	o.last = count
	return protocol, datagram, nil
}

// decrypt looks at the first octets, and goes on if they are those of an IP
// datagram. Its protocol may be compressed to one octet.
func (o *Opener) decrypt(data []byte) (protocol uint16, datagram []byte, ok bool) {
	var head [3]byte
	n := copy(head[:], data)
	o.keys.cipher.xor(head[:n], head[:n])
	at := 2
	if head[0]&1 == 1 {
		at = 1
	}
	if n <= at {
		return 0, nil, false
	}
	if protocol = uint16(head[0]); at == 2 {
		protocol = protocol<<8 | uint16(head[1])
	}
	version := head[at] >> 4
	if !(protocol == ProtocolIPv4 && version == 4) && !(protocol == ProtocolIPv6 && version == 6) {
		return 0, nil, false
	}
	copy(data, head[:n])
	o.keys.cipher.xor(data[n:], data[n:])
	return protocol, data[at:], true
}
