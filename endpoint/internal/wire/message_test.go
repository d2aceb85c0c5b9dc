package wire

import (
	"reflect"
	"strings"
	"testing"
)

// Every message of RFC 2661 §6 and RFC 5515 §4 with every AVP that it must or
// may have, in RFC 2661's order and then by number, each with the M bit that RFC
// 2661 §4.4 demands; the younger ones without.
var golden = []struct {
	message Message
	bytes   []string // M H Length, Vendor ID, Attribute Type, value
}{
	{Message{Type: SCCRQ, ProtocolVersion: ProtocolVersion, HostName: "lac.example", FramingCapabilities: FramingSync | FramingAsync,
		AssignedTunnelID: 0x1234, BearerCapabilities: 2, ReceiveWindowSize: 16, Challenge: []byte{1, 2, 3},
		TieBreaker: [8]byte{8, 7, 6, 5, 4, 3, 2, 1}, FirmwareRevision: 0x0690, VendorName: "l2tpnet", CCDS: 0xb800},
		[]string{
			"8008 0000 0000 0001",
			"8008 0000 0002 0100",
			"8011 0000 0007 6c61632e6578616d706c65",
			"800a 0000 0003 00000003",
			"8008 0000 0009 1234",
			"800a 0000 0004 00000002",
			"8008 0000 000a 0010",
			"8009 0000 000b 010203",
			"000e 0000 0005 0807060504030201",
			"0008 0000 0006 0690",
			"000d 0000 0008 6c3274706e6574",
			"0008 0000 002f b800",
		}},
	{Message{Type: SCCRP, ProtocolVersion: ProtocolVersion, FramingCapabilities: FramingSync, HostName: "lns", AssignedTunnelID: 1,
		BearerCapabilities: 1, FirmwareRevision: 1, VendorName: "v", ReceiveWindowSize: 4, Challenge: []byte{9},
		ChallengeResponse: [16]byte{0: 0xa0, 15: 0xaf}, CCDS: 0x2800},
		[]string{
			"8008 0000 0000 0002",
			"8008 0000 0002 0100",
			"800a 0000 0003 00000001",
			"8009 0000 0007 6c6e73",
			"8008 0000 0009 0001",
			"800a 0000 0004 00000001",
			"0008 0000 0006 0001",
			"0007 0000 0008 76",
			"8008 0000 000a 0004",
			"8007 0000 000b 09",
			"8016 0000 000d a00000000000000000000000000000af",
			"0008 0000 002f 2800",
		}},
	{Message{Type: SCCCN, ChallengeResponse: [16]byte{0: 0xb0, 15: 0xbf}},
		[]string{
			"8008 0000 0000 0003",
			"8016 0000 000d b00000000000000000000000000000bf",
		}},
	{Message{Type: StopCCN, AssignedTunnelID: 0x1234, Result: Result{Code: StopError, HasError: true, Error: ErrorUnknownAVP, Text: "AVP 99"}},
		[]string{
			"8008 0000 0000 0004",
			"8008 0000 0009 1234",
			"8010 0000 0001 0002 0008 415650203939",
		}},
	{Message{Type: HELLO},
		[]string{
			"8008 0000 0000 0006",
		}},
	{Message{Type: ICRQ, AssignedSessionID: 0x5678, CallSerialNumber: 0x01020304, BearerType: 2, PhysicalChannelID: 7,
		CallingNumber: "123", CalledNumber: "45", SubAddress: "6", SDS: 0xb800, ConnectSpeedUpdateEnable: true,
		AccessLine: &AccessLine{AgentCircuitID: "slot 1", AgentRemoteID: "r",
			ActualDataRateUpstream: 1, ActualDataRateDownstream: 10_000_000_000, MinimumDataRateUpstream: 3, MinimumDataRateDownstream: 4,
			AttainableDataRateUpstream: 5, AttainableDataRateDownstream: 6, MaximumDataRateUpstream: 7, MaximumDataRateDownstream: 8,
			MinimumDataRateUpstreamLowPower: 9, MinimumDataRateDownstreamLowPower: 10,
			MaximumInterleavingDelayUpstream: 11, ActualInterleavingDelayUpstream: 12, MaximumInterleavingDelayDownstream: 13, ActualInterleavingDelayDownstream: 14,
			AccessLoopEncapsulation: [3]byte{1, 2, 0}, AccessLineType: 5, IWFSession: 1}},
		[]string{
			"8008 0000 0000 000a",
			"8008 0000 000e 5678",
			"800a 0000 000f 01020304",
			"800a 0000 0012 00000002",
			"000a 0000 0019 00000007",
			"8009 0000 0016 313233",
			"8008 0000 0015 3435",
			"8007 0000 0017 36",
			"0008 0000 0030 b800",
			"0006 0000 0062",
			"000c 0de9 0001 736c6f742031",
			"0007 0de9 0002 72",
			"000e 0de9 0081 0000000000000001",
			"000e 0de9 0082 00000002540be400",
			"000e 0de9 0083 0000000000000003",
			"000e 0de9 0084 0000000000000004",
			"000e 0de9 0085 0000000000000005",
			"000e 0de9 0086 0000000000000006",
			"000e 0de9 0087 0000000000000007",
			"000e 0de9 0088 0000000000000008",
			"000e 0de9 0089 0000000000000009",
			"000e 0de9 008a 000000000000000a",
			"000a 0de9 008b 0000000b",
			"000a 0de9 008c 0000000c",
			"000a 0de9 008d 0000000d",
			"000a 0de9 008e 0000000e",
			"0009 0de9 0090 010200",
			"000a 0de9 0091 00000005",
			"000a 0de9 00fe 00000001",
		}},
	{Message{Type: ICRP, AssignedSessionID: 0xffff, SDS: 1},
		[]string{
			"8008 0000 0000 000b",
			"8008 0000 000e ffff",
			"0008 0000 0030 0001",
		}},
	{Message{Type: ICCN, TxConnectSpeed: 10_000_000, FramingType: FramingSync,
		InitialReceivedLCPConfReq: []byte{1, 4, 5, 0xdc}, LastSentLCPConfReq: []byte{5, 6, 1, 2, 3, 4}, LastReceivedLCPConfReq: []byte{1, 4, 5, 0xd4},
		ProxyAuthenType: 2, ProxyAuthenName: "alice", ProxyAuthenChallenge: []byte{0xc1}, ProxyAuthenID: 5, ProxyAuthenResponse: []byte{0xd1, 0xd2},
		PrivateGroupID: []byte("blue"), RxConnectSpeed: 1_000_000, SequencingRequired: true,
		LCPWantOptions: []byte{7, 2}, LCPAllowOptions: []byte{8, 2}},
		[]string{
			"8008 0000 0000 000c",
			"800a 0000 0018 00989680",
			"800a 0000 0013 00000001",
			"000a 0000 001a 010405dc",
			"000c 0000 001b 050601020304",
			"000a 0000 001c 010405d4",
			"0008 0000 001d 0002",
			"000b 0000 001e 616c696365",
			"0007 0000 001f c1",
			"0008 0000 0020 0005",
			"0008 0000 0021 d1d2",
			"000a 0000 0025 626c7565",
			"000a 0000 0026 000f4240",
			"8006 0000 0027",
			"0008 0000 0031 0702",
			"0008 0000 0032 0802",
		}},
	{Message{Type: OCRQ, AssignedSessionID: 1, CallSerialNumber: 2, MinimumBPS: 3, MaximumBPS: 4, BearerType: 1, FramingType: FramingAsync,
		CalledNumber: "789", SubAddress: "0", SDS: 2},
		[]string{
			"8008 0000 0000 0007",
			"8008 0000 000e 0001",
			"800a 0000 000f 00000002",
			"800a 0000 0010 00000003",
			"800a 0000 0011 00000004",
			"800a 0000 0012 00000001",
			"800a 0000 0013 00000002",
			"8009 0000 0015 373839",
			"8007 0000 0017 30",
			"0008 0000 0030 0002",
		}},
	{Message{Type: OCRP, AssignedSessionID: 1, PhysicalChannelID: 2, SDS: 3},
		[]string{
			"8008 0000 0000 0008",
			"8008 0000 000e 0001",
			"000a 0000 0019 00000002",
			"0008 0000 0030 0003",
		}},
	{Message{Type: OCCN, TxConnectSpeed: 64000, FramingType: FramingSync, RxConnectSpeed: 32000, SequencingRequired: true,
		LCPWantOptions: []byte{3, 4, 5}, LCPAllowOptions: []byte{6}},
		[]string{
			"8008 0000 0000 0009",
			"800a 0000 0018 0000fa00",
			"800a 0000 0013 00000001",
			"000a 0000 0026 00007d00",
			"8006 0000 0027",
			"0009 0000 0031 030405",
			"0007 0000 0032 06",
		}},
	{Message{Type: CDN, Result: Result{Code: CallAdministrative}, AssignedSessionID: 0x5678,
		Q931Cause:       Q931Cause{Code: 16, Message: 0x45, Advisory: "bye"},
		DisconnectCause: DisconnectCause{Code: 16, Protocol: 0xc223, Direction: 1, Message: "who?"}},
		[]string{
			"8008 0000 0000 000e",
			"8008 0000 0001 0003",
			"8008 0000 000e 5678",
			"800c 0000 000c 0010 45 627965",
			"000f 0000 002e 0010 c223 01 77686f3f",
		}},
	{Message{Type: WEN, CallErrors: CallErrors{CRC: 1, Framing: 2, HardwareOverruns: 3, BufferOverruns: 4, Timeouts: 5, Alignment: 6}},
		[]string{
			"8008 0000 0000 000f",
			"8020 0000 0022 0000 00000001 00000002 00000003 00000004 00000005 00000006",
		}},
	{Message{Type: SLI, ACCM: ACCM{Send: 0x000a0000, Receive: 0xffffffff},
		LNSLastSentLCPConfReq: []byte{1, 4, 5, 0x78}, LNSLastReceivedLCPConfReq: []byte{5, 6, 1, 2, 3, 4}},
		[]string{
			"8008 0000 0000 0010",
			"8010 0000 0023 0000 000a0000 ffffffff",
			"000a 0000 0033 01040578",
			"000c 0000 0034 050601020304",
		}},
	{Message{Type: CSUN, ConnectSpeedUpdates: []ConnectSpeedUpdate{{0x5678, 50_000_000, 10_000_000}, {0x0001, 3, 4}}},
		[]string{
			"0008 0000 0000 001c",
			"0012 0000 0061 0000 5678 02faf080 00989680",
			"0012 0000 0061 0000 0001 00000003 00000004",
		}},
	{Message{Type: CSURQ, ConnectSpeedUpdates: []ConnectSpeedUpdate{{RemoteSessionID: 0xffff}}},
		[]string{
			"0008 0000 0000 001d",
			"0012 0000 0061 0000 ffff 00000000 00000000",
		}},
}

