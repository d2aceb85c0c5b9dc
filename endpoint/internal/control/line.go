package control

import "github.com/l2tpnet/l2tpnet/endpoint/internal/wire"

// A Line is what a LAC tells of the line behind a call: AVPs of ICRQ and ICCN,
// OCRP and OCCN (RFC 2661 §4.4.4 to §4.4.6). What the peer has told may hold
// anything.
type Line struct {
	PhysicalChannelID uint32 // vendor specific, for logs
	// TxConnectSpeed is in bits per second, from the LAC to the remote system.
	// Zero of a Call's: 1 Gbit/s, since there is no line.
	TxConnectSpeed uint32
	// RxConnectSpeed is the speed of the other direction; zero: not told, the
	// same. There are LNSs that refuse a call with it.
	RxConnectSpeed uint32
	// FramingType of a Call's is what the peer has said that it can do.
	FramingType uint32
	// SequencingRequired is the LAC's demand that data messages always carry
	// sequence numbers.
	SequencingRequired bool
	PrivateGroupID     []byte // of an incoming call: the customer group that it belongs to
	Proxy              *Proxy // of an incoming call; nil: nothing was told
}

// A Proxy is what a LAC has negotiated with the remote system in the LNS's place
// before it called (RFC 2661 §4.4.5), field by field as in [wire.Message]. What
// was not told is empty.
type Proxy struct {
	InitialReceivedLCPConfReq []byte // CONFREQs begin at the first option
	LastSentLCPConfReq        []byte
	LastReceivedLCPConfReq    []byte
	ProxyAuthenType           uint16 // wire.ProxyAuthenText, …; 0: not told
	ProxyAuthenName           string
	ProxyAuthenChallenge      []byte
	ProxyAuthenID             uint16 // 8 bits on the wire
	ProxyAuthenResponse       []byte
}

// valueMax is how many octets of a value fit into any AVP, hidden ones too.
const valueMax = 1015

// connectSpeed is the (Tx) Connect Speed that we tell, in bits per second. There
// is no line whose speed it could be.
const connectSpeed = 1_000_000_000

// connected makes ICCN or OCCN of the line.
func (l *Line) connected(m wire.MessageType) *wire.Message {
	reply := &wire.Message{
		Type:               m,
		TxConnectSpeed:     l.TxConnectSpeed,
		RxConnectSpeed:     l.RxConnectSpeed,
		FramingType:        l.FramingType,
		SequencingRequired: l.SequencingRequired,
	}
	if m == wire.ICCN {
		if len(l.PrivateGroupID) <= valueMax {
			reply.PrivateGroupID = l.PrivateGroupID
		}
		l.Proxy.put(reply)
	}
	return reply
}

// learn takes what ICCN or OCCN tells of the line.
func (l *Line) learn(m *wire.Message) {
	l.TxConnectSpeed, l.RxConnectSpeed = m.TxConnectSpeed, m.RxConnectSpeed
	l.FramingType = m.FramingType
	l.SequencingRequired = m.SequencingRequired
	l.PrivateGroupID = m.PrivateGroupID
	l.Proxy = proxyOf(m)
}

// proxyAVPs are those that make a [Proxy].
var proxyAVPs = []wire.AVPType{
	wire.AVPInitialReceivedLCPConfReq, wire.AVPLastSentLCPConfReq, wire.AVPLastReceivedLCPConfReq,
	wire.AVPProxyAuthenType, wire.AVPProxyAuthenName, wire.AVPProxyAuthenChallenge,
	wire.AVPProxyAuthenID, wire.AVPProxyAuthenResponse,
}

// proxyOf is the Proxy that an ICCN has, or nil.
func proxyOf(m *wire.Message) *Proxy {
	for _, t := range proxyAVPs {
		if m.Has(t) {
			return &Proxy{
				m.InitialReceivedLCPConfReq, m.LastSentLCPConfReq, m.LastReceivedLCPConfReq,
				m.ProxyAuthenType, m.ProxyAuthenName, m.ProxyAuthenChallenge, m.ProxyAuthenID, m.ProxyAuthenResponse,
			}
		}
	}
	return nil
}

// put puts the AVPs into an ICCN. If one of them does not fit none is told, and
// the LNS negotiates itself: half of them would have it believe what was not so.
func (p *Proxy) put(m *wire.Message) {
	if p == nil || max(len(p.InitialReceivedLCPConfReq), len(p.LastSentLCPConfReq), len(p.LastReceivedLCPConfReq),
		len(p.ProxyAuthenName), len(p.ProxyAuthenChallenge), len(p.ProxyAuthenResponse)) > valueMax {
		return
	}
	m.InitialReceivedLCPConfReq = p.InitialReceivedLCPConfReq
	m.LastSentLCPConfReq = p.LastSentLCPConfReq
	m.LastReceivedLCPConfReq = p.LastReceivedLCPConfReq
	m.ProxyAuthenType = p.ProxyAuthenType
	m.ProxyAuthenName = p.ProxyAuthenName
	m.ProxyAuthenChallenge = p.ProxyAuthenChallenge
	m.ProxyAuthenID = p.ProxyAuthenID
	m.ProxyAuthenResponse = p.ProxyAuthenResponse
	// RFC 2661 §4.4.5 has these present, and 0 and empty are values of theirs.
	switch p.ProxyAuthenType {
	case wire.ProxyAuthenCHAP, wire.ProxyAuthenPAP, wire.ProxyAuthenMSCHAP:
		m.Set(wire.AVPProxyAuthenID)
		fallthrough
	case wire.ProxyAuthenText:
		m.Set(wire.AVPProxyAuthenName)
		m.Set(wire.AVPProxyAuthenResponse)
	}
}

// framing is the Framing Type of a call: of what is wanted, what the peer can
// do; 0: anything.
//
// RFC 2661 §4.4.3: "A peer MUST NOT request an incoming or outgoing call with a
// Framing Type AVP specifying a value not advertised in the Framing Capabilities
// AVP it received".
func (t *Tunnel) framing(wanted uint32) uint32 {
	const all = wire.FramingSync | wire.FramingAsync
	able := t.peerFraming & all
	if able == 0 { // it has told nothing
		able = wire.FramingSync
	}
	if wanted &= able; wanted == 0 {
		wanted = able
	}
	if wanted == all {
		return wire.FramingSync
	}
	return wanted
}
