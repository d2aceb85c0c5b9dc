package ppp

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"
)

// openProxied opens a server that has what a LAC has left.
func openProxied(t *testing.T, cfg Config, p Proxy) *tester {
	x := &tester{T: t, link: New(cfg), now: epoch}
	x.do(func(now time.Time) { x.link.OpenProxied(now, p) })
	for _, b := range [][]byte{p.LastSent, p.LastReceived, p.Challenge, p.Response} {
		for i := range b {
			b[i] = 0xaa
		}
	}
	return x
}

// lacs is what a LAC has negotiated: it asks for authentication by that method.
func lacs(m Method) Proxy {
	return Proxy{
		LastSent:     join(uint16Option(lcpMRU, 1500), uint32Option(lcpACCM, 0), auth(m), uint32Option(lcpMagic, 0x11111111), option{lcpPFC, nil}, option{lcpACFC, nil}),
		LastReceived: join(uint16Option(lcpMRU, 1450), uint32Option(lcpACCM, 0), uint32Option(lcpMagic, 0x22222222)),
		Name:         "alice", ID: 77,
	}
}

// "This information may be used to initiate the PPP LCP and authentication systems
// on the LNS, allowing PPP to continue without renegotiation of LCP."
func TestProxy(t *testing.T) {
	response := func(m Method) []byte {
		peer := New(Config{Rand: random(9), User: "alice", Password: []byte("s3cret")})
		return m.digest().respond(peer, 77, []byte(sixteen))
	}
	proxies := map[Method]Proxy{}
	for _, m := range []Method{CHAPMD5, MSCHAPv2} {
		p := lacs(m)
		p.AuthenType, p.Challenge, p.Response = proxyCHAP, []byte(sixteen), response(m)
		proxies[m] = p
	}
	p := lacs(PAP)
	p.AuthenType, p.Response = proxyPAP, []byte("s3cret")
	proxies[PAP] = p
	success := map[Method]string{PAP: `PAP Ack 77 "\x0eAccess granted"`, CHAPMD5: `CHAP Success 77 "Access granted"`, MSCHAPv2: `CHAP Success 77 "S=... M=Access granted"`}
	failure := map[Method]string{PAP: `PAP Nak 77 "\x15Authentication failed"`, CHAPMD5: `CHAP Failure 77 "Authentication failed"`, MSCHAPv2: `CHAP Failure 77 "E=691 ... M=Authentication failed"`}

	for m, p := range proxies {
		clone := func() Proxy {
			q := p
			q.LastSent, q.LastReceived = bytes.Clone(p.LastSent), bytes.Clone(p.LastReceived)
			q.Challenge, q.Response = bytes.Clone(p.Challenge), bytes.Clone(p.Response)
			return q
		}
		t.Run(m.String(), func(t *testing.T) {
			x := openProxied(t, serverConfig(), clone())
			x.want("nothing is asked of the peer", fmt.Sprintf("AuthQuestion{Method:%v User:alice}", m))
			if l := &x.link.lcp; l.state != opened || l.magic != 0x11111111 || l.peerMRU != 1450 {
				t.Errorf("state %v, magic %08x, MRU %d", l.state, l.magic, l.peerMRU)
			}
			x.do(func(now time.Time) { x.link.Credential(now, Credential{Password: []byte("s3cret")}, nil) })
			x.want("the peer gets the reply", success[m], fmt.Sprintf("Authenticated{Method:%v User:alice Message:}", m), "AddressQuestion{User:alice}")
			x.lcp(echoRequest, 1, "\x22\x22\x22\x22")
			x.want("our magic is the LAC's", "LCP Echo-Reply 1 11111111")

			// The peer may negotiate again, and then it is us whom it has before it.
			x.lcp(configureRequest, 78)
			x.ackOurs(&x.link.lcp.automaton)
			want := []string{"LCP Configure-Request 1 <mru 1400> <auth " + m.String() + "> <magic ours>", "LCP Configure-Ack 78", "CHAP Challenge 78 ..."}
			if m == PAP {
				want = want[:2]
			}
			x.want("from scratch", want...)
		})
		t.Run(m.String()+", wrong password", func(t *testing.T) {
			x := openProxied(t, serverConfig(), clone())
			x.do(func(now time.Time) { x.link.Credential(now, Credential{Password: []byte("other")}, nil) })
			x.lcp(terminateAck, 1)
			x.want("refused", fmt.Sprintf("AuthQuestion{Method:%v User:alice}", m), failure[m], `LCP Terminate-Request 1 "Authentication failed"`,
				fmt.Sprintf("Down: %v authentication of user %q failed: wrong password", m, "alice"))
		})
		t.Run(m.String()+", not allowed", func(t *testing.T) {
			cfg := serverConfig()
			cfg.Methods = []Method{EAPMSCHAPv2}
			x := openProxied(t, cfg, clone())
			x.want("from scratch", "LCP Configure-Request 1 <mru 1400> <auth eap> <magic ours>")
		})
		t.Run(m.String()+", a client", func(t *testing.T) {
			x := openProxied(t, clientConfig(), clone())
			x.want("from scratch", "LCP Configure-Request 1 <mru 1400> <magic ours>")
		})
	}
}

