package control

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

// A script3 is a machine of L2TPv3, and a peer without a secret that says what it is told to.
type script3 struct {
	*testing.T
	m     *Tunnel
	now   time.Time
	ns    uint16
	said  []*wire.Message // by the machine
	rings uint32          // our id of the call that it was asked about
	down  error           // of its tunnel
	over  bool
	ends  []error // of its sessions
}

func newScript3(t *testing.T, open func(time.Time, Config) *Tunnel) *script3 {
	s := &script3{T: t, now: time.Unix(1e9, 0)}
	s.m = open(s.now, ofV3("", func(c *Config) { c.Rand, c.LocalID, c.PlacesCalls = chacha(1), 0x12345678, true }))
	s.drain()
	return s
}

func (s *script3) drain() {
	for {
		packet, event, ok := s.m.Next()
		if !ok {
			return
		}
		switch ev := event.(type) {
		case nil:
			_, avps, err := wire.ParseV3Control(packet)
			if err != nil {
				s.Fatalf("sent %x: %v", packet, err)
			}
			if len(avps) > 0 {
				m, err := wire.ParseMessageV3(avps, nil)
				if err != nil {
					s.Fatalf("sent %x: %v", packet, err)
				}
				s.said = append(s.said, m)
			}
		case IncomingCall:
			s.rings = ev.Session
		case OutgoingCallRequest:
			s.rings = ev.Session
		case TunnelDown:
			s.down, s.over = ev.Err, true
		case SessionDown:
			s.ends = append(s.ends, ev.Err)
		}
	}
}

// do has a command called.
func (s *script3) do(command func(now time.Time)) {
	command(s.now)
	s.drain()
}

// says has the peer say something, next in the sequence.
func (s *script3) says(avps []byte) {
	r := &s.m.reliable
	b := append(wire.AppendV3ControlHeader(nil, s.m.cfg.LocalID, s.ns, r.una+uint16(r.high)), avps...)
	wire.SetLength(b)
	s.ns++
	s.do(func(now time.Time) { s.m.Handle(now, b) })
}

func (s *script3) last() *wire.Message {
	if len(s.said) == 0 {
		return &wire.Message{}
	}
	return s.said[len(s.said)-1]
}

// expectingV3 is a machine in a state where a message of this type is the one to come, and
// the message.
func expectingV3(t *testing.T, kind wire.MessageType) (*script3, *wire.Message) {
	hello := func(k wire.MessageType) *wire.Message {
		return &wire.Message{Type: k, HostName: "peer", AssignedTunnelID: 0x77777777, V3: wire.V3{Pseudowires: []uint16{5}}}
	}
	of := func(k wire.MessageType, remote uint32) *wire.Message {
		m := &wire.Message{Type: k, AssignedSessionID: 9, V3: wire.V3{RemoteSessionID: remote, PseudowireType: 5, CircuitStatus: 1, RemoteEndID: []byte("end")}}
		if k == wire.CDN {
			m.Result.Code = wire.CallAdministrative
		}
		return m
	}
	dialled := func() *script3 {
		s := newScript3(t, Dial)
		s.says(hello(wire.SCCRP).AppendV3(nil))
		return s
	}
	answered := func() *script3 {
		s := newScript3(t, Answer)
		s.says(hello(wire.SCCRQ).AppendV3(nil))
		s.says((&wire.Message{Type: wire.SCCCN}).AppendV3(nil))
		return s
	}
	called := func() (*script3, uint32) {
		s := answered()
		s.says(of(wire.ICRQ, 0).AppendV3(nil))
		s.do(func(now time.Time) { s.m.AcceptPseudowire(now, s.rings, *aPseudowire()) })
		return s, s.rings
	}
	placed := func() (s *script3, id uint32) {
		s = dialled()
		s.do(func(now time.Time) { id = s.m.PlaceCall(now, OutgoingCall{Pseudowire: aPseudowire()}) })
		return s, id
	}
	switch kind {
	case wire.SCCRQ:
		return newScript3(t, Answer), hello(kind)
	case wire.SCCRP:
		return newScript3(t, Dial), hello(kind)
	case wire.SCCCN:
		s := newScript3(t, Answer)
		s.says(hello(wire.SCCRQ).AppendV3(nil))
		return s, &wire.Message{Type: kind}
	case wire.HELLO:
		return answered(), &wire.Message{Type: kind}
	case wire.StopCCN:
		return answered(), &wire.Message{Type: kind, AssignedTunnelID: 0x77777777, Result: wire.Result{Code: wire.StopClear}}
	case wire.ICRQ, wire.OCRQ:
		return answered(), of(kind, 0)
	case wire.ICRP:
		s := dialled()
		var id uint32
		s.do(func(now time.Time) { id = s.m.Call(now, CallConfig{Pseudowire: aPseudowire()}) })
		return s, of(kind, id)
	case wire.ICCN:
		s, id := called()
		return s, of(kind, id)
	case wire.OCRP:
		s, id := placed()
		return s, of(kind, id)
	case wire.OCCN:
		s, id := placed()
		s.says(of(wire.OCRP, id).AppendV3(nil))
		return s, of(kind, id)
	case wire.CDN, wire.WEN, wire.SLI:
		s, id := called()
		s.says(of(wire.ICCN, id).AppendV3(nil))
		return s, of(kind, id)
	}
	t.Fatalf("nobody expects %v", kind)
	return nil, nil
}

