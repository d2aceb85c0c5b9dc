package ppp

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

// mppe is the CCP option for those Supported Bits.
func mppe(bits uint32) option { return uint32Option(ccpMPPE, bits) }

const (
	stateless128 = 0x01000040
	statelessAny = 0x010000e0 // what we ask for first
)

// secretClient is a client that has authenticated itself by MS-CHAPv2 and is in the
// network phase. What came out is forgotten.
func secretClient(t *testing.T, mode MPPEMode) *tester {
	cfg := clientConfig()
	cfg.NoIPv6 = false
	cfg.MPPE = mode
	cfg.EchoInterval = -1
	x := open(t, cfg)
	x.openLCP(auth(MSCHAPv2))
	x.authenticateMSCHAPv2()
	if x.link.phase != network {
		t.Fatalf("phase %v", x.link.phase)
	}
	x.forget()
	return x
}

// authenticateMSCHAPv2 is the server that knows the password.
func (x *tester) authenticateMSCHAPv2() {
	x.Helper()
	x.chap(chapChallenge, 1, "\x10cccccccccccccccc", "lns")
	value, name, _ := parseValue(x.last())
	proof, err := (&mschapv2{}).verify(Credential{Password: []byte("s3cret")}, 1, []byte("cccccccccccccccc"), value, name)
	if err != nil {
		x.Fatal(err)
	}
	x.chap(chapSuccess, 1, proof)
}

// openCCP plays a peer that agrees.
func (x *tester) openCCP() {
	x.Helper()
	x.ccp(configureRequest, 1, mppe(stateless128))
	x.ackOurs(&x.link.ccp.automaton)
	if x.link.ccp.state != opened {
		x.Fatalf("CCP is in state %v", x.link.ccp.state)
	}
	x.forget()
}

// wantDown is the end of a link, after its Terminate-Request.
func (x *tester) wantDown(why, words string) {
	x.Helper()
	x.lcp(terminateAck, x.link.lcp.id)
	last := x.out[len(x.out)-1]
	if last.words != "Down: "+words {
		x.Errorf("%s: %s\nwant Down: %s", why, last.words, words)
	}
}

// The way of an encrypted link: "before any MPPE packets are transmitted, PPP MUST
// reach the Network-Layer Protocol phase and the CCP Control Protocol MUST reach
// the Opened state" (RFC 3078 §3), and "peers MUST NOT transmit user data until the
// MPPE negotiation is complete" (§9): the NCPs wait.
func TestMPPE(t *testing.T) {
	for _, mode := range []MPPEMode{MPPEAllowed, MPPERequired} {
		cfg := clientConfig()
		cfg.NoIPv6 = false
		cfg.MPPE = mode
		x := open(t, cfg)
		x.openLCP(auth(MSCHAPv2))
		x.authenticateMSCHAPv2()
		x.want("CCP alone", "CHAP Response ...", "Authenticated{...", "CCP Configure-Request 1 <mppe 010000e0>")
		x.ipcp(configureRequest, 1, addrOption(ipcpAddress, gateway))
		x.ipv6cp(configureRequest, 1, idOption("p"))
		x.frame(ProtocolMPPE, 0x90, 0, 1, 2, 3)
		x.ackOurs(&x.link.ccp.automaton)
		x.want("the peer is ahead of us")
		x.ccp(configureRequest, 1, mppe(stateless128))
		x.want("opened", "CCP Configure-Ack 1 <mppe 01000040>",
			"IPCP Configure-Request 1 <addr 0.0.0.0> <dns1 0.0.0.0> <dns2 0.0.0.0>", "IPV6CP Configure-Request 1 <id ours>",
			"IPCP Configure-Ack 1 <addr 10.77.0.1>", "IPV6CP Configure-Ack 1 <id 7070707070707070>")
		x.ackOurs(&x.link.ipv6cp.automaton)
		x.ipcp(configureNak, 1, addrOption(ipcpAddress, inside))
		x.ackOurs(&x.link.ipcp.automaton)
		x.want("four octets less", "Up6{Peer:7070707070707070 MTU:1396 Encryption:MPPE 128 bit}", "IPCP Configure-Request ...",
			"Up{Local:10.77.0.10 Peer:10.77.0.1 DNS:[] MTU:1396 Encryption:MPPE 128 bit}")
		x.wantSettled(1)
		x.frame(ProtocolMPPE, 0x90, 0, 1, 2, 3)
		x.want("data is the owner's")
	}
}

