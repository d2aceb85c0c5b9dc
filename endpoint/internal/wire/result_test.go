package wire

import (
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
		{StopCCN, Result{Code: 8}, "result 8"},
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
