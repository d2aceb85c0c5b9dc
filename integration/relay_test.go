package integration

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/l2tpnet/l2tpnet/integration/guest"
)

// A capture is a pcap file of what went through its relays: a way to see the traffic that needs no privileges.
//
//	client ──► relay ──► server
//	             └─► 192.0.2.1 → 192.0.2.2:1701 in the file
//
// The file shows whoever dials as 192.0.2.1 and whoever answers as port 1701 of 192.0.2.2, whatever ports the relay has.
type capture struct {
	mu   sync.Mutex
	file *os.File
	w    *bufio.Writer
	bulk int        // IP packets in the file since the last control message
	seen [kinds]int // datagrams that went through the relays
}

// maxBulk bounds the IP packets, in clear or not, that are kept after each control message, since one of bulk is like the
// next. Control messages and what PPP negotiates are all kept.
const maxBulk = 200

var (
	dialler  = netip.MustParseAddr("192.0.2.1")
	answerer = netip.MustParseAddr("192.0.2.2")
)

func newCapture(t *testing.T) *capture {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "relay.pcap"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	c := &capture{file: f, w: bufio.NewWriter(f)}
	header := binary.LittleEndian.AppendUint32(nil, 0xa1b2c3d4)
	header = binary.LittleEndian.AppendUint16(header, 2) // version 2.4
	header = binary.LittleEndian.AppendUint16(header, 4)
	header = append(header, make([]byte, 8)...)
	header = binary.LittleEndian.AppendUint32(header, 65535)
	header = binary.LittleEndian.AppendUint32(header, 228) // LINKTYPE_IPV4
	c.w.Write(header)
	return c
}

// write adds a datagram, with the IPv4 and UDP headers that it would have between those addresses.
func (c *capture) write(from, to netip.AddrPort, payload []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := kindOf(payload)
	c.seen[k]++
	switch k {
	case control:
		c.bulk = 0
	case clear4, clear6, sealed:
		if c.bulk++; c.bulk > maxBulk {
			return
		}
	}
	length := 28 + len(payload)
	now := time.Now()
	record := binary.LittleEndian.AppendUint32(nil, uint32(now.Unix()))
	record = binary.LittleEndian.AppendUint32(record, uint32(now.Nanosecond()/1000))
	record = binary.LittleEndian.AppendUint32(record, uint32(length))
	record = binary.LittleEndian.AppendUint32(record, uint32(length))
	record = append(record, 0x45, 0)
	record = binary.BigEndian.AppendUint16(record, uint16(length))
	record = append(record, 0, 0, 0, 0, 64, 17, 0, 0) // no fragment, TTL, UDP, no checksum
	record = append(record, from.Addr().AsSlice()...)
	record = append(record, to.Addr().AsSlice()...)
	record = binary.BigEndian.AppendUint16(record, from.Port())
	record = binary.BigEndian.AppendUint16(record, to.Port())
	record = binary.BigEndian.AppendUint16(record, uint16(8+len(payload)))
	record = append(record, 0, 0)
	c.w.Write(record)
	c.w.Write(payload)
}

type kind int

const (
	other   kind = iota // PPP negotiates, or a message cannot be understood
	control             // with something in it: not an acknowledgement alone
	clear4              // an IPv4 packet
	clear6              // an IPv6 packet
	sealed              // a packet compressed, which with MPPE is encrypted (RFC 3078 §3)
	kinds
)

// kindOf looks into an L2TPv2 datagram (RFC 2661 §3.1) as far as it must.
func kindOf(b []byte) kind {
	if len(b) < 6 {
		return other
	}
	if b[0]&0x80 != 0 {
		if len(b) > 12 {
			return control
		}
		return other
	}
	header := 6
	if b[0]&0x40 != 0 { // Length
		header += 2
	}
	if b[0]&0x08 != 0 { // Ns, Nr
		header += 4
	}
	if b[0]&0x02 != 0 { // Offset Size; nobody here pads
		header += 2
	}
	frame := bytes.TrimPrefix(b[min(header, len(b)):], []byte{0xff, 0x03})
	if len(frame) < 2 {
		return other
	}
	switch binary.BigEndian.Uint16(frame) {
	case 0x0021:
		return clear4
	case 0x0057:
		return clear6
	case 0x00fd:
		return sealed
	}
	return other
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

// relay opens a port on loopback that leads to another one, and returns its address.
func (c *capture) relay(t *testing.T, to netip.AddrPort) string {
	t.Helper()
	front, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { front.Close() })
	go func() {
		backs := map[netip.AddrPort]*net.UDPConn{} // by the client: each gets a port of its own
		defer func() {
			for _, back := range backs {
				back.Close()
			}
		}()
		buf := make([]byte, 65536)
		for {
			n, client, err := front.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			back := backs[client]
			if back == nil {
				if back, err = net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to)); err != nil {
					t.Errorf("relay: %v", err)
					return
				}
				backs[client] = back
				go c.answers(front, back, client)
			}
			c.write(netip.AddrPortFrom(dialler, client.Port()), netip.AddrPortFrom(answerer, 1701), buf[:n])
			back.Write(buf[:n])
		}
	}()
	return front.LocalAddr().String()
}

// answers takes what comes back to one client.
func (c *capture) answers(front, back *net.UDPConn, client netip.AddrPort) {
	buf := make([]byte, 65536)
	for {
		n, err := back.Read(buf)
		if err != nil {
			return
		}
		c.write(netip.AddrPortFrom(answerer, 1701), netip.AddrPortFrom(dialler, client.Port()), buf[:n])
		front.WriteToUDPAddrPort(buf[:n], client)
	}
}

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
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		t.Skipf("SKIPPED: %s; missing: tshark, install with: apt-get install tshark", t.Name())
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.w.Flush(); err != nil {
		t.Fatal(err)
	}
	// What TCP carries is not ours to be judged by, and thinned out as it is here it cannot be put together.
	cmd := exec.Command(tshark, "-n", "-o", "tcp.desegment_tcp_streams:FALSE", "-r", c.file.Name(), "-Y", "ip.src == "+from.String(),
		"-T", "fields", "-E", "occurrence=f", "-e", "frame.number", "-e", "l2tp.version", "-e", "_ws.malformed", "-e", "_ws.col.Info")
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("tshark: %v: %s", err, said.String())
	}
	for line := range strings.Lines(string(out)) {
		// An empty version: not L2TP. Something in the third column: malformed.
		if f := strings.Split(strings.TrimSpace(line), "\t"); len(f) == 4 && f[1] != "" && f[2] == "" {
			good++
		} else {
			bad = append(bad, "packet "+strings.Join(f, " "))
		}
	}
	return good, bad
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
