package ppp

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The example of RFC 2759 §9.2.
func TestMSCHAPv2Vectors(t *testing.T) {
	user, password := []byte("User"), []byte("clientPass")
	authenticator := unhex(t, "5B 5D 7C 7D 7B 3F 2F 3E 3C 2C 60 21 32 26 26 28")
	peer := unhex(t, "21 40 23 24 25 5E 26 2A 28 29 5F 2B 3A 33 7C 7E")

	challenge := challengeHash(peer, authenticator, user)
	if want := unhex(t, "D0 2E 43 86 BC E9 12 26"); !bytes.Equal(challenge[:], want) {
		t.Errorf("Challenge %X, want %X", challenge, want)
	}
	hash := ntPasswordHash(password)
	if want := unhex(t, "44 EB BA 8D 53 12 B8 D6 11 47 44 11 F5 69 89 AE"); !bytes.Equal(hash[:], want) {
		t.Errorf("PasswordHash %X, want %X", hash, want)
	}
	response := challengeResponse(challenge, hash)
	if want := unhex(t, "82 30 9E CD 8D 70 8B 5E A0 8F AA 39 81 CD 83 54 42 33 11 4A 3D 85 D6 DF"); !bytes.Equal(response, want) {
		t.Errorf("NT-Response %X, want %X", response, want)
	}
	proof := authenticatorResponse(hash, response, challenge)
	if got, want := fmt.Sprintf("S=%X", proof), "S=407A5589115FD0D6209F510FE9C04566932CDA56"; got != want {
		t.Errorf("AuthenticatorResponse %s, want %s", got, want)
	}
}

// The example of RFC 2759 §9.3, whose keys have odd parity: the other seven
// bits of each octet are ours.
func TestDESKey(t *testing.T) {
	for raw, want := range map[string]string{
		"FC 15 6A F7 ED CD 6C": "FD 0B 5B 5E 7F 6E 34 D9",
		"0E DD E3 33 7D 42 7F": "0E 6E 79 67 37 EA 08 FE",
	} {
		wanted := unhex(t, want)
		for i := range wanted {
			wanted[i] &^= 1
		}
		if got := desKey([7]byte(unhex(t, raw))); !bytes.Equal(got, wanted) {
			t.Errorf("key of %s: %X, want %X", raw, got, wanted)
		}
	}
}

// A Credential fits by its password or by its NT hash, and never by nothing.
func TestCredential(t *testing.T) {
	hash := ntPasswordHash([]byte("s3cret"))
	other := ntPasswordHash([]byte("other"))
	none := ntPasswordHash(nil)
	for _, test := range []struct {
		name     string
		c        Credential
		password string
		err      error
	}{
		{"password", Credential{Password: []byte("s3cret")}, "s3cret", nil},
		{"wrong password", Credential{Password: []byte("s3cret")}, "s3creT", errWrong},
		{"hash", Credential{NTHash: &hash}, "s3cret", nil},
		{"wrong hash", Credential{NTHash: &other}, "s3cret", errWrong},
		{"nothing", Credential{}, "", errNoCredential},
		{"empty password", Credential{Password: []byte{}}, "", errNoCredential},
		{"hash of nothing", Credential{NTHash: &none}, "", nil}, // a user without a password, who is said so explicitly
	} {
		if err := test.c.equals([]byte(test.password)); err != test.err {
			t.Errorf("%s: %v, want %v", test.name, err, test.err)
		}
	}
	if s := fmt.Sprintf("%v %+v %#v", Credential{Password: []byte("s3cret")}, Credential{NTHash: &hash}, Credential{Password: []byte("s3cret")}); s != "(credential) (credential) (credential)" {
		t.Errorf("a credential is logged: %s", s)
	}
}

// respond is the peer's Response to a server's Challenge, which came out last.
func (x *tester) respond(m Method, user, password string) {
	x.Helper()
	challenge := x.link.exchange.(*chapServer).challenge
	peer := New(Config{Rand: random(9), User: user, Password: []byte(password)})
	value := m.digest().respond(peer, x.link.authID, challenge)
	x.chap(chapResponse, x.link.authID, append([]byte{uint8(len(value))}, value...), user)
}

func chapConfig(m Method) Config {
	cfg := serverConfig()
	cfg.Methods = []Method{m}
	return cfg
}

