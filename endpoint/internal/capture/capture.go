// Package capture has recorded exchanges between other implementations, for
// the tests of several packages. It is for tests only.
//
// In all of them 10.99.0.3 is the LAC and PPP client, 10.99.0.2 the LNS and PPP
// server, both on port 1701; both run xl2tpd and pppd on a Linux 6.1 kernel,
// under user-mode Linux or QEMU. User alice has the password s3cret.
//
//	uml-v2-pap                 PAP
//	uml-xl2tpd-lac-lns-chap    CHAP-MD5, LCP echoes, some TCP
//	uml-lns-qemu-lac-chap      CHAP-MD5, the LAC under QEMU
//	uml-v2-mschapv2            MS-CHAPv2
//	uml-v2-mschapv2-mppe128    MS-CHAPv2, CCP with MPPE, data encrypted
//	uml-v2-hidden-challenge    "hidden bit = yes": a Random Vector in every message, though nothing is hidden; MS-CHAPv2
//	qemu-lns-uml-lac-mschapv2  the LNS under QEMU, MS-CHAPv2, iperf3; ends while the session is up
package capture

import (
	"embed"
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

//go:embed testdata/*.pcap
var files embed.FS

// A Packet is a recorded UDP datagram.
type Packet struct {
	Time     time.Time
	Src, Dst netip.AddrPort
	Payload  []byte
}

// Names are the captures that there are.
func Names() (names []string) {
	entries, err := files.ReadDir("testdata")
	if err != nil {
		panic("BUG: capture: " + err.Error()) // they are part of the binary
	}
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), ".pcap"))
	}
	return names
}

// Load returns the UDP datagrams of a capture, by its name without ".pcap", in
// their order. The memory is the caller's own.
func Load(t testing.TB, name string) []Packet {
	t.Helper()
	file, err := files.ReadFile("testdata/" + name + ".pcap")
	if err != nil {
		t.Fatal(err)
	}
	packets, err := read(file)
	if err != nil {
		t.Fatalf("%s.pcap: %v", name, err)
	}
	return packets
}

const (
	magic          = 0xa1b2c3d4 // little-endian, microseconds
	linkEthernet   = 1
	fileHeader     = 24
	recordHeader   = 16
	ethernetHeader = 14
	etherTypeIPv4  = 0x0800
	udpHeader      = 8
	protocolUDP    = 17
)

// read takes a pcap file apart, in the one flavour that we keep: little-endian,
// microseconds, Ethernet.
func read(file []byte) (packets []Packet, err error) {
	le := binary.LittleEndian
	if len(file) < fileHeader || le.Uint32(file) != magic || le.Uint32(file[20:]) != linkEthernet {
		return nil, fmt.Errorf("not a little-endian pcap file of Ethernet frames with microseconds")
	}
	for file = file[fileHeader:]; len(file) > 0; {
		if len(file) < recordHeader {
			return nil, fmt.Errorf("%d octets after the last packet", len(file))
		}
		at := time.Unix(int64(le.Uint32(file)), int64(le.Uint32(file[4:]))*1000).UTC()
		n := int(le.Uint32(file[8:]))
		if n != int(le.Uint32(file[12:])) || n > len(file)-recordHeader {
			return nil, fmt.Errorf("a packet of %d octets is cut", n)
		}
		p, ok := udp(file[recordHeader : recordHeader+n])
		if ok {
			p.Time = at
			packets = append(packets, p)
		}
		file = file[recordHeader+n:]
	}
	return packets, nil
}

// udp takes a UDP datagram out of an Ethernet frame with a whole IPv4 packet.
func udp(frame []byte) (p Packet, ok bool) {
	be := binary.BigEndian
	if len(frame) < ethernetHeader+20 || be.Uint16(frame[12:]) != etherTypeIPv4 {
		return p, false
	}
	ip := frame[ethernetHeader:]
	n, total := int(ip[0]&0xf)*4, int(be.Uint16(ip[2:]))
	fragment := be.Uint16(ip[6:])&0x3fff != 0
	if ip[9] != protocolUDP || fragment || total > len(ip) || total < n+udpHeader {
		return p, false
	}
	addr := func(b []byte) netip.Addr { return netip.AddrFrom4([4]byte(b)) }
	dgram := ip[n:total] // Ethernet pads short frames
	p.Src = netip.AddrPortFrom(addr(ip[12:]), be.Uint16(dgram))
	p.Dst = netip.AddrPortFrom(addr(ip[16:]), be.Uint16(dgram[2:]))
	p.Payload = dgram[udpHeader:]
	return p, true
}