func TestMessages(t *testing.T) {
	seen := map[MessageType]bool{}
	for _, row := range golden {
		m := row.message
		seen[m.Type] = true
		wire := unhex(t, row.bytes...)
		if got, want := fields(m.Append(nil)), fields(wire); got != want {
			t.Errorf("%v, encoded:\n%s\nwant:\n%s", m.Type, got, want)
		}

		parsed, err := ParseMessage(wire, nil)
		if err != nil {
			t.Errorf("%v: %v", m.Type, err)
			continue
		}
		l := listings[m.Type]
		for _, a := range append(l.must[:len(l.must):len(l.must)], l.may...) {
			if !parsed.Has(a) {
				t.Errorf("%v: has no %v; the golden bytes are to have all", m.Type, a)
			}
			m.Set(a)
		}
		m.MandatoryType = m.Type != CSUN && m.Type != CSURQ
		if !reflect.DeepEqual(*parsed, m) {
			t.Errorf("%v, parsed:\n%+v\nwant:\n%+v", m.Type, *parsed, m)
		}
	}
	for i, l := range listings {
		if l.name != "" && !seen[MessageType(i)] {
			t.Errorf("no golden bytes of %s", l.name)
		}
	}
}

// The least of each message: "MUST be present" holds whatever the values are,
// "MAY be present" follows the value, or Set.
func TestOptionalAVPs(t *testing.T) {
	m := Message{Type: ICCN}
	least := "8008 0000 0000 000c\n800a 0000 0018 00000000\n800a 0000 0013 00000000"
	if got := fields(m.Append(nil)); got != least {
		t.Errorf("an ICCN of zeros:\n%s", got)
	}
	m.AccessLine = &AccessLine{AgentCircuitID: "1"}
	if got := fields(m.Append(nil)); got != least {
		t.Errorf("an ICCN with an access line, which only an ICRQ has:\n%s", got)
	}
	m.Set(AVPRxConnectSpeed)
	if got := fields(m.Append(nil)); got != least+"\n000a 0000 0026 00000000" {
		t.Errorf("an ICCN with a receive speed of 0:\n%s", got)
	}
	if m.Has(AVPTxConnectSpeed) || !m.Has(AVPRxConnectSpeed) || m.Has(0x8026) || m.Has(64+AVPRxConnectSpeed) {
		t.Errorf("Has is not what was Set")
	}
}

