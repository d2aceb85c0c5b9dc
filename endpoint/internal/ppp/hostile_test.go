package ppp

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// The rows of HOSTILE.md's PPP section, each with its outcome.

// serverInNetwork is a server that has authenticated alice by PAP, with
// IPCP's first request out and forgotten.
func serverInNetwork(t *testing.T) *tester {
	cfg := serverConfig()
	cfg.Methods = []Method{PAP}
	x := open(t, cfg)
	x.openLCP()
	x.authenticatePAP()
	x.do(func(now time.Time) { x.link.Assign(now, Assignment{Local: gateway, Peer: inside}, nil) })
	x.forget()
	return x
}

// "When the Data field is indicated by the Length to extend beyond the end of
// the Information field, the entire packet is silently discarded without
// affecting the automaton."
func TestOptionLengths(t *testing.T) {
	for name, data := range map[string]string{
		"0":            "\x01\x00",
		"1":            "\x01\x01\x05\x78",
		"past the end": "\x01\x05\x05\x78",
		"far past":     "\x01\xff",
		"type alone":   "\x01",
		"0 after good": "\x01\x04\x05\x78\x05\x00\x00\x00\x00\x00",
		"1 after good": "\x01\x04\x05\x78\x05\x01",
	} {
		t.Run(name, func(t *testing.T) {
			x := open(t, clientConfig())
			x.forget()
			x.lcp(configureRequest, 1, data)
			x.lcp(configureNak, x.link.lcp.requestID, data)
			x.lcp(configureReject, x.link.lcp.requestID, data)
			x.want("discarded")
			if x.link.lcp.state != reqSent {
				t.Errorf("state %v", x.link.lcp.state)
			}
		})
	}
}

// "If a negotiable Configuration Option is received in a Configure-Request,
// but with an invalid or unrecognized Length, a Configure-Nak SHOULD be
// transmitted which includes the desired Configuration Option with an
// appropriate Length and Data." A reply that grew beyond the MRU that way, by
// hundreds of short options, does not exist.
func TestReplyWithinMRU(t *testing.T) {
	x := open(t, clientConfig())
	x.forget()
	x.lcp(configureRequest, 1, option{lcpMRU, nil}, option{lcpACCM, nil}, option{lcpAuth, nil}, option{lcpMagic, nil})
	x.want("one Nak each", "LCP Configure-Nak 1 <mru 1500> <2 00000000> <auth mschapv2> <magic ...>")
	for _, kind := range []byte{lcpMRU, lcpACCM, lcpAuth, lcpMagic, lcpPFC, 99} {
		x.lcp(configureRequest, 2, bytes.Repeat([]byte{kind, 2}, 748))
		if n := len(x.last().data); n > 2*748 {
			t.Errorf("%d options of type %d without data: a reply of %d octets", 748, kind, n)
		}
	}
	x.forget()
	x.lcp(configureRequest, 3, bytes.Repeat([]byte{99, 2}, 749))
	x.want("a packet beyond the MRU is none")

	x = clientInNetwork(t)
	x.lcp(configureRequest, 102, uint16Option(lcpMRU, minMRU))
	x.ackOurs(&x.link.lcp.automaton)
	x.forget()
	long := strings.Repeat("x", 1400)
	for _, send := range []func(){
		func() { x.lcp(200, 1, long) },
		func() { x.lcp(echoRequest, 1, long) },
		func() { x.frame(0x0057, []byte(long)...) },
	} {
		send()
		if n := packetHeaderLen + len(x.last().data); n != minMRU {
			t.Errorf("a reply of %d octets to a peer whose MRU is %d", n, minMRU)
		}
	}
}

