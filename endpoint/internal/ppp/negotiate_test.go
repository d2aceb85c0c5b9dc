package ppp

import (
	"strings"
	"testing"
	"time"
)

// "On reception of a Configure-Ack, the Identifier field MUST match that of
// the last transmitted Configure-Request. Additionally, the Configuration
// Options in a Configure-Ack MUST exactly match those of the last transmitted
// Configure-Request. Invalid packets are silently discarded."
func TestConfigureAck(t *testing.T) {
	x := open(t, clientConfig())
	id, options := x.ours(&x.link.lcp.automaton)
	x.lcp(configureAck, id+1, options)
	x.lcp(configureAck, id-1, options)
	x.lcp(configureAck, id, options[:len(options)-6])
	x.lcp(configureAck, id, options, uint32Option(lcpACCM, 0))
	x.lcp(configureAck, id)
	if x.link.lcp.state != reqSent {
		t.Errorf("state %v after wrong Acks", x.link.lcp.state)
	}
	x.lcp(configureAck, id, options)
	if x.link.lcp.state != ackRcvd {
		t.Errorf("state %v after the right one", x.link.lcp.state)
	}
	// A datagram that the network doubles must not take the link down: the
	// table's crossed connection is not for those.
	x.lcp(configureAck, id, options)
	x.lcp(configureRequest, 1)
	x.lcp(configureAck, id, options)
	if x.link.lcp.state != opened {
		t.Errorf("state %v after a doubled Ack", x.link.lcp.state)
	}
}

// "The Configuration Options in a Configure-Reject MUST be a proper subset of
// those in the last transmitted Configure-Request. Invalid packets are silently
// discarded." "Reception of a valid Configure-Reject indicates that when a new
// Configure-Request is sent, it MUST NOT include any of the Configuration
// Options listed in the Configure-Reject."
func TestConfigureReject(t *testing.T) {
	x := open(t, clientConfig())
	x.forget()
	x.lcp(configureReject, 2, uint16Option(lcpMRU, 1400))
	x.lcp(configureReject, 1, uint16Option(lcpMRU, 1401))
	x.lcp(configureReject, 1, uint32Option(lcpACCM, 0))
	x.lcp(configureReject, 1, uint16Option(lcpMRU, 1400), option{lcpPFC, nil})
	x.lcp(configureReject, 1)
	x.want("none of these is valid")
	x.lcp(configureReject, 1, uint16Option(lcpMRU, 1400))
	x.want("a new request without the option, under a new identifier", "LCP Configure-Request 2 <magic ours>")
	x.lcp(configureReject, 1, uint16Option(lcpMRU, 1400))
	x.want("the same again")
	x.lcp(configureReject, 2, uint32Option(lcpMagic, x.link.lcp.magic))
	x.want("nothing is left to ask", "LCP Configure-Request 3")
	x.lcp(configureNak, 3, uint16Option(lcpMRU, 1400), uint32Option(lcpMagic, 99))
	x.want("what was rejected does not return", "LCP Configure-Request 4")
}

// "The Identifier field MUST be changed whenever the contents of the Options
// field changes, and whenever a valid reply has been received for a previous
// request. For retransmissions, the Identifier MAY remain unchanged."
func TestIdentifiers(t *testing.T) {
	x := open(t, clientConfig())
	x.wait(3 * time.Second)
	x.want("a retransmission", "LCP Configure-Request 1 <mru 1400> <magic ours>", "LCP Configure-Request 1 <mru 1400> <magic ours>")
	x.ackOurs(&x.link.lcp.automaton)
	x.wait(3 * time.Second)
	x.want("the request after an Ack is another", "LCP Configure-Request 2 <mru 1400> <magic ours>")
}

