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
	hiddenCircuit = "4026 0de9 0001 b59000bc27654cc924154b16ea1cd33e" + "01244b01d65306f006bf22d84d95262a"
)

// counter is a random source that can be followed: 0, 1, 2, …
type counter byte

func (c *counter) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = byte(*c)
		*c++
	}
	return len(b), nil
}

// What we hide is what another program hides. The values are Python's, with the
// octets 0, 1, 2, … for random, first the vector and then each AVP's padding:
//
//	p = len(value).to_bytes(2) + value; p += random(-len(p) % 16)
//	b = md5(type.to_bytes(2) + b"tunsecret" + vector).digest()
//	for each 16 octets of p: c = p ^ b; b = md5(b"tunsecret" + c).digest()
//
// In an ICCN as a LAC with proxy authentication sends it, all of these may be
// hidden but the last. The first that is follows "a Random Vector AVP", which
// "MUST precede the first AVP having an H bit of 1" (RFC 2661 §4.3).
func TestAppendHidden(t *testing.T) {
	m := &Message{Type: ICCN, TxConnectSpeed: 10_000_000, FramingType: FramingSync, ProxyAuthenType: ProxyAuthenPAP,
		ProxyAuthenName: "alice", ProxyAuthenID: 5, ProxyAuthenResponse: []byte("correct horse battery staple"), SequencingRequired: true}
	want := []string{
		"8008 0000 0000 000c",
		"8016 0000 0024 000102030405060708090a0b0c0d0e0f",
		"c016 0000 0018 6350b3ef0d8bbba57bb85c910236b9d9",
		"c016 0000 0013 9f49f0792d42da9196037d66b582b45a",
		"4016 0000 001d be51802da546dba52b40610f74c8fc26",
		"4016 0000 001e d0964f46827036d112e1a16c094fb7c2",
		"4016 0000 0020 bc9b526f4ea389505ebb9da3055a52bc",
		"4026 0000 0021 21c44e5c2dc0b3abd7fee69b0039482528d814e57ba5dc70a455e43f26d67a1c",
		"8006 0000 0027",
	}
	if got := fields(m.AppendHidden(nil, []byte(secret), new(counter))); got != strings.Join(want, "\n") {
		t.Errorf("ICCN:\n%s\nwant:\n%s", got, strings.Join(want, "\n"))
	}

	// Under one vector, two AVPs of one type would be XORed with the same.
	m = &Message{Type: CSUN, ConnectSpeedUpdates: []ConnectSpeedUpdate{{0x5678, 50_000_000, 10_000_000}, {0x0001, 3, 4}}}
	want = []string{
		"0008 0000 0000 001c",
		"8016 0000 0024 000102030405060708090a0b0c0d0e0f",
		"4016 0000 0061 6cb0f546c379f8db1fd0bf98906a85c2",
		"8016 0000 0024 12131415161718191a1b1c1d1e1f2021",
		"4016 0000 0061 a99fe89e228d6f22993a617b65af3e3e",
	}
	if got := fields(m.AppendHidden(nil, []byte(secret), new(counter))); got != strings.Join(want, "\n") {
		t.Errorf("CSUN:\n%s\nwant:\n%s", got, strings.Join(want, "\n"))
	}

	// A message in which nothing may be hidden is as it always is.
	m = &Message{Type: HELLO}
	if got := fields(m.AppendHidden(nil, []byte(secret), nil)); got != "8008 0000 0000 0006" {
		t.Errorf("HELLO:\n%s", got)
	}
	// What was in the buffer stays.
	if got := m.AppendHidden([]byte{1, 2, 3}, []byte(secret), nil); !bytes.HasPrefix(got, []byte{1, 2, 3, 0x80}) {
		t.Errorf("appended to 010203: %x", got)
	}
}

// "To mask the size of the data being hidden, the resulting subformat MAY be
// padded" (RFC 2661 §4.3): the length tells the number of blocks.
func TestPaddingConcealsTheLength(t *testing.T) {
	for _, row := range []struct{ octets, length int }{
		{0, 16}, {1, 16}, {14, 16}, {15, 32}, {30, 32}, {31, 48}, {1006, 1008},
		{1007, 1017}, {1015, 1017}, // there is no room for another whole block
		{1016, 1017}, {2000, 1017}, // cut to 1,015
	} {
		m := &Message{Type: ICRQ, AssignedSessionID: 1, CallingNumber: strings.Repeat("5", row.octets)}
		m.Set(AVPCallingNumber)
		wire := m.AppendHidden(nil, []byte(secret), new(counter))
		d := NewAVPs(wire)
		for d.Next() && d.AVP().Type != AVPCallingNumber {
		}
		if n := len(d.AVP().Value); n != row.length {
			t.Errorf("%d octets are hidden in %d, want %d", row.octets, n, row.length)
		}
		parsed, err := ParseMessage(wire, []byte(secret))
		if err != nil || len(parsed.CallingNumber) != min(row.octets, 1015) {
			t.Errorf("%d octets are unhidden as %d, %v", row.octets, len(parsed.CallingNumber), err)
		}
	}
}

// What the caller must not do.
func TestHidingBugs(t *testing.T) {
	m := &Message{Type: ICRP, AssignedSessionID: 1}
	for name, hide := range map[string]func(){
		"no secret":                 func() { m.AppendHidden(nil, nil, new(counter)) },
		"a random source that ends": func() { m.AppendHidden(nil, []byte(secret), strings.NewReader("15 octets, no mo")) },
		"too many octets": func() {
			(&Message{Type: ICCN, PrivateGroupID: make([]byte, 1016)}).AppendHidden(nil, []byte(secret), new(counter))
		},
	} {
		func() {
			defer func() {
				if bug, _ := recover().(string); !strings.HasPrefix(bug, "BUG: wire: ") {
					t.Errorf("%s: %q", name, bug)
				}
			}()
			hide()
		}()
	}
}

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
	// What is hashed is "the 2 octet Attribute number of the AVP", not its vendor.
	m, err = ParseMessage(unhex(t, isICRQ, randomVector, call, hiddenCircuit), []byte(secret))
	if err != nil || m.AccessLine == nil || m.AccessLine.AgentCircuitID != "slot 1/2/3:0.35" {
		t.Errorf("of another vendor: %+v, %v", m.AccessLine, err)
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

// Which AVPs "MUST NOT be hidden (the H-bit MUST be 0)", RFC 2661 §4.4, and the
// one that is younger and has nothing to hide.
func TestWhatMayBeHidden(t *testing.T) {
	never := map[AVPType]bool{AVPMessageType: true, AVPResultCode: true, AVPProtocolVersion: true, AVPTieBreaker: true, AVPHostName: true,
		AVPReceiveWindowSize: true, AVPQ931Cause: true, AVPRandomVector: true, AVPSequencingRequired: true,
		AVPConnectSpeedUpdateEnable: true}
	for i := range attributes {
		a := AVPType(i)
		if rowOf(attributes[:], a) == nil {
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
