package ppp

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

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

	x = open(t, clientConfig())
	x.openLCP(auth(PAP))
	x.wait(27 * time.Second)
	if len(x.out) != 9 { // and the first
		t.Errorf("%d more requests", len(x.out))
	}
	x.forget()
	x.wait(3 * time.Second)
	x.want("then no more", `LCP Terminate-Request 2 "timeout"`)

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