// ofRFC3931 are the messages of RFC 3931 §3.1 that have a place in the sequence.
var ofRFC3931 = ofRFC2661

// unmoved tells whether nothing has ended.
func (s *script3) unmoved() bool { return !s.over && len(s.ends) == 0 }

// ends of a machine that has refused a message: with StopCCN or CDN of this result, and a
// reason that has these words in it.
func (s *script3) wantRefusal(kind wire.MessageType, code uint16, words string) {
	s.Helper()
	want, down := wire.StopCCN, s.over
	if kind > wire.HELLO {
		want, down = wire.CDN, !s.over
	}
	last := s.last()
	if last.Type != want || last.Result.Code != wire.StopError || last.Result.Error != code || !strings.Contains(last.Result.Text, words) || !down {
		s.Errorf("%v: said %v, result %+v; the tunnel is down: %v (%v)", kind, last.Type, last.Result, s.over, s.down)
	}
}

// RFC 3931 §7.1: malformed is "a message that is missing a required AVP". Whatever has to be
// there is left out, one AVP after the other, from every message, and ends what the message
// is about. What is whole ends nothing, but for StopCCN and CDN.
func TestV3RequiredAVPs(t *testing.T) {
	for _, kind := range ofRFC3931 {
		s, m := expectingV3(t, kind)
		s.says(m.AppendV3(nil))
		if kind != wire.StopCCN && kind != wire.CDN && !s.unmoved() {
			t.Errorf("%v as it should be: %v, %v", kind, s.down, s.ends)
		}
		avps := avpsOf(m.AppendV3(nil))
		for i := 1; i < len(avps); i++ {
			t.Run(fmt.Sprintf("%v without %v", kind, avps[i].Type), func(t *testing.T) {
				s, m := expectingV3(t, kind)
				rest := without(avpsOf(m.AppendV3(nil)), i, false)
				if parsed, err := wire.ParseMessageV3(rest, nil); err == nil && parsed.Type == kind {
					return // it was not required
				}
				before := len(s.said)
				s.says(rest)
				missing := avps[i].Type
				switch {
				case kind == wire.SCCRQ && missing == wire.AVPAssignedConnectionID:
					// Nobody knows whom to tell.
					if len(s.said) > before && s.last().Type != wire.StopCCN || s.m.Established() {
						t.Errorf("said %+v", s.last())
					}
				case (kind == wire.ICRQ || kind == wire.OCRQ) && missing == wire.AVPLocalSessionID,
					(kind == wire.ICRP || kind == wire.OCRP) && missing == wire.AVPRemoteSessionID:
					// Of no session, as far as we know: §5.4.4 has those found by the one or the other.
					if !s.unmoved() || len(s.said) != before || s.m.Counters().IgnoredMessage != 1 {
						t.Errorf("said %+v, counted %+v", s.last(), s.m.Counters())
					}
				case kind == wire.CDN:
					if len(s.ends) != 1 || s.over {
						t.Errorf("the session has not ended: %v", s.ends)
					}
				case kind == wire.StopCCN:
					if !s.over {
						t.Error("the tunnel has not ended")
					}
				default:
					s.wantRefusal(kind, wire.ErrorVendor, missing.String())
				}
			})
		}
	}
}

