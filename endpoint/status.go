package endpoint

import (
	"cmp"
	"net/netip"
	"slices"
	"time"
)

// Status is what an endpoint is doing. It holds no secrets.
type Status struct {
	Local    netip.AddrPort
	Tunnels  []TunnelStatus // by our id
	HalfOpen int            // tunnels whose peers have not proved yet that they are there
	Counters Counters

	// ReceiveBuffer and SendBuffer are how many bytes the system has granted the
	// socket for datagrams that wait, its own overhead included; 0: it does not
	// tell. 4 MiB of datagrams are asked for. A receive buffer that is shorter than
	// what peers send at once costs datagrams.
	ReceiveBuffer, SendBuffer int
}

// Counters are datagrams that reached no tunnel or session, and why, among all
// that were received.
type Counters struct {
	Received       uint64
	BadDigest      uint64 // L2TPv3: control messages whose Message Digest is wrong or missing
	Malformed      uint64 // the header contradicts itself or the datagram
	UnknownVersion uint64 // neither understood nor answered
	UnknownTunnel  uint64 // no such tunnel id, or a message that opens none
	UnknownSession uint64
	WrongPeer      uint64 // right ids, from an address that is not the tunnel's
	LostTie        uint64 // SCCRQs of a peer that we were dialling, and whose tie breaker lost
	Overrun        uint64 // control messages faster than they can be handled
	SocketErrors   uint64 // of reads and writes

	// Of half-open tunnels.
	SCCRQs     uint64 // that came to an endpoint that answers, repetitions included
	Answered   uint64 // SCCRQs that were answered by an SCCRP
	Refused    uint64 // SCCRQs and SCCCNs that were answered by a StopCCN
	Remembered uint64 // SCCRQs that were only remembered, under load
	Unanswered uint64 // SCCRQs that had come again, but of which there were too many
	Evicted    uint64 // half-open tunnels that have made room for another
	Expired    uint64 // half-open tunnels whose SCCCN did not come in time

	// What a limit has refused: see [Limits].
	RateLimit            uint64 // SCCRQs: Limits.RatePerSource
	SourceLimit          uint64 // SCCRQs: Limits.HalfOpenPerSource
	LengthLimit          uint64 // SCCRQs of more than 2,048 bytes, 263 under load
	CreditLimit          uint64 // replies: Limits.ReplyFactor
	TunnelLimit          uint64 // SCCRQs and SCCCNs: Limits.Tunnels
	SessionLimit         uint64 // calls: Limits.Sessions
	UnauthenticatedLimit uint64 // calls: Limits.UnauthenticatedSessions
	QueueLimit           uint64 // tunnels that were given up: Limits.SendQueue
	StrangersLimit       uint64 // tunnels of strangers that have made room for another: Limits.Tunnels
	NotAccepted          uint64 // sessions that [Endpoint.Accept] did not come to fetch
}

// TunnelStatus is one tunnel's.
type TunnelStatus struct {
	ID, PeerID uint32 // ours; the peer's, 0 while unknown; 0 both if Static
	Peer       netip.AddrPort
	PeerName   string // the peer's Host Name
	Version    int    // of L2TP: 2 or 3
	Static     bool   // no control connection: [Endpoint.Static]
	Dialed     bool   // we opened it
	Up         bool
	Sessions   []SessionStatus // by our id
	Traffic    Traffic         // of all sessions that it has had
	BadDigest  uint64          // L2TPv3: its messages that were dropped, since their digest was wrong or missing
}

// SessionStatus is one session's.
type SessionStatus struct {
	ID, PeerID  uint32 // ours; the peer's, 0 while unknown
	Type        PseudowireType
	State       SessionState
	Dialed      bool   // we opened it
	User        string // the caller's, when we answered
	Addresses   []netip.Prefix
	PeerAddress netip.Addr
	DNS         []netip.Addr
	LinkLocal   netip.Addr // of IPv6; the zero value: no IPv6
	MTU         int        // bytes: see [Session.MTU]
	Encryption  string     // "none", "MPPE 128 bit"; empty where no PPP ends
	Since       time.Time
	Traffic     Traffic
	// Circuit and PeerCircuit are the Circuit Status of either end of a session of L2TPv3
	// that is negotiated, "active" or "inactive", perhaps with faults; else empty.
	Circuit, PeerCircuit string
	RemoteEndID          string // the circuit that such a session is for, as it was asked for: it may hold anything
}

// Traffic counts a session's frames and their bytes: inner IP packets where PPP ends
// here. Dropped ones are not among the others; they are Linux's "errors".
type Traffic struct {
	PacketsIn, BytesIn, DroppedIn    uint64
	PacketsOut, BytesOut, DroppedOut uint64

	// Of L2TPv3; all but the last two are among DroppedIn.
	CookieDiscards   uint64 // the cookie was wrong or missing
	SequenceDiscards uint64 // too late, duplicates, or without the number that they need
	Invalid          uint64 // no frame of the session's type, or none with the sublayer
	OutOfSequence    uint64 // overtaken by others, and put in their place
	CircuitDiscards  uint64 // of DroppedOut: the peer's circuit was inactive
}

