package guest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Patience is how long a test waits for something that has to come, and three times that for a boot. It only keeps a hang
// from lasting for ever: an emulated machine on a busy host may be slow, and no test says how fast anything is.
const Patience = time.Minute

// A Guest is a running machine.
type Guest struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	ports map[int]int // the guest's UDP port, the one on 127.0.0.1
	began time.Time

	commands int // typed so far

	mu     sync.Mutex
	lines  []line
	more   chan struct{} // closed, and made anew, whenever a line has come
	ended  bool
	waited chan struct{} // closed when QEMU has gone
}

// A line is one of the console's, and when it came.
type line struct {
	at   time.Duration
	text string
}

// A Config says what a guest has and who runs it. Its zero value is a guest that nobody can call.
type Config struct {
	// Ports are the guest's UDP ports that can be reached from the host; see [Guest.Addr].
	Ports []int

	// Netdevs are QEMU's network back ends, as its option -netdev takes them, but without an id: "l2tpv3,udp=on,…". Each is
	// behind a network card of the guest, the first one's is eth1, and down.
	Netdevs []string

	// Process is how QEMU is started, as another user for example; nil: as whoever runs the test.
	Process *syscall.SysProcAttr
}

// Boot starts a guest, whose given UDP ports can be reached from the host. See [Config.Boot].
func Boot(t testing.TB, ports ...int) *Guest {
	t.Helper()
	return (&Config{Ports: ports}).Boot(t)
}

// Boot starts a guest and waits until it says that it is ready. Where this machine lacks something for it, the test is
// skipped with a line that names it, unless L2TPNET_REQUIRE_GUEST=1. The guest ends with the test; if the test has failed,
// what the guest said is printed.
func (c *Config) Boot(t testing.TB) *Guest {
	t.Helper()
	g, err := start(Prepare(t), c)
	if err != nil {
		t.Fatalf("no guest: %v", err)
	}
	t.Cleanup(func() {
		g.Stop()
		if t.Failed() {
			t.Logf("the guest's console:\n%s", g.Console())
		}
	})
	if _, err := g.wait(t.Context(), 3*Patience, 0, regexp.MustCompile(`^guest: ready$`)); err != nil {
		t.Fatalf("the guest does not boot: %v", err)
	}
	return g
}

// Prepare has an image made for the guests to come, as Boot does by itself, and skips the test as Boot does. It is for who
// boots a guest where nothing can be fetched.
func Prepare(t testing.TB) image {
	t.Helper()
	if testing.Short() {
		t.Skipf("SKIPPED: %s boots a QEMU guest, which takes seconds, and -short is set", t.Name())
	}
	img, err := theImage()
	if err != nil {
		if _, ok := errors.AsType[*Missing](err); ok && os.Getenv("L2TPNET_REQUIRE_GUEST") != "1" {
			t.Skipf("SKIPPED: %s needs a QEMU guest; %v", t.Name(), err)
		}
		t.Fatalf("no guest: %v", err)
	}
	return img
}

var theImage = sync.OnceValues(buildImage)

func start(img image, c *Config) (*Guest, error) {
	g := &Guest{ports: map[int]int{}, began: time.Now(), more: make(chan struct{}), waited: make(chan struct{})}
	netdevs := []string{"user"}
	var releases []func() // QEMU cannot tell us a port that it chose
	for _, port := range c.Ports {
		host, release, err := HoldPort(netip.AddrFrom4([4]byte{127, 0, 0, 1}))
		if err != nil {
			return nil, err
		}
		defer release()
		releases = append(releases, release)
		g.ports[port] = int(host.Port())
		netdevs[0] += fmt.Sprintf(",hostfwd=udp:%v-:%d", host, port)
	}
	args := []string{
		"-accel", "tcg,thread=single", "-cpu", "max", "-M", "q35", "-m", "256",
		"-nodefaults", "-no-reboot", "-display", "none", "-serial", "stdio",
		"-kernel", "/dev/fd/3", "-initrd", "/dev/fd/4",
		// RCU in a hurry makes the device of a pseudowire in some milliseconds, not in half a second. Without no_timer_check the
		// kernel panics when this machine is too busy to let ten ticks come while it counts cycles.
		"-append", "console=ttyS0 quiet panic=-1 mitigations=off random.trust_cpu=on rcupdate.rcu_expedited=1 no_timer_check"}
	for i, netdev := range append(netdevs, c.Netdevs...) {
		args = append(args, "-netdev", fmt.Sprintf("%s,id=n%d", netdev, i),
			"-device", fmt.Sprintf("virtio-net-pci,romfile=,netdev=n%d,mac=52:54:00:12:34:%02x", i, 0x56+i))
	}
	g.cmd = exec.Command(img.qemu, args...)
	g.cmd.SysProcAttr = c.Process
	// Its user need not be able to reach the cache, which is below somebody's home.
	for _, name := range []string{img.vmlinux, img.initrd} {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		g.cmd.ExtraFiles = append(g.cmd.ExtraFiles, f)
	}
	var err error
	if g.stdin, err = g.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	output, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	g.cmd.Stdout, g.cmd.Stderr = write, write
	for _, release := range releases {
		release()
	}
	err = g.cmd.Start()
	write.Close()
	if err != nil {
		output.Close()
		return nil, err
	}
	go g.read(output)
	return g, nil
}

