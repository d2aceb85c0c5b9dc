package wire

import (
	"bytes"
	"testing"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/capture"
)

// FuzzV3 takes any datagram for any session: what is read of it is part of it, and is
// the same when it is put again.
func FuzzV3(f *testing.F) {
	for _, w := range capture.V3() {
		for _, p := range capture.Load(f, w.Capture)[:4] {
			f.Add(p.Payload, w.Cookie, w.Sublayer)
		}
	}
	f.Add([]byte("\xc8\x03\x00\x0c\x00\x00\x00\x01\x00\x02\x00\x03"), []byte{}, false)
	f.Add([]byte("\xc8\x03\x00\x14\x00\x00\x00\x00\x00\x00\x00\x00\x80\x08\x00\x00\x00\x00\x00\x01padding"), []byte{}, true)
	f.Fuzz(func(t *testing.T, datagram, cookie []byte, sublayer bool) {
		control, id, rest, err := ParseV3(datagram)
		if err != nil {
			if id != 0 && !control || rest != nil {
				t.Fatalf("error %v, and session %#x, rest %x", err, id, rest)
			}
			return
		}
		if control {
			h, avps, err := ParseV3Control(datagram)
			if err != nil || h.TunnelID != id || !bytes.Equal(avps, rest) {
				t.Fatalf("connection %#x and %x; header %+v, AVPs %x, error %v", id, rest, h, avps, err)
			}
			again := AppendV3ControlHeader(nil, h.TunnelID, h.Ns, h.Nr)
			again = append(again, avps...)
			SetLength(again)
			if !bytes.Equal(again[2:], datagram[2:len(again)]) { // but for reserved bits
				t.Fatalf("%x is %x when put again", datagram, again)
			}
			return
		}
		if len(rest) != len(datagram)-V3DataHeaderLen {
			t.Fatalf("of %d octets %d are the rest", len(datagram), len(rest))
		}
		if len(cookie) > CookieMax {
			return
		}
		frame, ok := CutCookie(rest, cookie)
		if !ok {
			return
		}
		var sequenced bool
		var sequence uint32
		if sublayer {
			if sequenced, sequence, frame, ok = ParseSublayer(frame); !ok {
				return
			}
		}
		n := V3DataLen(len(cookie), sublayer)
		again := make([]byte, n, n+len(frame))
		PutV3DataHeader(again, id, cookie, sublayer, sequence, sequenced)
		_, id2, rest2, err := ParseV3(append(again, frame...))
		frame2, ok := CutCookie(rest2, cookie)
		if sublayer && ok {
			var sequenced2 bool
			var sequence2 uint32
			sequenced2, sequence2, frame2, ok = ParseSublayer(frame2)
			ok = ok && sequenced2 == sequenced && sequence2 == sequence
		}
		if err != nil || id2 != id || !ok || !bytes.Equal(frame, frame2) || len(frame) != len(datagram)-n {
			t.Fatalf("%x: session %#x, number %d (%v), frame %x; put again %x", datagram, id, sequence, sequenced, frame, again)
		}
	})
}
