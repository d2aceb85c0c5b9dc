package node

import (
	"fmt"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint"
	"github.com/l2tpnet/l2tpnet/netstack"
)

// An Event is something that has happened to a Client: [Connecting], [Failed],
// [Connected], [Changed] or [Disconnected].
type Event interface{ event() }

// Connecting is the beginning of an attempt.
type Connecting struct {
	Server  string         // as it was configured
	Address netip.AddrPort // of the attempt
}

// Failed is that every server was tried in vain.
type Failed struct {
	Err  error     // [AttemptError], or several of them
	Next time.Time // when they are tried again; zero: never
}

// Connected is that the tunnel is up.
type Connected struct {
	Server    string         // as it was configured
	Peer      netip.AddrPort // where its datagrams come from
	PeerName  string         // its Host Name, as it sent it: it may hold anything
	Addresses []netip.Addr   // ours, inside
	Gateway   netip.Addr     // the peer's, inside; the zero value: not known
	DNS       []netip.Addr
	MTU       int // of inner packets
	Version   int // of L2TP: 2 or 3
	Type      endpoint.PseudowireType
}

// Changed is that router advertisements have changed what Connected told.
type Changed struct{ Connected }

// Disconnected is that the tunnel was lost.
type Disconnected struct {
	Err  error     // why
	Next time.Time // when it is dialled again; zero: never
}

func (Connecting) event()   {}
func (Failed) event()       {}
func (Connected) event()    {}
func (Disconnected) event() {}

// A State is what a Client is doing.
type State string

const (
	StateConnecting State = "connecting"
	StateConnected  State = "connected"
	StateWaiting    State = "waiting" // until the next attempt
	StateClosed     State = "closed"
)

// ClientStatus is what a Client is doing. It holds no secrets.
type ClientStatus struct {
	State State
	Since time.Time // of the State

	Current  Connected         // the connection that stands, else the zero value
	Attempts int               // of dialling an address, since the tunnel was up
	Connects int               // how often the tunnel was up
	Err      error             // why the last connection was lost, or the last attempts failed
	Next     time.Time         // when waiting: until when
	Endpoint endpoint.Status   // of the connection that stands or is attempted, else the zero value
	Counters netstack.Counters // of the connection that stands, else the zero value
}

// A DownError is the error of what needs the tunnel while it is down, or was lost. It
// matches syscall.ENETUNREACH, and what it wraps.
type DownError struct {
	Err  error     // why it is down; nil: it has not been up yet
	Next time.Time // when it is dialled again, if that was known
}

func (e *DownError) Error() string {
	if e.Err == nil {
		return "the tunnel is not up yet"
	}
	return "the tunnel is down: " + e.Err.Error()
}

func (e *DownError) Unwrap() error { return e.Err }

// Is makes a tunnel that is down a network that cannot be reached, for those who ask
// in the system's words.
func (e *DownError) Is(target error) bool { return target == syscall.ENETUNREACH }

// Timeout is false: though the peer may have taken too long, whoever meets this error
// has not waited for it.
func (e *DownError) Timeout() bool { return false }

// An AttemptError is why a server could not be connected to at one address.
type AttemptError struct {
	Server  string         // as it was configured
	Address netip.AddrPort // invalid: the name was not resolved
	Err     error
}

func (e *AttemptError) Error() string {
	if a := e.Address; a.IsValid() && !strings.Contains(e.Server, a.Addr().String()) {
		return fmt.Sprintf("%s (%v): %v", e.Server, a, e.Err)
	}
	return fmt.Sprintf("%s: %v", e.Server, e.Err)
}

func (e *AttemptError) Unwrap() error { return e.Err }

// attemptErrors are those of one round over the servers.
type attemptErrors []*AttemptError

func (l attemptErrors) Error() string {
	words := make([]string, len(l))
	for i, e := range l {
		words[i] = e.Error()
	}
	return strings.Join(words, "; ")
}

func (l attemptErrors) Unwrap() []error {
	all := make([]error, len(l))
	for i, e := range l {
		all[i] = e
	}
	return all
}

// A PatienceError ends an attempt whose address has not established the tunnel in
// time, while others wait for their turn.
type PatienceError struct {
	After time.Duration
	hint  string
}

// Hint is what may be the matter with the server, for people, as
// [endpoint.TimeoutError.Hint]'s; empty: nobody knows.
func (e *PatienceError) Hint() string { return e.hint }

func (e *PatienceError) Error() string { return fmt.Sprintf("no tunnel within %v", e.After) }

// Timeout reports true, as net.Error's does.
func (e *PatienceError) Timeout() bool { return true }

// A SocketError is why the socket of an attempt could not be opened.
type SocketError struct {
	Local string // "host:port"
	Err   error
}

func (e *SocketError) Error() string { return e.Err.Error() }
func (e *SocketError) Unwrap() error { return e.Err }

// A CaptureError is why an attempt could not be captured ([Client.Capture]). The next
// one does without.
type CaptureError struct{ Err error }

func (e *CaptureError) Error() string { return e.Err.Error() }
func (e *CaptureError) Unwrap() error { return e.Err }
