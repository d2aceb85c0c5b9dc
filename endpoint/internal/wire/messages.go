package wire

import "fmt"

// A MessageType is the value of a Message Type AVP (RFC 2661 §3.2).
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
)

// A listing is what a message is made of: the AVPs that must and that may be
// present, in RFC 2661's order.
type listing struct {
	name      string
	must, may []AVPType
}

// listings are the messages of RFC 2661 §6.1 to §6.14, by their type.
var listings = [...]listing{
	SCCRQ: {"SCCRQ",
		[]AVPType{AVPMessageType, AVPProtocolVersion, AVPHostName, AVPFramingCapabilities, AVPAssignedTunnelID},
		[]AVPType{AVPBearerCapabilities, AVPReceiveWindowSize, AVPChallenge, AVPTieBreaker, AVPFirmwareRevision, AVPVendorName}},
	SCCRP: {"SCCRP",
		[]AVPType{AVPMessageType, AVPProtocolVersion, AVPFramingCapabilities, AVPHostName, AVPAssignedTunnelID},
		[]AVPType{AVPBearerCapabilities, AVPFirmwareRevision, AVPVendorName, AVPReceiveWindowSize, AVPChallenge, AVPChallengeResponse}},
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
		[]AVPType{AVPBearerType, AVPPhysicalChannelID, AVPCallingNumber, AVPCalledNumber, AVPSubAddress}},
	ICRP: {"ICRP",
		[]AVPType{AVPMessageType, AVPAssignedSessionID},
		nil},
	ICCN: {"ICCN",
		[]AVPType{AVPMessageType, AVPTxConnectSpeed, AVPFramingType},
		[]AVPType{AVPInitialReceivedLCPConfReq, AVPLastSentLCPConfReq, AVPLastReceivedLCPConfReq,
			AVPProxyAuthenType, AVPProxyAuthenName, AVPProxyAuthenChallenge, AVPProxyAuthenID, AVPProxyAuthenResponse,
			AVPPrivateGroupID, AVPRxConnectSpeed, AVPSequencingRequired}},
	OCRQ: {"OCRQ",
		[]AVPType{AVPMessageType, AVPAssignedSessionID, AVPCallSerialNumber, AVPMinimumBPS, AVPMaximumBPS, AVPBearerType, AVPFramingType, AVPCalledNumber},
		[]AVPType{AVPSubAddress}},
	OCRP: {"OCRP",
		[]AVPType{AVPMessageType, AVPAssignedSessionID},
		[]AVPType{AVPPhysicalChannelID}},
	OCCN: {"OCCN",
		[]AVPType{AVPMessageType, AVPTxConnectSpeed, AVPFramingType},
		[]AVPType{AVPRxConnectSpeed, AVPSequencingRequired}},
	CDN: {"CDN",
		[]AVPType{AVPMessageType, AVPResultCode, AVPAssignedSessionID},
		[]AVPType{AVPQ931Cause}},
	WEN: {"WEN",
		[]AVPType{AVPMessageType, AVPCallErrors},
		nil},
	SLI: {"SLI",
		[]AVPType{AVPMessageType, AVPACCM},
		nil},
}

// Known reports whether it is a message of RFC 2661.
func (t MessageType) Known() bool { return int(t) < len(listings) && listings[t].name != "" }

// String is the message's short name in RFC 2661, or its number.
func (t MessageType) String() string {
	if t.Known() {
		return listings[t].name
	}
	return fmt.Sprintf("message %d", uint16(t))
}
