package wire

import (
	"bytes"
	"errors"
	"slices"
	"testing"
)

// requiredV3 are the AVPs that "MUST be present" in each message of L2TPv3 (RFC 3931 §6.1 to
// §6.15) behind the Message Type, with values of the right length.
var requiredV3 = map[MessageType]map[AVPType]string{
	SCCRQ:   {7: "6c636365", 60: "c0000201", 61: "00010002", 62: "00050004"},
	SCCRP:   {7: "6c636365", 60: "00000000", 61: "00010002", 62: "0005"},
	SCCCN:   {},
	StopCCN: {1: "0001"},
	HELLO:   {},
	ICRQ:    {63: "00000009", 64: "00000000", 15: "00000001", 68: "0005", 66: "726564", 71: "0001"},
	ICRP:    {63: "00000009", 64: "00000008", 71: "0001"},
	ICCN:    {63: "00000009", 64: "00000008"},
	OCRQ:    {63: "00000009", 64: "00000000", 15: "00000001", 68: "0005", 66: "726564", 71: "0001"},
	OCRP:    {63: "00000009", 64: "00000008", 71: "0001"},
	OCCN:    {63: "00000009", 64: "00000008"},
	CDN:     {1: "0003", 63: "00000009", 64: "00000008"},
	WEN:     {63: "00000009", 64: "00000008", 34: "000000000001000000020000000300000004"},
	SLI:     {63: "00000009", 64: "00000008"},
	ACK:     {},
}

// requiredAVPs is such a message as its AVPs, the Message Type first.
func requiredAVPs(t *testing.T, kind MessageType) (avps []AVP) {
	avps = []AVP{{Mandatory: true, Type: AVPMessageType, Value: []byte{0, byte(kind)}}}
	for a, value := range requiredV3[kind] {
		avps = append(avps, AVP{Mandatory: true, Type: a, Value: octetsOf(value)})
	}
	slices.SortFunc(avps, func(a, b AVP) int { return int(a.Type) - int(b.Type) })
	return avps
}

func joined(avps []AVP) (b []byte) {
	for _, a := range avps {
		b = append(b, raw(a)...)
	}
	return b
}

// Issue: "Every message with its required AVPs": with them it is taken, in any order; without
// one of them, or with one of the wrong length, it is not; and what we send has all of them.
func TestV3RequiredAVPs(t *testing.T) {
	for kind := MessageType(0); kind < 64; kind++ {
		if _, listed := requiredV3[kind]; listed != kind.KnownV3() {
			t.Errorf("%v is known: %v", kind, !listed)
		}
	}
	for kind, required := range requiredV3 {
		avps := requiredAVPs(t, kind)
		whole, err := ParseMessageV3(joined(avps), nil)
		if err != nil || whole.Type != kind || len(whole.Skipped) != 0 {
			t.Errorf("%v is %+v, error %v", kind, whole, err)
			continue
		}
		slices.Reverse(avps[1:])
		if _, err := ParseMessageV3(joined(avps), nil); err != nil {
			t.Errorf("%v in another order: %v", kind, err)
		}
		for i := 1; i < len(avps); i++ {
			without := slices.Delete(slices.Clone(avps), i, i+1)
			wrong := slices.Clone(avps)
			wrong[i].Value = append(bytes.Clone(wrong[i].Value), 0)
			optional := slices.Clone(wrong) // the M bit "MAY vary" (§5.4): what has to be there is missing then
			optional[i].Mandatory = false
			for name, m := range map[string][]AVP{"without": without, "with a malformed": wrong, "with a malformed, M bit 0,": optional} {
				if any := avps[i].Type == AVPHostName || avps[i].Type == AVPRemoteEndID || avps[i].Type == AVPResultCode; any && name != "without" {
					continue // any length will do
				}
				var e *Error
				if m, err := ParseMessageV3(joined(m), nil); !errors.As(err, &e) || e.Attribute != avps[i].Type || e.Message != kind || m.Type != kind {
					t.Errorf("%v %s %v: %v", kind, name, avps[i].Type, err)
				}
			}
		}

		// What we make of it, at its shortest.
		for a := range required {
			whole.Set(a)
		}
		found := map[AVPType]bool{}
		d := NewAVPs(whole.AppendV3(nil))
		for d.Next() {
			found[d.AVP().Type] = true
		}
		for a := range required {
			if !found[a] {
				t.Errorf("%v is sent without %v", kind, a)
			}
		}
		empty := (&Message{Type: kind}).AppendV3(nil) // even of what has no values
		for a := range required {
			if present := slices.ContainsFunc(avpsOf(empty), func(f AVP) bool { return f.Type == a }); !present {
				t.Errorf("%v without values is sent without %v", kind, a)
			}
		}
	}
}

func avpsOf(b []byte) (avps []AVP) {
	for d := NewAVPs(b); d.Next(); {
		avps = append(avps, d.AVP())
	}
	return avps
}

// Cisco's form from before RFC 3931 has a vendor's numbers for what the RFC added to L2TPv2's,
// but none for Router ID, Serial Number and sublayer: the first was not there, the others are
// the IETF's.
func TestDraftMessagesNeedNoRouterID(t *testing.T) {
	draft := map[AVPType]AVPType{61: 1, 62: 2, 63: 3, 64: 4, 65: 5, 66: 6, 68: 7, 71: 8, 59: 12, 73: 13, 91: 14}
	for kind := range requiredV3 {
		var avps []AVP
		renamed := false
		for _, a := range requiredAVPs(t, kind) {
			if a.Type == AVPRouterID {
				continue
			}
			if n, ok := draft[a.Type]; ok {
				a.Vendor, a.Type, renamed = 9, n, true
			}
			avps = append(avps, a)
		}
		if m, err := ParseMessageV3(joined(avps), nil); err != nil || m.Type != kind {
			t.Errorf("%v as the draft has it (%v): %v", kind, renamed, err)
		}
	}
	with := requiredAVPs(t, SCCRQ)
	without := slices.DeleteFunc(with, func(a AVP) bool { return a.Type == AVPRouterID })
	if _, err := ParseMessageV3(joined(without), nil); err == nil {
		t.Error("an SCCRQ of RFC 3931 without a Router ID is taken")
	}
}