// An AVP takes 1,017 octets (RFC 2661 §4.1: ten bits of Length); a text that
// is longer is cut, since it is for people.
func TestLongTexts(t *testing.T) {
	long := strings.Repeat("x", 2000)
	m := &Message{Type: CDN, AssignedSessionID: 1, Result: Result{Code: CallError, Error: ErrorVendor, Text: long},
		Q931Cause: Q931Cause{Code: 1, Advisory: long}, DisconnectCause: DisconnectCause{Message: long}}
	parsed, err := ParseMessage(m.Append(nil), nil)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(parsed.Result.Text); n != 1013 {
		t.Errorf("an error message of %d octets, want 1013", n)
	}
	if n := len(parsed.Q931Cause.Advisory); n != 1014 {
		t.Errorf("an advisory message of %d octets, want 1014", n)
	}
	if n := len(parsed.DisconnectCause.Message); n != 1012 {
		t.Errorf("a disconnect message of %d octets, want 1012", n)
	}
	m = &Message{Type: SCCRQ, HostName: long, AssignedTunnelID: 1}
	if parsed, err = ParseMessage(m.Append(nil), nil); err != nil || len(parsed.HostName) != 1017 {
		t.Errorf("a host name of %d octets, %v, want 1017", len(parsed.HostName), err)
	}
}

