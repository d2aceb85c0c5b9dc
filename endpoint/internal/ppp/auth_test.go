package ppp

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"
)

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
	x = openEAP(t, EAPMSCHAPv2, EAPMD5)
	x.eap(eapRequest, 1, "\x01")
	x.eap(eapRequest, 2, "\x04\x05fresh", "lns")
	x.forget()
	x.lcp(terminateRequest, 9)
	x.wait(3 * time.Second)
	x.want("of EAP", "LCP Terminate-Ack 9", `Down: eap-md5 authentication of user "alice" failed: the server terminates the link instead of an answer`)
	x = open(t, clientConfig())
	x.openLCP(auth(CHAPMD5))
	x.lcp(terminateRequest, 9, "shutting down")
	x.wait(3 * time.Second)
	x.want("nothing had been judged", "LCP Terminate-Ack 9", `Down: the peer terminated the link: "shutting down"`)
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
	t.Run("client, what has nothing to do with it", func(t *testing.T) {
		cfg := clientConfig()
		cfg.EchoInterval = -1
		x := open(t, cfg)
		x.openLCP()
		x.wait(30 * time.Second)
		x.forget()
		x.lcp(configureRequest, 1, option{lcpAuth, []byte{0xc2, 0x27}})
		x.lcp(terminateAck, x.link.lcp.id)
		x.want("a demand comes when the link is on its way down", "Down: no answer to IPCP Configure-Request after 10 tries")
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
		x.lcp(configureRequest, 3, auth(PAP))
		x.lcp(configureRequest, 4, auth(PAP))
		x.want("and another, and from the beginning", "LCP Configure-Nak 3 <auth eap>", "LCP Configure-Nak 4 <auth mschapv2>")
		x.lcp(configureRequest, 5, auth(PAP))
		x.want("enough", "LCP Configure-Reject 5 <auth pap>")
		x.lcp(terminateRequest, 6, "peer refused to authenticate")
		x.wait(3 * time.Second)
		x.want("what the user needs to know", "LCP Terminate-Ack 6",
			"Down: the server demands authentication by pap, and only mschapv2, chap, eap-mschapv2 is allowed")
		// pppd asks for nothing then, and takes the link down when it is opened.
		x = open(t, cfg)
		x.lcp(configureRequest, 1, auth(PAP))
		x.lcp(configureRequest, 2)
		x.ackOurs(&x.link.lcp.automaton)
		x.forget()
		x.lcp(terminateRequest, 3, "peer refused to authenticate")
		x.wait(3 * time.Second)
		x.want("the same", "LCP Terminate-Ack 3", "Down: the server demands authentication by pap, and only mschapv2, chap, eap-mschapv2 is allowed")
		var method *MethodError
		var terminated *TerminatedError
		if err := x.link.err; !errors.As(err, &method) || method.Demanded != "pap" || !errors.As(err, &terminated) {
			t.Errorf("error %#v", err)
		}
	})
	if s := fmt.Sprint(Method(0), PAP, CHAPMD5, MSCHAPv2, EAPMD5, EAPMSCHAPv2, Method(6)); s != "method 0 pap chap mschapv2 eap-md5 eap-mschapv2 method 6" {
		t.Error(s)
	}
	for data, want := range map[string]string{"\xc0\x23": "pap", "\xc2\x23\x05": "chap", "\xc2\x23\x80": "mschap", "\xc2\x23\x81": "mschapv2",
		"\xc2\x23\x06": "chap algorithm 6", "\xc2\x27": "eap", "\xc2": "nothing", "\xc2\x23": "protocol 0xc223"} {
		if got := describeMethod([]byte(data)); got != want {
			t.Errorf("%x is %s, want %s", data, got, want)
		}
	}
}