// An EAP name longer than somebody's buffer (CVE-2020-8597), in an EAP that was
// not negotiated: "silently discarded" in every phase, as PAP beside CHAP is.
func TestEAPNotNegotiated(t *testing.T) {
	md5 := append([]byte{4, 16}, bytes.Repeat([]byte{'A'}, 1018)...)
	for name, x := range map[string]*tester{
		"Establish": open(t, clientConfig()),
		"Authenticate": func() *tester {
			x := open(t, clientConfig())
			x.openLCP(auth(CHAPMD5))
			return x
		}(),
		"Network":         clientInNetwork(t),
		"Network, server": serverInNetwork(t),
	} {
		x.forget()
		x.eap(eapRequest, 1, md5)
		x.eap(eapResponse, 1, md5)
		x.eap(eapSuccess, 1)
		x.want(name)
	}
}

// EAP that was negotiated, by a peer that means no good: nothing is taken for a
// Success that is none, and no octet past the end is read.
func TestHostileEAP(t *testing.T) {
	name := strings.Repeat("A", 1018)
	t.Run("client", func(t *testing.T) {
		x := openEAP(t, EAPMD5)
		x.eap(eapSuccess, 0)
		x.eap(eapSuccess, 1)
		x.eap(eapFailure, 1)
		x.want("a \"canned\" Success, sent immediately upon connection, and a Failure of nothing")
		x.eap(eapRequest, 1, "\x01")
		x.forget()
		x.eap(eapSuccess, 1)
		x.want("prior to conclusion of the method conversation")
		for _, data := range []string{"", "\x04", "\x04\x00", "\x04\x00lns", "\x04\x09short", "\x04\xff" + sixteen, "\x03\x04", "\xfe", "\xfe\x00\x00\x00\x00\x00\x00",
			"\x04\x10" + sixteen + name} {
			x.eap(eapRequest, 2, data)
		}
		x.eap(eapResponse, 2, "\x04\x10"+sixteen)
		x.eap(5, 2, "\x04\x10"+sixteen)
		x.want("cut, without a Value, a Nak, a name longer than a buffer (CVE-2020-8597), other codes")
		x.frame(protocolEAP, packet{eapRequest, 2, bytes.Repeat([]byte{4}, 1500)}.appendTo(nil)...)
		x.frame(protocolEAP, eapRequest, 2, 0xff, 0xff, 4, 1, 'c')
		x.want("longer than the MRU, longer than its frame")
		x.eap(eapRequest, 2, "\x04\x01c")
		x.want("a good one", `EAP Response 2 eap-md5 16 octets "alice"`)
		for id := range 256 {
			if id != 2 && id != 3 { // pppd's Success has the next identifier
				x.eap(eapSuccess, uint8(id))
				x.eap(eapFailure, uint8(id))
			}
		}
		x.want("of other identifiers")
	})
	t.Run("client, storms", func(t *testing.T) {
		x := openEAP(t, EAPMSCHAPv2)
		for id := range 1000 {
			x.eap(eapRequest, uint8(id), "\x02", words)
			x.wait(100 * time.Millisecond)
		}
		notices := 0
		for _, o := range x.out {
			if _, ok := o.event.(Notice); ok {
				notices++
			}
		}
		if notices > noticesMax {
			t.Errorf("%d notices", notices)
		}
		x.forget()
		for id := 0; !x.link.ended; id++ {
			x.eap(eapRequest, uint8(id), "\x01")
			x.wait(time.Second)
		}
		if last := x.out[len(x.out)-1].words; last != "Down: no working network (still in the Authenticate phase) within 2m0s" {
			t.Error(last)
		}
	})
	t.Run("server", func(t *testing.T) {
		x := open(t, chapConfig(EAPMSCHAPv2))
		x.openLCP()
		x.eap(eapResponse, 1, "\x01", name)
		x.want("an identity longer than a buffer")
		x.eap(eapResponse, 1, "\x01alice")
		x.forget()
		zeros := make([]byte, 49)
		for _, data := range [][]byte{{26}, {26, 2, 2, 0}, {26, 2, 2, 0xff, 0xff}, msPacket(chapResponse, 2), msPacket(chapResponse, 2, "\x00alice"),
			msPacket(chapResponse, 2, "\x31short"), msPacket(chapResponse, 2, "\x31", zeros, name), msPacket(chapSuccess, 2, "S=0"), {26, chapSuccess}, {4, 1, 'r'}} {
			x.eap(eapResponse, 2, data)
		}
		x.want("cut, without a Value, a name longer than a buffer, a Success of the peer's own, another Type")
		x.eap(eapResponse, 2, msPacket(chapResponse, 2, "\x01r", "alice"))
		x.do(func(now time.Time) { x.link.Credential(now, Credential{Password: []byte("s3cret")}, nil) })
		x.want("a Value of one octet", "AuthQuestion{Method:eap-mschapv2 User:alice}", "EAP Request 3 eap-mschapv2 Failure ...")
		x.eap(eapResponse, 3, "\x1a\x03")
		x.lcp(terminateAck, 2)
		x.want("nor is it a Success to say so", "EAP Failure 3", "LCP Terminate-Request ...",
			`Down: eap-mschapv2 authentication of user "alice" failed: the peer's response has 1 octets instead of 49`)
	})
}

