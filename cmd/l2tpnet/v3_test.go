package main

import (
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/l2tpnet/l2tpnet/endpoint"
	"github.com/l2tpnet/l2tpnet/endpoint/node"
)

// servingV3 starts l2tpnet serve --v3 and gives its address.
func servingV3(t *testing.T, args ...string) (*command, string) {
	t.Helper()
	c := start(t, append([]string{
		"serve", "--v3", "--listen", "127.0.0.1:0", "--users-file", file(t, "alice:s3cret\n"), "--secret-file", file(t, "tunsecret\n"),
		"--lan-advertise", "fd00:78::/64", "--circuit", "red", "--circuit", "green", "--circuit", "white", "--circuit", "blue,pw=vlan:7", "--circuit", "branch,pw=ip,address=10.77.0.50",
	}, args...)...)
	return c, c.stdout.find(t, `answering on (\S+),`)
}

// Issue 7: "l2tpnet connect --v3 [--pw …] [--remote-end-id ID] … with pseudowire's addressing
// flags".
func TestConnectByL2TPv3(t *testing.T) {
	_, address := servingV3(t)
	_, old := serving(t, "--secret-file", file(t, "tunsecret\n"))
	secret, password := file(t, "tunsecret\n"), file(t, "s3cret\n")
	for _, c := range []struct { // a circuit each, which has one caller
		server, args, want, gateway string
	}{
		{address, "--remote-end-id red --dhcp", `L2TPv3, ethernet, address 10\.78\.0\.\d+`, "10.78.0.1"},
		{address, "--remote-end-id green --address 10.78.0.9/24 --no-ipv6 --cookie-len 4 --seq both --reorder-timeout 50ms", `L2TPv3, ethernet, address 10\.78\.0\.9, DNS none`, "10.78.0.1"},
		{address, "--remote-end-id white --mac 02:00:5e:00:53:07 --dns fd00:78::53", `L2TPv3, ethernet, address [^,]*, DNS fd00:78::53`, "[fd00:78::1]"},
		{address, "--remote-end-id blue --pw vlan:99 --dhcp --digest md5,sha1 --router-id 192.0.2.1", `L2TPv3, vlan, address 10\.78\.0\.\d+`, "10.78.0.1"},
		{address, "--remote-end-id branch --pw ip --address 10.77.0.50/24 --cookie-len 0 --l2spec default", `L2TPv3, ip, address 10\.77\.0\.50`, "10.77.0.1"},
		{address, "--user alice", `L2TPv3, ppp, address 10\.77\.0\.\d+, gateway 10\.77\.0\.1`, "10.77.0.1"},
		{address, "--user alice --fallback --mtu 1300", `L2TPv3, ppp, address 10\.77\.0\.\d+`, "10.77.0.1"},
		{old, "--user alice --fallback --seq recv", `L2TPv2, ppp, address 10\.77\.0\.\d+`, "10.77.0.1"},
	} {
		t.Run(c.args, func(t *testing.T) {
			t.Parallel()
			args := append([]string{"connect", c.server, "--v3", "--secret-file", secret, "--socks", "127.0.0.1:0"}, strings.Fields(c.args)...)
			if strings.Contains(c.args, "--user") {
				args = append(args, "--password-file", password)
			}
			connect := start(t, args...)
			socks := connect.stdout.find(t, `(?m)^connected to `+c.server+` \(l2tpnet\), `+c.want+`.*; SOCKS5 on (\S+)$`)
			if strings.Contains(c.gateway, ":") {
				connect.stdout.find(t, `address (fd00:78:\S+),`) // which may come later
			}
			client := &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "socks5h", Host: socks}), DisableKeepAlives: true}}
			if _, err := client.Get("http://" + c.gateway + "/"); err == nil || !strings.Contains(err.Error(), "connection refused") {
				t.Errorf("through the proxy: %v, want the gateway's word", err)
			}
			connect.stop()
			if status := connect.wait(t); status != 0 {
				t.Errorf("exit status %d after Ctrl-C, want 0; %s", status, connect.stderr)
			}
		})
	}
}