// What cannot be taken from the LAC is negotiated, or asked for, by ourselves.
func TestProxyInPart(t *testing.T) {
	const scratch = "LCP Configure-Request 1 <mru 1400> <auth mschapv2> <magic ours>"
	for name, change := range map[string]func(p *Proxy){
		"nothing":                 func(p *Proxy) { *p = Proxy{} },
		"no Last Sent":            func(p *Proxy) { p.LastSent = nil },
		"no authentication":       func(p *Proxy) { p.LastSent = join(uint32Option(lcpMagic, 5)) },
		"MS-CHAP, the first":      func(p *Proxy) { p.LastSent = join(option{lcpAuth, []byte("\xc2\x23\x80")}) },
		"two methods":             func(p *Proxy) { p.LastSent = join(auth(CHAPMD5), option{lcpAuth, []byte("\xc0\x25")}) },
		"multilink":               func(p *Proxy) { p.LastSent = join(p.LastSent, option{17, []byte{5, 0xdc}}) },
		"an MRU beyond ours":      func(p *Proxy) { p.LastSent = join(auth(CHAPMD5), uint16Option(lcpMRU, 1501)) },
		"an MRU of nothing":       func(p *Proxy) { p.LastSent = join(auth(CHAPMD5), uint16Option(lcpMRU, 64)) },
		"an MRU of three octets":  func(p *Proxy) { p.LastSent = join(auth(CHAPMD5), option{lcpMRU, []byte{5, 0, 0}}) },
		"a magic of three octets": func(p *Proxy) { p.LastSent = join(auth(CHAPMD5), option{lcpMagic, []byte{5, 0, 0}}) },
		"cut":                     func(p *Proxy) { p.LastSent = p.LastSent[:len(p.LastSent)-1] },
		"the peer's, cut":         func(p *Proxy) { p.LastReceived = p.LastReceived[:len(p.LastReceived)-1] },
		"the peer's has ours":     func(p *Proxy) { p.LastReceived = join(uint32Option(lcpMagic, 0x11111111)) },
		"the peer's has multilink, which we refuse":   func(p *Proxy) { p.LastReceived = join(option{17, []byte{5, 0xdc}}) },
		"the peer demands authentication of us":       func(p *Proxy) { p.LastReceived = join(auth(PAP)) },
		"the peer's MRU is smaller than we make work": func(p *Proxy) { p.LastReceived = join(uint16Option(lcpMRU, 100)) },
	} {
		t.Run(name, func(t *testing.T) {
			p := lacs(CHAPMD5)
			p.AuthenType, p.Challenge, p.Response = proxyCHAP, []byte(sixteen), []byte(sixteen)
			change(&p)
			x := openProxied(t, serverConfig(), p)
			x.want("LCP from scratch", scratch)
		})
	}
	for name, change := range map[string]func(p *Proxy){
		"no type":                   func(p *Proxy) { p.AuthenType = 0 },
		"textual":                   func(p *Proxy) { p.AuthenType = 1 },
		"PAP":                       func(p *Proxy) { p.AuthenType = proxyPAP },
		"No Authentication":         func(p *Proxy) { p.AuthenType = 4 },
		"no Challenge":              func(p *Proxy) { p.Challenge = nil },
		"no Response":               func(p *Proxy) { p.Response = nil },
		"a Response of 1011 octets": func(p *Proxy) { p.Response = make([]byte, 1011) },
		"a Name of 1011 octets":     func(p *Proxy) { p.Name = strings.Repeat("A", 1011) },
	} {
		t.Run(name, func(t *testing.T) {
			p := lacs(CHAPMD5)
			p.AuthenType, p.Challenge, p.Response = proxyCHAP, []byte(sixteen), []byte(sixteen)
			change(&p)
			x := openProxied(t, serverConfig(), p)
			x.want("the authentication anew", `CHAP Challenge ... 16 octets "l2tpnet"`)
			x.chap(chapResponse, 77, "\x10"+sixteen, "alice")
			x.want("to which the LAC's is no answer")
		})
	}
	for name, change := range map[string]func(p *Proxy){
		"CHAP":                      func(p *Proxy) { p.AuthenType = proxyCHAP },
		"a password of 1011 octets": func(p *Proxy) { p.Response = make([]byte, 1011) },
		"a Name of 1011 octets":     func(p *Proxy) { p.Name = strings.Repeat("A", 1011) },
	} {
		t.Run("PAP, "+name, func(t *testing.T) {
			p := lacs(PAP)
			p.AuthenType, p.Response = proxyPAP, []byte("s3cret")
			change(&p)
			x := openProxied(t, serverConfig(), p)
			x.pap(papRequest, 78, withLength("alice"), withLength("s3cret"))
			x.want("the peer repeats its request", "AuthQuestion{Method:pap User:alice}")
		})
	}
	x := openProxied(t, Config{Rand: random(1), Server: true}, lacs(EAPMSCHAPv2))
	x.want("EAP, which begins again", `EAP Request 1 identity ""`)

	// Frames that have overtaken the ICCN come after what it says.
	x = &tester{T: t, link: New(serverConfig()), now: epoch}
	x.pap(papRequest, 5, withLength("alice"), withLength("s3cret"))
	x.do(func(now time.Time) { x.link.OpenProxied(now, lacs(PAP)) })
	x.want("in their order", "AuthQuestion{Method:pap User:alice}")
	x.do(func(now time.Time) { x.link.OpenProxied(now, lacs(PAP)) })
	x.want("once")
}

