package ppp

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/capture"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

// recorded is a PPP frame of a capture.
type recorded struct {
	at       time.Time
	client   bool // its sender
	protocol uint16
	data     []byte // the information
	packet   packet // of the control protocols
}

// record reads the PPP frames of a capture.
func record(t *testing.T, name string) (frames []recorded) {
	for _, d := range capture.Load(t, name) {
		h, payload, err := wire.ParseHeader(d.Payload)
		if err != nil {
			t.Fatal(err)
		}
		if h.Control {
			continue
		}
		protocol, information, ok := ParseFrame(payload)
		if !ok {
			t.Fatalf("frame %x", payload)
		}
		p, _ := parsePacket(information)
		frames = append(frames, recorded{d.Time, d.Src.Addr() == netip.MustParseAddr("10.99.0.3"), protocol, information, p})
	}
	return frames
}

// replica is the random source of the end that a link takes the place of: a
// magic number has four octets, an interface identifier eight, a challenge sixteen.
type replica struct{ magic, id, challenge []byte }

func (r *replica) Read(b []byte) (int, error) {
	switch len(b) {
	case len(r.magic):
		return copy(b, r.magic), nil
	case len(r.id):
		return copy(b, r.id), nil
	case len(r.challenge):
		return copy(b, r.challenge), nil
	}
	panic(fmt.Sprintf("%d random octets", len(b)))
}

// A replay is a link in the place of one end of a recorded exchange: it is fed
// with what the other end sent.
type replay struct {
	*testing.T
	link   *Link
	server bool // our end
	frames []recorded

	auth    *Authenticated
	up      *Up
	up6     *Up6
	settled int
	opened  [][]byte // datagrams that the peer had encrypted
	down    *Down
	rejects map[uint16]int // our Protocol-Rejects
	same    int            // our replies that are those of the live end
}

func (r *replay) ours(f recorded) bool { return f.client != r.server }

// find is the first recorded packet of that end, protocol and code.
func (r *replay) find(ours bool, protocol uint16, code uint8) (packet, bool) {
	for _, f := range r.frames {
		if r.ours(f) == ours && f.protocol == protocol && f.packet.code == code {
			return f.packet, true
		}
	}
	return packet{}, false
}

// asked is the data of an option that our live end asks for.
func (r *replay) asked(protocol uint16, kind uint8) []byte {
	request, _ := r.find(true, protocol, configureRequest)
	list, _ := parseOptions(request.data)
	for _, o := range list {
		if o.kind == kind {
			return o.data
		}
	}
	r.Fatalf("the live end does not ask for option %d of protocol %04x", kind, protocol)
	return nil
}

func newReplay(t *testing.T, name string, server bool, m Method, mppe MPPEMode) *replay {
	r := &replay{T: t, server: server, frames: record(t, name), rejects: map[uint16]int{}}
	source := &replica{challenge: make([]byte, 16)}
	source.magic = r.asked(protocolLCP, lcpMagic)
	source.id = r.asked(protocolIPV6CP, ipv6cpInterface)
	if response, ok := r.find(true, protocolCHAP, chapResponse); ok && m == MSCHAPv2 {
		source.challenge = response.data[1:][:16]
	}
	cfg := Config{Rand: source, Server: server, Name: "umllns", Methods: []Method{m}, MPPE: mppe}
	if !server {
		cfg.User, cfg.Password = "alice", []byte("s3cret")
	}
	r.link = New(cfg)
	return r
}

func (r *replay) run() {
	r.link.Open(r.frames[0].at)
	r.drain(r.frames[0].at)
	for _, f := range r.frames {
		if r.ours(f) || f.protocol == ProtocolIPv4 || f.protocol == ProtocolIPv6 {
			continue
		}
		if x, ok := r.link.exchange.(*chapServer); ok && f.protocol == protocolCHAP {
			// pppd's challenges have other lengths and identifiers than ours.
			live, _ := r.find(true, protocolCHAP, chapChallenge)
			challenge, _, _ := parseValue(live)
			x.id, x.challenge = live.id, challenge
		}
		frame := make([]byte, HeaderLen, HeaderLen+len(f.data))
		PutHeader(frame, f.protocol)
		if !r.adapt(&f) {
			continue
		}
		r.link.Handle(f.at, append(frame, f.data...))
		r.drain(f.at)
		if f.protocol == ProtocolMPPE && r.up6 != nil && r.up6.Encryption != nil {
			r.open(f)
		}
	}
	r.link.Expire(r.frames[len(r.frames)-1].at.Add(defaultRestart))
	r.drain(r.frames[len(r.frames)-1].at)
}

