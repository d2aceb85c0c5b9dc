package decode

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/capture"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/pcapng"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

var update = flag.Bool("update", false, "write what is decoded to testdata, to be read through")

func recorded(t testing.TB, name string) []byte {
	t.Helper()
	file, err := os.ReadFile("../internal/capture/testdata/" + name + ".pcap")
	if err != nil {
		t.Fatal(err)
	}
	return file
}

func printed(t testing.TB, file []byte) string {
	t.Helper()
	var out bytes.Buffer
	if err := Print(&out, bytes.NewReader(file), nil); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestRecordedExchanges(t *testing.T) {
	for _, name := range capture.Names() {
		t.Run(name, func(t *testing.T) {
			got := printed(t, recorded(t, name))
			golden := filepath.Join("testdata", name+".txt")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o666); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("decoded\n%s\nwant\n%s", got, want)
			}
			for line := range strings.Lines(got) {
				if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > columns {
					t.Errorf("%d columns: %s", n, line)
				}
			}
			// alice's password, and what it is proved by.
			if strings.Contains(got, "s3cret") || regexp.MustCompile(`[0-9A-Fa-f]{16}`).MatchString(got) {
				t.Errorf("a secret is shown in\n%s", got)
			}
		})
	}
}

// tshark is the judge of which messages there are, of whom and when.
func TestTsharkSeesTheSameMessages(t *testing.T) {
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		t.Skipf("SKIPPED: %s; missing: tshark, install with: apt-get install tshark", t.Name())
	}
	for _, name := range capture.Names() {
		t.Run(name, func(t *testing.T) {
			var stderr bytes.Buffer
			cmd := exec.Command(tshark, "-n", "-r", "../internal/capture/testdata/"+name+".pcap", "-T", "fields", "-E", "occurrence=f",
				"-e", "frame.time_relative", "-e", "l2tp.tunnel", "-e", "l2tp.session", "-e", "l2tp.type",
				"-e", "l2tp.avp.message_type", "-e", "ppp.protocol", "-e", "ppp.code", "-e", "ppp.identifier",
				"-e", "pap.code", "-e", "pap.identifier", "-e", "chap.code", "-e", "chap.identifier")
			cmd.Stderr = &stderr
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("tshark: %v: %s", err, &stderr)
			}
			var theirs []string
			for line := range strings.Lines(string(out)) {
				if m := ofTshark(t, strings.Split(strings.TrimSuffix(line, "\n"), "\t")); m != "" {
					theirs = append(theirs, m)
				}
			}
			ours := []string{}
			begin := regexp.MustCompile(`^ *([0-9.]+) . > . (\d+/\d+) +(ZLB|SCC..|StopCCN|HELLO|[IO]C..|CDN|[A-Z0-9]+ [A-Za-z-]+ \d+)`)
			for line := range strings.Lines(printed(t, recorded(t, name))) {
				if m := begin.FindStringSubmatch(line); m != nil {
					ours = append(ours, m[1]+" "+m[2]+" "+strings.TrimSpace(m[3]))
				}
			}
			if !slices.Equal(ours, theirs) {
				for i := range max(len(ours), len(theirs)) {
					a, b := "nothing", "nothing"
					if i < len(ours) {
						a = ours[i]
					}
					if i < len(theirs) {
						b = theirs[i]
					}
					if a != b {
						t.Errorf("message %d is %s, tshark's is %s", i+1, a, b)
					}
				}
			}
		})
	}
}

// ofTshark is a message of tshark's, as we begin ours, or "".
func ofTshark(t *testing.T, f []string) string {
	number := func(s string) uint64 {
		n, err := strconv.ParseUint(s, 0, 32)
		if err != nil {
			t.Fatalf("tshark: %q: %v", f, err)
		}
		return n
	}
	at, err := strconv.ParseFloat(f[0], 64)
	if err != nil {
		t.Fatal(err)
	}
	message := ""
	switch protocol := f[5]; {
	case f[3] == "1" && f[4] == "":
		message = "ZLB"
	case f[3] == "1":
		message = wire.MessageType(number(f[4])).String()
	case protocol == "0xc023":
		message = "PAP " + [...]string{1: "Auth-Req", 2: "Auth-Ack", 3: "Auth-Nak"}[number(f[8])] + " " + strconv.FormatUint(number(f[9]), 10)
	case protocol == "0xc223":
		message = "CHAP " + [...]string{1: "Challenge", 2: "Response", 3: "Success", 4: "Failure"}[number(f[10])] + " " + strconv.FormatUint(number(f[11]), 10)
	case f[6] != "":
		message = protocolName(uint16(number(protocol))) + " " + codeName(uint8(number(f[6]))) + " " + strconv.FormatUint(number(f[7]), 10)
	default:
		return ""
	}
	return fmt.Sprintf("%.3f %s/%s %s", at, f[1], f[2], message)
}

