package integration

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint"
	"github.com/l2tpnet/l2tpnet/endpoint/node"
	"github.com/l2tpnet/l2tpnet/integration/guest"
)

// A card is a network card of a guest whose Ethernet QEMU itself carries in a pseudowire, by its option -netdev l2tpv3: a site of ours.
type card struct {
	name    string
	cookie  int        // octets
	counter string     // QEMU's options for it: a number of 32 bits, which it counts up, or leaves at 0
	outside netip.Addr // both ends'

	site    string // its network namespace in the guest
	ours    netip.AddrPort
	qemus   heldPort
	address string // leased
	*wire
}

func cards() []*card {
	all := []*card{
		{name: "no cookie", outside: loopback4},
		{name: "cookie of 4", cookie: 4, outside: loopback4},
		{name: "cookie of 8", cookie: 8, outside: loopback4},
		{name: "counter", cookie: 8, counter: ",counter=on", outside: loopback4},
		{name: "pinned counter", cookie: 4, counter: ",counter=on,pincounter=on", outside: loopback4},
		{name: "IPv6 outside", cookie: 8, outside: loopback6},
	}
	for i, c := range all {
		c.site = fmt.Sprintf("s%d", i+1)
	}
	return all
}

func (c *card) device() string { return "eth" + c.site[1:] }
func (c *card) sublayer() string {
	if c.counter != "" {
		return "default"
	}
	return "none"
}

// netdev is QEMU's option.
func (c *card) netdev() string {
	far := c.far.LocalAddr().String()
	option := fmt.Sprintf("l2tpv3,udp=on,src=%v,srcport=%d,dst=%v,dstport=%s,rxsession=0x1%[5]s,txsession=0x2%[5]s%[6]s",
		c.outside, c.qemus.Port(), c.outside, far[strings.LastIndex(far, ":")+1:], c.site[1:], c.counter)
	if c.outside.Is6() {
		option += ",ipv6=on"
	}
	if c.cookie != 0 {
		option += fmt.Sprintf(",rxcookie=0x%s,txcookie=0x%s", "0123456789abcdef"[:2*c.cookie], "fedcba9876543210"[:2*c.cookie])
	}
	if c.cookie == 8 {
		option += ",cookie64=on"
	}
	return option
}

// port is the hub's flag.
func (c *card) port() string {
	spec := fmt.Sprintf("%s,local=%v,remote=%s,session-id=0x2%[4]s,peer-session-id=0x1%[4]s,l2spec=%[5]s", c.site, c.ours, c.Near(), c.site[1:], c.sublayer())
	if c.cookie != 0 {
		spec += fmt.Sprintf(",cookie=%s,peer-cookie=%s", "0123456789abcdef"[:2*c.cookie], "fedcba9876543210"[:2*c.cookie])
	}
	return spec
}

