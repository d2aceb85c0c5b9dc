package decode

import (
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
)

// A talk is a session's PPP in a capture: a frame each second.
type talk struct{ *tape }

func newTalk() talk { return talk{newTape()} }

// c adds a frame of the client's, s one of the server's.
func (t talk) c(frame string) talk { t.ppp(lac, lns, 11, 12, frame); return t }
func (t talk) s(frame string) talk { t.ppp(lns, lac, 1, 2, frame); return t }

// lcp is what brings LCP to opened.
func (t talk) lcp() talk {
	return t.c("c021 01 01 000a 0506 11111111").s("c021 01 01 000a 0506 22222222").
		c("c021 02 01 000a 0506 22222222").s("c021 02 01 000a 0506 11111111")
}

// states are the layer's messages with their ends and states, "c Conf-Req 1 req-sent".
func (t talk) states(tb testing.TB, layer string) (states []string) {
	client := "A"
	for line := range strings.Lines(t.print(tb, nil)) {
		if strings.HasPrefix(line, "A is 192.0.2.2") {
			client = "B"
		}
		f := strings.Fields(line)
		if len(f) < 8 || f[2] != ">" || f[5] != layer {
			continue
		}
		who := "s"
		if f[1] == client {
			who = "c"
		}
		states = append(states, strings.Join([]string{who, f[6], f[7], f[len(f)-1]}, " "))
	}
	return states
}

func (t talk) wantStates(tb testing.TB, layer string, want ...string) {
	tb.Helper()
	if got := t.states(tb, layer); strings.Join(got, "\n") != strings.Join(want, "\n") {
		tb.Errorf("the states of %s are\n%s\nwant\n%s\nof\n%s", layer, strings.Join(got, "\n"), strings.Join(want, "\n"), t.print(tb, nil))
	}
}

