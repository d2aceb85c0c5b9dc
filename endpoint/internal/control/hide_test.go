package control

import (
	"testing"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

// RFC 2661 §4.3: "The H bit MUST only be set if a shared secret exists between the
// LAC and LNS." All messages of two calls, and what is hidden in them; both ends
// understand each other, and one that does not hide understands one that does.
func TestHiddenAVPs(t *testing.T) {
	for _, answererHides := range []bool{true, false} {
		p := newPair(t, 1, Config{Secret: []byte("s"), HideAVPs: true},
			Config{Secret: []byte("s"), HideAVPs: answererHides, PlacesCalls: true})
		hidden := make(map[wire.MessageType]bool)
		p.tap = func(from *end, avps []byte) {
			m, err := wire.ParseMessage(avps, []byte("s"))
			if err != nil {
				t.Fatal(err)
			}
			for d := wire.NewAVPs(avps); d.Next(); {
				if d.AVP().Hidden && from == p.ends[1] && !answererHides {
					t.Errorf("%v of one who hides nothing has a hidden %v", m.Type, d.AVP())
				}
				hidden[m.Type] = hidden[m.Type] || d.AVP().Hidden
			}
		}
		incoming := p.call(p.ends[0])
		outgoing := p.place(p.ends[0])
		p.run(time.Second)
		if !p.ends[0].sessions[incoming].up || !p.ends[0].sessions[outgoing].up {
			t.Fatalf("the calls are not up: %+v", p.ends[0])
		}
		p.do(p.ends[0], func(m *Tunnel) { m.Hangup(p.now, incoming, wire.Result{}) })
		p.run(time.Second)
		p.do(p.ends[0], func(m *Tunnel) { m.Close(p.now, wire.Result{}) })
		p.run(time.Minute)
		p.mustBeGone(1)
		for m, want := range map[wire.MessageType]bool{
			wire.SCCRQ: false, wire.SCCRP: false, wire.SCCCN: true,
			wire.ICRQ: true, wire.ICRP: answererHides, wire.ICCN: true,
			wire.OCRQ: true, wire.OCRP: answererHides, wire.OCCN: answererHides,
			wire.CDN: true, wire.StopCCN: false,
		} {
			if got, sent := hidden[m]; got != want || !sent {
				t.Errorf("%v has hidden AVPs: %v (sent: %v), expected %v", m, got, sent, want)
			}
		}
	}
}

// A peer that hides what it says, to one that has another secret, or none. What
// cannot be read is an AVP in error: with the M bit, it ends the tunnel.
func TestHiddenAVPsThatCannotBeRead(t *testing.T) {
	m := sccrq()
	avps := m.AppendHidden(nil, []byte("theirs"), chacha(1))
	s := newScript(t, Answer, Config{Rand: chacha(2), Secret: []byte("theirs")})
	s.peerAt(0, 0, 0, avps)
	s.want("0s SCCRP ns=0 nr=1")
	s = newScript(t, Answer, Config{Rand: chacha(2), Secret: []byte("ours")})
	s.peerAt(0, 0, 0, m.AppendHidden(nil, []byte("theirs"), chacha(1)))
	s.want("0s TunnelDown we ended the tunnel because of the peer's SCCRQ: Framing Capabilities: hidden, and cannot be unhidden with this secret", "0s Gone")
	s = newScript(t, Answer, Config{Rand: chacha(2)})
	s.peerAt(0, 0, 0, m.AppendHidden(nil, []byte("theirs"), chacha(1)))
	s.want("0s TunnelDown we ended the tunnel because of the peer's SCCRQ: Framing Capabilities: hidden, and there is no secret to unhide it", "0s Gone")

	// Without the M bit, it is passed over.
	s = newScript(t, Answer, Config{Rand: chacha(2)})
	vendor := &wire.Message{Type: wire.SCCRQ, VendorName: "v"}
	var hidden []byte
	for d := wire.NewAVPs(vendor.AppendHidden(nil, []byte("theirs"), chacha(1))); d.Next(); {
		if a := d.AVP(); a.Type == wire.AVPVendorName || a.Type == wire.AVPRandomVector && hidden == nil {
			bits := byte(0x80)
			if a.Hidden {
				bits = 0x40
			}
			hidden = append(append(hidden, bits, byte(6+len(a.Value)), 0, 0, 0, byte(a.Type)), a.Value...)
		}
	}
	s.peerAt(0, 0, 0, append(m.Append(nil), hidden...))
	s.want("0s SCCRP ns=0 nr=1")
	if s.m.peer.VendorName != "" {
		t.Errorf("the vendor is %q", s.m.peer.VendorName)
	}
}
