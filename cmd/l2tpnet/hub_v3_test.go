package main

import (
	"reflect"
	"strings"
	"testing"

	"github.com/l2tpnet/l2tpnet/endpoint"
	"github.com/l2tpnet/l2tpnet/endpoint/node"
)

// Issue 7: "proxying, hub and switching work over them as over static ones": a hub that dials
// one, is asked by another, and has a static port; a page is fetched through it from each end.
func TestAHubOfPortsThatAreNegotiated(t *testing.T) {
	here, dialled, fixed := freeUDP(t), freeUDP(t), freeUDP(t)
	secret := file(t, "tunsecret")
	ports := file(t, "west\n\tv3\n\tremote "+dialled+"\n\tremote-end-id uplink\n\tcookie-len 4\n\tseq both\n\nguests\n\tanswer\n\tremote 127.0.0.1\n")
	capture := file(t, "")
	hub := start(t, "hub", "--local", here, "--pcap", capture, "--secret-file", secret, "--digest", "md5,sha1", "--ports-file", ports,
		"--port", "south,remote="+fixed+",session-id=1,peer-session-id=2", "--address", "10.9.0.1/24", "--serve-dhcp", "10.9.0.100-199", "--no-ipv6", "--socks", "127.0.0.1:0")
	socks := hub.stdout.find(t, `hub of west \(.*\), guests \(open to be asked for\), south \(`+fixed+`\), address 10\.9\.0\.1, .*SOCKS5 on (\S+)\n`)

	west := start(t, "hub", "--local", dialled, "--secret-file", secret, "--port", "uplink,answer", "--address", "10.9.0.2/24", "--no-ipv6", "--socks", "127.0.0.1:0")
	hub.stdout.find(t, `port west is up: (`+dialled+`)\n`)
	west.stdout.find(t, `port uplink is up: (`+here+`)\n`)
	guest := start(t, "connect", here, "--secret-file", secret, "--v3", "--remote-end-id", "guests", "--dhcp", "--no-ipv6", "--socks", "127.0.0.1:0")
	inside := guest.stdout.find(t, `SOCKS5 on (\S+)\n`)
	site := far(t, &node.Pseudowire{Local: fixed, Remote: here, DHCP: true, NoIPv6: true, Static: endpoint.StaticConfig{SessionID: 2, PeerSessionID: 1}})
	page(t, site)
	at := site.Status().Current.Addresses[0].String()
	for _, proxy := range []string{socks, west.stdout.find(t, `SOCKS5 on (\S+)\n`), inside} {
		fetches(t, at, proxy)
	}

	if text := hub.stderr.String(); strings.Contains(text, "anybody") {
		t.Errorf("with a secret it says\n%s", text)
	}
	for _, c := range []*command{guest, west, hub} {
		c.stop()
		if status := c.wait(t); status != 0 {
			t.Errorf("exit status %d after Ctrl-C, want 0; %s", status, c.stderr)
		}
		switch c {
		case guest:
			hub.stderr.find(t, `(the port guests is down: .*)\n`)
		case west:
			hub.stderr.find(t, `the port west (is down: .*; trying again in \d+) s\n`)
		}
	}
	decoded := start(t, "decode", "--secret-file", secret, capture)
	decoded.stdout.find(t, `(SCCRQ)`) // the first that is sent
	decoded.wait(t)
}

// What is wrong with a port that is dialled is told with a hint, and a port that is for
// anybody is named.
func TestAHubSaysWhatIsWrongWithAPort(t *testing.T) {
	here, there := freeUDP(t), freeUDP(t)
	open := start(t, "hub", "--local", there, "--port", "lan,answer")
	open.stderr.find(t, `(anybody may ask for the port lan)\nhint: --secret-file`)
	hub := start(t, "hub", "--local", here, "--port", "west,v3,remote="+there, "--port", "east,v3,remote-end-id=lan,pw=vlan:7,remote="+there)
	hub.stderr.find(t, `the port west (does not come up: .*there is no such pseudowire here.*; trying again in \d+) s\n`)
	hub.stderr.find(t, `the port east (does not come up: .*)\n`)
	guarded := start(t, "hub", "--local", freeUDP(t), "--secret-file", file(t, "tunsecret"), "--port", "west,v3,remote="+there, "--port", "south,answer")
	guarded.stderr.find(t, `(no answer by L2TPv3 yet from `+there+`)\nhint: the peer may have another tunnel secret`)
	open.stderr.find(t, `^(?:.*\n)*?.*`+there+`: (control messages come whose digest is wrong or missing, and are dropped)\nhint: `)
	for _, c := range []*command{hub, guarded, open} {
		c.stop()
		if status := c.wait(t); status != 0 {
			t.Errorf("exit status %d after Ctrl-C, want 0; %s", status, c.stderr)
		}
	}
}

func TestPortsThatAreNegotiated(t *testing.T) {
	for spec, want := range map[string]node.HubPort{
		"north,v3,remote=192.0.2.7:1701": {Name: "north", Remote: "192.0.2.7:1701", Pseudowire: &endpoint.PseudowireConfig{Type: endpoint.PseudowireEthernet}},
		"south,answer":                   {Name: "south", Answer: true, Pseudowire: &endpoint.PseudowireConfig{Type: endpoint.PseudowireEthernet}},
		"name=x,answer,isolated,remote=2001:db8::7,remote-end-id=red,cookie-len=0,pw=vlan:7,mtu=1400,seq=recv,reorder-timeout=50ms,local=127.0.0.1:1702": {
			Name: "x", Answer: true, Isolated: true, Remote: "2001:db8::7", Local: "127.0.0.1:1702", Pseudowire: &endpoint.PseudowireConfig{
				Type: endpoint.PseudowireVLAN, VLAN: 7, RemoteEndID: "red", CookieLen: -1, MTU: 1400, Sequencing: endpoint.SequencingRecv, ReorderTimeout: 50e6}},
	} {
		p, err := parsePort(spec)
		if err != nil {
			t.Errorf("%s: %v", spec, err)
			continue
		}
		if found, err := p.hubPort(); err != nil || !reflect.DeepEqual(found, want) {
			t.Errorf("%s: expected %+v, found %+v, %v", spec, want, found, err)
		}
	}
}
