package decode

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/pcapng"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

// unhex is bytes of hexadecimal digits, spaced as one likes.
func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		panic(err)
	}
	return b
}

var (
	lac = netip.MustParseAddrPort("192.0.2.1:1701")
	lns = netip.MustParseAddrPort("192.0.2.2:1701")
)

// A tape is a capture in the making: a packet each second.
type tape struct {
	file []byte
	now  time.Time
}

func newTape() *tape {
	file := pcapng.AppendInterface(pcapng.AppendSection(nil, "test"), pcapng.LinkRaw, "eth0")
	return &tape{file: file, now: time.Unix(1_700_000_000, 0)}
}

// packet adds an IP packet.
func (t *tape) packet(b []byte) *tape {
	t.file = pcapng.AppendPacket(t.file, 0, t.now, pcapng.Unknown, b, nil)
	t.now = t.now.Add(time.Second)
	return t
}

// udp adds a datagram.
func (t *tape) udp(from, to netip.AddrPort, payload []byte) *tape {
	return t.packet(ipv4(from, to, payload))
}

// control adds a control message: to the tunnel and session of the header,
// numbered ns. No message: a ZLB, which acknowledges what is before ns.
func (t *tape) control(from, to netip.AddrPort, tunnel, session uint32, ns uint16, m *wire.Message) *tape {
	return t.udp(from, to, controlMessage(tunnel, session, ns, m))
}

func controlMessage(tunnel, session uint32, ns uint16, m *wire.Message) []byte {
	if m == nil {
		return wire.AppendControlHeader(nil, tunnel, session, 0, ns)
	}
	b := m.Append(wire.AppendControlHeader(nil, tunnel, session, ns, 0))
	wire.SetLength(b)
	return b
}

// ppp adds a frame of hexadecimal digits to the session.
func (t *tape) ppp(from, to netip.AddrPort, tunnel, session uint32, frame string) *tape {
	b := make([]byte, wire.DataHeaderLen)
	wire.PutDataHeader(b, tunnel, session)
	return t.udp(from, to, append(b, unhex(frame)...))
}

func ipv4(from, to netip.AddrPort, payload []byte) []byte {
	b := unhex("4500 0000 0000 0000 4011 0000")
	binary.BigEndian.PutUint16(b[2:], uint16(28+len(payload)))
	b = append(append(b, from.Addr().AsSlice()...), to.Addr().AsSlice()...)
	return append(b, udp(from, to, payload)...)
}

func udp(from, to netip.AddrPort, payload []byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, from.Port())
	b = binary.BigEndian.AppendUint16(b, to.Port())
	b = binary.BigEndian.AppendUint16(b, uint16(8+len(payload)))
	return append(append(b, 0, 0), payload...)
}

// print is what the tape's messages are in words.
func (t *tape) print(tb testing.TB, cfg *Config) string {
	tb.Helper()
	var out bytes.Buffer
	if err := Print(&out, bytes.NewReader(t.file), cfg); err != nil {
		tb.Fatalf("%v, after\n%s", err, &out)
	}
	return out.String()
}

// want checks what the tape's messages are in words.
func (t *tape) want(tb testing.TB, want string) {
	tb.Helper()
	t.wantWith(tb, nil, want)
}

func (t *tape) wantWith(tb testing.TB, cfg *Config, want string) {
	tb.Helper()
	if got, want := t.print(tb, cfg), strings.TrimPrefix(want, "\n"); got != want {
		tb.Errorf("decoded\n%s\nwant\n%s", got, want)
	}
}

// The messages of a tunnel and its session, in which all ids of the LAC are
// below 10 and those of the LNS above.
var (
	sccrq = &wire.Message{Type: wire.SCCRQ, ProtocolVersion: wire.ProtocolVersion, HostName: "lac", AssignedTunnelID: 1}
	sccrp = &wire.Message{Type: wire.SCCRP, ProtocolVersion: wire.ProtocolVersion, HostName: "lns", AssignedTunnelID: 11}
	scccn = &wire.Message{Type: wire.SCCCN}
	icrq  = &wire.Message{Type: wire.ICRQ, AssignedSessionID: 2, CallSerialNumber: 7}
	icrp  = &wire.Message{Type: wire.ICRP, AssignedSessionID: 12}
	iccn  = &wire.Message{Type: wire.ICCN, TxConnectSpeed: 64000, FramingType: wire.FramingSync}
)