// The server's side of CHAP with each digest: "Whenever a Response packet is
// received, the authenticator compares the Response Value with its own
// calculation of the expected value."
func TestCHAPServer(t *testing.T) {
	hash := ntPasswordHash([]byte("s3cret"))
	const md5No, msNo = `CHAP Failure 1 "Authentication failed"`, `CHAP Failure 1 "E=691 R=0 C=... V=3 M=Authentication failed"`
	for _, test := range []struct {
		name     string
		method   Method
		user     string
		password string
		answer   Credential
		err      error
		want     string // after the question
		reason   string
	}{
		{"md5", CHAPMD5, "alice", "s3cret", Credential{Password: []byte("s3cret")}, nil, `CHAP Success 1 "Access granted"`, ""},
		{"md5, wrong password", CHAPMD5, "alice", "guess", Credential{Password: []byte("s3cret")}, nil, md5No, "wrong password"},
		{"md5, unknown user", CHAPMD5, "mallory", "guess", Credential{}, errors.New("no such user"), md5No, "no such user"},
		{"md5, NT hash", CHAPMD5, "alice", "s3cret", Credential{NTHash: &hash}, nil, md5No, "chap needs the password itself, and only its NT hash is known"},
		{"ms", MSCHAPv2, "alice", "s3cret", Credential{Password: []byte("s3cret")}, nil, `CHAP Success 1 "S=... M=Access granted"`, ""},
		{"ms, domain", MSCHAPv2, `BIGCO\alice`, "s3cret", Credential{Password: []byte("s3cret")}, nil, `CHAP Success 1 "S=... M=Access granted"`, ""},
		{"ms, NT hash", MSCHAPv2, "alice", "s3cret", Credential{NTHash: &hash}, nil, `CHAP Success 1 "S=... M=Access granted"`, ""},
		{"ms, wrong password", MSCHAPv2, "alice", "guess", Credential{Password: []byte("s3cret")}, nil, msNo, "wrong password"},
		{"ms, unknown user", MSCHAPv2, "mallory", "guess", Credential{}, errors.New("no such user"), msNo, "no such user"},
		{"ms, no credential", MSCHAPv2, "alice", "s3cret", Credential{}, nil, msNo, "there is neither a password nor an NT hash of the user"},
		// A refusal stands even when the password fits: the account is disabled.
		{"ms, refused", MSCHAPv2, "alice", "s3cret", Credential{Password: []byte("s3cret")}, errors.New("disabled"), msNo, "disabled"},
	} {
		t.Run(test.name, func(t *testing.T) {
			x := open(t, chapConfig(test.method))
			x.lcp(configureRequest, 1)
			x.ackOurs(&x.link.lcp.automaton)
			x.want("a Challenge", "LCP Configure-Request ...", "LCP Configure-Ack 1", `CHAP Challenge 1 16 octets "l2tpnet"`)
			x.respond(test.method, test.user, test.password)
			x.want("a question", fmt.Sprintf("AuthQuestion{Method:%v User:%s}", test.method, test.user))
			x.respond(test.method, test.user, test.password)
			x.want("one only")
			x.wait(20 * time.Second)
			x.want("the owner takes its time, and no Challenge is repeated")
			x.do(func(now time.Time) { x.link.Credential(now, test.answer, test.err) })
			if test.reason == "" {
				x.want("proved", test.want, fmt.Sprintf("Authenticated{Method:%v User:%s Message:}", test.method, test.user),
					fmt.Sprintf("AddressQuestion{User:%s}", test.user))
				// "Any Response packets received having the current Challenge
				// Identifier MUST return the same reply Code previously returned".
				x.respond(test.method, "mallory", "guess")
				x.want("the Success was lost", test.want)
				x.chap(chapResponse, 77, "\x10................", "alice")
				x.want("another identifier")
				return
			}
			x.want("refused", test.want, `LCP Terminate-Request 2 "Authentication failed"`)
			x.lcp(terminateAck, 2)
			x.want("down", fmt.Sprintf("Down: %v authentication of user %q failed: %s", test.method, test.user, test.reason))
			var auth *AuthError
			if !errors.As(x.link.err, &auth) || !auth.Ours || auth.User != test.user {
				t.Errorf("error %#v", x.link.err)
			}
		})
	}
}