// Storms that reset the restart counter: a peer that Naks, or acknowledges
// beside a request that is never acceptable, keeps the automaton busy for ever
// by the table. It ends after three times Max-Configure requests.
func TestStorms(t *testing.T) {
	const reason = "Down: LCP: no agreement after 30 Configure-Requests"
	t.Run("Nak", func(t *testing.T) {
		x := open(t, clientConfig())
		for range 1000 {
			x.lcp(configureNak, x.link.lcp.requestID, uint32Option(lcpMagic, 99))
		}
		if len(x.out) != 31 {
			t.Errorf("%d packets", len(x.out))
		}
		x.forget()
		x.lcp(terminateAck, x.link.lcp.id)
		x.want("given up", reason)
	})
	t.Run("Ack beside unacceptable requests", func(t *testing.T) {
		x := open(t, clientConfig())
		for i := range 1000 {
			x.ackOurs(&x.link.lcp.automaton)
			x.lcp(configureRequest, uint8(i), option{99, nil})
			x.wait(3 * time.Second)
			if x.link.ended {
				break
			}
		}
		if after := x.now.Sub(epoch); after > 2*time.Minute {
			t.Errorf("after %v", after)
		}
	})
	t.Run("renegotiation before authentication", func(t *testing.T) {
		x := open(t, serverConfig())
		for i := range 1000 {
			x.lcp(configureRequest, uint8(i))
			x.ackOurs(&x.link.lcp.automaton)
		}
		if len(x.out) > 4*31 {
			t.Errorf("%d packets", len(x.out))
		}
		x.forget()
		x.lcp(terminateAck, x.link.lcp.id)
		x.want("given up", reason)
	})
	t.Run("slowly", func(t *testing.T) {
		x := open(t, serverConfig())
		for i := 0; !x.link.ended; i++ {
			x.lcp(configureRequest, uint8(i))
			x.ackOurs(&x.link.lcp.automaton)
			x.wait(14 * time.Second)
		}
		x.wait(time.Minute)
		if last := x.out[len(x.out)-1].words; last != "Down: no working network (still in the Authenticate phase) within 2m0s" {
			t.Error(last)
		}
	})
}

// A PAP request out of phase, and when PAP is not what was agreed on, is
// silently discarded.
func TestPAPOutOfPhase(t *testing.T) {
	request := []any{withLength("alice"), withLength("s3cret")}
	x := open(t, serverConfig())
	x.forget()
	x.pap(papRequest, 1, request...)
	x.want("in the Establish phase")
	x.openLCP()
	x.pap(papRequest, 1, request...)
	x.want("beside CHAP")
	x = serverInNetwork(t)
	x.do(func(now time.Time) { x.link.Close(now, "") })
	x.forget()
	x.pap(papRequest, 1, request...)
	x.want("in the Terminate phase")
}

