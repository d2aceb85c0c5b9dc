package control

import "github.com/l2tpnet/l2tpnet/endpoint/internal/wire"

// An Event is what a [Tunnel] tells its owner: one of the types below.
type Event interface{ event() }

// TunnelUp tells that the control connection is established.
type TunnelUp struct {
	Version              uint8  // of L2TP: 2 or 3
	PeerID               uint32 // the peer's Assigned Tunnel ID, or Assigned Control Connection ID
	HostName, VendorName string // as the peer sent them
	FirmwareRevision     uint16
	// BearerCapabilities are not 0 when the peer places calls for us.
	BearerCapabilities uint32
	RouterID           uint32   // L2TPv3
	Pseudowires        []uint16 // L2TPv3: the types that the peer takes
	// SingleTunnel: the peer dialled with a Tie Breaker, and so "wishes a single
	// tunnel to exist" between the two ends (RFC 2661 §4.4.3).
	SingleTunnel bool
}

// PeerRestarted tells that the peer has begun anew, under the same Assigned
// Tunnel ID: the datagram, which is the owner's, is its SCCRQ for another
// tunnel, by [Answer]. This one stands until the other is established, and
// [Tunnel.Superseded] ends it.
type PeerRestarted struct{ Datagram []byte }

// TunnelDown tells, once, that the tunnel has ended. Err is nil after our
// Close; else one of this package's errors.
type TunnelDown struct{ Err error }

// Gone tells that the tunnel's state may be freed: nothing that the peer sends
// needs it, and nothing comes from it any more, but the refusal of another Call.
type Gone struct{}

// IncomingCall asks whether to take a call of the peer's; [Tunnel.AcceptCall]
// or [Tunnel.Hangup] answers. The strings are the peer's and may hold anything.
type IncomingCall struct {
	Session, PeerSession                    uint32
	CallSerialNumber                        uint32
	BearerType                              uint32
	PhysicalChannelID                       uint32
	CalledNumber, CallingNumber, SubAddress string
	Pseudowire                              *Pseudowire // L2TPv3: what the peer has told; else nil
}

// OutgoingCallRequest asks, as IncomingCall does, whether to place a call for
// the peer; [Tunnel.AcceptOutgoing] or [Tunnel.Hangup] answers.
type OutgoingCallRequest struct {
	Session, PeerSession uint32
	CallSerialNumber     uint32
	OutgoingCall
}

// SessionUp tells that a session is established: data may flow.
//
// Either end may have begun it, and either may be the LAC:
//
//	came of           the LAC is
//	Call              we
//	AcceptCall        the peer
//	PlaceCall         the peer
//	AcceptOutgoing    we
//
// The role decides who controls sequence numbers (RFC 2661 §5.4). PPP's roles
// follow who has begun, by Call or PlaceCall: the caller is the client, which
// proves who it is, unless the owner has it otherwise.
type SessionUp struct {
	Session, PeerSession uint32
	LAC                  bool // we are the LAC
	Line                      // as the LAC has told it, be it us or the peer
	// Ours and Theirs are the pseudowire of L2TPv3, as each end has told it; else nil.
	Ours, Theirs *Pseudowire
}

// CircuitStatus tells that the peer's circuit has changed (Circuit Status AVP, RFC 3931
// §5.4.5): a mask of wire.Circuit… constants. Without wire.CircuitActive "all data
// traffic for that session MUST cease" towards the peer.
type CircuitStatus struct {
	Session uint32
	Status  uint16
}

// WANError tells what a LAC counts of errors on a session's line (WEN, RFC 2661
// §6.13).
type WANError struct {
	Session uint32
	wire.CallErrors
}

// LinkInfo tells a LAC how the LNS has negotiated asynchronous framing (SLI, RFC
// 2661 §6.14).
type LinkInfo struct {
	Session uint32
	wire.ACCM
}

// SessionDown tells, once, that a session has ended. Err is nil after our
// Hangup or Close; else one of this package's errors.
type SessionDown struct {
	Session uint32
	Err     error
}

func (TunnelUp) event()            {}
func (PeerRestarted) event()       {}
func (TunnelDown) event()          {}
func (Gone) event()                {}
func (IncomingCall) event()        {}
func (OutgoingCallRequest) event() {}
func (SessionUp) event()           {}
func (WANError) event()            {}
func (LinkInfo) event()            {}
func (SessionDown) event()         {}
func (CircuitStatus) event()       {}
