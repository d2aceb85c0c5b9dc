package integration

import (
	"bytes"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	"github.com/l2tpnet/l2tpnet/integration/guest"
)

// judge asks tshark what it thinks of what we sent, the one or the other: all of it must be L2TP, and nothing malformed.
func (c *capture) judge(t *testing.T, us netip.Addr) {
	t.Helper()
	good, bad := c.verdict(t, us)
	for _, b := range bad[:min(len(bad), 5)] {
		t.Errorf("tshark: expected well-formed L2TP from us, found %s", b)
	}
	if good == 0 || len(bad) > 0 {
		t.Errorf("tshark: expected L2TP packets from us, all well-formed, found %d of them and %d others", good, len(bad))
	}
	t.Logf("tshark found %d well-formed L2TP packets from us", good)
}

// verdict counts the good packets from one side, and describes the bad ones.
func (c *capture) verdict(t *testing.T, from netip.Addr) (good int, bad []string) {
	t.Helper()
	for _, f := range c.fields(t, "ip.src == "+from.String(), "frame.number", "l2tp.version", "_ws.malformed", "_ws.col.Info") {
		if f[1] != "" && f[2] == "" {
			good++
		} else {
			bad = append(bad, "packet "+strings.Join(f, " "))
		}
	}
	return good, bad
}

// fields are those of the packets that tshark's filter lets through, the first of each name, or "".
func (c *capture) fields(t *testing.T, filter string, names ...string) [][]string {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.w.Flush(); err != nil {
		t.Fatal(err)
	}
	return tshark(t, c.file.Name(), names, "-Y", filter)
}

// tshark reads a file, and returns the first field of each name, or "", for each packet.
func tshark(t *testing.T, file string, names []string, options ...string) [][]string {
	t.Helper()
	path, err := exec.LookPath("tshark")
	if err != nil {
		t.Skipf("SKIPPED: %s; missing: tshark, install with: apt-get install tshark", t.Name())
	}
	// What TCP carries is not ours to be judged by, and thinned out as it is here it cannot be put together.
	args := []string{"-n", "-o", "tcp.desegment_tcp_streams:FALSE", "-r", file, "-T", "fields", "-E", "occurrence=f"}
	for _, name := range names {
		args = append(args, "-e", name)
	}
	cmd := exec.Command(path, append(args, options...)...)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("tshark: %v: %s", err, said.String())
	}
	var packets [][]string
	for line := range strings.Lines(string(out)) {
		fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(fields) != len(names) {
			t.Fatalf("tshark: expected %d fields, found %q", len(names), line)
		}
		packets = append(packets, fields)
	}
	return packets
}

// mustBeSealed looks at all packets that have gone either way, those that are not in the file too: at least the blob's, and
// none of them in clear.
func (c *capture) mustBeSealed(t *testing.T) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := c.seen[clear4] + c.seen[clear6]; n > 0 {
		t.Errorf("expected no IP packet in clear, found %d", n)
	}
	if n, least := c.seen[sealed], len(guest.Blob())/1500; n < least {
		t.Errorf("expected at least %d encrypted packets, found %d", least, n)
	}
}

// judgePcap reads what --pcap has written, with both judges: tshark and l2tpnet decode. The server's port tells tshark
// what is L2TP.
func judgePcap(t *testing.T, file string, port uint16) {
	t.Helper()
	found := map[string]int{} // by the interface, of which those inside have the pseudowire's kind in their names
	for _, f := range tshark(t, file, []string{"frame.interface_name", "frame.number", "l2tp.version", "_ws.malformed", "_ws.col.Info"},
		"-d", fmt.Sprintf("udp.port==%d,l2tp", port)) {
		side, _, _ := strings.Cut(f[0], " ")
		found[side]++
		if (f[0] == "outer") != (f[2] != "") || f[3] != "" {
			t.Errorf("--pcap: expected well-formed L2TP outside and IP inside, found %s packet %s", f[0], strings.Join(f[1:], " "))
		}
	}
	if len(found) != 2 || found["outer"] == 0 || found["inner"] == 0 {
		t.Errorf("--pcap: expected packets of the interfaces outer and inner, found %v", found)
	}
	decode := start(t, "decode", file)
	lines := 0
	for line := range decode.lines {
		lines++
		if strings.Contains(line, "malformed") {
			t.Errorf("decode: expected nothing malformed, found %q", line)
		}
	}
	if status := decode.wait(t); status != 0 || lines == 0 {
		t.Errorf("decode: expected success and lines, found status %d, %d lines and on standard error:\n%s", status, lines, decode.stderr.String())
	}
}

// A judge who finds nothing wrong must be able to.
func TestTsharkFindsWhatIsMalformed(t *testing.T) {
	c := newCapture(t)
	stopCCN := []byte{0xc8, 0x02, 0, 38, 0, 1, 0, 0, 0, 0, 0, 0,
		0x80, 8, 0, 0, 0, 0, 0, 4, // Message Type
		0x80, 8, 0, 0, 0, 9, 0, 7, // Assigned Tunnel ID
		0x80, 10, 0, 0, 0, 1, 0, 1, 0, 0} // Result Code
	tooLong := bytes.Clone(stopCCN)
	tooLong[29] = 12 // the Result Code's AVP reaches beyond the message
	from, to := netip.AddrPortFrom(dialler, 40000), netip.AddrPortFrom(answerer, 1701)
	for _, b := range [][]byte{stopCCN, tooLong, []byte("no L2TP at all")} {
		c.write(from, to, b)
	}
	if good, bad := c.verdict(t, dialler); good != 1 || len(bad) != 2 {
		t.Errorf("expected one good packet and two bad ones, found %d and %q", good, bad)
	}
}
