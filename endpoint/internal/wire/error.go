package wire

import (
	"strconv"
	"unicode/utf8"
)

// An Error is why a control message cannot be accepted. Code and Reason are
// made for the Result Code AVP of the StopCCN or CDN that answers it, Code as
// its general error code and Reason as its message.
type Error struct {
	Message   MessageType // 0: not known
	Vendor    uint16
	Attribute AVPType // of this vendor
	Mandatory bool    // the M bit of the AVP; true if it is not one AVP's fault
	Code      uint16  // a general error code, RFC 2661 §4.4.2: ErrorLength, …
	Reason    string  // in words, with the attribute
}

func (e *Error) Error() string {
	if e.Message == 0 {
		return "control message: " + e.Reason
	}
	return e.Message.String() + ": " + e.Reason
}

// quoteMax is how many octets of a peer's text are shown.
const quoteMax = 128

// Quote is a text that a peer has sent, made safe to be shown: in quotation
// marks, cut to 128 octets, control characters and invalid UTF-8 escaped.
func Quote(text string) string {
	if len(text) <= quoteMax {
		return strconv.Quote(text)
	}
	n := quoteMax
	for n > quoteMax-(utf8.UTFMax-1) && !utf8.RuneStart(text[n]) {
		n--
	}
	return strconv.Quote(text[:n]) + "…"
}
