package wire

import "io"

// V3 is what a control message of L2TPv3 has that L2TPv2's do not (RFC 3931 §5.4). Of
// cookie, sublayer and sequencing each says what its sender wants to receive.
type V3 struct {
	// Digests are the types of the Message Digests, at most two. What is sent has room
	// for them, which [Sign] fills in.
	Digests []DigestType

	RouterID          uint32
	Pseudowires       []uint16 // Pseudowire Capabilities List: types
	Nonce             []byte   // Control Message Authentication Nonce
	PreferredLanguage string

	RemoteSessionID uint32 // 0: its sender does not know it yet
	AssignedCookie  []byte // 0, 4 or 8 octets
	RemoteEndID     []byte // any octets
	PseudowireType  uint16
	Sublayer        uint16 // a Sublayer… constant
	DataSequencing  uint16 // a Sequencing… constant
	CircuitStatus   uint16 // a mask of Circuit… constants
	TxSpeed         uint64 // bits per second
	RxSpeed         uint64 // bits per second
	InterfaceMTU    uint16 // bytes (RFC 4667)
}

// ACK is the Explicit Acknowledgement of L2TPv3 (RFC 3931 §6.15), which takes no number
// in the sequence.
const ACK MessageType = 20

// Values of L2-Specific Sublayer.
const (
	SublayerNone    = 0
	SublayerDefault = 1
)

// Values of Data Sequencing.
const (
	SequencingNone  = 0
	SequencingNonIP = 1
	SequencingAll   = 2
)

// The bits of Circuit Status (RFC 3931 §5.4.5, RFC 5641 §3.2). RFC 5641 has N sent as 0
// where it is not of use, and ignored.
const (
	CircuitActive     = 0x01
	CircuitNew        = 0x02
	CircuitRxFault    = 0x04 // at the attachment circuit, in its direction to the sender
	CircuitTxFault    = 0x08 // from the sender
	CircuitPSNRxFault = 0x10 // at the pseudowire, in its direction to the sender
	CircuitPSNTxFault = 0x20 // from the sender
	CircuitStandby    = 0x40
)

// listingsV3 are the messages of RFC 3931 §6.1 to §6.15, by their type. Beside what the
// RFC lists may be present what is of use in other places: who sends it there means
// it.
var listingsV3 = [...]listing{
	SCCRQ: {"SCCRQ",
		[]AVPType{AVPMessageType, AVPHostName, AVPRouterID, AVPAssignedConnectionID, AVPPseudowires},
		[]AVPType{AVPMessageDigest, AVPNonce, AVPTieBreaker, AVPVendorName, AVPReceiveWindowSize, AVPPreferredLanguage}},
	SCCRP: {"SCCRP",
		[]AVPType{AVPMessageType, AVPHostName, AVPRouterID, AVPAssignedConnectionID, AVPPseudowires},
		[]AVPType{AVPMessageDigest, AVPNonce, AVPVendorName, AVPReceiveWindowSize, AVPPreferredLanguage}},
	SCCCN: {"SCCCN",
		[]AVPType{AVPMessageType},
		[]AVPType{AVPMessageDigest}},
	StopCCN: {"StopCCN",
		[]AVPType{AVPMessageType, AVPResultCode},
		[]AVPType{AVPMessageDigest, AVPAssignedConnectionID}},
	HELLO: {"HELLO",
		[]AVPType{AVPMessageType},
		[]AVPType{AVPMessageDigest}},
	ICRQ: {"ICRQ",
		[]AVPType{AVPMessageType, AVPLocalSessionID, AVPRemoteSessionID, AVPCallSerialNumber, AVPPseudowireType, AVPRemoteEndID, AVPCircuitStatus},
		[]AVPType{AVPMessageDigest, AVPAssignedCookie, AVPTieBreaker, AVPSublayer, AVPDataSequencing, AVPTxConnectSpeedV3, AVPRxConnectSpeedV3,
			AVPPhysicalChannelID, AVPInterfaceMTU}},
	ICRP: {"ICRP",
		[]AVPType{AVPMessageType, AVPLocalSessionID, AVPRemoteSessionID, AVPCircuitStatus},
		[]AVPType{AVPMessageDigest, AVPAssignedCookie, AVPSublayer, AVPDataSequencing, AVPTxConnectSpeedV3, AVPRxConnectSpeedV3,
			AVPPhysicalChannelID, AVPInterfaceMTU}},
	ICCN: {"ICCN",
		[]AVPType{AVPMessageType, AVPLocalSessionID, AVPRemoteSessionID},
		[]AVPType{AVPMessageDigest, AVPSublayer, AVPDataSequencing, AVPTxConnectSpeedV3, AVPRxConnectSpeedV3, AVPCircuitStatus}},
	OCRQ: {"OCRQ",
		[]AVPType{AVPMessageType, AVPLocalSessionID, AVPRemoteSessionID, AVPCallSerialNumber, AVPPseudowireType, AVPRemoteEndID, AVPCircuitStatus},
		[]AVPType{AVPMessageDigest, AVPAssignedCookie, AVPTxConnectSpeedV3, AVPRxConnectSpeedV3, AVPTieBreaker, AVPSublayer, AVPDataSequencing,
			AVPInterfaceMTU}},
	OCRP: {"OCRP",
		[]AVPType{AVPMessageType, AVPLocalSessionID, AVPRemoteSessionID, AVPCircuitStatus},
		[]AVPType{AVPMessageDigest, AVPAssignedCookie, AVPSublayer, AVPTxConnectSpeedV3, AVPRxConnectSpeedV3, AVPDataSequencing,
			AVPPhysicalChannelID, AVPInterfaceMTU}},
	OCCN: {"OCCN",
		[]AVPType{AVPMessageType, AVPLocalSessionID, AVPRemoteSessionID},
		[]AVPType{AVPMessageDigest, AVPSublayer, AVPTxConnectSpeedV3, AVPRxConnectSpeedV3, AVPDataSequencing, AVPCircuitStatus}},
	CDN: {"CDN",
		[]AVPType{AVPMessageType, AVPResultCode, AVPLocalSessionID, AVPRemoteSessionID},
		[]AVPType{AVPMessageDigest}},
	WEN: {"WEN",
		[]AVPType{AVPMessageType, AVPLocalSessionID, AVPRemoteSessionID, AVPCallErrors},
		[]AVPType{AVPMessageDigest}},
	SLI: {"SLI",
		[]AVPType{AVPMessageType, AVPLocalSessionID, AVPRemoteSessionID},
		[]AVPType{AVPMessageDigest, AVPCircuitStatus}},
	ACK: {"ACK",
		[]AVPType{AVPMessageType},
		[]AVPType{AVPMessageDigest}},
}

