package node

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
)

// testOwn is what belongs to the server's clients.
func testOwn(a netip.Addr) bool {
	return netip.MustParsePrefix("10.77.0.0/24").Contains(a) || netip.MustParsePrefix("2001:db8:77::/48").Contains(a)
}

func testPolicy(t *testing.T, allow ...string) *policy {
	p := &policy{
		own: testOwn,
		interfaces: func() ([]net.Addr, error) {
			var list []net.Addr
			for _, s := range []string{"127.0.0.1/8", "::1/128", "192.0.2.10/24", "198.51.100.1/32", "2001:db8:1::10/64", "fe80::1/64"} {
				ip, n, err := net.ParseCIDR(s)
				if err != nil {
					t.Fatal(err)
				}
				list = append(list, &net.IPNet{IP: ip, Mask: n.Mask})
			}
			return list, nil
		},
	}
	for _, s := range allow {
		a, err := ParseAllow(s)
		if err != nil {
			t.Fatal(err)
		}
		p.allow = append(p.allow, a)
	}
	return p
}

// "the host's loopback, link-local and own addresses refused unless listed": as
// such, and in the forms of IPv6 that have them in it.
func TestEgressPolicy(t *testing.T) {
	p := testPolicy(t)
	for _, row := range []struct{ to, why string }{
		{"203.0.113.5", ""},
		{"192.168.1.1", ""}, // the host's neighbours are not the host
		{"192.0.2.11", ""},
		{"2001:db8:1::11", ""},
		{"2606:4700::1", ""},
		{"64:ff9b::203.0.113.5", ""},
		{"2002:cb00:7105::1", ""}, // 203.0.113.5

		{"127.0.0.1", "loopback"},
		{"127.1.2.3", "loopback"},
		{"0.0.0.0", "this host"},
		{"0.1.2.3", "this host"},
		{"::", "this host"},
		{"::1", "loopback"},
		{"169.254.169.254", "link-local"},
		{"fd00:ec2::254", "metadata"},
		{"100.100.100.200", "metadata"},
		{"64:ff9b::168.63.129.16", "metadata"},
		{"fe80::1", "link-local"},
		{"febf::1", "link-local"},
		{"fec0::1", "site-local"},
		{"224.0.0.251", "multicast"},
		{"239.1.1.1", "multicast"},
		{"255.255.255.255", "broadcast"},
		{"ff02::1", "multicast"},
		{"ff0e::1", "multicast"},

		{"192.0.2.10", "host's own address"},
		{"198.51.100.1", "host's own address"},
		{"2001:db8:1::10", "host's own address"},
		{"2001:db8:1::", "anycast"},
		{"192.0.2.255", "broadcast"},
		{"192.0.2.0", "broadcast"},
		{"10.77.0.9", "of the server's clients"},
		{"2001:db8:77:1::2", "of the server's clients"},

		{"::ffff:127.0.0.1", "127.0.0.1"},
		{"::ffff:169.254.169.254", "169.254.169.254"},
		{"::ffff:192.0.2.10", "192.0.2.10"},
		{"::127.0.0.1", "127.0.0.1"},
		{"::ffff:0:127.0.0.1", "127.0.0.1"},
		{"64:ff9b::127.0.0.1", "127.0.0.1"},
		{"64:ff9b::169.254.169.254", "169.254.169.254"},
		{"64:ff9b::192.0.2.10", "192.0.2.10"},
		{"64:ff9b:1::127.0.0.1", "127.0.0.1"},
		{"64:ff9b:1::203.0.113.5", ""},
		{"64:ff9b:1:7f00:0:100::", "127.0.0.1"},     // RFC 6052 §2.2: by a prefix of 48 bits
		{"64:ff9b:1:12c0:0:20a::", "192.0.2.10"},    // 56 bits
		{"64:ff9b:1:1234:c0:2:a00:0", "192.0.2.10"}, // 64 bits
		{"64:ff9b:1:cb00:71:500::", ""},
		{"2002:7f00:1::1", "127.0.0.1"},
		{"2002:a9fe:a9fe::1", "169.254.169.254"},
		{"2001:0:5ef5:79fb:0:59d:80ff:fffe", "127.0.0.1"}, // Teredo: ^80fffffe
	} {
		got := p.refuses(netip.AddrPortFrom(netip.MustParseAddr(row.to), 80))
		if (row.why == "") != (got == "") || !strings.Contains(got, row.why) {
			t.Errorf("%s: %q, want %q", row.to, got, row.why)
		}
	}
}