// RFC 3931 §5.2: an unrecognized AVP with the M bit ends what its message is about, with
// result 2 and error 8, "The Error Message SHOULD contain the attribute of the offending AVP";
// without it, "the AVP MUST be ignored". §5.1: reserved bits are "ignored upon receipt". §5.2:
// "In no case shall a receiver of an AVP 'validate' if the M bit is set on a recognized AVP".
func TestV3UnknownAVPs(t *testing.T) {
	const fine = 0
	for name, c := range map[string]struct {
		avp   []byte
		err   uint16
		words string
	}{
		"unknown":                       {[]byte{0, 8, 0, 0, 0, 120, 1, 2}, fine, ""},
		"unknown, M":                    {[]byte{0x80, 8, 0, 0, 0, 120, 1, 2}, wire.ErrorUnknownAVP, "120"},
		"a vendor's":                    {[]byte{0, 8, 1, 2, 0, 1, 1, 2}, fine, ""},
		"a vendor's, M":                 {[]byte{0x80, 8, 1, 2, 0, 1, 1, 2}, wire.ErrorUnknownAVP, "258"},
		"Cisco's, of ATM":               {[]byte{0, 8, 0, 9, 0, 11, 0, 1}, fine, ""},
		"Cisco's draft version, M":      {[]byte{0x80, 8, 0, 9, 0, 10, 0, 1}, fine, ""},
		"of L2TPv2, M":                  {[]byte{0x80, 10, 0, 0, 0, 3, 0, 0, 0, 3}, fine, ""},
		"of L2TPv2, M, malformed":       {[]byte{0x80, 7, 0, 0, 0, 3, 0}, fine, ""},
		"reserved bits":                 {[]byte{0xbc, 10, 0, 0, 0, 25, 0, 0, 0, 3}, fine, ""},
		"of another message, M":         {[]byte{0x80, 8, 0, 0, 0, 10, 0, 4}, fine, ""},
		"an extended vendor's":          {[]byte{0, 13, 0, 0, 0, 58, 0, 1, 0, 9, 0, 1, 5}, fine, ""},
		"Length 5":                      {[]byte{0, 5, 0, 0, 0}, wire.ErrorLength, "5"},
		"past the end":                  {[]byte{0, 9, 0, 0, 0, 99, 1, 2}, wire.ErrorLength, "9"},
		"hidden, and there is no key":   {[]byte{0x40, 8, 0, 0, 0, 8, 1, 2}, fine, ""},
		"Rx Connect Speed of 4 octets":  {[]byte{0, 10, 0, 0, 0, 75, 0, 0, 0, 1}, fine, ""}, // §7.1's example
		"the peer's hardware in v3, M":  {[]byte{0x80, 8, 0, 0, 0, 6, 1, 2}, fine, ""},
		"an Assigned Session ID, of v2": {[]byte{0x80, 8, 0, 0, 0, 14, 1, 2}, fine, ""},
	} {
		for _, kind := range ofRFC3931 {
			t.Run(fmt.Sprintf("%v/%s", kind, name), func(t *testing.T) {
				s, m := expectingV3(t, kind)
				s.says(append(m.AppendV3(nil), c.avp...))
				switch {
				case kind == wire.StopCCN || kind == wire.CDN: // those can hardly mean anything else
					if s.unmoved() {
						t.Error("nothing has ended")
					}
				case c.err == fine:
					if !s.unmoved() {
						t.Errorf("said %+v", s.last().Result)
					}
				default:
					s.wantRefusal(kind, c.err, c.words)
				}
			})
		}
	}
}

// RFC 3931 §5.4.1: "If the M bit is set within the Message Type AVP and the Message Type is
// unknown to the implementation, the control connection MUST be cleared. If the M bit is not
// set, then the implementation may ignore an unknown message type."
func TestV3UnknownMessages(t *testing.T) {
	for _, bit := range []byte{0, 0x80} {
		s, _ := expectingV3(t, wire.HELLO)
		s.says([]byte{bit, 8, 0, 0, 0, 0, 0, 99})
		if s.over != (bit != 0) || s.m.Counters().IgnoredMessage != uint64(1-bit>>7) {
			t.Errorf("M bit %#x: down %v, counted %+v", bit, s.over, s.m.Counters())
		}
		if s.over && (s.last().Type != wire.StopCCN || s.last().Result.Error != wire.ErrorUnknownAVP) {
			t.Errorf("said %+v", s.last())
		}
	}
}