// An unknown user and a wrong password look the same to the peer, octet by
// octet.
func TestSameRefusal(t *testing.T) {
	for _, m := range []Method{PAP, CHAPMD5, MSCHAPv2} {
		refusal := func(c Credential, err error) (frames [][]byte) {
			x := open(t, chapConfig(m))
			x.openLCP()
			if m == PAP {
				x.pap(papRequest, 1, withLength("alice"), withLength("guess"))
			} else {
				x.respond(m, "alice", "guess")
			}
			x.forget()
			x.do(func(now time.Time) { x.link.Credential(now, c, err) })
			for _, o := range x.out {
				frames = append(frames, o.frame)
			}
			return frames
		}
		unknown := refusal(Credential{}, errors.New("no such user"))
		wrong := refusal(Credential{Password: []byte("s3cret")}, nil)
		if len(unknown) != 2 || !bytes.Equal(bytes.Join(unknown, nil), bytes.Join(wrong, nil)) {
			t.Errorf("%v: %x and %x", m, unknown, wrong)
		}
	}
}

// "Additional Challenge packets MUST be sent until a valid Response packet is
// received, or an optional retry counter expires."
func TestChallengeRepeated(t *testing.T) {
	x := open(t, chapConfig(CHAPMD5))
	x.lcp(configureRequest, 1)
	x.forget()
	x.ackOurs(&x.link.lcp.automaton)
	x.wait(30*time.Second - 1)
	if len(x.out) != 10 {
		t.Errorf("%d Challenges", len(x.out))
	}
	for _, o := range x.out {
		if !bytes.Equal(o.frame, x.out[0].frame) {
			t.Errorf("another Challenge: %s", o.words)
		}
	}
	x.respond(CHAPMD5, "alice", "s3cret")
	x.do(func(now time.Time) { x.link.Credential(now, Credential{Password: []byte("s3cret")}, nil) })
	if x.link.phase != network {
		t.Errorf("the answer to the tenth: phase %v", x.link.phase)
	}
	x.forget()
	// Malformed ones do not stop the Challenges.
	x = open(t, chapConfig(CHAPMD5))
	x.openLCP()
	x.chap(chapResponse, x.link.authID)
	x.chap(chapResponse, x.link.authID, "\x00alice")
	x.chap(chapResponse, x.link.authID, "\xff................")
	x.wait(3 * time.Second)
	x.want("no Value, an empty one, one past the end", `CHAP Challenge 1 16 octets "l2tpnet"`)
}

// The answer to a question of an exchange that a renegotiation has ended is not
// taken for the next exchange's: mallory, who has an account, asks for it,
// renegotiates, and answers the new Challenge as alice, but with mallory's password.
func TestStaleCredential(t *testing.T) {
	for _, m := range []Method{PAP, CHAPMD5, MSCHAPv2} {
		claim := func(x *tester, user, password string) {
			if m == PAP {
				x.pap(papRequest, 1, withLength(user), withLength(password))
			} else {
				x.respond(m, user, password)
			}
		}
		x := open(t, chapConfig(m))
		x.openLCP()
		claim(x, "mallory", "sesame")
		x.want("first", fmt.Sprintf("AuthQuestion{Method:%v User:mallory}", m))
		x.openLCP()
		claim(x, "alice", "sesame")
		x.want("no second question while the first waits")
		x.do(func(now time.Time) { x.link.Credential(now, Credential{Password: []byte("sesame")}, nil) })
		x.want("the first answer is nobody's")
		claim(x, "alice", "sesame")
		x.want("now", fmt.Sprintf("AuthQuestion{Method:%v User:alice}", m))
		x.do(func(now time.Time) { x.link.Credential(now, Credential{Password: []byte("s3cret")}, nil) })
		if x.link.phase == network {
			t.Errorf("%v: mallory is alice", m)
		}
		x.do(func(now time.Time) { x.link.Credential(now, Credential{Password: []byte("sesame")}, nil) })
		x.do(func(now time.Time) { x.link.Assign(now, Assignment{}, nil) })
		x.lcp(terminateAck, x.link.lcp.id)
		x.do(func(now time.Time) { x.link.Credential(now, Credential{Password: []byte("sesame")}, nil) })
		if x.link.phase != dead {
			t.Errorf("%v: phase %v", m, x.link.phase)
		}
	}
}

