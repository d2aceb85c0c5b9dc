package ppp

import "testing"

// Frames as they come: with and without FF 03, with protocols of one octet and
// two, with padding.
func TestParseFrame(t *testing.T) {
	for frame, want := range map[string]struct {
		protocol    uint16
		information string
		ok          bool
	}{
		"\xff\x03\x00\x21x":  {0x21, "x", true},
		"\x00\x21x":          {0x21, "x", true},
		"\x21x":              {0x21, "x", true},
		"\xff\x03\x21x":      {0x21, "x", true},
		"\xff\x03\xc0\x21x":  {0xc021, "x", true},
		"\xc0\x21":           {0xc021, "", true},
		"\xc0":               {},
		"\xff\x03":           {},
		"\xff\x03\xc0":       {},
		"":                   {},
		"\xff":               {0xff, "", true},
		"\xff\x04\x21":       {0xff, "\x04\x21", true},
		"\x80\x22x":          {0x8022, "x", true}, // "MUST be treated as having an unrecognized Protocol"
		"\xff\x03\xff\x03xx": {0xff, "\x03xx", true},
	} {
		protocol, information, ok := ParseFrame([]byte(frame))
		if protocol != want.protocol || string(information) != want.information || ok != want.ok {
			t.Errorf("%x: %04x %q %v, want %04x %q %v", frame, protocol, information, ok, want.protocol, want.information, want.ok)
		}
	}
	x := open(t, clientConfig())
	x.forget()
	request := packet{configureRequest, 1, nil}.appendTo(nil)
	x.raw(append([]byte{0xc0, 0x21}, request...))
	x.want("without FF 03", "LCP Configure-Ack 1")
	x.raw(append([]byte{0xff, 0x03, 0xc0, 0x21}, append(request, "padding"...)...))
	x.want("Octets outside the range of the Length field are treated as padding", "LCP Configure-Ack 1")
	for _, bad := range []string{"", "\x01", "\x01\x01\x00", "\x01\x01\x00\x03", "\x01\x01\x00\x05", "\x01\x01\xff\xff"} {
		x.raw([]byte("\xff\x03\xc0\x21" + bad))
	}
	x.want("When a packet is received with an invalid Length field, the packet is silently discarded")
}
