package wire

import (
	"bytes"
	"io"
	"math/rand"
	"reflect"
	"testing"

	"pgregory.net/rapid"
)

// anyMessage is a message of any type with any values that an AVP of so many
// octets can have, some of the optional ones absent.
func anyMessage(t *rapid.T, ed *edition, room int) *Message {
	var types []MessageType
	for i, l := range ed.listings {
		if l.name != "" {
			types = append(types, MessageType(i))
		}
	}
	m := &Message{Type: rapid.SampledFrom(types).Draw(t, "type")}
	m.MandatoryType = !m.Type.mayBeIgnored()
	m.Set(AVPMessageType)
	l := ed.listings[m.Type]
	for i, a := range append(l.must[1:len(l.must):len(l.must)], l.may...) {
		if i < len(l.must)-1 || rapid.Bool().Draw(t, a.String()+" is there") {
			m.Set(a)
			anyValue(t, a.String(), rowOf(ed.attributes, a).field(m), room)
		}
	}
	if m.Type.hasAccessLine() && ed == editionV2 {
		for i, row := range lineAttributes {
			if row.name != "" && rapid.Bool().Draw(t, row.name+" is there") {
				anyValue(t, row.name, lineAttributes[i].field(m), room)
			}
		}
		if m.AccessLine != nil && *m.AccessLine == (AccessLine{}) {
			m.AccessLine = nil
		}
	}
	return m
}

func anyValue(t *rapid.T, label string, v value, room int) {
	draw := func(least, most int) []byte {
		return rapid.SliceOfN(rapid.Byte(), least, most).Draw(t, label)
	}
	switch v := v.(type) {
	case *u16:
		*v = u16(rapid.Uint16().Draw(t, label))
	case *u32:
		*v = u32(rapid.Uint32().Draw(t, label))
	case *u64:
		*v = u64(rapid.Uint64().Draw(t, label))
	case *low:
		*v = low(rapid.Byte().Draw(t, label))
	case *id:
		*v = id(rapid.Uint16Min(1).Draw(t, label))
	case *text:
		*v = text(draw(0, room))
	case *octets:
		*v = append(octets(nil), draw(0, room)...)
	case *challenge:
		*v = draw(1, room)
	case fixed:
		copy(v, draw(len(v), len(v)))
	case *flag:
		*v = true
	case *Result:
		*v = Result{Code: rapid.Uint16().Draw(t, "code")}
		if rapid.Bool().Draw(t, "has an error") {
			v.HasError, v.Error, v.Text = true, rapid.Uint16().Draw(t, "error"), string(draw(0, room-4))
		}
	case *Q931Cause:
		*v = Q931Cause{rapid.Uint16().Draw(t, "cause"), rapid.Byte().Draw(t, "message"), string(draw(0, room-3))}
	case *DisconnectCause:
		*v = DisconnectCause{rapid.Uint16().Draw(t, "cause"), rapid.Uint16().Draw(t, "protocol"), rapid.Byte().Draw(t, "direction"), string(draw(0, room-5))}
	case *CallErrors:
		for _, n := range []*uint32{&v.CRC, &v.Framing, &v.HardwareOverruns, &v.BufferOverruns, &v.Timeouts, &v.Alignment} {
			*n = rapid.Uint32().Draw(t, "errors")
		}
	case *ACCM:
		*v = ACCM{rapid.Uint32().Draw(t, "send"), rapid.Uint32().Draw(t, "receive")}
	case *speedUpdates:
		for range rapid.IntRange(1, 5).Draw(t, label) {
			*v = append(*v, ConnectSpeedUpdate{uint32(rapid.Uint16().Draw(t, "session")), rapid.Uint32().Draw(t, "tx"), rapid.Uint32().Draw(t, "rx")})
		}
	case *id32:
		*v = id32(rapid.Uint32Min(1).Draw(t, label))
	case *list16:
		*v = rapid.SliceOfN(rapid.Uint16(), 1, room/2).Draw(t, label)
	case *cookie:
		*v = append(cookie(nil), draw(8, 8)[:4*rapid.IntRange(0, 2).Draw(t, label)]...)
	case *digests:
		*v = rapid.SliceOfN(rapid.SampledFrom([]DigestType{DigestMD5, DigestSHA1}), 1, 2).Draw(t, label)
	case *circuitErrors:
		anyValue(t, label, (*CallErrors)(v), room)
	default:
		t.Fatalf("%s is a %T, of which there is no generator", label, v)
	}
}

// editions are both, with what encodes a message of theirs.
var editions = map[string]*edition{"v2": editionV2, "v3": editionV3}

func (ed *edition) append(m *Message) []byte {
	if ed == editionV3 {
		return m.AppendV3(nil)
	}
	return m.Append(nil)
}

