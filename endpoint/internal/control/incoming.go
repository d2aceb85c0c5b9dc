package control

import (
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

// A CallConfig is what we, as LAC, tell of a call: of who calls in ICRQ, and of
// the line in ICCN. All of it may be zero.
type CallConfig struct {
	// Pseudowire is what L2TPv3 has instead of all else here. TieBreaker has the request
	// carry a random Session Tie Breaker: for the circuit that the Remote End ID names,
	// there is to be one session, whoever asks for it.
	Pseudowire *Pseudowire
	TieBreaker bool

	BearerType                              uint32 // a mask; 0: there is no physical line
	CalledNumber, CallingNumber, SubAddress string
	Line
}

// Call begins an incoming call, as LAC, and returns our session id for it. It
// waits until the tunnel is established. SessionUp or SessionDown tells what
// became of it, SessionDown also when the tunnel has ended or has too many
// sessions.
func (t *Tunnel) Call(now time.Time, cfg CallConfig) (session uint32) {
	request := &wire.Message{
		Type:              wire.ICRQ,
		BearerType:        cfg.BearerType,
		PhysicalChannelID: cfg.PhysicalChannelID,
		CalledNumber:      cfg.CalledNumber,
		CallingNumber:     cfg.CallingNumber,
		SubAddress:        cfg.SubAddress,
	}
	t.request(request, cfg.Pseudowire, cfg.TieBreaker)
	return t.begin(now, incomingLAC, request, cfg.Line)
}

// AcceptCall takes the call that IncomingCall has asked about. If it has ended
// meanwhile, nothing happens.
func (t *Tunnel) AcceptCall(now time.Time, session uint32) {
	if s := t.calls.byID[session]; s != nil && s.role == incomingLNS && s.state == ringing {
		t.setSessionState(now, s, waitConnect)
		t.sendMessage(now, s.peer, s.id, s.reply(wire.ICRP))
	}
}

// incomingLACTable is the table of RFC 2661 §7.4.1: see callTables. Its other
// rows are Call (idle, bearer ring), startCalls (wait-tunnel, tunnel-open) and
// Hangup (local close request, bearer line drop).
var incomingLACTable = []callRow{
	// State         Event                         Action              New State
	// -----         -----                         ------              ---------

	// wait-reply    Receive ICRP, acceptable      Send ICCN           established
	// wait-reply    Receive ICRP, not acceptable  Send CDN, Clean up  idle
	{sessionStates{waitReply}, messages{wire.ICRP}, (*Tunnel).receiveICRP},

	// wait-reply    Receive ICRQ                  Send CDN, Clean up  idle
	{sessionStates{waitReply}, messages{wire.ICRQ}, (*Tunnel).outOfPlace},

	// wait-reply    Receive CDN, ICCN             Clean up            idle
	{sessionStates{waitReply}, messages{wire.CDN}, (*Tunnel).receiveCDN},
	{sessionStates{waitReply}, messages{wire.ICCN}, (*Tunnel).forget},

	// established   Receive CDN                   Clean up            idle
	{sessionStates{callEstablished}, messages{wire.CDN}, (*Tunnel).receiveCDN},

	// established   Receive ICRQ, ICRP, ICCN      Send CDN, Clean up  idle
	{sessionStates{callEstablished}, messages{wire.ICRQ, wire.ICRP, wire.ICCN}, (*Tunnel).outOfPlace},
}

// incomingLNSTable is the table of RFC 2661 §7.4.2. Until the owner has found
// ICRQ acceptable, the RFC's idle is ringing here. The other rows are
// receiveInIdle's and Hangup (local close request).
var incomingLNSTable = []callRow{
	// State         Event                         Action              New State
	// -----         -----                         ------              ---------

	// idle          Receive ICRP                  Send CDN, Clean up  idle
	{sessionStates{ringing}, messages{wire.ICRP}, (*Tunnel).outOfPlace},

	// idle          Receive ICCN                  Clean up            idle
	{sessionStates{ringing}, messages{wire.ICCN}, (*Tunnel).forget},

	// wait-connect  Receive ICCN, acceptable      Prepare for data    established
	{sessionStates{waitConnect}, messages{wire.ICCN}, (*Tunnel).receiveConnected},

	// wait-connect  Receive ICRQ, ICRP            Send CDN, Clean up  idle
	{sessionStates{waitConnect, ringing}, messages{wire.ICRQ}, (*Tunnel).outOfPlace},
	{sessionStates{waitConnect}, messages{wire.ICRP}, (*Tunnel).outOfPlace},

	// idle,         Receive CDN                   Clean up            idle
	// wait-connect,
	// established
	{sessionStates{ringing, waitConnect, callEstablished}, messages{wire.CDN}, (*Tunnel).receiveCDN},

	// established   Receive ICRQ, ICRP, ICCN      Send CDN, Clean up  idle
	{sessionStates{callEstablished}, messages{wire.ICRQ, wire.ICRP, wire.ICCN}, (*Tunnel).outOfPlace},
}

func (t *Tunnel) receiveICRQ(now time.Time, m *wire.Message) {
	if t.version == 3 && !t.acceptable(now, m) {
		return
	}
	s := t.ring(now, incomingLNS, m)
	if s == nil {
		return
	}
	if t.version == 3 {
		s.theirs = pseudowireOf(m)
	}
	s.line.PhysicalChannelID = m.PhysicalChannelID
	t.Emit(IncomingCall{s.id, s.peer, m.CallSerialNumber, m.BearerType, m.PhysicalChannelID, m.CalledNumber, m.CallingNumber, m.SubAddress, s.theirs})
}

func (t *Tunnel) receiveICRP(now time.Time, s *session, m *wire.Message) {
	if !t.learnSession(now, s, m) || !t.learnPseudowire(now, s, m) {
		return
	}
	if s.line.TxConnectSpeed == 0 {
		s.line.TxConnectSpeed = connectSpeed
	}
	s.line.FramingType = t.framing(s.line.FramingType)
	reply := s.line.connected(wire.ICCN)
	reply.AssignedSessionID = s.id
	if t.sendMessage(now, s.peer, s.id, reply) {
		t.setSessionState(now, s, callEstablished)
	}
}