// HoldPort finds a UDP port of an address that nobody has, for a program that must be told its own, and keeps it until release
// is called. It is none of those that the system gives to whoever asks for any, of which one might be taken in between.
func HoldPort(host netip.Addr) (at netip.AddrPort, release func(), err error) {
	for range 1000 {
		at = netip.AddrPortFrom(host, uint16(20000+rand.IntN(12000)))
		var conn *net.UDPConn
		if conn, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(at)); err == nil {
			return at, func() { conn.Close() }, nil
		}
	}
	return at, nil, err
}

// read collects the console's lines until QEMU ends.
func (g *Guest) read(output io.ReadCloser) {
	defer close(g.waited)
	for r := bufio.NewReader(output); ; {
		text, err := r.ReadString('\n')
		g.mu.Lock()
		if text = strings.TrimRight(text, "\r\n"); text != "" {
			g.lines = append(g.lines, line{time.Since(g.began), text})
		}
		g.ended = err != nil
		close(g.more)
		g.more = make(chan struct{})
		g.mu.Unlock()
		if err != nil {
			break
		}
	}
	output.Close()
	g.cmd.Wait()
}

// Addr is the address on the host's loopback that leads to a UDP port of the guest.
func (g *Guest) Addr(port int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(g.ports[port]))
}

// Mark is a place in the console's log, for Expect to start from: the end of what has come so far.
func (g *Guest) Mark() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.lines)
}

// Expect waits for a line after mark that the pattern matches and returns the line and its submatches.
func (g *Guest) Expect(t testing.TB, mark int, pattern string) []string {
	t.Helper()
	m, err := g.wait(t.Context(), Patience, mark, regexp.MustCompile(pattern))
	if err != nil {
		t.Fatalf("the guest's console: expected a line like %q: %v", pattern, err)
	}
	return m
}

func (g *Guest) wait(ctx context.Context, patience time.Duration, mark int, pattern *regexp.Regexp) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		g.mu.Lock()
		lines, more, ended := g.lines[mark:], g.more, g.ended
		g.mu.Unlock()
		for _, line := range lines {
			mark++
			if m := pattern.FindStringSubmatch(line.text); m != nil {
				return m, nil
			}
		}
		if ended {
			return nil, fmt.Errorf("none came before QEMU ended")
		}
		select {
		case <-more:
		case <-ctx.Done():
			return nil, fmt.Errorf("none came: %w", ctx.Err())
		}
	}
}

// Run has the guest's shell evaluate a line, waits until that has ended, and fails the test if it ended badly. It
// returns a mark from before it, for Expect.
func (g *Guest) Run(t testing.TB, command string) int {
	t.Helper()
	mark := g.Mark()
	g.commands++
	if _, err := io.WriteString(g.stdin, command+"\n"); err != nil {
		t.Fatalf("the guest's console takes no command: %v", err)
	}
	if m := g.Expect(t, mark, fmt.Sprintf(`^guest: command %d ended with (\d+)$`, g.commands)); m[1] != "0" {
		t.Fatalf("in the guest: expected %q to succeed, found status %s", command, m[1])
	}
	return mark
}

// Console is all that the guest has said, with the seconds since it was started.
func (g *Guest) Console() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	var b strings.Builder
	for _, l := range g.lines {
		fmt.Fprintf(&b, "%7.3f %s\n", l.at.Seconds(), l.text)
	}
	return b.String()
}

// Stop ends the machine, without asking it.
func (g *Guest) Stop() {
	g.cmd.Process.Kill()
	g.stdin.Close()
	<-g.waited
}

// Page is what the guest's web server has at /.
const Page = "hello from behind the tunnel\n"

// Blob is the file /blob of the guest's web server: 10 MiB in which every line differs from every other, so that nothing
// can be lost, doubled or swapped unnoticed.
func Blob() []byte {
	const size = 10 << 20
	b := make([]byte, 0, size+16)
	for i := 1; len(b) < size; i++ {
		b = fmt.Appendln(b, i)
	}
	return b[:size]
}
