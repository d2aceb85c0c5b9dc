package wire

import (
	"math/rand/v2"
	"testing"
)

func TestParseOpeningAllocatesNothing(t *testing.T) {
	avps := (&Message{Type: SCCRQ, ProtocolVersion: ProtocolVersion, HostName: "lac", VendorName: "a vendor", AssignedTunnelID: 7}).Append(nil)
	if n := testing.AllocsPerRun(100, func() {
		if o, ok := ParseOpening(avps); !ok || o.Type != SCCRQ || o.TunnelID != 7 {
			t.Errorf("found %+v, %v", o, ok)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzParseOpening has the glance agree with the reading: what it finds is what
// ParseMessage finds, and it finds what ParseMessage has no objections to.
func FuzzParseOpening(f *testing.F) {
	secret := []byte("tunsecret")
	for _, m := range []*Message{
		{Type: SCCRQ, ProtocolVersion: ProtocolVersion, HostName: "lac", AssignedTunnelID: 7},
		{Type: SCCRP, ProtocolVersion: ProtocolVersion, HostName: "lns", AssignedTunnelID: 0xffff},
		{Type: StopCCN, AssignedTunnelID: 7, Result: Result{Code: StopClear}},
		{Type: SCCCN}, {Type: HELLO}, {Type: ICRQ, AssignedSessionID: 7},
	} {
		f.Add(m.Append(nil))
		f.Add(m.AppendHidden(nil, secret, rand.NewChaCha8([32]byte{1})))
	}
	f.Add([]byte{0x80, 8, 0, 0, 0, 0, 0, 1, 0x80, 7, 0, 0, 0, 9, 1})                            // an id of one octet
	f.Add([]byte{0x80, 8, 0, 0, 0, 0, 0, 1, 0x84, 8, 0, 0, 0, 9, 0, 1, 0, 8, 0, 0, 0, 9, 0, 2}) // reserved bits
	f.Add([]byte{0x80, 8, 0, 9, 0, 9, 0, 1, 0x80, 8, 0, 0, 0, 0, 0, 1, 0, 8, 0, 0, 0, 9, 0, 2}) // not at the front
	f.Fuzz(func(t *testing.T, avps []byte) {
		o, ok := ParseOpening(avps)
		m, err := ParseMessage(avps, secret)
		if ok && (o.Type != m.Type || o.Hidden == nil && o.TunnelID != m.AssignedTunnelID) {
			t.Errorf("at a glance %+v, read %v with id %d", o, m.Type, m.AssignedTunnelID)
		}
		if opens := m.Type == SCCRQ || m.Type == SCCRP || m.Type == StopCCN; !ok && err == nil && opens {
			t.Errorf("not seen at a glance: %v with id %d", m.Type, m.AssignedTunnelID)
		}
	})
}
