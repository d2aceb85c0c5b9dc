package ppp

import "net/netip"

// An Event is what a [Link] tells its owner: [AuthQuestion], [Authenticated],
// [AddressQuestion], [Up], [NetworkDown], [Notice] or [Down].
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
}

// NetworkDown says that a link that was up is renegotiated, or on its way
// down: datagrams are dropped in both directions until the next [Up], if one
// comes.
type NetworkDown struct{}

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
func (NetworkDown) isEvent()     {}
func (Notice) isEvent()          {}
func (Down) isEvent()            {}

// An Assignment answers an [AddressQuestion].
type Assignment struct {
	Local, Peer netip.Addr   // IPv4: ours and the peer's
	DNS         []netip.Addr // IPv4: the first two are offered
}