func TestWhatIsNoCaptureOrHasNothing(t *testing.T) {
	other := netip.MustParseAddrPort("192.0.2.3:53")
	whole := newTape().control(lac, lns, 0, 0, 0, sccrq).file
	for _, c := range []struct {
		name string
		file []byte
		want error
		text string
	}{
		{"nothing at all", nil, ErrFormat, "something else"},
		{"a text", []byte("A capture is a file of packets, and this is none."), ErrFormat, "something else"},
		{"no packets", newTape().file, ErrNothing, "found none"},
		{"other packets", newTape().udp(other, other, []byte{1, 2, 3}).packet([]byte{0x45}).file, ErrNothing, "found none in: 2 other packets"},
		{"one that is cut", whole[:len(whole)-5], nil, "ends in the middle of packet 1"},
		{"one that is broken", append(newTape().file, unhex("06000000 05000000")...), nil, "a block of impossible length"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out bytes.Buffer
			err := Print(&out, bytes.NewReader(c.file), nil)
			if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("error %v, want %v: …%s…", err, c.want, c.text)
			}
			if out.Len() > 0 {
				t.Errorf("it prints\n%s", &out)
			}
		})
	}
}

func TestACaptureThatEndsInTheMiddle(t *testing.T) {
	tape := newTape().control(lac, lns, 0, 0, 0, sccrq).control(lns, lac, 1, 0, 0, sccrp)
	tape.file = tape.file[:len(tape.file)-30]
	tape.want(t, `
A is 192.0.2.1:1701, B is 192.0.2.2:1701
  0.000 A > B 0/0         SCCRQ "lac", tunnel 1                   wait-ctl-reply
1 control message
the capture ends in the middle of packet 2
`)
	tape = newTape().control(lac, lns, 0, 0, 0, sccrq)
	tape.file = append(tape.file, unhex("06000000 05000000")...)
	tape.want(t, `
A is 192.0.2.1:1701, B is 192.0.2.2:1701
  0.000 A > B 0/0         SCCRQ "lac", tunnel 1                   wait-ctl-reply
1 control message
the capture is broken at octet 208: a block of impossible length: 5 octets
`)
}

func TestPacketsThatTheCaptureCuts(t *testing.T) {
	tape := newTape()
	cut := func(b []byte, n int) {
		file := pcapng.AppendPacket(nil, 0, tape.now, pcapng.Unknown, b[:n], nil)
		copy(file[24:], []byte{byte(len(b))}) // the packet's own length
		tape.file = append(tape.file, file...)
	}
	cut(ipv4(lac, lns, controlMessage(0, 0, 0, sccrq)), 60) // within Framing Capabilities
	lcp := append(make([]byte, wire.DataHeaderLen), unhex("ff03 c021 01 05 000e 0104 0578 0506 11223344")...)
	wire.PutDataHeader(lcp, 11, 12)
	cut(ipv4(lac, lns, lcp), 44)
	ip := append(make([]byte, wire.DataHeaderLen), unhex("ff03 0021 45000014 00000000 40010000 0a000001 0a000002")...)
	wire.PutDataHeader(ip, 11, 12)
	cut(ipv4(lac, lns, ip), 40)
	tape.want(t, `
A is 192.0.2.1:1701, B is 192.0.2.2:1701
  0.000 A > B 0/0         SCCRQ cut to 32 of 55 octets            wait-ctl-reply
  0.000 A > B 11/12       LCP Conf-Req 5 cut to 16 of 24 octets
1 control message, 1 PPP message; 2 cut by the capture
not shown: 1 data packet (2 octets)
`)
}