// "Max-Configure indicates the number of Configure-Request packets sent
// without receiving a valid Configure-Ack, Configure-Nak or Configure-Reject
// before assuming that the peer is unable to respond … SHOULD default to ten
// (10) transmissions." The Restart timer "SHOULD default to three (3) seconds".
func TestMaxConfigure(t *testing.T) {
	x := open(t, clientConfig())
	x.wait(30*time.Second - 1)
	if len(x.out) != 10 {
		t.Errorf("%d Configure-Requests", len(x.out))
	}
	x.forget()
	x.wait(1)
	x.want("down", "Down: no answer to LCP Configure-Request after 10 tries")
}

// "Instead of a constant value, the Restart timer MAY begin at an initial small
// value and increase to the configured final value. Each successive value less
// than the final value SHOULD be at least twice the previous value." It counts as
// before, and what is asked again has the identifier of before: the answer to the
// first may take its time (a SoftEther's IPCP takes five seconds).
func TestRestartTimerGrows(t *testing.T) {
	cfg := clientConfig()
	cfg.FirstRestart = 0
	x := open(t, cfg)
	request := "LCP Configure-Request 1 <mru 1400> <magic ours>"
	x.forget()
	for _, d := range []time.Duration{1, 2, 3, 3, 3, 3, 3, 3, 3} {
		x.wait(d*time.Second - 1)
		x.want("not yet")
		x.wait(1)
		x.want("now", request)
	}
	x.wait(3 * time.Second)
	x.want("ten were sent", "Down: no answer to LCP Configure-Request after 10 tries")

	x = open(t, cfg)
	x.openLCP()
	x.forget()
	x.wait(4 * time.Second)
	ask := "IPCP Configure-Request 1 <addr 0.0.0.0> <dns1 0.0.0.0> <dns2 0.0.0.0>"
	x.want("asked again", ask, ask)
	for range 3 { // each of which is answered
		x.ipcp(configureNak, 1, addrOption(ipcpAddress, inside), addrOption(ipcpDNS1, dns1), addrOption(ipcpDNS2, dns2))
	}
	x.want("one answer counts", "IPCP Configure-Request 2 <addr 10.77.0.10> <dns1 10.77.0.53> <dns2 10.77.0.54>")
	x.wait(time.Second)
	x.want("the timer begins anew", "IPCP Configure-Request 2 ...")
	// A peer that has acknowledged ours, and is slow with its own, is not hurried.
	x.ackOurs(&x.link.ipcp.automaton)
	x.forget()
	x.wait(3*time.Second - 1)
	x.want("patience")
	x.wait(1)
	x.want("and its end", "IPCP Configure-Request 3 ...")
}

// "… without receiving a valid Configure-Ack, Configure-Nak or Configure-Reject":
// any of them, and nothing else, starts the count anew.
func TestMaxConfigureCountsAnew(t *testing.T) {
	for name, test := range map[string]struct {
		reply func(x *tester)
		anew  bool
	}{
		"Ack":               {func(x *tester) { x.ackOurs(&x.link.lcp.automaton) }, true},
		"Nak":               {func(x *tester) { x.lcp(configureNak, x.link.lcp.requestID, uint32Option(lcpMagic, 9)) }, true},
		"Reject":            {func(x *tester) { x.lcp(configureReject, x.link.lcp.requestID, uint16Option(lcpMRU, 1400)) }, true},
		"an invalid Nak":    {func(x *tester) { x.lcp(configureNak, x.link.lcp.requestID+1, uint32Option(lcpMagic, 9)) }, false},
		"an invalid Reject": {func(x *tester) { x.lcp(configureReject, x.link.lcp.requestID, uint16Option(lcpMRU, 1401)) }, false},
		"a request":         {func(x *tester) { x.lcp(configureRequest, 1, option{99, nil}) }, false},
		"Terminate-Ack":     {func(x *tester) { x.lcp(terminateAck, 1) }, false},
		"Code-Reject":       {func(x *tester) { x.lcp(codeReject, 1, "\x0c\x01\x00\x04") }, false},
	} {
		t.Run(name, func(t *testing.T) {
			x := open(t, clientConfig())
			x.wait(29 * time.Second)
			x.forget()
			test.reply(x)
			x.wait(time.Second)
			if x.link.ended == test.anew {
				t.Fatalf("ended %v", x.link.ended)
			}
			if !test.anew {
				return
			}
			x.wait(time.Minute)
			requests := 0
			for _, o := range x.out {
				if strings.HasPrefix(o.words, "LCP Configure-Request") {
					requests++
				}
			}
			if last := x.out[len(x.out)-1].words; requests != 10 || last != "Down: no answer to LCP Configure-Request after 10 tries" {
				t.Errorf("%d more requests, %s", requests, last)
			}
		})
	}
}