func TestPingByL2TPv3(t *testing.T) {
	_, address := servingV3(t)
	t.Setenv("L2TPNET_SECRET", "another")
	t.Setenv("L2TPNET_OLD_SECRET", "tunsecret") // a server that has not changed its secret yet
	t.Setenv("L2TPNET_USER", "alice")           // is for PPP
	ping := start(t, "ping", address, "10.78.0.1", "--v3", "--pw", "ethernet", "--remote-end-id", "red", "--dhcp", "-c", "2")
	if status := ping.wait(t); status != 0 || !strings.Contains(ping.stdout.String(), "2 packets transmitted, 2 received, 0% packet loss") {
		t.Errorf("exit status %d: %s%s", status, ping.stdout, ping.stderr)
	}
}

// What a server means that refuses.
func TestWhatAServerOfL2TPv3Refuses(t *testing.T) {
	_, address := servingV3(t)
	secret := file(t, "tunsecret\n")
	for _, c := range []struct{ args, want, hint string }{
		{"--remote-end-id yellow --dhcp", "no such pseudowire here", "--remote-end-id names one of the server's circuits, --pw its type"},
		{"--remote-end-id blue --dhcp", "no such pseudowire here", "--remote-end-id names one of"},
		{"--user alice --remote-end-id red --password-file " + secret, "no such pseudowire here", "--remote-end-id names one of"},
		{"--outgoing-call red --dhcp", "no calls are placed here", "without --outgoing-call"},
		{"--user alice --password-file " + secret, "authentication of user \"alice\" failed", "check --user"},
		{"--remote-end-id red --address 10.78.0.9/24 --gateway 10.9.0.1", "the router 10.9.0.1 is in none", "--address, --gateway and --dns say what we have inside"},
	} {
		connect := start(t, append([]string{"connect", address, "--v3", "--secret-file", secret, "--socks", "127.0.0.1:0"}, strings.Fields(c.args)...)...)
		status := connect.wait(t)
		text := connect.stderr.String()
		if status == 0 || !strings.Contains(text, c.want) || !strings.Contains(text, "\nhint: "+c.hint) {
			t.Errorf("%s: exit status %d\n%s", c.args, status, text)
		}
	}
	alone := start(t, "serve", "--v3", "--listen", "127.0.0.1:0", "--users-file", file(t, "alice:s3cret\n"), "--circuit", "blue,pw=vlan:7")
	connect := start(t, "connect", alone.stdout.find(t, `answering on (\S+),`), "--v3", "--remote-end-id", "blue", "--dhcp", "--socks", "127.0.0.1:0")
	if status := connect.wait(t); status != 1 || !strings.Contains(connect.stderr.String(), "takes no ethernet, only vlan, ppp\nhint: --pw is what the pseudowire carries\n") {
		t.Errorf("exit status %d\n%s", status, connect.stderr)
	}
}