// What is listed is allowed, at the ports that are listed, and nothing besides: not
// in another form either, nor the server's clients.
func TestEgressPolicyAllows(t *testing.T) {
	p := testPolicy(t, "127.0.0.1:8080", "192.0.2.10", "169.254.0.0/16", "[::1]:53", "10.77.0.9", "64:ff9b::192.0.2.10")
	for to, want := range map[string]bool{
		"127.0.0.1:8080":             true,
		"127.0.0.1:8081":             false,
		"127.0.0.2:8080":             false,
		"192.0.2.10:1":               true,
		"169.254.169.254:80":         true,
		"[::1]:53":                   true,
		"[::1]:54":                   false,
		"[::ffff:127.0.0.1]:8080":    false,
		"[64:ff9b::127.0.0.1]:8080":  false,
		"[64:ff9b::192.0.2.10]:8080": true,
		"10.77.0.9:80":               false,
	} {
		if got := p.refuses(netip.MustParseAddrPort(to)); (got == "") != want {
			t.Errorf("%s: refused %q, allowed should be %v", to, got, want)
		}
	}
}

// Without knowing which addresses are the host's, none is let through; but those
// that are listed.
func TestEgressPolicyWithoutInterfaces(t *testing.T) {
	p := testPolicy(t, "192.0.2.11")
	p.interfaces = func() ([]net.Addr, error) { return nil, errors.New("no netlink today") }
	if got := p.refuses(netip.MustParseAddrPort("203.0.113.5:80")); !strings.Contains(got, "no netlink today") {
		t.Errorf("%q", got)
	}
	if got := p.refuses(netip.MustParseAddrPort("192.0.2.11:80")); got != "" {
		t.Errorf("%q", got)
	}
}

func TestParseAllow(t *testing.T) {
	for _, row := range []struct{ text, want string }{
		{"127.0.0.1", "127.0.0.1"},
		{"127.0.0.1:80", "127.0.0.1:80"},
		{"::1", "::1"},
		{"[::1]:80", "[::1]:80"},
		{"169.254.0.0/16", "169.254.0.0/16"},
		{"fe80::/10", "fe80::/10"},
		{"::ffff:10.0.0.1", "10.0.0.1"},
		{"2001:db8::1", "2001:db8::1"},
	} {
		a, err := ParseAllow(row.text)
		if err != nil || a.String() != row.want {
			t.Errorf("%q: %v, %v", row.text, a, err)
		}
	}
	for _, row := range []struct{ text, want string }{
		{"", "expected an IP address"},
		{"localhost", "expected an IP address"},
		{"localhost:80", "expected an IP address"},
		{"127.0.0.1:", "expected a port"},
		{"127.0.0.1:0", "expected a port"},
		{"127.0.0.1:65536", "expected a port"},
		{"127.0.0.1:http", "expected a port"},
		{"127.0.0.1/8", "expected 127.0.0.0/8"},
		{"127.0.0.0/33", "expected a prefix"},
		{"127.0.0.0/8:80", "without a port"},
		{"[::1]", "[address]:port"},
		{"[::1", "[address]:port"},
		{"fe80::1%eth0", "without a zone"},
		{"::ffff:10.0.0.0/104", "IPv4 addresses as such"},
	} {
		if a, err := ParseAllow(row.text); err == nil || !strings.Contains(err.Error(), row.want) || !strings.Contains(err.Error(), row.text) {
			t.Errorf("%q: %v, %v; want %q", row.text, a, err, row.want)
		}
	}
}
