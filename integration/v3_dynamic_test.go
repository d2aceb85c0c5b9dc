package integration

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint"
	"github.com/l2tpnet/l2tpnet/endpoint/node"
	"github.com/l2tpnet/l2tpnet/integration/guest"
)

// The addresses of loopback that the two ends have, since tshark tells them apart by that (it takes the nonces of a digest
// in the order of the addresses), and one for the site behind the server.
var (
	loopbackClient = netip.MustParseAddr("127.0.0.2")
	loopbackSite   = netip.MustParseAddr("127.0.0.3")
)

// needsLoopback skips where loopback is a single address.
func needsLoopback(t *testing.T) {
	t.Helper()
	conn, err := net.ListenPacket("udp", netip.AddrPortFrom(loopbackClient, 0).String())
	if err != nil {
		t.Skipf("SKIPPED: %s; missing: the address %v: %v", t.Name(), loopbackClient, err)
	}
	conn.Close()
}

// "two l2tpnet processes on two loopback addresses, captured: tshark with the secret calls every digest correct, with another
// secret every one wrong, nothing malformed, no message without a digest", for each kind of pseudowire, for L2TPv2 beside
// them on the same socket, and with a page that comes through.
func TestV3BetweenTwoProcesses(t *testing.T) {
	t.Parallel()
	needsLoopback(t)
	secret, password := file(t, "tunsecret"), file(t, "s3cret")
	server := start(t, "serve", "--v3", "--listen", "127.0.0.1:0", "--secret-file", secret, "--users-file", file(t, "alice:s3cret\nbob:s3cret\ncarol:s3cret\nsite:s3cret"),
		"--circuit", "*,pw=ethernet", "--circuit", "tagged,pw=vlan:7", "--circuit", "routed,pw=ip,address=10.77.0.99", "--circuit", "users,pw=ppp",
		"--client-to-client", "--hide-avps", "-v")
	port := portIn(t, server.line(t))
	if line := server.line(t); !strings.Contains(line, "L2TPv3") {
		t.Errorf("serve's second line: expected what there is by L2TPv3, found %q", line)
	}
	at := fmt.Sprintf("127.0.0.1:%d", port)
	onEthernet := insideSite(t, &node.Client{Server: at, Secret: "tunsecret", V3: &endpoint.V3Config{}, Addresses: []netip.Prefix{netip.MustParsePrefix("10.78.0.2/24")},
		Pseudowire: &endpoint.PseudowireConfig{RemoteEndID: "site"}})
	onPPP := insideSite(t, &node.Client{Server: at, Secret: "tunsecret", User: "site", Password: "s3cret"})

	user := func(name string) []string { return []string{"--user", name, "--password-file", password} }
	lines := []struct {
		name     string
		flags    []string
		site     netip.Addr
		cookie   int    // that the server's frames have; those of the client have 8 octets
		sublayer string // likewise
		carries  string // in tshark's words; "": it is L2TPv2's
	}{
		{"Ethernet, with DHCP", []string{"--v3", "--dhcp"}, onEthernet, 8, "none", "eth"},
		{"Ethernet, numbered, SHA-1, hidden AVPs", []string{"--v3", "--address", "10.78.0.5/24", "--remote-end-id", "any", "--digest", "sha1", "--seq", "both", "--cookie-len", "4", "--hide-avps"}, onEthernet, 4, "default", "eth"},
		{"VLAN", []string{"--v3", "--pw", "vlan:9", "--remote-end-id", "tagged", "--dhcp", "--cookie-len", "0"}, onEthernet, 0, "none", "eth"},
		{"IP", []string{"--v3", "--pw", "ip", "--remote-end-id", "routed", "--address", "10.77.0.99/24", "--router-id", "192.0.2.1"}, onPPP, 8, "none", "ip"},
		{"PPP", append(user("alice"), "--v3", "--remote-end-id", "users"), onPPP, 8, "none", "ppp"},
		{"PPP, by what L2TPv2 understands too", append(user("bob"), "--v3", "--fallback", "--remote-end-id", "users"), onPPP, 8, "none", "ppp"},
		{"L2TPv2", user("carol"), onPPP, 0, "", ""},
	}
	var clients []*connection
	var pcaps []string
	for _, l := range lines {
		pcap := file(t, "")
		pcaps = append(pcaps, pcap)
		clients = append(clients, connect(t, at, append(l.flags, "--bind", loopbackClient.String(), "--secret-file", secret, "--socks", "127.0.0.1:0", "--pcap", pcap, "-v")...))
	}
	for i, c := range clients { // all of which are connected
		l := lines[i]
		if v3 := strings.Contains(c.hello, "L2TPv3"); v3 != (l.carries != "") {
			t.Errorf("%s: connect's first line is %q", l.name, c.hello)
		}
		sameBytes(t, string(guest.Blob()[:1<<18]), c.get(t, fmt.Sprintf("http://%v/blob", l.site)))
	}
	for _, c := range clients {
		c.interrupt(t)
	}
	for i, l := range lines {
		t.Run(l.name, func(t *testing.T) {
			judgePcap(t, pcaps[i], uint16(port))
			if l.carries == "" {
				return
			}
			fallsBack := slices.Contains(l.flags, "--fallback")
			judgeDigests(t, pcaps[i], port, "tunsecret", true)
			if !fallsBack { // tshark verifies none where the SCCRQ was of Ver 2
				judgeDigests(t, pcaps[i], port, "another", false)
			}
			for from, way := range map[netip.Addr]struct {
				cookie   int
				sublayer string
			}{loopback4: {l.cookie, l.sublayer}, loopbackClient: {8, "none"}} {
				switch l.carries {
				case "eth":
					judgeFrames(t, pcaps[i], port, from, way.cookie, way.sublayer, "eth", "eth.type", etherTypes)
				case "ip":
					judgeFrames(t, pcaps[i], port, from, way.cookie, way.sublayer, "ip", "ip.version", []string{"4"})
				}
			}
		})
	}
	// Who has no digest gets no answer, but the server's owner is told.
	stranger, err := net.Dial("udp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	eventually(t, guest.Patience, func() error {
		stranger.Write(unsignedSCCRQ)
		if said := server.stderr.String(); !regexp.MustCompile(`level=WARN .*Message Digest is wrong or missing`).MatchString(said) {
			return fmt.Errorf("expected a warning of a message without a digest, found\n%s", said)
		}
		return nil
	})
	server.interrupt(t)
}

