package control

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

// The identifiers in scripted tests: ours, and the peer's.
const (
	ourTunnel  = 3
	peerTunnel = 7
)

// A script is one machine with a peer that says exactly what the test writes.
// What the machine does is collected as lines, such as
//
//	1s SCCRQ ns=0 nr=0 tunnel=0
//	31s TunnelDown no answer to SCCRQ within 31s
//
// each with the time since the start; the tunnel in a packet's header is shown
// if it is not the peer's, the session if it is not 0.
type script struct {
	*testing.T
	m      *Tunnel
	start  time.Time
	now    time.Time
	ns     uint16 // the peer's next
	nr     uint16 // what the peer expects next of us
	lines  []string
	secret []byte
	last   *wire.Message // the last one that the machine sent
	mute   bool          // collect no lines, for tests with many messages
	seen   int           // how many lines acked has seen
}

// zeros is a random source that makes the tests readable: our session ids are
// 1, 2, 3 …, our challenges and our first call's serial number 0.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func newScript(t *testing.T, open func(time.Time, Config) *Tunnel, cfg Config) *script {
	s := &script{T: t, start: time.Unix(1e9, 0), secret: cfg.Secret}
	s.now = s.start
	cfg.LocalID = ourTunnel
	if cfg.Rand == nil {
		cfg.Rand = zeros{}
	}
	s.m = open(s.now, cfg)
	s.drain()
	return s
}

// dialled is a script whose tunnel was dialled by us and is established; the
// window is the peer's, 0 for the default. SCCCN is not acknowledged yet.
func dialled(t *testing.T, cfg Config, window uint16) *script {
	s := newScript(t, Dial, cfg)
	s.peer(0, sccrp(func(m *wire.Message) { m.ReceiveWindowSize = window }))
	s.want("0s SCCRQ ns=0 nr=0 tunnel=0", "0s SCCCN ns=1 nr=1", "0s TunnelUp peer=7 lns")
	return s
}

// answered is a script whose tunnel was dialled by the peer and is established,
// with nothing left to acknowledge.
func answered(t *testing.T, cfg Config) *script {
	s := newScript(t, Answer, cfg)
	s.peer(0, sccrq())
	s.peer(0, &wire.Message{Type: wire.SCCCN})
	s.run(100 * time.Millisecond)
	s.want("0s SCCRP ns=0 nr=1", "0s TunnelUp peer=7 lac", "100ms ZLB ns=1 nr=2")
	return s
}

func hello(m wire.MessageType, host string, change []func(*wire.Message)) *wire.Message {
	msg := &wire.Message{Type: m, ProtocolVersion: 0x0100, FramingCapabilities: 3, HostName: host, AssignedTunnelID: peerTunnel}
	for _, f := range change {
		f(msg)
	}
	return msg
}

func sccrq(change ...func(*wire.Message)) *wire.Message { return hello(wire.SCCRQ, "lac", change) }
func sccrp(change ...func(*wire.Message)) *wire.Message { return hello(wire.SCCRP, "lns", change) }
func icrq(session uint32) *wire.Message {
	return &wire.Message{Type: wire.ICRQ, AssignedSessionID: session}
}
func icrp(session uint32) *wire.Message {
	return &wire.Message{Type: wire.ICRP, AssignedSessionID: session}
}
func iccn() *wire.Message {
	return &wire.Message{Type: wire.ICCN, TxConnectSpeed: 1, FramingType: 1}
}
func ocrq(session uint32, change ...func(*wire.Message)) *wire.Message {
	m := &wire.Message{Type: wire.OCRQ, AssignedSessionID: session, MaximumBPS: 64000, BearerType: 1, FramingType: 1, CalledNumber: "123"}
	for _, f := range change {
		f(m)
	}
	return m
}
func ocrp(session uint32) *wire.Message {
	return &wire.Message{Type: wire.OCRP, AssignedSessionID: session}
}
func occn() *wire.Message {
	return &wire.Message{Type: wire.OCCN, TxConnectSpeed: 1, FramingType: 1}
}
func cdn(session uint32, r wire.Result) *wire.Message {
	return &wire.Message{Type: wire.CDN, AssignedSessionID: session, Result: r}
}
func stopccn(r wire.Result) *wire.Message {
	return &wire.Message{Type: wire.StopCCN, AssignedTunnelID: peerTunnel, Result: r}
}

// peer has the peer send a message, next in sequence, with an acknowledgement of
// all that the script has seen.
func (s *script) peer(session uint32, m *wire.Message) {
	s.ns++
	s.peerAt(s.ns-1, s.nr, session, m.Append(nil))
}

// zlb has the peer acknowledge all that the script has seen.
func (s *script) zlb() { s.peerAt(s.ns, s.nr, 0, nil) }

// peerAt has the peer send these AVPs with this Ns and Nr.
func (s *script) peerAt(ns, nr uint16, session uint32, avps []byte) {
	s.handle(packet(ourTunnel, session, ns, nr, avps))
}

