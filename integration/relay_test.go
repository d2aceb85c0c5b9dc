package integration

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"path/filepath"
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
	bulk int                    // IP packets in the file since the last control message
	data map[netip.AddrPort]int // frames of L2TPv3 in the file, by who sent them
	seen [kinds]int             // datagrams that went through the relays
}

// maxBulk bounds the IP packets, in clear or not, that are kept after each control message, since one of bulk is like the
// next. Control messages and what PPP negotiates are all kept. Of L2TPv3's data, where nobody negotiates, maxData are kept of
// each sender.
const (
	maxBulk = 200
	maxData = 100
)

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
	c := &capture{file: f, w: bufio.NewWriter(f), data: map[netip.AddrPort]int{}}
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
	case dataV3:
		if c.data[from]++; c.data[from] > maxData {
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
	dataV3              // a frame of L2TPv3
	sealed              // a packet compressed, which with MPPE is encrypted (RFC 3078 §3)
	kinds
)

// kindOf looks into an L2TP datagram (RFC 2661 §3.1, RFC 3931 §4.1.2) as far as it must.
func kindOf(b []byte) kind {
	if len(b) < 6 {
		return other
	}
	if b[0]&0x80 == 0 && b[1]&0x0f == 3 {
		return dataV3
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