func TestNegotiation(t *testing.T) {
	t.Run("each asks, each acknowledges", func(t *testing.T) {
		newTalk().lcp().wantStates(t, "LCP",
			"c Conf-Req 1 req-sent", "s Conf-Req 1 req-sent", "c Conf-Ack 1 ack-sent", "s Conf-Ack 1 opened")
	})
	t.Run("one after the other", func(t *testing.T) {
		newTalk().c("c021 01 01 0004").s("c021 02 01 0004").s("c021 01 09 0004").c("c021 02 09 0004").wantStates(t, "LCP",
			"c Conf-Req 1 req-sent", "s Conf-Ack 1 ack-sent", "s Conf-Req 9 ack-sent", "c Conf-Ack 9 opened")
	})
	t.Run("a Nak and a Reject", func(t *testing.T) {
		newTalk().c("c021 01 01 0008 0104 2000").s("c021 03 01 0008 0104 0578").
			c("c021 01 02 000a 0104 0578 0702").s("c021 04 02 0006 0702").
			c("c021 01 03 0008 0104 0578").s("c021 02 03 0008 0104 0578").
			s("c021 01 01 0004").c("c021 02 01 0004").wantStates(t, "LCP",
			"c Conf-Req 1 req-sent", "s Conf-Nak 1 req-sent", "c Conf-Req 2 req-sent", "s Conf-Rej 2 req-sent",
			"c Conf-Req 3 req-sent", "s Conf-Ack 3 ack-sent", "s Conf-Req 1 ack-sent", "c Conf-Ack 1 opened")
	})
	t.Run("a Nak after the other direction was agreed", func(t *testing.T) {
		newTalk().s("c021 01 01 0004").c("c021 02 01 0004").c("c021 01 01 0008 0104 2000").s("c021 03 01 0008 0104 0578").
			c("c021 01 02 0004").s("c021 02 02 0004").wantStates(t, "LCP",
			"s Conf-Req 1 req-sent", "c Conf-Ack 1 ack-sent", "c Conf-Req 1 ack-sent", "s Conf-Nak 1 ack-rcvd",
			"c Conf-Req 2 ack-sent", "s Conf-Ack 2 opened")
	})
	t.Run("an answer to an older request counts for nothing", func(t *testing.T) {
		newTalk().c("c021 01 01 0004").c("c021 01 02 0004").s("c021 02 01 0004").s("c021 01 01 0004").c("c021 02 01 0004").wantStates(t, "LCP",
			"c Conf-Req 1 req-sent", "c Conf-Req 2 req-sent", "s Conf-Ack 1 ack-sent", "s Conf-Req 1 ack-sent", "c Conf-Ack 1 ack-sent")
	})
	t.Run("a request that was lost", func(t *testing.T) {
		newTalk().c("c021 01 01 0004").c("c021 01 01 0004").s("c021 02 01 0004").wantStates(t, "LCP",
			"c Conf-Req 1 req-sent", "c Conf-Req 1 req-sent", "s Conf-Ack 1 ack-sent")
	})
	// RFC 1661 §4.1: in Opened, RCR+ is tld,scr,sca/8.
	t.Run("the last acknowledgement was lost, and a peer that begins again", func(t *testing.T) {
		newTalk().lcp().c("c021 01 01 000a 0506 11111111").s("c021 01 02 0004").s("c021 02 01 000a 0506 11111111").c("c021 02 02 0004").
			wantStates(t, "LCP",
				"c Conf-Req 1 req-sent", "s Conf-Req 1 req-sent", "c Conf-Ack 1 ack-sent", "s Conf-Ack 1 opened",
				"c Conf-Req 1 ack-sent", "s Conf-Req 2 req-sent", "s Conf-Ack 1 ack-sent", "c Conf-Ack 2 opened")
	})
	t.Run("the last acknowledgement was lost, and a peer that repeats it", func(t *testing.T) {
		x := newTalk().lcp().c("c021 01 01 000a 0506 11111111").s("c021 02 01 000a 0506 11111111")
		x.wantStates(t, "LCP",
			"c Conf-Req 1 req-sent", "s Conf-Req 1 req-sent", "c Conf-Ack 1 ack-sent", "s Conf-Ack 1 opened",
			"c Conf-Req 1 ack-sent", "s Conf-Ack 1 opened")
		if out := x.print(t, nil); strings.Count(out, "retransmitted") != 2 {
			t.Errorf("not two are marked as retransmitted:\n%s", out)
		}
		// And one that then asks for its own again all the same.
		x.s("c021 01 02 0004").c("c021 02 02 0004").wantStates(t, "LCP",
			"c Conf-Req 1 req-sent", "s Conf-Req 1 req-sent", "c Conf-Ack 1 ack-sent", "s Conf-Ack 1 opened",
			"c Conf-Req 1 ack-sent", "s Conf-Ack 1 opened", "s Conf-Req 2 ack-sent", "c Conf-Ack 2 opened")
	})
}

func TestRenegotiation(t *testing.T) {
	ipcp := func(x talk) talk {
		return x.c("8021 01 01 000a 0306 0a4d0002").s("8021 01 01 000a 0306 0a4d0001").
			c("8021 02 01 000a 0306 0a4d0001").s("8021 02 01 000a 0306 0a4d0002")
	}
	x := ipcp(newTalk().lcp())
	x.c("c021 01 05 000a 0506 33333333").s("c021 01 06 000a 0506 44444444").s("c021 02 05 000a 0506 33333333").c("c021 02 06 000a 0506 44444444")
	// What was below went down, so IPCP begins again.
	ipcp(x).wantStates(t, "IPCP",
		"c Conf-Req 1 req-sent", "s Conf-Req 1 req-sent", "c Conf-Ack 1 ack-sent", "s Conf-Ack 1 10.77.0.2",
		"c Conf-Req 1 req-sent", "s Conf-Req 1 req-sent", "c Conf-Ack 1 ack-sent", "s Conf-Ack 1 10.77.0.2")
	x.wantStates(t, "LCP",
		"c Conf-Req 1 req-sent", "s Conf-Req 1 req-sent", "c Conf-Ack 1 ack-sent", "s Conf-Ack 1 opened",
		"c Conf-Req 5 req-sent", "s Conf-Req 6 req-sent", "s Conf-Ack 5 ack-sent", "c Conf-Ack 6 opened")
	if out := x.print(t, nil); !strings.Contains(out, "opened, 10.77.0.1 and 10.77.0.2\n") {
		t.Errorf("the addresses are not told:\n%s", out)
	}
}