// Issue 7: "a wrong secret lead[s] to silence, a counter, and a time-out whose hint names the
// secret"; "without [the fall-back] the hint says that the peer may not speak v3".
func TestASilentServerOfL2TPv3(t *testing.T) {
	t.Parallel()
	_, address := servingV3(t)
	for _, c := range []struct{ name, args, want string }{
		{"another secret", "--dhcp --secret-file " + file(t, "another\n"), "hint: (the peer may have another tunnel secret, or none: .*; the peer may not speak L2TPv3, .*)\n"},
		{"no secret", "--dhcp", "hint: (the peer may want a tunnel secret: .*; the peer may not speak L2TPv3, .*)\n"},
		{"another one, with the fall-back", "--fallback --secret-file " + file(t, "another\n"), "hint: (the peer may have another tunnel secret, or none: .*; there may be no L2TP server .*)\n"},
		{"no secret, with the fall-back", "--fallback", "hint: (the peer may want a tunnel secret: .*; there may be no L2TP server .*)\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			connect := start(t, append([]string{"connect", address, "--v3", "--socks", "127.0.0.1:0"}, strings.Fields(c.args)...)...)
			connect.stderr.find(t, `(?m)^l2tpnet: (no answer by L2TPv3(?: or L2TPv2)? yet from `+address+`)$`)
			connect.stderr.find(t, c.want)
			connect.stop()
			if status := connect.wait(t); status != 130 {
				t.Errorf("exit status %d after Ctrl-C, want 130", status)
			}
		})
	}
	for _, e := range []error{
		&endpoint.TimeoutError{Silent: true, V3: true, Secret: true}, // after ten retries
		&node.AttemptError{Server: "lns.example.net", Err: &endpoint.TimeoutError{Silent: true, V3: true, Secret: true}},
	} {
		f, ok := explainDial(e).(*failure)
		if !ok || f.status != 1 || !strings.Contains(f.hint, "tunnel secret") || !strings.Contains(f.hint, "may not speak L2TPv3") {
			t.Errorf("%#v is explained by %+v", e, f)
		}
	}
	// In L2TPv2 nothing is known of it.
	if f := explainDial(&endpoint.TimeoutError{Silent: true}).(*failure); !strings.Contains(f.hint, "is it an L2TP server") {
		t.Errorf("the hint is %q", f.hint)
	}
}