func TestWhereL2TPIsLookedFor(t *testing.T) {
	elsewhere := netip.MustParseAddrPort("192.0.2.2:40001")
	client := netip.MustParseAddrPort("192.0.2.1:40000")
	resolver := netip.MustParseAddrPort("192.0.2.53:53")

	t.Run("an answer from another port belongs to a conversation that was seen", func(t *testing.T) {
		newTape().control(client, lns, 0, 0, 0, sccrq).
			control(elsewhere, client, 1, 0, 0, sccrp).
			control(client, elsewhere, 11, 0, 1, scccn).
			ppp(elsewhere, client, 1, 2, "ff03 c021 09 01 0008 00000000").
			ppp(elsewhere, client, 9, 9, "ff03 c021 09 01 0008 00000000"). // of no tunnel that was seen
			udp(resolver, client, []byte{1, 2, 3, 4}).
			want(t, `
A is 192.0.2.1:40000, B is 192.0.2.2:1701
  0.000 A > B 0/0         SCCRQ "lac", tunnel 1                   wait-ctl-reply
C is 192.0.2.2:40001
  1.000 C > A 1/0         SCCRP "lns", tunnel 11                   wait-ctl-conn
  2.000 A > C 11/0        SCCCN                               tunnel established
  3.000 C > A 1/2         LCP Echo-Req 1
3 control messages, 1 PPP message
not shown: 2 other packets
`)
	})
	t.Run("a port that is named", func(t *testing.T) {
		newTape().control(client, elsewhere, 0, 0, 0, sccrq).wantWith(t, &Config{Ports: []uint16{40001}}, `
A is 192.0.2.1:40000, B is 192.0.2.2:40001
  0.000 A > B 0/0         SCCRQ "lac", tunnel 1                   wait-ctl-reply
1 control message
`)
	})
	t.Run("a port that is not", func(t *testing.T) {
		var out bytes.Buffer
		err := Print(&out, bytes.NewReader(newTape().control(client, elsewhere, 0, 0, 0, sccrq).file), nil)
		if !errors.Is(err, ErrNothing) {
			t.Errorf("error %v, want ErrNothing; it prints\n%s", err, &out)
		}
	})
	t.Run("an endpoint's own capture", func(t *testing.T) {
		file := pcapng.AppendSection(nil, pcapng.Application)
		file = pcapng.AppendInterface(file, pcapng.LinkRaw, pcapng.Outer)
		file = pcapng.AppendInterface(file, pcapng.LinkRaw, pcapng.Inner)
		file = pcapng.AppendInterface(file, pcapng.LinkEthernet, pcapng.InnerEthernet)
		file = pcapng.AppendInterface(file, pcapng.LinkPPP, pcapng.InnerPPP)
		tape := &tape{file: file}
		tape.control(client, elsewhere, 0, 0, 0, sccrq)
		nested := ipv4(lac, lns, controlMessage(0, 0, 0, sccrq)) // a tunnel in the tunnel
		tape.file = pcapng.AppendPacket(tape.file, 1, tape.now, pcapng.Outbound, nested, nil)
		tape.file = pcapng.AppendPacket(tape.file, 2, tape.now, pcapng.Outbound, append(unhex("525400000001 525400000009 0800"), nested...), nil)
		tape.file = pcapng.AppendPacket(tape.file, 3, tape.now, pcapng.Outbound, append(unhex("ff03 0021"), nested...), nil)
		tape.want(t, `
A is 192.0.2.1:40000, B is 192.0.2.2:40001
  0.000 A > B 0/0         SCCRQ "lac", tunnel 1                   wait-ctl-reply
1 control message
not shown: 3 inner packets
`)
	})
}

func TestWhatIsPassedOver(t *testing.T) {
	fragment := ipv4(lac, lns, controlMessage(0, 0, 0, sccrq))
	fragment[6] = 0x20 // More Fragments
	tape := newTape().packet(fragment).
		udp(lac, lns, unhex("c804 0014 00000000 0000 0000 8008 0000 0000 0001")).
		udp(lac, lns, unhex("c801")).
		control(lac, lns, 0, 0, 0, sccrq).
		packet(unhex("45"))
	tape.file = pcapng.AppendInterface(tape.file, 127, "wlan0")
	tape.file = pcapng.AppendPacket(tape.file, 1, tape.now, pcapng.Unknown, fragment, nil)
	tape.want(t, `
A is 192.0.2.1:1701, B is 192.0.2.2:1701
  3.000 A > B 0/0         SCCRQ "lac", tunnel 1                   wait-ctl-reply
1 control message
not shown: 2 datagrams of another L2TP version, 1 IP fragment, 1 packet of link type 127, 1 other packet
`)
}
