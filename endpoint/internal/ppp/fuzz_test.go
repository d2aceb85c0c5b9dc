package ppp

import (
	"bytes"
	"errors"
	"net/netip"
	"testing"
	"time"
)

// An adversary plays the peer and the owner of one link from a fuzzer's
// bytes. The first is how many steps come before the link is opened; each step
// is an operation and, for those that need it, a length and octets:
//
//	0…5   a packet of LCP, IPCP, PAP, CHAP or another protocol, code and identifier from the bytes
//	6     a raw frame
//	7     our last Configure-Request of LCP, acknowledged
//	8     the same of IPCP
//	9     time passes
//	10    the owner answers a question
//	11    our own last frame comes back
//	12    a right proof of the user alice
//	13    the owner closes
//	14    the lower layer is lost
//	15    a packet of EAP, code and octets from the bytes, with the identifier that is waited for
//	16…17 a packet of IPV6CP or CCP, code, identifier and data from the bytes
//	18…19 our last Configure-Request of them, acknowledged
type adversary struct {
	t    *testing.T
	link *Link
	now  time.Time
	last []byte // our last frame
	down int
	in   []byte
}

func (a *adversary) byte() (b byte) {
	if len(a.in) > 0 {
		b, a.in = a.in[0], a.in[1:]
	}
	return b
}

func (a *adversary) bytes() (b []byte) {
	n := min(int(a.byte()), len(a.in))
	b, a.in = a.in[:n], a.in[n:]
	return b
}

func (a *adversary) play(data []byte) {
	a.in = data
	for range a.byte() % 8 { // before the link is opened
		a.step()
		a.drain()
	}
	a.link.Open(a.now)
	a.drain()
	for steps := 0; len(a.in) > 0 && steps < 500; steps++ {
		a.step()
		a.drain()
	}
	// Whatever was: time alone ends it, if the network is not up.
	for !a.link.ended && !a.link.up {
		deadline := a.link.Deadline()
		if deadline.IsZero() || deadline.Sub(a.now) > defaultSetupTimeout {
			a.t.Fatalf("phase %v waits for ever", a.link.phase)
		}
		a.now = deadline
		a.link.Expire(a.now)
		a.drain()
	}
	if a.link.ended != (a.down == 1) {
		a.t.Fatalf("Down %d times", a.down)
	}
}

