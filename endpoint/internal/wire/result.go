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
	CallLostTie            = 13 // from here on of L2TPv3
	CallPseudowireType     = 14
	CallSequencing         = 15 // without a sublayer that has numbers
	CallFSM                = 16 // or a time-out
	CallMTU                = 23

	callTDM = 30 // with error codes of its own
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
	8:                 "mismatching CCDS value", // RFC 3308
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

	// Registered later, by the RFC that is named; from 13 on with L2TPv3.
	12:                 "mismatching SDS value",                                             // RFC 3308
	CallLostTie:        "session lost to a tie breaker",                                     // RFC 3931
	CallPseudowireType: "unsupported pseudowire type",                                       // RFC 3931
	CallSequencing:     "sequencing required without a valid L2-Specific Sublayer",          // RFC 3931
	CallFSM:            "finite state machine error or timeout",                             // RFC 3931
	17:                 "frame relay PVC deleted permanently",                               // RFC 4591
	18:                 "frame relay PVC inactive for an extended time",                     // RFC 4591
	19:                 "mismatching frame relay header length",                             // RFC 4591
	20:                 "HDLC link deleted permanently",                                     // RFC 4349
	21:                 "HDLC link inactive for an extended time",                           // RFC 4349
	22:                 "OAM cell emulation not supported by the other end",                 // RFC 4454
	CallMTU:            "mismatching interface MTU",                                         // RFC 4667
	24:                 "forwarder does not exist",                                          // RFC 4667
	25:                 "not authorized to connect to the forwarder",                        // RFC 4667
	26:                 "loop detected",                                                     // draft-ietf-l2tpext-tunnel-switching
	27:                 "attachment circuit bound to a different PE",                        // RFC 6074
	28:                 "attachment circuit bound to a different remote attachment circuit", // RFC 6074
	callTDM:            "refused because of the parameters of the TDM pseudowire",           // RFC 5611
	31:                 "sequencing not supported",                                          // RFC 6073
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

	// Registered later, by RFC 3931 and draft-ietf-l2tpext-tunnel-switching.
	9:  "try another of the listed addresses",
	10: "next hop unreachable",
	11: "next hop busy",
	12: "tunnel switching aggregator busy",
}

// tdmErrors are the error codes that go with the result callTDM (RFC 5611).
var tdmErrors = [...]string{
	1: "bit rates disagree",
	2: "different trunk types",
	3: "payload size too big or too small",
	4: "RTP header cannot be generated",
	5: "timestamp clock frequency cannot be generated",
}

// Words is the result for people, as the message m, a StopCCN or a CDN, means
// it: result 2: general error; error 4: insufficient resources; "no free
// session". Every code that IANA has registered has words. What the peer has
// written is quoted by [Quote].
func (r Result) Words(m MessageType) string {
	results, errors := callResults[:], generalErrors[:]
	switch {
	case m == StopCCN:
		results = stopResults[:]
	case r.Code == callTDM:
		errors = tdmErrors[:]
	}
	s := code("result", r.Code, results)
	switch {
	case m == StopCCN && r.Code == StopVersion && r.hasError():
		s += "; highest version supported: " + strconv.Itoa(int(r.Error))
	case r.Error != ErrorNone:
		s += "; " + code("error", r.Error, errors)
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

func (r *Result) append(b []byte, room int) []byte {
	b = binary.BigEndian.AppendUint16(b, r.Code)
	if r.hasError() {
		b = binary.BigEndian.AppendUint16(b, r.Error)
		b = append(b, cut(r.Text, room-4)...)
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
