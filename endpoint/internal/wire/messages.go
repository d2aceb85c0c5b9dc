package wire

import "fmt"

// A MessageType is the value of a Message Type AVP (RFC 2661 §3.2; the last two
// are of RFC 5515 §4).
type MessageType uint16

const (
	SCCRQ   MessageType = 1
	SCCRP   MessageType = 2
	SCCCN   MessageType = 3
	StopCCN MessageType = 4
	HELLO   MessageType = 6
	OCRQ    MessageType = 7
	OCRP    MessageType = 8
	OCCN    MessageType = 9
	ICRQ    MessageType = 10
	ICRP    MessageType = 11
	ICCN    MessageType = 12
	CDN     MessageType = 14
	WEN     MessageType = 15
	SLI     MessageType = 16
	CSUN    MessageType = 28
	CSURQ   MessageType = 29
)

// A listing is what a message is made of: the AVPs that must and that may be
// present, in RFC 2661's order; then those of later RFCs, by their numbers.
type listing struct {
	name      string
	must, may []AVPType
}

// listings are the messages of RFC 2661 §6.1 to §6.14, and then those of RFC
// 5515, by their type.
var listings = [...]listing{
	SCCRQ: {"SCCRQ",
		[]AVPType{AVPMessageType, AVPProtocolVersion, AVPHostName, AVPFramingCapabilities, AVPAssignedTunnelID},
		[]AVPType{AVPBearerCapabilities, AVPReceiveWindowSize, AVPChallenge, AVPTieBreaker, AVPFirmwareRevision, AVPVendorName, AVPCCDS}},
	SCCRP: {"SCCRP",
		[]AVPType{AVPMessageType, AVPProtocolVersion, AVPFramingCapabilities, AVPHostName, AVPAssignedTunnelID},
		[]AVPType{AVPBearerCapabilities, AVPFirmwareRevision, AVPVendorName, AVPReceiveWindowSize, AVPChallenge, AVPChallengeResponse, AVPCCDS}},
	SCCCN: {"SCCCN",
		[]AVPType{AVPMessageType},
		[]AVPType{AVPChallengeResponse}},
	StopCCN: {"StopCCN",
		[]AVPType{AVPMessageType, AVPAssignedTunnelID, AVPResultCode},
		nil},
	HELLO: {"HELLO",
		[]AVPType{AVPMessageType},
		nil},
	ICRQ: {"ICRQ",
		[]AVPType{AVPMessageType, AVPAssignedSessionID, AVPCallSerialNumber},
		[]AVPType{AVPBearerType, AVPPhysicalChannelID, AVPCallingNumber, AVPCalledNumber, AVPSubAddress,
			AVPSDS, AVPConnectSpeedUpdateEnable}}, // and an AccessLine's
	ICRP: {"ICRP",
		[]AVPType{AVPMessageType, AVPAssignedSessionID},
		[]AVPType{AVPSDS}},
	ICCN: {"ICCN",
		[]AVPType{AVPMessageType, AVPTxConnectSpeed, AVPFramingType},
		[]AVPType{AVPInitialReceivedLCPConfReq, AVPLastSentLCPConfReq, AVPLastReceivedLCPConfReq,
			AVPProxyAuthenType, AVPProxyAuthenName, AVPProxyAuthenChallenge, AVPProxyAuthenID, AVPProxyAuthenResponse,
			AVPPrivateGroupID, AVPRxConnectSpeed, AVPSequencingRequired, AVPLCPWantOptions, AVPLCPAllowOptions}},
	OCRQ: {"OCRQ",
		[]AVPType{AVPMessageType, AVPAssignedSessionID, AVPCallSerialNumber, AVPMinimumBPS, AVPMaximumBPS, AVPBearerType, AVPFramingType, AVPCalledNumber},
		[]AVPType{AVPSubAddress, AVPSDS}},
	OCRP: {"OCRP",
		[]AVPType{AVPMessageType, AVPAssignedSessionID},
		[]AVPType{AVPPhysicalChannelID, AVPSDS}},
	OCCN: {"OCCN",
		[]AVPType{AVPMessageType, AVPTxConnectSpeed, AVPFramingType},
		[]AVPType{AVPRxConnectSpeed, AVPSequencingRequired, AVPLCPWantOptions, AVPLCPAllowOptions}},
	CDN: {"CDN",
		[]AVPType{AVPMessageType, AVPResultCode, AVPAssignedSessionID},
		[]AVPType{AVPQ931Cause, AVPDisconnectCause}},
	WEN: {"WEN",
		[]AVPType{AVPMessageType, AVPCallErrors},
		nil},
	SLI: {"SLI",
		[]AVPType{AVPMessageType, AVPACCM},
		[]AVPType{AVPLNSLastSentLCPConfReq, AVPLNSLastReceivedLCPConfReq}},
	CSUN: {"CSUN",
		[]AVPType{AVPMessageType, AVPConnectSpeedUpdate},
		nil},
	CSURQ: {"CSURQ",
		[]AVPType{AVPMessageType, AVPConnectSpeedUpdate},
		nil},
}

// hasAccessLine reports whether the AVPs of an [AccessLine] may be present.
func (t MessageType) hasAccessLine() bool { return t == ICRQ }

// mayBeIgnored reports whether the message is sent without the M bit in its
// Message Type, so that who does not know it ignores it.
func (t MessageType) mayBeIgnored() bool { return t == CSUN || t == CSURQ }

// Known reports whether it is a message that this package reads and writes.
func (t MessageType) Known() bool { return int(t) < len(listings) && listings[t].name != "" }

// String is the message's short name in its RFC, or its number.
func (t MessageType) String() string {
	if t.Known() {
		return listings[t].name
	}
	if t.KnownV3() {
		return listingsV3[t].name
	}
	return fmt.Sprintf("message %d", uint16(t))
}
