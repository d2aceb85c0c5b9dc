package ppp

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

const sixteen = "cccccccccccccccc" // a Challenge

// msPacket is what EAP-MSCHAPv2 has in its Type-Data.
func msPacket(code, id uint8, data ...any) []byte {
	return packet{code, id, join(data...)}.appendTo([]byte{26})
}

func eapConfig(m ...Method) Config {
	cfg := clientConfig()
	cfg.Methods = m
	return cfg
}

// openEAP is a client whose server asks for EAP.
func openEAP(t *testing.T, m ...Method) *tester {
	x := open(t, eapConfig(m...))
	x.openLCP(option{lcpAuth, []byte(optionEAP)})
	return x
}

// The client's side of EAP-MD5, in the order of RFC 3748 §2.
func TestEAPMD5Client(t *testing.T) {
	x := openEAP(t, EAPMD5)
	x.want("the server begins")
	x.eap(eapRequest, 7, "\x01who?")
	x.want("Identity", `EAP Response 7 identity "alice"`)
	x.eap(eapRequest, 8, "\x02maintenance at noon")
	x.want("the peer MUST respond to a Notification Request with a Notification Response", "Notice{Packet:EAP Notification Text:maintenance at noon}", `EAP Response 8 notification ""`)
	x.eap(eapRequest, 9, "\x04\x05fresh", "lns")
	if got, want := x.last().data, append([]byte{4, 16}, append(md5Response(9, []byte("s3cret"), []byte("fresh")), "alice"...)...); !bytes.Equal(got, want) {
		t.Errorf("Response %x, want %x", got, want)
	}
	x.want("MD5-Challenge", `EAP Response 9 eap-md5 16 octets "alice"`)
	x.eap(eapRequest, 9, "\x04\x05other", "lns")
	if got, want := x.last().data[2:18], md5Response(9, []byte("s3cret"), []byte("fresh")); !bytes.Equal(got, want) {
		t.Errorf("repeated %x, want %x", got, want)
	}
	x.want("If a peer receives a valid duplicate Request …, it MUST resend its original Response without reprocessing the Request", `EAP Response 9 eap-md5 16 octets "alice"`)
	x.eap(eapSuccess, 9)
	x.want("accepted", "Authenticated{Method:eap-md5 User:alice Message:maintenance at noon}", "IPCP Configure-Request ...")

	// The server may ask again, "at any time".
	x.eap(eapRequest, 9, "\x04\x05fresh", "lns")
	x.want("it did not hear us", `EAP Response 9 eap-md5 16 octets "alice"`)
	x.eap(eapRequest, 10, "\x01")
	x.eap(eapRequest, 11, "\x04\x05again", "lns")
	x.eap(eapSuccess, 11)
	x.eap(eapSuccess, 11)
	x.want("another look", `EAP Response 10 identity "alice"`, `EAP Response 11 eap-md5 16 octets "alice"`)
	x.eap(eapFailure, 11)
	x.want("a Failure that ends nothing")
	x.eap(eapRequest, 12, "\x0d\x20")
	x.want("it is not to want another method now", "EAP Response 12 nak 04")
	x.eap(eapRequest, 13, "\x04\x05again", "lns")
	x.forget()
	x.eap(eapFailure, 13)
	x.lcp(terminateAck, 2)
	x.want("and it may fail there", `LCP Terminate-Request 2 "authentication refused"`,
		`Down: eap-md5 authentication of user "alice" failed: the server refuses user name or password`)
}

