package wire

import (
	"reflect"
	"slices"
	"testing"
)

// "This is accomplished by sending an SCCRQ with its Ver field set to 2 […], and ensuring
// that any L2TPv3-specific AVPs […] in the message are sent with each M bit set to 0, and
// that all L2TPv2 AVPs are present as they would be for L2TPv2." (RFC 3931 §4.7.3)
func TestFallbackSCCRQ(t *testing.T) {
	m := helloV3(SCCRQ, nonceA, DigestMD5)
	m.ProtocolVersion, m.FramingCapabilities, m.ReceiveWindowSize = ProtocolVersion, 3, 16
	m.AssignedTunnelID, m.Challenge = 0x1234, nonceB
	avps := m.AppendFallback(nil, 0x11223344)

	of2, err := ParseMessage(avps, nil)
	if err != nil || of2.AssignedTunnelID != 0x1234 || of2.HostName != "lcce" || !slices.Equal(of2.Challenge, nonceB) || of2.ReceiveWindowSize != 16 {
		t.Errorf("as L2TPv2 %+v, error %v", of2, err)
	}
	for _, a := range of2.Skipped {
		if a.Mandatory || a.Type < AVPMessageDigest {
			t.Errorf("L2TPv2 passes over %v, M %v", a, a.Mandatory)
		}
	}
	// "An L2TPv3-only implementation MUST ignore all L2TPv2 AVPs […] (even if the M bit is
	// set on the L2TPv2-specific AVPs)."
	of3, err := ParseMessageV3(avps, nil)
	if err != nil || of3.AssignedTunnelID != 0x11223344 || !reflect.DeepEqual(of3.Pseudowires, m.Pseudowires) || of3.RouterID != m.RouterID {
		t.Errorf("as L2TPv3 %+v, error %v", of3, err)
	}
	if o, ok := ParseOpening(avps); !ok || o.TunnelID != 0x1234 {
		t.Errorf("at a glance, as L2TPv2: %+v, %v", o, ok)
	}
	if o, ok := ParseOpeningV3(avps); !ok || o.TunnelID != 0x11223344 || !OffersV3(avps) {
		t.Errorf("at a glance, as L2TPv3: %+v, %v", o, ok)
	}
	if m.AssignedTunnelID = 0x1234; OffersV3(m.Append(nil)[:60]) {
		t.Error("an SCCRQ of L2TPv2 alone offers L2TPv3")
	}

	// Its digest is that of a message of Ver 2.
	packet := m.AppendFallback(AppendControlHeader(nil, 0, 0, 0, 0), 0x11223344)
	SetLength(packet)
	Sign(packet, nil, nil, tunKey)
	if present, valid := Verify(packet, nil, nil, tunKey); !present || !valid {
		t.Errorf("its digest: present %v, valid %v", present, valid)
	}
}

// Cisco's attributes of a draft of RFC 3931 mean what those of the RFC do.
func TestDraftAttributes(t *testing.T) {
	as := func(a AVP, t AVPType) []byte {
		a.Vendor, a.Type = vendorCisco, t
		return raw(a)
	}
	var avps []byte
	for d := NewAVPs((&Message{Type: ICRQ, AssignedSessionID: 7, V3: V3{AssignedCookie: nonceA[:8], RemoteEndID: []byte("end"), PseudowireType: 5, CircuitStatus: 1}}).AppendV3(nil)); d.Next(); {
		a := d.AVP()
		switch a.Type {
		case AVPLocalSessionID:
			avps = append(avps, as(a, 3)...)
		case AVPRemoteSessionID:
			avps = append(avps, as(a, 4)...)
		case AVPAssignedCookie:
			avps = append(avps, as(a, 5)...)
		case AVPRemoteEndID:
			avps = append(avps, as(a, 6)...)
		case AVPPseudowireType:
			avps = append(avps, as(a, 7)...)
		case AVPCircuitStatus:
			avps = append(avps, as(a, 8)...)
		default:
			avps = append(avps, raw(a)...)
		}
	}
	avps = append(avps, as(AVP{Mandatory: true, Value: []byte{0, 1}}, 10)...) // draft version
	m, err := ParseMessageV3(avps, nil)
	if err != nil || m.AssignedSessionID != 7 || !slices.Equal(m.AssignedCookie, nonceA[:8]) || string(m.RemoteEndID) != "end" || m.PseudowireType != 5 || m.CircuitStatus != 1 {
		t.Errorf("%+v, error %v", m, err)
	}
	if _, err := ParseMessageV3(append(avps, as(AVP{Mandatory: true}, 200)...), nil); err == nil {
		t.Error("one that is not known, with the M bit, is no error")
	}
}