// unsignedSCCRQ has all that RFC 3931 §6.1 wants to be there.
var unsignedSCCRQ = []byte{0xc8, 3, 0, 59, 0, 0, 0, 0, 0, 0, 0, 0,
	0x80, 8, 0, 0, 0, 0, 0, 1, // Message Type
	0x80, 7, 0, 0, 0, 7, 'x', // Host Name
	0x80, 10, 0, 0, 0, 60, 0, 0, 0, 1, // Router ID
	0x80, 10, 0, 0, 0, 61, 0, 0, 0, 1, // Assigned Control Connection ID
	0x80, 12, 0, 0, 0, 62, 0, 5, 0, 4, 0, 7, // Pseudowire Capabilities List
}

// insideSite is a client with a web server on the inside, where a page and a blob are, as long as the test, and its address.
func insideSite(t *testing.T, c *node.Client) netip.Addr {
	t.Helper()
	c.Bind = loopbackSite
	if _, err := node.Dial(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	ln, err := c.Listen("tcp", ":80")
	if err != nil {
		t.Fatal(err)
	}
	site := http.NewServeMux()
	site.HandleFunc("/blob", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(1<<18)) // of chunks tshark thinks that they are malformed, one segment at a time
		w.Write(guest.Blob()[:1<<18])
	})
	go http.Serve(ln, site)
	addresses := c.Status().Current.Addresses
	i := slices.IndexFunc(addresses, netip.Addr.Is4)
	if i < 0 {
		t.Fatalf("a site inside: expected an IPv4 address, found %v", addresses)
	}
	return addresses[i]
}

