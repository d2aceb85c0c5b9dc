package wire

import "fmt"

// An AVPType is an attribute type. Those of the IETF (Vendor ID 0) have names.
type AVPType uint16

// RFC 2661 §4.4.

const (
	AVPMessageType               AVPType = 0
	AVPResultCode                AVPType = 1
	AVPProtocolVersion           AVPType = 2
	AVPFramingCapabilities       AVPType = 3
	AVPBearerCapabilities        AVPType = 4
	AVPTieBreaker                AVPType = 5
	AVPFirmwareRevision          AVPType = 6
	AVPHostName                  AVPType = 7
	AVPVendorName                AVPType = 8
	AVPAssignedTunnelID          AVPType = 9
	AVPReceiveWindowSize         AVPType = 10
	AVPChallenge                 AVPType = 11
	AVPQ931Cause                 AVPType = 12
	AVPChallengeResponse         AVPType = 13
	AVPAssignedSessionID         AVPType = 14
	AVPCallSerialNumber          AVPType = 15
	AVPMinimumBPS                AVPType = 16
	AVPMaximumBPS                AVPType = 17
	AVPBearerType                AVPType = 18
	AVPFramingType               AVPType = 19
	AVPCalledNumber              AVPType = 21
	AVPCallingNumber             AVPType = 22
	AVPSubAddress                AVPType = 23
	AVPTxConnectSpeed            AVPType = 24
	AVPPhysicalChannelID         AVPType = 25
	AVPInitialReceivedLCPConfReq AVPType = 26
	AVPLastSentLCPConfReq        AVPType = 27
	AVPLastReceivedLCPConfReq    AVPType = 28
	AVPProxyAuthenType           AVPType = 29
	AVPProxyAuthenName           AVPType = 30
	AVPProxyAuthenChallenge      AVPType = 31
	AVPProxyAuthenID             AVPType = 32
	AVPProxyAuthenResponse       AVPType = 33
	AVPCallErrors                AVPType = 34
	AVPACCM                      AVPType = 35
	AVPRandomVector              AVPType = 36
	AVPPrivateGroupID            AVPType = 37
	AVPRxConnectSpeed            AVPType = 38
	AVPSequencingRequired        AVPType = 39
)

// Later RFCs, named at their rows in the table.
const (
	AVPDisconnectCause           AVPType = 46
	AVPCCDS                      AVPType = 47
	AVPSDS                       AVPType = 48
	AVPLCPWantOptions            AVPType = 49
	AVPLCPAllowOptions           AVPType = 50
	AVPLNSLastSentLCPConfReq     AVPType = 51
	AVPLNSLastReceivedLCPConfReq AVPType = 52
	AVPConnectSpeedUpdate        AVPType = 97
	AVPConnectSpeedUpdateEnable  AVPType = 98
)

// An attribute is a row of the AVP table.
type attribute struct {
	name  string
	bits  attributeBits
	field func(m *Message) value // nil: it serves the parser only
}

type attributeBits uint8

const (
	setM    attributeBits = 1 << iota // it is sent with the M bit
	mayH                              // it may be hidden
	repeats                           // it may stand in a message more than once
)

