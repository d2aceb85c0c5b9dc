package integration

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/l2tpnet/l2tpnet/endpoint/node"
	"github.com/l2tpnet/l2tpnet/integration/guest"
	"golang.org/x/net/dns/dnsmessage"
)

// xl2tpd and pppd on a Linux kernel call serve, and go out through it: 10 MiB by IPv4 and by IPv6, whose prefix the kernel
// makes its address of because serve answers its router solicitation, names by the forwarder at the gateway, and from one
// client to the other. What is the host's own is refused, unless it is allowed.
//
// The world outside are addresses that no interface of the namespace has, but its routes take them in. That they come back
// serve finds out when it dials them, and so they must be allowed, as the host's own must be.
func TestXl2tpdGoesOut(t *testing.T) {
	t.Parallel()
	if !inNamespace(t) {
		return
	}
	sh(t, `
		ip route add local 198.51.100.0/24 dev lo
		ip -6 route add local 2001:db8:80::/64 dev lo
		ip addr add 192.0.2.80/32 dev lo`)
	if err := os.WriteFile("/proc/sys/net/ipv4/ping_group_range", pingGroups(), 0); err != nil {
		t.Fatal(err)
	}
	site := http.NewServeMux()
	site.HandleFunc("/blob", func(w http.ResponseWriter, _ *http.Request) { w.Write(guest.Blob()) })
	port := serveWeb(t, "tcp", ":0", site)
	names := serveNames(t, netip.MustParseAddr("198.51.100.80"), netip.MustParseAddr("2001:db8:80::80"))

	p := start(t, "serve", "--listen", "127.0.0.1:0", "--users-file", file(t, "alice:s3cret\nbob:s3cret"),
		"--pool", "10.77.0.0/24", "--pool6", "fd00:77::/48", "--egress", "--allow-host", "198.51.100.0/24", "--allow-host", fmt.Sprintf("[2001:db8:80::80]:%d", port), "--allow-host", "2001:db8:80::81",
		"--dns-forward", names.String(), "--client-to-client", "-v")
	server := portIn(t, p.line(t))

	g := guest.Boot(t)
	g.Run(t, "echo 2 >/proc/sys/net/ipv6/conf/default/accept_ra") // although it forwards
	g.Run(t, fmt.Sprintf("lac %d mschapv2 ipv6", server))
	if line := p.line(t); !strings.Contains(line, "alice") {
		t.Errorf("serve's line for a caller: expected alice's, found %q", line)
	}
	g.Run(t, "ip route replace default dev ppp0") // not through QEMU's own network
	g.Run(t, `wait_for eval "ip -6 route show default | grep -q 'via fe80::1 dev ppp0'"`)
	address := g.Expect(t, g.Run(t, "ip -6 addr show dev ppp0 scope global"), `inet6 (fd00:77:[0-9a-f:]*)/64`)[1]
	t.Logf("the guest's kernel made the address %s of what serve advertised", address)

	want := fmt.Sprintf("%x", sha256.Sum256(guest.Blob()))
	fetch := func(t *testing.T, url string) {
		t.Helper()
		if m := g.Expect(t, g.Run(t, "fetch "+url), `^guest: sha256 (\S+)`); m[1] != want {
			t.Errorf("%s: expected the sha256 %s, found %s", url, want, m[1])
		}
	}
	t.Run("IPv4", func(t *testing.T) { fetch(t, fmt.Sprintf("http://198.51.100.80:%d/blob", port)) })
	t.Run("IPv6", func(t *testing.T) { fetch(t, fmt.Sprintf("http://[2001:db8:80::80]:%d/blob", port)) })
	t.Run("echo", func(t *testing.T) {
		for _, ping := range []string{"ping -c 3 -i 0.2 198.51.100.80", "ping -6 -c 3 -i 0.2 2001:db8:80::81"} {
			g.Run(t, ping)
		}
	})
	t.Run("names", func(t *testing.T) {
		mark := g.Run(t, "cat /etc/ppp/resolv.conf")
		g.Expect(t, mark, `^nameserver 10\.77\.0\.1$`) // as IPCP has told it
		g.Run(t, "ln -sf /etc/ppp/resolv.conf /etc/resolv.conf")
		fetch(t, fmt.Sprintf("http://web.outside.test:%d/blob", port))
		for query, answer := range map[string]string{
			"nslookup -type=a web.outside.test 10.77.0.1":    `198\.51\.100\.80`,
			"nslookup -type=aaaa web.outside.test 10.77.0.1": `2001:db8:80::80`,
		} {
			g.Expect(t, g.Run(t, query), `^Address.*`+answer)
		}
	})
	t.Run("what is the host's own", func(t *testing.T) {
		other := serveWeb(t, "tcp", ":0", site)
		for _, url := range []string{
			fmt.Sprintf("http://192.0.2.80:%d/blob", port),
			fmt.Sprintf("http://[2001:db8:80::80]:%d/blob", other), // one port of it is allowed
			fmt.Sprintf("http://[::ffff:192.0.2.80]:%d/blob", port),
		} {
			g.Run(t, "! wget -T 20 -q -O - "+url)
		}
	})
	t.Run("client to client", func(t *testing.T) {
		c, err := node.Dial(t.Context(), &node.Client{Server: fmt.Sprintf("127.0.0.1:%d", server), User: "bob", Password: "s3cret"})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		ln, err := c.Listen("tcp", ":80")
		if err != nil {
			t.Fatal(err)
		}
		go http.Serve(ln, site)
		for _, a := range c.Status().Current.Addresses {
			if a.IsLinkLocalUnicast() {
				continue // links end at the server
			}
			t.Logf("the other client is at %v", a)
			fetch(t, fmt.Sprintf("http://%s/blob", netip.AddrPortFrom(a, 80)))
		}
		for _, a := range []string{g.Expect(t, g.Run(t, "ip -4 addr show dev ppp0"), `inet (10\.77\.0\.\d+)`)[1], address} {
			ctx, cancel := context.WithTimeout(t.Context(), guest.Patience)
			if _, err := c.Ping(ctx, netip.MustParseAddr(a), nil); err != nil {
				t.Errorf("a ping to the guest at %s: %v", a, err)
			}
			cancel()
		}
	})
	g.Run(t, fmt.Sprintf("hangup %d", server))
	p.interrupt(t)
}