// "Max-Terminate indicates the number of Terminate-Request packets sent without
// receiving a Terminate-Ack before assuming that the peer is unable to respond.
// Max-Terminate MUST be configurable, but SHOULD default to two (2) transmissions."
func TestMaxTerminate(t *testing.T) {
	for _, test := range []struct{ configured, sent int }{{0, 2}, {1, 1}, {5, 5}} {
		cfg := clientConfig()
		cfg.MaxTerminate = test.configured
		x := open(t, cfg)
		x.openLCP()
		x.forget()
		x.do(func(now time.Time) { x.link.Close(now, "bye") })
		x.wait(time.Duration(test.sent)*defaultRestart - 1)
		if len(x.out) != test.sent || x.link.ended {
			t.Errorf("Max-Terminate %d: %d sent, ended %v", test.configured, len(x.out), x.link.ended)
		}
		x.forget()
		x.wait(1)
		x.want("and no more", "Down: <nil>")
	}
}

// "Any further Configure-Nak packets for peer requested options are converted
// to Configure-Reject packets, and locally desired options are no longer
// appended. Max-Failure … SHOULD default to five (5) transmissions."
func TestMaxFailure(t *testing.T) {
	x := open(t, clientConfig())
	x.forget()
	for id := range uint8(5) {
		x.lcp(configureRequest, id, uint16Option(lcpMRU, 100), option{lcpPFC, nil})
		x.want("a Nak", "LCP Configure-Nak ... <mru 1500>")
	}
	x.lcp(configureRequest, 5, uint16Option(lcpMRU, 100), option{lcpPFC, nil})
	x.want("then a Reject", "LCP Configure-Reject 5 <mru 100>")
	x.lcp(configureRequest, 6, option{lcpPFC, nil})
	x.want("an Ack", "LCP Configure-Ack 6 <7 >")
	x.lcp(configureRequest, 7, uint16Option(lcpMRU, 100))
	x.want("after which they count anew", "LCP Configure-Nak 7 <mru 1500>")

	t.Run("Configure-Rejects do not count, nor do they start anew", func(t *testing.T) {
		x := open(t, clientConfig())
		x.forget()
		for id := range uint8(5) {
			x.lcp(configureRequest, 2*id, uint16Option(lcpMRU, 100))
			x.lcp(configureRequest, 2*id+1, option{99, nil})
			x.want("a Nak, a Reject", "LCP Configure-Nak ... <mru 1500>", "LCP Configure-Reject ... <99 >")
		}
		x.lcp(configureRequest, 10, uint16Option(lcpMRU, 100))
		x.want("then a Reject", "LCP Configure-Reject 10 <mru 100>")
	})

	t.Run("appended options", func(t *testing.T) {
		x := serverInNetwork(t)
		x.forget()
		for id := range uint8(5) {
			x.ipcp(configureRequest, id)
			x.want("If … the peer did not provide the option in its Configure-Request, the option SHOULD be appended to a Configure-Nak",
				"IPCP Configure-Nak ... <addr 10.77.0.10>")
		}
		x.ipcp(configureRequest, 5)
		x.want("no longer", "IPCP Configure-Ack 5")
	})
}