// controlOf is the messages of L2TPv3's control connection in a file: their types, digests, and whether tshark, who has this
// secret, calls those wrong.
func controlOf(t *testing.T, pcap string, port int, secret string) [][]string {
	t.Helper()
	return tshark(t, pcap, []string{"l2tp.avp.message_type", "l2tp.avp.message_digest", "l2tp.incorrect_digest", "_ws.malformed"},
		"-d", fmt.Sprintf("udp.port==%d,l2tp", port), "-o", "l2tp.shared_secret:"+secret, "-Y", "l2tp.type == 1")
}

// judgeDigests has tshark, who knows this secret, call every digest right or every one wrong, and counts those that there
// are, since a message without one goes unnoticed by it.
func judgeDigests(t *testing.T, pcap string, port int, secret string, right bool) {
	t.Helper()
	types := map[string]bool{}
	messages := controlOf(t, pcap, port, secret)
	for i, f := range messages {
		types[f[0]] = true
		switch {
		case f[0] == "" || f[1] == "" || f[3] != "":
			t.Errorf("control message %d: expected a type and a digest, found %q", i, f)
		case (f[2] == "") != right:
			t.Errorf("control message %d, of type %s, with the secret %q: expected tshark to find its digest right: %v, found %q", i, f[0], secret, right, f)
		}
	}
	// SCCRQ, SCCRP, SCCCN, StopCCN, ICRQ, ICRP, ICCN, CDN, ACK.
	for _, kind := range []string{"1", "2", "3", "4", "10", "11", "12", "14", "20"} {
		if !types[kind] {
			t.Errorf("expected a message of type %s among %d control messages, found none", kind, len(messages))
		}
	}
}

// judgeFrames has tshark look at all data that one end has sent: with a cookie of that length, and the sublayer, nothing is
// malformed, and what the pseudowire carries is where it is to be.
func judgeFrames(t *testing.T, pcap string, port int, from netip.Addr, cookie int, sublayer, dissector, field string, values []string) {
	t.Helper()
	bad, all := 0, 0
	for _, f := range tshark(t, pcap, []string{"l2tp.cookie", field, "_ws.malformed", "frame.number"}, "-Y", "l2tp.version == 3 && l2tp.type == 0 && ip.src == "+from.String(),
		"-d", fmt.Sprintf("udp.port==%d,l2tp", port), "-d", "l2tp.pw_type==0,"+dissector, "-d", "l2tp.pw_type==4,eth", "-d", "l2tp.pw_type==11,ip",
		"-o", "l2tp.cookie_size:"+cookieSizes[cookie], "-o", "l2tp.l2_specific:"+sublayers[sublayer]) {
		if all++; len(f[0]) != 2*cookie || !slices.Contains(values, f[1]) || f[2] != "" {
			if bad++; bad <= 5 {
				t.Errorf("tshark, told of a cookie of %d octets from %v and the sublayer %s: found %q", cookie, from, sublayer, f)
			}
		}
	}
	if all == 0 {
		t.Errorf("expected frames from %v, found none", from)
	}
}

// A mangler is a relay to a server that changes what goes there, and counts what comes back.
func mangler(t *testing.T, server netip.AddrPort, change func([]byte) []byte) (address string, answers func() int) {
	t.Helper()
	front := udpPort(t, loopback4)
	back, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(server))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { back.Close() })
	came := make(chan int, 1)
	came <- 0
	clients := make(chan netip.AddrPort, 1)
	go func() {
		buf := make([]byte, 65536)
		for known := false; ; known = true {
			n, client, err := front.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			if !known {
				clients <- client
			}
			back.Write(change(slices.Clone(buf[:n])))
		}
	}()
	go func() {
		client, buf := <-clients, make([]byte, 65536)
		for {
			n, err := back.Read(buf)
			if err != nil {
				return
			}
			came <- <-came + 1
			front.WriteToUDPAddrPort(buf[:n], client)
		}
	}()
	return front.LocalAddr().String(), func() int { n := <-came; came <- n; return n }
}