// The client's side of EAP-MSCHAPv2: the server proves itself by a Success
// Request, and the client says that it believes it.
func TestEAPMSCHAPv2Client(t *testing.T) {
	start := func(t *testing.T) (x *tester, proof string) {
		x = openEAP(t, EAPMSCHAPv2)
		x.eap(eapRequest, 1, "\x01")
		x.eap(eapRequest, 2, msPacket(chapChallenge, 77, "\x0f"+sixteen[1:], "lns"))
		x.eap(eapRequest, 2, msPacket(chapSuccess, 77, "S=0"))
		x.eap(eapRequest, 2, msPacket(chapFailure, 77, "E=691"))
		x.want("what cannot be answered", `EAP Response 1 identity "alice"`)
		x.eap(eapRequest, 2, msPacket(chapChallenge, 77, "\x10"+sixteen, "lns"))
		p := x.last()
		x.want("a Response, with the MS-CHAPv2-ID of the Challenge", `EAP Response 2 eap-mschapv2 Response 77 49 octets "alice"`)
		inner, _ := parsePacket(p.data[1:])
		value, name, _ := parseValue(inner)
		message, err := (&mschapv2{}).verify(Credential{Password: []byte("s3cret")}, 0, []byte(sixteen), value, name)
		if err != nil {
			t.Fatal(err)
		}
		return x, string(message[:42])
	}
	t.Run("proved", func(t *testing.T) {
		x, proof := start(t)
		x.eap(eapRequest, 3, msPacket(chapSuccess, 77, proof+" M=Welcome"))
		x.want("acknowledged, and not over", "EAP Response 3 eap-mschapv2 Success")
		x.eap(eapRequest, 3, msPacket(chapSuccess, 77, proof+" M=Welcome"))
		x.want("that was lost", "EAP Response 3 eap-mschapv2 Success")
		x.eap(eapFailure, 3)
		x.want("after success result indications have been exchanged by both sides, a Failure packet MUST be silently discarded")
		x.eap(eapSuccess, 3)
		x.want("over", "Authenticated{Method:eap-mschapv2 User:alice Message:"+proof+" M=Welcome}", "IPCP Configure-Request ...")
	})
	t.Run("proved, and the Success is lost", func(t *testing.T) {
		x, proof := start(t)
		x.eap(eapRequest, 3, msPacket(chapSuccess, 77, proof))
		x.forget()
		x.wait(3*time.Second - 1)
		x.want("the server may repeat itself first")
		x.wait(1)
		x.want("The peer MAY … conclude that the EAP Success packet was lost", "Authenticated{...", "IPCP Configure-Request ...")
	})
	t.Run("another Challenge", func(t *testing.T) {
		x, proof := start(t)
		x.eap(eapRequest, 3, msPacket(chapSuccess, 77, proof))
		x.eap(eapRequest, 4, msPacket(chapChallenge, 4, "\x10"+sixteen, "lns"))
		x.forget()
		x.eap(eapRequest, 5, msPacket(chapSuccess, 4, proof))
		x.want("needs a proof of its own", `LCP Terminate-Request 2 "Authentication failed"`)
	})
	t.Run("refused", func(t *testing.T) {
		x, _ := start(t)
		x.eap(eapRequest, 3, msPacket(chapFailure, 77, "E=691 R=1 C="+strings.Repeat("0", 32)+" V=3 M=Access denied"))
		x.want("no retry, though one is offered", "EAP Response 3 eap-mschapv2 Failure", `LCP Terminate-Request 2 "authentication refused"`)
		x.eap(eapFailure, 3)
		x.lcp(terminateAck, 2)
		x.want("down", `Down: eap-mschapv2 authentication of user "alice" failed: the server refuses user name or password (error 691) (the peer says "Access denied")`)
	})
	for name, message := range map[string]func(proof string) []byte{
		"no proof":                       func(string) []byte { return msPacket(chapSuccess, 77, "M=Welcome") },
		"wrong proof":                    func(s string) []byte { return msPacket(chapSuccess, 77, "S=00"+s[4:]) },
		"Success at once, instead of it": func(string) []byte { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			x, proof := start(t)
			if data := message(proof); data != nil {
				x.eap(eapRequest, 3, data)
			} else {
				x.eap(eapSuccess, 2)
			}
			x.lcp(terminateAck, 2)
			x.want("If the authenticator response is either missing or incorrect, the peer MUST end the session", `LCP Terminate-Request 2 "Authentication failed"`,
				`Down: eap-mschapv2 authentication of user "alice" failed: the server accepts the user but does not prove that it knows the password`)
		})
	}
}