func (t *Traffic) add(o Traffic) {
	t.PacketsIn += o.PacketsIn
	t.BytesIn += o.BytesIn
	t.DroppedIn += o.DroppedIn
	t.PacketsOut += o.PacketsOut
	t.BytesOut += o.BytesOut
	t.DroppedOut += o.DroppedOut
	t.CookieDiscards += o.CookieDiscards
	t.SequenceDiscards += o.SequenceDiscards
	t.Invalid += o.Invalid
	t.OutOfSequence += o.OutOfSequence
	t.CircuitDiscards += o.CircuitDiscards
}

// public is what a flow has counted, for others.
func (f *flow) public() Traffic {
	t := Traffic{
		PacketsIn: f.packetsIn.Load(), BytesIn: f.bytesIn.Load(), DroppedIn: f.droppedIn.Load(),
		PacketsOut: f.packetsOut.Load(), BytesOut: f.bytesOut.Load(), DroppedOut: f.droppedOut.Load(),
		CookieDiscards: f.cookieDiscards.Load(), SequenceDiscards: f.unnumbered.Load() + f.late.Load(),
		Invalid: f.invalid.Load(), OutOfSequence: f.outOfSequence.Load(), CircuitDiscards: f.muted.Load(),
	}
	t.DroppedIn += t.CookieDiscards + t.SequenceDiscards + t.Invalid
	return t
}

// Status is the endpoint's, with all its tunnels.
func (e *Endpoint) Status() Status {
	c := &e.counters
	receive, send := e.socks[0].Buffers()
	st := Status{Local: e.Addr(), ReceiveBuffer: receive, SendBuffer: send, Counters: Counters{
		Received: c.received.Load(), BadDigest: c.badDigest.Load(), Malformed: c.malformed.Load(), UnknownVersion: c.unknownVersion.Load(),
		UnknownTunnel: c.unknownTunnel.Load(), UnknownSession: c.unknownSession.Load(), WrongPeer: c.wrongPeer.Load(),
		LostTie: c.lostTie.Load(), Overrun: c.overrun.Load(), SocketErrors: c.socketErrors.Load(),
		SCCRQs: c.sccrqs.Load(), Answered: c.answered.Load(), Refused: c.refused.Load(), Remembered: c.remembered.Load(),
		Unanswered: c.unanswered.Load(), Evicted: c.evicted.Load(), Expired: c.expired.Load(), RateLimit: c.rateLimit.Load(),
		SourceLimit: c.sourceLimit.Load(), LengthLimit: c.lengthLimit.Load(), CreditLimit: c.creditLimit.Load(), TunnelLimit: c.tunnelLimit.Load(),
		SessionLimit: c.sessionLimit.Load(), UnauthenticatedLimit: c.unauthenticatedLimit.Load(), QueueLimit: c.queueLimit.Load(), StrangersLimit: c.strangers.Load(), NotAccepted: c.notAccepted.Load(),
	}}
	if h := e.half; h != nil {
		h.mu.Lock()
		e.expire(time.Since(h.began))
		st.HalfOpen = h.records.len()
		h.mu.Unlock()
	}
	e.mu.Lock()
	tunnels := e.everyTunnel()
	e.mu.Unlock()
	for _, t := range tunnels {
		st.Tunnels = append(st.Tunnels, t.Status())
	}
	slices.SortFunc(st.Tunnels, func(a, b TunnelStatus) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), a.Peer.Compare(b.Peer))
	})
	return st
}

// Status is the tunnel's, with all its sessions.
func (t *Tunnel) Status() TunnelStatus {
	st := TunnelStatus{ID: t.id, Peer: t.Peer(), Version: 2, Static: t.static(), Dialed: t.dialed() && !t.static(), BadDigest: t.badDigest.Load()}
	select {
	case <-t.up:
		st.Up = !t.over()
	default:
	}
	t.mu.Lock()
	st.PeerID, st.PeerName, st.Traffic = t.peerID, t.peerName, t.past
	if t.version != 0 {
		st.Version = int(t.version)
	}
	sessions := *t.sessions.Load()
	t.mu.Unlock()
	for _, s := range sessions {
		st.Sessions = append(st.Sessions, s.Status())
	}
	for i := range st.Sessions {
		st.Traffic.add(st.Sessions[i].Traffic)
	}
	slices.SortFunc(st.Sessions, func(a, b SessionStatus) int { return cmp.Compare(a.ID, b.ID) })
	return st
}

// over reports whether the tunnel has ended.
func (t *Tunnel) over() bool {
	select {
	case <-t.done:
		return true
	default:
		return false
	}
}

// Status is the session's.
func (s *Session) Status() SessionStatus {
	st := SessionStatus{
		ID: s.id, Type: s.kind, Dialed: !s.answer, MTU: s.MTU(), Since: s.created, Traffic: s.flow.public(),
		Addresses: s.Addresses(), PeerAddress: s.PeerAddress(), DNS: s.DNS(), User: s.User(),
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	st.State, st.PeerID = s.state, s.peerID
	if c := s.circuit; c != nil {
		st.Circuit, st.PeerCircuit, st.RemoteEndID = c.status.String(), CircuitStatus(c.peerStatus.Load()).String(), c.cfg.RemoteEndID
	}
	if p := s.ppp; p != nil {
		st.Encryption = s.carries.Load().encryption.String()
		if p.localID != [8]byte{} {
			st.LinkLocal = LinkLocal(p.localID)
		}
	}
	return st
}
