package endpoint

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/control"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/ppp"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

// A PeerError is what the peer told us when it refused or ended a tunnel or a
// session (Result Code AVP, RFC 2661 §4.4.2).
type PeerError struct {
	Message    string // "StopCCN": the tunnel; "CDN": the session
	ResultCode uint16
	ErrorCode  uint16
	Text       string // the peer's own words, as they came: they may hold anything
	words      string
}

func (e *PeerError) Error() string { return e.words }

// NotAuthorized tells whether a tunnel was refused because the peer does not
// authorize us: it wants another tunnel secret, or does not know us.
func (e *PeerError) NotAuthorized() bool {
	return e.Message == wire.StopCCN.String() && e.ResultCode == wire.StopNotAuthorized
}

// A RefusedError is our own refusal, of what the peer sent, or to ask it for what it
// has said that it cannot do.
type RefusedError struct {
	Message    string // what we told it: "StopCCN", "CDN" or nothing
	ResultCode uint16
	ErrorCode  uint16
	words      string
}

func (e *RefusedError) Error() string { return e.words }

// An AuthError is an authentication that failed: the tunnel's, by its secret
// (RFC 2661 §5.1.1), or the user's, in PPP.
type AuthError struct {
	Tunnel  bool       // the tunnel secret was wrong or missing on either side
	Method  AuthMethod // the user's: by which it was tried; 0: none that both allow
	User    string
	Ours    bool   // we refused the peer; else it refused us
	Message string // the peer's own words, as they came: they may hold anything
	words   string
}

func (e *AuthError) Error() string { return e.words }

// A TimeoutError is a peer that did not answer.
type TimeoutError struct {
	Silent bool // nothing has ever come from it
	// V3 tells that nothing but L2TPv3 was spoken to it, Fallback that it could have
	// answered in L2TPv2 or L2TPv3, and Secret that it may have been silent since it has
	// another tunnel secret than ours, or none, in L2TPv3.
	V3, Fallback, Secret bool
	words                string
}

func (e *TimeoutError) Error() string { return e.words }

// Hint is what may be the matter with a peer that is silent, for people; empty: nobody
// knows.
//
// RFC 3931 §5.4.1 has messages with a wrong digest dropped, so that other secrets look
// like no answer.
func (e *TimeoutError) Hint() string {
	var may []string
	switch {
	case !e.Silent:
	case e.Secret:
		may = append(may, "the peer may have another tunnel secret, or none: it is silent then in L2TPv3")
	case e.V3 || e.Fallback:
		may = append(may, "the peer may want a tunnel secret: it is silent then in L2TPv3")
	}
	switch {
	case !e.Silent:
	case e.V3:
		may = append(may, "the peer may not speak L2TPv3, and was not offered to fall back to L2TPv2")
	case e.Fallback:
		may = append(may, "there may be no L2TP server at its address and port, or it cannot be reached")
	}
	return strings.Join(may, "; ")
}

// Timeout reports true, as net.Error's does.
func (e *TimeoutError) Timeout() bool { return true }

// A PPPError is a PPP link that the peer terminated or that the two ends could
// not agree upon.
type PPPError struct {
	Reason string // the peer's own words, as they came; may be empty
	words  string
}

func (e *PPPError) Error() string { return e.words }

var (
	// ErrLostTie ends a tunnel that was dialled while its peer dialled us, and won.
	ErrLostTie = control.ErrLostTie
	// ErrEqualTie ends a tunnel that was dialled while its peer dialled us, with the same tie
	// breaker. [Endpoint.Dial] tries again, but not for ever.
	ErrEqualTie = control.ErrEqualTie
	// ErrLostSessionTie ends a session of L2TPv3 for a circuit that its peer was asking for
	// as well.
	ErrLostSessionTie = control.ErrLostSessionTie
	// ErrEqualSessionTie ends a session of L2TPv3 for a circuit that its peer was asking for
	// as well, with the same tie breaker. [Tunnel.Open] tries again, but not for ever.
	ErrEqualSessionTie = control.ErrEqualSessionTie
	// ErrSuperseded ends a tunnel whose peer has restarted and has opened another.
	ErrSuperseded = control.ErrSuperseded
	// ErrEvicted ends a tunnel in which nobody was authenticated, when there are as many
	// as [Limits.Tunnels] says and another one is opened.
	ErrEvicted = control.ErrEvicted
)

