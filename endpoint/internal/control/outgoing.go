package control

import (
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

// An OutgoingCall is what an LNS asks of a LAC: OCRQ (RFC 2661 §6.9). As the
// peer's it may hold anything.
type OutgoingCall struct {
	CalledNumber, SubAddress string
	// MinimumBPS and MaximumBPS bound the speed of the line, in bits per second;
	// a MaximumBPS of zero is 1 Gbit/s.
	MinimumBPS, MaximumBPS uint32
	// BearerType and FramingType are masks: any line of theirs will do. Zero:
	// whatever the peer can.
	BearerType, FramingType uint32
	// Pseudowire and TieBreaker are as in [CallConfig], for L2TPv3, which has nothing of
	// the rest: the Remote End ID says what is wanted.
	Pseudowire *Pseudowire
	TieBreaker bool
}

// PlaceCall asks the peer to place a call, as LNS, and returns our session id
// for it. It waits until the tunnel is established. SessionUp or SessionDown
// tells what became of it, SessionDown also when the peer has not told that it
// places such calls ([CapabilityError]), or when the tunnel has ended or has too
// many sessions.
func (t *Tunnel) PlaceCall(now time.Time, c OutgoingCall) (session uint32) {
	m := &wire.Message{
		Type:         wire.OCRQ,
		MinimumBPS:   c.MinimumBPS,
		MaximumBPS:   c.MaximumBPS,
		BearerType:   c.BearerType,
		FramingType:  c.FramingType,
		CalledNumber: c.CalledNumber,
		SubAddress:   c.SubAddress,
	}
	if m.MaximumBPS == 0 {
		m.MaximumBPS = max(m.MinimumBPS, connectSpeed)
	}
	t.request(m, c.Pseudowire, c.TieBreaker)
	return t.begin(now, outgoingLNS, m, Line{})
}

// able completes an OCRQ by what the peer has told that it can. The error is a
// [CapabilityError].
//
// RFC 2661 §6.9: "An LNS MUST have received a Bearer Capabilities AVP during
// tunnel establishment from an LAC in order to request an outgoing call to that
// LAC." §4.4.4, of both types: "Bits in the Value field of this AVP MUST only be
// set by the LNS for an OCRQ if it was set in the […] Capabilities AVP received
// from the LAC during control connection establishment."
func (t *Tunnel) able(m *wire.Message) error {
	if t.version == 3 {
		return t.ableV3(m)
	}
	if m.Type != wire.OCRQ {
		return nil
	}
	bearers := t.peer.BearerCapabilities & bearersAll
	if bearers == 0 || m.BearerType&^bearers != 0 {
		return &CapabilityError{wire.AVPBearerCapabilities, bearers, m.BearerType}
	}
	framings := t.peerFraming & (wire.FramingSync | wire.FramingAsync)
	if framings == 0 || m.FramingType&^framings != 0 {
		return &CapabilityError{wire.AVPFramingCapabilities, framings, m.FramingType}
	}
	if m.BearerType == 0 {
		m.BearerType = bearers
	}
	if m.FramingType == 0 {
		m.FramingType = framings
	}
	return nil
}

const bearersAll = wire.BearerDigital | wire.BearerAnalog

// bearers are our Bearer Capabilities. There is no line behind the calls that
// we place, so it is of any kind.
//
// RFC 2661 §4.4.3: "This AVP MUST be present if the sender can place outgoing
// calls when requested."
func (t *Tunnel) bearers() uint32 {
	if t.cfg.PlacesCalls {
		return bearersAll
	}
	return 0
}

// AcceptOutgoing takes the call that OutgoingCallRequest has asked about, as
// LAC: OCRP, and OCCN at once, since there is no line to be dialled. If it has
// ended meanwhile, nothing happens.
func (t *Tunnel) AcceptOutgoing(now time.Time, session uint32) {
	s := t.calls.byID[session]
	if s == nil || s.role != outgoingLAC || s.state != ringing {
		return
	}
	connected := s.line.connected(wire.OCCN)
	connected.AssignedSessionID = s.id
	if t.sendMessage(now, s.peer, s.id, s.reply(wire.OCRP)) && t.sendMessage(now, s.peer, s.id, connected) {
		t.setSessionState(now, s, callEstablished)
	}
}

// outgoingLACTable is the table of RFC 2661 §7.5.1: see callTables. Until the
// owner has found OCRQ acceptable, the RFC's idle is ringing here;
// AcceptOutgoing goes through wait-cs-answer in one step, so that no message is
// received in it. The other rows are receiveInIdle's, and Hangup (bearer
// failure, bearer line drop, local close request).
var outgoingLACTable = []callRow{
	// State           Event                      Action              New State
	// -----           -----                      ------              ---------

	// idle            Receive OCRP               Send CDN, Clean up  idle
	{sessionStates{ringing}, messages{wire.OCRP}, (*Tunnel).outOfPlace},

	// idle            Receive OCCN, CDN          Clean up            idle
	{sessionStates{ringing}, messages{wire.OCCN}, (*Tunnel).forget},

	// wait-cs-answer  Receive OCRQ, OCRP, OCCN   Send CDN, Clean up  idle
	{sessionStates{ringing}, messages{wire.OCRQ}, (*Tunnel).outOfPlace},

	// established     Receive OCRQ, OCRP, OCCN   Send CDN, Clean up  idle
	{sessionStates{callEstablished}, messages{wire.OCRQ, wire.OCRP, wire.OCCN}, (*Tunnel).outOfPlace},

	// wait-cs-answer, Receive CDN                Clean up            idle
	// established
	{sessionStates{ringing, callEstablished}, messages{wire.CDN}, (*Tunnel).receiveCDN},
}

// outgoingLNSTable is the table of RFC 2661 §7.5.2. Its other rows are PlaceCall
// (idle, local open request), startCalls (wait-tunnel, tunnel-open),
// receiveInIdle's, and Hangup (local close request).
var outgoingLNSTable = []callRow{
	// State         Event                         Action              New State
	// -----         -----                         ------              ---------

	// wait-reply    Receive OCRP, acceptable      none                wait-connect
	// wait-reply    Receive OCRP, not acceptable  Send CDN, Clean up  idle
	{sessionStates{waitReply}, messages{wire.OCRP}, (*Tunnel).receiveOCRP},

	// wait-reply    Receive OCCN, OCRQ            Send CDN, Clean up  idle
	{sessionStates{waitReply}, messages{wire.OCCN, wire.OCRQ}, (*Tunnel).outOfPlace},

	// wait-connect  Receive OCCN                  none                established
	{sessionStates{waitConnect}, messages{wire.OCCN}, (*Tunnel).receiveConnected},

	// wait-connect  Receive OCRQ, OCRP            Send CDN, Clean up  idle
	{sessionStates{waitConnect}, messages{wire.OCRQ, wire.OCRP}, (*Tunnel).outOfPlace},

	// idle,         Receive CDN                   Clean up            idle
	// wait-reply,
	// wait-connect,
	// established
	{sessionStates{waitReply, waitConnect, callEstablished}, messages{wire.CDN}, (*Tunnel).receiveCDN},

	// established   Receive OCRQ, OCRP, OCCN      Send CDN, Clean up  idle
	{sessionStates{callEstablished}, messages{wire.OCRQ, wire.OCRP, wire.OCCN}, (*Tunnel).outOfPlace},
}

func (t *Tunnel) receiveOCRQ(now time.Time, m *wire.Message) {
	if !t.cfg.PlacesCalls {
		t.refuseCall(now, m, wire.Result{Code: wire.CallNoFacilitiesEver, Text: "no calls are placed here"})
		return
	}
	if t.version == 3 && !t.acceptable(now, m) {
		return
	}
	s := t.ring(now, outgoingLAC, m)
	if s == nil {
		return
	}
	if t.version == 3 {
		s.theirs = pseudowireOf(m)
	}
	s.line.TxConnectSpeed = max(min(connectSpeed, m.MaximumBPS), m.MinimumBPS)
	s.line.FramingType = t.framing(m.FramingType)
	t.Emit(OutgoingCallRequest{s.id, s.peer, m.CallSerialNumber,
		OutgoingCall{m.CalledNumber, m.SubAddress, m.MinimumBPS, m.MaximumBPS, m.BearerType, m.FramingType, s.theirs, false}})
}

func (t *Tunnel) receiveOCRP(now time.Time, s *session, m *wire.Message) {
	if t.learnSession(now, s, m) && t.learnPseudowire(now, s, m) {
		s.line.PhysicalChannelID = m.PhysicalChannelID
		t.setSessionState(now, s, waitConnect)
	}
}
