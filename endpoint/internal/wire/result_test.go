package wire

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestResultInWords(t *testing.T) {
	for _, row := range []struct {
		message MessageType
		result  Result
		want    string
	}{
		{StopCCN, Result{Code: 1}, "result 1: control connection cleared on request"},
		{StopCCN, Result{Code: 4}, "result 4: not authorized to establish a control channel"},
		{CDN, Result{Code: 4}, "result 4: facilities temporarily not available"},
		{CDN, Result{Code: 3, HasError: true}, "result 3: disconnected for administrative reasons"},
		{CDN, Result{Code: 2, HasError: true, Error: 4, Text: "no free session"},
			`result 2: general error; error 4: insufficient resources; "no free session"`},
		{StopCCN, Result{Code: 2, HasError: true, Error: 8, Text: "AVP 99"},
			`result 2: general error; error 8: unknown AVP with the M bit set; "AVP 99"`},
		{StopCCN, Result{Code: 1, HasError: true, Text: "Server closing"},
			`result 1: control connection cleared on request; "Server closing"`},
		// "The protocol version of the requester is not supported. Error Code
		// indicates highest version supported" (RFC 2661 §4.4.2)
		{StopCCN, Result{Code: 5, HasError: true, Error: 1}, "result 5: protocol version not supported; highest version supported: 1"},
		{StopCCN, Result{Code: 5}, "result 5: protocol version not supported"},
		{CDN, Result{Code: 5, HasError: true, Error: 1}, "result 5: facilities permanently not available; error 1: no control connection exists yet"},
		{CDN, Result{Code: 0}, "result 0"},
		{StopCCN, Result{Code: 8}, "result 8: mismatching CCDS value"},
		{StopCCN, Result{Code: 9}, "result 9"},
		{CDN, Result{Code: 12}, "result 12: mismatching SDS value"},
		{CDN, Result{Code: 16}, "result 16: finite state machine error or timeout"},
		{CDN, Result{Code: 29}, "result 29"},
		{CDN, Result{Code: 31}, "result 31: sequencing not supported"},
		{CDN, Result{Code: 32}, "result 32"},
		{CDN, Result{Code: 2, Error: 9, Text: "192.0.2.1, 192.0.2.2"}, `result 2: general error; error 9: try another of the listed addresses; "192.0.2.1, 192.0.2.2"`},
		// "TDM PW Specific error codes, to be used with 30 result code for the
		// CDN message" (IANA, RFC 5611).
		{CDN, Result{Code: 30, Error: 4}, "result 30: refused because of the parameters of the TDM pseudowire; error 4: RTP header cannot be generated"},
		{CDN, Result{Code: 30, Error: 8}, "result 30: refused because of the parameters of the TDM pseudowire; error 8"},
		{CDN, Result{Code: 8}, "result 8: busy signal detected"},
		{CDN, Result{Code: 65535, HasError: true, Error: 65535}, "result 65535; error 65535"},
		{CDN, Result{Code: 2, HasError: true, Error: 6, Text: "a\r\n\x1b[2Jb\xff\u202e"},
			`result 2: general error; error 6: vendor-specific error; "a\r\n\x1b[2Jb\xff\u202e"`},
	} {
		if got := row.result.Words(row.message); got != row.want {
			t.Errorf("%v %+v:\n got %s\nwant %s", row.message, row.result, got, row.want)
		}
	}
}

// IANA's registry of L2TP parameters has these codes, and no others.
func TestRegisteredResults(t *testing.T) {
	for _, row := range []struct {
		message MessageType
		last    uint16
		gaps    []uint16 // and 0, which is reserved
	}{{StopCCN, 8, nil}, {CDN, 31, []uint16{29}}} {
		for n := range row.last + 2 {
			want := n != 0 && n <= row.last && !slices.Contains(row.gaps, n)
			if got := strings.Contains((Result{Code: n}).Words(row.message), ": "); got != want {
				t.Errorf("%v: result %d has words: %v", row.message, n, got)
			}
		}
	}
	for n := range uint16(14) {
		want := n > 0 && n <= 12
		if got := strings.Contains((Result{Code: 99, Error: n}).Words(CDN), "error "+fmt.Sprint(n)+": "); got != want {
			t.Errorf("error %d has words: %v", n, got)
		}
	}
}

// RFC 3145 §3.
func TestDisconnectCauseInWords(t *testing.T) {
	for _, row := range []struct {
		cause DisconnectCause
		want  string
	}{
		{DisconnectCause{}, "PPP cause 0: no information available"},
		{DisconnectCause{Code: 3, Protocol: 0xc021, Direction: 1, Message: "User request"},
			`PPP cause 3: normal disconnection, LCP Terminate-Request sent; by the peer; PPP protocol 0xc021; "User request"`},
		{DisconnectCause{Code: 3, Direction: 2}, "PPP cause 3: normal disconnection, LCP Terminate-Request sent; by the local system"},
		{DisconnectCause{Code: 4, Direction: 1}, "PPP cause 4: compulsory encryption refused; required by the local system"},
		{DisconnectCause{Code: 8, Direction: 1}, "PPP cause 8: LCP: Echo-Request timeout"}, // it has no valid Direction
		{DisconnectCause{Code: 16, Direction: 1}, "PPP cause 16: authentication failed, bad name, password or secret; of the peer"},
		{DisconnectCause{Code: 16, Direction: 3}, "PPP cause 16: authentication failed, bad name, password or secret"},
		{DisconnectCause{Code: 20, Protocol: 0x8021, Direction: 2}, "PPP cause 20: NCP: no address may be used; the local system does not accept the peer's; PPP protocol 0x8021"},
		{DisconnectCause{Code: 21, Message: "a\x1b[2Jb"}, `PPP cause 21; "a\x1b[2Jb"`},
		{DisconnectCause{Code: 65535, Protocol: 0x29, Direction: 255}, "PPP cause 65535; PPP protocol 0x0029"},
	} {
		if got := row.cause.Words(); got != row.want {
			t.Errorf("%+v:\n got %s\nwant %s", row.cause, got, row.want)
		}
	}
}

func TestQuote(t *testing.T) {
	x := strings.Repeat("x", 200)
	for _, row := range []struct{ text, want string }{
		{"", `""`},
		{"lns.example", `"lns.example"`},
		{"Zürich ☎", `"Zürich ☎"`},
		{"one\nline\x00 \x7f\u0085", `"one\nline\x00 \x7f\u0085"`},
		{`say "no"`, `"say \"no\""`},
		{x[:128], `"` + x[:128] + `"`},
		{x[:129], `"` + x[:128] + `"…`},
		{x[:127] + "ü", `"` + x[:127] + `"…`}, // not in the middle of a character
		{x[:125] + "☎☎", `"` + x[:125] + `☎"…`},
		{strings.Repeat("\x80", 129), `"` + strings.Repeat(`\x80`, 125) + `"…`}, // nor for ever back in what is none
	} {
		if got := Quote(row.text); got != row.want {
			t.Errorf("%q:\n got %s\nwant %s", row.text, got, row.want)
		}
	}
}