// Re-authentication: "the authenticator MUST allow repeated
// Authenticate-Request packets after completing the Authentication phase", with
// "the same reply Code". Nobody is asked again.
func TestRepeatedPAP(t *testing.T) {
	x := serverInNetwork(t)
	x.pap(papRequest, 77, withLength("alice"), withLength("s3cret"))
	x.want("the Ack was lost", `PAP Ack 77 "\x0eAccess granted"`)
	x.pap(papRequest, 78, withLength("mallory"), withLength("guess"))
	x.want("whatever it says now", `PAP Ack 78 "\x0eAccess granted"`)
	if x.link.user != "alice" {
		t.Errorf("the link is %s's", x.link.user)
	}
}

// Our own Magic-Number comes back, always: the line is looped. "If the two
// Magic-Numbers are equal … a Configure-Nak MUST be sent specifying a different
// Magic-Number value."
func TestLoop(t *testing.T) {
	cfg := clientConfig()
	x := open(t, cfg)
	for i := 0; i < 100 && !x.link.ended; i++ {
		out := x.out
		x.forget()
		for _, o := range out {
			if o.frame != nil {
				x.raw(o.frame)
			}
		}
	}
	x.want("given up", "Down: LCP: the line is looped back: the peer's Magic-Number is always ours")

	x = clientInNetwork(t)
	x.lcp(echoRequest, 1, binary.BigEndian.AppendUint32(nil, x.link.lcp.magic))
	x.want("our own Echo-Request gets no answer")

	x = open(t, clientConfig())
	x.forget()
	x.lcp(configureRequest, 1, uint32Option(lcpMagic, 0))
	x.want("a Magic-Number of zero is illegal and MUST always be Nak'd", "LCP Configure-Nak 1 <magic ...>")
}

// Five octets of PAP, and every other cut of a request.
func TestShortPAP(t *testing.T) {
	cfg := serverConfig()
	cfg.Methods = []Method{PAP}
	x := open(t, cfg)
	x.openLCP()
	whole := packet{papRequest, 1, join(withLength("alice"), withLength("s3cret"))}.appendTo(nil)
	for n := range whole {
		x.frame(protocolPAP, whole[:n]...) // Length past the end
		if n >= packetHeaderLen {
			cut := bytes.Clone(whole[:n])
			binary.BigEndian.PutUint16(cut[2:], uint16(n))
			x.frame(protocolPAP, cut...)
		}
	}
	x.frame(protocolPAP, 1, 1, 0, 5, 0)
	x.frame(protocolPAP, 1, 1, 0, 5, 255)
	x.want("discarded")
	x.frame(protocolPAP, 1, 1, 0, 6, 0, 0)
	x.want("a name and a password without octets are legal", "AuthQuestion{Method:pap User:}")

	x = open(t, clientConfig())
	x.openLCP(auth(PAP))
	x.frame(protocolPAP, papNak, 1, 0, 5, 255)
	x.want("a message that is not there", "LCP Terminate-Request ...")
	x.lcp(terminateAck, 2)
	x.want("refused", `Down: pap authentication of user "alice" failed: the server refuses user name or password`)
}