// "QEMU's -netdev l2tpv3, as an unprivileged user on loopback: cookies 0, 4, 8, counter, pinned counter, IPv6 outside; the guest gets
// its address from our DHCP server, fetches 10 MiB through our egress, our stack fetches 10 MiB from the guest." "Three sites on the
// hub, one of them our stack, all pairs, ping and bulk TCP; a loop does not melt the process."
//
// All of them are on one hub, beside a site that is another process's stack, and two ports that will be plugged into one another.
// The world outside is as in [TestXl2tpdGoesOut].
func TestSitesOfTheHub(t *testing.T) {
	t.Parallel()
	if !inNamespace(t) {
		return
	}
	sh(t, `
		ip route add local 198.51.100.0/24 dev lo
		ip -6 route add local 2001:db8:80::/64 dev lo`)
	if err := os.WriteFile("/proc/sys/net/ipv4/ping_group_range", pingGroups(), 0); err != nil {
		t.Fatal(err)
	}
	outside := serveWeb(t, "tcp", ":0", blobs())
	names := serveNames(t, netip.MustParseAddr("198.51.100.80"), netip.MustParseAddr("2001:db8:80::80"))

	sockets := map[netip.Addr]heldPort{loopback4: holdPort(t, loopback4), loopback6: holdPort(t, loopback6)}
	captures := map[string]*capture{}
	captureOf := func(cookie int, sublayer string) *capture {
		key := fmt.Sprintf("a cookie of %d and the sublayer %s", cookie, sublayer)
		if captures[key] == nil {
			captures[key] = newCapture(t)
		}
		return captures[key]
	}
	flags := []string{"hub", "--address", "10.9.0.1/24", "--serve-dhcp", "10.9.0.100-10.9.0.199", "--advertise", "fd00:9::/64",
		"--egress", "--allow-host", "198.51.100.0/24", "--allow-host", "2001:db8:80::/64", "--dns-forward", names.String(), "--socks", "127.0.0.1:0", "-v"}
	machine := &guest.Config{Process: unprivileged()}
	all := cards()
	for _, c := range all {
		c.ours, c.qemus = sockets[c.outside].AddrPort, holdPort(t, c.outside)
		c.wire = newWire(t, c.ours, c.qemus.AddrPort, captureOf(c.cookie, c.sublayer()))
		machine.Netdevs = append(machine.Netdevs, c.netdev())
		flags = append(flags, "--port", c.port())
	}
	office := holdPort(t, loopback4)
	flags = append(flags, "--port", fmt.Sprintf("office,local=%v,remote=%v,session-id=81,peer-session-id=82,seq=both", sockets[loopback4], office))
	left, right := holdPort(t, loopback4), holdPort(t, loopback4)
	cable := newWire(t, left.AddrPort, right.AddrPort, captureOf(0, "none"))
	cable.cut.Store(true)
	flags = append(flags, "--port", fmt.Sprintf("left,local=%v,remote=%s,session-id=91,peer-session-id=92", left, cable.Near()),
		"--port", fmt.Sprintf("right,local=%v,remote=%v,session-id=92,peer-session-id=91", right, cable.far.LocalAddr()))

	for _, c := range all {
		c.qemus.release()
	}
	g := machine.Boot(t)
	g.Run(t, "echo 4096 32768 131072 >/proc/sys/net/ipv4/tcp_rmem") // QEMU's socket has room for no more
	for _, p := range []heldPort{sockets[loopback4], sockets[loopback6], left, right} {
		p.release()
	}
	hub := connected(t, start(t, flags...))
	for _, c := range all {
		t.Run(c.name, func(t *testing.T) { c.mustWork(t, g, hub, outside) })
		if t.Failed() {
			return
		}
	}
	a, b := all[0], all[1]
	t.Run("IPv6", func(t *testing.T) {
		g.Run(t, fmt.Sprintf(`wait_for eval "at %s ip -6 route show default | grep -q via"`, a.site))
		g.Run(t, fmt.Sprintf("at %s ping -6 -c 2 -i 0.2 fd00:9::1", a.site))
		sameBlob(t, g, 1<<20, fmt.Sprintf("http://[2001:db8:80::80]:%d/megabyte", outside), a.site)
	})
	t.Run("names", func(t *testing.T) {
		sameBlob(t, g, 1<<20, fmt.Sprintf("http://web.outside.test:%d/megabyte", outside), a.site)
	})
	t.Run("from site to site", func(t *testing.T) {
		joined(t, g, a, b)
	})
	t.Run("another process's stack", func(t *testing.T) { anotherStack(t, g, a, hub, office, sockets[loopback4]) })
	t.Run("a loop", func(t *testing.T) {
		cable.cut.Store(false)
		began := time.Now()
		eventually(t, guest.Patience, func() error {
			joined(t, g, a, b) // broadcasts, too
			if !strings.Contains(hub.stderr.String(), "is held") {
				return fmt.Errorf("expected the hub to have found the loop, found that it says\n%s", hub.stderr.String())
			}
			return nil
		})
		joined(t, g, b, a)
		exchange(t, hub.browser, "http://"+b.address)
		// A frame that goes round and round would do so tens of thousands of times a second. A port floods 1,000 a second of
		// each of three kinds at most, until one of the two is held.
		most := int64(2*3*1000) * int64(2+time.Since(began).Seconds())
		if n := cable.passed[0].Load() + cable.passed[1].Load(); n > most || n == 0 {
			t.Errorf("expected some frames in the loop, %d at most, found %d", most, n)
		} else {
			t.Logf("%d frames went into the loop", n)
		}
	})
	hub.interrupt(t)
	for what, c := range captures {
		t.Run("tshark finds nothing malformed with "+what, func(t *testing.T) {
			var cookie int
			var sublayer string
			fmt.Sscanf(what, "a cookie of %d and the sublayer %s", &cookie, &sublayer)
			c.judgeV3(t, dialler, cookie, sublayer)
		})
	}
}

