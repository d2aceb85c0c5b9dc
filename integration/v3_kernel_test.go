package integration

import (
	"crypto/sha256"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/l2tpnet/l2tpnet/integration/guest"
)

// "A Debian kernel with `ip l2tp` in QEMU: the matrix of cookie × sublayer × sequence that works between two Linux ends".

// sequencing is what iproute2 calls seq, in the order of the columns below.
var sequencing = []string{"none", "send", "recv", "both"}

// worksBetweenLinuxEnds tells for each sublayer, and the seq of the end that sends the first frame (row) and of the other one
// (column), what two ends of Debian's Linux 6.1 make of it: + where a ping goes through. TestLinuxEnds asks them again.
//
//   - An end that has recv or both drops what has no number, and without a sublayer there are none.
//   - An end that has send stops numbering once a frame without a number has come, one that has none or recv begins to when one
//     with a number has.
//
// Where one order works and the other does not, it is because of that: "send" and "recv" lose each other for good if "recv" is
// first, "both" and "none" or "recv" find each other at the first frame of "both".
var worksBetweenLinuxEnds = map[string][]string{
	//            none send recv both
	"none": {
		/* none */ "+ + - -",
		/* send */ "+ + - -",
		/* recv */ "- - - -",
		/* both */ "- - - -",
	},
	"default": {
		/* none */ "+ + - -",
		/* send */ "+ + + +",
		/* recv */ "- - - -",
		/* both */ "+ + + +",
	},
}

func worksInLinux(sublayer, first, second string) bool {
	return worksBetweenLinuxEnds[sublayer][slices.Index(sequencing, first)][2*slices.Index(sequencing, second)] == '+'
}

// A pseudowire is one of the matrix: between the guest's kernel and us.
type pseudowire struct {
	n             int // tunnel, session, and the third octet of both addresses
	cookie        int // octets
	sublayer      string
	kernels, ours string   // sequencing
	weAreFirst    bool     // to send a frame
	at            heldPort // our socket
	*wire
}

func (p *pseudowire) String() string {
	return fmt.Sprintf("cookie of %d, sublayer %s, kernel %s, we %s", p.cookie, p.sublayer, p.kernels, p.ours)
}

// cookies are the ones that the kernel sends and that it expects, in the words of ip and of l2tpnet.
func (p *pseudowire) cookies() (sends, expects string) {
	return "0123456789abcdef"[:2*p.cookie], "fedcba9876543210"[:2*p.cookie]
}

// matrix is every combination that works between two Linux ends, with us as one of them; unless everything is to be tried, each cookie
// with each sublayer and each sequencing of ours, but only one of the kernel's.
func matrix() (all []*pseudowire) {
	for _, sublayer := range []string{"none", "default"} {
		for _, ours := range sequencing {
			met := map[string]bool{}
			for _, kernels := range []string{ours, "both", "send", "recv", "none"} {
				if met[kernels] || !full() && len(met) > 0 || !worksInLinux(sublayer, ours, kernels) && !worksInLinux(sublayer, kernels, ours) {
					continue
				}
				met[kernels] = true
				for _, cookie := range []int{0, 4, 8} {
					all = append(all, &pseudowire{
						n: 1 + len(all), cookie: cookie, sublayer: sublayer, kernels: kernels, ours: ours,
						weAreFirst: worksInLinux(sublayer, ours, kernels),
					})
				}
			}
		}
	}
	return all
}

