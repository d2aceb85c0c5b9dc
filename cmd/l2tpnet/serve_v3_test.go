package main

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/l2tpnet/l2tpnet/endpoint"
	"github.com/l2tpnet/l2tpnet/endpoint/node"
)

func TestMistakesOfServeV3(t *testing.T) {
	users, secret := file(t, "alice:s3cret\n"), file(t, "tunsecret")
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "expected --users-file, or --v3"},
		{[]string{"--users-file", users, "--lan", "10.78.0.1/24"}, "expected --v3 with --lan"},
		{[]string{"--users-file", users, "--circuit", "red"}, "expected --v3 with --circuit"},
		{[]string{"--users-file", users, "--digest", "sha1"}, "expected --v3 with --digest"},
		{[]string{"--v3", "--lan", "10.78.0.1"}, `such as 10.78.0.1/24, found "10.78.0.1"`},
		{[]string{"--v3", "--lan", "10.78.0.255/24"}, "l2tpnet: 10.78.0.255/24 is no address of a host"},
		{[]string{"--v3", "--lan", "10.77.0.200/24"}, "hint: --lan is the network of Ethernet clients"},
		{[]string{"--v3", "--lan", "none"}, "hint: --lan gives them an Ethernet"},
		{[]string{"--v3", "--lan", "none", "--lan-dhcp", "10.78.0.9-10.78.0.10"}, "expected a LAN with --lan-dhcp, found --lan none"},
		{[]string{"--v3", "--lan-dhcp", "10.9.0.1-10.9.0.9"}, "in the network of --lan, 10.78.0.0/24, found 10.9.0.1-10.9.0.9"},
		{[]string{"--v3", "--lan-dhcp", "many"}, `--lan-dhcp: expected a range of IPv4 addresses such as 10.9.0.100-10.9.0.199, found "many"`},
		{[]string{"--v3", "--lan-advertise", "fd00:78::/48"}, "expected an IPv6 prefix of 64 bits"},
		{[]string{"--v3", "--circuit", "red,speed=9"}, `--circuit red: expected pw, address`},
		{[]string{"--v3", "--circuit", "pw=vlan:7"}, "expected a Remote End ID first"},
		{[]string{"--v3", "--circuit", "red,pw=vlan"}, "pw: expected ethernet, vlan:ID, ppp or ip"},
		{[]string{"--v3", "--circuit", "red,sessions=many"}, `sessions: expected a number of callers from 1, found "many"`},
		{[]string{"--v3", "--circuit", "red,isolated=yes"}, `isolated: expected it alone, found "yes"`},
		{[]string{"--v3", "--circuit", "red,pw=ip"}, "expected the address of who is at the other end"},
		{[]string{"--v3", "--circuit", "red,pw=ppp"}, `the circuit "red": expected users for PPP`},
		{[]string{"--v3", "--circuit", "red", "--circuit", "red"}, `the circuit "red": expected it once`},
		{[]string{"--v3", "--circuit", `"red`}, "perhaps in quotes"},
		{[]string{"--v3", "--circuits-file", "/nowhere/at/all"}, "cannot read the circuits"},
		{[]string{"--v3", "--circuits-file", file(t, "# nothing\n")}, "expected circuits in"},
		{[]string{"--v3", "--circuits-file", file(t, "\tpw ip\n")}, "line 1: expected the Remote End ID of a circuit first"},
		{[]string{"--v3", "--circuits-file", file(t, "red\n\tpw ip\n\naway\n")}, "line 1: expected the address of who is at the other end"},
		{[]string{"--v3", "--circuits-file", file(t, "red\n\tpw ip twice over\n")}, "line 2: expected a word and its value"},
		{[]string{"--v3", "--circuits-file", file(t, "red\npw vlan:7\n")}, "line 2: expected a Remote End ID, or, with a space before it, a word of the circuit above"},
		{[]string{"--v3", "--circuits-file", file(t, "red\n\tcookie-len 5\n")}, "line 2: cookie-len: expected 0, 4 or 8"},
	} {
		cmd := start(t, append([]string{"serve", "--listen", "127.0.0.1:0", "--secret-file", secret}, c.args...)...)
		if status := cmd.wait(t); status != 2 {
			t.Errorf("%v: exit status %d, want 2", c.args, status)
		}
		text := cmd.stderr.String()
		if lines := strings.Count(text, "\n"); !strings.Contains(text, c.want) || lines > 2 || strings.Contains(text, "netstack:") {
			t.Errorf("%v: expected %q in\n%s", c.args, c.want, text)
		}
	}
}

