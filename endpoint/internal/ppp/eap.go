package ppp

import (
	"encoding/binary"
	"fmt"
)

// EAP codes (RFC 3748 §4). Its packets have the header of all others.
const (
	eapRequest  = 1 // | Type 1 | Type-Data |
	eapResponse = 2
	eapSuccess  = 3 // nothing
	eapFailure  = 4
)

// EAP Types (RFC 3748 §5). Those of the methods are in the table of methods.
const (
	eapIdentity     = 1
	eapNotification = 2
	eapNak          = 3
	eapExpanded     = 254 // | Vendor-Id 3 | Vendor-Type 4 |
)

// An eapType is the Type of a Request or Response.
type eapType struct {
	expanded bool   // it came as an Expanded Type, and so goes the Response
	vendor   uint32 // zero: the IETF
	number   uint32
}

// parseEAP takes the data of a Request or Response apart. "An implementation …
// MUST treat EAP Types that are less than 256 equivalently, whether they appear
// as a single octet or as the 32-bit Vendor-Type within an Expanded Type where
// Vendor-Id is 0" (RFC 3748 §5.7).
func parseEAP(data []byte) (t eapType, typeData []byte, ok bool) {
	switch {
	case len(data) < 1:
		return eapType{}, nil, false
	case data[0] != eapExpanded:
		return eapType{number: uint32(data[0])}, data[1:], true
	case len(data) < 8:
		return eapType{}, nil, false
	}
	vendor := binary.BigEndian.Uint32(data) & 0xffffff
	return eapType{true, vendor, binary.BigEndian.Uint32(data[4:])}, data[8:], true
}

// appendTo appends the Type as it stands in a packet.
func (t eapType) appendTo(b []byte) []byte {
	if !t.expanded {
		return append(b, uint8(t.number))
	}
	b = binary.BigEndian.AppendUint32(b, eapExpanded<<24|t.vendor)
	return binary.BigEndian.AppendUint32(b, t.number)
}

// is reports whether the Type is that one of the IETF's.
func (t eapType) is(number uint8) bool { return t.vendor == 0 && t.number == uint32(number) }

// method is the one of the methods that has the Type; zero: none.
func (t eapType) method(list []Method) Method {
	for _, m := range list {
		if t.is(methods[m].eapType) {
			return m
		}
	}
	return 0
}

// nak is the Response to a Request of an authentication Type that is not one of
// the methods: it lists those that we agree to, "or the value zero (0) to indicate
// no proposed alternative" (RFC 3748 §5.3.1). An Expanded Type gets an Expanded
// Nak (§5.3.2).
func (t eapType) nak(list []Method) []byte {
	b := eapType{expanded: t.expanded, number: eapNak}.appendTo(nil)
	for _, m := range list {
		b = eapType{expanded: t.expanded, number: uint32(methods[m].eapType)}.appendTo(b)
	}
	if len(list) == 0 {
		b = eapType{expanded: t.expanded}.appendTo(b)
	}
	return b
}

// String is the Type's name as of a method, such as eap-tls.
func (t eapType) String() string {
	if t.vendor != 0 {
		return fmt.Sprintf("eap type %d of vendor %d", t.number, t.vendor)
	}
	if m := t.method([]Method{EAPMD5, EAPMSCHAPv2}); m != 0 {
		return m.String()
	}
	switch t.number {
	case 5:
		return "eap-otp"
	case 6:
		return "eap-gtc"
	case 13:
		return "eap-tls"
	case 21:
		return "eap-ttls"
	case 25:
		return "peap"
	}
	return fmt.Sprintf("eap type %d", t.number)
}