// ParseMessageV3 reads the AVPs of a control message of L2TPv3, as [ParseMessage] does
// those of L2TPv2's. Hidden ones are unhidden with key, which [HidingKey] makes of the
// secret. Message Digests are to be verified before ([Verify]).
//
// Reserved bits are ignored (RFC 3931 §5.1). Attributes of RFC 2661 that L2TPv3 does not
// have are passed over, with or without the M bit, as §4.7.3 demands of an SCCRQ; and
// Cisco's (vendor 9) that have become the IETF's are read as these. Messages with such need
// no Router ID, which the draft of theirs does not have.
func ParseMessageV3(avps, key []byte) (*Message, error) { return editionV3.parse(avps, key) }

// KnownV3 reports whether it is a message of L2TPv3 that this package reads and writes.
func (t MessageType) KnownV3() bool { return editionV3.known(t) }

// AppendV3 appends the AVPs of the message as L2TPv3 has them, as [Message.Append] does
// for L2TPv2.
func (m *Message) AppendV3(b []byte) []byte {
	e := encoder{b: b, edition: editionV3}
	e.message(m)
	return e.b
}

// AppendHiddenV3 appends them with every value hidden that may be, as
// [Message.AppendHidden] does. The key is [HidingKey]'s.
func (m *Message) AppendHiddenV3(b, key []byte, random io.Reader) []byte {
	e := encoder{b: b, edition: editionV3, hider: newHider(key, random)}
	e.message(m)
	return e.b
}

// AppendFallback appends the AVPs of an SCCRQ for a peer of either version (RFC 3931
// §4.7.3): all of L2TPv2's, with its AssignedTunnelID, which has 16 bits here, and those
// of L2TPv3 with connection for its Assigned Control Connection ID, "sent with each M
// bit set to 0".
func (m *Message) AppendFallback(b []byte, connection uint32) []byte {
	of3 := func(t AVPType) bool { return rowOf(attributes[:], t) == nil }
	e := encoder{b: b, edition: editionV2, without: of3}
	e.message(m)
	of := *m
	of.AssignedTunnelID = connection
	e.edition = editionV3
	for _, t := range listingsV3[SCCRQ].must {
		if of3(t) {
			e.attribute(&of, AVP{Type: t}, true)
		}
	}
	for _, t := range listingsV3[SCCRQ].may {
		if of3(t) && t != AVPMessageDigest {
			e.attribute(&of, AVP{Type: t}, false)
		}
	}
	return e.b
}
