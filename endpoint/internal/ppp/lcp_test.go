package ppp

import (
	"net/netip"
	"testing"
	"time"
)

// MRU: what we ask for, what a peer may suggest, and what it means for a
// datagram.
func TestMRU(t *testing.T) {
	for _, test := range []struct {
		ours       int
		suggestion string // in a Nak
		want       string // our next request
	}{
		{1400, "\x04\xb0", "LCP Configure-Request 2 <mru 1200> <magic ours>"},
		{1400, "\x05\xb4", "LCP Configure-Request 2 <mru 1460> <magic ours>"},
		{1400, "\x05\xdc", "LCP Configure-Request 2 <magic ours>"}, // "Configuration Options SHOULD NOT be included with default values"
		{1400, "\x00\x40", "LCP Configure-Request 2 <magic ours>"},
		{1400, "", "LCP Configure-Request 2 <magic ours>"},
		{1500, "\x04\xb0", "LCP Configure-Request 2 <magic ours>"},
	} {
		cfg := clientConfig()
		cfg.MRU = test.ours
		x := open(t, cfg)
		x.forget()
		x.lcp(configureNak, 1, option{lcpMRU, []byte(test.suggestion)})
		x.want("after a Nak", test.want)
	}
	for _, test := range []struct{ ours, peers, mtu int }{
		{0, 0, 1400}, {0, 1300, 1300}, {0, 1500, 1400}, {1500, 0, 1500}, {1460, 1492, 1460}, {100, 1500, 576}, {1 << 20, 65535, 65535},
	} {
		cfg := clientConfig()
		cfg.MRU = test.ours
		x := open(t, cfg)
		if test.peers == 0 {
			x.openLCP()
		} else {
			x.openLCP(uint16Option(lcpMRU, uint16(test.peers)))
		}
		x.ipcp(configureNak, 1, addrOption(ipcpAddress, inside))
		x.ackOurs(&x.link.ipcp.automaton)
		x.ipcp(configureRequest, 1)
		// Before the Configure-Ack: the peer's first datagram may be right behind it.
		if up, ok := x.out[len(x.out)-2].event.(Up); !ok || up.MTU != test.mtu {
			t.Errorf("our MRU %d, the peer's %d: %s, want %d", test.ours, test.peers, x.out[len(x.out)-2].words, test.mtu)
		}
	}
}

// "If a Configuration Option is not included in a Configure-Request packet, the
// default value for that Configuration Option is assumed": what the peer once
// had does not stay.
func TestDefaultsReturn(t *testing.T) {
	x := open(t, clientConfig())
	x.openLCP(uint16Option(lcpMRU, 1200), auth(PAP))
	x.openLCP()
	if l := &x.link.lcp; l.peerMRU != 1500 || l.auth != 0 || x.link.phase != network {
		t.Errorf("MRU %d, authentication %v, phase %v", l.peerMRU, l.auth, x.link.phase)
	}
}

// IPCP, the client's side: "A rejected option never returns", the configured
// address is asked for, and what is not asked for is not taken.
func TestIPCPClient(t *testing.T) {
	cfg := clientConfig()
	cfg.Address = netip.MustParseAddr("10.77.0.99")
	x := open(t, cfg)
	x.lcp(configureRequest, 1)
	x.forget()
	x.ackOurs(&x.link.lcp.automaton)
	x.want("the address that we would like", "IPCP Configure-Request 1 <addr 10.77.0.99> <dns1 0.0.0.0> <dns2 0.0.0.0>")
	x.ipcp(configureReject, 1, addrOption(ipcpDNS2, netip.Addr{}))
	x.want("rejected", "IPCP Configure-Request 2 <addr 10.77.0.99> <dns1 0.0.0.0>")
	x.ipcp(configureNak, 2, addrOption(ipcpAddress, inside), addrOption(ipcpDNS1, dns1), addrOption(ipcpDNS2, dns2), addrOption(130, dns1))
	x.want("adopted, but for what was rejected or never asked", "IPCP Configure-Request 3 <addr 10.77.0.10> <dns1 10.77.0.53>")
	x.ipcp(configureRequest, 1, addrOption(ipcpAddress, gateway), addrOption(ipcpDNS1, netip.Addr{}), addrOption(1, gateway), addrOption(130, netip.Addr{}))
	x.want("we have no name servers for a server", "IPCP Configure-Reject 1 <dns1 0.0.0.0> <1 0a4d0001> <130 00000000>")
	x.ackOurs(&x.link.ipcp.automaton)
	x.ipcp(configureRequest, 2)
	x.want("a server need not name its address", "Up{Local:10.77.0.10 Peer:invalid IP DNS:[10.77.0.53] MTU:1400}", "IPCP Configure-Ack 2")

	// Addresses that cannot be are not asked for.
	for _, a := range []string{"0.0.0.0", "127.0.0.1", "255.255.255.255", "2001:db8::1"} {
		odd := clientConfig()
		odd.Address = netip.MustParseAddr(a)
		x := open(t, odd)
		x.openLCP()
		if x.link.ipcp.local.IsValid() {
			t.Errorf("%s is asked for", a)
		}
	}

	// The address may be refused when we have one of our own.
	x = open(t, cfg)
	x.openLCP()
	x.ipcp(configureReject, 1, addrOption(ipcpAddress, cfg.Address))
	x.ackOurs(&x.link.ipcp.automaton)
	x.ipcp(configureRequest, 1, addrOption(ipcpAddress, gateway))
	x.want("without the option", "IPCP Configure-Request 2 <dns1 0.0.0.0> <dns2 0.0.0.0>", "Up{Local:10.77.0.99 Peer:10.77.0.1 DNS:[] MTU:1400}",
		"IPCP Configure-Ack ...")
}

