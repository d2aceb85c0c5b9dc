package wire

import (
	"bytes"
	"errors"
	"testing"

	"pgregory.net/rapid"
)

// "All reserved values MUST be set to 0 on outgoing messages and ignored on incoming
// messages. The Ver field MUST be set to 3" (RFC 3931 §4.1.2.1).
func TestV3DataHeader(t *testing.T) {
	cookie4, cookie8 := unhex(t, "aabbccdd"), unhex(t, "1122334455667788")
	for _, c := range []struct {
		cookie    []byte
		sublayer  bool
		sequence  uint32
		sequenced bool
		want      string
	}{
		{nil, false, 0, false, "0003 0000 33334444"},
		{cookie4, false, 0, false, "0003 0000 33334444 aabbccdd"},
		{cookie8, false, 7, true, "0003 0000 33334444 1122334455667788"},
		{nil, true, 0, false, "0003 0000 33334444 00000000"},
		{nil, true, 0, true, "0003 0000 33334444 40000000"},
		{cookie4, true, 0xffffff, true, "0003 0000 33334444 aabbccdd 40ffffff"},
		{cookie8, true, 0x1000001, true, "0003 0000 33334444 1122334455667788 40000001"},
		{cookie8, true, 5, false, "0003 0000 33334444 1122334455667788 00000000"},
	} {
		want := unhex(t, c.want)
		if n := V3DataLen(len(c.cookie), c.sublayer); n != len(want) {
			t.Fatalf("%s: V3DataLen is %d, want %d", c.want, n, len(want))
		}
		b := bytes.Repeat([]byte{0xee}, len(want)+2)
		PutV3DataHeader(b, 0x33334444, c.cookie, c.sublayer, c.sequence, c.sequenced)
		if !bytes.Equal(b[:len(want)], want) || b[len(want)] != 0xee {
			t.Errorf("written %x, want %x and nothing else", b, want)
		}
	}
}

// "it is important that the Ver field be inspected first" (RFC 3931 §4.1.2.1): the
// bits that L2TPv2 has for Length, Ns, Offset Size and Priority say nothing.
func TestV3DataHeaderIgnoresReservedBits(t *testing.T) {
	for _, head := range []string{"0003 0000", "7ff3 ffff", "4003 0001", "0803 0000", "0203 0000"} {
		control, id, rest, err := ParseV3(unhex(t, head, "11112222 0102"))
		if control || id != 0x11112222 || !bytes.Equal(rest, []byte{1, 2}) || err != nil {
			t.Errorf("%s: control %v, session %#x, rest %x, error %v", head, control, id, rest, err)
		}
	}
}

func TestParseV3Refuses(t *testing.T) {
	for _, c := range []struct {
		datagram string
		want     error
	}{
		{"", ErrShort},
		{"00", ErrShort},
		{"0003", ErrShort},
		{"0003 0000 111122", ErrShort},
		{"0002", ErrVersion3},
		{"0002 0000 1111 2222", ErrVersion3},
		{"0004 0000 1111 2222", ErrVersion3},
		{"c802 000c 0000 0000 0000 0000", ErrVersion3},
		{"c803 000c 00000001 0000", ErrShort},
		{"c803 000b 00000001 0000 0000", ErrLength},
		{"c803 000d 00000001 0000 0000", ErrLength},
		{"8003 000c 00000001 0000 0000", ErrControl3},
		{"c003 000c 00000001 0000 0000", ErrControl3},
		{"8803 000c 00000001 0000 0000", ErrControl3},
	} {
		if _, _, _, err := ParseV3(unhex(t, c.datagram)); !errors.Is(err, c.want) {
			t.Errorf("%q: error %v, want %v", c.datagram, err, c.want)
		}
	}
	if _, _, err := ParseV3Control(unhex(t, "0003 000c 00000001 0000 0000")); !errors.Is(err, ErrControl3) {
		t.Errorf("a data message as a control message: error %v, want %v", err, ErrControl3)
	}
}

func TestV3ControlHeader(t *testing.T) {
	b := AppendV3ControlHeader(nil, 0xdeadbeef, 3, 5)
	if want := unhex(t, "c803 000c deadbeef 0003 0005"); !bytes.Equal(b, want) {
		t.Fatalf("written %x, want %x", b, want)
	}
	b = append(b, "avps"...)
	SetLength(b)
	SetSequence(b, 4, 9)
	b = append(b, "padding"...)
	control, id, rest, err := ParseV3(b)
	if !control || id != 0xdeadbeef || string(rest) != "avps" || err != nil {
		t.Errorf("control %v, connection %#x, rest %q, error %v", control, id, rest, err)
	}
	h, avps, err := ParseV3Control(b)
	if want := (Header{Version: 3, Control: true, TunnelID: 0xdeadbeef, HasNs: true, Ns: 4, Nr: 9}); h != want || string(avps) != "avps" || err != nil {
		t.Errorf("header %+v, AVPs %q, error %v, want %+v", h, avps, err, want)
	}
}

