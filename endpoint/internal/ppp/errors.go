package ppp

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// An AuthError is the [Down] error of a link whose authentication failed.
type AuthError struct {
	Method  Method
	User    string // the name that was not, or could not be, authenticated
	Ours    bool   // we refused the peer; otherwise it refused us
	Reason  string // in words of ours, for the user or the log
	Message string // the peer's words, as received
}

func (e *AuthError) Error() string {
	s := fmt.Sprintf("%v authentication of user %s failed: %s", e.Method, quote(e.User), e.Reason)
	if e.Message != "" {
		s += " (the peer says " + quote(e.Message) + ")"
	}
	return s
}

// A MethodError is the [Down] error of a client whose server demands an
// authentication method that [Config.Methods] does not allow.
type MethodError struct {
	Demanded string // the method's name as in [Method.String], or its number
	Allowed  []Method
	Err      error // how the link then ended
}

func (e *MethodError) Error() string {
	names := make([]string, len(e.Allowed))
	for i, m := range e.Allowed {
		names[i] = m.String()
	}
	return fmt.Sprintf("the server demands authentication by %s, and only %s is allowed", e.Demanded, strings.Join(names, ", "))
}

func (e *MethodError) Unwrap() error { return e.Err }

// A TerminatedError is the [Down] error of a link that the peer took down.
type TerminatedError struct {
	Reason string // the data of its Terminate-Request, as received
}

func (e *TerminatedError) Error() string {
	if e.Reason == "" {
		return "the peer terminated the link"
	}
	return "the peer terminated the link: " + quote(e.Reason)
}

// A NegotiationError is the [Down] error of a link whose two ends could not
// agree.
type NegotiationError struct {
	Protocol string // "LCP", "IPCP", "IPV6CP", "CCP"
	Reason   string
	Err      error // what the owner answered, or nil
}

func (e *NegotiationError) Error() string {
	s := e.Protocol + ": " + e.Reason
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *NegotiationError) Unwrap() error { return e.Err }

// ErrNoAddress answers an [AddressQuestion] when all addresses are in use. Other than
// the owner's other errors, it is told to the peer.
var ErrNoAddress = errors.New("no address is free")

// A NetworkError is the [Down] error of a link that serves no network protocol
// any longer, of several that were wanted.
type NetworkError struct {
	Errs []error // why not, of each
}

func (e *NetworkError) Error() string {
	s := "no network protocol is left"
	for i, err := range e.Errs {
		s += [...]string{": ", "; "}[min(i, 1)] + err.Error()
	}
	return s
}

func (e *NetworkError) Unwrap() []error { return e.Errs }

// An EncryptionError is the [Down] error of a link whose encryption is required
// and not to be had, or has ended.
type EncryptionError struct{ Err error }

func (e *EncryptionError) Error() string { return "no encryption by MPPE: " + e.Err.Error() }
func (e *EncryptionError) Unwrap() error { return e.Err }

// A TimeoutError is the [Down] error of a link that waited in vain.
type TimeoutError struct {
	Waited string        // for what: an answer to it when Tries is not zero, itself otherwise
	Tries  int           // how often it was sent
	After  time.Duration // how long we waited, when Tries is zero
}

func (e *TimeoutError) Error() string {
	if e.Tries > 0 {
		return fmt.Sprintf("no answer to %s after %d tries", e.Waited, e.Tries)
	}
	return fmt.Sprintf("no %s within %v", e.Waited, e.After)
}

// Timeout reports true, as in net.Error.
func (e *TimeoutError) Timeout() bool { return true }

// quote makes a peer's words fit for a log: quoted, at most 128 octets of them.
func quote(s string) string {
	const most = 128
	if len(s) > most {
		return strconv.Quote(s[:most]) + "…"
	}
	return strconv.Quote(s)
}
