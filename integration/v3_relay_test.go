package integration

import (
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// A wire is what a static pseudowire is made of on the way between us and a peer that is told one address of ours, as all static
// ones are: a relay in both directions with a capture of what passes.
//
//	us, --local ──► near ─ wire ─ far ──► the peer
//	 :ours                │                :peers
//	                      └─► 192.0.2.1 → 192.0.2.2:1701 in the file
type wire struct {
	near, far   *net.UDPConn
	ours, peers netip.AddrPort
}

// newWire makes one between a port of ours and one of the peer's, and is there as long as the test.
func newWire(t *testing.T, ours, peers netip.AddrPort, c *capture) *wire {
	t.Helper()
	w := &wire{near: udpPort(t), far: udpPort(t), ours: ours, peers: peers}
	// The port tells the wires of a file apart, and is nobody's.
	a, b := netip.AddrPortFrom(dialler, ours.Port()), netip.AddrPortFrom(answerer, 1701)
	go pass(w.near, ours, w.far, peers, func(datagram []byte) { c.write(a, b, datagram) })
	go pass(w.far, peers, w.near, ours, func(datagram []byte) { c.write(b, a, datagram) })
	return w
}

// pass carries what comes from one to the other. What others send it drops, as a peer would.
func pass(in *net.UDPConn, from netip.AddrPort, out *net.UDPConn, to netip.AddrPort, look func([]byte)) {
	buf := make([]byte, 65536)
	for {
		n, sender, err := in.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		if sender != from {
			continue
		}
		look(buf[:n])
		out.WriteToUDPAddrPort(buf[:n], to)
	}
}

// Near is the address that we are told as the peer's, and Far the one that the peer is told as ours.
func (w *wire) Near() string { return w.near.LocalAddr().String() }
func (w *wire) Far() int     { return w.far.LocalAddr().(*net.UDPAddr).Port }

// udpPort opens a port of 127.0.0.1, as long as the test.
func udpPort(t *testing.T) *net.UDPConn {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// freePorts are n UDP addresses of host that nobody has, for programs that must be told theirs. They are held until all have
// been found, so that none comes twice.
func freePorts(t *testing.T, host string, n int) (all []netip.AddrPort) {
	t.Helper()
	for range n {
		conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(host)})
		if err != nil {
			t.Skipf("SKIPPED: %s; missing: the address %s: %v", t.Name(), host, err)
		}
		defer conn.Close()
		all = append(all, conn.LocalAddr().(*net.UDPAddr).AddrPort())
	}
	for i, a := range all {
		all[i] = netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
	}
	return all
}

// The header of L2TPv3 does not say how it goes on after the session ID; these are tshark's words for it.
var (
	cookieSizes = map[int]string{0: "None", 4: "4 Byte Cookie", 8: "8 Byte Cookie"}
	sublayers   = map[string]string{"none": "None", "default": "Default L2-Specific"}
)

// judgeV3 asks tshark about all data of L2TPv3 that we have sent, with a cookie of that length and that sublayer: none of it is
// malformed, and there is an Ethernet frame where tshark looks for it. It returns, for each of our ports, the sequence numbers:
// "" where there was none.
func (c *capture) judgeV3(t *testing.T, us netip.Addr, cookie int, sublayer string) (numbers map[string][]string) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.w.Flush(); err != nil {
		t.Fatal(err)
	}
	numbers = map[string][]string{}
	names := []string{"frame.number", "_ws.col.Info", "udp.srcport", "l2tp.version", "_ws.malformed", "l2tp.cookie", "l2tp.l2_spec_s", "l2tp.l2_spec_sequence", "eth.type"}
	for _, f := range tshark(t, c.file.Name(), names, "-Y", "ip.src == "+us.String(), "-d", "l2tp.pw_type==0,eth",
		"-o", "l2tp.cookie_size:"+cookieSizes[cookie], "-o", "l2tp.l2_specific:"+sublayers[sublayer]) {
		port, version, malformed, number := f[2], f[3], f[4], ""
		if f[6] == "1" || f[6] == "True" {
			number = f[7]
		}
		known := slices.Contains([]string{"0x0800", "0x0806", "0x86dd", "0x8100"}, f[8])
		if version != "3" || malformed != "" || len(f[5]) != 2*cookie || !known {
			t.Errorf("tshark, told of a cookie of %d octets and the sublayer %s: expected well-formed frames from us, found packet %s", cookie, sublayer, strings.Join(f, " | "))
		}
		numbers[port] = append(numbers[port], number)
	}
	if len(numbers) == 0 {
		t.Errorf("tshark, told of a cookie of %d octets and the sublayer %s: expected frames from us, found none", cookie, sublayer)
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
