package ppp

import (
	"errors"
	"net/netip"
	"testing"
	"time"
)

var (
	gateway = netip.MustParseAddr("10.77.0.1")
	inside  = netip.MustParseAddr("10.77.0.10")
	dns1    = netip.MustParseAddr("10.77.0.53")
	dns2    = netip.MustParseAddr("10.77.0.54")
)

func auth(m Method) option { return option{lcpAuth, m.option()} }

// The whole life of a client's link, by PAP.
func TestClient(t *testing.T) {
	x := open(t, clientConfig())
	x.want("the client begins", "LCP Configure-Request 1 <mru 1400> <magic ours>")
	x.lcp(configureRequest, 7, uint16Option(lcpMRU, 1450), uint32Option(lcpACCM, 0), auth(PAP), uint32Option(lcpMagic, 5))
	x.want("everything is acceptable", "LCP Configure-Ack 7 <mru 1450> <2 00000000> <auth pap> <magic 00000005>")
	x.ackOurs(&x.link.lcp.automaton)
	x.want("LCP is opened", `PAP Request 1 "\x05alice\x06s3cret"`)
	x.pap(papAck, 1, withLength("welcome"))
	x.want("authenticated", "Authenticated{Method:pap User:alice Message:welcome}",
		"IPCP Configure-Request 1 <addr 0.0.0.0> <dns1 0.0.0.0> <dns2 0.0.0.0>")
	x.ipcp(configureRequest, 1, addrOption(ipcpAddress, gateway))
	x.want("the server's address", "IPCP Configure-Ack 1 <addr 10.77.0.1>")
	x.ipcp(configureNak, 1, addrOption(ipcpAddress, inside), addrOption(ipcpDNS1, dns1), addrOption(ipcpDNS2, dns2))
	x.want("the client adopts what it is told", "IPCP Configure-Request 2 <addr 10.77.0.10> <dns1 10.77.0.53> <dns2 10.77.0.54>")
	x.ackOurs(&x.link.ipcp.automaton)
	x.want("up", "Up{Local:10.77.0.10 Peer:10.77.0.1 DNS:[10.77.0.53 10.77.0.54] MTU:1400}")

	x.do(func(now time.Time) { x.link.Close(now, "bye") })
	x.want("the owner closes", "NetworkDown{IPv4}", `LCP Terminate-Request 2 "bye"`)
	x.lcp(terminateAck, 2)
	x.want("down", "Down: <nil>")
	x.wait(time.Hour)
	x.lcp(configureRequest, 8)
	x.do(func(now time.Time) { x.link.Close(now, "bye") })
	x.want("nothing follows")
}

// The whole life of a server's link, by PAP.
func TestServer(t *testing.T) {
	cfg := serverConfig()
	cfg.Methods = []Method{PAP}
	x := open(t, cfg)
	x.want("the server demands authentication", "LCP Configure-Request 1 <mru 1400> <auth pap> <magic ours>")
	x.lcp(configureRequest, 1)
	x.want("an empty option list is legal", "LCP Configure-Ack 1")
	x.ackOurs(&x.link.lcp.automaton)
	x.want("the server waits")
	x.pap(papRequest, 9, withLength("alice"), withLength("s3cret"))
	x.want("whose password?", "AuthQuestion{Method:pap User:alice}")
	x.pap(papRequest, 10, withLength("alice"), withLength("s3cret"))
	x.want("the client repeats while the owner thinks")
	x.do(func(now time.Time) { x.link.Credential(now, Credential{Password: []byte("s3cret")}, nil) })
	x.want("the answer goes to the newest request", `PAP Ack 10 "\x0eAccess granted"`,
		"Authenticated{Method:pap User:alice Message:}", "AddressQuestion{User:alice}")

	x.ipcp(configureRequest, 1, addrOption(ipcpAddress, netip.Addr{}), addrOption(ipcpDNS1, netip.Addr{}))
	x.want("the client is ahead of the owner's answer")
	x.do(func(now time.Time) {
		x.link.Assign(now, Assignment{Local: gateway, Peer: inside, DNS: []netip.Addr{dns1}}, nil)
	})
	x.want("IPCP starts, and what came early is answered",
		"IPCP Configure-Request 1 <addr 10.77.0.1>", "IPCP Configure-Nak 1 <addr 10.77.0.10> <dns1 10.77.0.53>")
	x.ipcp(configureRequest, 2, addrOption(ipcpAddress, inside), addrOption(ipcpDNS1, dns1))
	x.want("as told", "IPCP Configure-Ack 2 <addr 10.77.0.10> <dns1 10.77.0.53>")
	x.ackOurs(&x.link.ipcp.automaton)
	x.want("up", "Up{Local:10.77.0.1 Peer:10.77.0.10 DNS:[10.77.0.53] MTU:1400}")

	x.lcp(terminateRequest, 3, "User request")
	x.want("the peer closes", "NetworkDown{IPv4}", "LCP Terminate-Ack 3")
	// "The receiver of a Terminate-Request … MUST NOT disconnect until at least
	// one Restart time has passed after sending a Terminate-Ack."
	x.wait(3*time.Second - 1)
	x.want("not yet")
	x.wait(1)
	x.want("down, with the peer's words", `Down: the peer terminated the link: "User request"`)
}

