package control

// An Event is what a [Tunnel] tells its owner: one of the types below.
type Event interface{ event() }

// TunnelUp tells that the control connection is established.
type TunnelUp struct {
	PeerID               uint32 // the peer's Assigned Tunnel ID
	HostName, VendorName string // as the peer sent them
	FirmwareRevision     uint16
}

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
	CalledNumber, CallingNumber, SubAddress string
}

// SessionUp tells that a session is established: data may flow.
type SessionUp struct {
	Session, PeerSession uint32
	// SequencingRequired is the LAC's demand that data messages always carry
	// sequence numbers (RFC 2661 §4.4.6).
	SequencingRequired bool
}

// SessionDown tells, once, that a session has ended. Err is nil after our
// Hangup or Close; else one of this package's errors.
type SessionDown struct {
	Session uint32
	Err     error
}

func (TunnelUp) event()     {}
func (TunnelDown) event()   {}
func (Gone) event()         {}
func (IncomingCall) event() {}
func (SessionUp) event()    {}
func (SessionDown) event()  {}