// Whatever a LAC says, nobody is let in by it who does not know the password.
func FuzzProxy(f *testing.F) {
	for _, m := range everyMethod {
		p := lacs(m)
		f.Add(uint8(m), p.LastSent, p.LastReceived, uint16(proxyCHAP), p.Name, []byte(sixteen), []byte(sixteen))
		f.Add(uint8(m), p.LastSent, p.LastReceived, uint16(proxyPAP), p.Name, []byte{}, []byte("guess"))
	}
	f.Fuzz(func(t *testing.T, m uint8, sent, received []byte, authenType uint16, name string, challenge, response []byte) {
		if bytes.Contains(response, []byte("s3cret")) {
			return
		}
		cfg := serverConfig()
		cfg.Methods = everyMethod[m%uint8(len(everyMethod)):]
		x := openProxied(t, cfg, Proxy{bytes.Clone(sent), bytes.Clone(received), authenType, name, bytes.Clone(challenge), m, bytes.Clone(response)})
		x.do(func(now time.Time) { x.link.Credential(now, Credential{Password: []byte("s3cret")}, nil) })
		x.wait(5 * time.Minute)
		for _, o := range x.out {
			if _, ok := o.event.(Authenticated); ok {
				t.Fatalf("let in: %s", o.words)
			}
		}
		if !x.link.ended {
			t.Fatalf("phase %v", x.link.phase)
		}
	})
}
