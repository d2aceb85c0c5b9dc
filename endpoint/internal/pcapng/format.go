package pcapng

import "fmt"

// A LinkType is what a captured packet begins with
// (draft-ietf-opsawg-pcaplinktype).
type LinkType uint16

const (
	LinkNull     LinkType = 0   // BSD loopback: an address family of the host's in four octets
	LinkEthernet LinkType = 1   //
	LinkPPP      LinkType = 9   // with FF 03 or without
	LinkRaw      LinkType = 101 // an IP packet, of whichever version
	LinkLoop     LinkType = 108 // OpenBSD loopback: as LinkNull, in network byte order
	LinkSLL      LinkType = 113 // Linux "cooked", version 1
	LinkIPv4     LinkType = 228
	LinkIPv6     LinkType = 229
	LinkSLL2     LinkType = 276 // Linux "cooked", version 2
)

// A Direction is which way a packet went, as the capturing host sees it. The
// values are those of the epb_flags option.
type Direction uint8

const (
	Unknown Direction = iota
	Inbound
	Outbound
)

// What the captures of an endpoint say of themselves: the section's application, and
// the names of the interfaces with its UDP datagrams, and with the IP packets, the
// Ethernet frames and the PPP frames of its sessions. The last two are there when
// there are such frames.
const (
	Application   = "l2tpnet"
	Outer         = "outer"
	Inner         = "inner"
	InnerEthernet = "inner ethernet"
	InnerPPP      = "inner ppp"
)

// Block types.
const (
	blockSection    = 0x0a0d0d0a
	blockInterface  = 1
	blockObsolete   = 2 // Packet Block
	blockSimple     = 3 // Simple Packet Block
	blockStatistics = 5
	blockPacket     = 6 // Enhanced Packet Block
)

// Options, which mean something else in each block.
const (
	optEnd = 0

	shbUserApplication = 4

	ifName       = 2
	ifResolution = 9
	ifTimeOffset = 14

	epbFlags = 2

	isbEndTime  = 3
	isbReceived = 4
	isbDropped  = 5
)

const (
	byteOrderMagic = 0x1a2b3c4d
	unknownLength  = 1<<64 - 1 // of a section

	blockOverhead = 12 // octets: Type and twice Total Length
)

// A FormatError is a capture that breaks its format.
type FormatError struct {
	Offset int64 // of the block or packet, in octets from the beginning
	Reason string
}

func (e *FormatError) Error() string {
	return fmt.Sprintf("the capture is broken at octet %d: %s", e.Offset, e.Reason)
}