func TestWhatIsWrongWithAClientOfL2TPv3(t *testing.T) {
	peer := netip.MustParseAddrPort("192.0.2.7:1701")
	session := func(circuit string) []endpoint.SessionStatus {
		return []endpoint.SessionStatus{{PeerCircuit: circuit}}
	}
	status := func(s node.State, t endpoint.TunnelStatus, c endpoint.Counters, own ...netip.Addr) node.ClientStatus {
		return node.ClientStatus{State: s, Current: node.Connected{Addresses: own}, Endpoint: endpoint.Status{Tunnels: []endpoint.TunnelStatus{t}, Counters: c}}
	}
	dials, up := endpoint.TunnelStatus{Peer: peer}, endpoint.TunnelStatus{Peer: peer, Up: true, Sessions: session("active")}
	inactive := endpoint.TunnelStatus{Peer: peer, Up: true, Sessions: session("inactive, fault in receiving")}
	global, local := netip.MustParseAddr("10.78.0.9"), netip.MustParseAddr("fe80::1")
	for _, c := range []struct {
		st         node.ClientStatus
		want, hint string
	}{
		{node.ClientStatus{}, "", ""},
		{status(node.StateConnecting, dials, endpoint.Counters{}), "no answer by L2TPv3 yet from 192.0.2.7:1701", "tunnel secret"},
		{status(node.StateConnecting, dials, endpoint.Counters{BadDigest: 1}), "whose digest is wrong or missing", "has another tunnel secret, or none"},
		{status(node.StateConnecting, up, endpoint.Counters{}), "no address has come by DHCP yet", "is there a DHCP server"},
		{status(node.StateConnecting, inactive, endpoint.Counters{}), "the server's circuit is inactive, fault in receiving", ""},
		{status(node.StateConnected, inactive, endpoint.Counters{}, global), "the server's circuit is inactive", ""},
		{status(node.StateConnected, up, endpoint.Counters{BadDigest: 1}, global, local), "", ""},
		{status(node.StateConnected, up, endpoint.Counters{}, local), "no address inside but a link-local one", "--dhcp"},
		{status(node.StateWaiting, endpoint.TunnelStatus{}, endpoint.Counters{}), "", ""},
	} {
		who := &client{Client: node.Client{V3: &endpoint.V3Config{}, Secret: "tunsecret", DHCP: true}}
		words, hint := who.diagnose(c.st)
		if !strings.Contains(words, c.want) || (c.want == "") != (words == "") || !strings.Contains(hint, c.hint) || (c.hint == "") != (hint == "") {
			t.Errorf("%+v: expected %q and %q, found %q and %q", c.st, c.want, c.hint, words, hint)
		}
	}
	// A fall-back does not help against a secret that a server of L2TPv3 wants.
	for _, secret := range []endpoint.Secret{"", "tunsecret"} {
		who := &client{Client: node.Client{V3: &endpoint.V3Config{}, Fallback: true, Secret: secret}}
		words, hint := who.diagnose(status(node.StateConnecting, dials, endpoint.Counters{}))
		if words != "no answer by L2TPv3 or L2TPv2 yet from 192.0.2.7:1701" || !strings.Contains(hint, "tunnel secret") || !strings.Contains(hint, "no L2TP server") {
			t.Errorf("secret %v: of a fall-back it says %q, hint %q", secret != "", words, hint)
		}
	}
	// Each server has time to answer: who looks again and again sees another one soon.
	silent := newConsole()
	w := &watcher{c: &client{p: &program{stderr: silent}, Client: node.Client{V3: &endpoint.V3Config{}}}, told: map[string]bool{}}
	for i := range 2 * looks {
		if i == looks {
			dials.Peer = netip.MustParseAddrPort("192.0.2.8:1701")
		}
		if i%looks == looks-1 && i > looks {
			break
		}
		w.look(status(node.StateConnecting, dials, endpoint.Counters{}))
	}
	if said := silent.String(); !strings.Contains(said, "from 192.0.2.7:1701") || strings.Contains(said, "192.0.2.8") {
		t.Errorf("of a server that was asked long ago, and one that was asked just now, it says %q", said)
	}
	// A circuit comes and goes.
	stderr := newConsole()
	who := &client{p: &program{stderr: stderr}, Client: node.Client{V3: &endpoint.V3Config{}}}
	w = &watcher{c: who, told: map[string]bool{}}
	for _, tunnel := range []endpoint.TunnelStatus{up, inactive, inactive, up, up, inactive} {
		for range looks {
			w.look(status(node.StateConnected, tunnel, endpoint.Counters{}, global))
		}
	}
	const down, again = "l2tpnet: the server's circuit is inactive, fault in receiving: nothing is sent to it\n", "l2tpnet: the server's circuit is active again\n"
	if said := stderr.String(); said != down+again+down {
		t.Errorf("of a circuit that comes and goes it says\n%s", said)
	}
	for _, c := range []struct {
		err  error
		hint string
	}{
		{&node.LeaseError{}, "is there a DHCP server"},
		{&endpoint.PeerError{Message: "CDN", ResultCode: 5}, "--remote-end-id"},
		{&endpoint.PeerError{Message: "CDN", ResultCode: 14}, "--pw"},
		{&endpoint.PeerError{Message: "CDN", ResultCode: 15}, "--l2spec"},
		{&endpoint.PeerError{Message: "CDN", ResultCode: 23}, "--mtu"},
		{&endpoint.PeerError{Message: "CDN", ResultCode: 1}, ""},
		{&endpoint.PeerError{Message: "StopCCN", ResultCode: 5}, ""},
		{&endpoint.RefusedError{}, "--pw"},
		{&endpoint.RefusedError{Message: "StopCCN"}, ""},
	} {
		who := &client{Client: node.Client{V3: &endpoint.V3Config{}, Pseudowire: &endpoint.PseudowireConfig{}, User: "x"}}
		f, told := errors.AsType[*failure](who.explain(&node.AttemptError{Server: "192.0.2.7", Address: peer, Err: c.err}))
		if told != (c.hint != "") || told && (!strings.Contains(f.hint, c.hint) || f.status != 1) {
			t.Errorf("%T: %+v", c.err, f)
		}
	}
}