// publicError turns the machines' errors into ours. Nil, which is their word for
// "because you closed it", becomes net.ErrClosed.
func publicError(err error) error {
	if err == nil {
		return net.ErrClosed
	}
	words := err.Error()
	// First those that wrap how the link then ended.
	if _, ok := errors.AsType[*ppp.MethodError](err); ok {
		return &AuthError{Ours: true, words: words}
	}
	if _, ok := errors.AsType[*ppp.EncryptionError](err); ok {
		return &PPPError{"", words}
	}
	if _, ok := errors.AsType[*ppp.NetworkError](err); ok {
		return &PPPError{"", words}
	}
	if e, ok := errors.AsType[*control.PeerError](err); ok {
		return &PeerError{e.Message.String(), e.Result.Code, e.Result.Error, e.Result.Text, words}
	}
	if e, ok := errors.AsType[*control.RefusedError](err); ok {
		return &RefusedError{e.Sent.String(), e.Result.Code, e.Result.Error, words}
	}
	if _, ok := errors.AsType[*control.CapabilityError](err); ok {
		return &RefusedError{words: words}
	}
	if e, ok := errors.AsType[*control.PseudowireError](err); ok {
		return &RefusedError{words: fmt.Sprintf("the peer takes no %v, only %s", PseudowireType(e.Type), typeWords(e.Advertised))}
	}
	if e, ok := errors.AsType[*control.TimeoutError](err); ok {
		return &TimeoutError{Silent: !e.Heard && e.Awaited == 0, V3: e.V3, Fallback: e.Fallback, Secret: e.Secret, words: words}
	}
	if e, ok := errors.AsType[control.AuthError](err); ok {
		return &AuthError{Tunnel: true, Ours: e != control.NoSecret, words: words}
	}
	if e, ok := errors.AsType[*ppp.AuthError](err); ok {
		return &AuthError{Method: publicMethod(e.Method), User: e.User, Ours: e.Ours, Message: e.Message, words: words}
	}
	if e, ok := errors.AsType[*ppp.TerminatedError](err); ok {
		return &PPPError{e.Reason, words}
	}
	if _, ok := errors.AsType[*ppp.NegotiationError](err); ok {
		return &PPPError{"", words}
	}
	if _, ok := errors.AsType[*ppp.TimeoutError](err); ok {
		return &TimeoutError{words: words}
	}
	return err
}

// typeWordsMost is how many of the types are named that a peer has told of: it may tell of
// hundreds.
const typeWordsMost = 8

// typeWords are types of pseudowires for people: "Ethernet, PPP".
func typeWords(types []uint16) string {
	var words []string
	for _, t := range types[:min(len(types), typeWordsMost)] {
		words = append(words, PseudowireType(t).String())
	}
	if more := len(types) - len(words); more > 0 {
		words = append(words, fmt.Sprintf("and %d more", more))
	}
	return cmp.Or(strings.Join(words, ", "), "nothing")
}

// cdn is what we tell the peer of a session whose PPP has ended. What it may not
// know, such as why a user was refused, is not in it.
func cdn(err error) wire.Result {
	general := func(text string) wire.Result {
		return wire.Result{Code: wire.CallError, Error: wire.ErrorVendor, Text: text}
	}
	if err == nil {
		return wire.Result{Code: wire.CallAdministrative}
	}
	if _, ok := errors.AsType[*ppp.AuthError](err); ok {
		return general("authentication failed")
	}
	if errors.Is(err, ErrPoolEmpty) {
		return wire.Result{Code: wire.CallNoFacilities, Error: wire.ErrorResources, Text: ErrPoolEmpty.Error()}
	}
	if _, ok := errors.AsType[*ppp.MethodError](err); ok {
		return general("no authentication method in common")
	}
	if _, ok := errors.AsType[*ppp.TimeoutError](err); ok {
		return wire.Result{Code: wire.CallLostCarrier}
	}
	if _, ok := errors.AsType[*ppp.TerminatedError](err); ok {
		return wire.Result{Code: wire.CallLostCarrier}
	}
	return general("PPP could not be negotiated")
}

// reason is an end for the log.
func reason(err error) string {
	if errors.Is(err, net.ErrClosed) {
		return "closed here"
	}
	return err.Error()
}

// shown is a peer's text for the log: as it is when that does no harm, else
// quoted and cut.
func shown(text string) string {
	if q := wire.Quote(text); q != `"`+text+`"` {
		return q
	}
	return text
}

func pppMethods(methods []AuthMethod) (m []ppp.Method) {
	for _, a := range methods {
		m = append(m, ppp.Method(a))
	}
	return m
}

func publicMethod(m ppp.Method) AuthMethod { return AuthMethod(m) }