func TestTermination(t *testing.T) {
	t.Run("asked and acknowledged", func(t *testing.T) {
		newTalk().lcp().c("c021 05 02 0008 62796521").s("c021 06 02 0004").wantStates(t, "LCP",
			"c Conf-Req 1 req-sent", "s Conf-Req 1 req-sent", "c Conf-Ack 1 ack-sent", "s Conf-Ack 1 opened",
			"c Term-Req 2 closing", "s Term-Ack 2 closed")
	})
	t.Run("both at a time", func(t *testing.T) {
		newTalk().lcp().c("c021 05 02 0004").s("c021 05 02 0004").s("c021 06 02 0004").c("c021 06 02 0004").wantStates(t, "LCP",
			"c Conf-Req 1 req-sent", "s Conf-Req 1 req-sent", "c Conf-Ack 1 ack-sent", "s Conf-Ack 1 opened",
			"c Term-Req 2 closing", "s Term-Req 2 stopping", "s Term-Ack 2 closed", "c Term-Ack 2 stopped")
	})
	t.Run("asked again, under another identifier", func(t *testing.T) {
		out := newTalk().lcp().c("c021 05 02 0004").c("c021 05 03 0004").print(t, nil)
		if !strings.Contains(out, "LCP Term-Req 3 retransmitted") || strings.Contains(out, "Term-Req 2 retransmitted") {
			t.Errorf("it prints\n%s", out)
		}
	})
	t.Run("and begun again", func(t *testing.T) {
		newTalk().lcp().c("c021 05 02 0004").s("c021 06 02 0004").c("c021 01 03 0004").s("c021 01 02 0004").c("c021 02 02 0004").s("c021 02 03 0004").wantStates(t, "LCP",
			"c Conf-Req 1 req-sent", "s Conf-Req 1 req-sent", "c Conf-Ack 1 ack-sent", "s Conf-Ack 1 opened",
			"c Term-Req 2 closing", "s Term-Ack 2 closed",
			"c Conf-Req 3 req-sent", "s Conf-Req 2 req-sent", "c Conf-Ack 2 ack-sent", "s Conf-Ack 3 opened")
	})
}

// frame is a packet of a protocol in hexadecimal digits, its Length counted.
func frame(protocol string, code, id int, data string) string {
	n := len(strings.Join(strings.Fields(data), "")) / 2
	return fmt.Sprintf("%s %02x %02x %04x %s", protocol, code, id, 4+n, data)
}

func hexed(s string) string { return hex.EncodeToString([]byte(s)) }

// said is what is printed of a frame of the server's, from the message on, with
// each run of blanks as one.
func said(t testing.TB, frame string) string {
	t.Helper()
	out := newTalk().s(frame).print(t, nil)
	_, out, _ = strings.Cut(out, "1/2")
	out = strings.Join(strings.Fields(out), " ")
	out, _, _ = strings.Cut(out, " 1 PPP message")
	return out
}

