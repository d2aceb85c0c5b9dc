package wire

import "slices"

// ProtocolVersion is the value of the Protocol Version AVP for RFC 2661:
// version 1, revision 0.
const ProtocolVersion = 0x0100

// Framing is the value of Framing Capabilities and Framing Type: a mask.
const (
	FramingSync  = 1
	FramingAsync = 2
)

// A Message is a control message (RFC 2661 §6). It has a field for every AVP
// of RFC 2661 §4.4, by its name there; which of them mean something depends on
// the type, and [Message.Has] tells which are there.
type Message struct {
	Type          MessageType
	MandatoryType bool // the M bit of a received Message Type AVP; it is always sent

	Result Result // StopCCN, CDN

	// Control connection management: SCCRQ, SCCRP, SCCCN, StopCCN.
	ProtocolVersion     uint16
	FramingCapabilities uint32
	BearerCapabilities  uint32
	TieBreaker          [8]byte
	FirmwareRevision    uint16
	HostName            string
	VendorName          string
	AssignedTunnelID    uint32 // 16 bits on the wire, not 0
	ReceiveWindowSize   uint16 // messages
	Challenge           []byte
	ChallengeResponse   [16]byte

	// Call management: ICRQ, ICRP, ICCN, OCRQ, OCRP, OCCN, CDN.
	Q931Cause          Q931Cause
	AssignedSessionID  uint32 // 16 bits on the wire, not 0
	CallSerialNumber   uint32
	MinimumBPS         uint32
	MaximumBPS         uint32
	BearerType         uint32
	FramingType        uint32
	CalledNumber       string
	CallingNumber      string
	SubAddress         string
	TxConnectSpeed     uint32 // bits per second
	RxConnectSpeed     uint32 // bits per second
	PhysicalChannelID  uint32
	PrivateGroupID     []byte
	SequencingRequired bool

	// Proxy LCP and authentication: ICCN. The CONFREQs begin at the first
	// option.
	InitialReceivedLCPConfReq []byte
	LastSentLCPConfReq        []byte
	LastReceivedLCPConfReq    []byte
	ProxyAuthenType           uint16
	ProxyAuthenName           string
	ProxyAuthenChallenge      []byte
	ProxyAuthenID             uint16
	ProxyAuthenResponse       []byte

	// Call status: WEN, SLI.
	CallErrors CallErrors
	ACCM       ACCM

	// Skipped are the AVPs of a received message that were passed over, as
	// they were on the wire: see [ParseMessage].
	Skipped []AVP

	has uint64 // a bit for each attribute type
}

// Has reports whether the message that was parsed had the AVP in good order,
// or [Message.Set] was called for it.
func (m *Message) Has(t AVPType) bool { return m.has&(1<<t) != 0 }

// Set has an optional AVP sent although its field is zero.
func (m *Message) Set(t AVPType) { m.has |= 1 << t }

// Append appends the AVPs of the message, in RFC 2661's order: those that must
// be present always, those that may be present if their fields are not zero or
// [Message.Has] says so. Texts are cut to what an AVP takes, 1,017 octets.
func (m *Message) Append(b []byte) []byte {
	if !m.Type.Known() {
		panic("BUG: wire: the AVPs of " + m.Type.String() + " are not known")
	}
	for _, t := range listings[m.Type].must {
		b = appendAVP(b, t, attributes[t].bits&setM != 0, attributes[t].field(m))
	}
	for _, t := range listings[m.Type].may {
		if v := attributes[t].field(m); m.Has(t) || !v.isZero() {
			b = appendAVP(b, t, attributes[t].bits&setM != 0, v)
		}
	}
	return b
}

// lists reports whether the AVP may be in the message. In one whose type could
// not be read that is every AVP.
func (m *Message) lists(t AVPType) bool {
	return m.needs(t) || !m.Type.Known() || slices.Contains(listings[m.Type].may, t)
}

// needs reports whether the AVP must be in the message.
func (m *Message) needs(t AVPType) bool {
	return t == AVPMessageType || m.Type.Known() && slices.Contains(listings[m.Type].must, t)
}
