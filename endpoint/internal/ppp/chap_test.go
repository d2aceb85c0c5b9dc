package ppp

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

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
		{"md5, NT hash", CHAPMD5, "alice", "s3cret", Credential{NTHash: &hash}, nil, md5No, "an MD5 challenge needs the password itself, and only its NT hash is known"},
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