// IPCP, the server's side: the client gets what it was assigned, and nothing
// else; the server's own address is not the client's to choose.
func TestIPCPServer(t *testing.T) {
	cfg := serverConfig()
	cfg.Methods = []Method{PAP}
	x := open(t, cfg)
	x.openLCP()
	x.authenticatePAP()
	x.do(func(now time.Time) {
		x.link.Assign(now, Assignment{Local: gateway, Peer: inside, DNS: []netip.Addr{netip.MustParseAddr("fe80::1"), dns1, dns2, inside}}, nil)
	})
	x.do(func(now time.Time) { x.link.Assign(now, Assignment{Local: inside, Peer: gateway}, nil) })
	x.forget()
	other := netip.MustParseAddr("192.0.2.1")
	x.ipcp(configureRequest, 1, addrOption(ipcpAddress, other), addrOption(ipcpDNS1, other), addrOption(ipcpDNS2, dns2))
	x.want("as assigned", "IPCP Configure-Nak 1 <addr 10.77.0.10> <dns1 10.77.0.53>")
	x.ipcp(configureRequest, 2, option{ipcpAddress, []byte{10}})
	x.want("an address of one octet", "IPCP Configure-Nak 2 <addr 10.77.0.10>")
	x.ipcp(configureNak, 1, addrOption(ipcpAddress, other))
	x.want("the server's address stays", "IPCP Configure-Request 2 <addr 10.77.0.1>")
	x.ipcp(configureReject, 2, addrOption(ipcpAddress, gateway))
	x.want("unless the client does not want to know it", "IPCP Configure-Request 3")
	x.ackOurs(&x.link.ipcp.automaton)
	x.ipcp(configureRequest, 3, addrOption(ipcpAddress, inside), addrOption(ipcpDNS1, dns1), addrOption(ipcpDNS2, dns2))
	x.want("up", "Up{Local:10.77.0.1 Peer:10.77.0.10 DNS:[10.77.0.53 10.77.0.54] MTU:1400}", "IPCP Configure-Ack 3 ...")
}

// No address, or none that IPCP could give.
func TestAssignFails(t *testing.T) {
	for _, test := range []struct {
		a    Assignment
		err  error
		want string
	}{
		{Assignment{}, errWrong, "Down: IPCP: no address for the peer: wrong password"},
		{Assignment{}, nil, "Down: IPCP: no IPv4 addresses but invalid IP and invalid IP were assigned"},
		{Assignment{Local: gateway, Peer: netip.MustParseAddr("fe80::1")}, nil, "Down: IPCP: no IPv4 addresses but 10.77.0.1 and fe80::1 were assigned"},
	} {
		cfg := serverConfig()
		cfg.Methods = []Method{PAP}
		x := open(t, cfg)
		x.openLCP()
		x.authenticatePAP()
		x.forget()
		x.do(func(now time.Time) { x.link.Assign(now, test.a, test.err) })
		x.lcp(terminateAck, 2)
		x.want("down", `LCP Terminate-Request 2 "negotiation failed"`, test.want)
	}
}