// "Upon reception of the Code-Reject of a code which is fundamental to this
// version of the protocol, the implementation SHOULD report the problem and
// drop the connection"; so too a Protocol-Reject of LCP, and of IPCP for us.
func TestRejected(t *testing.T) {
	t.Run("LCP", func(t *testing.T) {
		x := clientInNetwork(t)
		x.lcp(protocolReject, 1, "\xc0\x21")
		x.want("catastrophic", `LCP Terminate-Request 2 ""`)
		x.lcp(terminateAck, 2)
		x.want("down", "Down: LCP: the peer rejects the protocol")
	})
	t.Run("LCP, before it is opened", func(t *testing.T) {
		x := open(t, clientConfig())
		x.forget()
		x.lcp(protocolReject, 1, "\xc0\x21")
		x.lcp(protocolReject, 1, "\xc0")
		x.want("Protocol-Reject packets received in any state other than the LCP Opened state SHOULD be silently discarded")
	})
	t.Run("Configure-Request", func(t *testing.T) {
		x := open(t, clientConfig())
		x.forget()
		x.lcp(codeReject, 1)
		x.want("an empty Code-Reject says nothing")
		x.lcp(codeReject, 1, "\x01\x01\x00\x04")
		x.want("catastrophic", "Down: LCP: the peer rejects packets of code 1")
	})
	t.Run("IPCP", func(t *testing.T) {
		x := clientInNetwork(t)
		x.lcp(protocolReject, 1, "\x80\x21")
		x.want("without IPCP the link serves nothing", `LCP Terminate-Request 2 "IPCP has ended"`)
		x.lcp(terminateAck, 2)
		x.want("down", "Down: IPCP: the peer rejects the protocol")
	})
	t.Run("the client's authentication", func(t *testing.T) {
		x := openEAP(t, EAPMSCHAPv2)
		for range 1000 {
			x.lcp(protocolReject, 1, "\xc2\x27")
		}
		x.eap(eapRequest, 1, "\x01")
		x.wait(3 * time.Second)
		x.lcp(terminateAck, 2)
		x.want("which the server had demanded, and may exchange for another", `LCP Terminate-Request 2 "negotiation failed"`, "Down: LCP: the peer rejects the authentication protocol that it agreed to")
	})
	t.Run("CHAP", func(t *testing.T) {
		x := open(t, serverConfig())
		x.openLCP()
		x.lcp(protocolReject, 1, "\xc2\x23")
		x.lcp(terminateAck, 2)
		x.want("down", `LCP Terminate-Request 2 "negotiation failed"`, "Down: LCP: the peer rejects the authentication protocol that it agreed to")
	})
	t.Run("a data protocol", func(t *testing.T) {
		x := clientInNetwork(t)
		x.lcp(protocolReject, 1, "\x80\x57")
		x.lcp(protocolReject, 1, "\x00\x57")
		x.want("within the scope of normal operation")
	})
	t.Run("Echo-Request", func(t *testing.T) {
		x := clientInNetwork(t)
		x.lcp(codeReject, 1, "\x09\x05\x00\x08")
		x.ipcp(configureNak, 1, addrOption(ipcpAddress, inside))
		x.ackOurs(&x.link.ipcp.automaton)
		x.ipcp(configureRequest, 1)
		x.forget()
		x.wait(time.Hour)
		x.want("The implementation MUST stop sending the offending packet type")
		x.openLCP()
		x.ipcp(configureRequest, 2)
		x.ackOurs(&x.link.ipcp.automaton)
		x.forget()
		x.wait(time.Hour)
		x.want("after a renegotiation too")
	})
}

// "Upon reception of a Terminate-Request, a Terminate-Ack MUST be transmitted",
// in every state that has the lower layer up.
func TestTerminateInEveryState(t *testing.T) {
	reach := map[string]func(t *testing.T) *tester{
		"Req-Sent": func(t *testing.T) *tester { return open(t, clientConfig()) },
		"Ack-Rcvd": func(t *testing.T) *tester {
			x := open(t, clientConfig())
			x.ackOurs(&x.link.lcp.automaton)
			return x
		},
		"Ack-Sent": func(t *testing.T) *tester {
			x := open(t, clientConfig())
			x.lcp(configureRequest, 1)
			return x
		},
		"Opened": clientInNetwork,
		"Closing": func(t *testing.T) *tester {
			x := open(t, clientConfig())
			x.do(func(now time.Time) { x.link.Close(now, "") })
			return x
		},
		"Stopping": func(t *testing.T) *tester {
			x := clientInNetwork(t)
			x.lcp(terminateRequest, 1)
			return x
		},
	}
	for name, to := range reach {
		t.Run(name, func(t *testing.T) {
			x := to(t)
			if x.link.lcp.state.String() != name {
				t.Fatalf("state %v", x.link.lcp.state)
			}
			x.forget()
			for id := range uint8(200) {
				x.lcp(terminateRequest, id)
				x.want("acknowledged", fmt.Sprintf("LCP Terminate-Ack %d", id))
			}
			x.wait(time.Minute)
			downs := 0
			for _, o := range x.out {
				if _, ok := o.event.(Down); ok {
					downs++
				}
			}
			if downs != 1 {
				t.Errorf("Down %d times", downs)
			}
		})
	}
}

