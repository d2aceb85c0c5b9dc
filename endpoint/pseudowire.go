package endpoint

import (
	"fmt"
	"slices"
	"strings"
)

// A PseudowireType is what the frames of a session are: the values are those of IANA's
// registry of L2TPv3 Pseudowire Types.
type PseudowireType uint16

const (
	PseudowireVLAN     PseudowireType = 4  // Ethernet frames with the tag of one VLAN (RFC 4719)
	PseudowireEthernet PseudowireType = 5  // Ethernet frames, tagged or not, without their FCS (RFC 4719)
	PseudowireHDLC     PseudowireType = 6  // RFC 4349
	PseudowirePPP      PseudowireType = 7  // PPP frames, with or without FF 03
	PseudowireIP       PseudowireType = 11 // IP packets
)

var pseudowireTypes = map[PseudowireType]string{
	PseudowireVLAN: "vlan", PseudowireEthernet: "ethernet", PseudowireHDLC: "hdlc", PseudowirePPP: "ppp", PseudowireIP: "ip",
}

func (t PseudowireType) String() string {
	if name, ok := pseudowireTypes[t]; ok {
		return name
	}
	return fmt.Sprintf("pseudowire type %d", uint16(t))
}

// A Sublayer is what stands between the cookie and the frame in L2TPv3.
type Sublayer string

const (
	SublayerNone    Sublayer = "none"
	SublayerDefault Sublayer = "default" // four octets, with a sequence number or without (RFC 3931 §4.6)
)

// ParseSublayer reads "none" or "default".
func ParseSublayer(s string) (Sublayer, error) {
	return oneOf(s, SublayerNone, SublayerDefault)
}

// Sequencing is in which directions the frames of L2TPv3 have numbers.
type Sequencing string

const (
	// SequencingNone takes frames as they come, and numbers ours if the peer numbers its
	// own, since it may insist on it.
	SequencingNone Sequencing = "none"
	// SequencingSend numbers our frames.
	SequencingSend Sequencing = "send"
	// SequencingRecv drops frames without a number, and keeps the others in order. Ours
	// have numbers too: Linux stops numbering when a frame without one comes to it.
	SequencingRecv Sequencing = "recv"
	// SequencingBoth is SequencingSend and SequencingRecv.
	SequencingBoth Sequencing = "both"
)

// ParseSequencing reads "none", "send", "recv" or "both".
func ParseSequencing(s string) (Sequencing, error) {
	return oneOf(s, SequencingNone, SequencingSend, SequencingRecv, SequencingBoth)
}

// oneOf reads one of some words.
func oneOf[T ~string](s string, words ...T) (T, error) {
	if slices.Contains(words, T(s)) {
		return T(s), nil
	}
	names := make([]string, len(words))
	for i, w := range words {
		names[i] = string(w)
	}
	last := len(names) - 1
	return "", fmt.Errorf("expected %s or %s, found %q", strings.Join(names[:last], ", "), names[last], s)
}

// ethernet tells whether the session's frames are Ethernet's.
func (s *Session) ethernet() bool {
	return s.kind == PseudowireEthernet || s.kind == PseudowireVLAN
}
