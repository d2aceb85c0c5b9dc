package wire

import "encoding/binary"

// An AccessLine is what a LAC tells in an ICRQ of the line on which the call
// came, as a DSLAM or the like has told it (RFC 5515 §5). Downstream is towards
// the subscriber; rates are in bits per second, delays in milliseconds. What is
// zero was not told, and is not sent.
type AccessLine struct {
	AgentCircuitID string
	AgentRemoteID  string

	ActualDataRateUpstream             uint64
	ActualDataRateDownstream           uint64
	MinimumDataRateUpstream            uint64
	MinimumDataRateDownstream          uint64
	AttainableDataRateUpstream         uint64
	AttainableDataRateDownstream       uint64
	MaximumDataRateUpstream            uint64
	MaximumDataRateDownstream          uint64
	MinimumDataRateUpstreamLowPower    uint64
	MinimumDataRateDownstreamLowPower  uint64
	MaximumInterleavingDelayUpstream   uint32
	ActualInterleavingDelayUpstream    uint32
	MaximumInterleavingDelayDownstream uint32
	ActualInterleavingDelayDownstream  uint32

	AccessLoopEncapsulation [3]byte // data link, encapsulation 1, encapsulation 2
	AccessLineType          uint32  // 1 ADSL1, 2 ADSL2, 3 ADSL2+, 4 VDSL1, 5 VDSL2, 6 SDSL
	IWFSession              uint32  // 1: PPPoA that was made PPPoE on its way
}

// line is the message's AccessLine, made if it has none.
func (m *Message) line() *AccessLine {
	if m.AccessLine == nil {
		m.AccessLine = new(AccessLine)
	}
	return m.AccessLine
}

// lineAttributes is the AVP table of the Broadband Forum, by attribute type.
var lineAttributes = [...]attribute{
	1:   {"Agent-Circuit-Id", mayH, func(m *Message) value { return (*text)(&m.line().AgentCircuitID) }},
	2:   {"Agent-Remote-Id", mayH, func(m *Message) value { return (*text)(&m.line().AgentRemoteID) }},
	129: {"Actual-Data-Rate-Upstream", mayH, func(m *Message) value { return (*u64)(&m.line().ActualDataRateUpstream) }},
	130: {"Actual-Data-Rate-Downstream", mayH, func(m *Message) value { return (*u64)(&m.line().ActualDataRateDownstream) }},
	131: {"Minimum-Data-Rate-Upstream", mayH, func(m *Message) value { return (*u64)(&m.line().MinimumDataRateUpstream) }},
	132: {"Minimum-Data-Rate-Downstream", mayH, func(m *Message) value { return (*u64)(&m.line().MinimumDataRateDownstream) }},
	133: {"Attainable-Data-Rate-Upstream", mayH, func(m *Message) value { return (*u64)(&m.line().AttainableDataRateUpstream) }},
	134: {"Attainable-Data-Rate-Downstream", mayH, func(m *Message) value { return (*u64)(&m.line().AttainableDataRateDownstream) }},
	135: {"Maximum-Data-Rate-Upstream", mayH, func(m *Message) value { return (*u64)(&m.line().MaximumDataRateUpstream) }},
	136: {"Maximum-Data-Rate-Downstream", mayH, func(m *Message) value { return (*u64)(&m.line().MaximumDataRateDownstream) }},
	137: {"Minimum-Data-Rate-Upstream-Low-Power", mayH, func(m *Message) value { return (*u64)(&m.line().MinimumDataRateUpstreamLowPower) }},
	138: {"Minimum-Data-Rate-Downstream-Low-Power", mayH, func(m *Message) value { return (*u64)(&m.line().MinimumDataRateDownstreamLowPower) }},
	139: {"Maximum-Interleaving-Delay-Upstream", mayH, func(m *Message) value { return (*u32)(&m.line().MaximumInterleavingDelayUpstream) }},
	140: {"Actual-Interleaving-Delay-Upstream", mayH, func(m *Message) value { return (*u32)(&m.line().ActualInterleavingDelayUpstream) }},
	141: {"Maximum-Interleaving-Delay-Downstream", mayH, func(m *Message) value { return (*u32)(&m.line().MaximumInterleavingDelayDownstream) }},
	142: {"Actual-Interleaving-Delay-Downstream", mayH, func(m *Message) value { return (*u32)(&m.line().ActualInterleavingDelayDownstream) }},
	144: {"Access-Loop-Encapsulation", mayH, func(m *Message) value { return fixed(m.line().AccessLoopEncapsulation[:]) }},
	145: {"ANCP Access Line Type", mayH, func(m *Message) value { return (*u32)(&m.line().AccessLineType) }},
	254: {"IWF-Session", mayH, func(m *Message) value { return (*u32)(&m.line().IWFSession) }},
}

// A ConnectSpeedUpdate is the value of a Connect Speed Update AVP (RFC 5515
// §6.1): the speeds, in bits per second as the LAC sees them, that a session
// has in a CSUN; in a CSURQ, which asks for them, they mean nothing.
type ConnectSpeedUpdate struct {
	RemoteSessionID uint32 // what the receiver has assigned; 16 bits on the wire
	TxConnectSpeed  uint32
	RxConnectSpeed  uint32
}

func (u *ConnectSpeedUpdate) append(b []byte, _ int) []byte {
	b = append(b, 0, 0) // reserved
	b = binary.BigEndian.AppendUint16(b, id16(u.RemoteSessionID))
	b = binary.BigEndian.AppendUint32(b, u.TxConnectSpeed)
	return binary.BigEndian.AppendUint32(b, u.RxConnectSpeed)
}
func (u *ConnectSpeedUpdate) decode(b []byte) (uint16, string) {
	if len(b) != 12 {
		return wrongLength(b, "12")
	}
	u.RemoteSessionID = uint32(binary.BigEndian.Uint16(b[2:]))
	u.TxConnectSpeed, u.RxConnectSpeed = binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[8:])
	return 0, ""
}

// speedUpdates are the values of all Connect Speed Update AVPs of a message.
type speedUpdates []ConnectSpeedUpdate

func (v *speedUpdates) isZero() bool { return len(*v) == 0 }
func (v *speedUpdates) decode(b []byte) (uint16, string) {
	var u ConnectSpeedUpdate
	code, reason := u.decode(b)
	if code == 0 {
		*v = append(*v, u)
	}
	return code, reason
}
func (v *speedUpdates) each() []single {
	var all []single
	for i := range *v {
		all = append(all, &(*v)[i])
	}
	return all
}
