package wire

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/capture"
)

// What xl2tpd says on the wire parses, and is the same when it is encoded
// again. Two things are not canonical:
//   - the order of the AVPs in SCCRQ and SCCRP, where xl2tpd goes by attribute
//     type, as RFC 2661 §4.4 describes them, and we by §6.1 and §6.2. They are
//     compared as sets;
//   - Random Vectors, which we do not send when nothing is hidden. xl2tpd sends
//     one in every message with "hidden bit = yes", and hides nothing.
func TestCaptures(t *testing.T) {
	// The messages as tshark names them.
	whole := "SCCRQ SCCRP SCCCN ICRQ ICRP ICCN StopCCN"
	for _, name := range capture.Names() {
		var messages []string
		for i, p := range capture.Load(t, name) {
			h, payload, err := ParseHeader(p.Payload)
			if err != nil {
				t.Errorf("%s, datagram %d: %v", name, i+1, err)
				continue
			}
			if !h.Control {
				if !bytes.HasPrefix(payload, []byte{0xff, 0x03}) {
					t.Errorf("%s, datagram %d: a PPP frame of pppd begins with %x", name, i+1, payload[:2])
				}
				again := make([]byte, DataHeaderLen)
				PutDataHeader(again, h.TunnelID, h.SessionID)
				if again = append(again, payload...); !bytes.Equal(again, p.Payload) {
					t.Errorf("%s, datagram %d:\n was %x\nis %x", name, i+1, p.Payload, again)
				}
				continue
			}
			again := AppendControlHeader(nil, h.TunnelID, h.SessionID, h.Ns, h.Nr)
			if len(payload) > 0 {
				m, err := ParseMessage(payload, []byte("tunsecret"))
				if err != nil || len(m.Skipped) > 0 {
					t.Errorf("%s, datagram %d: %v, skipped %v", name, i+1, err, m.Skipped)
					continue
				}
				messages = append(messages, m.Type.String())
				avps := m.Append(nil)
				was := strings.Split(fields(payload), "\n")
				is := strings.Split(fields(avps), "\n")
				if name == "uml-v2-hidden-challenge" {
					was = slices.DeleteFunc(was, func(avp string) bool { return strings.HasPrefix(avp, "8016 0000 0024 ") })
					if !m.Has(AVPRandomVector) {
						t.Errorf("%s, datagram %d: no Random Vector", name, i+1)
					}
				}
				if m.Type == SCCRQ || m.Type == SCCRP {
					slices.Sort(was[1:])
					slices.Sort(is[1:])
				}
				if !slices.Equal(was, is) {
					t.Errorf("%s, datagram %d, %v was\n%s\nis\n%s", name, i+1, m.Type, strings.Join(was, "\n"), strings.Join(is, "\n"))
				}
				again = append(again, avps...)
				if m.Type == SCCRQ || m.Type == SCCRP || name == "uml-v2-hidden-challenge" {
					continue
				}
			}
			SetLength(again)
			if !bytes.Equal(again, p.Payload) {
				t.Errorf("%s, datagram %d:\nwas %x\n is %x", name, i+1, p.Payload, again)
			}
		}
		want := whole
		if name == "qemu-lns-uml-lac-mschapv2" {
			want = strings.TrimSuffix(whole, " StopCCN")
		}
		if got := strings.Join(messages, " "); got != want {
			t.Errorf("%s: %s, tshark sees %s", name, got, want)
		}
	}
}

// The values of one message, as tshark shows them.
func TestCapturedValues(t *testing.T) {
	packets := capture.Load(t, "uml-v2-hidden-challenge")
	message := func(frame int) *Message {
		_, payload, err := ParseHeader(packets[frame-1].Payload)
		if err != nil {
			t.Fatal(err)
		}
		m, err := ParseMessage(payload, nil)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	m := message(1)
	if m.Type != SCCRQ || m.ProtocolVersion != ProtocolVersion || m.FramingCapabilities != FramingSync|FramingAsync ||
		!m.Has(AVPBearerCapabilities) || m.BearerCapabilities != 0 || m.FirmwareRevision != 0x0690 || m.HostName != "umllac" ||
		m.VendorName != "xelerance.com" || m.AssignedTunnelID != 1443 || m.ReceiveWindowSize != 4 {
		t.Errorf("SCCRQ: %+v", *m)
	}
	m = message(47)
	if m.Type != StopCCN || m.AssignedTunnelID != 1443 || m.Result != (Result{Code: StopClear, HasError: true, Text: "Server closing"}) {
		t.Errorf("StopCCN: %+v", *m)
	}
}