// Nak: "one octet per Type, or the value zero (0) to indicate no proposed
// alternative"; an Expanded Type gets an Expanded Nak, and one of the IETF's in
// that form an answer in that form.
func TestEAPNak(t *testing.T) {
	x := openEAP(t, EAPMSCHAPv2, PAP, EAPMD5)
	x.eap(eapRequest, 1, "\x01")
	x.forget()
	x.eap(eapRequest, 2, "\x0d\x20")
	x.want("TLS: what we agree to, best first", "EAP Response 2 nak 1a04")
	x.eap(eapRequest, 2, "\x0d\x20")
	x.want("that was lost", "EAP Response 2 nak 1a04")
	x.eap(eapRequest, 3, "\x19\x20")
	x.want("PEAP", "EAP Response 3 nak 1a04")
	x.eap(eapRequest, 4, "\x19\x20")
	x.want("the same again: it has nothing that suits", "EAP Response 4 nak 00")
	x.eap(eapRequest, 5, "\xfe\x00\x01\x37\x00\x00\x00\x21expanded")
	x.want("an Expanded Type", "EAP Response 5 expanded nak fe0000000000001afe00000000000004")
	x.eap(eapRequest, 6, "\xfe\x00\x01\x37\x00\x00\x00\x21expanded")
	x.want("nothing suits", "EAP Response 6 expanded nak fe00000000000000")
	x.eap(eapRequest, 7, "\xfe\x00\x00\x00\x00\x00\x00\x04\x05fresh", "lns")
	if !bytes.HasPrefix(x.last().data, []byte("\xfe\x00\x00\x00\x00\x00\x00\x04\x10")) {
		t.Errorf("Response %x", x.last().data)
	}
	x.want("MD5 is MD5", `EAP Response 7 expanded eap-md5 16 octets "alice"`)
	// "Once a peer has sent a Response of the same Type as the initial Request, an
	// authenticator MUST NOT send a Request of a different Type prior to completion
	// …; a peer receiving such Requests MUST treat them as invalid, and silently
	// discard them."
	x.eap(eapRequest, 8, "\x0d\x20")
	x.eap(eapRequest, 8, "\x01")
	x.eap(eapRequest, 8, msPacket(chapChallenge, 8, "\x10"+sixteen, "lns"))
	x.want("no other now")
	x.eap(eapSuccess, 7)
	x.want("accepted", "Authenticated{Method:eap-md5 ...", "IPCP Configure-Request ...")

	t.Run("nothing in common", func(t *testing.T) {
		x := openEAP(t, EAPMSCHAPv2)
		x.eap(eapRequest, 1, "\x01")
		x.eap(eapRequest, 2, "\x0d\x20")
		x.forget()
		x.eap(eapFailure, 2)
		x.lcp(terminateAck, 2)
		x.want("what the user needs to know", `LCP Terminate-Request 2 "authentication refused"`,
			"Down: the server demands authentication by eap-tls, and only eap-mschapv2 is allowed")
		var method *MethodError
		var auth *AuthError
		if err := x.link.err; !errors.As(err, &method) || method.Demanded != "eap-tls" || !errors.As(err, &auth) {
			t.Errorf("error %#v", err)
		}
	})
	for data, want := range map[string]string{"\x04": "eap-md5", "\x1a": "eap-mschapv2", "\x05": "eap-otp", "\x06": "eap-gtc", "\x15": "eap-ttls",
		"\x19": "peap", "\xc8": "eap type 200", "\xfe\x00\x01\x37\x00\x00\x00\x21": "eap type 33 of vendor 311", "\xfe\x00\x00\x00\x00\x00\x00\x0d": "eap-tls"} {
		typ, _, ok := parseEAP([]byte(data))
		if got := typ.String(); !ok || got != want {
			t.Errorf("%x is %s, want %s", data, got, want)
		}
		if again := typ.appendTo(nil); string(again) != data {
			t.Errorf("%x becomes %x", data, again)
		}
	}
}

// A Success "may be potentially lost. A peer MUST allow for this circumstance": a
// packet of a network control protocol counts as one, if the method was complete
// on our side.
func TestEAPSuccessLost(t *testing.T) {
	request := func(x *tester) { x.ipcp(configureRequest, 1, addrOption(ipcpAddress, gateway)) }
	x := openEAP(t, EAPMD5)
	request(x)
	x.eap(eapRequest, 1, "\x01")
	x.forget()
	request(x)
	x.want("nothing is proved yet")
	x.eap(eapRequest, 2, "\x04\x05fresh", "lns")
	x.forget()
	x.frame(ProtocolIPv4, 0x45)
	x.lcp(echoReply, 1, "\x00\x00\x00\x00")
	x.want("other packets say nothing")
	request(x)
	x.want("now", "Authenticated{Method:eap-md5 User:alice Message:}", "IPCP Configure-Request 1 ...", "IPCP Configure-Ack 1 <addr 10.77.0.1>")

	x = openEAP(t, EAPMSCHAPv2)
	x.eap(eapRequest, 2, msPacket(chapChallenge, 2, "\x10"+sixteen, "lns"))
	x.forget()
	request(x)
	x.want("MSCHAPv2: the server has not proved itself")
	if x.link.phase != authenticate {
		t.Errorf("phase %v", x.link.phase)
	}
}

