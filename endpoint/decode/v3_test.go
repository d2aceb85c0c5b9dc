package decode

import (
	"encoding/binary"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/capture"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

// What is found of the recorded pseudowires is what their ends had been told, without any
// parameter given; whose port is not 1701, too.
func TestRecordedPseudowires(t *testing.T) {
	var all strings.Builder
	var last string
	for _, w := range capture.V3() {
		if w.Capture == last {
			continue
		}
		last = w.Capture
		got := printed(t, recorded(t, w.Capture))
		for line := range strings.Lines(got) {
			if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > columns {
				t.Errorf("%d columns: %s", n, line)
			}
		}
		all.WriteString(filepath.Base(w.Capture) + "\n" + got + "\n")
	}
	golden := filepath.Join("testdata", "v3.txt")
	if *update {
		if err := os.WriteFile(golden, []byte(all.String()), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if all.String() != string(want) {
		t.Errorf("decoded\n%s\nwant\n%s", &all, want)
	}
}

// avp is an AVP with the M bit, of the IETF or of another vendor.
func avp(vendor uint16, attribute wire.AVPType, value string) []byte {
	v := unhex(value)
	b := binary.BigEndian.AppendUint16(nil, 0x8000|uint16(6+len(v)))
	b = binary.BigEndian.AppendUint16(b, vendor)
	b = binary.BigEndian.AppendUint16(b, uint16(attribute))
	return append(b, v...)
}

// v3 adds a control message of L2TPv3; no AVPs: a ZLB, which acknowledges what is before ns.
func (t *tape) v3(from, to netip.AddrPort, connection uint32, ns uint16, avps ...[]byte) *tape {
	return t.udp(from, to, controlV3(connection, ns, avps...))
}

func controlV3(connection uint32, ns uint16, avps ...[]byte) []byte {
	if avps == nil {
		return wire.AppendV3ControlHeader(nil, connection, 0, ns)
	}
	b := append(wire.AppendV3ControlHeader(nil, connection, ns, 0), slices.Concat(avps...)...)
	wire.SetLength(b)
	return b
}

// data adds a data message of L2TPv3, of hexadecimal digits behind its Session ID.
func (t *tape) data(from, to netip.AddrPort, session uint32, rest string) *tape {
	b := make([]byte, wire.V3DataHeaderLen)
	wire.PutV3DataHeader(b, session, nil, false, 0, false)
	return t.udp(from, to, append(b, unhex(rest)...))
}

// What is certain to be found.
const (
	arp     = "ffffffffffff 525400000009 0806 0001 0800 06 04 0001 525400000009 c0a84d02 000000000000 c0a84d01"
	ip4     = "4500 0014 0000 0000 4011 5f85 c0a84d01 c0a84d02"
	ip4Wire = "525400000001 525400000009 0800 " + ip4
)

func TestControlV3(t *testing.T) {
	sccrq3 := [][]byte{
		avp(0, 0, "0001"), avp(0, 59, "00"+strings.Repeat("11", 16)), avp(0, 7, hexed("lcce-a")), avp(0, 8, hexed("a vendor")),
		avp(0, 60, "0a000001"), avp(0, 61, "deadbeef"), avp(0, 62, "0004 0005 0007 0099"), avp(0, 73, strings.Repeat("22", 16)), avp(0, 10, "0010"),
	}
	newTape().
		v3(lac, lns, 0, 0, sccrq3...).
		v3(lac, lns, 0, 0, sccrq3...).
		v3(lns, lac, 0xdeadbeef, 0, avp(0, 0, "0002"), avp(0, 7, hexed("lcce-b")), avp(0, 60, "0a000002"), avp(0, 61, "00000011"), avp(0, 62, "0005")).
		v3(lac, lns, 0x11, 1, avp(0, 0, "0003")).
		v3(lns, lac, 0xdeadbeef, 2).
		v3(lac, lns, 0x11, 2, avp(0, 0, "000a"), avp(0, 63, "00000005"), avp(0, 64, "00000000"), avp(0, 15, "00000007"), avp(0, 68, "0005"),
			avp(0, 66, "616263"), avp(0, 65, "1122334455667788"), avp(0, 69, "0001"), avp(0, 70, "0002"), avp(0, 71, "0003"), avp(0, 91, "05aa")).
		v3(lns, lac, 0xdeadbeef, 1, avp(0, 0, "000b"), avp(0, 63, "00000006"), avp(0, 64, "00000005"), avp(0, 71, "0024")).
		v3(lac, lns, 0x11, 3, avp(0, 0, "000c"), avp(0, 63, "00000005"), avp(0, 64, "00000006")).
		v3(lns, lac, 0xdeadbeef, 0, avp(0, 0, "0014"), avp(0, 59, "01")).
		v3(lac, lns, 0x11, 4, avp(0, 0, "0010"), avp(0, 63, "00000005"), avp(0, 64, "00000006"), avp(0, 71, "0041")).
		v3(lns, lac, 0xdeadbeef, 2, avp(0, 0, "000e"), avp(0, 1, "000d"), avp(0, 63, "00000006"), avp(0, 64, "00000005")).
		v3(lac, lns, 0x11, 5, avp(0, 0, "0004"), avp(0, 1, "0002 0008"+hexed("so what")), avp(0, 61, "deadbeef")).
		want(t, `
A is 192.0.2.1:1701, B is 192.0.2.2:1701
  0.000 A > B 0x00000000  SCCRQ "lcce-a", "a vendor", router 10.0.0.1,
                          connection 0xdeadbeef,
                          pseudowires VLAN/Ethernet/PPP/type 153, window 16,
                          nonce, digest                           wait-ctl-reply
  1.000 A > B 0x00000000  SCCRQ "lcce-a", "a vendor", router 10.0.0.1,
                          connection 0xdeadbeef,
                          pseudowires VLAN/Ethernet/PPP/type 153, window 16,
                          nonce, digest, retransmitted
  2.000 B > A 0xdeadbeef  SCCRP "lcce-b", router 10.0.0.2,
                          connection 0x00000011,
                          pseudowires Ethernet                     wait-ctl-conn
  3.000 A > B 0x00000011  SCCCN                               tunnel established
  4.000 B > A 0xdeadbeef  ZLB acknowledges SCCCN
  5.000 A > B 0x00000011  ICRQ session 0x00000005, serial 7, Ethernet,
                          remote end "abc", cookie of 8 octets,
                          sublayer default, sequencing of all, circuit up,
                          MTU 1450                                    wait-reply
  6.000 B > A 0xdeadbeef  ICRP session 0x00000006, remote session 0x00000005,
                          circuit down, receive fault,
                          PSN transmit fault                        wait-connect
  7.000 A > B 0x00000011  ICCN session 0x00000005,
                          remote session 0x00000006          session established
  8.000 B > A 0xdeadbeef  ACK Nr 0
  9.000 A > B 0x00000011  SLI session 0x00000005, remote session 0x00000006,
                          circuit up, standby
 10.000 B > A 0xdeadbeef  CDN result 13: session lost to a tie breaker,
                          session 0x00000006,
                          remote session 0x00000005                 session idle
 11.000 A > B 0x00000011  StopCCN connection 0xdeadbeef,
                          result 2: general error,
                          error 8: unknown AVP with the M bit set,
                          "so what"                                  tunnel idle
10 control messages, 1 ZLB, 1 ACK; 1 retransmission
`)
}

// saidV3 is a control message from the AVPs in words.
func saidV3(t *testing.T, avps ...[]byte) string {
	t.Helper()
	out := newTape().v3(lac, lns, 1, 0, avps...).print(t, nil)
	_, line, _ := strings.Cut(out, " 0x00000001  ")
	line, _, _ = strings.Cut(line, "\n1 control message")
	return strings.Join(strings.Fields(line), " ")
}

func TestControlV3InWords(t *testing.T) {
	hello, session := avp(0, 0, "0006"), slices.Concat(avp(0, 0, "0010"), avp(0, 63, "00000005"), avp(0, 64, "00000000"))
	sccrq := slices.Concat(avp(0, 0, "0001"), avp(0, 7, hexed("a\nb")), avp(0, 61, "00000009"), avp(0, 62, strings.Repeat("0005", 9)))
	hidden := avp(0, 71, "11111111111111111111")
	hidden[0] |= 0x40
	reserved := avp(0, 60, "7f000001")
	reserved[0] |= 0x3c
	optional := func(a []byte) []byte { a[0] &^= 0x80; return a }
	for _, c := range []struct {
		want string
		avps [][]byte
	}{
		{"HELLO", [][]byte{hello}},
		{"FSQ Tunnel Recovery", [][]byte{avp(0, 0, "0015"), avp(0, 77, "0000")}},
		{"message 99 unknown, AVP 4711, AVP 1 of vendor 43 (3Com)", [][]byte{avp(0, 0, "0063"), avp(0, 4711, ""), avp(43, 1, "00")}},
		{"HELLO Failover Capability, AVP 1 of vendor 43 (3Com)", [][]byte{hello, optional(avp(0, 76, "")), optional(avp(43, 1, "00"))}},
		{"malformed HELLO: unknown AVP 4711 with the M bit set", [][]byte{hello, avp(0, 4711, "")}},
		{"SLI session 0x00000005, Circuit Status hidden", [][]byte{session, hidden}},
		// Reserved bits are "ignored upon receipt" (RFC 3931 §5.1).
		{`SCCRQ "a\nb", router 127.0.0.1, connection 0x00000009, pseudowires Ethernet/Ethernet/Ethernet/Ethernet/Ethernet/Ethernet/Ethernet/Ethernet/1 more wait-ctl-reply`,
			[][]byte{sccrq, reserved}},
		{"SLI session 0x00000005, circuit down, PSN receive fault", [][]byte{session, avp(9, 8, "0010")}}, // Cisco's, of a draft
		{"ICCN session 0x00000005, sublayer 9, sequencing 7, 1000000000 bit/s session established",
			[][]byte{avp(0, 0, "000c"), session[8:], avp(0, 69, "0009"), avp(0, 70, "0007"), avp(0, 74, "000000003b9aca00")}},
		{`malformed SCCRQ "a\nb", connection 0x00000009, pseudowires Ethernet/Ethernet/Ethernet/Ethernet/Ethernet/Ethernet/Ethernet/Ethernet/1 more: Router ID: 3 octets, expected 4 wait-ctl-reply`,
			[][]byte{sccrq, avp(0, 60, "010203")}},
		{"malformed SLI session 0x00000005: Circuit Status: 1 octets, expected 2", [][]byte{session, avp(0, 71, "00")}},
		{"malformed CDN: Result Code is missing session idle", [][]byte{avp(0, 0, "000e")}},
		{"malformed HELLO: 3 octets after the last AVP", [][]byte{hello, unhex("010203")}},
		{"malformed control message: Message Type: 0 octets, expected 2", [][]byte{avp(0, 0, "")}},
	} {
		if got := saidV3(t, c.avps...); got != c.want {
			t.Errorf("it is in words\n%s\nwant\n%s", got, c.want)
		}
	}
}

// Neither a cookie's value nor a digest's nor a nonce's is shown.
func TestNoCookieIsShown(t *testing.T) {
	const value = "c0ffee00c0ffee11"
	out := newTape().
		v3(lac, lns, 0, 0, avp(0, 0, "000a"), avp(0, 65, value), avp(0, 73, value+value), avp(0, 59, "00"+value+value)).
		data(lac, lns, 7, value+ip4Wire).data(lac, lns, 7, value+arp).
		print(t, nil)
	if strings.Contains(out, "c0ffee") || !strings.Contains(out, "cookie of 8 octets, no sublayer") {
		t.Errorf("it prints\n%s", out)
	}
}

func TestDataV3(t *testing.T) {
	const lcp = "ff03 c021 01 01 0004"
	for _, c := range []struct {
		want string // of the words, without how many packets there are
		rest []string
	}{
		{"Ethernet, no cookie, no sublayer", []string{ip4Wire}},
		{"Ethernet, no cookie, no sublayer", []string{ip4Wire + strings.Repeat("00", 26)}}, // padded
		{"Ethernet, no cookie, no sublayer", []string{arp, "0180c2000000 525400000009 0026 424203", arp}},
		{"Ethernet with VLAN tags, no cookie, no sublayer", []string{strings.Replace(ip4Wire, " 0800", " 8100 0064 0800", 1)}},
		{"Ethernet with VLAN tags, cookie of 4 octets, no sublayer", []string{"01020304" + strings.Replace(arp, " 0806", " 8100 0064 0806", 1), "01020304" + strings.Replace(ip4Wire, " 0800", " 88a8 0064 0800", 1)}},
		{"PPP, no cookie, no sublayer", []string{lcp, "ff03 0021" + ip4}},
		{"PPP, cookie of 8 octets, sublayer without numbers", []string{"0102030405060708 00000000" + lcp, "0102030405060708 00000000 ff03 0021" + ip4}},
		{"IP, cookie of 4 octets, no sublayer", []string{"01020304" + ip4, "01020304" + ip4}},
		{"IP, no cookie, no sublayer", []string{"60000000 0001 11 40" + strings.Repeat("00", 33)}},
		{"Ethernet, no cookie, sublayer with numbers", []string{"40000000" + arp, "40000001" + arp, "40000002" + arp}},
		{"Ethernet, no cookie, sublayer with numbers, 2 missing, 1 late or twice", []string{"40fffffe" + arp, "40000001" + arp, "40000000" + arp}},
		{"Ethernet, cookie of 4 octets, sublayer with numbers", []string{"01020304 40000000" + arp, "01020304 40000001" + arp}},
		{"Ethernet, cookie of 8 octets, counter", []string{"0102030405060708 00000001" + arp, "0102030405060708 00000002" + arp, "0102030405060708 00000003" + arp}},
		// A cookie may begin as a number does.
		{"Ethernet, cookie of 4 octets, no sublayer", []string{"40000001" + arp, "40000001" + arp}},
		// What one packet cannot tell is not said.
		{"Ethernet, 4 octets of cookie and sublayer", []string{"01020304" + arp}},
		{"Ethernet, 8 octets of cookie and sublayer", []string{"0102030405060708" + arp}},
		{"Ethernet, 12 octets of cookie and sublayer", []string{"01020304050607080910111213" + arp[2:]}},
		{"Ethernet, no cookie, sublayer without numbers", []string{"00000000" + arp}},
		{"of frames that are not recognized", []string{"01020304"}},
		{"of frames that are not recognized", []string{arp, "01", "0203"}},
		{"of frames that are not recognized", []string{strings.Replace(ip4Wire, "5f85", "5f86", 1)}}, // checksum
		{"of frames that are not recognized", []string{ip4Wire + strings.Repeat("00", 60)}},
	} {
		tape := newTape()
		for _, rest := range c.rest {
			tape.data(lac, lns, 7, rest)
		}
		_, got, _ := strings.Cut(tape.print(t, nil), "0x00000007  data ")
		got, _, _ = strings.Cut(got, " packet")
		got = strings.Join(strings.Fields(got), " ")
		if got = got[:strings.LastIndex(got, ",")]; got != c.want {
			t.Errorf("%q is in words\n%s\nwant\n%s", c.rest, got, c.want)
		}
	}
}

// On a port that nobody has named, L2TPv3 is what has its header and a frame that is
// certain; then it is all that the session has.
func TestDataOnOtherPorts(t *testing.T) {
	a, b := netip.MustParseAddrPort("192.0.2.1:5001"), netip.MustParseAddrPort("192.0.2.2:5002")
	newTape().
		data(a, b, 7, "01020304").
		data(a, b, 7, "01020304 40000000"+arp).
		data(a, b, 7, "01020304").
		data(a, b, 7, "01020304 40000001"+arp).
		data(b, a, 0, arp).
		udp(a, b, unhex("0003 0001 00000008"+arp)).
		udp(a, b, unhex("c803 000c 00000000 00000000")).
		data(lac, lns, 0, arp).
		udp(lac, lns, unhex("0003 0000 0000")).
		udp(lac, lns, unhex("c803 000d 00000000 00000000")).
		want(t, `
A is 192.0.2.1:1701, B is 192.0.2.2:1701
  7.000 A > B 0x00000000  malformed L2TPv3: a data message with Session ID 0
  8.000 A > B 0x00000000  malformed L2TPv3: the datagram ends within its header
  9.000 A > B 0x00000000  malformed L2TPv3:
                          Length is smaller than the header or larger than the
                          datagram
C is 192.0.2.1:5001, D is 192.0.2.2:5002
  1.000 C > D 0x00000007  data Ethernet, cookie of 4 octets,
                          sublayer with numbers,
                          3 packets (104 octets) in 2.000 s
3 L2TPv3 data packets; 3 malformed
not shown: 4 other packets
`)
}

// Over IP the Session ID comes first, and is 0 before a control message (RFC 3931 §4.1.1).
func TestOverIP(t *testing.T) {
	over := func(tape *tape, payload []byte) *tape {
		packet := ipv4(lac, lns, payload)
		packet = append(packet[:20], packet[28:]...) // no UDP
		binary.BigEndian.PutUint16(packet[2:], uint16(len(packet)))
		packet[9] = 115
		return tape.packet(packet)
	}
	tape := newTape()
	over(tape, append(unhex("00000000"), controlV3(0, 0, avp(0, 0, "0001"), avp(0, 7, hexed("a")), avp(0, 60, "00000000"), avp(0, 61, "00000005"), avp(0, 62, "0005"))...))
	over(tape, unhex("00000007"+arp))
	over(tape, unhex("000000"))
	over(tape, unhex("00000000 0003"))
	six := unhex("60000000 0000 73 40 20010db8000000000000000000000001 20010db8000000000000000000000002 00000009" + arp)
	binary.BigEndian.PutUint16(six[4:], uint16(len(six)-40))
	tape.packet(six).packet(six[:50]).want(t, `
A is 192.0.2.1, B is 192.0.2.2
  0.000 A > B 0x00000000  SCCRQ "a", router 0.0.0.0, connection 0x00000005,
                          pseudowires Ethernet                    wait-ctl-reply
  2.000 A > B 0x00000000  malformed L2TPv3:
                          the packet ends within its Session ID
  3.000 A > B 0x00000000  malformed L2TPv3:
                          a control message's header needs the L and S bits
  1.000 A > B 0x00000007  data Ethernet, no cookie, no sublayer,
                          1 packet (42 octets)
C is 2001:db8::1, D is 2001:db8::2
  4.000 C > D 0x00000009  data Ethernet, no cookie, no sublayer,
                          2 packets (84 octets) in 1.000 s
1 control message, 3 L2TPv3 data packets; 2 malformed
`)
}

// A capture that has cut its packets says so, and what is left of them is enough.
func TestDataThatIsCut(t *testing.T) {
	whole := strings.Replace(ip4Wire, "4500 0014 0000 0000 4011 5f85", "4500 05dc 0000 0000 4011 59bd", 1)
	tape := newTape()
	packet := ipv4(lac, lns, append(unhex("0003 0000 00000007"+whole), make([]byte, 1480)...))
	tape.packet(packet[:28+8+14+20+4]).packet(packet[:28+6]).packet(packet[:28+8+10]).want(t, `
A is 192.0.2.1:1701, B is 192.0.2.2:1701
  1.000 A > B 0x00000000  L2TPv3 cut to 6 of 1522 octets
  0.000 A > B 0x00000007  data Ethernet, no cookie, no sublayer,
                          2 packets (3028 octets) in 2.000 s
2 L2TPv3 data packets; 1 cut by the capture
`)
}

// PPP in a pseudowire is PPP, with its states when it is known which two directions
// belong together.
func TestPPPV3(t *testing.T) {
	a, b := netip.MustParseAddrPort("192.0.2.1:5001"), netip.MustParseAddrPort("192.0.2.2:5002")
	const cookie = "01020304"
	newTape().
		data(a, b, 7, cookie+"ff03 c021 01 01 0008 0104 0578").
		data(b, a, 8, "40000000 ff03 c021 01 01 000a 0506 11223344").
		data(a, b, 7, cookie+"ff03 c021 02 01 000a 0506 11223344").
		data(b, a, 8, "40000001 ff03 c021 02 01 0008 0104 0578").
		data(b, a, 8, "40000002 ff03 c023 01 01 000e 04 61626364 04 31323334").
		data(a, b, 7, cookie+"ff03 0021"+ip4).
		data(a, b, 7, cookie+"ff03 c021 09 02 0003").
		data(a, b, 9, "ff03 c021 01 01 0004").
		want(t, `
A is 192.0.2.1:5001, B is 192.0.2.2:5002
  0.000 A > B 0x00000007  LCP Conf-Req 1 MRU 1400                       req-sent
  1.000 B > A 0x00000008  LCP Conf-Req 1 magic                          req-sent
  2.000 A > B 0x00000007  LCP Conf-Ack 1                                ack-sent
  3.000 B > A 0x00000008  LCP Conf-Ack 1                                  opened
  4.000 B > A 0x00000008  PAP Auth-Req 1 "abcd"
  6.000 A > B 0x00000007  malformed LCP: Length is 3, less than 4
  7.000 A > B 0x00000009  LCP Conf-Req 1                                req-sent
  0.000 A > B 0x00000007  data PPP, cookie of 4 octets, no sublayer,
                          4 packets (74 octets) in 6.000 s
  1.000 B > A 0x00000008  data PPP, no cookie, sublayer with numbers,
                          3 packets (56 octets) in 3.000 s
  7.000 A > B 0x00000009  data PPP, no cookie, no sublayer, 1 packet (8 octets)
7 PPP messages, 8 L2TPv3 data packets; 1 malformed
`)
}

// Which two of several directions belong together cannot be told: neither end is taken to
// have got what was sent in another session.
func TestPPPV3OfSeveralSessions(t *testing.T) {
	newTape().
		data(lac, lns, 7, "ff03 c021 01 01 0004").
		data(lac, lns, 8, "ff03 c021 01 01 0004").
		data(lns, lac, 9, "ff03 c021 01 01 0004").
		data(lns, lac, 9, "ff03 c021 02 01 0004").
		data(lac, lns, 7, "ff03 c021 02 01 0004").
		want(t, `
A is 192.0.2.1:1701, B is 192.0.2.2:1701
  0.000 A > B 0x00000007  LCP Conf-Req 1                                req-sent
  1.000 A > B 0x00000008  LCP Conf-Req 1                                req-sent
  2.000 B > A 0x00000009  LCP Conf-Req 1                                req-sent
  3.000 B > A 0x00000009  LCP Conf-Ack 1                                ack-sent
  4.000 A > B 0x00000007  LCP Conf-Ack 1                                ack-sent
  0.000 A > B 0x00000007  data PPP, no cookie, no sublayer,
                          2 packets (16 octets) in 4.000 s
  1.000 A > B 0x00000008  data PPP, no cookie, no sublayer, 1 packet (8 octets)
  2.000 B > A 0x00000009  data PPP, no cookie, no sublayer,
                          2 packets (16 octets) in 1.000 s
5 PPP messages, 5 L2TPv3 data packets
`)
}

// With the secret digests are checked (RFC 3931 §5.4.1). A message with a wrong one leads
// nowhere: it is to be dropped "before utilizing any information" in it.
func TestDigests(t *testing.T) {
	var (
		secret = []byte("tunsecret")
		nonce  = [2][]byte{unhex(strings.Repeat("a1", 16)), unhex(strings.Repeat("b2", 16))}
		lcce   = func(kind wire.MessageType, id uint32, nonce []byte) *wire.Message {
			return &wire.Message{Type: kind, HostName: "lcce", AssignedTunnelID: id,
				V3: wire.V3{Pseudowires: []uint16{5}, Nonce: nonce, Digests: []wire.DigestType{wire.DigestMD5}}}
		}
		simple = func(kind wire.MessageType) *wire.Message {
			return &wire.Message{Type: kind, V3: wire.V3{Digests: []wire.DigestType{wire.DigestSHA1}}}
		}
		signed = func(secret []byte, connection uint32, ns, nr uint16, m *wire.Message, own, other []byte) []byte {
			b := m.AppendV3(wire.AppendV3ControlHeader(nil, connection, ns, nr))
			wire.SetLength(b)
			wire.Sign(b, own, other, wire.DigestKey(secret))
			return b
		}
	)
	tape := newTape().
		udp(lac, lns, signed(secret, 0, 0, 0, lcce(wire.SCCRQ, 5, nonce[0]), nil, nil)).
		udp(lns, lac, signed([]byte("another"), 5, 0, 1, lcce(wire.SCCRP, 6, nonce[1]), nonce[1], nonce[0])).
		udp(lns, lac, signed(secret, 5, 0, 1, lcce(wire.SCCRP, 6, nonce[1]), nonce[1], nonce[0])).
		udp(lac, lns, signed(secret, 6, 1, 1, simple(wire.SCCCN), nonce[0], nonce[1])).
		udp(lns, lac, signed(secret, 5, 1, 2, simple(wire.ACK), nonce[1], nonce[0])).
		udp(lns, lac, signed(secret, 5, 1, 2, simple(wire.HELLO), nonce[0], nonce[1])).
		v3(lns, lac, 5, 1, avp(0, 0, "0006")).
		udp(lac, lns, signed(secret, 99, 1, 1, simple(wire.HELLO), nonce[0], nonce[1]))
	tape.wantWith(t, &Config{Secret: secret}, `
A is 192.0.2.1:1701, B is 192.0.2.2:1701
  0.000 A > B 0x00000000  SCCRQ "lcce", router 0.0.0.0, connection 0x00000005,
                          pseudowires Ethernet, nonce,
                          right digest                            wait-ctl-reply
  1.000 B > A 0x00000005  SCCRP "lcce", router 0.0.0.0, connection 0x00000006,
                          pseudowires Ethernet, nonce, wrong digest
  2.000 B > A 0x00000005  SCCRP "lcce", router 0.0.0.0, connection 0x00000006,
                          pseudowires Ethernet, nonce,
                          right digest                             wait-ctl-conn
  3.000 A > B 0x00000006  SCCCN right digest                  tunnel established
  4.000 B > A 0x00000005  ACK acknowledges SCCCN, right digest
  5.000 B > A 0x00000005  HELLO wrong digest
  6.000 B > A 0x00000005  HELLO no digest
  7.000 A > B 0x00000063  HELLO digest
7 control messages, 1 ACK; 2 wrong digests
`)
	if out := tape.print(t, nil); strings.Contains(out, "right digest") || strings.Contains(out, "wrong digest") {
		t.Errorf("without a secret it knows\n%s", out)
	}
}

// With the secret hidden AVPs are shown.
func TestHiddenV3(t *testing.T) {
	m := &wire.Message{Type: wire.ICRQ, AssignedSessionID: 5, CallSerialNumber: 1, V3: wire.V3{PseudowireType: 5, RemoteEndID: []byte("end"), CircuitStatus: 1}}
	b := m.AppendHiddenV3(wire.AppendV3ControlHeader(nil, 9, 0, 0), wire.HidingKey([]byte("tunsecret")), strings.NewReader(strings.Repeat("random", 100)))
	wire.SetLength(b)
	tape := newTape().udp(lac, lns, b)
	for secret, want := range map[string]string{
		"tunsecret": `ICRQ session 0x00000005, serial 1, Ethernet, remote end "end", circuit up wait-reply`,
		"":          "ICRQ Local Session ID hidden, Remote Session ID hidden, Call Serial Number hidden, Pseudowire Type hidden, Remote End ID hidden, Circuit Status hidden",
	} {
		_, got, _ := strings.Cut(tape.print(t, &Config{Secret: []byte(secret)}), "0x00000009  ")
		got, _, _ = strings.Cut(got, "\n1 control")
		if got = strings.Join(strings.Fields(got), " "); !strings.HasPrefix(got, want) {
			t.Errorf("with the secret %q it is in words\n%s\nwant\n%s", secret, got, want)
		}
	}
}