// sh runs commands, each in a line.
func sh(t *testing.T, commands string) {
	t.Helper()
	for line := range strings.Lines(commands) {
		args := strings.Fields(line)
		if len(args) == 0 {
			continue
		}
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", strings.TrimSpace(line), err, out)
		}
	}
}

// pingGroups are the groups of those who may ask for ICMP sockets: l2tpnet's.
func pingGroups() []byte {
	if dropsPrivileges() {
		return fmt.Appendf(nil, "%d %d", nobody, nobody)
	}
	return []byte("0 0")
}

var answeringOn = regexp.MustCompile(`answering on 127\.0\.0\.1:(\d+)`)

// portIn is the port of serve's first line.
func portIn(t *testing.T, hello string) (port int) {
	t.Helper()
	m := answeringOn.FindStringSubmatch(hello)
	if m == nil {
		t.Fatalf("serve's first line: expected where it answers, like %q, found %q", answeringOn, hello)
	}
	fmt.Sscan(m[1], &port)
	return port
}

// serveWeb serves a site, and returns the port.
func serveWeb(t *testing.T, network, address string, site http.Handler) int {
	t.Helper()
	ln, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: site}
	go s.Serve(ln)
	t.Cleanup(func() { s.Close() })
	return ln.Addr().(*net.TCPAddr).Port
}

// serveNames is a DNS server, by UDP and TCP, that answers every question with the address of its type.
func serveNames(t *testing.T, a, aaaa netip.Addr) netip.AddrPort {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	at := ln.Addr().(*net.TCPAddr).AddrPort()
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	answer := func(question []byte) []byte {
		var m dnsmessage.Message
		if m.Unpack(question) != nil || len(m.Questions) != 1 {
			return nil
		}
		q := m.Questions[0]
		m.Response, m.Additionals = true, nil
		h := dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET, TTL: 60}
		switch q.Type {
		case dnsmessage.TypeA:
			m.Answers = []dnsmessage.Resource{{Header: h, Body: &dnsmessage.AResource{A: a.As4()}}}
		case dnsmessage.TypeAAAA:
			m.Answers = []dnsmessage.Resource{{Header: h, Body: &dnsmessage.AAAAResource{AAAA: aaaa.As16()}}}
		}
		b, _ := m.Pack()
		return b
	}
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			conn.WriteToUDPAddrPort(answer(buf[:n]), from)
		}
	}()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				length := make([]byte, 2) // RFC 1035 §4.2.2
				for {
					if _, err := io.ReadFull(c, length); err != nil {
						return
					}
					question := make([]byte, binary.BigEndian.Uint16(length))
					if _, err := io.ReadFull(c, question); err != nil {
						return
					}
					b := answer(question)
					c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...))
				}
			}()
		}
	}()
	return at
}
