package ppp

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// random is a source that says the same for the same seed.
func random(seed uint64) io.Reader {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	return rand.NewChaCha8(key)
}

// A tester is the peer and the owner of a link, in virtual time. What comes
// out of the link is described in words and compared with what a test wants.
type tester struct {
	*testing.T
	link *Link
	now  time.Time
	out  []output // in their order, since the last want
	lcps uint8    // how often openLCP was called

	settled int // Settled, which is not part of out
}

type output struct {
	frame []byte // nil: an event
	event Event
	words string
	whole bool // it is to go in one piece
}

// clientConfig and serverConfig are alice's, without IPv6, and with a constant
// restart timer, which makes scripts easy to read.
func clientConfig() Config {
	return Config{Rand: random(1), NoIPv6: true, User: "alice", Password: []byte("s3cret"), Methods: []Method{MSCHAPv2, CHAPMD5, PAP}, FirstRestart: defaultRestart}
}

func serverConfig() Config {
	return Config{Rand: random(2), NoIPv6: true, Server: true, Methods: []Method{MSCHAPv2, CHAPMD5, PAP}, FirstRestart: defaultRestart}
}

func open(t *testing.T, cfg Config) *tester {
	x := &tester{T: t, link: New(cfg), now: epoch}
	x.do(x.link.Open)
	return x
}

// do is one command.
func (x *tester) do(command func(now time.Time)) {
	command(x.now)
	x.drain()
}

func (x *tester) drain() {
	for {
		frame, event, ok := x.link.Next()
		if !ok {
			return
		}
		whole, isWhole := event.(Whole)
		if isWhole {
			frame, event = whole.Frame, nil
		}
		o := output{frame: frame, event: event, whole: isWhole}
		switch event := event.(type) {
		case nil:
			o.words = strings.ReplaceAll(describe(frame), fmt.Sprintf("<magic %08x>", x.link.lcp.magic), "<magic ours>")
			o.words = strings.ReplaceAll(o.words, fmt.Sprintf("<id %x>", x.link.ipv6cp.local), "<id ours>")
		case Down:
			o.words = fmt.Sprintf("Down: %v", event.Err)
		case Up6:
			o.words = fmt.Sprintf("Up6{Peer:%x MTU:%d Encryption:%v}", event.Peer, event.MTU, event.Encryption)
			if event.Local != x.link.ipv6cp.local {
				x.Errorf("Up6 has %x, we are %x", event.Local, x.link.ipv6cp.local)
			}
		case NetworkDown:
			o.words = map[uint16]string{ProtocolIPv4: "NetworkDown{IPv4}", ProtocolIPv6: "NetworkDown{IPv6}"}[event.Protocol]
		case Settled:
			x.settled++
			continue
		default:
			o.words = strings.TrimPrefix(fmt.Sprintf("%T%+v", event, event), "ppp.")
		}
		o.words = strings.Replace(o.words, " Encryption:none", "", 1)
		x.out = append(x.out, o)
	}
}

// frame is one from the peer. It is poisoned afterwards: the link must not
// keep it.
func (x *tester) frame(protocol uint16, information ...byte) {
	x.Helper()
	frame := make([]byte, HeaderLen, HeaderLen+len(information))
	PutHeader(frame, protocol)
	frame = append(frame, information...)
	x.raw(frame)
}

func (x *tester) raw(frame []byte) {
	frame = bytes.Clone(frame)
	x.link.Handle(x.now, frame)
	for i := range frame {
		frame[i] = 0xaa
	}
	x.drain()
}

// packet is a packet from the peer; data are byte slices, strings and options.
func (x *tester) packet(protocol uint16, code, id uint8, data ...any) {
	x.Helper()
	x.frame(protocol, packet{code, id, join(data...)}.appendTo(nil)...)
}

func (x *tester) lcp(code, id uint8, data ...any) {
	x.Helper()
	x.packet(protocolLCP, code, id, data...)
}
func (x *tester) ipcp(code, id uint8, data ...any) {
	x.Helper()
	x.packet(protocolIPCP, code, id, data...)
}
func (x *tester) ipv6cp(code, id uint8, data ...any) {
	x.Helper()
	x.packet(protocolIPV6CP, code, id, data...)
}
func (x *tester) ccp(code, id uint8, data ...any) {
	x.Helper()
	x.packet(protocolCCP, code, id, data...)
}
func (x *tester) chap(code, id uint8, data ...any) {
	x.Helper()
	x.packet(protocolCHAP, code, id, data...)
}
func (x *tester) eap(code, id uint8, data ...any) {
	x.Helper()
	x.packet(protocolEAP, code, id, data...)
}
func (x *tester) pap(code, id uint8, data ...any) {
	x.Helper()
	x.packet(protocolPAP, code, id, data...)
}