// "The responder SHOULD NAK with a single encryption option … the option selected
// SHOULD be the "strongest" option offered" (RFC 3078 §2.1); stateful mode, MPPC and
// the obsolete bit D are refused.
func TestSupportedBits(t *testing.T) {
	for _, test := range []struct {
		name     string
		asked    uint32
		answered uint32
	}{
		{"128 bit", 0x01000040, 0},
		{"56 bit", 0x01000080, 0},
		{"40 bit", 0x01000020, 0},
		{"128 bit, stateful", 0x00000040, 0x01000040},
		{"40 bit, stateful", 0x00000020, 0x01000020},
		{"all", 0x010000e0, 0x01000040},
		{"all, stateful, compressed", 0x000000e1, 0x01000040},
		{"56 and 40 bit", 0x010000a0, 0x01000080},
		{"128 bit, compressed", 0x01000041, 0x01000040},
		{"compressed alone", 0x01000001, 0x01000040},
		{"the obsolete D", 0x01000050, 0x01000040},
		{"reserved bits", 0x8f000840, 0x01000040},
		{"nothing", 0x00000000, 0x01000040},
	} {
		t.Run(test.name, func(t *testing.T) {
			x := secretClient(t, MPPERequired)
			x.ccp(configureRequest, 7, mppe(test.asked))
			if test.answered == 0 {
				x.want("taken", fmt.Sprintf("CCP Configure-Ack 7 <mppe %08x>", test.asked))
				return
			}
			x.want("refused", fmt.Sprintf("CCP Configure-Nak 7 <mppe %08x>", test.answered))
		})
	}
	x := secretClient(t, MPPERequired)
	x.ccp(configureRequest, 7, option{ccpMPPE, []byte{1, 0, 0, 0, 0x40}})
	x.want("a wrong length", "CCP Configure-Nak 7 <mppe 01000040>")
	x.ccp(configureRequest, 8, option{26, []byte{0x78, 0}}, mppe(stateless128), option{21, []byte{0x2f}})
	x.want("pppd's Deflate and BSD-Compress", "CCP Configure-Reject 8 <26 7800> <21 2f>")
}

// Each end says what it wants to receive, and gets it.
func TestStrengths(t *testing.T) {
	x := secretClient(t, MPPERequired)
	x.ccp(configureRequest, 1, mppe(0x01000020))
	x.ccp(configureNak, 1, mppe(0x01000080))
	x.want("the peer's suggestion", "CCP Configure-Ack 1 <mppe 01000020>", "CCP Configure-Request 2 <mppe 01000080>")
	x.ackOurs(&x.link.ccp.automaton)
	send, receive := x.link.ccp.encryption.Strengths()
	if send != "40 bit" || receive != "56 bit" {
		t.Errorf("%s out, %s in", send, receive)
	}
	x = secretClient(t, MPPERequired)
	x.ccp(configureNak, 1, option{26, []byte{0x78, 0}})
	x.want("a suggestion of something else", "CCP Configure-Request 2 <mppe 010000e0>")
}

// How encryption fails, with each peer's way to refuse it: a link that requires it
// ends, and says why; one that allows it goes on without.
func TestNoMPPE(t *testing.T) {
	for _, test := range []struct {
		name   string
		refuse func(x *tester)
		err    string
		closes bool // by a Terminate-Request, when it is allowed
	}{
		{"Protocol-Reject", func(x *tester) { x.lcp(protocolReject, 1, "\x80\xfd") },
			"CCP: the peer rejects the protocol", false},
		{"Configure-Reject", func(x *tester) { x.ccp(configureReject, 1, mppe(statelessAny)) },
			"CCP: the peer rejects MPPE", true},
		{"stateful only", func(x *tester) { x.ccp(configureNak, 1, mppe(0x40)) },
			"CCP: the peer wants MPPE in stateful mode, only stateless is supported", true},
		{"compression only", func(x *tester) { x.ccp(configureNak, 1, mppe(0x01000001)) },
			"CCP: the peer wants no encryption", true},
		{"nothing asked for", func(x *tester) {
			x.ackOurs(&x.link.ccp.automaton)
			for id := range uint8(6) {
				x.ccp(configureRequest, id)
			}
		}, "CCP: the peer wants no encryption", true},
		{"terminated", func(x *tester) {
			x.ccp(terminateRequest, 9, "no")
			x.wait(3 * time.Second)
		}, `CCP: the peer terminates it: "no"`, false},
		{"Code-Reject", func(x *tester) { x.ccp(codeReject, 9, "\x01\x01\x00\x04") },
			"CCP: the peer rejects packets of code 1", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			x := secretClient(t, MPPERequired)
			test.refuse(x)
			if last := x.out[len(x.out)-1].words; last != `LCP Terminate-Request 2 "encryption required"` {
				t.Errorf("required: %s", last)
			}
			for _, o := range x.out {
				if protocol, _, _ := ParseFrame(o.frame); protocol == protocolIPCP || protocol == protocolIPV6CP {
					t.Errorf("required: %s", o.words)
				}
			}
			x.wantDown("required", "no encryption by MPPE: "+test.err)
			var encryption *EncryptionError
			if !errors.As(x.link.err, &encryption) {
				t.Errorf("the error is a %T", x.link.err)
			}

			x = secretClient(t, MPPEAllowed)
			x.ipcp(configureRequest, 1, addrOption(ipcpAddress, gateway))
			test.refuse(x)
			x.upIPV6CP()
			x.ipcp(configureNak, x.link.ipcp.requestID, addrOption(ipcpAddress, inside))
			x.ackOurs(&x.link.ipcp.automaton)
			x.want("allowed", "IPCP Configure-Request ...", "Up{Local:10.77.0.10 Peer:10.77.0.1 DNS:[] MTU:1400}")
			x.wantSettled(1)
			if test.closes {
				x.ccp(terminateAck, x.link.ccp.id)
			}
			x.ccp(configureRequest, 50, mppe(stateless128))
			x.want("too late", "CCP Terminate-Ack 50")
			x.wait(time.Minute)
			if !x.link.up || x.link.ccp.encryption != nil {
				t.Errorf("a minute later: up %v, encryption %v", x.link.up, x.link.ccp.encryption)
			}
		})
	}
}