func (ed *edition) appendHidden(m *Message, secret []byte, random io.Reader) []byte {
	if ed == editionV3 {
		return m.AppendHiddenV3(nil, secret, random)
	}
	return m.AppendHidden(nil, secret, random)
}

// both checks a property of either edition.
func both(t *testing.T, property func(t *rapid.T, ed *edition)) {
	for name, ed := range editions {
		t.Run(name, func(t *testing.T) { rapid.Check(t, func(t *rapid.T) { property(t, ed) }) })
	}
}

// What one side appends, the other parses.
func TestRoundTrip(t *testing.T) {
	both(t, func(t *rapid.T, ed *edition) {
		m := anyMessage(t, ed, maxValue)
		parsed, err := ed.parse(ed.append(m), nil)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(parsed, m) {
			t.Fatalf("sent\n%+v\nreceived\n%+v", *m, *parsed)
		}
	})
}

// A peer that hides all that may be hidden, with any padding, says the same.
func TestRoundTripHiddenByAPeer(t *testing.T) {
	both(t, func(t *rapid.T, ed *edition) {
		m := anyMessage(t, ed, maxValue)
		secret := rapid.StringN(1, 40, -1).Draw(t, "secret")
		vector := string(rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "vector"))
		var wire []byte
		d := NewAVPs(ed.append(m))
		for d.Next() {
			a := d.AVP()
			if room := maxValue - 2 - len(a.Value); ed.row(a).bits&mayH != 0 && room >= 0 {
				padding := rapid.SliceOfN(rapid.Byte(), 0, min(40, room)).Draw(t, "padding")
				a.Hidden, a.Value = true, hide(a.Type, secret, vector, len(a.Value), a.Value, padding)
			}
			wire = append(wire, raw(a)...)
			if a.Type == AVPMessageType {
				wire = append(wire, raw(AVP{Mandatory: true, Type: AVPRandomVector, Value: []byte(vector)})...)
			}
		}
		parsed, err := ed.parse(wire, []byte(secret))
		if err != nil {
			t.Fatal(err)
		}
		m.Set(AVPRandomVector)
		if !reflect.DeepEqual(parsed, m) {
			t.Fatalf("sent\n%+v\nreceived\n%+v", *m, *parsed)
		}
	})
}

// What one side hides, the other unhides: all that may be hidden, nothing else.
func TestRoundTripHidden(t *testing.T) {
	both(t, func(t *rapid.T, ed *edition) {
		m := anyMessage(t, ed, maxHidden)
		secret := []byte(rapid.StringN(1, 40, -1).Draw(t, "secret"))
		random := rand.New(rand.NewSource(rapid.Int64().Draw(t, "random")))
		wire := ed.appendHidden(m, secret, random)
		parsed, err := ed.parse(wire, secret)
		if err != nil {
			t.Fatal(err)
		}
		hidden := 0
		for d := NewAVPs(wire); d.Next(); {
			a := d.AVP()
			if a.Hidden != (ed.row(a).bits&mayH != 0) {
				t.Fatalf("%v: hidden %v", a, a.Hidden)
			}
			if a.Hidden {
				hidden++
			}
		}
		if parsed.Has(AVPRandomVector) != (hidden > 0) {
			t.Fatalf("%d AVPs are hidden, a Random Vector is there: %v", hidden, parsed.Has(AVPRandomVector))
		}
		if hidden > 0 {
			m.Set(AVPRandomVector)
		}
		if !reflect.DeepEqual(parsed, m) {
			t.Fatalf("sent\n%+v\nreceived\n%+v", *m, *parsed)
		}
	})
}

// The AVPs that the iterator finds are the message up to where it ends.
func FuzzAVPs(f *testing.F) {
	seed(f, func(wire []byte) { f.Add(wire) })
	f.Fuzz(func(t *testing.T, payload []byte) {
		var again []byte
		d := NewAVPs(payload)
		for d.Next() {
			again = append(again, raw(d.AVP())...)
		}
		if !bytes.HasPrefix(payload, again) {
			t.Fatalf("%x is, written again, %x", payload, again)
		}
		if ended := len(again) == len(payload); ended != (d.Err() == nil) {
			t.Fatalf("%d of %d octets read, error %v", len(again), len(payload), d.Err())
		}
		if err := d.Err(); d.Next() || d.Err() != err {
			t.Fatal("the iterator went on after its end")
		}
	})
}