// "Down once": whatever the order in which owner and peer close.
func TestClose(t *testing.T) {
	t.Run("before Open", func(t *testing.T) {
		x := &tester{T: t, link: New(clientConfig()), now: epoch}
		x.do(func(now time.Time) { x.link.Close(now, "") })
		x.do(x.link.Open)
		x.want("never opened", "Down: <nil>")
	})
	t.Run("while LCP is negotiated", func(t *testing.T) {
		x := open(t, clientConfig())
		x.forget()
		x.do(func(now time.Time) { x.link.Close(now, "changed my mind") })
		x.want("a Terminate-Request", `LCP Terminate-Request 2 "changed my mind"`)
		// "Max-Terminate indicates the number of Terminate-Request packets sent
		// without receiving a Terminate-Ack before assuming that the peer is
		// unable to respond … SHOULD default to two (2) transmissions."
		x.wait(6*time.Second - 1)
		x.want("another", `LCP Terminate-Request 3 "changed my mind"`)
		x.wait(1)
		x.want("the peer does not answer", "Down: <nil>")
	})
	t.Run("both", func(t *testing.T) {
		x := clientInNetwork(t)
		x.do(func(now time.Time) { x.link.Close(now, "bye") })
		x.lcp(terminateRequest, 3, "me too")
		x.lcp(terminateAck, x.link.lcp.id)
		x.want("the owner was first", `LCP Terminate-Request 2 "bye"`, "LCP Terminate-Ack 3", "Down: <nil>")
	})
	t.Run("while the owner is asked", func(t *testing.T) {
		x := open(t, chapConfig(PAP))
		x.openLCP()
		x.pap(papRequest, 1, withLength("alice"), withLength("s3cret"))
		x.forget()
		x.do(func(now time.Time) { x.link.Close(now, "bye") })
		x.do(func(now time.Time) { x.link.Credential(now, Credential{Password: []byte("s3cret")}, nil) })
		x.lcp(terminateAck, 2)
		x.do(func(now time.Time) { x.link.Credential(now, Credential{Password: []byte("s3cret")}, nil) })
		x.want("the answer comes too late", `LCP Terminate-Request 2 "bye"`, "Down: <nil>")
	})
	t.Run("after the peer", func(t *testing.T) {
		x := clientInNetwork(t)
		x.lcp(terminateRequest, 3, "maintenance")
		x.do(func(now time.Time) { x.link.Close(now, "bye") })
		x.wait(time.Minute)
		x.want("the peer was first", "LCP Terminate-Ack 3", `Down: the peer terminated the link: "maintenance"`)
	})
}

