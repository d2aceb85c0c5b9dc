package wire

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// Pieces of which the messages below are made.
const (
	isSCCRQ   = "8008 0000 0000 0001"
	isSCCRP   = "8008 0000 0000 0002"
	isStopCCN = "8008 0000 0000 0004"
	isHELLO   = "8008 0000 0000 0006"
	isICRQ    = "8008 0000 0000 000a"
	isICCN    = "8008 0000 0000 000c"
	isCDN     = "8008 0000 0000 000e"
	isCSUN    = "0008 0000 0000 001c"

	version = "8008 0000 0002 0100"
	host    = "8009 0000 0007 6c6163"
	framing = "800a 0000 0003 00000003"
	tunnel  = "8008 0000 0009 1234"
	start   = version + host + framing + tunnel // what an SCCRQ and an SCCRP must have

	session = "8008 0000 000e 5678"
	serial  = "800a 0000 000f 00000001"
	call    = session + serial // what an ICRQ must have

	speeds = "800a 0000 0018 00989680" + "800a 0000 0013 00000001" // what an ICCN must have

	speedUpdate = "0012 0000 0061 0000 5678 02faf080 00989680" // what a CSUN must have
)

// Messages that have broken others, and messages that only look as if they
// would, with what becomes of each.
func TestHostileMessages(t *testing.T) {
	accepted := Error{}
	for _, row := range []struct {
		name  string
		bytes []string
		err   Error // the zero one: accepted
		check func(m *Message) bool
	}{
		// Structure.
		{"nothing at all",
			nil,
			Error{Attribute: AVPMessageType, Mandatory: true, Code: ErrorVendor, Reason: "Message Type is missing"}, nil},
		{"a string AVP with a length of 5",
			[]string{isSCCRQ, start, "8005 0000 0008", "ff"},
			Error{Message: SCCRQ, Attribute: AVPVendorName, Mandatory: true, Code: ErrorLength, Reason: "Vendor Name: AVP Length is 5, less than 6"},
			func(m *Message) bool { return m.AssignedTunnelID == 0x1234 }},
		{"a string AVP with a length of 0, without M: no skipping it, since where the next one begins is not known",
			[]string{isSCCRQ, start, "0000 0000 0007"},
			Error{Message: SCCRQ, Attribute: AVPHostName, Code: ErrorLength, Reason: "Host Name: AVP Length is 0, less than 6"}, nil},
		{"an AVP past the message's end",
			[]string{isICRQ, call, "800a 0000 0012 0000"},
			Error{Message: ICRQ, Attribute: AVPBearerType, Mandatory: true, Code: ErrorLength, Reason: "Bearer Type: AVP Length is 10, the message ends after 8"},
			func(m *Message) bool { return m.AssignedSessionID == 0x5678 && !m.Has(AVPBearerType) }},
		{"the longest AVP past the message's end, of another vendor",
			[]string{isHELLO, "83ff 0009 0001", "00"},
			Error{Message: HELLO, Vendor: 9, Attribute: 1, Mandatory: true, Code: ErrorLength, Reason: "AVP 1 of vendor 9 (Cisco): AVP Length is 1023, the message ends after 7"}, nil},
		{"an AVP one octet past the message's end",
			[]string{isICRQ, call, "800a 0000 0012 000000"},
			Error{Message: ICRQ, Attribute: AVPBearerType, Mandatory: true, Code: ErrorLength, Reason: "Bearer Type: AVP Length is 10, the message ends after 9"}, nil},
		{"content after the last AVP",
			[]string{isHELLO, "0000000000"},
			Error{Message: HELLO, Mandatory: true, Code: ErrorLength, Reason: "5 octets after the last AVP"}, nil},
		{"one octet after the last AVP",
			[]string{isICRQ, call, "00"},
			Error{Message: ICRQ, Mandatory: true, Code: ErrorLength, Reason: "1 octets after the last AVP"},
			func(m *Message) bool { return m.AssignedSessionID == 0x5678 }},
		{"data on the control path: a PPP frame with an LCP Configure-Request",
			[]string{"ff03c021", "01010014", "010405dc"},
			Error{Vendor: 0xc021, Attribute: 0x0101, Mandatory: true, Code: ErrorLength, Reason: "AVP 257 of vendor 49185: AVP Length is 771, the message ends after 12"}, nil},

		// Message Type.
		{"Message Type not first: what stands before it is read too",
			[]string{session, isICRQ, serial},
			Error{Message: ICRQ, Attribute: AVPMessageType, Mandatory: true, Code: ErrorVendor, Reason: "the first AVP is Assigned Session ID, expected Message Type"},
			func(m *Message) bool { return m.Type == ICRQ && m.AssignedSessionID == 0x5678 }},
		{"Message Type not first, and unknown",
			[]string{session, "8008 0000 0000 ffff"},
			Error{Message: 0xffff, Attribute: AVPMessageType, Mandatory: true, Code: ErrorVendor, Reason: "the first AVP is Assigned Session ID, expected Message Type"}, nil},
		{"no Message Type",
			[]string{session, serial},
			Error{Attribute: AVPMessageType, Mandatory: true, Code: ErrorVendor, Reason: "the first AVP is Assigned Session ID, expected Message Type"},
			func(m *Message) bool { return m.Type == 0 && m.AssignedSessionID == 0x5678 }},
		{"a Random Vector before the Message Type",
			[]string{"8008 0000 0024 0102", isHELLO},
			Error{Message: HELLO, Attribute: AVPMessageType, Mandatory: true, Code: ErrorVendor, Reason: "the first AVP is Random Vector, expected Message Type"}, nil},
		{"attribute 0 of another vendor is no Message Type",
			[]string{"0008 0009 0000 0006", isHELLO},
			Error{Message: HELLO, Attribute: AVPMessageType, Mandatory: true, Code: ErrorVendor, Reason: "the first AVP is AVP 0 of vendor 9 (Cisco), expected Message Type"}, nil},
		{"a Message Type of one octet, without M",
			[]string{"0007 0000 0000 06"},
			Error{Attribute: AVPMessageType, Code: ErrorLength, Reason: "Message Type: 1 octets, expected 2"}, nil},
		{"a hidden Message Type: \"This AVP may not be hidden\"",
			[]string{"c008 0000 0000 0006"},
			Error{Attribute: AVPMessageType, Mandatory: true, Code: ErrorValue, Reason: "Message Type: may not be hidden"}, nil},
		{"an unknown message type with M is the receiver's to refuse, and nothing else in it is looked at",
			[]string{"8008 0000 0000 0011", "8008 0009 0001 0000", "ffff"},
			accepted,
			func(m *Message) bool { return m.Type == 17 && !m.Type.Known() && m.MandatoryType }},
		{"an unknown message type without M is to be ignored",
			[]string{"0008 0000 0000 ffff", "8008 0009 0001 0000", "ffff"},
			accepted,
			func(m *Message) bool { return m.Type == 0xffff && !m.Type.Known() && !m.MandatoryType }},
		{"the reserved message type 0",
			[]string{"8008 0000 0000 0000"},
			accepted,
			func(m *Message) bool { return !m.Type.Known() && m.MandatoryType && m.Has(AVPMessageType) }},
		{"a known message type without M",
			[]string{"0008 0000 0000 0006"},
			accepted,
			func(m *Message) bool { return m.Type == HELLO && !m.MandatoryType }},

		// Unknown AVPs: "If the M bit is set on an unrecognized AVP within a
		// message associated with a particular session, the session associated
		// with this message MUST be terminated. […] If the M bit is not set, an
		// unrecognized AVP MUST be ignored." (RFC 2661 §4.1)
		{"an unknown mandatory AVP in tunnel scope",
			[]string{isSCCRQ, start, "8008 0000 0063 0000"},
			Error{Message: SCCRQ, Attribute: 99, Mandatory: true, Code: ErrorUnknownAVP, Reason: "unknown AVP 99 with the M bit set"},
			func(m *Message) bool { return m.AssignedTunnelID == 0x1234 }},
		{"an unknown mandatory AVP in session scope, the assigned id after it",
			[]string{isICRQ, "8008 0000 0014 0000", call},
			Error{Message: ICRQ, Attribute: 20, Mandatory: true, Code: ErrorUnknownAVP, Reason: "unknown AVP 20 with the M bit set"},
			func(m *Message) bool { return m.AssignedSessionID == 0x5678 }},
		{"two unknown mandatory AVPs: the first is the error",
			[]string{isICRQ, call, "8007 0000 0014 00", "8007 0000 0063 00"},
			Error{Message: ICRQ, Attribute: 20, Mandatory: true, Code: ErrorUnknownAVP, Reason: "unknown AVP 20 with the M bit set"}, nil},
		{"an unknown AVP without M",
			[]string{isICRQ, "0008 0000 0063 abcd", call},
			accepted,
			func(m *Message) bool {
				return len(m.Skipped) == 1 && m.Skipped[0].Type == 99 && bytes.Equal(m.Skipped[0].Value, []byte{0xab, 0xcd})
			}},
		{"a vendor's attribute mistaken for the IETF's: 2 of vendor 3561 is not Protocol Version",
			[]string{isSCCRQ, "0008 0de9 0002 0100", start},
			accepted,
			func(m *Message) bool {
				return len(m.Skipped) == 1 && m.Skipped[0].Vendor == 3561 && m.ProtocolVersion == ProtocolVersion
			}},
		{"a vendor's mandatory attribute with the number of a known one",
			[]string{isSCCRQ, start, "8008 0009 0009 0001"},
			Error{Message: SCCRQ, Vendor: 9, Attribute: 9, Mandatory: true, Code: ErrorUnknownAVP, Reason: "unknown AVP 9 of vendor 9 (Cisco) with the M bit set"},
			func(m *Message) bool { return m.AssignedTunnelID == 0x1234 }},
		{"reserved AVP bits with M: \"MUST be treated as an unrecognized AVP\"",
			[]string{isSCCRQ, start, "9008 0000 000a 0004"},
			Error{Message: SCCRQ, Attribute: AVPReceiveWindowSize, Mandatory: true, Code: ErrorUnknownAVP, Reason: "Receive Window Size: reserved bits and the M bit set"},
			func(m *Message) bool { return !m.Has(AVPReceiveWindowSize) }},
		{"reserved bits of a vendor's AVP with M",
			[]string{isHELLO, "8406 0009 0001"},
			Error{Message: HELLO, Vendor: 9, Attribute: 1, Mandatory: true, Code: ErrorUnknownAVP, Reason: "AVP 1 of vendor 9 (Cisco): reserved bits and the M bit set"}, nil},
		{"reserved AVP bits without M",
			[]string{isSCCRQ, start, "0408 0000 0006 0001"},
			accepted,
			func(m *Message) bool {
				return !m.Has(AVPFirmwareRevision) && len(m.Skipped) == 1 && m.Skipped[0].Reserved == 1
			}},
		{"reserved bits of an AVP that must be there, without M",
			[]string{isSCCRQ, version, host, framing, "3c08 0000 0009 1234"},
			Error{Message: SCCRQ, Attribute: AVPAssignedTunnelID, Mandatory: true, Code: ErrorVendor, Reason: "Assigned Tunnel ID is missing"}, nil},

		// Known AVPs at places where RFC 2661 does not list them.
		{"a mandatory AVP of another message",
			[]string{isICRQ, call, "8007 0000 000b 01"},
			accepted,
			func(m *Message) bool {
				return m.Challenge == nil && len(m.Skipped) == 1 && m.Skipped[0].Type == AVPChallenge
			}},
		{"duplicate AVPs: the first counts",
			[]string{isICRQ, call, "8008 0000 000e 9999"},
			accepted,
			func(m *Message) bool {
				return m.AssignedSessionID == 0x5678 && len(m.Skipped) == 1 && m.Skipped[0].Type == AVPAssignedSessionID
			}},
		{"duplicate Message Types: the first counts",
			[]string{isICRQ, call, isStopCCN},
			accepted,
			func(m *Message) bool { return m.Type == ICRQ && len(m.Skipped) == 1 }},
		{"duplicate AVPs, the first malformed: it counts",
			[]string{isSCCRQ, start, "0007 0000 0006 01", "0008 0000 0006 0001"},
			accepted,
			func(m *Message) bool { return !m.Has(AVPFirmwareRevision) && len(m.Skipped) == 2 }},

		// Values.
		{"an assigned tunnel id of 0",
			[]string{isSCCRQ, version, host, framing, "8008 0000 0009 0000"},
			Error{Message: SCCRQ, Attribute: AVPAssignedTunnelID, Mandatory: true, Code: ErrorValue, Reason: "Assigned Tunnel ID: 0 is not assigned"}, nil},
		{"an assigned session id of 0, without M: it must be there",
			[]string{isICRQ, "0008 0000 000e 0000", serial},
			Error{Message: ICRQ, Attribute: AVPAssignedSessionID, Code: ErrorValue, Reason: "Assigned Session ID: 0 is not assigned"}, nil},
		{"a CDN with an assigned session id of 0: its result is there",
			[]string{isCDN, "8008 0000 0001 0003", "8008 0000 000e 0000"},
			Error{Message: CDN, Attribute: AVPAssignedSessionID, Mandatory: true, Code: ErrorValue, Reason: "Assigned Session ID: 0 is not assigned"},
			func(m *Message) bool { return m.Result.Code == CallAdministrative }},
		{"a Call Serial Number of two octets",
			[]string{isICRQ, session, "8008 0000 000f 0001"},
			Error{Message: ICRQ, Attribute: AVPCallSerialNumber, Mandatory: true, Code: ErrorLength, Reason: "Call Serial Number: 2 octets, expected 4"},
			func(m *Message) bool { return m.AssignedSessionID == 0x5678 }},
		{"a malformed AVP with M",
			[]string{isSCCRQ, start, "8009 0000 000a 000400"},
			Error{Message: SCCRQ, Attribute: AVPReceiveWindowSize, Mandatory: true, Code: ErrorLength, Reason: "Receive Window Size: 3 octets, expected 2"}, nil},
		{"a malformed AVP without M",
			[]string{isSCCRQ, start, "0007 0000 0006 01"},
			accepted,
			func(m *Message) bool { return !m.Has(AVPFirmwareRevision) && len(m.Skipped) == 1 }},
		{"Sequencing Required with a value",
			[]string{isICCN, speeds, "8007 0000 0027 01"},
			Error{Message: ICCN, Attribute: AVPSequencingRequired, Mandatory: true, Code: ErrorLength, Reason: "Sequencing Required: 1 octets, expected 0"},
			func(m *Message) bool { return !m.SequencingRequired }},
		{"a tie breaker of seven octets",
			[]string{isSCCRQ, start, "000d 0000 0005 01020304050607"},
			accepted,
			func(m *Message) bool { return !m.Has(AVPTieBreaker) }},
		{"a tie breaker of zeros",
			[]string{isSCCRQ, start, "000e 0000 0005 0000000000000000"},
			accepted,
			func(m *Message) bool { return m.Has(AVPTieBreaker) && m.TieBreaker == [8]byte{} }},
		{"a challenge of 0 octets: \"one or more octets of random data\"",
			[]string{isSCCRQ, start, "8006 0000 000b"},
			Error{Message: SCCRQ, Attribute: AVPChallenge, Mandatory: true, Code: ErrorLength, Reason: "Challenge: 0 octets, expected 1 or more"}, nil},
		{"a challenge of 96 octets",
			[]string{isSCCRQ, start, "8066 0000 000b", strings.Repeat("cc", 96)},
			accepted,
			func(m *Message) bool { return len(m.Challenge) == 96 }},
		{"a challenge response of 15 octets",
			[]string{isSCCRP, start, "8015 0000 000d", strings.Repeat("cc", 15)},
			Error{Message: SCCRP, Attribute: AVPChallengeResponse, Mandatory: true, Code: ErrorLength, Reason: "Challenge Response: 15 octets, expected 16"}, nil},
		{"a window of 0: the receiver's to read as 1",
			[]string{isSCCRQ, start, "8008 0000 000a 0000"},
			accepted,
			func(m *Message) bool { return m.Has(AVPReceiveWindowSize) && m.ReceiveWindowSize == 0 }},
		{"a window of 65535",
			[]string{isSCCRQ, start, "8008 0000 000a ffff"},
			accepted,
			func(m *Message) bool { return m.ReceiveWindowSize == 65535 }},
		{"a Result Code without an error code",
			[]string{isStopCCN, tunnel, "8008 0000 0001 0006"},
			accepted,
			func(m *Message) bool { return m.Result == Result{Code: StopShutdown} }},
		{"a Result Code with half an error code",
			[]string{isStopCCN, tunnel, "8009 0000 0001 0006 00"},
			Error{Message: StopCCN, Attribute: AVPResultCode, Mandatory: true, Code: ErrorLength, Reason: "Result Code: 3 octets, expected 2, or 4 and more"},
			func(m *Message) bool { return m.AssignedTunnelID == 0x1234 }},
		{"an empty Result Code",
			[]string{isCDN, "8006 0000 0001", session},
			Error{Message: CDN, Attribute: AVPResultCode, Mandatory: true, Code: ErrorLength, Reason: "Result Code: 0 octets, expected 2, or 4 and more"},
			func(m *Message) bool { return m.AssignedSessionID == 0x5678 }},
		{"the longest error message",
			[]string{isCDN, "83ff 0000 0001 0002 0006", strings.Repeat("0a", 1013), session},
			accepted,
			func(m *Message) bool { return len(m.Result.Text) == 1013 }},
		{"the longest Q.931 cause",
			[]string{isCDN, "8008 0000 0001 0001", session, "83ff 0000 000c 0010 45", strings.Repeat("41", 1014)},
			accepted,
			func(m *Message) bool { return len(m.Q931Cause.Advisory) == 1014 }},
		{"a Q.931 cause without its message",
			[]string{isCDN, "8008 0000 0001 0001", session, "8008 0000 000c 0010"},
			Error{Message: CDN, Attribute: AVPQ931Cause, Mandatory: true, Code: ErrorLength, Reason: "Q.931 Cause Code: 2 octets, expected 3 or more"},
			func(m *Message) bool { return m.Result.Code == CallLostCarrier }},
		{"the longest vendor name",
			[]string{isSCCRQ, start, "03ff 0000 0008", strings.Repeat("00", 1017)},
			accepted,
			func(m *Message) bool { return len(m.VendorName) == 1017 }},
		{"a Calling Number of 1,017 octets",
			[]string{isICRQ, call, "83ff 0000 0016", strings.Repeat("39", 1017)},
			accepted,
			func(m *Message) bool { return len(m.CallingNumber) == 1017 }},
		{"an empty host name: odd, and harmless",
			[]string{isSCCRQ, version, "8006 0000 0007", framing, tunnel},
			accepted,
			func(m *Message) bool { return m.Has(AVPHostName) && m.HostName == "" }},

		// Of RFCs later than 2661.
		{"a PPP Disconnect Cause Code without its direction",
			[]string{isCDN, "8008 0000 0001 0003", session, "000a 0000 002e 0010 c223"},
			accepted,
			func(m *Message) bool { return !m.Has(AVPDisconnectCause) && len(m.Skipped) == 1 }},
		{"a PPP Disconnect Cause Code with M, which it must not have: it is known all the same",
			[]string{isCDN, "8008 0000 0001 0003", session, "800b 0000 002e 0010 c223 01"},
			accepted,
			func(m *Message) bool { return m.DisconnectCause == DisconnectCause{16, 0xc223, 1, ""} }},
		{"the longest PPP Disconnect Cause Code",
			[]string{isCDN, "8008 0000 0001 0003", session, "03ff 0000 002e 0010 c223 01", strings.Repeat("0a", 1012)},
			accepted,
			func(m *Message) bool { return len(m.DisconnectCause.Message) == 1012 }},
		{"access line AVPs with M",
			[]string{isICRQ, call, "8007 0de9 0001 41", "800e 0de9 0082 0000000000000001"},
			accepted,
			func(m *Message) bool {
				return *m.AccessLine == AccessLine{AgentCircuitID: "A", ActualDataRateDownstream: 1}
			}},
		{"an access line AVP that RFC 5515 does not define, with M",
			[]string{isICRQ, call, "800a 0de9 008f 00000001"},
			Error{Message: ICRQ, Vendor: 3561, Attribute: 143, Mandatory: true, Code: ErrorUnknownAVP, Reason: "unknown AVP 143 of vendor 3561 (Broadband Forum) with the M bit set"}, nil},
		{"an access line AVP with reserved bits",
			[]string{isICRQ, call, "2007 0de9 0001 41"},
			accepted,
			func(m *Message) bool { return m.AccessLine == nil && len(m.Skipped) == 1 }},
		{"a rate of four octets, as RADIUS has it",
			[]string{isICRQ, call, "000a 0de9 0081 00000001"},
			accepted,
			func(m *Message) bool { return m.AccessLine == nil && len(m.Skipped) == 1 }},
		{"a rate of four octets with M",
			[]string{isICRQ, call, "800a 0de9 0081 00000001"},
			Error{Message: ICRQ, Vendor: 3561, Attribute: 129, Mandatory: true, Code: ErrorLength, Reason: "Actual-Data-Rate-Upstream: 4 octets, expected 8"}, nil},
		{"access line AVPs twice: the first counts",
			[]string{isICRQ, call, "0007 0de9 0001 41", "0007 0de9 0001 42"},
			accepted,
			func(m *Message) bool { return m.AccessLine.AgentCircuitID == "A" && len(m.Skipped) == 1 }},
		{"access line AVPs of nothing but zeros",
			[]string{isICRQ, call, "0006 0de9 0001", "000e 0de9 0081 0000000000000000"},
			accepted,
			func(m *Message) bool { return m.AccessLine == nil && len(m.Skipped) == 0 }},
		{"access line AVPs in another message",
			[]string{isICCN, speeds, "8007 0de9 0001 41"},
			accepted,
			func(m *Message) bool { return m.AccessLine == nil && len(m.Skipped) == 1 }},
		{"a CSUN with nothing",
			[]string{isCSUN},
			Error{Message: CSUN, Attribute: AVPConnectSpeedUpdate, Mandatory: true, Code: ErrorVendor, Reason: "Connect Speed Update is missing"}, nil},
		{"a CSUN with M",
			[]string{"8008 0000 0000 001c", speedUpdate},
			accepted,
			func(m *Message) bool { return m.MandatoryType && m.ConnectSpeedUpdates[0].RemoteSessionID == 0x5678 }},
		{"a CSUN of a version 3 peer: 64 bits each",
			[]string{isCSUN, "001a 0000 0061 00005678 0000000002faf080 0000000000989680"},
			Error{Message: CSUN, Attribute: AVPConnectSpeedUpdate, Code: ErrorLength, Reason: "Connect Speed Update: 20 octets, expected 12"},
			func(m *Message) bool { return m.ConnectSpeedUpdates == nil }},
		{"a CSUN with 3,000 updates",
			[]string{isCSUN, strings.Repeat(speedUpdate, 3000)},
			accepted,
			func(m *Message) bool { return len(m.ConnectSpeedUpdates) == 3000 }},
		{"a reserved octet in Proxy Authen ID",
			[]string{isICCN, speeds, "0008 0000 0020 ff05"},
			accepted,
			func(m *Message) bool { return m.ProxyAuthenID == 5 }},

		// What must be present.
		{"an SCCRQ without a host name",
			[]string{isSCCRQ, version, framing, tunnel},
			Error{Message: SCCRQ, Attribute: AVPHostName, Mandatory: true, Code: ErrorVendor, Reason: "Host Name is missing"},
			func(m *Message) bool { return m.AssignedTunnelID == 0x1234 }},
		{"an ICRQ with nothing",
			[]string{isICRQ},
			Error{Message: ICRQ, Attribute: AVPAssignedSessionID, Mandatory: true, Code: ErrorVendor, Reason: "Assigned Session ID is missing"}, nil},
		{"a StopCCN without a result",
			[]string{isStopCCN, tunnel},
			Error{Message: StopCCN, Attribute: AVPResultCode, Mandatory: true, Code: ErrorVendor, Reason: "Result Code is missing"},
			func(m *Message) bool { return m.AssignedTunnelID == 0x1234 }},
	} {
		m, err := ParseMessage(unhex(t, row.bytes...), nil)
		got := accepted
		var e *Error
		if errors.As(err, &e) {
			got = *e
		} else if err != nil {
			t.Errorf("%s: an error of type %T", row.name, err)
		}
		if got != row.err {
			t.Errorf("%s:\n got %+v\nwant %+v", row.name, got, row.err)
		}
		if row.check != nil && !row.check(m) {
			t.Errorf("%s: the message is %+v", row.name, *m)
		}
	}
}

