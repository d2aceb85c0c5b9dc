package main

import (
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/l2tpnet/l2tpnet/endpoint"
)

// parsed is what `l2tpnet pseudowire` makes of its flags.
func parsed(t *testing.T, args ...string) *pseudowireCmd {
	t.Helper()
	var g struct {
		Pseudowire pseudowireCmd `cmd:""`
	}
	parser, err := kong.New(&g, kong.Vars{"auth": defaultAuth})
	if err != nil {
		t.Fatal(err)
	}
	base := []string{"pseudowire", "--local", "192.0.2.1:1701", "--remote", "192.0.2.7:1702", "--session-id", "1", "--peer-session-id", "0x2a"}
	if _, err := parser.Parse(append(base, args...)); err != nil {
		t.Fatal(err)
	}
	return &g.Pseudowire
}

func TestFlagsOfAPseudowire(t *testing.T) {
	for _, c := range []struct {
		flags string
		want  endpoint.StaticConfig // but for the ids
	}{
		{"", endpoint.StaticConfig{Type: endpoint.PseudowireEthernet}},
		{"--cookie deadbeef --peer-cookie 0x0123456789abcdef", endpoint.StaticConfig{Type: endpoint.PseudowireEthernet,
			Cookie: []byte{0xde, 0xad, 0xbe, 0xef}, PeerCookie: []byte{1, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef}}},
		{"--l2spec default", endpoint.StaticConfig{Type: endpoint.PseudowireEthernet, Sublayer: endpoint.SublayerDefault}},
		{"--l2spec none --seq none", endpoint.StaticConfig{Type: endpoint.PseudowireEthernet, Sublayer: endpoint.SublayerNone, Sequencing: endpoint.SequencingNone}},
		{"--seq both --reorder-timeout 100ms", endpoint.StaticConfig{Type: endpoint.PseudowireEthernet,
			Sequencing: endpoint.SequencingBoth, ReorderTimeout: 100 * time.Millisecond}},
		{"--seq recv --reorder-timeout 0.1", endpoint.StaticConfig{Type: endpoint.PseudowireEthernet,
			Sequencing: endpoint.SequencingRecv, ReorderTimeout: 100 * time.Millisecond}},
		{"--pw vlan:4094 --mtu 1400", endpoint.StaticConfig{Type: endpoint.PseudowireVLAN, VLAN: 4094, MTU: 1400}},
		{"--pw ip", endpoint.StaticConfig{Type: endpoint.PseudowireIP}},
	} {
		p, err := parsed(t, append(strings.Fields(c.flags), "--address", "10.77.0.5/24")...).pseudowire()
		if err != nil {
			t.Errorf("%q: %v", c.flags, err)
			continue
		}
		c.want.SessionID, c.want.PeerSessionID = 1, 0x2a
		if !reflect.DeepEqual(p.Static, c.want) {
			t.Errorf("%q: expected %+v, found %+v", c.flags, c.want, p.Static)
		}
		if want := []netip.Prefix{netip.MustParsePrefix("10.77.0.5/24")}; !reflect.DeepEqual(p.Addresses, want) {
			t.Errorf("%q: expected %v, found %v", c.flags, want, p.Addresses)
		}
	}
}

func TestGatewaysAreOfTwoFamilies(t *testing.T) {
	p, err := parsed(t, "--address", "10.77.0.5/24,fd00:77::5/64", "--gateway", "fd00:77::1", "--gateway", "10.77.0.1", "--dns", "10.77.0.1", "--mac", "02:00:5e:00:53:07").pseudowire()
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(p.Gateway, p.Gateway6, p.DNS, p.MAC, p.Addresses) != "10.77.0.1 fd00:77::1 [10.77.0.1] 02:00:5e:00:53:07 [10.77.0.5/24 fd00:77::5/64]" {
		t.Errorf("found %v %v %v %v %v", p.Gateway, p.Gateway6, p.DNS, p.MAC, p.Addresses)
	}
}