func (a *adversary) step() {
	l := a.link
	switch op := a.byte() % 20; op {
	case 0, 1, 2, 3, 4, 5:
		protocol := [...]uint16{protocolLCP, protocolIPCP, protocolPAP, protocolCHAP, 0x80fb, protocolLCP}[op]
		p := packet{a.byte(), a.byte(), a.bytes()}
		if op == 5 {
			p.id = l.lcp.requestID
		}
		a.handle(p.frame(protocol))
	case 6:
		a.handle(bytes.Clone(a.bytes()))
	case 7:
		a.handle(packet{configureAck, l.lcp.requestID, l.lcp.requested}.frame(protocolLCP))
	case 8:
		a.handle(packet{configureAck, l.ipcp.requestID, l.ipcp.requested}.frame(protocolIPCP))
	case 9:
		a.now = a.now.Add(time.Duration(a.byte()) * 100 * time.Millisecond)
		l.Expire(a.now)
	case 10:
		switch a.byte() % 4 {
		case 0:
			l.Credential(a.now, Credential{Password: []byte("s3cret")}, nil)
		case 1:
			l.Credential(a.now, Credential{}, errors.New("no"))
		case 2:
			l.Assign(a.now, Assignment{Local: gateway, Peer: inside, DNS: []netip.Addr{dns1}}, nil)
		case 3:
			l.Assign(a.now, Assignment{}, nil)
		}
	case 11:
		if a.last != nil {
			a.handle(bytes.Clone(a.last))
		}
	case 12:
		if x, ok := l.exchange.(*chapServer); ok {
			peer := New(Config{Rand: random(1), User: "alice", Password: []byte("s3cret")})
			value := x.digest.respond(peer, x.id, x.challenge)
			a.handle(packet{chapResponse, x.id, join(append([]byte{uint8(len(value))}, value...), "alice")}.frame(protocolCHAP))
		} else if x, ok := l.exchange.(*eapServer); ok {
			a.handle(eapAnswer(x, "alice", "s3cret").frame(protocolEAP))
		}
		if x, ok := l.exchange.(*chapClient); ok && x.method == MSCHAPv2 {
			const challenge = "cccccccccccccccc"
			a.handle(packet{chapChallenge, 1, []byte("\x10" + challenge)}.frame(protocolCHAP))
			if x.response != nil && x.response.id == 1 {
				value, name, _ := parseValue(*x.response)
				proof, _ := (&mschapv2{}).verify(Credential{Password: []byte("s3cret")}, 1, []byte(challenge), value, name)
				a.handle(packet{chapSuccess, 1, proof}.frame(protocolCHAP))
			}
		}
	case 13:
		l.Close(a.now, "closed")
	case 14:
		l.Lost(a.now, errors.New("lost"))
	case 15:
		p := packet{a.byte(), a.byte(), a.bytes()}
		if x, ok := l.exchange.(*eapServer); ok {
			p.id = x.request.id
		} else if x, ok := l.exchange.(*eapClient); ok && x.last != nil && p.code != eapRequest {
			p.id = x.last.id
		}
		a.handle(p.frame(protocolEAP))
	case 16, 17:
		protocol := [...]uint16{protocolIPV6CP, protocolCCP}[op-16]
		a.handle(packet{a.byte(), a.byte(), a.bytes()}.frame(protocol))
	case 18:
		a.handle(packet{configureAck, l.ipv6cp.requestID, l.ipv6cp.requested}.frame(protocolIPV6CP))
	case 19:
		a.handle(packet{configureAck, l.ccp.requestID, l.ccp.requested}.frame(protocolCCP))
	}
}

func (a *adversary) handle(frame []byte) {
	a.link.Handle(a.now, frame)
	for i := range frame {
		frame[i] = 0xaa
	}
}

// drain checks what comes out of one step: a few packets, well formed, within
// the MRU, without the password but in PAP; and that the link has kept its rules.
func (a *adversary) drain() {
	frames := 0
	for {
		frame, event, ok := a.link.Next()
		if !ok {
			break
		}
		if d, ok := event.(Down); ok {
			a.down++
			if a.link.phase != dead || d.Err != nil && d.Err.Error() == "" {
				a.t.Fatalf("Down{%v} in phase %v", d.Err, a.link.phase)
			}
		} else if a.down > 0 {
			a.t.Fatalf("%T %x after Down", event, frame)
		}
		if event != nil {
			continue
		}
		frames++
		a.last = frame
		protocol, information, ok := ParseFrame(frame)
		p, whole := parsePacket(information)
		if !ok || !whole || len(information) != packetHeaderLen+len(p.data) || len(information) > fullMRU {
			a.t.Fatalf("we sent %x", frame)
		}
		if protocol != protocolPAP && bytes.Contains(frame, []byte("s3cret")) && !a.link.cfg.Server {
			a.t.Fatalf("the password in %x", frame)
		}
		if (protocol == protocolLCP || isNCP(protocol)) && p.code <= configureReject {
			if _, ok := parseOptions(p.data); !ok {
				a.t.Fatalf("we sent options %x", p.data)
			}
		}
	}
	if frames > 6+earlyMax { // those that came before Open are answered at once
		a.t.Fatalf("%d frames at once", frames)
	}
	if d := a.link.Deadline(); !d.IsZero() && a.link.phase == dead {
		a.t.Fatal("a deadline in the Dead phase")
	}
	l := a.link
	if l.up && (l.phase != network || l.cfg.Server && l.user == "") {
		a.t.Fatalf("up in phase %v, user %q", l.phase, l.user)
	}
	if l.up != (l.ipcp.isUp || l.ipv6cp.isUp) || l.up && l.cfg.MPPE == MPPERequired && l.ccp.encryption == nil {
		a.t.Fatalf("up %v, IPv4 %v, IPv6 %v, encryption %v", l.up, l.ipcp.isUp, l.ipv6cp.isUp, l.ccp.encryption)
	}
	if e := l.ccp.encryption; e != nil && (l.phase != network || l.ccp.state != opened || l.master == nil) {
		a.t.Fatalf("%v in phase %v, CCP %v", e, l.phase, l.ccp.state)
	}
}