func packet(tunnel, session uint32, ns, nr uint16, avps []byte) []byte {
	p := append(wire.AppendControlHeader(nil, tunnel, session, ns, nr), avps...)
	wire.SetLength(p)
	return p
}

func (s *script) handle(datagram []byte) {
	s.m.Handle(s.now, datagram)
	for i := range datagram {
		datagram[i] = 0xdb // it was valid during the call only
	}
	s.drain()
}

// do calls a command of the machine.
func (s *script) do(command func(now time.Time)) {
	command(s.now)
	s.drain()
}

// run lets time pass. The machine is woken when it has asked for it, and at
// times when it has not, which must mean nothing to it.
func (s *script) run(d time.Duration) {
	s.Helper()
	end := s.now.Add(d)
	for {
		at := s.m.Deadline()
		if at.IsZero() || at.After(end) {
			break
		}
		if at.Before(s.now) {
			s.Fatalf("the deadline %v lies in the past at %v", at.Sub(s.start), s.now.Sub(s.start))
		}
		if at.After(s.now) {
			s.now = at.Add(-time.Nanosecond)
			s.m.Expire(s.now)
			s.drain()
		}
		s.now = at
		s.m.Expire(s.now)
		s.drain()
	}
	s.now = end
}

func (s *script) drain() {
	for {
		p, event, ok := s.m.Next()
		if !ok {
			return
		}
		if s.mute {
			if h, avps, _ := wire.ParseHeader(p); event == nil && len(avps) > 0 && h.Ns == s.nr {
				s.nr++
			}
			continue
		}
		line := ""
		if event != nil {
			line = describe(event)
		} else {
			line = s.describePacket(p)
			clear(p) // it is the owner's now
		}
		s.lines = append(s.lines, fmt.Sprintf("%v %s", s.now.Sub(s.start), line))
	}
}

func (s *script) describePacket(p []byte) string {
	h, avps, err := wire.ParseHeader(p)
	if err != nil {
		s.Fatalf("sent %x: %v", p, err)
	}
	name, suffix := "ZLB", ""
	if len(avps) > 0 {
		m, err := wire.ParseMessage(avps, s.secret)
		if err != nil {
			s.Fatalf("sent %x: %v", p, err)
		}
		s.last, name = m, m.Type.String()
		if m.Has(wire.AVPResultCode) {
			suffix = fmt.Sprintf(" result=%d/%d", m.Result.Code, m.Result.Error)
		}
		if h.Ns == s.nr {
			s.nr++
		}
	}
	line := fmt.Sprintf("%s ns=%d nr=%d", name, h.Ns, h.Nr)
	if h.TunnelID != peerTunnel {
		line += fmt.Sprintf(" tunnel=%d", h.TunnelID)
	}
	if h.SessionID != 0 {
		line += fmt.Sprintf(" session=%d", h.SessionID)
	}
	return line + suffix
}

func describe(event Event) string {
	switch e := event.(type) {
	case TunnelUp:
		return fmt.Sprintf("TunnelUp peer=%d %s", e.PeerID, e.HostName)
	case PeerRestarted:
		return "PeerRestarted"
	case TunnelDown:
		return fmt.Sprintf("TunnelDown %v", e.Err)
	case Gone:
		return "Gone"
	case IncomingCall:
		return fmt.Sprintf("IncomingCall %d peer=%d", e.Session, e.PeerSession)
	case OutgoingCallRequest:
		return fmt.Sprintf("OutgoingCallRequest %d peer=%d %s", e.Session, e.PeerSession, e.CalledNumber)
	case SessionUp:
		return fmt.Sprintf("SessionUp %d peer=%d", e.Session, e.PeerSession)
	case WANError:
		return fmt.Sprintf("WANError %d %+v", e.Session, e.CallErrors)
	case LinkInfo:
		return fmt.Sprintf("LinkInfo %d %+v", e.Session, e.ACCM)
	case Whole:
		h, avps, _ := wire.ParseHeader(e.Packet)
		m, _ := wire.ParseMessage(avps, nil)
		return fmt.Sprintf("whole %v of %d ns=%d nr=%d", m.Type, len(e.Packet), h.Ns, h.Nr)
	case PathMax:
		return fmt.Sprintf("PathMax %d for %v", e.Bytes, e.For)
	case SessionDown:
		return fmt.Sprintf("SessionDown %d %v", e.Session, e.Err)
	}
	panic(fmt.Sprintf("an event of type %T", event))
}

// want compares what the machine has done since the last want.
func (s *script) want(lines ...string) {
	s.Helper()
	if !slices.Equal(s.lines, lines) {
		s.Fatalf("the machine did\n\t%s\nexpected\n\t%s", strings.Join(s.lines, "\n\t"), strings.Join(lines, "\n\t"))
	}
	s.lines = nil
}

// wantState looks inside.
func (s *script) wantState(want state) {
	s.Helper()
	if s.m.state != want {
		s.Fatalf("state %v, expected %v", s.m.state, want)
	}
}
