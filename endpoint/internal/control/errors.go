package control

import (
	"errors"
	"fmt"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

// ErrTooManySessions refuses a Call beyond [Config.MaxSessions].
var ErrTooManySessions = errors.New("the tunnel has as many sessions as it may have")

// ErrTunnelClosed refuses a Call on a tunnel that has ended.
var ErrTunnelClosed = errors.New("the tunnel is closed")

// ErrLostTie ends a tunnel after [Tunnel.LoseTie].
var ErrLostTie = errors.New("the peer was dialling us as well, and its tunnel goes first")

// ErrEqualTie ends a tunnel after [Tunnel.DrawTie].
var ErrEqualTie = errors.New("the peer was dialling us as well, with the same tie breaker, so that neither tunnel goes first")

// ErrSuperseded ends a tunnel after [Tunnel.Superseded].
var ErrSuperseded = errors.New("the peer has begun anew with another tunnel")

// ErrEvicted ends a tunnel after [Tunnel.Evict].
var ErrEvicted = errors.New("nobody was authenticated in it, and another one needed the room")

// A PeerError is the peer's refusal or ending of a tunnel or session: what its
// StopCCN or CDN says.
type PeerError struct {
	Message wire.MessageType // StopCCN or CDN
	Refused bool             // it was not established yet
	Result  wire.Result
	// Q931Cause is why a call ended for the telephone network, and
	// DisconnectCause for PPP at the peer (RFC 3145); zero: it did not say.
	Q931Cause       wire.Q931Cause
	DisconnectCause wire.DisconnectCause
}

func (e *PeerError) Error() string {
	verb, what := "ended", "call"
	if e.Refused {
		verb = "refused"
	}
	if e.Message == wire.StopCCN {
		what = "tunnel"
	}
	s := fmt.Sprintf("the peer %s the %s: %s", verb, what, e.Result.Words(e.Message))
	if e.Q931Cause != (wire.Q931Cause{}) {
		s += "; " + q931Words(e.Q931Cause)
	}
	if e.DisconnectCause != (wire.DisconnectCause{}) {
		s += "; " + e.DisconnectCause.Words()
	}
	return s
}

// A RefusedError is our refusal of something that the peer has sent, and what
// we have told it.
type RefusedError struct {
	Refused wire.MessageType // the peer's message
	Sent    wire.MessageType // StopCCN or CDN
	Result  wire.Result      // of what was sent; its Text is the reason in words
}

func (e *RefusedError) Error() string {
	what := "call"
	if e.Sent == wire.StopCCN {
		what = "tunnel"
	}
	return fmt.Sprintf("we ended the %s because of the peer's %v: %s", what, e.Refused, e.Result.Text)
}

// A TimeoutError tells that the peer did not answer in time.
type TimeoutError struct {
	Sent    wire.MessageType // what it should have acknowledged or answered; 0: it should have begun
	Awaited wire.MessageType // the answer, if only that did not come; else 0
	Heard   bool             // the peer had been heard before
	After   time.Duration
	// V3 tells that nothing but L2TPv3 was spoken, Fallback that the peer could have
	// answered in either version, and Secret that of L2TPv3 nothing is heard from a peer with
	// another secret, or without one.
	V3, Fallback, Secret bool
}

func (e *TimeoutError) Error() string {
	switch {
	case e.Sent == 0:
		return fmt.Sprintf("no %v within %v", e.Awaited, e.After)
	case e.Awaited != 0:
		return fmt.Sprintf("the peer did not answer %v: no %v within %v", e.Sent, e.Awaited, e.After)
	case e.Heard:
		return fmt.Sprintf("the peer stopped answering: no acknowledgement of %v within %v", e.Sent, e.After)
	}
	return fmt.Sprintf("no answer to %v within %v", e.Sent, e.After)
}

// Timeout reports true, as net.Error would have it.
func (e *TimeoutError) Timeout() bool { return true }

// An AuthError tells why tunnel authentication (RFC 2661 §5.1.1) failed.
type AuthError uint8

const (
	// SecretsDiffer: the peer's response to our challenge is wrong.
	SecretsDiffer AuthError = iota + 1
	// NoResponse: the peer did not respond to our challenge.
	NoResponse
	// NoSecret: the peer challenges us, and we have no secret.
	NoSecret
	// Reflected: the peer challenges us with a challenge of ours.
	Reflected
)

func (e AuthError) Error() string {
	switch e {
	case SecretsDiffer:
		return "tunnel authentication failed: the peer has another tunnel secret"
	case NoResponse:
		return "tunnel authentication failed: the peer does not respond to our challenge, so it seems to have no tunnel secret"
	case Reflected:
		return "tunnel authentication failed: the peer would have us answer a challenge of our own"
	case NoSecret:
		return "tunnel authentication failed: the peer asks for a tunnel secret, and none is configured"
	}
	panic(fmt.Sprintf("BUG: control: AuthError %d", uint8(e)))
}

// A CapabilityError tells that an outgoing call was not asked for, since the
// peer has not told that it can place it.
type CapabilityError struct {
	Attribute  wire.AVPType // Bearer Capabilities or Framing Capabilities
	Advertised uint32       // by the peer: a mask; 0: it places no calls at all
	Needed     uint32
}

func (e *CapabilityError) Error() string {
	if e.Advertised == 0 {
		return fmt.Sprintf("the peer places no calls: it has told no %v", e.Attribute)
	}
	return fmt.Sprintf("the peer cannot place this call: its %v are %#x, it needs %#x", e.Attribute, e.Advertised, e.Needed)
}

// An OverrunError tells that the tunnel was given up because the peer asks for
// more than it acknowledges.
type OverrunError struct{ Waiting int }

func (e *OverrunError) Error() string {
	return fmt.Sprintf("the peer asks faster than it acknowledges: %d control messages wait for it", e.Waiting)
}