// A pool that answers while the peer renegotiates: the addresses wait for the
// network phase.
func TestAssignLate(t *testing.T) {
	cfg := serverConfig()
	cfg.Methods = []Method{PAP}
	x := open(t, cfg)
	x.openLCP()
	x.authenticatePAP()
	x.openLCP()
	x.do(func(now time.Time) { x.link.Assign(now, Assignment{Local: gateway, Peer: inside}, nil) })
	x.want("not yet")
	x.authenticatePAP()
	x.want("now, and without another question", "AuthQuestion{Method:pap User:alice}", "PAP Ack ...", "Authenticated{...", "IPCP Configure-Request 1 <addr 10.77.0.1>")
}

// A peer that is late: what we asked for was lost, since nobody was there, and is
// said again when the peer says its first word, ahead of our reply.
func TestLatePeer(t *testing.T) {
	const request = "LCP Configure-Request 1 <mru 1400> <magic ours>"
	x := open(t, clientConfig())
	x.wait(400 * time.Millisecond)
	x.lcp(configureRequest, 1)
	x.want("at once", request, request, "LCP Configure-Ack 1")
	x.ackOurs(&x.link.lcp.automaton)
	if x.link.lcp.state != opened {
		t.Errorf("state %v", x.link.lcp.state)
	}
	x.forget()
	x.ackOurs(&x.link.lcp.automaton)
	x.want("the first of the two was only slow: an Ack more")

	for name, test := range map[string]struct {
		after time.Duration
		first func(x *tester)
		want  []string
	}{
		"not late":         {99 * time.Millisecond, func(x *tester) { x.lcp(configureRequest, 1) }, []string{"LCP Configure-Ack 1"}},
		"late":             {100 * time.Millisecond, func(x *tester) { x.lcp(configureRequest, 1) }, []string{request, "LCP Configure-Ack 1"}},
		"an early echo":    {time.Second, func(x *tester) { x.lcp(echoRequest, 1, "\x00\x00\x00\x00"); x.lcp(configureRequest, 1) }, []string{"LCP Echo-Reply 1 00000000", request, "LCP Configure-Ack 1"}},
		"unacceptable":     {time.Second, func(x *tester) { x.lcp(configureRequest, 1, option{99, nil}) }, []string{request, "LCP Configure-Reject 1 <99 >"}},
		"again":            {3500 * time.Millisecond, func(x *tester) { x.lcp(configureRequest, 1); x.wait(time.Second); x.lcp(configureRequest, 1) }, []string{request, request, "LCP Configure-Ack 1", "LCP Configure-Ack 1"}},
		"it answers first": {time.Second, func(x *tester) { x.ackOurs(&x.link.lcp.automaton); x.lcp(configureRequest, 1) }, []string{"LCP Configure-Ack 1", "IPCP Configure-Request ..."}},
		"it goes":          {time.Second, func(x *tester) { x.lcp(terminateRequest, 1); x.lcp(configureRequest, 1) }, []string{"LCP Terminate-Ack 1", "LCP Configure-Ack 1"}},
		"we go":            {time.Second, func(x *tester) { x.do(func(now time.Time) { x.link.Close(now, "") }); x.lcp(configureRequest, 1) }, []string{`LCP Terminate-Request 2 ""`}},
		"Max-Configure":    {27500 * time.Millisecond, func(x *tester) { x.forget(); x.lcp(configureRequest, 1) }, []string{"LCP Configure-Ack 1"}},
	} {
		t.Run(name, func(t *testing.T) {
			x := open(t, clientConfig())
			x.forget()
			x.wait(test.after)
			test.first(x)
			x.want("after "+test.after.String(), test.want...)
		})
	}
}

// Two links that are far from each other, where each finds the other late
// although nothing was lost: "RCR+" in Opened would renegotiate, and nobody does,
// even if the second request is overtaken by the Ack.
func TestFarPeer(t *testing.T) {
	for seed := range seeds() {
		w := newWire(seed, clientConfig(), Config{Methods: []Method{MSCHAPv2}})
		w.delay, w.jitter, w.thinks = 150*time.Millisecond, 300*time.Millisecond, 1
		w.open(t)
		w.run(t, longest, w.settled)
		c, s := w.client(), w.server()
		if !c.isUp || !s.isUp || len(c.auth) != 1 || len(s.auth) != 1 || len(c.ups) != 1 || len(s.ups) != 1 {
			t.Fatalf("seed %d: client %+v, server %+v", seed, c, s)
		}
		if took := w.now.Sub(epoch); took > 3*defaultRestart {
			t.Errorf("seed %d: after %v", seed, took)
		}
	}
}