// The client's side of CHAP-MD5.
func TestCHAPMD5Client(t *testing.T) {
	x := open(t, clientConfig())
	x.openLCP(auth(CHAPMD5))
	x.chap(chapSuccess, 7, "welcome")
	x.chap(chapFailure, 7, "no")
	x.want("nothing was asked yet")
	x.chap(chapChallenge, 7, "\x00lns")
	x.chap(chapChallenge, 7, "\x09short")
	x.want("no Value, one past the end")
	x.chap(chapChallenge, 7, "\x05fresh", "lns")
	x.want("a Response", `CHAP Response 7 16 octets "alice"`)
	x.chap(chapChallenge, 8, "\x05other", "lns")
	x.want("to each Challenge", `CHAP Response 8 16 octets "alice"`)
	x.chap(chapSuccess, 7, "welcome")
	x.want("the reply to an old one")
	x.chap(chapSuccess, 8, "welcome")
	x.want("accepted", "Authenticated{Method:chap User:alice Message:welcome}", "IPCP Configure-Request ...")

	// "The peer SHOULD expect Challenge packets during the Authentication phase
	// and the Network-Layer Protocol phase."
	x.chap(chapChallenge, 9, "\x05again", "lns")
	x.chap(chapSuccess, 9, "still you")
	x.want("in the Network phase too", `CHAP Response 9 16 octets "alice"`)
	x.chap(chapChallenge, 10, "\x05again", "lns")
	x.chap(chapFailure, 10, "account expired")
	x.lcp(terminateAck, 2)
	x.want("and it may fail there", `CHAP Response 10 16 octets "alice"`, `LCP Terminate-Request 2 "authentication refused"`,
		`Down: chap authentication of user "alice" failed: the server refuses user name or password (the peer says "account expired")`)
}

// The Value of RFC 1994 §4.1, of which the RFC has no example; pppd's answer to
// pppd is in the captures. Here: the order of what is hashed.
func TestMD5Response(t *testing.T) {
	a, b := md5Response(1, []byte("ab"), []byte("c")), md5Response(1, []byte("a"), []byte("bc"))
	if !bytes.Equal(a, b) || bytes.Equal(a, md5Response(2, []byte("ab"), []byte("c"))) {
		t.Error("not the hash of identifier, secret and challenge, one after another")
	}
}

// A client that lost the Success repeats its Response; a server that lost the
// Response repeats its Challenge, and gets the same.
func TestResponseRepeated(t *testing.T) {
	x := open(t, clientConfig())
	x.openLCP(auth(MSCHAPv2))
	challenge := "\x10" + strings.Repeat("c", 16)
	x.chap(chapChallenge, 1, challenge, "lns")
	x.wait(3 * time.Second)
	x.chap(chapChallenge, 1, challenge, "lns")
	if len(x.out) != 3 || !bytes.Equal(x.out[0].frame, x.out[1].frame) || !bytes.Equal(x.out[0].frame, x.out[2].frame) {
		t.Errorf("%v", x.out)
	}
}

// The client's side of MS-CHAPv2: "If the authenticator response is either
// missing or incorrect, the peer MUST end the session."
func TestMSCHAPv2Client(t *testing.T) {
	challenge := strings.Repeat("c", 16)
	start := func(t *testing.T) (x *tester, proof string) {
		x = open(t, clientConfig())
		x.openLCP(auth(MSCHAPv2))
		x.chap(chapChallenge, 1, "\x0f", challenge[1:], "lns")
		x.want("a challenge of another length than 16 octets cannot be answered")
		x.chap(chapChallenge, 1, "\x10", challenge, "lns")
		p := x.last()
		value, name, _ := parseValue(p)
		x.want("a Response", `CHAP Response 1 49 octets "alice"`)
		if !bytes.Equal(value[16:24], make([]byte, 8)) || value[48] != 0 || string(name) != "alice" {
			t.Errorf("Response % x %s", value, name)
		}
		message, err := (&mschapv2{}).verify(Credential{Password: []byte("s3cret")}, 1, []byte(challenge), value, name)
		if err != nil {
			t.Fatal(err)
		}
		return x, string(message[:42])
	}
	for name, message := range map[string]func(proof string) string{
		"as the RFC has it":           func(s string) string { return s + " M=Welcome" },
		"without a message":           func(s string) string { return s },
		"an octet before it":          func(s string) string { return "\x01" + s + " M=Welcome" }, // MikroTik
		"hexadecimal digits in lower": func(s string) string { return "S=" + strings.ToLower(s[2:]) },
	} {
		t.Run(name, func(t *testing.T) {
			x, proof := start(t)
			x.chap(chapSuccess, 1, message(proof))
			if x.link.phase != network {
				t.Errorf("phase %v", x.link.phase)
			}
		})
	}
	for name, message := range map[string]func(proof string) string{
		"missing":            func(string) string { return "M=Welcome" },
		"empty":              func(string) string { return "" },
		"wrong":              func(s string) string { return "S=00" + s[4:] + " M=Welcome" },
		"short":              func(s string) string { return s[:41] },
		"no digits":          func(s string) string { return s[:41] + "G" },
		"of another message": func(s string) string { return "S=" + strings.Repeat("0", 40) },
	} {
		t.Run(name, func(t *testing.T) {
			x, proof := start(t)
			x.chap(chapSuccess, 1, message(proof))
			x.lcp(terminateAck, 2)
			x.want("the server is an impostor", `LCP Terminate-Request 2 "Authentication failed"`,
				`Down: mschapv2 authentication of user "alice" failed: the server accepts the user but does not prove that it knows the password`)
			var auth *AuthError
			if !errors.As(x.link.err, &auth) || !auth.Ours {
				t.Errorf("error %#v", x.link.err)
			}
		})
	}
}