// "A changed byte, a missing digest and a wrong secret lead to silence, a counter, and a time-out whose hint names the
// secret." The server is in this process, whose counter can be asked for.
func TestV3SecretsThatDiffer(t *testing.T) {
	t.Parallel()
	same := func(b []byte) []byte { return b }
	for _, c := range []struct {
		name   string
		secret string
		change func([]byte) []byte
	}{
		{"a wrong secret", "wrong", same},
		{"a changed byte", "tunsecret", func(b []byte) []byte { b[len(b)-1] ^= 1; return b }},
		{"a missing digest", "tunsecret", withoutDigest},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ep, err := endpoint.Listen("udp", "127.0.0.1:0", &endpoint.Config{Answer: &endpoint.AnswerConfig{Secret: "tunsecret", V3: &endpoint.V3Config{}}})
			if err != nil {
				t.Fatal(err)
			}
			defer ep.Close()
			at, answers := mangler(t, ep.Addr(), c.change)
			p := start(t, "connect", at, "--v3", "--dhcp", "--secret-file", file(t, c.secret), "--socks", "127.0.0.1:0")
			said := silent(t, p)
			if !regexp.MustCompile(`no answer to SCCRQ within 1m11s`).MatchString(said) || !regexp.MustCompile(`(?m)^hint: .*secret`).MatchString(said) {
				t.Errorf("expected a time-out whose hint names the secret, found\n%s", said)
			}
			// The first, and ten times more.
			if n := ep.Status().Counters.BadDigest; n != 11 || answers() != 0 || len(ep.Status().Tunnels) != 0 {
				t.Errorf("expected 11 messages dropped for their digests, and silence, found %d and %d answers", n, answers())
			}
		})
	}
}

// withoutDigest takes the second AVP out of a message: its Message Digest.
func withoutDigest(b []byte) []byte {
	const at = 12 + 8 // behind the header and the Message Type
	if len(b) < at+6 || binary.BigEndian.Uint16(b[at+4:]) != 59 {
		return b
	}
	b = slices.Delete(b, at, at+int(binary.BigEndian.Uint16(b[at:])&0x3ff))
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	return b
}

// silent waits for the end of an l2tpnet that gets no answer, which is after 71 s, and returns what it said.
func silent(t *testing.T, p *process) string {
	t.Helper()
	select {
	case <-p.done:
	case <-time.After(3 * guest.Patience):
		t.Fatal("l2tpnet: expected it to end after 71 s, found it running")
	}
	if status := p.cmd.ProcessState.ExitCode(); status != 1 {
		t.Errorf("expected the exit status 1, found %d", status)
	}
	for line := range p.lines {
		t.Errorf("expected nothing on standard output, found %q", line)
	}
	return p.stderr.String()
}

// "--v3 with fall-back reaches xl2tpd and goes on as v2; without it the hint says that the peer may not speak v3."
func TestV3FallsBackToXl2tpd(t *testing.T) {
	t.Parallel()
	g := guest.Boot(t, 1701, 1702)
	g.Run(t, "lns 1701 mschapv2")
	g.Run(t, "lns 1702 mschapv2 secret")
	traffic := newCapture(t)
	flags := []string{"--v3", "--user", "alice", "--password-file", file(t, "s3cret"), "--socks", "127.0.0.1:0", "-v"}
	never := start(t, "connect", g.Addr(1701).String(), "--v3", "--dhcp", "--socks", "127.0.0.1:0")
	for port, more := range map[int][]string{1701: nil, 1702: {"--secret-file", file(t, "tunsecret")}} {
		c := connect(t, traffic.relay(t, g.Addr(port)), slices.Concat(flags, more, []string{"--fallback"})...)
		if !strings.Contains(c.hello, "L2TPv2") {
			t.Errorf("connect's first line: expected L2TPv2 in it, found %q", c.hello)
		}
		sameBytes(t, guest.Page, c.get(t, "http://10.9.0.1/"))
		c.interrupt(t)
	}
	traffic.judge(t, dialler)
	if said := silent(t, never); !regexp.MustCompile(`(?m)^hint: .*may not speak L2TPv3`).MatchString(said) {
		t.Errorf("without --fallback: expected a hint that the peer may not speak L2TPv3, found\n%s", said)
	}
}