// A Reject and a Nak never share a reply, and the Reject is first.
func TestRejectBeforeNak(t *testing.T) {
	x := open(t, clientConfig())
	x.forget()
	quality := option{4, []byte{0xc0, 0x25, 0, 0, 0, 0}}
	x.lcp(configureRequest, 1, uint16Option(lcpMRU, 100), quality, uint32Option(lcpACCM, 0), option{17, []byte{5, 0}})
	x.want("what is unknown", "LCP Configure-Reject 1 <4 c02500000000> <17 0500>")
	x.lcp(configureRequest, 2, uint16Option(lcpMRU, 100), uint32Option(lcpACCM, 0))
	x.want("then what has the wrong value", "LCP Configure-Nak 2 <mru 1500>")
}

// "None of the Configuration Options in this specification can be listed more
// than once": the second is rejected, whatever it says.
func TestOptionTwice(t *testing.T) {
	x := open(t, clientConfig())
	x.forget()
	x.lcp(configureRequest, 1, uint16Option(lcpMRU, 1400), uint16Option(lcpMRU, 1300))
	x.want("twice", "LCP Configure-Reject 1 <mru 1300>")
}

// A Terminate-Request before the link is opened: pppd sends one when it finds
// no common ground. It ends the link a restart period later, with the peer's
// words, unless the peer begins again.
func TestEarlyTerminate(t *testing.T) {
	x := open(t, clientConfig())
	x.lcp(terminateRequest, 1, "go away")
	x.want("acknowledged", "LCP Configure-Request 1 <mru 1400> <magic ours>", "LCP Terminate-Ack 1")
	x.wait(2 * time.Second)
	x.lcp(configureRequest, 1)
	x.want("the peer begins again", "LCP Configure-Ack 1")
	x.wait(2 * time.Second)
	x.want("and so do we", "LCP Configure-Request 1 <mru 1400> <magic ours>")
	x.lcp(terminateRequest, 2, "go away")
	x.wait(3 * time.Second)
	x.want("not this time", "LCP Terminate-Ack 2", "LCP Configure-Request 1 <mru 1400> <magic ours>",
		`Down: the peer terminated the link: "go away"`)

	t.Run("IPCP", func(t *testing.T) {
		x := clientInNetwork(t)
		x.ipcp(terminateRequest, 1, "Could not determine remote IP address")
		x.wait(3 * time.Second)
		x.want("the link is of no use", "IPCP Terminate-Ack 1", `LCP Terminate-Request 2 "IPCP has ended"`)
		x.lcp(terminateAck, 2)
		x.want("down", `Down: IPCP: the peer terminates it: "Could not determine remote IP address"`)
	})
}

// "Reception of an unelicited Terminate-Ack indicates that the peer is in the
// Closed or Stopped states, or is otherwise in need of re-negotiation."
func TestUnsolicitedTerminateAck(t *testing.T) {
	x := clientInNetwork(t)
	x.lcp(terminateAck, 77)
	x.want("renegotiation", "LCP Configure-Request 2 <mru 1400> <magic ours>")
	if x.link.phase != establish {
		t.Errorf("phase %v", x.link.phase)
	}
}

// "Reception of a LCP packet with an unknown Code … MUST be reported back to
// the sender of the unknown Code by transmitting a Code-Reject", cut to its MRU.
func TestCodeReject(t *testing.T) {
	x := clientInNetwork(t)
	x.lcp(200, 9, "abc")
	x.want("unknown", "LCP Code-Reject 2 c80900076...")
	x.lcp(201, 9, strings.Repeat("x", 1496))
	if n := packetHeaderLen + len(x.last().data); n != 1500 {
		t.Errorf("a Code-Reject of %d octets", n)
	}
	x.forget()
	x.ipcp(protocolReject, 9, "abc")
	x.want("an NCP has the first seven codes", "IPCP Code-Reject 2 08090007616263")
	x.lcp(identification, 3, "\x00\x00\x00\x00pppd")
	x.lcp(timeRemaining, 3, "\x00\x00\x00\x00\x00\x00\x00\x01")
	x.want("these are known", "Notice{Packet:LCP Identification Text:pppd}")
}