func join(data ...any) (b []byte) {
	for _, d := range data {
		switch d := d.(type) {
		case []byte:
			b = append(b, d...)
		case string:
			b = append(b, d...)
		case option:
			b = d.appendTo(b)
		case []option:
			for _, o := range d {
				b = o.appendTo(b)
			}
		default:
			panic(fmt.Sprintf("a %T in a packet", d))
		}
	}
	return b
}

// wait lets time pass, and deadlines with it.
func (x *tester) wait(d time.Duration) {
	x.Helper()
	end := x.now.Add(d)
	for {
		deadline := x.link.Deadline()
		if deadline.IsZero() || deadline.After(end) {
			x.now = end
			return
		}
		if deadline.Before(x.now) {
			x.Fatalf("deadline %v is %v ago", deadline.Sub(epoch), x.now.Sub(deadline))
		}
		x.now = deadline
		x.do(x.link.Expire)
		if x.link.Deadline().Equal(deadline) {
			x.Fatalf("Expire at %v changes nothing", deadline.Sub(epoch))
		}
	}
}

// want is all that came out since the last want, in words; a word of three dots
// stands for anything.
func (x *tester) want(why string, words ...string) {
	x.Helper()
	got := make([]string, len(x.out))
	for i, o := range x.out {
		got[i] = o.words
	}
	x.out = nil
	ok := len(got) == len(words)
	for i := 0; ok && i < len(got); i++ {
		head, tail, dots := strings.Cut(words[i], "...")
		ok = got[i] == words[i] || dots && strings.HasPrefix(got[i], head) && strings.HasSuffix(got[i], tail)
	}
	if !ok {
		x.Fatalf("%s:\n got  %s\n want %s", why, strings.Join(got, "\n      "), strings.Join(words, "\n      "))
	}
}

// last is the data of the last packet that came out.
func (x *tester) last() packet {
	x.Helper()
	for _, o := range slices.Backward(x.out) {
		if o.frame != nil {
			_, information, _ := ParseFrame(o.frame)
			p, ok := parsePacket(information)
			if !ok {
				x.Fatalf("a frame without a packet: %x", o.frame)
			}
			return p
		}
	}
	x.Fatal("no packet")
	return packet{}
}

// ours is our Configure-Request of that protocol, for the peer's replies.
func (x *tester) ours(a *automaton) (id uint8, options []byte) { return a.requestID, a.requested }

// ackOurs acknowledges our last Configure-Request.
func (x *tester) ackOurs(a *automaton) {
	x.Helper()
	id, options := x.ours(a)
	x.packet(a.protocol, configureAck, id, options)
}

var (
	codes = map[uint8]string{1: "Configure-Request", 2: "Configure-Ack", 3: "Configure-Nak", 4: "Configure-Reject",
		5: "Terminate-Request", 6: "Terminate-Ack", 7: "Code-Reject", 8: "Protocol-Reject", 9: "Echo-Request", 10: "Echo-Reply", 14: "Reset-Request", 15: "Reset-Ack"}
	papCodes  = map[uint8]string{1: "Request", 2: "Ack", 3: "Nak"}
	eapCodes  = map[uint8]string{1: "Request", 2: "Response", 3: "Success", 4: "Failure"}
	chapCodes = map[uint8]string{1: "Challenge", 2: "Response", 3: "Success", 4: "Failure"}
)

// describe is a frame in words, such as
//
//	LCP Configure-Request 1 <mru 1400> <magic 1a2b3c4d>
func describe(frame []byte) string {
	protocol, information, ok := ParseFrame(frame)
	p, isPacket := parsePacket(information)
	if !ok || !isPacket || !bytes.HasPrefix(frame, []byte{0xff, 0x03}) || len(information) != packetHeaderLen+len(p.data) {
		return fmt.Sprintf("malformed %x", frame)
	}
	switch protocol {
	case protocolLCP, protocolIPCP, protocolIPV6CP, protocolCCP:
		name := map[uint16]string{protocolLCP: "LCP", protocolIPCP: "IPCP", protocolIPV6CP: "IPV6CP", protocolCCP: "CCP"}[protocol]
		s := fmt.Sprintf("%s %s %d", name, codes[p.code], p.id)
		if p.code <= configureReject {
			list, ok := parseOptions(p.data)
			if !ok {
				return s + fmt.Sprintf(" malformed %x", p.data)
			}
			for _, o := range list {
				s += " " + describeOption(protocol, o)
			}
			return s
		}
		if p.code == terminateRequest {
			return s + fmt.Sprintf(" %q", p.data)
		}
		if len(p.data) > 0 {
			s += fmt.Sprintf(" %x", p.data)
		}
		return s
	case protocolPAP:
		return fmt.Sprintf("PAP %s %d %q", papCodes[p.code], p.id, p.data)
	case protocolEAP:
		return "EAP " + describeEAP(p)
	case protocolCHAP:
		return "CHAP " + describeCHAP(p)
	}
	return fmt.Sprintf("protocol %04x", protocol)
}

