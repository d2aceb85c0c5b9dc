package ppp

import "net/netip"

// An Event is what a [Link] tells its owner: [AuthQuestion], [Authenticated],
// [AddressQuestion], [Up], [Up6], [NetworkDown], [Settled], [PathMTU],
// [Notice] or [Down].
type Event interface{ isEvent() }

// An AuthQuestion asks a server's owner for the credential of a user. The
// answer is [Link.Credential]; until that is given no other question is asked.
type AuthQuestion struct {
	Method Method
	User   string // as the peer sent it: any octets, at most 256
}

// Authenticated says that the authentication succeeded: the peer's to a
// server, ours to a client. It comes again when the link is renegotiated.
type Authenticated struct {
	Method  Method
	User    string
	Message string // the server's words, as a client received them
}

// An AddressQuestion asks a server's owner which addresses an authenticated
// user gets. The answer is [Link.Assign]. It is asked once in a link's life:
// a renegotiation keeps the user and the assignment.
type AddressQuestion struct{ User string }

// Up says that IPv4 datagrams may flow. When the link is renegotiated it comes
// again, after a [NetworkDown], and its values may differ.
type Up struct {
	Local, Peer netip.Addr   // a client's Peer is the zero Addr when the server named none
	DNS         []netip.Addr // what the server gave the client, at most two
	MTU         int          // the most octets that an IPv4 datagram to the peer may have
	Encryption  *Encryption  // nil: datagrams go in the clear
}

// Up6 says that IPv6 datagrams may flow, as [Up] does for IPv4. Each comes without
// the other, and in any order; their Encryption is the same.
type Up6 struct {
	Local, Peer [8]byte // interface identifiers: the link-local addresses are fe80::/64 with them
	MTU         int     // at least 1280
	Encryption  *Encryption
}

// NetworkDown says that a link that was up is renegotiated, or on its way
// down: datagrams of the protocol are dropped in both directions until the next
// [Up] or [Up6], if one comes.
type NetworkDown struct {
	Protocol uint16 // ProtocolIPv4 or ProtocolIPv6
}

// Settled comes once, after the first [Up] or [Up6]: each network protocol that
// we want is up or has failed, so that the session is complete. What the peer has
// not answered in time may come up later nevertheless.
type Settled struct{}

// PathMTU says that packets of more than MTU bytes do not come through, though PPP
// would have allowed them: see [Link.Measure]. It comes again when that changes.
type PathMTU struct{ MTU int }

// Whole is a frame to be sent in one piece, or not at all.
type Whole struct{ Frame []byte }

// A Notice is what the peer says to humans, for the log: an Identification (RFC
// 1570 §1.1) or an EAP Notification (RFC 3748 §5.2). It changes nothing. Only the
// first few of a link's life are told.
type Notice struct {
	Packet string // "LCP Identification", "EAP Notification"
	Text   string // as received: any octets
}

// Down says that the link is finished. It comes once and is the last event. A
// nil Err means that the owner closed it.
type Down struct{ Err error }

func (AuthQuestion) isEvent()    {}
func (Authenticated) isEvent()   {}
func (AddressQuestion) isEvent() {}
func (Up) isEvent()              {}
func (Up6) isEvent()             {}
func (NetworkDown) isEvent()     {}
func (Settled) isEvent()         {}
func (PathMTU) isEvent()         {}
func (Whole) isEvent()           {}
func (Notice) isEvent()          {}
func (Down) isEvent()            {}

// An Assignment answers an [AddressQuestion].
type Assignment struct {
	Local, Peer netip.Addr   // IPv4: ours and the peer's
	DNS         []netip.Addr // IPv4: the first two are offered
}