// Whatever was parsed without an error can be encoded, and is then the same
// message, without what was skipped.
func FuzzMessage(f *testing.F) {
	seed(f, func(wire []byte) { f.Add(wire, []byte(secret), false); f.Add(wire, []byte{}, false) })
	f.Add(helloV3(SCCRQ, nonceA, DigestMD5).AppendV3(nil), []byte{}, true)
	f.Add((&Message{Type: ICRQ, AssignedSessionID: 7, V3: V3{AssignedCookie: nonceA[:8], RemoteEndID: nonceB}}).AppendHiddenV3(nil, []byte(secret), bytes.NewReader(make([]byte, 256))), []byte(secret), true)
	f.Fuzz(func(t *testing.T, payload, secret []byte, isV3 bool) {
		ed := editionV2
		if isV3 {
			ed = editionV3
		}
		m, err := ed.parse(payload, secret)
		if m == nil {
			t.Fatal("no message")
		}
		if err != nil {
			if e, ok := err.(*Error); !ok || e == nil || e.Code == 0 || e.Reason == "" || e.Message != m.Type {
				t.Fatalf("an error of type %T without what an answer needs: %+v", err, err)
			}
			return
		}
		for _, a := range m.Skipped {
			if !isV3 && !bytes.Contains(payload, raw(a)) {
				t.Fatalf("skipped %+v, which is not in %x", a, payload)
			}
		}
		if !ed.known(m.Type) {
			return
		}
		encoded := ed.append(m)
		again, err := ed.parse(encoded, nil)
		if err != nil {
			t.Fatalf("%x is, encoded again, %x: %v", payload, encoded, err)
		}
		m.MandatoryType, m.Skipped = !m.Type.mayBeIgnored(), nil
		if m.Has(AVPRandomVector) {
			again.Set(AVPRandomVector) // it served the parsing, and is not sent
		}
		if !reflect.DeepEqual(again, m) {
			t.Fatalf("parsed\n%+v\nencoded and parsed again\n%+v", *m, *again)
		}
		if twice := ed.append(again); !bytes.Equal(twice, encoded) {
			t.Fatalf("encoded %x, encoded again %x", encoded, twice)
		}
	})
}

// What we hide of a message of the peer's is what it said; and what is made of
// any octets that claim to be hidden is no more than they are.
func FuzzHidden(f *testing.F) {
	seed(f, func(wire []byte) { f.Add(wire, []byte(secret), int64(1)) })
	f.Fuzz(func(t *testing.T, payload, secret []byte, random int64) {
		if len(secret) == 0 {
			return
		}
		for _, a := range []AVPType{AVPCallingNumber, AVPAssignedSessionID} {
			if original, ok := unhide(a, secret, secret, payload); ok && len(original) > len(payload)-hiddenLengthLen {
				t.Fatalf("%d octets are hidden in %d", len(original), len(payload))
			}
		}
		m, err := ParseMessage(payload, secret)
		if err != nil || !m.Type.Known() || tooLong(m) {
			return
		}
		hidden := m.AppendHidden(nil, secret, rand.New(rand.NewSource(random)))
		again, err := ParseMessage(hidden, secret)
		if err != nil {
			t.Fatalf("%x is, hidden, %x: %v", payload, hidden, err)
		}
		if got, want := again.Append(nil), m.Append(nil); !bytes.Equal(got, want) {
			t.Fatalf("%x is, hidden and unhidden, %x", want, got)
		}
	})
}

// tooLong reports whether a value does not fit into a hidden AVP, which takes
// two octets less: a text is cut, and other octets are a bug.
func tooLong(m *Message) bool {
	for d := NewAVPs(m.Append(nil)); d.Next(); {
		if len(d.AVP().Value) > maxHidden {
			return true
		}
	}
	return false
}

func seed(f *testing.F, add func(wire []byte)) {
	for _, row := range golden {
		add(unhex(f, row.bytes...))
	}
	for _, row := range [][]string{
		{isSCCRQ, randomVector, version, host, framing, hiddenTunnel},
		{isICRQ, randomVector, call, hiddenCalling},
		{isICCN, randomVector, speeds, hiddenProxy},
		{isICRQ, call, "0009 0de9 0002 010203", "9008 0000 000a 0004", "8008 0000 000e 9999"},
		{isSCCRQ, start, "8005 0000 0008", "ff"},
		{isSCCRP, start, "8015 0000 000d", "cc"},
		{isStopCCN, tunnel, "8009 0000 0001 0006 00"},
		{isCDN, "8008 0000 0001 0003", session},
		{isICRQ, randomVector, call, hiddenCircuit},
		{isICRQ, call, "000e 0de9 0081 0000000000000000", "000e 0de9 0081 0000000000000001", "000a 0de9 00fe 00000000"},
		{isCSUN, speedUpdate, "8012 0000 0061 ffff 0001 00000003 00000004"},
		{"0008 0000 0000 ffff", "0000"},
	} {
		add(unhex(f, row...))
	}
}
