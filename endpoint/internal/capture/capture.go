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
//
// Those are L2TPv2. Of static L2TPv3 there are others, of which [V3] tells.
package capture

import (
	"embed"
	"net/netip"
	"strings"
	"testing"
	"time"
)

//go:embed testdata/*.pcap testdata/v3/*.pcap
var files embed.FS

// A Packet is a recorded UDP datagram, or what an IP packet of protocol 115 has had in
// it, the protocol of L2TPv3 over IP; then the ports are 0.
type Packet struct {
	Time     time.Time
	Src, Dst netip.AddrPort
	Payload  []byte
	Missing  int // octets after Payload, which the recorder has cut off
}

// Names are the captures of L2TPv2 that there are.
func Names() (names []string) {
	entries, err := files.ReadDir("testdata")
	if err != nil {
		panic("BUG: capture: " + err.Error()) // they are part of the binary
	}
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".pcap"); ok {
			names = append(names, name)
		}
	}
	return names
}

// Load returns the datagrams of a capture, by its name without ".pcap", in their
// order. The memory is the caller's own.
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