// eapAnswer is a peer's Response to what the server asks.
func eapAnswer(server *eapServer, user, password string) packet {
	peer := New(Config{Rand: random(9), User: user, Password: []byte(password)})
	answer := packet{eapResponse, server.request.id, nil}
	if server.step == eapIdentifying {
		answer.data = append([]byte{eapIdentity}, user...)
		return answer
	}
	data := appendValue(nil, server.method.digest().respond(peer, answer.id, server.challenge), user)
	if server.method == EAPMD5 {
		answer.data = append([]byte{4}, data...)
	} else {
		answer.data = msPacket(chapResponse, answer.id, data)
	}
	return answer
}

func (x *tester) respondEAP(user, password string) {
	x.Helper()
	p := eapAnswer(x.link.exchange.(*eapServer), user, password)
	x.eap(p.code, p.id, p.data)
}

// The server's side of EAP, with each method.
func TestEAPServer(t *testing.T) {
	hash := ntPasswordHash([]byte("s3cret"))
	const msNo = `EAP Request 3 eap-mschapv2 Failure 2 "E=691 R=0 C=... V=3 M=Authentication failed"`
	for _, test := range []struct {
		name     string
		method   Method
		user     string
		password string
		answer   Credential
		err      error
		reason   string
	}{
		{"md5", EAPMD5, "alice", "s3cret", Credential{Password: []byte("s3cret")}, nil, ""},
		{"md5, domain", EAPMD5, `BIGCO\alice`, "s3cret", Credential{Password: []byte("s3cret")}, nil, ""},
		{"md5, wrong password", EAPMD5, "alice", "guess", Credential{Password: []byte("s3cret")}, nil, "wrong password"},
		{"md5, unknown user", EAPMD5, "mallory", "guess", Credential{}, errors.New("no such user"), "no such user"},
		{"md5, NT hash", EAPMD5, "alice", "s3cret", Credential{NTHash: &hash}, nil, "an MD5 challenge needs the password itself, and only its NT hash is known"},
		{"ms", EAPMSCHAPv2, "alice", "s3cret", Credential{Password: []byte("s3cret")}, nil, ""},
		{"ms, domain", EAPMSCHAPv2, `BIGCO\alice`, "s3cret", Credential{NTHash: &hash}, nil, ""},
		{"ms, wrong password", EAPMSCHAPv2, "alice", "guess", Credential{Password: []byte("s3cret")}, nil, "wrong password"},
		{"ms, refused", EAPMSCHAPv2, "alice", "s3cret", Credential{Password: []byte("s3cret")}, errors.New("disabled"), "disabled"},
	} {
		t.Run(test.name, func(t *testing.T) {
			x := open(t, chapConfig(test.method))
			x.lcp(configureRequest, 1)
			x.ackOurs(&x.link.lcp.automaton)
			x.want("EAP is demanded, and begins", "LCP Configure-Request 1 <mru 1400> <auth eap> <magic ours>", "LCP Configure-Ack 1", `EAP Request 1 identity ""`)
			x.eap(eapResponse, 0, "\x01"+test.user)
			x.eap(eapResponse, 1, "\x04"+test.user)
			x.eap(eapResponse, 1)
			x.eap(eapRequest, 1, "\x01")
			x.eap(eapSuccess, 1)
			x.want("another identifier, another Type, none, another code")
			x.eap(eapResponse, 1, "\x01"+test.user)
			if test.method == EAPMD5 {
				x.want("a Challenge", `EAP Request 2 eap-md5 16 octets "l2tpnet"`)
			} else {
				x.want("a Challenge", `EAP Request 2 eap-mschapv2 Challenge 2 16 octets "l2tpnet"`)
			}
			x.eap(eapResponse, 1, "\x01"+test.user)
			x.want("an old Response")
			x.respondEAP(test.user, test.password)
			x.want("a question, with the whole name", fmt.Sprintf("AuthQuestion{Method:%v User:%s}", test.method, test.user))
			x.respondEAP(test.user, test.password)
			x.eap(eapResponse, 2, "\x03\x00")
			x.wait(20 * time.Second)
			x.want("one only, and it may take its time")
			x.do(func(now time.Time) { x.link.Credential(now, test.answer, test.err) })
			id := "2"
			if test.method == EAPMSCHAPv2 {
				id = "3"
				kind := "\x1a\x03"
				if test.reason != "" {
					x.want("refused", msNo)
					kind = "\x1a\x04"
				} else {
					x.want("our own proof", `EAP Request 3 eap-mschapv2 Success 2 "S=... M=Access granted"`)
				}
				x.eap(eapResponse, 3, "\x1a")
				x.eap(eapResponse, 3, "\x04\x03")
				if test.reason == "" {
					x.eap(eapResponse, 3, "\x1a\x09")
					x.want("no acknowledgement")
					x.eap(eapResponse, 3, kind)
				}
			}
			if test.reason == "" {
				x.want("proved", "EAP Success "+id, fmt.Sprintf("Authenticated{Method:%v User:%s Message:}", test.method, test.user), fmt.Sprintf("AddressQuestion{User:%s}", test.user))
				x.eap(eapResponse, x.link.authID, "\x1a\x03")
				x.want("the Success was lost", "EAP Success "+id)
				return
			}
			x.lcp(terminateAck, 2)
			x.want("down", "EAP Failure "+id, `LCP Terminate-Request 2 "Authentication failed"`,
				fmt.Sprintf("Down: %v authentication of user %q failed: %s", test.method, test.user, test.reason))
			var auth *AuthError
			if !errors.As(x.link.err, &auth) || !auth.Ours || auth.User != test.user || auth.Method != test.method {
				t.Errorf("error %#v", x.link.err)
			}
		})
	}
}