// "The 'eeeeeeeeee' is the ASCII representation of a decimal error code …
// implementations should deal with codes not on this list gracefully."
func TestMSCHAPv2Failure(t *testing.T) {
	c := " C=" + strings.Repeat("0", 32)
	for message, want := range map[string][2]string{
		"E=646 R=0" + c + " V=3 M=later":         {"the account may not log on at this hour (error 646)", "later"},
		"E=647 R=0" + c + " V=3 M=off":           {"the account is disabled (error 647)", "off"},
		"E=648 R=0" + c + " V=3 M=old":           {"the password has expired (error 648)", "old"},
		"E=649 R=0" + c + " V=3 M=no":            {"the account may not dial in (error 649)", "no"},
		"E=691 R=1" + c + " V=0 M=Access denied": {"the server refuses user name or password (error 691)", "Access denied"},
		"E=0000000647 R=0" + c + " V=3":          {"the account is disabled (error 647)", "E=0000000647 R=0" + c + " V=3"},
		"E=709":                                  {"the password could not be changed (error 709)", "E=709"},
		"E=42 R=0 M=":                            {"the server refuses user name or password (error 42)", ""},
		"E=x":                                    {"the server refuses user name or password", "E=x"},
		"Access denied":                          {"the server refuses user name or password", "Access denied"},
		"":                                       {"the server refuses user name or password", ""},
		"E=691 R=1 C=0 V=3 M=try E=647 M=instead": {"the server refuses user name or password (error 691)", "try E=647 M=instead"},
	} {
		reason, words := (&mschapv2{}).explain([]byte(message))
		if reason != want[0] || words != want[1] {
			t.Errorf("%q: %q, %q, want %q", message, reason, words, want)
		}
	}
	x := open(t, clientConfig())
	x.openLCP(auth(MSCHAPv2))
	x.chap(chapChallenge, 1, "\x10", strings.Repeat("c", 16))
	x.forget()
	x.chap(chapFailure, 1, "E=691 R=1"+c+" V=0 M=Access denied")
	x.lcp(terminateRequest, 9, "Authentication failed") // as pppd does at once
	x.lcp(terminateAck, 2)
	x.want("the authentication error wins", `LCP Terminate-Request 2 "authentication refused"`, "LCP Terminate-Ack 9",
		`Down: mschapv2 authentication of user "alice" failed: the server refuses user name or password (error 691) (the peer says "Access denied")`)
}