func TestPPPInWords(t *testing.T) {
	for _, c := range []struct{ frame, want string }{
		{frame("ff03 c021", 1, 1, "0104 05dc 0206 00000000 0305 c22305 0506 12345678 0702 0802"),
			"LCP Conf-Req 1 MRU 1500, ACCM 0, auth CHAP-MD5, magic, PFC, ACFC req-sent"},
		{frame("c021", 1, 1, "0206 000a0000 0304 c227 0408 c025 00000064 0d03 06 1104 05dc 1202 1309 03 020304050607 1704 0007"),
			"LCP Conf-Req 1 ACCM 000a0000, auth EAP, quality LQR, callback, MRRU 1500, short sequence numbers, endpoint discriminator, link discriminator 7 req-sent"},
		{frame("c021", 3, 1, "0305 c22380 0305 c22381 0304 c023 0305 c22307 0304 c229"),
			"LCP Conf-Nak 1 auth MS-CHAP, auth MS-CHAPv2, auth PAP, auth CHAP algorithm 7, auth protocol 0xc229 req-sent"},
		{frame("c021", 4, 1, "0103 05 0204 0000 0503 01 0703 01 0302 c803 01"),
			"LCP Conf-Rej 1 MRU of 1 octet, ACCM of 2 octets, magic of 1 octet, PFC of 1 octet, auth of 0 octets, option 200 req-sent"},
		{frame("8021", 1, 2, "0306 00000000 8106 08080808 8306 00000000 8206 01010101 0206 002d 0f01 0204 0061 010a 0a000001 0a000002"),
			"IPCP Conf-Req 2 address 0.0.0.0, DNS1 8.8.8.8, DNS2 0.0.0.0, NBNS1 1.1.1.1, compression Van Jacobson, compression protocol 0x0061, addresses req-sent"},
		{frame("8057", 1, 3, "010a 0123456789abcdef 0204 004f"), "IPV6CP Conf-Req 3 ::123:4567:89ab:cdef, compression protocol 0x004f req-sent"},
		{frame("80fd", 1, 4, "1206 01000060 1206 010000e1 1106 0001 0104 1503 2f 1804 7800 1a04 7800 0003 00"),
			"CCP Conf-Req 4 MPPE 40 bit 128 bit stateless, MPPE 40 bit 56 bit 128 bit stateless MPPC, Stac LZS, BSD compress, Deflate, Deflate, proprietary req-sent"},
		{frame("80fd", 14, 4, ""), "CCP Reset-Req 4"},
		{frame("8281", 1, 5, ""), "MPLSCP Conf-Req 5 req-sent"},
		{frame("80cf", 1, 5, ""), "protocol 0x80cf Conf-Req 5 req-sent"},
		{frame("c021", 5, 6, hexed("User request")), `LCP Term-Req 6 "User request" closing`},
		{frame("c021", 7, 7, "0c"), "LCP Code-Rej 7 Identification"},
		{frame("c021", 8, 8, "80fd 0101"), "LCP Protocol-Rej 8 CCP"},
		{frame("c021", 9, 9, "00000000"), "LCP Echo-Req 9"},
		{frame("c021", 12, 10, "00000000"+hexed("MSRASV5.20\n")), `LCP Identification 10 "MSRASV5.20\n"`},
		{frame("c021", 13, 11, "00000000 0000003c"), "LCP Time-Remaining 11"},
		{frame("c021", 99, 12, ""), "LCP code 99 12"},
		{"c025 0123456789", "LQR 5 octets"},
		{frame("c023", 1, 1, "05"+hexed("alice")+"06"+hexed("s3cret")), `PAP Auth-Req 1 "alice"`},
		{frame("c023", 2, 1, "08"+hexed("Login ok")), `PAP Auth-Ack 1 "Login ok" auth ok`},
		{frame("c023", 2, 1, ""), "PAP Auth-Ack 1 auth ok"},
		{frame("c023", 3, 1, "02"+hexed("no")), `PAP Auth-Nak 1 "no" auth failed`},
		{frame("c023", 9, 1, ""), "PAP code 9"},
		{frame("c223", 1, 1, "10 0123456789abcdef0123456789abcdef"+hexed("lns")), `CHAP Challenge 1 "lns"`},
		{frame("c223", 2, 1, "10 0123456789abcdef0123456789abcdef"+hexed(`DOM\alice`)), `CHAP Response 1 "DOM\\alice"`},
		{frame("c223", 3, 1, ""), "CHAP Success 1 auth ok"},
		{frame("c223", 3, 1, hexed("Welcome S=1")), `CHAP Success 1 "Welcome S=1" auth ok`},
		{frame("c223", 3, 1, hexed("S=0123456789ABCDEF0123456789ABCDEF01234567 M=Welcome")), `CHAP Success 1 "Welcome" auth ok`},
		{frame("c223", 3, 1, hexed("\x00S=0123456789ABCDEF0123456789ABCDEF01234567")), `CHAP Success 1 auth ok`},
		{frame("c223", 4, 1, hexed("Go away")), `CHAP Failure 1 "Go away" auth failed`},
		{frame("c223", 4, 1, hexed("E=691 R=1 C=0123456789ABCDEF0123456789ABCDEF V=3 M=No, no")), `CHAP Failure 1 error 691: authentication failure, "No, no" auth failed`},
		{frame("c223", 4, 1, hexed("E=648 R=0 C=0123456789ABCDEF V=3")), "CHAP Failure 1 error 648: password expired auth failed"},
		{frame("c223", 4, 1, hexed("E=5 R=0 ")), "CHAP Failure 1 error 5 auth failed"},
		{frame("c223", 5, 1, ""), "CHAP code 5"},
		{frame("c227", 1, 1, "01"+hexed("who?")), `EAP Request 1 Identity, "who?"`},
		{frame("c227", 2, 1, "01"+hexed("alice")), `EAP Response 1 Identity, "alice"`},
		{frame("c227", 1, 1, "02"+hexed("hello")), `EAP Request 1 Notification, "hello"`},
		{frame("c227", 2, 1, "03 1a 04"), "EAP Response 1 Nak, wants MSCHAPv2, wants MD5-Challenge"},
		{frame("c227", 2, 1, "03 00"), "EAP Response 1 Nak, wants no other"},
		{frame("c227", 1, 1, "04 10 0123456789abcdef0123456789abcdef"+hexed("lns")), `EAP Request 1 MD5-Challenge, "lns"`},
		{frame("c227", 2, 1, "06"+hexed("s3cret")), "EAP Response 1 GTC"},
		{frame("c227", 2, 1, "0d 80"), "EAP Response 1 TLS"},
		{frame("c227", 2, 1, "fe 00"), "EAP Response 1 type 254"},
		{frame("c227", 1, 1, "1a 01 07 0018 10 0123456789abcdef0123456789abcdef"+hexed("lns")), `EAP Request 1 MSCHAPv2, Challenge, "lns"`},
		{frame("c227", 2, 1, "1a 02 07 001a 10 0123456789abcdef0123456789abcdef"+hexed("alice")), `EAP Response 1 MSCHAPv2, Response, "alice"`},
		{frame("c227", 1, 1, "1a 03 07 0030"+hexed("S=0123456789ABCDEF0123456789ABCDEF01234567 M=OK")), `EAP Request 1 MSCHAPv2, Success, "OK"`},
		{frame("c227", 1, 1, "1a 04 07 0030"+hexed("E=691 R=0 C=0123456789ABCDEF V=3 M=No")), `EAP Request 1 MSCHAPv2, Failure, error 691: authentication failure, "No"`},
		{frame("c227", 2, 1, "1a 03"), "EAP Response 1 MSCHAPv2, Success"},
		{frame("c227", 2, 1, "1a 07"), "EAP Response 1 MSCHAPv2, OpCode 7"},
		{frame("c227", 3, 1, ""), "EAP Success 1 auth ok"},
		{frame("c227", 4, 1, ""), "EAP Failure 1 auth failed"},
		{frame("c227", 5, 1, ""), "EAP code 5"},

		// Malformed, and why.
		{"c021 01 01", "malformed LCP: 2 octets, a packet has 4 or more"},
		{"c021 01 01 0003", "malformed LCP: Length is 3, less than 4"},
		{"c021 01 01 0009 0104 05dc", "malformed LCP: Length is 9, the frame ends after 8"},
		{frame("c021", 1, 1, "0104 05dc 05"), "malformed LCP Conf-Req 1 MRU 1500: an octet after the last option"},
		{frame("c021", 1, 1, "0100"), "malformed LCP Conf-Req 1: option 1 has Length 0, less than 2"},
		{frame("c021", 2, 1, "0105 0578"), "malformed LCP Conf-Ack 1: option 1 has Length 5, the packet ends after 4"},
		{frame("c021", 7, 1, ""), "malformed LCP Code-Rej 1: no packet is rejected"},
		{frame("c021", 8, 1, "80"), "malformed LCP Protocol-Rej 1: no protocol is rejected"},
		{frame("c021", 12, 1, "0000"), "malformed LCP Identification 1: no Magic-Number"},
		{frame("c023", 1, 1, "06"+hexed("alice")), "malformed PAP Auth-Req 1: Peer-ID goes past the end"},
		{frame("c023", 1, 1, "05"+hexed("alice")+"07"+hexed("s3cret")), `malformed PAP Auth-Req 1 "alice": Password goes past the end`},
		{frame("c223", 1, 1, "00"+hexed("lns")), "malformed CHAP Challenge 1: Value is empty or goes past the end"},
		{frame("c223", 2, 1, "10 01"), "malformed CHAP Response 1: Value is empty or goes past the end"},
		{frame("c227", 1, 1, ""), "malformed EAP Request 1: no Type"},
		{frame("c227", 1, 1, "04 00"), "malformed EAP Request 1 MD5-Challenge: Value is empty or goes past the end"},
		{frame("c227", 1, 1, "1a"), "malformed EAP Request 1 MSCHAPv2: no OpCode"},
		{frame("c227", 1, 1, "1a 01 07 0006 10 01"), "malformed EAP Request 1 MSCHAPv2, Challenge: Value is empty or goes past the end"},
	} {
		if got := said(t, c.frame); got != c.want {
			t.Errorf("%s is in words\n%s\nwant\n%s", c.frame, got, c.want)
		}
	}
}