// "The receipt of the LCP Configure-Request causes a return to the Link
// Establishment phase from the Network-Layer Protocol phase or Authentication
// phase." The layers above go down and come up again; the same identifier as
// in the first negotiation makes no difference.
func TestRenegotiation(t *testing.T) {
	cfg := serverConfig()
	cfg.Methods = []Method{PAP}
	x := open(t, cfg)
	x.openLCP()
	x.authenticatePAP()
	x.do(func(now time.Time) { x.link.Assign(now, Assignment{Local: gateway, Peer: inside}, nil) })
	x.ipcp(configureRequest, 1, addrOption(ipcpAddress, inside))
	x.ackOurs(&x.link.ipcp.automaton)
	x.forget()

	x.lcp(configureRequest, 101, uint16Option(lcpMRU, 1200))
	x.want("the link is established anew", "NetworkDown{IPv4}",
		"LCP Configure-Request 2 <mru 1400> <auth pap> <magic ours>", "LCP Configure-Ack 101 <mru 1200>")
	x.ipcp(configureRequest, 2, addrOption(ipcpAddress, inside))
	x.pap(papRequest, 1, withLength("alice"), withLength("s3cret"))
	x.want("any non-LCP packets received during this phase MUST be silently discarded")
	x.ackOurs(&x.link.lcp.automaton)
	x.ipcp(configureRequest, 2, addrOption(ipcpAddress, inside))
	x.want("advancement to the Network-Layer Protocol phase MUST NOT occur until authentication has completed")
	x.authenticatePAP()
	x.want("authenticated again, and the assignment stands", "AuthQuestion{Method:pap User:alice}",
		`PAP Ack 1 "\x0eAccess granted"`, "Authenticated{Method:pap User:alice Message:}", "IPCP Configure-Request 2 <addr 10.77.0.1>")
	x.ackOurs(&x.link.ipcp.automaton)
	x.ipcp(configureRequest, 3, addrOption(ipcpAddress, inside))
	x.want("up again", "Up{Local:10.77.0.1 Peer:10.77.0.10 DNS:[] MTU:1200}", "IPCP Configure-Ack 3 <addr 10.77.0.10>")

	x.lcp(configureRequest, 101)
	x.ackOurs(&x.link.lcp.automaton)
	x.forget()
	x.pap(papRequest, 1, withLength("mallory"), withLength("sesame"))
	x.do(func(now time.Time) { x.link.Credential(now, Credential{Password: []byte("sesame")}, nil) })
	x.want("another user does not get it", "AuthQuestion{Method:pap User:mallory}",
		`PAP Nak 1 "\x15Authentication failed"`, `LCP Terminate-Request 4 "Authentication failed"`)
	x.lcp(terminateAck, 4)
	x.want("down", `Down: pap authentication of user "mallory" failed: the link is user "alice"'s, and a renegotiation does not change that`)
}

// IPCP alone may be renegotiated too: "The implementation MUST be prepared to
// immediately renegotiate the Configuration Options."
func TestRenegotiationOfIPCP(t *testing.T) {
	x := clientInNetwork(t)
	x.ipcp(configureRequest, 1, addrOption(ipcpAddress, gateway))
	x.ipcp(configureNak, 1, addrOption(ipcpAddress, inside), addrOption(ipcpDNS1, dns1), addrOption(ipcpDNS2, dns2))
	x.ackOurs(&x.link.ipcp.automaton)
	x.forget()
	x.ipcp(configureRequest, 2, addrOption(ipcpAddress, netip.MustParseAddr("10.77.0.2")))
	x.want("the server has another address now", "NetworkDown{IPv4}",
		"IPCP Configure-Request 3 <addr 10.77.0.10> <dns1 10.77.0.53> <dns2 10.77.0.54>", "IPCP Configure-Ack 2 <addr 10.77.0.2>")
	x.ackOurs(&x.link.ipcp.automaton)
	x.want("up again", "Up{Local:10.77.0.10 Peer:10.77.0.2 DNS:[10.77.0.53 10.77.0.54] MTU:1400}")
}

