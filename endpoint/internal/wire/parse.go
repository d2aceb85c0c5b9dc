package wire

import (
	"bytes"
	"slices"
)

// ParseMessage reads the AVPs of a control message, which are the payload of
// its header. With the secret, hidden AVPs are unhidden; empty: there is none.
//
// The message is never nil: an error does not stop the reading, so what could
// be read before and after it is there, the identifiers for an answer, or the
// Result of a StopCCN or CDN that is broken elsewhere. The error is the first
// [*Error], one of:
//   - an AVP with an impossible Length, or octets after the last AVP;
//   - no Message Type at the front;
//   - an AVP with the M bit that is not known: of another vendor (looked at
//     before the attribute type), of an attribute type that neither table has,
//     or with reserved bits;
//   - a malformed AVP with the M bit, or one that must be present: a wrong
//     length, a hidden one that cannot be unhidden or may not be hidden, an
//     assigned identifier of 0;
//   - a missing AVP that must be present.
//
// Other unknown and malformed AVPs go to Skipped. So do, with or without the M
// bit, AVPs that the RFCs do not list for this message, and repeated ones: RFC
// 2661 is silent about both, they are known, and of several the first counts.
// Those that may repeat are Connect Speed Updates, and Random Vectors, where
// each serves the hidden AVPs that follow it.
//
// A message of an unknown type is no error, since its M bit decides about it
// ([Message.MandatoryType]); its other AVPs are not read.
func ParseMessage(avps, secret []byte) (*Message, error) {
	return editionV2.parse(avps, secret)
}

func (ed *edition) parse(avps, secret []byte) (*Message, error) {
	p := parser{edition: ed, message: new(Message), secret: secret}
	d := NewAVPs(avps)
	for first := true; d.Next(); first = false {
		a := ed.meant(d.AVP())
		p.draft = p.draft || a.Vendor != d.AVP().Vendor
		if first && (ed.row(a) == nil || a.Vendor != 0 || a.Type != AVPMessageType) {
			p.fail(&Error{Attribute: AVPMessageType, Mandatory: true, Code: ErrorVendor,
				Reason: "the first AVP is " + a.String() + ", expected Message Type"})
		}
		p.avp(a)
		if p.err == nil && !ed.known(p.message.Type) {
			return p.message, nil
		}
	}
	if d.err != nil {
		p.fail(d.err)
	}
	if l := p.message.AccessLine; l != nil && *l == (AccessLine{}) {
		p.message.AccessLine = nil // a malformed AVP, or none that tells something
	}
	if p.err == nil {
		p.missing()
	}
	if p.err != nil {
		p.err.Message = p.message.Type
		return p.message, p.err
	}
	return p.message, nil
}

type parser struct {
	edition *edition
	message *Message
	secret  []byte
	vector  []byte       // the value of the last Random Vector, not nil
	seen    []*attribute // in order or not, once each
	draft   bool         // one of them was a vendor's name for one of the IETF
	err     *Error       // the first
}

func (p *parser) fail(err *Error) {
	if p.err == nil {
		p.err = err
	}
}

// skip passes over an AVP. Its value is of the datagram, so it is copied.
func (p *parser) skip(a AVP) {
	a.Value = bytes.Clone(a.Value)
	p.message.Skipped = append(p.message.Skipped, a)
}

func (p *parser) avp(a AVP) {
	row := p.edition.row(a)
	if row == nil {
		if a.Mandatory {
			p.fail(a.unknown())
		}
		p.skip(a)
		return
	}
	again := slices.Contains(p.seen, row)
	if again && row.bits&repeats == 0 || row.field == nil && a.Type != AVPRandomVector || row.field != nil && !p.edition.lists(p.message, a) {
		p.skip(a)
		return
	}
	if !again {
		p.seen = append(p.seen, row)
	}
	if code, reason := p.decode(a, row); code != 0 {
		if a.Mandatory || p.edition.needs(p.message, a) {
			p.fail(a.fault(code, reason))
		}
		p.skip(a)
		return
	}
	if a.Vendor == 0 {
		p.message.Set(a.Type)
	}
	if a.Vendor == 0 && a.Type == AVPMessageType {
		p.message.MandatoryType = a.Mandatory
	}
}

// decode puts the AVP's value into its field of the message.
func (p *parser) decode(a AVP, row *attribute) (code uint16, reason string) {
	if a.Hidden {
		switch {
		case row.bits&mayH == 0:
			return ErrorValue, "may not be hidden"
		case p.vector == nil:
			return ErrorVendor, "hidden, and no Random Vector precedes it"
		case len(p.secret) == 0:
			return ErrorVendor, "hidden, and there is no secret to unhide it"
		}
		value, ok := unhide(a.Type, p.secret, p.vector, a.Value)
		if !ok {
			return ErrorVendor, "hidden, and cannot be unhidden with this secret"
		}
		a.Value = value
	}
	if row.field == nil { // Random Vector
		p.vector = a.Value
		return 0, ""
	}
	return row.field(p.message).decode(a.Value)
}

// missing fails when an AVP that must be present is not.
func (p *parser) missing() {
	t := AVPMessageType
	if p.message.Has(t) {
		must := p.edition.listings[p.message.Type].must
		i := slices.IndexFunc(must, func(t AVPType) bool {
			// Cisco's draft has no number for Router ID.
			return !p.message.Has(t) && !(p.draft && t == AVPRouterID)
		})
		if i < 0 {
			return
		}
		t = must[i]
	}
	p.fail(&Error{Attribute: t, Mandatory: true, Code: ErrorVendor, Reason: t.String() + " is missing"})
}