// "Additional Request packets MUST be sent until a valid Response packet is
// received, an optional retry counter expires, or a lower layer failure indication
// is received", under the same identifier.
func TestEAPRequestRepeated(t *testing.T) {
	x := open(t, chapConfig(EAPMSCHAPv2))
	x.lcp(configureRequest, 1)
	x.forget()
	x.ackOurs(&x.link.lcp.automaton)
	ten := func(what string) {
		t.Helper()
		x.wait(30*time.Second - 1)
		if len(x.out) != 10 {
			t.Errorf("%s: %d Requests", what, len(x.out))
		}
		for _, o := range x.out {
			if !bytes.Equal(o.frame, x.out[0].frame) {
				t.Errorf("%s: another Request: %s", what, o.words)
			}
		}
		x.forget()
	}
	ten("Identity")
	x.eap(eapResponse, 1, "\x01alice")
	ten("Challenge")
	x.respondEAP("alice", "s3cret")
	x.forget()
	x.do(func(now time.Time) { x.link.Credential(now, Credential{Password: []byte("s3cret")}, nil) })
	x.wait(29 * time.Second) // what SetupTimeout leaves
	if len(x.out) != 10 {
		t.Errorf("Success: %d Requests", len(x.out))
	}
	x.eap(eapResponse, 3, "\x1a\x03")
	if x.link.phase != network {
		t.Errorf("the answer to the tenth: phase %v", x.link.phase)
	}

	// A refused client need not say that it understands: two tries are enough.
	refused := func() *tester {
		x := open(t, chapConfig(EAPMSCHAPv2))
		x.openLCP()
		x.eap(eapResponse, 1, "\x01alice")
		x.respondEAP("alice", "guess")
		x.forget()
		x.do(func(now time.Time) { x.link.Credential(now, Credential{Password: []byte("s3cret")}, nil) })
		return x
	}
	const down = `Down: eap-mschapv2 authentication of user "alice" failed: wrong password`
	x = refused()
	x.wait(6 * time.Second)
	x.lcp(terminateAck, 2)
	x.want("no acknowledgement", "EAP Request 3 eap-mschapv2 Failure ...", "EAP Request 3 eap-mschapv2 Failure ...", "LCP Terminate-Request 2 ...", down)
	x = refused()
	x.lcp(terminateRequest, 7, "authentication refused")
	x.wait(3 * time.Second)
	x.want("it goes", "EAP Request 3 eap-mschapv2 Failure ...", "LCP Terminate-Ack 7", down)
}