var words = "\x1b[31mred\r\nNov 1 root: " + strings.Repeat("A", 400)

// Control characters in names and messages: quoted and cut to 128 octets in
// errors.
func TestHostileWords(t *testing.T) {
	x := open(t, clientConfig())
	x.openLCP(auth(CHAPMD5))
	x.chap(chapChallenge, 1, "\x01x", words[:100])
	x.chap(chapFailure, 1, words)
	x.lcp(terminateAck, x.link.lcp.id)
	err := x.link.err.Error()
	if strings.ContainsAny(err, "\x1b\r\n") || strings.Count(err, "A") > 128 || !strings.Contains(err, "red") {
		t.Errorf("error %q", err)
	}
	x = clientInNetwork(t)
	x.lcp(terminateRequest, 1, words)
	x.wait(time.Minute)
	err = x.link.err.Error()
	if strings.ContainsAny(err, "\x1b\r\n") || strings.Count(err, "A") > 128 || !strings.Contains(err, "red") {
		t.Errorf("error %q", err)
	}
	for _, name := range []string{words, strings.Repeat("A", 1400)} {
		x := open(t, serverConfig())
		x.openLCP()
		x.chap(chapResponse, x.link.authID, append([]byte{49}, make([]byte, 49)...), name)
		x.want("a name of more than 256 octets is discarded")
	}
}

// Addresses pushed from 0/8, 127/8, multicast and beyond: the client refuses
// them for itself, does without them as name servers, and does not
// acknowledge them as the peer's.
func TestHostileAddresses(t *testing.T) {
	for _, a := range []string{"0.0.0.0", "0.1.2.3", "127.0.0.1", "127.255.0.1", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255"} {
		addr := netip.MustParseAddr(a)
		x := clientInNetwork(t)
		x.ipcp(configureRequest, 1, addrOption(ipcpAddress, addr))
		x.want("the peer's", "IPCP Configure-Reject 1 <addr "+a+">")
		x.ipcp(configureNak, 1, addrOption(ipcpDNS1, addr), addrOption(ipcpDNS2, dns2))
		x.want("a name server", "IPCP Configure-Request 2 <addr 0.0.0.0> <dns2 10.77.0.54>")
		x.ipcp(configureNak, 2, addrOption(ipcpAddress, addr))
		x.lcp(terminateAck, x.link.lcp.id)
		x.want("our own", `LCP Terminate-Request 2 "negotiation failed"`, "Down: IPCP: the server gives no usable address but "+a)
	}
	x := clientInNetwork(t)
	x.ipcp(configureNak, 1, option{ipcpAddress, []byte{10, 0}})
	x.lcp(terminateAck, x.link.lcp.id)
	x.want("an address of two octets", "LCP Terminate-Request ...", "Down: IPCP: the server gives no usable address but an option of a wrong length")
	x = clientInNetwork(t)
	x.ackOurs(&x.link.ipcp.automaton)
	x.ipcp(configureRequest, 1)
	x.lcp(terminateAck, x.link.lcp.id)
	x.want("an Ack of 0.0.0.0", "IPCP Configure-Ack 1", "LCP Terminate-Request ...", "Down: IPCP: the server gives no address: it acknowledges 0.0.0.0")
	x = clientInNetwork(t)
	x.ipcp(configureReject, 1, addrOption(ipcpAddress, netip.Addr{}))
	x.lcp(terminateAck, x.link.lcp.id)
	x.want("no address at all", "LCP Terminate-Request ...", "Down: IPCP: the server rejects the request for an address")
}
