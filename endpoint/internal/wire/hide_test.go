package wire

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// The hidden forms were computed by another program in another language (with
// Python's hashlib, from the formulas of RFC 2661 §4.3). The random vector is
// one of a recorded SCCRQ.
const (
	secret = "tunsecret"
	vector = "4a5be4791a84057229b46b0fa996ffae"

	randomVector  = "8016 0000 0024" + vector
	hiddenTunnel  = "c00a 0000 0009 a1d27772"
	hiddenCalling = "c024 0000 0016 13bf00eed993225277f2b4065ccb5375" + "250a2e19f099f8070c6ddea41a23"
	hiddenProxy   = "4026 0000 0021 8a6fab2b2e7fc1922e5041e24661c4fb" + "0acd1439544ad864e6761e4729712204"
)

func TestUnhide(t *testing.T) {
	m, err := ParseMessage(unhex(t, isSCCRQ, randomVector, version, host, framing, hiddenTunnel), []byte(secret))
	if err != nil || m.AssignedTunnelID != 0x1234 {
		t.Errorf("one block, not full: Assigned Tunnel ID %#x, %v", m.AssignedTunnelID, err)
	}
	m, err = ParseMessage(unhex(t, isICRQ, randomVector, call, hiddenCalling), []byte(secret))
	if err != nil || m.CallingNumber != "+49 30 1234567, extension 89" {
		t.Errorf("two blocks, the second not full: Calling Number %q, %v", m.CallingNumber, err)
	}
	m, err = ParseMessage(unhex(t, isICCN, randomVector, speeds, hiddenProxy), []byte(secret))
	if err != nil || string(m.ProxyAuthenResponse) != "s3cret" {
		t.Errorf("padding, to the end of the second block: Proxy Authen Response of %d octets, %v", len(m.ProxyAuthenResponse), err)
	}
}