// open decrypts a recorded datagram, as an owner does after the first Up or Up6.
func (r *replay) open(f recorded) {
	protocol, datagram, err := r.up6.Encryption.Opener.Open(bytes.Clone(f.data))
	if err != nil {
		r.Fatalf("frame %x: %v", f.data, err)
	}
	switch {
	case protocol == ProtocolIPv4 && int(binary.BigEndian.Uint16(datagram[2:])) == len(datagram) && ipv4Sum(datagram[:20]) == 0xffff:
	case protocol == ProtocolIPv6 && int(binary.BigEndian.Uint16(datagram[4:]))+40 == len(datagram):
	default:
		r.Errorf("frame %x is protocol %04x, %x", f.data, protocol, datagram)
	}
	r.opened = append(r.opened, datagram)
}

// ipv4Sum is the sum of an IPv4 header, its checksum included (RFC 1071).
func ipv4Sum(header []byte) uint16 {
	sum := uint32(0)
	for ; len(header) > 0; header = header[2:] {
		sum += uint32(binary.BigEndian.Uint16(header))
	}
	return uint16(sum + sum>>16)
}

// adapt makes a reply to the live end's Configure-Request one to ours, which
// has another identifier, and lacks the options that only pppd asks for.
// false: it was to a request that we have had an answer to.
func (r *replay) adapt(f *recorded) bool {
	var a *automaton
	switch f.protocol {
	case protocolLCP:
		a = &r.link.lcp.automaton
	case protocolIPCP:
		a = &r.link.ipcp.automaton
	case protocolIPV6CP:
		a = &r.link.ipv6cp.automaton
	case protocolCCP:
		a = &r.link.ccp.automaton
	}
	if a == nil || f.packet.code < configureAck || f.packet.code > configureReject {
		return true
	}
	if !a.outstanding {
		return false
	}
	if f.protocol == protocolCCP && f.packet.code == configureAck && a.requestID == 1 {
		// The live end asked for 128 bit at once. We ask for whatever the peer
		// wants, and are told by a Nak.
		r.link.Handle(f.at, packet{configureNak, a.requestID, f.packet.data}.frame(protocolCCP))
		r.drain(f.at)
	}
	p := packet{f.packet.code, a.requestID, f.packet.data}
	if p.code == configureAck {
		theirs, _ := parseOptions(p.data)
		ours, _ := parseOptions(a.requested)
		for _, o := range ours {
			found := false
			for _, t := range theirs {
				found = found || o.kind == t.kind && bytes.Equal(o.data, t.data)
			}
			if !found {
				r.Fatalf("%s: %s is acknowledged, we asked for %s", a.name(), describe(f.packet.frame(f.protocol)), describeOption(f.protocol, o))
			}
		}
		p.data = a.requested
	}
	f.data = p.appendTo(nil)
	return true
}

func (r *replay) drain(now time.Time) {
	for {
		frame, event, ok := r.link.Next()
		if !ok {
			return
		}
		switch event := event.(type) {
		case nil:
			r.sent(frame)
		case AuthQuestion:
			r.link.Credential(now, Credential{Password: []byte("s3cret")}, nil)
		case AddressQuestion:
			r.link.Assign(now, r.assignment(), nil)
		case Authenticated:
			r.auth = &event
		case Up:
			r.up = &event
		case Up6:
			r.up6 = &event
		case Settled:
			r.settled++
		case Down:
			r.down = &event
		}
	}
}

// assignment is what the live server gave.
func (r *replay) assignment() (a Assignment) {
	request, _ := r.find(true, protocolIPCP, configureRequest)
	nak, _ := r.find(true, protocolIPCP, configureNak)
	list, _ := parseOptions(append(bytes.Clone(request.data), nak.data...))
	for i, o := range list {
		addr, _ := o.addr()
		switch {
		case i == 0:
			a.Local = addr
		case o.kind == ipcpAddress:
			a.Peer = addr
		default:
			a.DNS = append(a.DNS, addr)
		}
	}
	return a
}

// sent compares what we say with what the live end said: what answers the
// peer's packets is the same, octet by octet, but for the server's words.
func (r *replay) sent(frame []byte) {
	protocol, information, _ := ParseFrame(frame)
	p, _ := parsePacket(information)
	switch {
	case protocol == protocolLCP && p.code == protocolReject:
		r.rejects[binary.BigEndian.Uint16(p.data)]++
		return
	case (protocol == protocolLCP || isNCP(protocol)) && (p.code == configureAck || p.code == configureNak || p.code == configureReject || p.code == echoReply):
	case protocol == protocolPAP && p.code == papRequest:
	case protocol == protocolCHAP && p.code != chapChallenge:
	default:
		return // ours alone
	}
	for _, f := range r.frames {
		if !r.ours(f) || f.protocol != protocol || f.packet.code != p.code || f.packet.id != p.id {
			continue
		}
		want := f.packet.data
		if protocol == protocolCHAP && p.code == chapSuccess {
			want, p.data = cutTo(want, 42), cutTo(p.data, 42) // "S=" and 40 digits; the words are the same too
		}
		if !bytes.Equal(p.data, want) {
			r.Errorf("we answer %s, the live end %s", describe(p.frame(protocol)), describe(f.packet.frame(protocol)))
		}
		r.same++
		return
	}
	r.Errorf("we answer %s, the live end nothing like it", describe(frame))
}