func avpsOf(b []byte) (avps []wire.AVP) {
	for d := wire.NewAVPs(b); d.Next(); {
		avps = append(avps, d.AVP())
	}
	return avps
}

// RFC 3931 §5.4.2: "7 - Finite state machine error or timeout" of a control connection, and 16 of
// a session.
func TestV3Timeouts(t *testing.T) {
	// The peer acknowledges, but does not answer.
	waits := func(s *script3) {
		for end := s.now.Add(time.Minute); s.now.Before(end); {
			s.now = s.now.Add(time.Second)
			b := wire.AppendV3ControlHeader(nil, s.m.cfg.LocalID, s.ns, s.m.reliable.una+uint16(s.m.reliable.high))
			s.do(func(now time.Time) { s.m.Handle(now, b) })
			s.do(s.m.Expire)
		}
	}
	s := newScript3(t, Dial)
	waits(s)
	if last := s.last(); !isTimeout(s.down) || last.Type != wire.StopCCN || last.Result.Code != wire.StopFSM {
		t.Errorf("dialling ended with %v; said %v, %+v", s.down, last.Type, last.Result)
	}
	s, _ = expectingV3(t, wire.SCCCN)
	waits(s)
	if last := s.last(); !isTimeout(s.down) || last.Type != wire.StopCCN || last.Result.Code != wire.StopFSM {
		t.Errorf("answering ended with %v; said %v, %+v", s.down, last.Type, last.Result)
	}
	for _, kind := range []wire.MessageType{wire.ICRP, wire.ICCN, wire.OCRP, wire.OCCN} {
		s, _ := expectingV3(t, kind)
		waits(s)
		if last := s.last(); s.over || len(s.ends) != 1 || !isTimeout(s.ends[0]) || last.Type != wire.CDN || last.Result.Code != wire.CallFSM {
			t.Errorf("%v does not come: %v, %v; said %v, %+v", kind, s.down, s.ends, last.Type, last.Result)
		}
	}
}

// RFC 3931 §6.15, of the ACK: "Receipt of this message does not trigger an event for the L2TP
// protocol state machine." Nor has it a place in the sequence, also when it comes before the
// SCCRP that settles the version of who has dialled with a fall-back.
func TestV3AcknowledgementBeforeSCCRP(t *testing.T) {
	for _, fallback := range []bool{false, true} {
		for _, secret := range []string{"", "s"} {
			now, key, nonce := time.Unix(1e9, 0), wire.DigestKey([]byte("s")), []byte("the peer's nonce")
			m := Dial(now, ofV3(secret, func(c *Config) { c.Rand, c.LocalID, c.V3.Fallback = chacha(1), 100, fallback }))
			var said []wire.MessageType
			var version uint8
			hear := func(msg *wire.Message) {
				if secret != "" {
					msg.Digests = []wire.DigestType{wire.DigestMD5}
				}
				b := msg.AppendV3(wire.AppendV3ControlHeader(nil, 100, 0, 1))
				wire.SetLength(b)
				if secret != "" {
					wire.Sign(b, msg.Nonce, m.Nonce(), key)
				}
				m.Handle(now, b)
				for {
					packet, event, ok := m.Next()
					if !ok {
						return
					}
					switch ev := event.(type) {
					case nil:
						said = append(said, messageType(packet[wire.V3ControlHeaderLen:]))
					case TunnelUp:
						version = ev.Version
					}
				}
			}
			hear(&wire.Message{Type: wire.ACK})
			hear(&wire.Message{Type: wire.SCCRP, HostName: "peer", AssignedTunnelID: 7, V3: wire.V3{Pseudowires: []uint16{5}, Nonce: nonce}})
			if version != 3 || !slices.Equal(said, []wire.MessageType{wire.SCCRQ, wire.SCCCN}) {
				t.Errorf("fall-back %v, secret %v: version %d; said %v", fallback, secret != "", version, said)
			}
		}
	}
}