// "More than one Random Vector AVP may appear in a message, in which case a
// hidden AVP uses the Random Vector AVP most closely preceding it." (RFC 2661
// §4.4.1) One serves all that follow until the next; AVPs that are not hidden
// may stand between them, and nothing of the hiding touches those.
func TestRandomVectors(t *testing.T) {
	hidden := func(a AVPType, vector, value string) []byte {
		return raw(AVP{Mandatory: true, Hidden: true, Type: a, Value: hide(a, secret, vector, len(value), []byte(value), nil)})
	}
	random := func(vector string) []byte {
		return raw(AVP{Mandatory: true, Type: AVPRandomVector, Value: []byte(vector)})
	}
	wire := bytes.Join([][]byte{
		unhex(t, isICRQ),
		random("first"),
		hidden(AVPAssignedSessionID, "first", "\x56\x78"),
		unhex(t, serial),
		hidden(AVPCallingNumber, "first", "123"),
		random(""),
		hidden(AVPCalledNumber, "", "456"),
		raw(AVP{Mandatory: true, Type: AVPSubAddress, Value: []byte("789")}),
	}, nil)
	m, err := ParseMessage(wire, []byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	if m.AssignedSessionID != 0x5678 || m.CallSerialNumber != 1 || m.CallingNumber != "123" || m.CalledNumber != "456" || m.SubAddress != "789" {
		t.Errorf("got %+v", *m)
	}
}

// Which AVPs "MUST NOT be hidden (the H-bit MUST be 0)", RFC 2661 §4.4.
func TestWhatMayBeHidden(t *testing.T) {
	never := map[AVPType]bool{AVPMessageType: true, AVPResultCode: true, AVPProtocolVersion: true, AVPTieBreaker: true, AVPHostName: true,
		AVPReceiveWindowSize: true, AVPQ931Cause: true, AVPRandomVector: true, AVPSequencingRequired: true}
	for i := range attributes {
		a := AVPType(i)
		if !a.known() {
			continue
		}
		if got := attributes[a].bits&mayH != 0; got == never[a] {
			t.Errorf("%v: may be hidden: %v", a, got)
		}
	}

	value := hide(AVPHostName, secret, "vector", 3, []byte("lac"), nil)
	wire := bytes.Join([][]byte{
		unhex(t, isSCCRQ, version, framing, tunnel),
		raw(AVP{Mandatory: true, Type: AVPRandomVector, Value: []byte("vector")}),
		raw(AVP{Mandatory: true, Hidden: true, Type: AVPHostName, Value: value}),
	}, nil)
	_, err := ParseMessage(wire, []byte(secret))
	var e *Error
	if !errors.As(err, &e) || e.Attribute != AVPHostName || e.Code != ErrorValue {
		t.Errorf("a hidden host name: %v", err)
	}
	wire = unhex(t, isHELLO, "c008 0000 0024 0102")
	if _, err = ParseMessage(wire, []byte(secret)); !errors.As(err, &e) || e.Attribute != AVPRandomVector || e.Code != ErrorValue {
		t.Errorf("a hidden random vector: %v", err)
	}
}

func TestHostileHiding(t *testing.T) {
	const rv = "vector"
	random := raw(AVP{Mandatory: true, Type: AVPRandomVector, Value: []byte(rv)})
	calling := func(mandatory bool, value []byte) []byte {
		return raw(AVP{Mandatory: mandatory, Hidden: true, Type: AVPCallingNumber, Value: value})
	}
	number := func(length int, original, padding string) []byte {
		return hide(AVPCallingNumber, secret, rv, length, []byte(original), []byte(padding))
	}
	const (
		noSecret = "Calling Number: hidden, and there is no secret to unhide it"
		noVector = "Calling Number: hidden, and no Random Vector precedes it"
		lies     = "Calling Number: hidden, and cannot be unhidden with this secret"
	)
	long := strings.Repeat("5", 1015)
	for _, row := range []struct {
		name   string
		secret string
		avps   [][]byte
		want   string
		reason string // "": accepted
	}{
		{"one block", secret, [][]byte{random, calling(true, number(3, "123", ""))}, "123", ""},
		{"an empty value", secret, [][]byte{random, calling(true, number(0, "", ""))}, "", ""},
		{"one block exactly", secret, [][]byte{random, calling(true, number(14, "12345678901234", ""))}, "12345678901234", ""},
		{"one octet in the second block", secret, [][]byte{random, calling(true, number(15, "123456789012345", ""))}, "123456789012345", ""},
		{"padding within the block", secret, [][]byte{random, calling(true, number(3, "123", "456"))}, "123", ""},
		{"padding for blocks", secret, [][]byte{random, calling(true, number(3, "123", long[:900]))}, "123", ""},
		{"nothing but padding", secret, [][]byte{random, calling(true, number(0, "", "123"))}, "", ""},
		{"the longest", secret, [][]byte{random, calling(true, number(1015, long, ""))}, long, ""},
		{"an inner length of 0xFFFF", secret, [][]byte{random, calling(true, number(0xffff, "123", ""))}, "", lies},
		{"an inner length of 0xFFFF, several blocks", secret, [][]byte{random, calling(true, number(0xffff, long[:100], ""))}, "", lies},
		{"an inner length that is one too many", secret, [][]byte{random, calling(true, number(4, "123", ""))}, "", lies},
		{"an inner length that is one less: the last octet is padding", secret, [][]byte{random, calling(true, number(2, "123", ""))}, "12", ""},
		{"a body of one octet", secret, [][]byte{random, calling(true, []byte{0})}, "", lies},
		{"a body of no octets", secret, [][]byte{random, calling(true, nil)}, "", lies},
		{"no Random Vector", secret, [][]byte{calling(true, number(3, "123", ""))}, "", noVector},
		{"the Random Vector after it", secret, [][]byte{calling(true, number(3, "123", "")), random}, "", noVector},
		{"no secret", "", [][]byte{random, calling(true, number(3, "123", ""))}, "", noSecret},
		{"another secret", "wrong", [][]byte{random, calling(true, number(3, "123", ""))}, "", lies},
		{"an inner length that lies, without M: skipped", secret, [][]byte{random, calling(false, number(0xffff, "123", ""))}, "", ""},
		{"no Random Vector, without M: skipped", secret, [][]byte{calling(false, number(3, "123", ""))}, "", ""},
		{"no secret, without M: skipped", "", [][]byte{random, calling(false, number(3, "123", ""))}, "", ""},
	} {
		wire := append(unhex(t, isICRQ, call), bytes.Join(row.avps, nil)...)
		m, err := ParseMessage(wire, []byte(row.secret))
		if m.CallingNumber != row.want || m.AssignedSessionID != 0x5678 {
			t.Errorf("%s: Calling Number %q, want %q", row.name, m.CallingNumber, row.want)
		}
		var e *Error
		if errors.As(err, &e); (e == nil) != (row.reason == "") || e != nil && (e.Reason != row.reason || e.Attribute != AVPCallingNumber) {
			t.Errorf("%s: error %v, want %q", row.name, err, row.reason)
		}
	}
}

// What is hidden has the length that its kind of value demands, after all.
func TestHiddenValueOfWrongLength(t *testing.T) {
	value := hide(AVPAssignedSessionID, secret, "v", 3, []byte{0, 0x56, 0x78}, nil)
	wire := bytes.Join([][]byte{
		unhex(t, isICRQ, serial),
		raw(AVP{Mandatory: true, Type: AVPRandomVector, Value: []byte("v")}),
		raw(AVP{Mandatory: true, Hidden: true, Type: AVPAssignedSessionID, Value: value}),
	}, nil)
	_, err := ParseMessage(wire, []byte(secret))
	var e *Error
	if !errors.As(err, &e) || e.Reason != "Assigned Session ID: 3 octets, expected 2" {
		t.Errorf("error %v", err)
	}
}
