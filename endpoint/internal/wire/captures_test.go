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
	for _, name := range capture.Names() {
		t.Run(name, func(t *testing.T) {
			var messages []string
			for i, p := range capture.Load(t, name) {
				h, payload, err := ParseHeader(p.Payload)
				if err != nil {
					t.Fatalf("datagram %d: %v", i+1, err)
				}
				again := make([]byte, DataHeaderLen)
				if h.Control {
					again = AppendControlHeader(nil, h.TunnelID, h.SessionID, h.Ns, h.Nr)
				} else {
					PutDataHeader(again, h.TunnelID, h.SessionID)
				}
				if h.Control && len(payload) > 0 {
					m, avps := encodedAgain(t, payload, name == "uml-v2-hidden-challenge")
					messages = append(messages, m.Type.String())
					payload = avps
				}
				again = append(again, payload...)
				if h.Control {
					SetLength(again)
				}
				if !bytes.Equal(again, p.Payload) && canonical(p.Payload) {
					t.Errorf("datagram %d:\nwas %x\n is %x", i+1, p.Payload, again)
				}
			}
			// As tshark names them.
			want := "SCCRQ SCCRP SCCCN ICRQ ICRP ICCN StopCCN"
			if name == "qemu-lns-uml-lac-mschapv2" {
				want = "SCCRQ SCCRP SCCCN ICRQ ICRP ICCN"
			}
			if got := strings.Join(messages, " "); got != want {
				t.Errorf("%s, tshark sees %s", got, want)
			}
		})
	}
}

// encodedAgain is a control message parsed, and encoded again with the same
// AVPs as before.
func encodedAgain(t *testing.T, payload []byte, randomVector bool) (m *Message, avps []byte) {
	t.Helper()
	m, err := ParseMessage(payload, []byte("tunsecret"))
	if err != nil || len(m.Skipped) > 0 || m.Has(AVPRandomVector) != randomVector {
		t.Fatalf("%+v, error %v", *m, err)
	}
	avps = m.Append(nil)
	was, is := strings.Split(fields(payload), "\n"), strings.Split(fields(avps), "\n")
	was = slices.DeleteFunc(was, isRandomVector)
	if m.Type == SCCRQ || m.Type == SCCRP {
		slices.Sort(was[1:])
		slices.Sort(is[1:])
	}
	if !slices.Equal(was, is) {
		t.Errorf("%v was\n%s\nis\n%s", m.Type, strings.Join(was, "\n"), strings.Join(is, "\n"))
	}
	return m, avps
}

func isRandomVector(avp string) bool { return strings.HasPrefix(avp, "8016 0000 0024 ") }

// canonical reports whether a datagram of xl2tpd is what we would send.
func canonical(datagram []byte) bool {
	h, payload, err := ParseHeader(datagram)
	if err != nil || !h.Control {
		return true
	}
	lines := strings.Split(fields(payload), "\n")
	return !slices.ContainsFunc(lines, isRandomVector) && lines[0] != "8008 0000 0000 0001" && lines[0] != "8008 0000 0000 0002"
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
