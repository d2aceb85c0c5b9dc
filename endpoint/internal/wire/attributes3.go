package wire

// RFC 3931 §5.4, and one of RFC 4667.
const (
	AVPMessageDigest        AVPType = 59
	AVPRouterID             AVPType = 60
	AVPAssignedConnectionID AVPType = 61
	AVPPseudowires          AVPType = 62 // Pseudowire Capabilities List
	AVPLocalSessionID       AVPType = 63
	AVPRemoteSessionID      AVPType = 64
	AVPAssignedCookie       AVPType = 65
	AVPRemoteEndID          AVPType = 66
	AVPPseudowireType       AVPType = 68
	AVPSublayer             AVPType = 69
	AVPDataSequencing       AVPType = 70
	AVPCircuitStatus        AVPType = 71
	AVPPreferredLanguage    AVPType = 72
	AVPNonce                AVPType = 73 // Control Message Authentication Nonce
	AVPTxConnectSpeedV3     AVPType = 74
	AVPRxConnectSpeedV3     AVPType = 75
	AVPInterfaceMTU         AVPType = 91 // RFC 4667
)

// attributesV3 is the AVP table of L2TPv3, with the bits of RFC 3931 §5.4: where it says
// of the M bit that it should be 1, it is.
var attributesV3 = [...]attribute{
	AVPMessageType:          attributes[AVPMessageType],
	AVPResultCode:           attributes[AVPResultCode],
	AVPTieBreaker:           {"Tie Breaker", setM, func(m *Message) value { return fixed(m.TieBreaker[:]) }},
	AVPHostName:             attributes[AVPHostName],
	AVPVendorName:           attributes[AVPVendorName],
	AVPReceiveWindowSize:    attributes[AVPReceiveWindowSize],
	AVPCallSerialNumber:     {"Serial Number", mayH, func(m *Message) value { return (*u32)(&m.CallSerialNumber) }},
	AVPPhysicalChannelID:    attributes[AVPPhysicalChannelID],
	AVPCallErrors:           {"Circuit Errors", mayH, func(m *Message) value { return (*circuitErrors)(&m.CallErrors) }},
	AVPRandomVector:         attributes[AVPRandomVector],
	AVPMessageDigest:        {"Message Digest", setM | repeats, func(m *Message) value { return (*digests)(&m.Digests) }},
	AVPRouterID:             {"Router ID", setM, func(m *Message) value { return (*u32)(&m.RouterID) }},
	AVPAssignedConnectionID: {"Assigned Control Connection ID", setM | mayH, func(m *Message) value { return (*id32)(&m.AssignedTunnelID) }},
	AVPPseudowires:          {"Pseudowire Capabilities List", setM | mayH, func(m *Message) value { return (*list16)(&m.Pseudowires) }},
	AVPLocalSessionID:       {"Local Session ID", setM | mayH, func(m *Message) value { return (*id32)(&m.AssignedSessionID) }},
	AVPRemoteSessionID:      {"Remote Session ID", setM | mayH, func(m *Message) value { return (*u32)(&m.RemoteSessionID) }},
	AVPAssignedCookie:       {"Assigned Cookie", setM | mayH, func(m *Message) value { return (*cookie)(&m.AssignedCookie) }},
	AVPRemoteEndID:          {"Remote End ID", setM | mayH, func(m *Message) value { return (*octets)(&m.RemoteEndID) }},
	AVPPseudowireType:       {"Pseudowire Type", setM | mayH, func(m *Message) value { return (*u16)(&m.PseudowireType) }},
	AVPSublayer:             {"L2-Specific Sublayer", setM | mayH, func(m *Message) value { return (*u16)(&m.Sublayer) }},
	AVPDataSequencing:       {"Data Sequencing", setM | mayH, func(m *Message) value { return (*u16)(&m.DataSequencing) }},
	AVPCircuitStatus:        {"Circuit Status", setM | mayH, func(m *Message) value { return (*u16)(&m.CircuitStatus) }},
	AVPPreferredLanguage:    {"Preferred Language", mayH, func(m *Message) value { return (*text)(&m.PreferredLanguage) }},
	AVPNonce:                {"Control Message Authentication Nonce", setM, func(m *Message) value { return (*challenge)(&m.Nonce) }},
	AVPTxConnectSpeedV3:     {"Tx Connect Speed", mayH, func(m *Message) value { return (*u64)(&m.TxSpeed) }},
	AVPRxConnectSpeedV3:     {"Rx Connect Speed", mayH, func(m *Message) value { return (*u64)(&m.RxSpeed) }},
	AVPInterfaceMTU:         {"Interface MTU", mayH, func(m *Message) value { return (*u16)(&m.InterfaceMTU) }},
}

// vendorCisco has, from before RFC 3931, attributes of its own that mean what ones of the
// IETF's do.
const vendorCisco = 9

var attributesCisco = map[AVPType]AVPType{
	1: AVPAssignedConnectionID, 2: AVPPseudowires, 3: AVPLocalSessionID, 4: AVPRemoteSessionID, 5: AVPAssignedCookie,
	6: AVPRemoteEndID, 7: AVPPseudowireType, 8: AVPCircuitStatus, 9: AVPTieBreaker, 12: AVPMessageDigest, 13: AVPNonce, 14: AVPInterfaceMTU,
	10: ciscoDraftVersion,
}

// ciscoDraftVersion is an attribute of the IETF's that means nothing in L2TPv3, as
// Cisco's number of its draft does.
const ciscoDraftVersion = AVPProtocolVersion
