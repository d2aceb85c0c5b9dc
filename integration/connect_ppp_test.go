package integration

import (
	"net/netip"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/l2tpnet/l2tpnet/integration/guest"
)

// We dial pppd, which asks for EAP. It begins with MD5; who wants MSCHAPv2 refuses that with a Nak and says so (RFC 3748
// §5.3.1). After MSCHAPv2's own Success it sends no EAP Success.
func TestConnectWithEAP(t *testing.T) {
	t.Parallel()
	g := guest.Boot(t, 1701)
	traffic := newCapture(t)
	server := traffic.relay(t, g.Addr(1701))
	password, wrong := file(t, "s3cret"), file(t, "wrong")
	g.Run(t, "lns 1701 eap")
	for _, auth := range []struct{ name, success, failure string }{
		{"eap-md5", `sent \[EAP Success `, `sent \[EAP Failure `},
		{"eap-mschapv2", `EAP: MSCHAPv2 success for peer alice`, `EAP: MSCHAPv2 failure for peer alice`},
	} {
		t.Run(auth.name, func(t *testing.T) {
			mark := g.Mark()
			pcap := file(t, "")
			c := connect(t, server, "--user", "alice", "--password-file", password, "--auth", auth.name, "--socks", "127.0.0.1:0", "--pcap", pcap, "-v")
			g.Expect(t, mark, auth.success)
			sameBytes(t, guest.Page, c.get(t, "http://web.inside.test/"))
			c.interrupt(t)
			judgePcap(t, pcap, netip.MustParseAddrPort(server).Port())
		})
		t.Run("wrong password with "+auth.name, func(t *testing.T) {
			mark := g.Mark()
			complaint := refused(t, server, "--user", "alice", "--password-file", wrong, "--auth", auth.name)
			if !strings.Contains(complaint, auth.name+` authentication of user "alice" failed`) {
				t.Errorf("expected a complaint about the authentication, found %q", complaint)
			}
			g.Expect(t, mark, auth.failure)
		})
	}
	t.Run("tshark finds nothing malformed", func(t *testing.T) { traffic.judge(t, dialler) })
}

// With MPPE, none of 10 MiB goes either way in clear, and who insists on it gets nothing from who refuses it.
func TestConnectWithMPPE(t *testing.T) {
	t.Parallel()
	g := guest.Boot(t, 1701, 1702, 1703)
	flags := []string{"--user", "alice", "--password-file", file(t, "s3cret"), "--auth", "mschapv2"}
	traffic := newCapture(t)
	encrypting, plain := traffic.relay(t, g.Addr(1701)), traffic.relay(t, g.Addr(1702))
	g.Run(t, "lns 1701 mschapv2 mppe")
	g.Run(t, "lns 1702 mschapv2")

	if os.Getenv("L2TPNET_FULL") == "1" {
		t.Run("40 bit", func(t *testing.T) {
			g.Run(t, "lns 1703 mschapv2 mppe40")
			mark := g.Mark()
			c := connect(t, traffic.relay(t, g.Addr(1703)), append(flags, "--mppe", "required", "--socks", "127.0.0.1:0", "-v")...)
			g.Expect(t, mark, `MPPE 40-bit stateless compression enabled`)
			sameBytes(t, guest.Page, c.get(t, "http://10.9.0.1/"))
			c.interrupt(t)
		})
	}
	t.Run("required", func(t *testing.T) {
		mark := g.Mark()
		c := connect(t, encrypting, append(flags, "--mppe", "required", "--socks", "127.0.0.1:0", "-v")...)
		g.Expect(t, mark, `MPPE 128-bit stateless compression enabled`)
		sameBytes(t, string(guest.Blob()), c.get(t, "http://10.9.0.1/blob"))
		c.interrupt(t)
	})
	t.Run("pppd insists", func(t *testing.T) {
		complaint := refused(t, encrypting, append(flags, "--mppe", "off")...)
		if !strings.Contains(complaint, "MPPE required but peer negotiation failed") {
			t.Errorf("expected a complaint in pppd's words, found %q", complaint)
		}
	})
	t.Run("we insist", func(t *testing.T) {
		complaint := refused(t, plain, append(flags, "--mppe", "required")...)
		if !strings.Contains(complaint, "MPPE") {
			t.Errorf("expected a complaint about MPPE, found %q", complaint)
		}
	})
	traffic.mustBeSealed(t)
	t.Run("tshark finds nothing malformed", func(t *testing.T) { traffic.judge(t, dialler) })
}

// Beside IPv4, IPV6CP: pppd has fixed interface identifiers and insists that ours is another than the one that we come
// with. Each end reaches the other by its link-local address (RFC 5072 §5). What the router advertises, because we solicit
// it, gives us an address (RFC 4862 §5.5.3), the MTU (RFC 4861 §4.6.4) and the DNS server (RFC 8106 §5.1).
func TestConnectWithIPv6(t *testing.T) {
	t.Parallel()
	g := guest.Boot(t, 1701)
	traffic := newCapture(t)
	server := traffic.relay(t, g.Addr(1701))
	flags := []string{"--user", "alice", "--password-file", file(t, "s3cret"), "--auth", "mschapv2"}
	g.Run(t, "lns 1701 mschapv2 ipv6")

	mark := g.Mark()
	c := connect(t, server, append(flags, "--socks", "127.0.0.1:0", "-v")...)
	device := g.Expect(t, mark, `^guest: IPv6 up on (\S+): fe80::(?:0000:){3}0001 fe80::(?:0000:){3}0002$`)[1]
	g.Expect(t, mark, `^rad: .*advertised on `+device+` to fe80::2\b`)
	g.Run(t, "ping -6 -c 3 -i 0.2 fe80::2%"+device)               // the advertisement is ahead of that: from here on we have all it says
	sameBytes(t, guest.Page, c.get(t, "http://web.inside.test/")) // only the DNS server that was advertised has been told to us
	sameBytes(t, string(guest.Blob()), c.get(t, "http://[2001:db8:9::1]/blob"))
	c.interrupt(t)

	for _, ping := range []struct{ target, count, replies string }{
		{"fe80::1", "3", "3"},
		{"2001:db8:9::1", "20", `[1-9]\d*`}, // the first ones may be ahead of the advertisement
	} {
		p := start(t, append([]string{"ping", server, ping.target, "-c", ping.count, "-i", "200ms", "-v"}, flags...)...)
		if status := p.wait(t); status != 0 {
			t.Errorf("ping %s: expected success, found status %d", ping.target, status)
		}
		var said strings.Builder
		for line := range p.lines {
			said.WriteString(line + "\n")
		}
		if !regexp.MustCompile(` packets transmitted, ` + ping.replies + ` received`).MatchString(said.String()) {
			t.Errorf("ping %s: expected %s replies, found\n%s", ping.target, ping.replies, said.String())
		}
	}
	t.Run("tshark finds what was advertised", func(t *testing.T) {
		syns := traffic.fields(t, "ip.src == "+dialler.String()+" && ipv6 && tcp.flags.syn == 1", "ipv6.src", "tcp.options.mss_val")
		if len(syns) == 0 {
			t.Error("expected our SYNs over IPv6, found none")
		}
		for _, f := range syns {
			if !strings.HasPrefix(f[0], "2001:db8:9:1:") || f[1] != "1240" {
				t.Errorf("our SYN: expected it from an address in the prefix, with an MSS of 1240 for the MTU of 1300, found %s and %s", f[0], f[1])
			}
		}
	})
	t.Run("tshark finds nothing malformed", func(t *testing.T) { traffic.judge(t, dialler) })
}