// A client that does not believe our proof.
func TestEAPServerDisbelieved(t *testing.T) {
	x := open(t, chapConfig(EAPMSCHAPv2))
	x.openLCP()
	x.eap(eapResponse, 1, "\x01alice")
	x.respondEAP("alice", "s3cret")
	x.do(func(now time.Time) { x.link.Credential(now, Credential{Password: []byte("s3cret")}, nil) })
	x.forget()
	x.eap(eapResponse, 3, "\x1a\x04")
	x.lcp(terminateAck, 2)
	x.want("it is not let in", "EAP Failure 3", `LCP Terminate-Request 2 "authentication refused"`,
		`Down: eap-mschapv2 authentication of user "alice" failed: the client does not believe that we know its password`)
}

// A Nak to the server: the next of ours that the peer lists.
func TestEAPServerNak(t *testing.T) {
	cfg := serverConfig()
	cfg.Methods = []Method{EAPMSCHAPv2, EAPMD5}
	start := func() *tester {
		x := open(t, cfg)
		x.openLCP()
		x.eap(eapResponse, 1, "\x03\x04")
		x.want("an Identity Request cannot be refused")
		x.eap(eapResponse, 1, "\x01alice")
		x.want("the best", "EAP Request 2 eap-mschapv2 Challenge ...")
		return x
	}
	x := start()
	x.eap(eapResponse, 2, "\x03\x0d\x1a\x04")
	x.want("MD5", `EAP Request 3 eap-md5 16 octets "l2tpnet"`)
	x.respondEAP("alice", "s3cret")
	x.want("which it does", "AuthQuestion{Method:eap-md5 User:alice}")

	for nak, suggests := range map[string]string{"\x03\x00": "none", "\x03": "none", "\x03\x0d": "eap-tls", "\x03\x1a": "eap-mschapv2"} {
		x := start()
		x.eap(eapResponse, 2, "\xfe\x00\x00\x00\x00\x00\x00\x03\xfe\x00\x00\x00\x00\x00\x00\x04")
		x.want("an Expanded Nak is only sent in response to an Expanded Type")
		x.eap(eapResponse, 2, nak)
		x.lcp(terminateAck, 2)
		x.want("nothing in common", "EAP Failure 2", `LCP Terminate-Request 2 "negotiation failed"`,
			"Down: EAP: the peer accepts no method that is allowed here, it suggests "+suggests)
	}

	// A peer that names itself as its identity only.
	x = open(t, chapConfig(EAPMD5))
	x.openLCP()
	x.eap(eapResponse, 1, "\x01alice")
	x.forget()
	server := x.link.exchange.(*eapServer)
	x.eap(eapResponse, 2, "\x04\x10", md5Response(2, []byte("s3cret"), server.challenge))
	x.want("is that", "AuthQuestion{Method:eap-md5 User:alice}")
}

// How EAP is negotiated by LCP: its methods have one option.
func TestEAPNegotiation(t *testing.T) {
	eap := option{lcpAuth, []byte(optionEAP)}
	x := open(t, eapConfig(MSCHAPv2, EAPMD5, EAPMSCHAPv2, PAP))
	x.forget()
	x.lcp(configureRequest, 1, auth(CHAPMD5))
	x.lcp(configureRequest, 2, auth(CHAPMD5))
	x.lcp(configureRequest, 3, auth(CHAPMD5))
	x.want("each once", "LCP Configure-Nak 1 <auth mschapv2>", "LCP Configure-Nak 2 <auth eap>", "LCP Configure-Nak 3 <auth pap>")
	x.lcp(configureRequest, 4, eap)
	x.ackOurs(&x.link.lcp.automaton)
	x.eap(eapRequest, 1, "\x0d")
	x.want("it is EAP, and what we prefer", "LCP Configure-Ack 4 <auth eap>", "EAP Response 1 nak 041a")

	cfg := serverConfig()
	cfg.Methods = []Method{EAPMSCHAPv2, EAPMD5, MSCHAPv2, PAP}
	x = open(t, cfg)
	x.forget()
	x.lcp(configureNak, 1, auth(PAP))
	x.want("no EAP then", "LCP Configure-Request 2 <mru 1400> <auth pap> <magic ours>")
	x.lcp(configureNak, 2, eap)
	x.want("what was refused is not demanded again", "LCP Configure-Request 3 <mru 1400> <auth mschapv2> <magic ours>")
}