// "Error Code (opt)", "Error Message (opt)": the AVP's length tells which are
// there (RFC 2661 §4.4.2).
func TestResultCode(t *testing.T) {
	for _, row := range []struct {
		value  string
		result Result
	}{
		{"0001", Result{Code: 1}},
		{"0001 0000", Result{Code: 1, HasError: true}},
		{"0002 0004", Result{Code: 2, HasError: true, Error: 4}},
		{"0002 0000 6e6f", Result{Code: 2, HasError: true, Text: "no"}},
	} {
		m := &Message{Type: StopCCN, AssignedTunnelID: 1, Result: row.result}
		wire := m.Append(nil)
		if got, want := wire[len("8008000000000004")/2+8+6:], unhex(t, row.value); string(got) != string(want) {
			t.Errorf("%+v is %x, want %x", row.result, got, want)
		}
		if parsed, err := ParseMessage(wire, nil); err != nil || parsed.Result != row.result {
			t.Errorf("%s is %+v, %v, want %+v", row.value, parsed.Result, err, row.result)
		}
	}
	// Who sets Error or Text need not say HasError.
	a := Message{Type: CDN, AssignedSessionID: 1, Result: Result{Code: 2, Error: 4, Text: "no"}}
	b := a
	b.Result.HasError = true
	if fields(a.Append(nil)) != fields(b.Append(nil)) {
		t.Errorf("without HasError:\n%s\nwith:\n%s", fields(a.Append(nil)), fields(b.Append(nil)))
	}
}

// A message is kept after the datagram's buffer has been used again.
func TestMessageKeepsNothingOfItsInput(t *testing.T) {
	for _, row := range golden {
		wire := unhex(t, append(row.bytes, "0009 0e10 0002 010203", "0007 0000 0063 01")...)
		m, err := ParseMessage(wire, nil)
		again, _ := ParseMessage(append([]byte(nil), wire...), nil)
		if err != nil {
			t.Errorf("%v: %v", row.message.Type, err)
		}
		for i := range wire {
			wire[i] ^= 0xff
		}
		if !reflect.DeepEqual(m, again) {
			t.Errorf("%v changed with its input:\n%+v\nwant\n%+v", m.Type, m, again)
		}
	}
}

func TestNames(t *testing.T) {
	for _, row := range []struct{ got, want string }{
		{SCCRQ.String(), "SCCRQ"}, {StopCCN.String(), "StopCCN"}, {HELLO.String(), "HELLO"}, {SLI.String(), "SLI"},
		{MessageType(0).String(), "message 0"}, {MessageType(5).String(), "message 5"}, {MessageType(17).String(), "message 17"},
		{AVPHostName.String(), "Host Name"}, {AVPTxConnectSpeed.String(), "(Tx) Connect Speed"}, {AVPQ931Cause.String(), "Q.931 Cause Code"},
		{CSUN.String(), "CSUN"}, {MessageType(30).String(), "message 30"}, {AVPType(0x80).String(), "AVP 128"},
		{AVPDisconnectCause.String(), "PPP Disconnect Cause Code"}, {AVPLCPWantOptions.String(), "LCP Want Options"},
		{AVPType(20).String(), "AVP 20"}, {AVPType(40).String(), "AVP 40"}, {AVPType(0xffff).String(), "AVP 65535"},
	} {
		if row.got != row.want {
			t.Errorf("%q, want %q", row.got, row.want)
		}
	}
}