// The recorded exchanges of xl2tpd and pppd, with our link in the place of
// either end: it gets where the live one got.
func TestReplay(t *testing.T) {
	for _, test := range []struct {
		name   string
		method Method
		mppe   MPPEMode
	}{
		{"uml-v2-pap", PAP, MPPEOff},
		{"uml-xl2tpd-lac-lns-chap", CHAPMD5, MPPEOff},
		{"uml-lns-qemu-lac-chap", CHAPMD5, MPPEOff},
		{"uml-v2-hidden-challenge", CHAPMD5, MPPEOff},
		{"uml-v2-mschapv2", MSCHAPv2, MPPEOff},
		{"qemu-lns-uml-lac-mschapv2", MSCHAPv2, MPPEOff},
		{"uml-v2-mschapv2-mppe128", MSCHAPv2, MPPEOff},
		{"uml-v2-mschapv2-mppe128", MSCHAPv2, MPPEAllowed},
		{"uml-v2-mschapv2-mppe128", MSCHAPv2, MPPERequired},
	} {
		for _, server := range []bool{false, true} {
			role := map[bool]string{false: "client", true: "server"}[server]
			if test.mppe != MPPEOff {
				role += "/mppe"
			}
			t.Run(test.name+"/"+role, func(t *testing.T) {
				r := newReplay(t, test.name, server, test.method, test.mppe)
				r.run()
				if r.auth == nil || r.auth.Method != test.method || r.auth.User != "alice" {
					t.Fatalf("authenticated %+v, phase %v, %+v", r.auth, r.link.phase, r.down)
				}
				want := netip.MustParseAddr("10.77.0.10")
				if r.up == nil || r.up.DNS[0] != netip.MustParseAddr("10.77.0.53") || r.up.MTU != r.link.mtu() || server && r.up.Peer != want || !server && r.up.Local != want {
					t.Fatalf("up %+v, phase %v", r.up, r.link.phase)
				}
				if r.same < 4 { // LCP's Ack, an Echo-Reply, the authentication, IPCP's Ack
					t.Errorf("only %d replies compared", r.same)
				}
				theirs, _ := r.find(false, protocolIPV6CP, configureRequest)
				if r.up6 == nil || !bytes.Equal(r.up6.Local[:], r.asked(protocolIPV6CP, ipv6cpInterface)) || !bytes.HasSuffix(theirs.data, r.up6.Peer[:]) {
					t.Errorf("up6 %+v", r.up6)
				}
				if r.settled != 1 {
					t.Errorf("settled %d times", r.settled)
				}
				_, ccp := r.find(false, protocolCCP, configureRequest)
				if got := r.rejects[protocolCCP] > 0; got != (ccp && test.mppe == MPPEOff) || r.rejects[protocolIPV6CP] > 0 {
					t.Errorf("Protocol-Rejects %v", r.rejects)
				}
				if mtu := map[bool]int{false: 1400, true: 1396}[test.mppe != MPPEOff]; r.up.MTU != mtu || r.up6.MTU != mtu {
					t.Errorf("MTU %d and %d", r.up.MTU, r.up6.MTU)
				}
				terminates, ok := r.find(false, protocolLCP, terminateRequest)
				if ok != (r.down != nil) || ok && r.down.Err.Error() != (&TerminatedError{string(terminates.data)}).Error() {
					t.Errorf("down %+v, the live end sent %q", r.down, terminates.data)
				}
			})
		}
	}
}

// The recorded datagrams that pppd's ends encrypted, the Linux kernel for them:
// ours at either end decrypts the other's, and what the live one encrypted of those,
// ours encrypts to the same octets.
func TestReplayMPPE(t *testing.T) {
	const name = "uml-v2-mschapv2-mppe128"
	var ends [2]*replay
	for i, server := range []bool{false, true} {
		ends[i] = newReplay(t, name, server, MSCHAPv2, MPPERequired)
		ends[i].run()
		if got := ends[i].up.Encryption; got == nil || got != ends[i].up6.Encryption || got.String() != "MPPE 128 bit" {
			t.Fatalf("encryption %v", got)
		}
	}
	if c, s := len(ends[0].opened), len(ends[1].opened); c != 7 || s != 9 {
		t.Errorf("the client decrypts %d datagrams, the server %d", c, s)
	}
	for i, r := range ends {
		datagrams := ends[1-i].opened
		for _, f := range r.frames {
			if !r.ours(f) || f.protocol != ProtocolMPPE {
				continue
			}
			protocol := uint16(ProtocolIPv4)
			if datagrams[0][0]>>4 == 6 {
				protocol = ProtocolIPv6
			}
			if got := r.up.Encryption.Sealer.Seal(nil, protocol, datagrams[0]); !bytes.Equal(got, f.data) {
				t.Errorf("we encrypt to %x, the live end to %x", got, f.data)
			}
			datagrams = datagrams[1:]
		}
	}
}
