package control

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

// expecting is a script in a state where a message of this type is the one to
// come, the message, and the session in its header.
func expecting(t *testing.T, message wire.MessageType) (s *script, m *wire.Message, session uint32) {
	switch message {
	case wire.SCCRQ:
		return inState(t, idle), sccrq(), 0
	case wire.SCCRP:
		return inState(t, waitCtlReply), sccrp(), 0
	case wire.SCCCN:
		return inState(t, waitCtlConn), &wire.Message{Type: wire.SCCCN}, 0
	case wire.StopCCN:
		return inCallState(t, callEstablished, false), stopccn(wire.Result{Code: 1}), 0
	case wire.HELLO:
		return inCallState(t, callEstablished, false), &wire.Message{Type: wire.HELLO}, 0
	case wire.ICRQ:
		return inCallState(t, callEstablished, false), icrq(10), 0
	case wire.ICRP:
		return inCallState(t, waitReply, true), icrp(9), 1
	case wire.ICCN:
		return inCallState(t, waitConnect, false), iccn(), 1
	case wire.OCRQ:
		return inOutgoingState(t, callEstablished, true), ocrq(10), 0
	case wire.OCRP:
		return inOutgoingState(t, waitReply, false), ocrp(9), 1
	case wire.OCCN:
		return inOutgoingState(t, waitConnect, false), occn(), 1
	case wire.CDN:
		return inCallState(t, callEstablished, false), cdn(9, wire.Result{Code: 1}), 1
	case wire.WEN:
		return inCallState(t, callEstablished, false), &wire.Message{Type: wire.WEN}, 1
	case wire.SLI:
		return inCallState(t, callEstablished, true), &wire.Message{Type: wire.SLI}, 1
	}
	t.Fatalf("nobody expects %v", message)
	return nil, nil, 0
}

// ofRFC2661 are the messages of RFC 2661 §3.2.
var ofRFC2661 = []wire.MessageType{
	wire.SCCRQ, wire.SCCRP, wire.SCCCN, wire.StopCCN, wire.HELLO,
	wire.OCRQ, wire.OCRP, wire.OCCN, wire.ICRQ, wire.ICRP, wire.ICCN, wire.CDN, wire.WEN, wire.SLI,
}

// RFC 2661 §4.1: "If the M bit is set on an unrecognized AVP within a message
// associated with a particular session, the session associated with this message
// MUST be terminated. If the M bit is set on an unrecognized AVP within a message
// associated with the overall tunnel, the entire tunnel (and all sessions within)
// MUST be terminated. If the M bit is not set, an unrecognized AVP MUST be
// ignored." §7.1: "if a malformed AVP is received with the M-bit set, the session
// or tunnel should be terminated with a proper Result or Error Code sent. If the
// M-bit is not set, the AVP should be ignored […] and the message accepted."
//
// Every message, both scopes.
func TestUnknownAndMalformedAVPs(t *testing.T) {
	const noError = 0
	for name, tc := range map[string]struct {
		avp []byte // behind the others
		err uint16 // the general error code that it causes
	}{
		"none":                         {nil, noError},
		"unknown":                      {[]byte{0, 8, 0, 0, 0, 99, 1, 2}, noError},
		"unknown, M":                   {[]byte{0x80, 8, 0, 0, 0, 99, 1, 2}, wire.ErrorUnknownAVP},
		"of a vendor":                  {[]byte{0, 8, 0, 9, 0, 1, 1, 2}, noError},
		"of a vendor, M":               {[]byte{0x80, 8, 0, 9, 0, 1, 1, 2}, wire.ErrorUnknownAVP},
		"with reserved bits":           {[]byte{0x04, 8, 0, 0, 0, 10, 0, 4}, noError},
		"with reserved bits, M":        {[]byte{0x84, 8, 0, 0, 0, 10, 0, 4}, wire.ErrorUnknownAVP},
		"known, of another message, M": {[]byte{0x80, 8, 0, 0, 0, 36, 1, 2}, noError}, // Random Vector, in all
		"hidden, no vector, not known": {[]byte{0xc0, 8, 0, 0, 0, 99, 1, 2}, wire.ErrorUnknownAVP},
		"length 5":                     {[]byte{0, 5, 0, 0, 0}, wire.ErrorLength},
		"past the end":                 {[]byte{0, 9, 0, 0, 0, 99, 1, 2}, wire.ErrorLength},
		"three octets":                 {[]byte{0, 6, 0}, wire.ErrorLength},
	} {
		for _, message := range ofRFC2661 {
			t.Run(fmt.Sprintf("%v/%s", message, name), func(t *testing.T) {
				s, m, session := expecting(t, message)
				s.lines = nil
				s.ns++
				s.peerAt(s.ns-1, s.nr, session, append(m.Append(nil), tc.avp...))
				did := strings.Join(s.lines, "\n")
				sent := fmt.Sprintf(" result=2/%d", tc.err)
				ofCall := message > wire.HELLO
				switch {
				case tc.err == noError || message == wire.CDN || message == wire.StopCCN: // those can hardly mean anything else
					if strings.Contains(did, "result=") || strings.Contains(did, "we ended") {
						t.Errorf("did\n%s\nexpected the message to be accepted", did)
					}
				case ofCall:
					if !strings.Contains(did, "CDN") || !strings.Contains(did, sent) || strings.Contains(did, "StopCCN") {
						t.Errorf("did\n%s\nexpected CDN with%s", did, sent)
					}
				default:
					if !strings.Contains(did, "StopCCN") || !strings.Contains(did, sent) || !strings.Contains(did, "TunnelDown we ended the tunnel") {
						t.Errorf("did\n%s\nexpected StopCCN with%s", did, sent)
					}
				}
				if ofCall {
					s.wantState(established)
				}
			})
		}
	}
}