func TestAMistakeInAPseudowire(t *testing.T) {
	const (
		both    = "pseudowire --local 127.0.0.1:17019 --remote 127.0.0.1:17020"
		ids     = both + " --session-id 1 --peer-session-id 2"
		address = ids + " --address 10.77.0.5/24"
	)
	for _, c := range []struct {
		name string
		args string
		want string
	}{
		{"nothing", "pseudowire", "expected --local, --remote, --session-id, --peer-session-id, found none"},
		{"no ids", both, "expected --session-id, --peer-session-id, found none"},
		{"an id of 0", both + " --session-id 0", "from 1 to 4294967295"},
		{"an id that is too large", both + " --session-id 0x100000000", `found "0x100000000"`},
		{"an id in words", both + " --session-id one", `found "one"`},
		{"a cookie of 3 octets", ids + " --cookie abcdef", "expected 8 or 16 hexadecimal digits"},
		{"a cookie of QEMU's with few digits", ids + " --peer-cookie 0x5", "such as 0x00000005"},
		{"a cookie that is none", ids + " --cookie deadbeeg", `"deadbeeg"`},
		{"a sublayer", ids + " --l2spec atm", `expected none or default, found "atm"`},
		{"numbers for whom", ids + " --seq all", `found "all"`},
		{"numbers without a sublayer", address + " --seq both --l2spec none", "expected --l2spec default with --seq both"},
		{"waiting without numbers", address + " --reorder-timeout 100ms", "expected --seq recv or both with --reorder-timeout"},
		{"waiting for ever", address + " --seq both --reorder-timeout 1h", "--reorder-timeout: expected a time of at most a minute"},
		{"a user without PPP", address + " --user alice", "expected --pw ppp with --user"},
		{"a password without PPP", address + " --password-file /nowhere", "expected --pw ppp with --password-file"},
		{"waiting backwards", address + " --seq both --reorder-timeout -1s", "--reorder-timeout"},
		{"a type", ids + " --pw atm", "expected ethernet, vlan:ID, ppp or ip"},
		{"no VLAN", ids + " --pw vlan", "expected ethernet, vlan:ID, ppp or ip"},
		{"VLAN 4095", ids + " --pw vlan:4095", "expected a VLAN from 1 to 4094"},
		{"an address without a length", ids + " --address 10.77.0.5", "such as 10.77.0.5/24"},
		{"address and DHCP", address + " --dhcp", "expected --address or --dhcp, found both"},
		{"gateway and DHCP", ids + " --dhcp --gateway 10.77.0.1", "expected --gateway or --dhcp"},
		{"two gateways", address + " --gateway 10.77.0.1 --gateway 10.77.0.2", "found 10.77.0.1 and 10.77.0.2"},
		{"DHCP without Ethernet", ids + " --pw ip --dhcp", "expected --pw ethernet or vlan:ID with --dhcp"},
		{"a router without Ethernet", ids + " --pw ip --address 10.77.0.5/24 --gateway 10.77.0.1", "expected --pw ethernet or vlan:ID with --gateway"},
		{"a router elsewhere", address + " --gateway 10.78.0.1 --socks 127.0.0.1:0", "l2tpnet: the router 10.78.0.1 is in none"},
		{"a subnet's address", ids + " --address 10.77.0.0/24 --socks 127.0.0.1:0", "no address of a host"},
		{"a group's address", ids + " --pw ip --address 224.0.0.1/24 --socks 127.0.0.1:0", "only unicast ones"},
		{"IPv6 without IPv6", address + " --no-ipv6 --dns 2001:db8::53 --socks 127.0.0.1:0", "cannot be asked without IPv6"},
		{"IPv4 and IPv6", "pseudowire --local 127.0.0.1:17019 --remote [::1]:17019 --session-id 1 --peer-session-id 2 --address 10.77.0.5/24", "both ends to have IPv4 or IPv6"},
		{"no address", ids + " --no-ipv6", "expected --address or --dhcp, found none"},
		{"no address for IP", ids + " --pw ip", "expected --address or --dhcp, found none"},
		{"a group's MAC", address + " --mac 01:00:5e:00:00:01", "expected the address of one interface"},
		{"no port", "pseudowire --local :17019 --remote 192.0.2.7 --session-id 1 --peer-session-id 2", "--remote: expected an address and a port"},
		{"an address that is not ours", "pseudowire --local 192.0.2.1:1701 --remote 127.0.0.1:1701 --session-id 1 --peer-session-id 2 --address 10.0.0.1/24 --socks 127.0.0.1:0", "cannot listen on 192.0.2.1:1701: cannot assign requested address"},
		{"a small MTU", address + " --mtu 20", "expected an MTU of"},
		{"users without PPP", ids + " --users-file /nowhere", "expected --pw ppp with --users-file"},
		{"a server without an address", ids + " --pw ppp --users-file " + file(t, "alice:s3cret\n"), "expected --address with --users-file"},
		{"an address for PPP", ids + " --pw ppp --dhcp", "expected --pw ethernet"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cmd := start(t, strings.Fields(c.args)...)
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

// The other end's options are ours the other way round.
func TestHowTheOtherEndIsMade(t *testing.T) {
	for _, c := range []struct {
		flags string
		want  []string
	}{
		{"", []string{
			"ip l2tp add tunnel tunnel_id 1 peer_tunnel_id 1 encap udp local 192.0.2.7 remote 192.0.2.1 udp_sport 1702 udp_dport 1701",
			"ip l2tp add session tunnel_id 1 session_id 42 peer_session_id 1 l2spec_type none",
			"-netdev l2tpv3,id=n0,udp=on,src=192.0.2.7,srcport=1702,dst=192.0.2.1,dstport=1701,rxsession=42,txsession=1",
		}},
		{"--cookie deadbeef --peer-cookie 01234567 --l2spec default", []string{
			"session_id 42 peer_session_id 1 cookie 01234567 peer_cookie deadbeef l2spec_type default",
			"rxsession=42,txsession=1,rxcookie=0xdeadbeef,txcookie=0x01234567,counter=on,pincounter=on",
		}},
		{"--cookie 0x0123456789abcdef --peer-cookie 0x00000000deadbeef", []string{
			"cookie 00000000deadbeef peer_cookie 0123456789abcdef l2spec_type none", "txcookie=0x00000000deadbeef,cookie64=on",
		}},
		{"--seq send", []string{"l2spec_type default seq recv"}},
		{"--seq recv", []string{"l2spec_type default seq send"}},
		{"--pw vlan:7", []string{"ip link add link l2tpeth0 name l2tpeth0.7 type vlan id 7"}},
	} {
		cmd := parsed(t, append(strings.Fields(c.flags), "--address", "10.77.0.5/24")...)
		text := strings.Join(cmd.otherEnd("192.0.2.1:1701"), "\n")
		for _, w := range c.want {
			if !strings.Contains(text, w) {
				t.Errorf("%q: expected %q in\n%s", c.flags, w, text)
			}
		}
	}
	for _, flags := range []string{"--pw ip", "--pw ppp"} {
		if lines := parsed(t, strings.Fields(flags)...).otherEnd("192.0.2.1:1701"); len(lines) > 0 {
			t.Errorf("%s: expected nothing, since neither has it, found %q", flags, lines)
		}
	}
	if text := strings.Join(parsed(t, "--cookie", "deadbeef").otherEnd("192.0.2.1:1701"), "\n"); strings.Contains(text, "netdev") {
		t.Errorf("QEMU has both cookies or none, found\n%s", text)
	}
}
