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
	data int // data packets in the file
}

// maxData bounds the data packets in a capture, since one of bulk is like the next. Control messages are all kept.
const maxData = 5000

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
	if control := len(payload) > 0 && payload[0]&0x80 != 0; !control {
		if c.data++; c.data > maxData {
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
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		t.Skipf("SKIPPED: %s; missing: tshark, install with: apt-get install tshark", t.Name())
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.w.Flush(); err != nil {
		t.Fatal(err)
	}
	count := func(filter string) []string {
		t.Helper()
		cmd := exec.Command(tshark, "-n", "-r", c.file.Name(), "-Y", filter)
		var said bytes.Buffer
		cmd.Stderr = &said
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("tshark: %v: %s", err, said.String())
		}
		return strings.FieldsFunc(string(out), func(r rune) bool { return r == '\n' })
	}
	ours := "ip.src == " + us.String() + " && "
	sent := count(ours + "l2tp")
	if len(sent) == 0 {
		t.Error("tshark: expected L2TP in the capture, found none")
	}
	for _, filter := range []string{ours + "!l2tp", ours + "_ws.malformed"} {
		if found := count(filter); len(found) > 0 {
			t.Errorf("tshark: expected nothing that matches %q, found %d packets, the first of them\n%s", filter, len(found), strings.Join(found[:min(len(found), 5)], "\n"))
		}
	}
	t.Logf("tshark read %d L2TP packets of ours and found nothing malformed", len(sent))
}