func TestNoSecretIsShown(t *testing.T) {
	const password, value = "s3cret", "0123456789abcdef0123456789abcdef01234567"
	for _, f := range []string{
		frame("c023", 1, 1, "05"+hexed("alice")+"06"+hexed(password)),
		frame("c023", 1, 1, "05"+hexed("alice")+"07"+hexed(password)), // malformed
		frame("c023", 7, 1, "05"+hexed("alice")+"06"+hexed(password)),
		frame("c223", 2, 1, "14"+value+hexed("alice")),
		frame("c223", 3, 1, hexed("S="+value+" M=OK")),
		frame("c223", 3, 1, hexed("S="+strings.ToUpper(value))),
		frame("c223", 4, 1, hexed("E=691 R=1 C="+value+" V=3 M=No")),
		frame("c227", 2, 1, "04 14"+value+hexed("alice")),
		frame("c227", 2, 1, "06"+hexed(password)),
		frame("c227", 2, 1, "05"+hexed(password)),
		frame("c227", 2, 1, "1a 02 07 001d 14"+value+hexed("alice")),
		frame("c227", 1, 1, "1a 03 07 0030"+hexed("S="+strings.ToUpper(value)+" M=OK")),
		"c02b" + hexed(password),
	} {
		out := newTalk().s(f).print(t, nil)
		if low := strings.ToLower(out); strings.Contains(low, password) || strings.Contains(low, value[:16]) {
			t.Errorf("it prints\n%s", out)
		}
	}
}