func describeCHAP(p packet) string {
	if value, name, ok := parseValue(p); ok && p.code <= chapResponse {
		return fmt.Sprintf("%s %d %d octets %q", chapCodes[p.code], p.id, len(value), name)
	}
	return fmt.Sprintf("%s %d %q", chapCodes[p.code], p.id, p.data)
}

// describeEAP is such as
//
//	Request 2 eap-mschapv2 Challenge 2 16 octets "l2tpnet"
func describeEAP(p packet) string {
	s := fmt.Sprintf("%s %d", eapCodes[p.code], p.id)
	t, data, ok := parseEAP(p.data)
	if !ok {
		return s
	}
	if t.expanded {
		s += " expanded"
	}
	switch {
	case t.is(eapIdentity):
		return s + fmt.Sprintf(" identity %q", data)
	case t.is(eapNotification):
		return s + fmt.Sprintf(" notification %q", data)
	case t.is(eapNak):
		return s + fmt.Sprintf(" nak %x", data)
	}
	s += " " + t.String()
	inner, whole := parsePacket(data)
	switch {
	case t.is(4):
		if value, name, ok := counted(data); ok {
			return s + fmt.Sprintf(" %d octets %q", len(value), name)
		}
	case whole:
		return s + " " + describeCHAP(inner)
	case len(data) == 1:
		return s + " " + chapCodes[data[0]]
	}
	return s + fmt.Sprintf(" %x", data)
}

func describeOption(protocol uint16, o option) string {
	if a, ok := o.addr(); ok && protocol == protocolIPCP {
		switch o.kind {
		case ipcpAddress:
			return fmt.Sprintf("<addr %v>", a)
		case ipcpDNS1:
			return fmt.Sprintf("<dns1 %v>", a)
		case ipcpDNS2:
			return fmt.Sprintf("<dns2 %v>", a)
		}
	}
	switch {
	case protocol == protocolIPV6CP && o.kind == ipv6cpInterface:
		return fmt.Sprintf("<id %x>", o.data)
	case protocol == protocolCCP && o.kind == ccpMPPE:
		return fmt.Sprintf("<mppe %x>", o.data)
	}
	if protocol == protocolLCP {
		switch o.kind {
		case lcpMRU:
			if len(o.data) == 2 {
				return fmt.Sprintf("<mru %d>", binary.BigEndian.Uint16(o.data))
			}
		case lcpAuth:
			return fmt.Sprintf("<auth %s>", describeMethod(o.data))
		case lcpMagic:
			return fmt.Sprintf("<magic %x>", o.data)
		}
	}
	return fmt.Sprintf("<%d %x>", o.kind, o.data)
}

// openLCP takes the link to where LCP is opened: the peer asks for options
// and we for ours. What came out is forgotten.
func (x *tester) openLCP(options ...option) {
	x.Helper()
	x.lcps++
	x.lcp(configureRequest, 100+x.lcps, options)
	x.ackOurs(&x.link.lcp.automaton)
	if x.link.lcp.state != opened {
		x.Fatalf("LCP is in state %v", x.link.lcp.state)
	}
	x.forget()
}

func (x *tester) forget() { x.out = nil }

// The peer's side of PAP, the shortest way through the Authenticate phase.
func (x *tester) authenticatePAP() {
	x.Helper()
	if x.link.cfg.Server {
		x.pap(papRequest, 1, withLength("alice"), withLength("s3cret"))
		x.do(func(now time.Time) { x.link.Credential(now, Credential{Password: []byte("s3cret")}, nil) })
	} else {
		x.pap(papAck, x.last().id, withLength("hello"))
	}
}

// clientInNetwork is a client whose server asked for no authentication: the
// shortest way to the network phase, with IPCP's first request out and forgotten.
func clientInNetwork(t *testing.T) *tester {
	x := open(t, clientConfig())
	x.openLCP()
	if x.link.phase != network {
		t.Fatalf("phase %v", x.link.phase)
	}
	return x
}