// Issue 7: "l2tpnet connect --v3 [--pw …] [--remote-end-id ID] … with pseudowire's addressing
// flags; l2tpnet serve --v3 … answers v2 and v3 on one port".
func TestServeTellsOfCallersByL2TPv3(t *testing.T) {
	secret, password := file(t, "tunsecret"), file(t, "s3cret")
	circuits := file(t, "# what there is\nred\n\tcookie-len 4\n\tseq both\n\nbranch office\n\tpw ip\n\taddress 10.77.0.50\n")
	serve, address := serving(t, "--v3", "--secret-file", secret, "--circuits-file", circuits, "--circuit", "blue,pw=vlan:7,isolated", "--lan-advertise", "fd00:78::/64")
	serve.stdout.find(t, `(L2TPv3 too: Ethernet with 10\.78\.0\.1/24, DHCP 10\.78\.0\.128-10\.78\.0\.254, IPv6 fd00:78::/64, 3 circuits)\n`)
	connect := func(args ...string) *command {
		return start(t, append([]string{"connect", address, "--secret-file", secret, "--socks", "127.0.0.1:0"}, args...)...)
	}
	red := connect("--v3", "--remote-end-id", "red", "--dhcp", "--once")
	red.stdout.find(t, `(address 10\.78\.0\.128)`)
	serve.stdout.find(t, `(red connected: Ethernet from 127\.0\.0\.1:\d+\nred has 10\.78\.0\.128, [0-9a-f:]{17})\n`)
	blue := connect("--v3", "--remote-end-id", "blue", "--pw", "vlan:9", "--dhcp")
	serve.stdout.find(t, `(blue connected: VLAN from 127\.0\.0\.1:\d+\nblue has 10\.78\.0\.129, )`)
	branch := connect("--v3", "--remote-end-id", "branch office", "--pw", "ip", "--address", "10.77.0.50/32")
	serve.stdout.find(t, `(branch office connected: IP 10\.77\.0\.50 from 127)`)
	alice := connect("--v3", "--user", "alice", "--password-file", password)
	serve.stdout.find(t, `(alice connected: 10\.77\.0\.2 from 127)`)
	old := connect("--user", "alice", "--password-file", password)
	serve.stdout.find(t, `(alice connected: 10\.77\.0\.3 from 127)`)

	green := connect("--v3", "--remote-end-id", "green", "--dhcp")
	if status := green.wait(t); status != 1 || !strings.Contains(green.stderr.String(), "there is no such pseudowire here") {
		t.Errorf("a circuit that there is not: exit status %d\n%s", status, green.stderr.String())
	}
	again := connect("--v3", "--remote-end-id", "red", "--dhcp")
	again.stdout.find(t, `(address 10\.78\.0\.130)`)
	serve.stdout.find(t, `(red disconnected: Ethernet 10\.78\.0\.128, for another session of the same circuit)\n`)
	if status := red.wait(t); status != 1 {
		t.Errorf("who had to give way: exit status %d\n%s", status, red.stderr.String())
	}
	for _, c := range []*command{again, blue, branch, alice, old} {
		c.stop()
	}
	for _, line := range []string{`(red disconnected: Ethernet 10\.78\.0\.130)\n`, `(blue disconnected: VLAN 10\.78\.0\.129)\n`, `(branch office disconnected: IP 10\.77\.0\.50)\n`, `(alice disconnected: 10\.77\.0\.3)\n`} {
		serve.stdout.find(t, line)
	}
}

// An Ethernet without a tunnel secret is anybody's, which is said.
func TestServeV3WithoutUsersAndSecret(t *testing.T) {
	serve := start(t, "serve", "--v3", "--listen", "127.0.0.1:0")
	serve.stderr.find(t, `(without a tunnel secret the Ethernet is open to whoever reaches 127\.0\.0\.1:\d+\nhint: give it)`)
	address := serve.stdout.find(t, `answering on (\S+), no PPP, since there are no users`)
	ping := start(t, "ping", address, "10.78.0.1", "--v3", "--dhcp", "-c", "1")
	if status := ping.wait(t); status != 0 {
		t.Errorf("exit status %d\n%s", status, ping.stderr.String())
	}
	from := regexp.QuoteMeta(serve.stdout.find(t, `l2tpnet at (127\.0\.0\.1:\d+) connected: Ethernet\n`))
	serve.stdout.find(t, `(l2tpnet at `+from+` has 10\.78\.0\.128, )`)
	serve.stdout.find(t, `(l2tpnet at `+from+` disconnected: Ethernet 10\.78\.0\.128)\n`)
}

func TestParseCircuit(t *testing.T) {
	for spec, want := range map[string]node.Circuit{
		"red":                                 {ID: "red"},
		"":                                    {},
		"*,hosts=3":                           {ID: "*", Hosts: 3},
		`"a\x00b"`:                            {ID: "a\x00b"},
		"red, pw=vlan:7, mtu=1400,sessions=2": {ID: "red", Type: endpoint.PseudowireVLAN, VLAN: 7, MTU: 1400, Sessions: 2},
		"100=7,cookie-len=0,l2spec=default":   {ID: "100=7", CookieLen: -1, Sublayer: endpoint.SublayerDefault},
	} {
		got, err := parseCircuit(spec)
		if err != nil || fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
			t.Errorf("%q is %+v, %v, want %+v", spec, got, err, want)
		}
	}
}

func TestTheUpperHalfOfANetwork(t *testing.T) {
	for own, want := range map[string]string{
		"10.78.0.1/24": "10.78.0.128-10.78.0.254", "192.0.2.9/30": "192.0.2.9-192.0.2.10", "192.0.2.9/29": "192.0.2.12-192.0.2.14",
		"10.0.0.1/8": "10.128.0.0-10.128.15.255", "192.0.2.9/31": "", "192.0.2.9/32": "", "fd00:78::1/64": "",
	} {
		var l lanAddress
		if err := l.UnmarshalText([]byte(own)); err != nil {
			t.Fatal(err)
		}
		if got := upperHalf(l.prefix).String(); got != want {
			t.Errorf("of %s: %s, want %s", own, got, want)
		}
	}
}