func TestAMistakeInL2TPv3(t *testing.T) {
	secret := file(t, "tunsecret\n")
	const to = "connect 127.0.0.1:17019 "
	const v3 = to + "--v3 "
	for _, c := range []struct{ args, want, hint string }{
		{to + "--fallback", "expected --v3 with --fallback, found none", "L2TPv2, which is dialled without --v3"},
		{to + "--pw ethernet", "expected --v3 with --pw, found none", "carries PPP alone"},
		{to + "--remote-end-id red", "expected --v3 with --remote-end-id", "PPP alone"},
		{to + "--cookie-len 0", "expected --v3 with --cookie-len", "PPP alone"},
		{to + "--l2spec none", "expected --v3 with --l2spec", "PPP alone"},
		{to + "--seq both", "expected --v3 with --seq", "PPP alone"},
		{to + "--reorder-timeout 1s", "expected --v3 with --reorder-timeout", "PPP alone"},
		{to + "--digest sha1", "expected --v3 with --digest", "PPP alone"},
		{to + "--integrity", "expected --v3 with --integrity", "PPP alone"},
		{to + "--old-secret-file " + secret, "expected --v3 with --old-secret-file", "PPP alone"},
		{to + "--router-id 1", "expected --v3 with --router-id", "PPP alone"},
		{to + "--dhcp", "with --dhcp, found another type", "with --v3 there are pseudowires of Ethernet"},
		{to + "--gateway 10.77.0.1", "with --gateway, found another type", "with --v3 there are"},
		{to + "--mac 02:00:5e:00:53:07", "with --mac, found another type", "with --v3 there are"},
		{to + "--mtu 20", "expected an MRU of 576 to 65000 bytes, found 20", ""},
		{to + "--address 10.77.0.5/24 --address 10.77.0.6/24", "--address: expected one IPv4 address with PPP", "router advertisements"},
		{v3 + "--fallback --pw ethernet", "expected --pw ppp with --fallback, since L2TPv2 carries nothing else, found --pw ethernet", ""},
		{v3 + "--fallback --pw vlan:7", "found --pw vlan:7", ""},
		{v3 + "--pw ppp --dhcp", "expected --pw ethernet or vlan:ID with --dhcp", "PPP negotiates its addresses"},
		{v3 + "--pw ppp --gateway 10.77.0.1", "expected --pw ethernet or vlan:ID with --gateway", "everything goes to the other end"},
		{v3 + "--pw ppp --address fd00::5/64", "--address: expected one IPv4 address with PPP", "router advertisements"},
		{v3 + "--pw ip --dhcp", "expected --pw ethernet or vlan:ID with --dhcp", "--address gives"},
		{v3 + "--pw ip", "expected --address with --pw ip, found none", "for example: --address"},
		{v3 + "--no-ipv6", "expected --address or --dhcp, found none", "for example: --address"},
		{v3 + "--dhcp --address 10.77.0.5/24", "expected --address or --dhcp, found both", ""},
		{v3 + "--pw ethernet --user alice", "expected --pw ppp with --user, found --pw ethernet", "only PPP has users"},
		{v3 + "--dhcp --mppe required", "expected --pw ppp with --mppe, found --pw ethernet", "only PPP has users"},
		{v3 + "--dhcp --auth pap", "expected --pw ppp with --auth", "only PPP has users"},
		{v3 + "--dhcp --password-file " + secret, "expected --pw ppp with --password-file", "only PPP has users"},
		{v3 + "--pw atm", "expected ethernet, vlan:ID, ppp or ip", ""},
		{v3 + "--pw vlan:0", "expected a VLAN from 1 to 4094", ""},
		{v3 + "--cookie-len 5", "expected 0, 4 or 8 octets", ""},
		{v3 + "--digest sha2", "expected md5, sha1 or md5,sha1", ""},
		{v3 + "--digest md5,md5", "expected md5, sha1 or md5,sha1", ""},
		{v3 + "--router-id one", "expected a number up to 4294967295 or an IPv4 address", ""},
		{v3 + "--dhcp --digest sha1", "expected a tunnel secret or --integrity with --digest", "--secret-file"},
		{v3 + "--dhcp --integrity --secret-file " + secret, "expected --integrity or a tunnel secret", ""},
		{v3 + "--dhcp --old-secret-file " + secret, "expected a tunnel secret beside the old one", "--secret-file"},
		{v3 + "--dhcp --old-secret-file /nowhere", "cannot read the old tunnel secret", ""},
		{v3 + "--dhcp --seq send --reorder-timeout 1s", "expected --seq recv or both with --reorder-timeout", ""},
		{v3 + "--dhcp --seq both --l2spec none", "expected --l2spec default with --seq both", ""},
		{v3 + "--dhcp --mtu 20", "expected an MTU of", ""},
		{v3 + "--dhcp --remote-end-id " + strings.Repeat("x", 1018), "expected a Remote End ID of at most 1017 octets", ""},
		{v3 + "--dhcp --remote-end-id red --outgoing-call blue", "expected --remote-end-id or --outgoing-call", ""},
		{"ping --v3 127.0.0.1:17019 10.77.0.1 --pw ip", "expected --address with --pw ip, found none", "for example"},
	} {
		t.Run(c.args, func(t *testing.T) {
			cmd := start(t, strings.Fields(c.args)...)
			if status := cmd.wait(t); status != 2 {
				t.Errorf("exit status %d, want 2", status)
			}
			text := cmd.stderr.String()
			if lines := strings.Count(text, "\n"); !strings.HasPrefix(text, "l2tpnet: ") || !strings.Contains(text, c.want) || lines > 2 || lines == 2 != strings.Contains(text, "\nhint: ") {
				t.Errorf("expected one line with %q, and perhaps a hint, found\n%s", c.want, text)
			}
			if _, hint, _ := strings.Cut(text, "\nhint: "); !strings.Contains(hint, c.hint) {
				t.Errorf("expected the hint %q, found\n%s", c.hint, text)
			}
			if cmd.stdout.String() != "" {
				t.Errorf("it prints %s", cmd.stdout)
			}
		})
	}
}