// "If the S bit is set to zero, the Sequence Number contents are undefined and MUST be
// ignored by the receiver." (RFC 3931 §4.6)
func TestSublayer(t *testing.T) {
	for _, c := range []struct {
		b         string
		sequenced bool
		sequence  uint32
		rest      string
		ok        bool
	}{
		{"40000000 01", true, 0, "01", true},
		{"40ffffff", true, 0xffffff, "", true},
		{"ff123456 0203", true, 0x123456, "0203", true}, // reserved bits
		{"00000016 01", false, 0, "01", true},           // QEMU's counter
		{"bfffffff", false, 0, "", true},
		{"400000", false, 0, "", false},
		{"", false, 0, "", false},
	} {
		sequenced, sequence, rest, ok := ParseSublayer(unhex(t, c.b))
		if sequenced != c.sequenced || sequence != c.sequence || !bytes.Equal(rest, unhex(t, c.rest)) || ok != c.ok {
			t.Errorf("%s: S %v, number %#x, rest %x, ok %v", c.b, sequenced, sequence, rest, ok)
		}
	}
}

// "Any received data packets that contain invalid Session IDs or associated Cookie values
// MUST be dropped." (RFC 3931 §4.5)
func TestCutCookie(t *testing.T) {
	for _, c := range []struct {
		rest, cookie, after string
		ok                  bool
	}{
		{"0102", "", "0102", true},
		{"", "", "", true},
		{"aabbccdd 01", "aabbccdd", "01", true},
		{"1122334455667788", "1122334455667788", "", true},
		{"aabbccde 01", "aabbccdd", "", false},
		{"1122334455667789 01", "1122334455667788", "", false},
		{"aabbcc", "aabbccdd", "", false},
		{"", "aabbccdd", "", false},
	} {
		after, ok := CutCookie(unhex(t, c.rest), unhex(t, c.cookie))
		if ok != c.ok || !bytes.Equal(after, unhex(t, c.after)) {
			t.Errorf("%q with cookie %q: %x, %v", c.rest, c.cookie, after, ok)
		}
	}
}

func TestV3DataThereAndBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		session := rapid.Uint32().Draw(t, "session")
		cookie := rapid.SliceOfN(rapid.Byte(), 8, 8).Draw(t, "cookie")[:4*rapid.IntRange(0, 2).Draw(t, "words")]
		sublayer, sequenced := rapid.Bool().Draw(t, "sublayer"), rapid.Bool().Draw(t, "sequenced")
		sequence := rapid.Uint32().Draw(t, "sequence")
		frame := rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, "frame")

		b := make([]byte, V3DataLen(len(cookie), sublayer))
		PutV3DataHeader(b, session, cookie, sublayer, sequence, sequenced)
		control, id, rest, err := ParseV3(append(b, frame...))
		if control || id != session || err != nil {
			t.Fatalf("control %v, session %#x, error %v", control, id, err)
		}
		rest, ok := CutCookie(rest, cookie)
		if !ok {
			t.Fatal("the cookie is another")
		}
		if sublayer {
			var gotS bool
			var got uint32
			if gotS, got, rest, ok = ParseSublayer(rest); !ok || gotS != sequenced || gotS && got != sequence&SequenceMask {
				t.Fatalf("S %v, number %#x, ok %v", gotS, got, ok)
			}
		}
		if !bytes.Equal(rest, frame) {
			t.Fatalf("frame %x, want %x", rest, frame)
		}
	})
}

func TestV3DataAllocatesNothing(t *testing.T) {
	b, cookie := make([]byte, 100), unhex(t, "1122334455667788")
	if n := testing.AllocsPerRun(100, func() {
		PutV3DataHeader(b, 1, cookie, true, 2, true)
		_, _, rest, _ := ParseV3(b)
		rest, _ = CutCookie(rest, cookie)
		if sequenced, sequence, _, ok := ParseSublayer(rest); !ok || !sequenced || sequence != 2 {
			t.Fatal("it is not what was put")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
