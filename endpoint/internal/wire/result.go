package wire

import (
	"encoding/binary"
	"fmt"
	"strconv"
)

// A Result is the value of a Result Code AVP (RFC 2661 §4.4.2), which says in
// a StopCCN or CDN why it was sent.
type Result struct {
	Code     uint16 // a Stop… constant in a StopCCN, a Call… constant in a CDN
	Error    uint16 // an Error… constant; in a StopCCN with [StopVersion], the highest version supported
	HasError bool   // Error was present, even if 0
	Text     string // the Error Message, UTF-8; needs an Error on the wire
}

// Result codes of a StopCCN.
const (
	StopClear         = 1 // general request to clear the control connection
	StopError         = 2 // general error, see the error code
	StopExists        = 3
	StopNotAuthorized = 4
	StopVersion       = 5
	StopShutdown      = 6
	StopFSM           = 7
)

// Result codes of a CDN.
const (
	CallLostCarrier        = 1
	CallError              = 2 // see the error code
	CallAdministrative     = 3
	CallNoFacilities       = 4 // temporarily
	CallNoFacilitiesEver   = 5
	CallInvalidDestination = 6
	CallNoCarrier          = 7
	CallBusy               = 8
	CallNoDialTone         = 9
	CallTimeout            = 10
	CallNoFraming          = 11
)

// General error codes.
const (
	ErrorNone                = 0
	ErrorNoControlConnection = 1
	ErrorLength              = 2
	ErrorValue               = 3
	ErrorResources           = 4
	ErrorSessionID           = 5
	ErrorVendor              = 6 // generic: the text says what
	ErrorTryAnother          = 7
	ErrorUnknownAVP          = 8 // with the M bit
)

var stopResults = [...]string{
	StopClear:         "control connection cleared on request",
	StopError:         "general error",
	StopExists:        "control channel already exists",
	StopNotAuthorized: "not authorized to establish a control channel",
	StopVersion:       "protocol version not supported",
	StopShutdown:      "shutting down",
	StopFSM:           "finite state machine error",
}

var callResults = [...]string{
	CallLostCarrier:        "loss of carrier",
	CallError:              "general error",
	CallAdministrative:     "disconnected for administrative reasons",
	CallNoFacilities:       "facilities temporarily not available",
	CallNoFacilitiesEver:   "facilities permanently not available",
	CallInvalidDestination: "invalid destination",
	CallNoCarrier:          "no carrier detected",
	CallBusy:               "busy signal detected",
	CallNoDialTone:         "no dial tone",
	CallTimeout:            "call not established in time",
	CallNoFraming:          "no appropriate framing detected",
}

var generalErrors = [...]string{
	ErrorNone:                "no general error",
	ErrorNoControlConnection: "no control connection exists yet",
	ErrorLength:              "length is wrong",
	ErrorValue:               "field value out of range or reserved field not zero",
	ErrorResources:           "insufficient resources",
	ErrorSessionID:           "invalid Session ID",
	ErrorVendor:              "vendor-specific error",
	ErrorTryAnother:          "try another LNS",
	ErrorUnknownAVP:          "unknown AVP with the M bit set",
}

// Words is the result for people, as the message m, a StopCCN or a CDN, means
// it: result 2: general error; error 4: insufficient resources; "no free
// session". What the peer has written is quoted by [Quote].
func (r Result) Words(m MessageType) string {
	results := callResults[:]
	if m == StopCCN {
		results = stopResults[:]
	}
	s := code("result", r.Code, results)
	switch {
	case m == StopCCN && r.Code == StopVersion && r.hasError():
		s += "; highest version supported: " + strconv.Itoa(int(r.Error))
	case r.Error != ErrorNone:
		s += "; " + code("error", r.Error, generalErrors[:])
	}
	if r.Text != "" {
		s += "; " + Quote(r.Text)
	}
	return s
}

// code is a number and, if it has one, its text.
func code(what string, n uint16, texts []string) string {
	if int(n) < len(texts) && texts[n] != "" {
		return fmt.Sprintf("%s %d: %s", what, n, texts[n])
	}
	return fmt.Sprintf("%s %d", what, n)
}

func (r *Result) hasError() bool { return r.HasError || r.Error != 0 || r.Text != "" }

func (r *Result) isZero() bool { return *r == Result{} }

func (r *Result) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, r.Code)
	if r.hasError() {
		b = binary.BigEndian.AppendUint16(b, r.Error)
		b = append(b, cut(r.Text, maxValue-4)...)
	}
	return b
}

func (r *Result) decode(b []byte) (uint16, string) {
	if len(b) < 2 || len(b) == 3 {
		return wrongLength(b, "2, or 4 and more")
	}
	*r = Result{Code: binary.BigEndian.Uint16(b)}
	if len(b) >= 4 {
		r.HasError, r.Error, r.Text = true, binary.BigEndian.Uint16(b[2:]), string(b[4:])
	}
	return 0, ""
}