// attributes is the AVP table of the IETF, by attribute type, with the bits
// that RFC 2661 §4.4 demands. Of AVPs that are younger, RFC 2661 §4.2 has the M
// bit set only where it can be configured off; here it never is.
var attributes = [...]attribute{
	AVPMessageType:               {"Message Type", setM, func(m *Message) value { return (*u16)(&m.Type) }},
	AVPResultCode:                {"Result Code", setM, func(m *Message) value { return &m.Result }},
	AVPProtocolVersion:           {"Protocol Version", setM, func(m *Message) value { return (*u16)(&m.ProtocolVersion) }},
	AVPFramingCapabilities:       {"Framing Capabilities", setM | mayH, func(m *Message) value { return (*u32)(&m.FramingCapabilities) }},
	AVPBearerCapabilities:        {"Bearer Capabilities", setM | mayH, func(m *Message) value { return (*u32)(&m.BearerCapabilities) }},
	AVPTieBreaker:                {"Tie Breaker", 0, func(m *Message) value { return fixed(m.TieBreaker[:]) }},
	AVPFirmwareRevision:          {"Firmware Revision", mayH, func(m *Message) value { return (*u16)(&m.FirmwareRevision) }},
	AVPHostName:                  {"Host Name", setM, func(m *Message) value { return (*text)(&m.HostName) }},
	AVPVendorName:                {"Vendor Name", mayH, func(m *Message) value { return (*text)(&m.VendorName) }},
	AVPAssignedTunnelID:          {"Assigned Tunnel ID", setM | mayH, func(m *Message) value { return (*id)(&m.AssignedTunnelID) }},
	AVPReceiveWindowSize:         {"Receive Window Size", setM, func(m *Message) value { return (*u16)(&m.ReceiveWindowSize) }},
	AVPChallenge:                 {"Challenge", setM | mayH, func(m *Message) value { return (*challenge)(&m.Challenge) }},
	AVPQ931Cause:                 {"Q.931 Cause Code", setM, func(m *Message) value { return &m.Q931Cause }},
	AVPChallengeResponse:         {"Challenge Response", setM | mayH, func(m *Message) value { return fixed(m.ChallengeResponse[:]) }},
	AVPAssignedSessionID:         {"Assigned Session ID", setM | mayH, func(m *Message) value { return (*id)(&m.AssignedSessionID) }},
	AVPCallSerialNumber:          {"Call Serial Number", setM | mayH, func(m *Message) value { return (*u32)(&m.CallSerialNumber) }},
	AVPMinimumBPS:                {"Minimum BPS", setM | mayH, func(m *Message) value { return (*u32)(&m.MinimumBPS) }},
	AVPMaximumBPS:                {"Maximum BPS", setM | mayH, func(m *Message) value { return (*u32)(&m.MaximumBPS) }},
	AVPBearerType:                {"Bearer Type", setM | mayH, func(m *Message) value { return (*u32)(&m.BearerType) }},
	AVPFramingType:               {"Framing Type", setM | mayH, func(m *Message) value { return (*u32)(&m.FramingType) }},
	AVPCalledNumber:              {"Called Number", setM | mayH, func(m *Message) value { return (*text)(&m.CalledNumber) }},
	AVPCallingNumber:             {"Calling Number", setM | mayH, func(m *Message) value { return (*text)(&m.CallingNumber) }},
	AVPSubAddress:                {"Sub-Address", setM | mayH, func(m *Message) value { return (*text)(&m.SubAddress) }},
	AVPTxConnectSpeed:            {"(Tx) Connect Speed", setM | mayH, func(m *Message) value { return (*u32)(&m.TxConnectSpeed) }},
	AVPPhysicalChannelID:         {"Physical Channel ID", mayH, func(m *Message) value { return (*u32)(&m.PhysicalChannelID) }},
	AVPInitialReceivedLCPConfReq: {"Initial Received LCP CONFREQ", mayH, func(m *Message) value { return (*octets)(&m.InitialReceivedLCPConfReq) }},
	AVPLastSentLCPConfReq:        {"Last Sent LCP CONFREQ", mayH, func(m *Message) value { return (*octets)(&m.LastSentLCPConfReq) }},
	AVPLastReceivedLCPConfReq:    {"Last Received LCP CONFREQ", mayH, func(m *Message) value { return (*octets)(&m.LastReceivedLCPConfReq) }},
	AVPProxyAuthenType:           {"Proxy Authen Type", mayH, func(m *Message) value { return (*u16)(&m.ProxyAuthenType) }},
	AVPProxyAuthenName:           {"Proxy Authen Name", mayH, func(m *Message) value { return (*text)(&m.ProxyAuthenName) }},
	AVPProxyAuthenChallenge:      {"Proxy Authen Challenge", mayH, func(m *Message) value { return (*challenge)(&m.ProxyAuthenChallenge) }},
	AVPProxyAuthenID:             {"Proxy Authen ID", mayH, func(m *Message) value { return (*low)(&m.ProxyAuthenID) }},
	AVPProxyAuthenResponse:       {"Proxy Authen Response", mayH, func(m *Message) value { return (*octets)(&m.ProxyAuthenResponse) }},
	AVPCallErrors:                {"Call Errors", setM | mayH, func(m *Message) value { return &m.CallErrors }},
	AVPACCM:                      {"ACCM", setM | mayH, func(m *Message) value { return &m.ACCM }},
	AVPRandomVector:              {"Random Vector", setM | repeats, nil},
	AVPPrivateGroupID:            {"Private Group ID", mayH, func(m *Message) value { return (*octets)(&m.PrivateGroupID) }},
	AVPRxConnectSpeed:            {"Rx Connect Speed", mayH, func(m *Message) value { return (*u32)(&m.RxConnectSpeed) }},
	AVPSequencingRequired:        {"Sequencing Required", setM, func(m *Message) value { return (*flag)(&m.SequencingRequired) }},

	// RFC 3145.
	AVPDisconnectCause: {"PPP Disconnect Cause Code", mayH, func(m *Message) value { return &m.DisconnectCause }},

	// RFC 3308.
	AVPCCDS: {"CCDS", mayH, func(m *Message) value { return (*u16)(&m.CCDS) }},
	AVPSDS:  {"SDS", mayH, func(m *Message) value { return (*u16)(&m.SDS) }},

	// RFC 3437.
	AVPLCPWantOptions:            {"LCP Want Options", mayH, func(m *Message) value { return (*octets)(&m.LCPWantOptions) }},
	AVPLCPAllowOptions:           {"LCP Allow Options", mayH, func(m *Message) value { return (*octets)(&m.LCPAllowOptions) }},
	AVPLNSLastSentLCPConfReq:     {"LNS Last Sent LCP CONFREQ", mayH, func(m *Message) value { return (*octets)(&m.LNSLastSentLCPConfReq) }},
	AVPLNSLastReceivedLCPConfReq: {"LNS Last Received LCP CONFREQ", mayH, func(m *Message) value { return (*octets)(&m.LNSLastReceivedLCPConfReq) }},

	// RFC 5515 §6.
	AVPConnectSpeedUpdate:       {"Connect Speed Update", mayH | repeats, func(m *Message) value { return (*speedUpdates)(&m.ConnectSpeedUpdates) }},
	AVPConnectSpeedUpdateEnable: {"Connect Speed Update Enable", 0, func(m *Message) value { return (*flag)(&m.ConnectSpeedUpdateEnable) }},
}

// rowOf is the row of a table for an attribute type, nil if there is none.
func rowOf(table []attribute, t AVPType) *attribute {
	if int(t) < len(table) && table[t].name != "" {
		return &table[t]
	}
	return nil
}

// String is the name of the IETF's attribute in its RFC, or the number.
func (t AVPType) String() string {
	for _, table := range [...][]attribute{attributes[:], attributesV3[:]} {
		if row := rowOf(table, t); row != nil {
			return row.name
		}
	}
	return fmt.Sprintf("AVP %d", uint16(t))
}
