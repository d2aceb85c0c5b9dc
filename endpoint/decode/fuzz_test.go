package decode

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/capture"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/pcapng"
)

// checkOutput checks what must be true of whatever is printed.
func checkOutput(t *testing.T, out string) {
	t.Helper()
	if !utf8.ValidString(out) {
		t.Errorf("no UTF-8: %q", out)
	}
	if i := strings.IndexFunc(out, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }); i >= 0 {
		t.Errorf("%q is in the output, %q", out[i:min(len(out), i+4)], out)
	}
	if out != "" && !strings.HasSuffix(out, "\n") {
		t.Errorf("the last line has no end: %q", out)
	}
}

// Whatever the file is.
func FuzzPrint(f *testing.F) {
	for _, name := range capture.Names() {
		f.Add(recorded(f, name)[:3000])
	}
	for _, w := range capture.V3() {
		f.Add(recorded(f, w.Capture)[:2000])
	}
	f.Add(newTalk().lcp().file)
	f.Fuzz(func(t *testing.T, file []byte) {
		var out bytes.Buffer
		err := Print(&out, bytes.NewReader(file), &Config{Secret: []byte("tunsecret")})
		checkOutput(t, out.String())
		if err == nil && out.Len() == 0 {
			t.Error("no error, and nothing is printed")
		}
	})
}

// Whatever two peers send to one another: datagrams, each with its length in
// front, the highest bit of which says which way it goes.
func FuzzDatagrams(f *testing.F) {
	for _, name := range capture.Names() {
		var seed []byte
		for _, p := range capture.Load(f, name) {
			n := min(len(p.Payload), 255)
			way := byte(0)
			if p.Src.Addr().String() == "10.99.0.2" {
				way = 0x80
			}
			seed = append(append(seed, way, byte(n)), p.Payload[:n]...)
		}
		f.Add(seed[:min(len(seed), 4000)], []byte("tunsecret"))
	}
	for _, w := range capture.V3() {
		var seed []byte
		for _, p := range capture.Load(f, w.Capture)[:10] {
			seed = append(append(seed, 0, byte(len(p.Payload))), p.Payload...)
		}
		f.Add(seed, []byte(nil))
	}
	for _, b := range [][]byte{
		controlV3(0, 0, avp(0, 0, "0001"), avp(0, 61, "00000001"), avp(0, 62, "00040005")),
		controlV3(1, 1, avp(0, 0, "000a"), avp(0, 63, "00000005"), avp(0, 65, "11223344"), avp(9, 8, "0003")),
	} {
		f.Add(append([]byte{0, byte(len(b))}, b...), []byte(nil))
	}
	f.Fuzz(func(t *testing.T, b, secret []byte) {
		file := pcapng.AppendInterface(pcapng.AppendSection(nil, "test"), pcapng.LinkRaw, "eth0")
		datagrams := 0
		for len(b) > 2 {
			from, to := lac, lns
			if b[0]&0x80 != 0 {
				from, to = to, from
			}
			n := min(int(b[1]), len(b)-2)
			packet := ipv4(from, to, b[2:2+n])
			file = pcapng.AppendPacket(file, 0, time.Unix(int64(datagrams), 0), pcapng.Unknown, packet, nil)
			datagrams++
			b = b[2+n:]
		}
		var out bytes.Buffer
		err := Print(&out, bytes.NewReader(file), &Config{Secret: secret})
		checkOutput(t, out.String())
		if err != nil && !errors.Is(err, ErrNothing) {
			t.Error(err)
		}
		for line := range strings.Lines(out.String()) {
			// Lines are within the columns but for words that no line has room for.
			for n := range strings.SplitSeq(strings.TrimSpace(line), " ") {
				if utf8.RuneCountInString(n) > columns-indent {
					return
				}
			}
			if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > columns && strings.HasPrefix(line, "  ") {
				t.Errorf("%d columns: %s", n, line)
			}
		}
	})
}