// blobs is a web server with what the guest's has.
func blobs() http.Handler {
	site := http.NewServeMux()
	site.HandleFunc("/blob", func(w http.ResponseWriter, _ *http.Request) { w.Write(guest.Blob()) })
	site.HandleFunc("/megabyte", func(w http.ResponseWriter, _ *http.Request) { w.Write(guest.Blob()[:1<<20]) })
	return site
}

// mustWork has the site get its address, fetch through the egress, and be fetched from by our stack: 10 MiB each with the first one, or
// everywhere if everything is to be tried, and else 1.
func (c *card) mustWork(t *testing.T, g *guest.Guest, hub *connection, outside int) {
	file, size := "megabyte", 1<<20
	if c.site == "s1" || full() {
		file, size = "blob", 10<<20
	}
	g.Run(t, fmt.Sprintf("site %s %s", c.site, c.device()))
	g.Run(t, "web "+c.site)
	leased := g.Run(t, fmt.Sprintf("lease %s %s", c.site, c.device()))
	c.address = g.Expect(t, leased, `^guest: eth\d leased (10\.9\.0\.1\d\d)/24, router 10\.9\.0\.1, DNS 10\.9\.0\.1, MTU 1\d\d\d$`)[1]
	sameBlob(t, g, size, fmt.Sprintf("http://198.51.100.80:%d/%s", outside, file), c.site)
	g.Run(t, fmt.Sprintf("at %s ping -c 2 -i 0.2 10.9.0.1", c.site))
	g.Run(t, fmt.Sprintf("at %s ping -c 2 -i 0.2 198.51.100.80", c.site))
	sameBytes(t, string(guest.Blob()[:size]), hub.get(t, fmt.Sprintf("http://%s/%s", c.address, file)))
	uploads(t, hub.browser, "http://"+c.address)
}

// sameBlob has a site fetch the first so many octets of the blob.
func sameBlob(t *testing.T, g *guest.Guest, size int, url, site string) {
	t.Helper()
	want := digest(guest.Blob()[:size])
	if m := g.Expect(t, g.Run(t, fmt.Sprintf("fetch %s %s", url, site)), `^guest: sha256 (\S+)`); m[1] != want {
		t.Errorf("%s, fetched by %s: expected the sha256 %s, found %s", url, site, want, m[1])
	}
}

// joined has two sites ping and fetch from each other.
func joined(t *testing.T, g *guest.Guest, a, b *card) {
	t.Helper()
	g.Run(t, fmt.Sprintf("at %s ip neigh flush all; at %[2]s ip neigh flush all; wait_for at %[1]s ping -c 1 -W 2 %[3]s", a.site, b.site, b.address))
	sameBlob(t, g, 1<<20, "http://"+b.address+"/megabyte", a.site)
	sameBlob(t, g, 1<<20, "http://"+a.address+"/megabyte", b.site)
}

// anotherStack is a site that is one of ours, with an address from the hub's DHCP server: the guest's site and the hub's stack reach
// it, and it reaches them.
func anotherStack(t *testing.T, g *guest.Guest, c *card, hub *connection, at, hubs heldPort) {
	ctx, cancel := context.WithTimeout(t.Context(), guest.Patience)
	defer cancel()
	at.release()
	office, err := node.OpenPseudowire(ctx, &node.Pseudowire{
		Local: at.String(), Remote: hubs.String(), DHCP: true,
		Static: endpoint.StaticConfig{SessionID: 82, PeerSessionID: 81, Sequencing: endpoint.SequencingBoth},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer office.Close()
	address := office.Status().Current.Addresses[0]
	t.Logf("the other stack has leased %v", address)
	ln, err := office.Listen("tcp", ":80")
	if err != nil {
		t.Fatal(err)
	}
	web := &http.Server{Handler: blobs()}
	go web.Serve(ln)
	defer web.Close()

	g.Run(t, fmt.Sprintf("at %s ping -c 2 -i 0.2 %v", c.site, address))
	sameBlob(t, g, 1<<20, fmt.Sprintf("http://%v/megabyte", address), c.site)
	sameBytes(t, string(guest.Blob()), hub.get(t, fmt.Sprintf("http://%v/blob", address)))
	for _, to := range []string{"10.9.0.1", c.address} {
		if _, err := office.Ping(ctx, netip.MustParseAddr(to), nil); err != nil {
			t.Errorf("a ping to %s: %v", to, err)
		}
	}
	exchange(t, newBrowser(t, &http.Transport{DialContext: office.DialContext}), "http://"+c.address)
}