// "Because the Authenticate-Ack might be lost", the same request comes again
// with another identifier (RFC 1334 §2.2.1); after an answer it is another.
func TestPAPAgain(t *testing.T) {
	request := func(id int, password string) string {
		return frame("c023", 1, id, "05"+hexed("alice")+fmt.Sprintf("%02x", len(password))+hexed(password))
	}
	newTalk().c(request(1, "wrong")).c(request(2, "wrong")).s(frame("c023", 3, 2, "")).c(request(3, "wrong")).c(request(4, "s3cret")).
		want(t, `
A is 192.0.2.1:1701, B is 192.0.2.2:1701
  0.000 A > B 11/12       PAP Auth-Req 1 "alice"
  1.000 A > B 11/12       PAP Auth-Req 2 "alice", retransmitted
  2.000 B > A 1/2         PAP Auth-Nak 2                             auth failed
  3.000 A > B 11/12       PAP Auth-Req 3 "alice"
  4.000 A > B 11/12       PAP Auth-Req 4 "alice"
5 PPP messages; 1 retransmission
`)
}

func TestDataIsCountedOnly(t *testing.T) {
	newTalk().lcp().
		c("ff03 0021 45000014").c("21 45000014").c("0021 45").s("0057 60").s("fd 1234").c("ff03 00fd 1234").
		want(t, `
A is 192.0.2.1:1701, B is 192.0.2.2:1701
  0.000 A > B 11/12       LCP Conf-Req 1 magic                          req-sent
  1.000 B > A 1/2         LCP Conf-Req 1 magic                          req-sent
  2.000 A > B 11/12       LCP Conf-Ack 1                                ack-sent
  3.000 B > A 1/2         LCP Conf-Ack 1                                  opened
4 PPP messages
not shown: 6 data packets (14 octets)
`)
}