// The seeds are the ways through a link's life.
func seedLink(f *testing.F) {
	add := func(steps []byte) {
		for method := range uint8(4) {
			for mode := range uint8(3) {
				f.Add(append([]byte{method<<6 | mode<<3}, steps...))
			}
		}
	}
	ack, request := []byte{7}, func(options ...option) []byte {
		data := join(options)
		return append([]byte{0, configureRequest, 1, uint8(len(data))}, data...)
	}
	ipcpRequest := join([]byte{1, configureRequest, 1, 6}, addrOption(ipcpAddress, inside))
	for _, m := range everyMethod {
		add(join(request(auth(m)), ack))
	}
	add(join(request(auth(EAPMD5)), ack, []byte{15, eapRequest, 1, 1, 1, 15, eapRequest, 2, 3, 4, 1, 'c', 15, eapSuccess, 2, 0}))
	challenge := msPacket(chapChallenge, 2, "\x10"+sixteen)
	add(join(request(auth(EAPMSCHAPv2)), ack, []byte{15, eapRequest, 1, 1, 13, 15, eapRequest, 2, uint8(len(challenge))}, challenge, []byte{15, eapRequest, 3, 8, 26, 3, 2, 0, 7, 'S', '=', '0'}))
	identity, acknowledge := []byte{15, eapResponse, 0, 2, 1, 'a'}, []byte{15, eapResponse, 0, 2, 26, chapSuccess}
	up := join(request(), ack, identity, []byte{12, 10, 0}, acknowledge, []byte{10, 2}, ipcpRequest, []byte{8})
	add(up)
	add(join(up, request(), ack, []byte{12, 10, 0}, ipcpRequest, []byte{8, 13}))
	add(join(up, []byte{0, protocolReject, 1, 2, 0x80, 0x21}))
	ipv6cpUp := join([]byte{16, configureRequest, 1, 10}, idOption("p"), []byte{18})
	ccpUp := join([]byte{17, configureRequest, 1, 6}, mppe(stateless128), []byte{19})
	add(join(up, ipv6cpUp, []byte{0, protocolReject, 1, 2, 0x80, 0x21}))
	add(join(request(auth(MSCHAPv2)), ack, []byte{12}, ccpUp, ipv6cpUp, []byte{17, terminateRequest, 1, 0}))
	add(join(request(), ack, identity, []byte{12, 10, 0}, acknowledge, []byte{10, 2}, ccpUp, ipcpRequest, []byte{8}, ipv6cpUp, ccpUp, []byte{17, resetRequest, 1, 0}))
	add(join(request(auth(PAP)), ack, []byte{2, papAck, 1, 0, 1, configureNak, 1, 6}, addrOption(ipcpAddress, inside), []byte{8}, ipcpRequest))
	add(join(request(auth(CHAPMD5)), ack, []byte{3, chapChallenge, 1, 3, 2, 'c', 'c', 3, chapFailure, 1, 2, 'n', 'o'}))
	add(bytes.Repeat([]byte{11}, 20))
	add(bytes.Repeat([]byte{9, 30}, 200))
	add(bytes.Repeat(join(ack, request(option{99, nil}), []byte{9, 30}), 40))
	add(join([]byte{0, terminateRequest, 1, 0, 9, 255, 0, codeReject, 1, 1, 1}))
}