// A peer that says nothing at all to CCP: Max-Configure requests when it is
// required, half of them when it is not, since the peer's own NCPs wait.
func TestMPPEUnanswered(t *testing.T) {
	x := secretClient(t, MPPERequired)
	x.wait(30 * time.Second)
	x.wantDown("required", "no encryption by MPPE: no answer to CCP Configure-Request after 10 tries")
	x = secretClient(t, MPPEAllowed)
	x.wait(15*time.Second - 1)
	x.forget()
	x.wait(1)
	x.want("allowed; the peer may have missed an Ack", `CCP Terminate-Request 2 ""`, "IPCP Configure-Request 1 ...", "IPV6CP Configure-Request 1 ...")
	x.frame(ProtocolMPPE, 0x90, 0)
	x.want("there are no keys for that now", "LCP Protocol-Reject 2 00fd9000")

	x = secretClient(t, MPPEAllowed)
	x.wait(10 * time.Second)
	x.ccp(configureRequest, 1, mppe(stateless128))
	x.forget()
	x.wait(29 * time.Second)
	x.want("a peer that came late has all the tries", "CCP Configure-Request ...", "CCP Configure-Request ...", "CCP Configure-Request ...",
		"CCP Configure-Request ...", "CCP Configure-Request ...", "CCP Configure-Request ...", "CCP Configure-Request ...",
		"CCP Configure-Request ...", "CCP Configure-Request ...", "CCP Configure-Request ...")
}

// Only MS-CHAPv2 gives keys. A link that requires encryption agrees to nothing else,
// so that no password is shown for nothing; one that allows it goes on without.
func TestNoKeys(t *testing.T) {
	cfg := clientConfig()
	cfg.MPPE = MPPERequired
	x := open(t, cfg)
	x.forget()
	x.lcp(configureRequest, 1, auth(PAP))
	x.want("PAP", "LCP Configure-Nak 1 <auth mschapv2>")
	x.lcp(configureRequest, 2)
	x.ackOurs(&x.link.lcp.automaton)
	x.want("no authentication at all", "LCP Configure-Ack 2", `LCP Terminate-Request 2 "encryption required"`)
	x.wantDown("down", "no encryption by MPPE: CCP: only an authentication by mschapv2 gives keys")

	cfg = serverConfig()
	cfg.MPPE = MPPERequired
	x = open(t, cfg)
	x.want("a server demands it", "LCP Configure-Request 1 <mru 1400> <auth mschapv2> <magic ours>")
	x.lcp(configureNak, 1, auth(CHAPMD5))
	x.wantDown("a client that wants another", "LCP: the peer accepts no authentication that is allowed here, it suggests chap")

	cfg = clientConfig()
	cfg.MPPE = MPPEAllowed
	x = open(t, cfg)
	x.openLCP(auth(CHAPMD5))
	x.chap(chapChallenge, 1, "\x05fresh", "lns")
	x.chap(chapSuccess, 1)
	x.forget()
	x.ccp(configureRequest, 1, mppe(stateless128))
	x.want("no keys, no CCP", "LCP Protocol-Reject 2 80fd0101000a120601000040")

	cfg = clientConfig()
	cfg.MPPE, cfg.Methods = MPPERequired, []Method{PAP, CHAPMD5}
	defer func() {
		if recover() == nil {
			t.Error("MPPE is required of methods without keys")
		}
	}()
	New(cfg)
}