func TestFlagsOfL2TPv3(t *testing.T) {
	t.Setenv("L2TPNET_SECRET", "tunsecret")
	t.Setenv("L2TPNET_OLD_SECRET", "old")
	f := &dialFlags{}
	f.V3, f.Fallback = true, true
	f.Digest, f.RouterID, f.Seq, f.CookieLen = digests{endpoint.DigestSHA1, endpoint.DigestMD5}, 7, "recv", -1
	f.Auth, f.MPPE = defaultAuth, "off"
	f.MTU = 1300
	c, err := f.client(&program{ctx: t.Context(), stderr: newConsole()}, "192.0.2.7")
	if err != nil {
		t.Fatal(err)
	}
	if v := c.V3; v == nil || v.RouterID != 7 || v.OldSecret != "old" || !slices.Equal(v.Digests, []endpoint.DigestType{endpoint.DigestSHA1, endpoint.DigestMD5}) || !c.Fallback || c.MRU != 1300 {
		t.Errorf("%+v", c.Client.V3)
	}
	if p := c.Pseudowire; p == nil || p.Type != endpoint.PseudowirePPP || p.CookieLen != -1 || p.Sequencing != endpoint.SequencingRecv || p.MTU != 0 {
		t.Errorf("%+v", p)
	}
	for text, want := range map[string]routerID{"0": 0, "4294967295": 1<<32 - 1, "192.0.2.1": 0xc0000201} {
		var r routerID
		if err := r.UnmarshalText([]byte(text)); err != nil || r != want {
			t.Errorf("the router id %s is %d, %v", text, r, err)
		}
	}
}

// Who has no terminal but one of 80 columns reads it, too.
func TestHelpIsReadable(t *testing.T) {
	for _, name := range []string{"connect", "ping", "pseudowire"} {
		cmd := start(t, name, "--help")
		if status := cmd.wait(t); status != 0 {
			t.Fatalf("exit status %d", status)
		}
		text := cmd.stdout.String()
		for line := range strings.Lines(text) {
			if len(line) > 81 {
				t.Errorf("%s: a line of %d columns: %s", name, len(line)-1, line)
			}
		}
		if name != "pseudowire" && (!strings.Contains(text, "\nPPP:\n") || !strings.Contains(text, "\nL2TPv3:\n") || !strings.Contains(text, "\nInside the tunnel")) {
			t.Errorf("%s: expected groups of flags, found\n%s", name, text)
		}
	}
}