// Each wait ends, and says what for.
func TestTimeouts(t *testing.T) {
	pap := func(x *tester) { x.openLCP(auth(PAP)) }
	for _, test := range []struct {
		name string
		cfg  Config
		to   func(x *tester)
		in   time.Duration
		err  string
	}{
		{"LCP", clientConfig(), func(x *tester) {}, 30 * time.Second, "no answer to LCP Configure-Request after 10 tries"},
		{"LCP, peer only asks", clientConfig(), func(x *tester) { x.lcp(configureRequest, 1) }, 30 * time.Second, "no answer to LCP Configure-Request after 10 tries"},
		{"PAP client", clientConfig(), pap, 30 * time.Second, "no answer to PAP Authenticate-Request after 10 tries"},
		{"PAP server", Config{Server: true, Methods: []Method{PAP}}, func(x *tester) { x.openLCP() }, 30 * time.Second, "no PAP Authenticate-Request within 30s"},
		{"CHAP client, no Challenge", clientConfig(), func(x *tester) { x.openLCP(auth(CHAPMD5)) }, 30 * time.Second, "no CHAP Challenge within 30s"},
		{"CHAP client, no Success", clientConfig(), func(x *tester) {
			x.openLCP(auth(CHAPMD5))
			x.chap(chapChallenge, 1, "\x04abcd", "lns")
		}, 30 * time.Second, "no answer to CHAP Response after 10 tries"},
		{"CHAP server", Config{Server: true}, func(x *tester) { x.openLCP() }, 30 * time.Second, "no answer to CHAP Challenge after 10 tries"},
		{"authenticator", Config{Server: true, Methods: []Method{PAP}}, func(x *tester) {
			x.openLCP()
			x.pap(papRequest, 1, withLength("alice"), withLength("s3cret"))
		}, 30 * time.Second, "no answer of the authenticator within 30s"},
		{"authenticator, CHAP", Config{Server: true}, func(x *tester) {
			x.openLCP()
			x.respond(MSCHAPv2, "alice", "s3cret")
		}, 30 * time.Second, "no answer of the authenticator within 30s"},
		{"pool", Config{Server: true, Methods: []Method{PAP}}, func(x *tester) {
			x.openLCP()
			x.authenticatePAP()
		}, 2 * time.Minute, "no working network (still in the Network phase) within 2m0s"},
		{"IPCP", clientConfig(), func(x *tester) { x.openLCP() }, 30 * time.Second, "no answer to IPCP Configure-Request after 10 tries"},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.cfg.Rand, test.cfg.EchoInterval = random(3), -1
			x := open(t, test.cfg)
			test.to(x)
			x.wait(test.in - 1)
			for _, o := range x.out {
				if _, ok := o.event.(Down); ok {
					t.Fatalf("too early: %s", o.words)
				}
			}
			x.wait(1 + 6*time.Second) // and the Terminate-Requests
			down, ok := x.out[len(x.out)-1].event.(Down)
			if !ok || down.Err == nil || down.Err.Error() != test.err {
				t.Fatalf("%s, want %s", x.out[len(x.out)-1].words, test.err)
			}
			var timeout *TimeoutError
			if !errors.As(down.Err, &timeout) || !timeout.Timeout() {
				t.Errorf("the error is a %T", down.Err)
			}
		})
	}
}

// Authentication packets before LCP is opened are dropped, data and IPCP before
// the network phase too; "any … packets received" in other phases "MUST be
// silently discarded".
func TestPhases(t *testing.T) {
	x := open(t, clientConfig())
	x.forget()
	noise := func() {
		x.chap(chapChallenge, 1, "\x05fresh", "lns")
		x.pap(papAck, 1, "\x00")
		x.ipcp(configureRequest, 1, addrOption(ipcpAddress, gateway))
		x.frame(0x80fd, packet{configureRequest, 1, nil}.appendTo(nil)...)
		x.frame(ProtocolIPv4, 0x45)
	}
	noise()
	x.want("in the Establish phase")
	x.openLCP(auth(PAP))
	x.ipcp(configureRequest, 1, addrOption(ipcpAddress, gateway))
	x.frame(0x80fd, packet{configureRequest, 1, nil}.appendTo(nil)...)
	x.chap(chapChallenge, 1, "\x05fresh", "lns")
	x.frame(ProtocolIPv4, 0x45)
	x.want("in the Authenticate phase, where PAP was agreed on")
	x.pap(papAck, 1, "\x00")
	x.do(func(now time.Time) { x.link.Close(now, "") })
	x.forget()
	noise()
	x.want("in the Terminate phase")
	x.lcp(terminateAck, x.link.lcp.id)
	x.forget()
	noise()
	x.lcp(configureRequest, 1)
	x.lcp(echoRequest, 1, "\x00\x00\x00\x00")
	x.want("in the Dead phase")
}