func TestMatrixOfLinux(t *testing.T) {
	t.Parallel()
	all := matrix()
	var ports []int
	for _, p := range all {
		ports = append(ports, 5000+p.n)
	}
	ports = append(ports, 5000+len(all)+1)
	g := (&guest.Config{Ports: ports}).Boot(t)
	captures := map[string]*capture{}
	var batch []string
	for _, p := range all {
		key := fmt.Sprint(p.cookie, p.sublayer)
		if captures[key] == nil {
			captures[key] = newCapture(t)
		}
		p.at = holdPort(t, loopback4)
		p.wire = newWire(t, p.at.AddrPort, g.Addr(5000+p.n), captures[key])
		batch = append(batch, p.inTheGuest()...)
	}
	g.Run(t, "web; echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6") // who sends the first frame is for us to say
	// What is lost costs the kernel's recv and both much more than that: after a gap they drop the next frames, too. So no more
	// is under way than the sockets between take in.
	g.Run(t, "echo 4096 32768 65536 >/proc/sys/net/ipv4/tcp_rmem")
	for part := range slices.Chunk(batch, 16) { // a line of the console has 4,095 octets at most
		g.Run(t, `printf '`+strings.Join(part, `\n`)+`\n' | ip -batch -`)
	}
	for _, p := range all {
		t.Run(p.String(), func(t *testing.T) { p.mustWork(t, g) })
	}
	t.Run("wrong cookies", func(t *testing.T) { wrongCookies(t, g, 5000+len(all)+1) })
	for _, cookie := range []int{0, 4, 8} {
		for _, sublayer := range []string{"none", "default"} {
			t.Run(fmt.Sprintf("tshark finds nothing malformed with a cookie of %d and the sublayer %s", cookie, sublayer), func(t *testing.T) {
				numbers := captures[fmt.Sprint(cookie, sublayer)].judgeV3(t, dialler, cookie, sublayer)
				for _, p := range all {
					if p.cookie == cookie && p.sublayer == sublayer {
						p.judgeNumbers(t, numbers[p.nearPort()])
					}
				}
			})
		}
	}
}

// inTheGuest are the lines for ip that make the kernel's end.
func (p *pseudowire) inTheGuest() []string {
	session := fmt.Sprintf("l2tp add session name w%d tunnel_id %[1]d session_id %d peer_session_id %d l2spec_type %s seq %s", p.n, 1000+p.n, 2000+p.n, p.sublayer, p.kernels)
	if sends, expects := p.cookies(); sends != "" {
		session += fmt.Sprintf(" cookie %s peer_cookie %s", sends, expects)
	}
	return []string{
		fmt.Sprintf("l2tp add tunnel tunnel_id %d peer_tunnel_id %[1]d encap udp local 10.0.2.15 remote 10.0.2.2 udp_sport %d udp_dport %d", p.n, 5000+p.n, p.Far()),
		session,
		fmt.Sprintf("address add 10.88.%d.1/24 dev w%[1]d", p.n),
		fmt.Sprintf("link set w%d up", p.n),
	}
}

// flags are those of our end.
func (p *pseudowire) flags() []string {
	flags := []string{"--local", p.at.String(), "--remote", p.Near(), "--session-id", fmt.Sprint(2000 + p.n), "--peer-session-id", fmt.Sprint(1000 + p.n),
		"--l2spec", p.sublayer, "--seq", p.ours}
	if kernelSends, kernelExpects := p.cookies(); kernelSends != "" {
		flags = append(flags, "--cookie", kernelExpects, "--peer-cookie", kernelSends)
	}
	return append(flags, "--address", fmt.Sprintf("10.88.%d.2/24", p.n), "--no-ipv6", "--socks", "127.0.0.1:0", "-v")
}

func (p *pseudowire) mustWork(t *testing.T, g *guest.Guest) {
	p.at.release()
	c := connected(t, start(t, append([]string{"pseudowire"}, p.flags()...)...))
	web := fmt.Sprintf("http://10.88.%d.1", p.n)
	if p.weAreFirst {
		sameBytes(t, guest.Page, c.get(t, web+"/"))
	}
	g.Run(t, fmt.Sprintf("ping -c 2 -i 0.2 10.88.%d.2", p.n))
	exchange(t, c.browser, web)
	kernel := counters(t, g, p.n, 1000+p.n)
	t.Logf("the kernel counted %v", kernel)
	if kernel["rx_cookie_discards"] != 0 || kernel["rx_packets"] == 0 || kernel["tx_packets"] == 0 {
		t.Errorf("the kernel's counters: expected frames both ways and no cookie that is wrong, found %v", kernel)
	}
	c.interrupt(t)
}

// exchange has a MiB go from the guest's web server to us, and one to it.
func exchange(t *testing.T, b browser, web string) {
	t.Helper()
	sameBytes(t, string(guest.Blob()[:1<<20]), b.get(t, web+"/megabyte"))
	uploads(t, b, web)
}