// When it is off: "any protocol packet which is unsupported by the implementation
// MUST be returned in a Protocol-Reject".
func TestMPPEOff(t *testing.T) {
	x := secretClient(t, MPPEOff)
	x.ccp(configureRequest, 1, mppe(stateless128))
	x.frame(ProtocolMPPE, 0x90, 0)
	x.want("off", "LCP Protocol-Reject 2 80fd0101000a120601000040", "LCP Protocol-Reject 3 00fd9000")
}

// Keys serve one CCP that is opened. What ends that ends the link, whoever wanted
// encryption; what only looks like it does not.
func TestMPPEEnds(t *testing.T) {
	for _, mode := range []MPPEMode{MPPEAllowed, MPPERequired} {
		for _, test := range []struct {
			name string
			end  func(x *tester)
			err  string
		}{
			{"Terminate-Request", func(x *tester) { x.ccp(terminateRequest, 9, "key expired") }, `CCP: the peer terminates it: "key expired"`},
			{"Terminate-Ack", func(x *tester) { x.ccp(terminateAck, 9) }, "CCP: the peer ends it"},
			{"Protocol-Reject", func(x *tester) { x.lcp(protocolReject, 9, "\x80\xfd") }, "CCP: the peer rejects the protocol"},
			{"Code-Reject", func(x *tester) { x.ccp(codeReject, 9, "\x02") }, "CCP: the peer rejects packets of code 2"},
			{"another strength", func(x *tester) { x.ccp(configureRequest, 2, mppe(0x01000020)) }, "CCP: the peer negotiates it again, and keys are used once"},
			{"data rejected", func(x *tester) { x.lcp(protocolReject, 9, "\x00\xfd\x90\x00") }, "CCP: the peer rejects encrypted packets"},
			{"no encryption", func(x *tester) { x.ccp(configureRequest, 1) }, "CCP: the peer negotiates it again, and keys are used once"},
		} {
			t.Run(test.name, func(t *testing.T) {
				x := secretClient(t, mode)
				x.openCCP()
				x.upIPCP()
				test.end(x)
				x.wantDown("down", "no encryption by MPPE: "+test.err)
			})
		}
		x := secretClient(t, mode)
		x.openCCP()
		x.upIPCP()
		x.upIPV6CP()
		x.ccp(configureRequest, 1, mppe(stateless128))
		x.ccp(configureRequest, 2, mppe(stateless128))
		x.ackOurs(&x.link.ccp.automaton)
		x.ccp(configureNak, x.link.ccp.requestID, mppe(0x01000020))
		x.want("our Ack was lost, the peer asks again, under the same identifier or another; late replies are none",
			"CCP Configure-Ack 1 <mppe 01000040>", "CCP Configure-Ack 2 <mppe 01000040>")
	}
}

// "A CCP packet MUST be transmitted with the Code field set to 15 (Reset-Ack), the
// Identifier field copied from the Reset-Request packet" (RFC 1962 §3.1), though
// MPPE has nothing to reset.
func TestReset(t *testing.T) {
	x := secretClient(t, MPPERequired)
	x.ccp(resetRequest, 1, "data")
	x.want("not opened yet")
	x.openCCP()
	x.ccp(resetRequest, 77, "data")
	x.ccp(resetAck, 77)
	x.ccp(resetAck, 78, "unasked")
	x.want("answered", "CCP Reset-Ack 77")
	x.ccp(16, 5)
	x.want("other codes are unknown", "CCP Code-Reject 2 10050004")
}

// When LCP is renegotiated there are new keys, or none: never the old ones.
func TestMPPERenegotiated(t *testing.T) {
	x := secretClient(t, MPPEAllowed)
	x.openCCP()
	x.upIPCP()
	old := x.link.ccp.encryption
	again := func(options ...option) {
		x.lcp(configureRequest, 102, options)
		x.ackOurs(&x.link.lcp.automaton)
	}
	again(auth(MSCHAPv2))
	if x.link.ccp.encryption != nil || x.link.master != nil {
		t.Error("the keys are kept")
	}
	x.authenticateMSCHAPv2()
	x.openCCP()
	now := x.link.ccp.encryption
	if now == old || string(now.Sealer.keys.session()) == string(old.Sealer.keys.session()) {
		t.Error("the same keys again")
	}
	x.upIPCP()
	again(auth(PAP))
	x.pap(papAck, x.last().id)
	x.forget()
	x.ccp(configureRequest, 1, mppe(stateless128))
	x.want("no keys", "LCP Protocol-Reject ...")
	x.ipcp(configureRequest, 1, addrOption(ipcpAddress, gateway))
	x.ackOurs(&x.link.ipcp.automaton)
	x.want("in the clear", "IPCP Configure-Ack ...", "Up{Local:10.77.0.10 Peer:10.77.0.1 DNS:[] MTU:1400}")
}
