package wire

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/capture"
)

// v3Frame is what a recorded packet has behind its header, if it is for this session: a
// packet over IP as one over UDP, which has a word more.
func v3Frame(t *testing.T, w capture.V3Way, p capture.Packet) (sequenced bool, sequence uint32, frame []byte, ok bool) {
	t.Helper()
	datagram := p.Payload
	if w.IP {
		datagram = append([]byte{0, 3, 0, 0}, datagram...)
	}
	control, id, rest, err := ParseV3(datagram)
	if control || id != w.Session || err != nil {
		t.Fatalf("%x: control %v, session %#x, error %v", datagram, control, id, err)
	}
	if rest, ok = CutCookie(rest, w.Cookie); !ok || !w.Sublayer {
		return false, 0, rest, ok
	}
	return ParseSublayer(rest)
}

// What QEMU, user-mode Linux and "ip l2tp" send parses as they were told to send it, and
// is the same when it is put again.
func TestV3Captures(t *testing.T) {
	for _, w := range capture.V3() {
		t.Run(w.Capture+" from "+w.Src.String(), func(t *testing.T) {
			wrong, counts := 0, uint32(0)
			for i, p := range capture.Load(t, w.Capture) {
				if p.Src.Addr() != w.Src {
					continue
				}
				sequenced, sequence, frame, ok := v3Frame(t, w, p)
				if !ok {
					wrong++
					continue
				}
				if i < 2 && w.Capture == "v3/uml-v3-default-seqboth" {
					continue // of a run before, which had a cookie
				}
				// IPv4, ARP or IPv6 in Ethernet says that the header ended where it stands.
				etherType := binary.BigEndian.Uint16(frame[12:])
				if etherType != 0x0800 && etherType != 0x0806 && etherType != 0x86dd {
					t.Errorf("packet %d: EtherType %#04x of %x", i+1, etherType, frame)
				}
				if sequenced && sequence != counts {
					t.Errorf("packet %d has the number %d, want %d", i+1, sequence, counts)
				}
				if sequenced {
					counts++
				}

				n := V3DataLen(len(w.Cookie), w.Sublayer)
				again := make([]byte, n)
				PutV3DataHeader(again, w.Session, w.Cookie, w.Sublayer, sequence, sequenced)
				if w.IP {
					again = again[4:]
				}
				was := slices.Clone(p.Payload[:len(again)])
				if w.Sublayer && !sequenced {
					clear(was[len(was)-SublayerLen:]) // the programs' own count
				}
				if !bytes.Equal(was, again) || !bytes.Equal(p.Payload[len(again):], frame) {
					t.Errorf("packet %d was %x, is %x and %x", i+1, p.Payload, again, frame)
				}
			}
			wantWrong, wantCounts := 0, uint32(0)
			switch {
			case w.Capture == "v3/uml-v3-badcookie" && w.Session == 0x11112222:
				wantWrong = w.Packets
			case w.Capture == "v3/uml-kernel-kernel-v3-seqboth":
				wantCounts = 10
			case w.Capture == "v3/uml-v3-default-seqboth" && w.Session == 0x33334444:
				wantCounts = 7
			case w.Capture == "v3/uml-v3-default-seqsend" && w.Session == 0x33334444:
				wantCounts = 5 // then Linux has seen a packet without a number, and leaves its own out
			}
			if wrong != wantWrong || counts != wantCounts {
				t.Errorf("%d packets with a wrong cookie, want %d; %d numbered, want %d", wrong, wantWrong, counts, wantCounts)
			}
		})
	}
}
