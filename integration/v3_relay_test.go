package integration

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/l2tpnet/l2tpnet/integration/guest"
)

// A wire is what a static pseudowire is made of on the way between us and a peer that is told one address of ours, as all static
// ones are: a relay in both directions with a capture of what passes.
//
//	us, --local ──► near ─ wire ─ far ──► the peer
//	 :ours                │                :peers
//	                      └─► 192.0.2.1 → 192.0.2.2:1701 in the file
type wire struct {
	near, far *net.UDPConn
	passed    [2]atomic.Int64 // datagrams from us, and from the peer
	cut       atomic.Bool
}

// newWire makes one between a port of ours and one of the peer's, which is cut while cut is set, and is there as long as the test.
func newWire(t *testing.T, ours, peers netip.AddrPort, c *capture) *wire {
	t.Helper()
	w := &wire{near: udpPort(t, ours.Addr()), far: udpPort(t, ours.Addr())}
	a, b := netip.AddrPortFrom(dialler, w.nearPort()), netip.AddrPortFrom(answerer, 1701)
	go w.pass(0, w.near, ours, w.far, peers, func(datagram []byte) { c.write(a, b, datagram) })
	go w.pass(1, w.far, peers, w.near, ours, func(datagram []byte) { c.write(b, a, datagram) })
	return w
}

// pass carries what comes from one to the other. What others send it drops, as a peer would.
func (w *wire) pass(direction int, in *net.UDPConn, from netip.AddrPort, out *net.UDPConn, to netip.AddrPort, look func([]byte)) {
	buf := make([]byte, 65536)
	for {
		n, sender, err := in.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		if sender != from || w.cut.Load() {
			continue
		}
		w.passed[direction].Add(1)
		look(buf[:n])
		out.WriteToUDPAddrPort(buf[:n], to)
	}
}

// nearPort tells the wires of a capture apart, where there is the dialler's port.
func (w *wire) nearPort() uint16 { return uint16(w.near.LocalAddr().(*net.UDPAddr).Port) }

// Near is the address that we are told as the peer's, and Far the one that the peer is told as ours.
func (w *wire) Near() string { return w.near.LocalAddr().String() }
func (w *wire) Far() int     { return w.far.LocalAddr().(*net.UDPAddr).Port }

// udpPort opens a port of an address, as long as the test.
func udpPort(t *testing.T, host netip.Addr) *net.UDPConn {
	t.Helper()
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(host, 0)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// A heldPort is a UDP port that somebody is going to have: see [guest.HoldPort].
type heldPort struct {
	netip.AddrPort
	release func()
}

// holdPort finds one, and keeps it until the test ends at the latest.
func holdPort(t *testing.T, host netip.Addr) heldPort {
	t.Helper()
	at, release, err := guest.HoldPort(host)
	if err != nil {
		t.Skipf("SKIPPED: %s; missing: UDP ports of %v: %v", t.Name(), host, err)
	}
	t.Cleanup(release)
	return heldPort{at, release}
}

var (
	loopback4 = netip.MustParseAddr("127.0.0.1")
	loopback6 = netip.IPv6Loopback()
)

// etherTypes are those that we send: of IPv4, ARP, IPv6, VLANs, and the hub's probes for loops.
var etherTypes = []string{"0x0800", "0x0806", "0x86dd", "0x8100", "0x88b5"}

// The header of L2TPv3 does not say how it goes on after the session ID; these are tshark's words for it.
var (
	cookieSizes = map[int]string{0: "None", 4: "4 Byte Cookie", 8: "8 Byte Cookie"}
	sublayers   = map[string]string{"none": "None", "default": "Default L2-Specific"}
)

// judgeV3 asks tshark about all data of L2TPv3 that we have sent, with a cookie of that length and that sublayer: none of it is
// malformed, and there is an Ethernet frame where tshark looks for it. It returns, for each wire, the sequence numbers: "" where
// there was none.
func (c *capture) judgeV3(t *testing.T, us netip.Addr, cookie int, sublayer string) (numbers map[uint16][]string) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.w.Flush(); err != nil {
		t.Fatal(err)
	}
	numbers = map[uint16][]string{}
	all, bad, told := 0, 0, fmt.Sprintf("tshark, told of a cookie of %d octets and the sublayer %s", cookie, sublayer)
	names := []string{"frame.number", "_ws.col.Info", "udp.srcport", "l2tp.version", "_ws.malformed", "l2tp.cookie", "l2tp.l2_spec_s", "l2tp.l2_spec_sequence", "eth.type"}
	for _, f := range tshark(t, c.file.Name(), names, "-Y", "ip.src == "+us.String(), "-d", "l2tp.pw_type==0,eth",
		"-o", "l2tp.cookie_size:"+cookieSizes[cookie], "-o", "l2tp.l2_specific:"+sublayers[sublayer]) {
		version, malformed, number := f[3], f[4], ""
		var port uint16
		fmt.Sscan(f[2], &port)
		if f[6] == "1" || f[6] == "True" {
			number = f[7]
		}
		if version != "3" || malformed != "" || len(f[5]) != 2*cookie || !slices.Contains(etherTypes, f[8]) {
			if bad++; bad <= 5 {
				t.Errorf("%s: expected well-formed frames from us, found packet %s", told, strings.Join(f, " | "))
			}
		}
		all++
		numbers[port] = append(numbers[port], number)
	}
	t.Logf("%s, found %d well-formed frames from us", told, all-bad)
	if all == bad || bad > 0 {
		t.Errorf("%s: expected frames from us, all well-formed, found %d of them and %d others", told, all-bad, bad)
	}
	return numbers
}

// full tells whether everything is to be tried, however long it takes.
func full() bool { return os.Getenv("L2TPNET_FULL") == "1" }

// eventually tries until what it tries does not fail, for things that take time by themselves.
func eventually(t *testing.T, patience time.Duration, try func() error) {
	t.Helper()
	late := time.Now().Add(patience)
	for {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(late) {
			t.Fatalf("after %v still: %v", patience, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}