// "When the Failure is lost, and the authenticator terminates the link, the LCP
// Terminate-Request and Terminate-Ack provide an alternative indication that
// authentication failed."
func TestFailureLost(t *testing.T) {
	x := open(t, clientConfig())
	x.openLCP(auth(PAP))
	x.lcp(terminateRequest, 9, "Authentication failed")
	x.wait(3 * time.Second)
	x.want("an authentication error", "LCP Terminate-Ack 9",
		`Down: pap authentication of user "alice" failed: the server terminates the link instead of an answer (the peer says "Authentication failed")`)
	x = open(t, clientConfig())
	x.openLCP(auth(CHAPMD5))
	x.lcp(terminateRequest, 9, "shutting down")
	x.wait(3 * time.Second)
	x.want("nothing had been judged", "LCP Terminate-Ack 9", `Down: the peer terminated the link: "shutting down"`)
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
	x.authenticatePAPFrom(1)
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

func (x *tester) authenticatePAPFrom(id uint8) { x.pap(papAck, id, "\x00") }

// PAP: "The Identifier field MUST be changed each time an Authenticate-Request
// packet is issued"; the reply to any of them counts.
func TestPAPClient(t *testing.T) {
	x := open(t, clientConfig())
	x.openLCP(auth(PAP))
	x.wait(6 * time.Second)
	x.want("repeated", `PAP Request 2 "\x05alice\x06s3cret"`, `PAP Request 3 "\x05alice\x06s3cret"`)
	x.pap(papAck, 0, "\x00")
	x.pap(papAck, 4, "\x00")
	x.pap(papRequest, 1, withLength("bob"), withLength("x"))
	x.want("none of ours")
	x.pap(papNak, 1, withLength("who are you?"))
	x.lcp(terminateAck, 2)
	x.want("the reply to the first", `LCP Terminate-Request 2 "authentication refused"`,
		`Down: pap authentication of user "alice" failed: the server refuses user name or password (the peer says "who are you?")`)

	for name, data := range map[string]string{"no message length": "", "no message": "\x00", "padding": "\x02hi\x00\x00", "length past the end": "\xffhi"} {
		t.Run(name, func(t *testing.T) {
			x := open(t, clientConfig())
			x.openLCP(auth(PAP))
			x.pap(papAck, 1, data)
			if x.link.phase != network {
				t.Errorf("phase %v", x.link.phase)
			}
		})
	}
	cfg := clientConfig()
	cfg.User, cfg.Password = strings.Repeat("u", 300), bytes.Repeat([]byte("p"), 300)
	x = open(t, cfg)
	x.lcp(configureRequest, 101, auth(PAP))
	x.ackOurs(&x.link.lcp.automaton)
	if user, password, ok := parsePAPRequest(x.last()); !ok || len(user) != 255 || len(password) != 255 {
		t.Errorf("%d and %d octets, %v", len(user), len(password), ok)
	}
}

// Which method: the server's order, the client's wishes.
func TestMethodNegotiation(t *testing.T) {
	t.Run("server, Nak", func(t *testing.T) {
		x := open(t, serverConfig())
		x.want("the best first", "LCP Configure-Request 1 <mru 1400> <auth mschapv2> <magic ours>")
		x.lcp(configureNak, 1, auth(PAP))
		x.want("the peer's suggestion is allowed", "LCP Configure-Request 2 <mru 1400> <auth pap> <magic ours>")
		x.lcp(configureNak, 2, option{lcpAuth, []byte{0xc2, 0x27}})
		x.want("the next of ours", "LCP Configure-Request 3 <mru 1400> <auth chap> <magic ours>")
		x.lcp(configureNak, 3, auth(MSCHAPv2))
		x.lcp(terminateAck, 4)
		x.want("which was refused already", `LCP Terminate-Request 4 "negotiation failed"`,
			"Down: LCP: the peer accepts no authentication that is allowed here, it suggests mschapv2")
	})
	t.Run("server, Reject", func(t *testing.T) {
		x := open(t, serverConfig())
		x.forget()
		x.lcp(configureReject, 1, auth(MSCHAPv2))
		x.lcp(terminateAck, 2)
		x.want("fatal", `LCP Terminate-Request 2 "negotiation failed"`, "Down: LCP: the peer refuses to authenticate itself")
	})
	t.Run("server, asked itself", func(t *testing.T) {
		x := open(t, serverConfig())
		x.forget()
		x.lcp(configureRequest, 1, auth(CHAPMD5))
		x.want("it has nothing to prove", "LCP Configure-Reject 1 <auth chap>")
	})
	t.Run("client without a password", func(t *testing.T) {
		cfg := clientConfig()
		cfg.Password = nil
		x := open(t, cfg)
		x.forget()
		x.lcp(configureRequest, 1, auth(CHAPMD5))
		x.want("nothing to prove", "LCP Configure-Reject 1 <auth chap>")
	})
	t.Run("client, PAP not allowed", func(t *testing.T) {
		cfg := clientConfig()
		cfg.Methods = nil
		x := open(t, cfg)
		x.forget()
		x.lcp(configureRequest, 1, auth(PAP))
		x.want("our best", "LCP Configure-Nak 1 <auth mschapv2>")
		x.lcp(configureRequest, 1, auth(PAP))
		x.want("that Nak was lost", "LCP Configure-Nak 1 <auth mschapv2>")
		x.lcp(configureRequest, 2, auth(PAP))
		x.want("the peer does not take it: another", "LCP Configure-Nak 2 <auth chap>")
		for id := uint8(3); id < 5; id++ {
			x.lcp(configureRequest, id, auth(PAP))
		}
		x.forget()
		x.lcp(configureRequest, 5, auth(PAP))
		x.want("enough", "LCP Configure-Reject 5 <auth pap>")
		x.lcp(terminateRequest, 6, "peer refused to authenticate")
		x.wait(3 * time.Second)
		x.want("what the user needs to know", "LCP Terminate-Ack 6",
			"Down: the server demands authentication by pap, and only mschapv2, chap is allowed")
		var method *MethodError
		var terminated *TerminatedError
		if err := x.link.err; !errors.As(err, &method) || method.Demanded != "pap" || !errors.As(err, &terminated) {
			t.Errorf("error %#v", err)
		}
	})
	for data, want := range map[string]string{"\xc0\x23": "pap", "\xc2\x23\x05": "chap", "\xc2\x23\x80": "mschap", "\xc2\x23\x81": "mschapv2",
		"\xc2\x23\x06": "chap algorithm 6", "\xc2\x27": "eap", "\xc2": "nothing", "\xc2\x23": "protocol 0xc223"} {
		if got := describeMethod([]byte(data)); got != want {
			t.Errorf("%x is %s, want %s", data, got, want)
		}
	}
}

// The keepalive: an Echo-Request when the peer has been silent, and an end
// after four that nobody answers. Whatever comes from the peer is a sign of life.
func TestEcho(t *testing.T) {
	x := clientInNetwork(t)
	x.ipcp(configureNak, 1, addrOption(ipcpAddress, inside))
	x.ackOurs(&x.link.ipcp.automaton)
	x.ipcp(configureRequest, 1)
	x.forget()
	x.wait(29 * time.Second)
	x.frame(ProtocolIPv4, 0x45)
	x.wait(30*time.Second - 1)
	x.want("the peer is heard")
	x.wait(1)
	magic := fmt.Sprintf("%08x", x.link.lcp.magic)
	x.want("the peer is silent", "LCP Echo-Request 2 "+magic)
	x.lcp(echoReply, 2, "\x00\x00\x00\x05")
	x.wait(30 * time.Second)
	x.wait(90 * time.Second)
	x.want("it answers, and then it does not", "LCP Echo-Request 3 "+magic, "LCP Echo-Request 4 "+magic, "LCP Echo-Request 5 "+magic, "LCP Echo-Request 6 "+magic)
	x.wait(30 * time.Second)
	x.want("enough", "NetworkDown{}", `LCP Terminate-Request 7 "timeout"`)
	x.wait(6 * time.Second)
	x.want("down", `LCP Terminate-Request 8 "timeout"`, "Down: no answer to LCP Echo-Request after 4 tries")

	cfg := clientConfig()
	cfg.EchoInterval = -1
	x = open(t, cfg)
	x.openLCP()
	x.ipcp(configureNak, 1, addrOption(ipcpAddress, inside))
	x.ackOurs(&x.link.ipcp.automaton)
	x.ipcp(configureRequest, 1)
	x.forget()
	x.wait(24 * time.Hour)
	x.want("off")
}

// "Upon reception of an Echo-Request in the LCP Opened state, an Echo-Reply MUST
// be transmitted", with the request's identifier and data and our Magic-Number.
func TestEchoReply(t *testing.T) {
	x := clientInNetwork(t)
	magic := binary.BigEndian.AppendUint32(nil, x.link.lcp.magic)
	x.lcp(echoRequest, 9, "\x00\x00\x00\x05", "data")
	x.want("answered", fmt.Sprintf("LCP Echo-Reply 9 %x", append(magic, "data"...)))
	x.lcp(echoRequest, 10, "\x00\x00\x00\x00")
	x.want("with Magic-Number 0 too", fmt.Sprintf("LCP Echo-Reply 10 %x", magic))
	x.lcp(echoRequest, 11, "\x00\x00\x00")
	x.lcp(discardRequest, 12, "\x00\x00\x00\x05", "data")
	x.lcp(echoReply, 13, "\x00\x00\x00\x05", "data")
	x.want("malformed, Discard-Request, Echo-Reply")
}