func uploads(t *testing.T, b browser, web string) {
	t.Helper()
	megabyte := guest.Blob()[:1<<20]
	if want, got := digest(megabyte)+"\n", b.post(t, web+"/cgi-bin/sha256", string(megabyte)); got != want {
		t.Errorf("1 MiB that we sent: expected the sha256 %s, found %s", want, got)
	}
}

func digest(b []byte) string { return fmt.Sprintf("%x", sha256.Sum256(b)) }

// judgeNumbers looks at the sequence numbers of our first frames: 0, 1, … from the first one on that has one, or none at all. Ours
// are numbered unless neither end numbers by itself; a kernel with send does so only until our first frame has come without.
func (p *pseudowire) judgeNumbers(t *testing.T, numbers []string) {
	t.Helper()
	want := p.sublayer == "default" && (p.ours != "none" || p.kernels == "both" || p.kernels == "send" && !p.weAreFirst)
	numbers = slices.DeleteFunc(numbers, func(n string) bool { return n == "" }) // until the other one has been heard
	if (len(numbers) > 0) != want {
		t.Errorf("%v: expected numbers: %v, found %.20q", p, want, numbers)
	}
	// What the relay's own socket had no room for leaves a gap.
	next := 0
	for i, text := range numbers {
		n, err := strconv.Atoi(text)
		if err != nil || n < next || i == 0 && n != 0 || n > next+8 {
			t.Errorf("%v: expected the number %d, found %q in %q", p, next, text, numbers)
			break
		}
		next = n + 1
	}
}

var counter = regexp.MustCompile(`(\w+) (\d+)`)

// counters are those that the guest's kernel has for a session.
func counters(t *testing.T, g *guest.Guest, tunnel, session int) map[string]uint64 {
	t.Helper()
	line := g.Expect(t, g.Run(t, fmt.Sprintf("l2tpstat %d %d", tunnel, session)), `^guest: session \d+: (.*)`)[1]
	all := map[string]uint64{}
	for _, m := range counter.FindAllStringSubmatch(line, -1) {
		n, err := strconv.ParseUint(m[2], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		all[m[1]] = n
	}
	return all
}

// The table worksBetweenLinuxEnds is what two ends in one kernel do: the one in a namespace of its own, and the other one, which pings
// first and tries again after the other one has.
func TestLinuxEnds(t *testing.T) {
	t.Parallel()
	if !full() {
		t.Skip("SKIPPED: what two ends of Linux make of each other; L2TPNET_FULL=1 asks them")
	}
	g := (&guest.Config{}).Boot(t)
	g.Run(t, "ip netns add b; echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6; ip netns exec b sysctl -w net.ipv6.conf.default.disable_ipv6=1")
	g.Run(t, "ip l2tp add tunnel tunnel_id 1 peer_tunnel_id 2 encap udp local 127.0.0.1 remote 127.0.0.1 udp_sport 5001 udp_dport 5002")
	g.Run(t, "ip l2tp add tunnel tunnel_id 2 peer_tunnel_id 1 encap udp local 127.0.0.1 remote 127.0.0.1 udp_sport 5002 udp_dport 5001")
	n := 0
	for sublayer := range worksBetweenLinuxEnds {
		for _, first := range sequencing {
			for _, second := range sequencing {
				n++
				g.Run(t, fmt.Sprintf("ip l2tp add session name a%d tunnel_id 1 session_id %[1]d peer_session_id %[1]d l2spec_type %s seq %s", n, sublayer, first))
				g.Run(t, fmt.Sprintf("ip l2tp add session name b%d tunnel_id 2 session_id %[1]d peer_session_id %[1]d l2spec_type %s seq %s", n, sublayer, second))
				g.Run(t, fmt.Sprintf("ip link set b%d netns b; ip addr add 10.88.%[1]d.1/24 dev a%[1]d; ip -n b addr add 10.88.%[1]d.2/24 dev b%[1]d; ip link set a%[1]d up; ip -n b link set b%[1]d up", n))
				m := g.Expect(t, g.Run(t, fmt.Sprintf("ping -c 2 -i 0.3 -W 2 10.88.%d.2; true", n)), `(\d) packets received`)
				if works := m[1] == "2"; works != worksInLinux(sublayer, first, second) {
					t.Errorf("sublayer %s, %s first, and %s: expected it to work: %v, found %v", sublayer, first, second, !works, works)
				}
			}
		}
	}
}