// A peer that begins later than we do, as xl2tpd's pppd: with our request said
// again the link is up as soon as it can be, long before the restart timer.
func TestLatePeerOverALine(t *testing.T) {
	for _, late := range []int{0, 1} {
		w := newWire(1, clientConfig(), Config{Methods: []Method{MSCHAPv2}})
		w.delay, w.jitter, w.thinks = 10*time.Millisecond, 1, 1
		early := w.ends[1-late]
		early.link.Open(w.now)
		w.drain(t, early)
		w.queue = nil // nobody is there
		w.run(t, 400*time.Millisecond, func() bool { return false })
		w.ends[late].link.Open(w.now)
		w.drain(t, w.ends[late])
		w.run(t, longest, w.settled)
		if took := w.now.Sub(epoch); !w.client().isUp || !w.server().isUp || took > 700*time.Millisecond {
			t.Errorf("end %d is late: up %v and %v, after %v", late, w.client().isUp, w.server().isUp, took)
		}
	}
}

// A Configure-Request that comes twice takes no opened link down, if it is the
// same and comes before a peer would have repeated it; one that has begun anew,
// with the identifier and the options of before, is heard when it repeats itself.
func TestRequestTwice(t *testing.T) {
	x := clientInNetwork(t)
	again := func() { x.lcp(configureRequest, 101) }
	x.wait(3*time.Second - 1)
	x.forget()
	again()
	x.want("the Ack again, and nothing else", "LCP Configure-Ack 101")
	x.lcp(configureRequest, 101, uint16Option(lcpMRU, 1300))
	x.want("other options", "LCP Configure-Request 2 ...", "LCP Configure-Ack 101 <mru 1300>")
	x.ackOurs(&x.link.lcp.automaton)
	x.forget()
	x.lcp(configureRequest, 102, uint16Option(lcpMRU, 1300))
	x.want("another identifier", "LCP Configure-Request 3 ...", "LCP Configure-Ack 102 <mru 1300>")
	x.ackOurs(&x.link.lcp.automaton)
	x.wait(3 * time.Second)
	x.forget()
	x.lcp(configureRequest, 102, uint16Option(lcpMRU, 1300))
	x.want("the peer has begun anew", "LCP Configure-Request 4 ...", "LCP Configure-Ack 102 <mru 1300>")
}

// The peer renegotiates while the pool thinks: it is the same question, and
// asked once.
func TestAddressAskedOnce(t *testing.T) {
	cfg := serverConfig()
	cfg.Methods = []Method{PAP}
	x := open(t, cfg)
	x.openLCP()
	x.authenticatePAP()
	x.openLCP()
	x.authenticatePAP()
	x.want("no other question", "AuthQuestion{Method:pap User:alice}", "PAP Ack ...", "Authenticated{...")
}

// A server that names its address once and then no more has none.
func TestPeerWithoutAddress(t *testing.T) {
	x := clientInNetwork(t)
	x.ipcp(configureRequest, 1, addrOption(ipcpAddress, gateway))
	x.ipcp(configureRequest, 2)
	x.ipcp(configureNak, 1, addrOption(ipcpAddress, inside))
	x.forget()
	x.ackOurs(&x.link.ipcp.automaton)
	if up, ok := x.out[0].event.(Up); !ok || up.Peer.IsValid() {
		t.Errorf("%s", x.out[0].words)
	}
}

// A Code-Reject counts for the protocol that it is of.
func TestCodeRejectOfIPCP(t *testing.T) {
	x := clientInNetwork(t)
	x.ipcp(codeReject, 1, "\x09\x05\x00\x08")
	x.ipcp(configureNak, 1, addrOption(ipcpAddress, inside))
	x.ackOurs(&x.link.ipcp.automaton)
	x.ipcp(configureRequest, 1)
	x.forget()
	x.wait(defaultEchoInterval)
	x.want("IPCP has no Echo-Requests, LCP has", "LCP Echo-Request ...")
}