// What is passed over can be told in words, without its value, which may be a
// secret.
func TestAVPInWords(t *testing.T) {
	for _, row := range []struct {
		avp  AVP
		want string
	}{
		{AVP{Type: AVPProxyAuthenResponse, Value: []byte("s3cret")}, "Proxy Authen Response"},
		{AVP{Type: AVPHostName, Reserved: 3}, "Host Name"},
		{AVP{Vendor: 3561, Type: 1, Reserved: 3}, "Agent-Circuit-Id"},
		{AVP{Type: 99}, "AVP 99"},
		{AVP{Vendor: 3561, Type: 130}, "Actual-Data-Rate-Downstream"},
		{AVP{Vendor: 3561, Type: 255}, "AVP 255 of vendor 3561 (Broadband Forum)"},
		{AVP{Vendor: 9, Type: 2}, "AVP 2 of vendor 9 (Cisco)"},
		{AVP{Vendor: 311, Type: 1}, "AVP 1 of vendor 311 (Microsoft)"},
		{AVP{Vendor: 12345, Type: 65535}, "AVP 65535 of vendor 12345"},
	} {
		if got := row.avp.String(); got != row.want {
			t.Errorf("%q, want %q", got, row.want)
		}
	}
}

func TestErrorInWords(t *testing.T) {
	for _, row := range []struct {
		err  Error
		want string
	}{
		{Error{Message: ICRQ, Reason: "Assigned Session ID is missing"}, "ICRQ: Assigned Session ID is missing"},
		{Error{Reason: "Message Type is missing"}, "control message: Message Type is missing"},
	} {
		if got := row.err.Error(); got != row.want {
			t.Errorf("%q, want %q", got, row.want)
		}
	}
}