// networks are chosen by the first octet, too.
func networks(b byte) (noIPv6 bool, mode MPPEMode) {
	return b&0x20 != 0, []MPPEMode{MPPEOff, MPPEAllowed, MPPERequired, MPPERequired}[b>>3&3]
}

func FuzzLinkClient(f *testing.F) {
	seedLink(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		cfg := everyClient()
		if len(data) > 0 {
			cfg.NoIPv6, cfg.MPPE = networks(data[0])
		}
		(&adversary{t: t, link: New(cfg), now: epoch}).play(data)
	})
}

func FuzzLinkServer(f *testing.F) {
	seedLink(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		cfg := serverConfig()
		if len(data) > 0 { // the first octet's two highest bits choose the method
			cfg.Methods = [...][]Method{{MSCHAPv2, CHAPMD5, PAP}, {EAPMSCHAPv2, EAPMD5}, {PAP}, {EAPMD5, EAPMSCHAPv2}}[data[0]>>6]
			cfg.NoIPv6, cfg.MPPE = networks(data[0])
			if cfg.MPPE == MPPERequired && data[0]>>6 == 2 {
				cfg.MPPE = MPPEAllowed // PAP gives no keys
			}
		}
		(&adversary{t: t, link: New(cfg), now: epoch}).play(data)
	})
}

// Options that parse are the same octets when they are put together again, and
// the reply to them is an Ack of the same octets or has options of its own.
func FuzzOptions(f *testing.F) {
	for _, s := range []string{"", "\x01\x04\x05\x78", "\x01\x00", "\x05\x06\x00\x00\x00\x00", "\x03\x05\xc2\x23\x81\x07\x02\x08\x02", "\x03\x06\x0a\x4d\x00\x01\x81\x06\x00\x00\x00\x00",
		"\x01\x0aABCDEFGH", "\x01\x0a\x00\x00\x00\x00\x00\x00\x00\x00\x02\x04\x00\x4f", "\x12\x06\x01\x00\x00\x40", "\x12\x06\x00\x00\x00\xe1\x1a\x04\x78\x00"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		list, ok := parseOptions(data)
		if !ok {
			return
		}
		if again := join(list); !bytes.Equal(again, data) {
			t.Fatalf("%x becomes %x", data, again)
		}
		links := []*Link{New(clientConfig()), New(serverConfig())}
		links[1].ipcp.gift = Assignment{Local: gateway, Peer: inside, DNS: []netip.Addr{dns1}}
		for _, l := range links {
			for _, a := range []*automaton{&l.lcp.automaton, &l.ipcp.automaton, &l.ipv6cp.automaton, &l.ccp.automaton} {
				a.state = reqSent
				answer, err := a.judge(list)
				if err != nil {
					t.Fatal(err)
				}
				reply, ok := parseOptions(answer.data)
				if !ok || len(answer.data) > len(data)+4*6 {
					t.Fatalf("the answer to %x is %x", data, answer.data)
				}
				switch answer.code {
				case configureReject: // "MUST NOT be reordered or modified in any way"
					rest := list
					for _, o := range reply {
						for len(rest) > 0 && (rest[0].kind != o.kind || !bytes.Equal(rest[0].data, o.data)) {
							rest = rest[1:]
						}
						if len(rest) == 0 {
							t.Fatalf("%x is rejected as %x", data, answer.data)
						}
						rest = rest[1:]
					}
				case configureAck:
					a.layer.granted(list)
				}
				_ = a.layer.naked(list)
				_ = a.layer.rejected(list)
				if _, ok := parseOptions(join(a.layer.request())); !ok {
					t.Fatalf("after %x we ask %v", data, a.layer.request())
				}
			}
		}
	})
}

