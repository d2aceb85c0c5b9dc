package wire

import (
	"io"
	"slices"
)

// ProtocolVersion is the value of the Protocol Version AVP for RFC 2661:
// version 1, revision 0.
const ProtocolVersion = 0x0100

// Framing is the value of Framing Capabilities and Framing Type: a mask.
const (
	FramingSync  = 1
	FramingAsync = 2
)

// Bearer is the value of Bearer Capabilities and Bearer Type: a mask.
const (
	BearerDigital = 1
	BearerAnalog  = 2
)

// Values of Proxy Authen Type.
const (
	ProxyAuthenText   = 1 // textual username/password exchange
	ProxyAuthenCHAP   = 2
	ProxyAuthenPAP    = 3
	ProxyAuthenNone   = 4
	ProxyAuthenMSCHAP = 5 // version 1
)

// A Message is a control message (RFC 2661 §6). It has a field for every AVP
// of RFC 2661 §4.4 and of some younger RFCs, by its name there; which of them
// mean something depends on the type, and [Message.Has] tells which are there.
type Message struct {
	Type          MessageType
	MandatoryType bool // the M bit of a received Message Type AVP; what is sent has the one of its RFC

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
	CCDS                uint16 // RFC 3308: the code of the per-hop behaviour that the control connection shall have

	// Call management: ICRQ, ICRP, ICCN, OCRQ, OCRP, OCCN, CDN.
	Q931Cause          Q931Cause
	DisconnectCause    DisconnectCause // RFC 3145: CDN
	AssignedSessionID  uint32          // 16 bits on the wire, not 0
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
	SDS                uint16      // RFC 3308: the code of the per-hop behaviour that the session shall have
	AccessLine         *AccessLine // RFC 5515: ICRQ; nil: nothing was told of it

	// Proxy LCP and authentication: ICCN. The CONFREQs begin at the first
	// option.
	InitialReceivedLCPConfReq []byte
	LastSentLCPConfReq        []byte
	LastReceivedLCPConfReq    []byte
	ProxyAuthenType           uint16
	ProxyAuthenName           string
	ProxyAuthenChallenge      []byte
	ProxyAuthenID             uint16 // 8 bits on the wire
	ProxyAuthenResponse       []byte

	// LCP at the LNS (RFC 3437): ICCN and OCCN, where the LAC says which
	// options it wants and allows; SLI, where the LNS says what became of them.
	LCPWantOptions            []byte
	LCPAllowOptions           []byte
	LNSLastSentLCPConfReq     []byte
	LNSLastReceivedLCPConfReq []byte

	// Call status: WEN, SLI.
	CallErrors CallErrors
	ACCM       ACCM

	// Changes of the speed (RFC 5515): ICRQ; CSUN, CSURQ.
	ConnectSpeedUpdateEnable bool
	ConnectSpeedUpdates      []ConnectSpeedUpdate

	// L2TPv3 (RFC 3931). AssignedTunnelID is its Assigned Control Connection ID there,
	// AssignedSessionID its Local Session ID, both 32 bits wide, and CallSerialNumber its
	// Serial Number.
	V3

	// Skipped are the AVPs of a received message that were passed over, as
	// they were on the wire: see [ParseMessage].
	Skipped []AVP

	has [2]uint64 // a bit for each attribute type of the IETF
}

// Has reports whether the message that was parsed had the AVP of the IETF in
// good order, or [Message.Set] was called for it.
func (m *Message) Has(t AVPType) bool { return t < 128 && m.has[t/64]&(1<<(t%64)) != 0 }

// Set has an optional AVP of the IETF sent although its field is zero.
func (m *Message) Set(t AVPType) { m.has[t/64] |= 1 << (t % 64) }

// Append appends the AVPs of the message, in RFC 2661's order: those that must
// be present always, those that may be present if their fields are not zero or
// [Message.Has] says so. Texts are cut to what an AVP takes, 1,017 octets.
func (m *Message) Append(b []byte) []byte {
	e := encoder{b: b, edition: editionV2}
	e.message(m)
	return e.b
}

// AppendHidden appends the AVPs of the message as [Message.Append] does, but
// hides every value that may be hidden (RFC 2661 §4.3) with the secret of the
// tunnel, which must not be empty. A hidden AVP takes two octets less.
//
// What is read from random is on the wire: a fresh Random Vector, and padding.
// A source that fails is a bug of the caller's.
func (m *Message) AppendHidden(b, secret []byte, random io.Reader) []byte {
	e := encoder{b: b, edition: editionV2, hider: newHider(secret, random)}
	e.message(m)
	return e.b
}

// lists reports whether the AVP may be in the message. In one whose type could
// not be read that is every AVP.
func (ed *edition) lists(m *Message, a AVP) bool {
	switch {
	case !ed.known(m.Type) || ed.needs(m, a):
		return true
	case a.Vendor == vendorBroadbandForum:
		return m.Type.hasAccessLine()
	}
	return slices.Contains(ed.listings[m.Type].may, a.Type)
}

// needs reports whether the AVP must be in the message.
func (ed *edition) needs(m *Message, a AVP) bool {
	return a.Vendor == 0 && (a.Type == AVPMessageType || ed.known(m.Type) && slices.Contains(ed.listings[m.Type].must, a.Type))
}
