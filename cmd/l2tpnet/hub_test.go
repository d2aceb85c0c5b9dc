package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint"
	"github.com/l2tpnet/l2tpnet/endpoint/node"
)

// freeUDP is an address on loopback that nobody has, with a port that the system gives
// to nobody who asks for any.
func freeUDP(t *testing.T) string {
	t.Helper()
	for range 1000 {
		address := fmt.Sprintf("127.0.0.1:%d", 20000+rand.IntN(12000))
		if conn, err := net.ListenPacket("udp", address); err == nil {
			conn.Close()
			return address
		}
	}
	t.Fatal("no free port")
	return ""
}

// page serves a page inside, at port 80.
func page(t *testing.T, p *node.Pseudowire) {
	t.Helper()
	ln, err := p.Listen("tcp", ":80")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") })}
	go s.Serve(ln)
	t.Cleanup(func() { s.Close() })
}

// fetches gets the page, through a SOCKS proxy if there is one.
func fetches(t *testing.T, at, socks string) {
	t.Helper()
	transport := &http.Transport{DisableKeepAlives: true}
	if socks != "" {
		transport.Proxy = http.ProxyURL(&url.URL{Scheme: "socks5h", Host: socks})
	}
	r, err := (&http.Client{Transport: transport, Timeout: time.Minute}).Get("http://" + at + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if b, err := io.ReadAll(r.Body); err != nil || string(b) != "hello" {
		t.Errorf("expected the page, found %q, %v", b, err)
	}
}

// far is the other end of a pseudowire, in this process.
func far(t *testing.T, p *node.Pseudowire) *node.Pseudowire {
	t.Helper()
	if _, err := node.OpenPseudowire(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func TestListenersGoOutThroughAPseudowire(t *testing.T) {
	for _, c := range []struct{ flags, cookies string }{
		{"--pw ethernet", ""}, {"--pw vlan:7", "deadbeef 0123456789abcdef"}, {"--pw ip --seq both --reorder-timeout 100ms", ""},
	} {
		t.Run(c.flags, func(t *testing.T) {
			t.Parallel()
			here, there := freeUDP(t), freeUDP(t)
			flags := c.flags
			if cookies := strings.Fields(c.cookies); len(cookies) == 2 {
				flags += " --cookie " + cookies[0] + " --peer-cookie " + cookies[1]
			}
			args := strings.Fields("pseudowire --local " + here + " --remote " + there + " --session-id 1 --peer-session-id 0x2 --address 10.9.0.1/24 --no-ipv6 " + flags)
			static, err := parsed(t, args[9:]...).static()
			if err != nil {
				t.Fatal(err)
			}
			static.SessionID, static.PeerSessionID, static.Cookie, static.PeerCookie = 2, 1, static.PeerCookie, static.Cookie
			page(t, far(t, &node.Pseudowire{Local: there, Remote: here, Static: static, NoIPv6: true,
				Addresses: []netip.Prefix{netip.MustParsePrefix("10.9.0.2/24")}}))

			capture := file(t, "")
			cmd := start(t, append(args, "--socks", "127.0.0.1:0", "-L", "127.0.0.1:0:10.9.0.2:80", "--pcap", capture)...)
			socks := cmd.stdout.find(t, `pseudowire to `+there+`, address 10\.9\.0\.1.*; SOCKS5 on (\S+)\n`)
			fetches(t, "10.9.0.2", socks)
			fetches(t, cmd.stdout.find(t, `forwarding (\S+) to 10\.9\.0\.2:80\n`), "")
			cmd.stop()
			if status := cmd.wait(t); status != 0 {
				t.Errorf("exit status %d after Ctrl-C, want 0; %s", status, cmd.stderr)
			}
			if b, err := os.ReadFile(capture); err != nil || len(b) < 1000 {
				t.Errorf("expected a capture, found %d bytes, %v", len(b), err)
			}
		})
	}
}

// "PPP (7, the same PPP as v2)": with a password, addresses and a DNS server.
func TestPPPThroughAPseudowire(t *testing.T) {
	here, there := freeUDP(t), freeUDP(t)
	server := start(t, "pseudowire", "--local", there, "--remote", here, "--session-id", "2", "--peer-session-id", "1", "--pw", "ppp",
		"--users-file", file(t, "alice:s3cret\n"), "--address", "10.9.0.1/24", "--dns", "10.9.0.53", "-L", "127.0.0.1:0:10.9.0.2:80")
	client := far(t, &node.Pseudowire{Local: here, Remote: there, Static: endpoint.StaticConfig{
		Type: endpoint.PseudowirePPP, SessionID: 1, PeerSessionID: 2, PPP: &endpoint.PPPConfig{User: "alice", Password: "s3cret"}}})
	if up := client.Status().Current; fmt.Sprint(up.Addresses[0], up.Gateway, up.DNS) != "10.9.0.2 10.9.0.1 [10.9.0.53]" {
		t.Errorf("found %+v", up)
	}
	page(t, client)
	fetches(t, server.stdout.find(t, `PPP pseudowire to `+here+`, address 10\.9\.0\.1, gateway 10\.9\.0\.2.*; (\S+) to 10\.9\.0\.2:80\n`), "")

	client.Close()
	wrong := start(t, "pseudowire", "--local", here, "--remote", there, "--session-id", "1", "--peer-session-id", "2", "--pw", "ppp",
		"--user", "alice", "--password-file", file(t, "wrong"), "--socks", "127.0.0.1:0")
	if status := wrong.wait(t); status != 1 {
		t.Errorf("exit status %d with a wrong password, want 1", status)
	}
	if text := wrong.stderr.String(); !strings.Contains(text, "hint: check --user, --password-file") {
		t.Errorf("it says\n%s", text)
	}
}

// Two ends at a hub that leases addresses to them, one of which is a command, reach each
// other.
func TestAHubBetweenTwoPseudowires(t *testing.T) {
	local, north, south := freeUDP(t), freeUDP(t), freeUDP(t)
	ports := file(t, "# sites\n\nnorth\n\tremote "+north+"\n\tsession-id 1\n\tpeer-session-id 11\n\tcookie deadbeef\n\tpeer-cookie 0xdeadbeef\n")
	capture := file(t, "")
	hub := start(t, "hub", "--local", local, "--ports-file", ports, "--port", "south,remote="+south+",session-id=2,peer-session-id=12,l2spec=default",
		"--address", "10.9.0.1/24", "--serve-dhcp", "10.9.0.100-199", "--no-ipv6", "--socks", "127.0.0.1:0", "--pcap", capture)
	inside := hub.stdout.find(t, `hub of north \(`+north+`\), south \(`+south+`\), address 10\.9\.0\.1, DHCP 10\.9\.0\.100-10\.9\.0\.199; SOCKS5 on (\S+)\n`)

	site := far(t, &node.Pseudowire{Local: north, Remote: local, DHCP: true, NoIPv6: true, Static: endpoint.StaticConfig{
		SessionID: 11, PeerSessionID: 1, Cookie: []byte{0xde, 0xad, 0xbe, 0xef}, PeerCookie: []byte{0xde, 0xad, 0xbe, 0xef}}})
	page(t, site)
	if _, err := site.Ping(t.Context(), netip.MustParseAddr("10.9.0.1"), nil); err != nil {
		t.Error(err)
	}
	cmd := start(t, "pseudowire", "--local", south, "--remote", local, "--session-id", "12", "--peer-session-id", "2", "--l2spec", "default",
		"--dhcp", "--socks", "127.0.0.1:0", "--no-ipv6")
	socks := cmd.stdout.find(t, `Ethernet pseudowire to `+local+`, address 10\.9\.0\.1\d\d, DNS none; SOCKS5 on (\S+)\n`)
	for _, proxy := range []string{socks, inside} {
		fetches(t, site.Status().Current.Addresses[0].String(), proxy)
	}
	for _, c := range []*command{cmd, hub} {
		c.stop()
		if status := c.wait(t); status != 0 {
			t.Errorf("exit status %d after Ctrl-C, want 0; %s", status, c.stderr)
		}
	}
	if b, err := os.ReadFile(capture); err != nil || len(b) < 1000 {
		t.Errorf("expected a capture, found %d bytes, %v", len(b), err)
	}
}

func TestPortsOfAHub(t *testing.T) {
	want := &port{name: "north", local: "127.0.0.1:1702", isolated: true, mtu: 1400, wireFlags: wireFlags{
		Remote: "[2001:db8::7]:1701", SessionID: 1, PeerSessionID: 0x2a, Cookie: cookie{0xde, 0xad, 0xbe, 0xef}, PeerCookie: cookie{1, 2, 3, 4, 5, 6, 7, 8},
		L2spec: "default", Seq: "both", ReorderTimeout: span(100 * time.Millisecond), PW: pseudowire{endpoint.PseudowireVLAN, 7}}}
	spec := "north,local=127.0.0.1:1702,remote=[2001:db8::7]:1701,session-id=1,peer-session-id=0x2a,cookie=deadbeef,peer-cookie=0x0102030405060708," +
		"l2spec=default,seq=both,reorder-timeout=100ms,pw=vlan:7,mtu=1400,isolated"
	for _, spec := range []string{spec, "name=" + spec, strings.ReplaceAll(spec, ",", ", ")} {
		if found, err := parsePort(spec); err != nil || !reflect.DeepEqual(found, want) {
			t.Errorf("%s: expected %+v, found %+v, %v", spec, want, found, err)
		}
	}
	lines := strings.ReplaceAll(strings.ReplaceAll(spec, ",", "\n\t"), "=", " ")
	found, err := readPorts(file(t, "# one\n"+lines+"\r\n\nsouth\n  remote 192.0.2.8:1701\n  session-id 2\n  peer-session-id 2\n"))
	if err != nil || len(found) != 2 || !reflect.DeepEqual(found[0], want) || found[1].name != "south" || found[1].SessionID != 2 {
		t.Errorf("expected %+v and another one, found %+v, %v", want, found, err)
	}
}

func TestAMistakeInAHub(t *testing.T) {
	const good = "north,remote=127.0.0.1:17020,session-id=1,peer-session-id=2"
	for _, c := range []struct {
		name string
		args []string
		want string
	}{
		{"no port", nil, "expected --port or --ports-file, found none"},
		{"half a port", []string{"--port", "north,session-id=1"}, "--port north: expected remote, peer-session-id, found none"},
		{"an unknown word", []string{"--port", "north,colour=red"}, `found "colour"`},
		{"a bad cookie", []string{"--port", good + ",cookie=12"}, "--port north: cookie: expected 8 or 16"},
		{"PPP", []string{"--port", good + ",pw=ppp"}, "expected ethernet or vlan:ID in a hub, found ppp"},
		{"a name twice", []string{"--port", good, "--port", good}, `found "north" twice`},
		{"ids twice", []string{"--port", good, "--port", "x" + good}, "in use"},
		{"no port in the file", []string{"--ports-file", file(t, "# none\n")}, "expected ports in"},
		{"no such file", []string{"--ports-file", "/nowhere/at/all"}, "cannot read the ports"},
		{"a line above all ports", []string{"--ports-file", file(t, "\tremote 127.0.0.1:1\n")}, "line 1: expected the name of a port first"},
		{"a line with too much", []string{"--ports-file", file(t, "north\n\tremote 127.0.0.1:1 127.0.0.1:2\n")}, "line 2: expected a word and its value"},
		{"a bad line", []string{"--ports-file", file(t, "north\n\tsession-id 0\n")}, "line 2: session-id: expected a number from 1"},
		{"half a port in the file", []string{"--ports-file", file(t, "north\n\tsession-id 1\nsouth\n")}, "line 1: expected remote, peer-session-id"},
		{"half a port at the end", []string{"--ports-file", file(t, "# x\nnorth\n\tsession-id 1\n")}, "line 2: expected remote, peer-session-id"},
		{"egress without an address", []string{"--port", good, "--egress"}, "expected an address of our own for --egress"},
		{"SOCKS without an address", []string{"--port", good, "--socks", "127.0.0.1:0"}, "expected an address of our own for --socks"},
		{"DHCP and serving it", []string{"--port", good, "--dhcp", "--serve-dhcp", "10.9.0.1-9"}, "expected addresses of our own"},
		{"a range that is none", []string{"--port", good, "--address", "10.9.0.1/24", "--serve-dhcp", "10.9.0.0/24"}, "--serve-dhcp: expected a range"},
		{"a range elsewhere", []string{"--port", good, "--address", "10.9.0.1/24", "--serve-dhcp", "10.8.0.1-9"}, "expected an address of our own in the subnet of the DHCP range"},
		{"somewhere else's address", []string{"--port", good, "--local", "192.0.2.1:1701"}, "cannot assign requested address"},
		{"a capture of two sockets", []string{"--port", good, "--port", "b,local=127.0.0.1:17021,remote=127.0.0.1:17020,session-id=2,peer-session-id=2", "--pcap", file(t, "")}, "--pcap: expected ports with one local address"},
		{"dialled and asked for", []string{"--port", "north,v3,answer,remote=127.0.0.1:17020"}, "--port north: expected v3, by which we dial, or answer"},
		{"nobody to dial", []string{"--port", "north,v3"}, "--port north: expected remote, found none"},
		{"a host to dial without a UDP port", []string{"--port", "north,v3,remote=127.0.0.1"}, "--remote: expected an address and a port"},
		{"a name that may ask", []string{"--port", "north,answer,remote=peer.example:1701"}, "remote: expected the address of who may ask"},
		{"an id that is negotiated", []string{"--port", good + ",v3"}, "expected no session-id, which v3 and answer negotiate"},
		{"a cookie that is negotiated", []string{"--port", "north,answer,cookie=deadbeef"}, "expected no cookie, which v3 and answer negotiate"},
		{"a circuit of a static session", []string{"--port", good + ",remote-end-id=red"}, "expected v3 or answer with remote-end-id"},
		{"a cookie of 5", []string{"--port", "north,answer,cookie-len=5"}, "cookie-len: expected 0, 4 or 8 octets"},
		{"numbers without a place", []string{"--port", "north,answer,l2spec=none,seq=both"}, "expected --l2spec default"},
		{"a word alone", []string{"--port", "north,answer=yes"}, "answer: expected it alone"},
		{"two that are asked for by one name", []string{"--port", "a,answer", "--port", "b,answer,remote-end-id=a"}, "expected another Remote End ID"},
		{"a secret of nobody", []string{"--port", good, "--secret-file", file(t, "tunsecret")}, "expected a port with v3 or answer with --secret-file"},
		{"a digest of nobody", []string{"--port", good, "--digest", "sha1"}, "expected a port with v3 or answer with --digest"},
		{"a digest without a secret", []string{"--port", "north,answer", "--digest", "sha1"}, "expected a tunnel secret or --integrity with --digest"},
		{"allowing without egress", []string{"--port", good, "--allow-host", "127.0.0.1"}, "expected --egress with --allow-host"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cmd := start(t, append([]string{"hub", "--local", freeUDP(t)}, c.args...)...)
			if status := cmd.wait(t); status != 2 {
				t.Errorf("exit status %d, want 2", status)
			}
			text := cmd.stderr.String()
			if !strings.Contains(text, c.want) {
				t.Errorf("expected %q in\n%s", c.want, text)
			}
			lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
			if len(lines) > 2 || len(lines) == 2 && !strings.HasPrefix(lines[1], "hint: ") {
				t.Errorf("expected one line and a hint, found\n%s", text)
			}
		})
	}
}