// Packets of PAP, CHAP and EAP by a peer that does not know the password, at both
// ends of every method: nobody is let in, and nobody is taken for the server.
func FuzzAuth(f *testing.F) {
	f.Add(uint8(papRequest), uint8(1), join(withLength("alice"), withLength("guess")))
	f.Add(uint8(papAck), uint8(2), []byte("\x02ok"))
	f.Add(uint8(papNak), uint8(1), []byte("\xff"))
	f.Add(uint8(chapChallenge), uint8(1), []byte("\x10ccccccccccccccccname"))
	f.Add(uint8(chapResponse), uint8(1), append([]byte{49}, make([]byte, 54)...))
	f.Add(uint8(chapSuccess), uint8(1), []byte("S=0123456789ABCDEF0123456789ABCDEF01234567 M=hi"))
	f.Add(uint8(chapFailure), uint8(1), []byte("E=691 R=1 C=0 V=3 M=no"))
	f.Add(uint8(eapResponse), uint8(2), append([]byte{4, 16}, make([]byte, 21)...))
	f.Add(uint8(eapResponse), uint8(2), msPacket(chapResponse, 2, append([]byte{49}, make([]byte, 54)...)))
	f.Add(uint8(eapRequest), uint8(3), msPacket(chapSuccess, 2, "S=0123456789ABCDEF0123456789ABCDEF01234567 M=hi"))
	f.Add(uint8(eapSuccess), uint8(2), []byte{})
	f.Fuzz(func(t *testing.T, code, id uint8, data []byte) {
		for _, m := range everyMethod {
			protocol := uint16(protocolCHAP)
			switch m {
			case PAP:
				protocol = protocolPAP
			case EAPMD5, EAPMSCHAPv2:
				protocol = protocolEAP
			}
			if bytes.Contains(data, []byte("s3cret")) {
				return
			}
			x := open(t, chapConfig(m))
			x.openLCP()
			if protocol == protocolEAP {
				x.eap(eapResponse, 1, "\x01alice")
			}
			x.packet(protocol, code, id, data)
			x.do(func(now time.Time) { x.link.Credential(now, Credential{Password: []byte("s3cret")}, nil) })
			if x.link.phase == network {
				t.Fatalf("%v: the server is content with %x", m, data)
			}

			x = open(t, eapConfig(m))
			x.openLCP(auth(m))
			switch m {
			case CHAPMD5, MSCHAPv2:
				x.chap(chapChallenge, 1, "\x10"+sixteen, "lns")
			case EAPMSCHAPv2:
				x.eap(eapRequest, 2, msPacket(chapChallenge, 2, "\x10"+sixteen, "lns"))
			}
			x.packet(protocol, code, id, data)
			x.ipcp(configureRequest, 1)
			if (m == MSCHAPv2 || m == EAPMSCHAPv2) && x.link.phase == network {
				t.Fatalf("the client is content with %x", data)
			}
		}
	})
}

// What a peer, or whoever can forge its datagrams, sends in frames of MPPE: only
// what it encrypted is opened, and nothing of the rest keeps the next packet from
// being opened.
func FuzzOpen(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("\x04\x90\x00\x45\x00\x02\x97\xff\x20\x9f\xff\x21\x22\x23\x24\x25"))
	f.Add(bytes.Repeat([]byte("\x03\x97\xfe\x45"), 300))
	f.Fuzz(func(t *testing.T, data []byte) {
		sealer, opener := ends(bits128)
		for range data[:min(len(data), 20)] {
			n := min(int(data[0]), len(data)-1)
			forged := bytes.Clone(data[1 : 1+n])
			if _, datagram, err := opener.Open(forged); err == nil && len(datagram) == 0 {
				t.Fatalf("%x is opened, to nothing", data[1:1+n])
			} else if err == nil {
				return // one of thousands is taken for the peer's
			}
			if data = data[1+n:]; len(data) == 0 {
				break
			}
			if data[0]&1 == 0 {
				sealer.Seal(nil, ProtocolIPv4, datagram4) // lost
			}
		}
		if opener.credit >= maxCredit-1 && !opens(t, opener, sealer.Seal(nil, ProtocolIPv6, datagram6)) {
			t.Fatal("the next packet is not opened")
		}
	})
}
