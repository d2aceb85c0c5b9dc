package wire

// An encoder appends the AVPs of a message.
type encoder struct {
	edition *edition
	b       []byte
	hider   *hider             // nil: nothing is hidden
	value   []byte             // of an AVP; kept for its room
	without func(AVPType) bool // the M bit; nil: none
}

func (e *encoder) message(m *Message) {
	if !e.edition.known(m.Type) {
		panic("BUG: wire: the AVPs of " + m.Type.String() + " are not known")
	}
	for i, t := range e.edition.listings[m.Type].must {
		e.attribute(m, AVP{Type: t}, true)
		if i == 0 && len(m.Digests) > 0 {
			// It "MUST be placed immediately after the Message Type AVP" (RFC 3931
			// §5.4.1).
			ed := e.edition
			e.edition = editionV3
			e.attribute(m, AVP{Type: AVPMessageDigest}, false)
			e.edition = ed
		}
	}
	for _, t := range e.edition.listings[m.Type].may {
		if t != AVPMessageDigest {
			e.attribute(m, AVP{Type: t}, m.Has(t))
		}
	}
	if m.AccessLine == nil || !m.Type.hasAccessLine() {
		return
	}
	for t := range lineAttributes {
		if lineAttributes[t].name != "" {
			e.attribute(m, AVP{Vendor: vendorBroadbandForum, Type: AVPType(t)}, false)
		}
	}
}

// attribute appends the AVP with the value that the message has, or if it
// repeats one for each value. If there is none it is there only if always so.
func (e *encoder) attribute(m *Message, a AVP, always bool) {
	row := e.edition.row(a)
	v := row.field(m)
	if v.isZero() && !always {
		return
	}
	a.Mandatory = row.bits&setM != 0 && (e.without == nil || !e.without(a.Type))
	if a.Vendor == 0 && a.Type == AVPMessageType {
		a.Mandatory = !m.Type.mayBeIgnored()
	}
	switch v := v.(type) {
	case single:
		e.avp(a, row, v)
	case series:
		for _, v := range v.each() {
			e.avp(a, row, v)
		}
	}
}

func (e *encoder) avp(a AVP, row *attribute, v single) {
	if e.hider == nil || row.bits&mayH == 0 {
		e.value = v.append(e.value[:0], maxValue)
		a.Value = e.value
		e.b = a.append(e.b)
		return
	}
	if e.hider.vector == nil || row.bits&repeats != 0 {
		// AVPs of one type, hidden with one vector, would have their first 16
		// octets XORed with the same.
		e.hider.renew()
		e.b = AVP{Type: AVPRandomVector, Mandatory: true, Value: e.hider.vector}.append(e.b)
	}
	e.value = append(e.value[:0], 0, 0)
	e.value = v.append(e.value, maxHidden)
	e.value = e.hider.hide(a.Type, e.value)
	a.Hidden, a.Value = true, e.value
	e.b = a.append(e.b)
}