// RFC 2661 §7.1: malformed is "a message that is missing a required AVP". What has
// to be there is missing one AVP after the other, from every message; then each of
// them is malformed.
func TestRequiredAVPs(t *testing.T) {
	for _, message := range ofRFC2661 {
		if message == wire.CDN || message == wire.StopCCN {
			continue // they end what they are for, as in TestUnknownAVPInCallMessage
		}
		_, whole, _ := expecting(t, message)
		var avps []wire.AVP
		for d := wire.NewAVPs(whole.Append(nil)); d.Next(); {
			avps = append(avps, d.AVP())
		}
		for i := 1; i < len(avps); i++ {
			if parsed, err := wire.ParseMessage(without(avps, i, false), nil); err == nil && parsed.Type == message {
				continue // it was not required
			}
			for _, malformed := range []bool{false, true} {
				if malformed && avps[i].Type == wire.AVPHostName || malformed && avps[i].Type == wire.AVPCalledNumber {
					continue // a text is never malformed
				}
				t.Run(fmt.Sprintf("%v/%v malformed=%v", message, avps[i].Type, malformed), func(t *testing.T) {
					s, _, session := expecting(t, message)
					s.lines = nil
					s.ns++
					s.peerAt(s.ns-1, s.nr, session, without(avps, i, malformed))
					did := strings.Join(s.lines, "\n")
					switch {
					case message > wire.HELLO && session == 0 && avps[i].Type == wire.AVPAssignedSessionID:
						if did != "" || s.m.Counters().IgnoredMessage != 1 { // nobody could find the CDN's session
							t.Errorf("did %s", did)
						}
					case message == wire.SCCRQ && avps[i].Type == wire.AVPAssignedTunnelID:
						if strings.Contains(did, "StopCCN") || !strings.Contains(did, "TunnelDown") {
							t.Errorf("did %s", did)
						}
					case message > wire.HELLO:
						if !strings.Contains(did, "CDN") || !strings.Contains(s.last.Result.Text, avps[i].Type.String()) {
							t.Errorf("did\n%s\nand said %q, expected CDN that names %v", did, s.last.Result.Text, avps[i].Type)
						}
						s.wantState(established)
					default:
						if !strings.Contains(did, "StopCCN") || !strings.Contains(s.last.Result.Text, avps[i].Type.String()) {
							t.Errorf("did\n%s\nand said %q, expected StopCCN that names %v", did, s.last.Result.Text, avps[i].Type)
						}
					}
				})
			}
		}
	}
}

// without is a message's AVPs, of which one is not there, or has no value.
func without(avps []wire.AVP, i int, malformed bool) (b []byte) {
	for j, a := range avps {
		if j == i && malformed {
			a.Value = nil
		}
		if j != i || malformed {
			flags := byte(0)
			if a.Mandatory {
				flags = 0x80
			}
			b = append(b, flags, byte(6+len(a.Value)), 0, 0, byte(a.Type>>8), byte(a.Type))
			b = append(b, a.Value...)
		}
	}
	return b
}

// Ours and theirs are in words: the result, the general error, and the message.
func TestWordsOfResults(t *testing.T) {
	s := inCallState(t, callEstablished, false)
	s.peer(1, cdn(9, wire.Result{Code: 2, HasError: true, Error: 4, Text: "no channels\x00"}))
	s.want(`100ms SessionDown 1 the peer ended the call: result 2: general error; error 4: insufficient resources; "no channels\x00"`)

	s = newScript(t, Dial, Config{})
	s.peer(0, stopccn(wire.Result{Code: 5, HasError: true, Error: 0x0100}))
	s.want("0s SCCRQ ns=0 nr=0 tunnel=0", "0s ZLB ns=1 nr=1",
		"0s TunnelDown the peer refused the tunnel: result 5: protocol version not supported; highest version supported: 256")

	s = inCallState(t, callEstablished, false)
	s.do(func(now time.Time) { s.m.Hangup(now, 1, wire.Result{Code: 2, Error: 6, Text: "ours"}) })
	if got := s.last.Result.Words(wire.CDN); got != `result 2: general error; error 6: vendor-specific error; "ours"` {
		t.Errorf("we said %s", got)
	}
}
