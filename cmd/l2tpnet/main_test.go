package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// console is what a command prints, for those who wait for a part of it.
type console struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{}
}

func newConsole() *console { return &console{more: make(chan struct{}, 1)} }

func (c *console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case c.more <- struct{}{}:
	default:
	}
	return c.text.Write(p)
}

func (c *console) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.text.String()
}

// find waits until the pattern's first group is there.
func (c *console) find(t *testing.T, pattern string) string {
	t.Helper()
	re := regexp.MustCompile(pattern)
	patience := time.After(time.Minute)
	for {
		if m := re.FindStringSubmatch(c.String()); m != nil {
			return m[1]
		}
		select {
		case <-c.more:
		case <-patience:
			t.Fatalf("expected %s, found\n%s", pattern, c)
		}
	}
}

// command runs l2tpnet until it ends or the test does.
type command struct {
	stdout, stderr *console
	stop           context.CancelFunc
	status         chan int
}

func start(t *testing.T, args ...string) *command {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	c := &command{newConsole(), newConsole(), stop, make(chan int, 1)}
	go func() { c.status <- run(ctx, args, c.stdout, c.stderr) }()
	t.Cleanup(stop)
	return c
}

func (c *command) wait(t *testing.T) int {
	t.Helper()
	select {
	case s := <-c.status:
		return s
	case <-time.After(60 * time.Second):
		t.Fatalf("it does not end; so far:\n%s%s", c.stdout, c.stderr)
		return 0
	}
}

func file(t *testing.T, content string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// serving starts l2tpnet serve and gives its address.
func serving(t *testing.T, args ...string) (*command, string) {
	t.Helper()
	users := file(t, "# who may call\n\nalice:s3cret\nbob: a password: with colons \n")
	c := start(t, append([]string{"serve", "--listen", "127.0.0.1:0", "--users-file", users}, args...)...)
	return c, c.stdout.find(t, `answering on (\S+),`)
}

func TestAMistakeGetsOneLineAndStatus2(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	busyUDP, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busyUDP.Close()
	users := file(t, "alice:s3cret\n")
	for _, c := range []struct {
		name string
		args []string
		want string
	}{
		{"no server", []string{"connect"}, `expected "<server>`},
		{"an unknown flag", []string{"connect", "lns", "--password", "s3cret"}, "unknown flag --password"},
		{"an unknown method", []string{"connect", "127.0.0.1", "--auth", "md4"}, `found "md4"`},
		{"no such file", []string{"connect", "127.0.0.1", "--password-file", "/nowhere/at/all"}, "cannot read the password"},
		{"an empty file", []string{"connect", "127.0.0.1", "--secret-file", file(t, "\n")}, "expected a tunnel secret in"},
		{"a file with more in it", []string{"connect", "127.0.0.1", "--password-file", file(t, "one\ntwo\n")}, "found more"},
		{"a password without a name", []string{"connect", "127.0.0.1", "--password-file", file(t, "s3cret")}, "expected a user name"},
		{"a busy SOCKS port", []string{"connect", "127.0.0.1", "--socks", busy.Addr().String()}, "address already in use"},
		{"a busy forward", []string{"connect", "127.0.0.1", "-L", busy.Addr().String() + ":web:80"}, "address already in use"},
		{"a busy UDP port", []string{"serve", "--users-file", users, "--listen", busyUDP.LocalAddr().String()}, "address already in use"},
		{"a busy source port", []string{"connect", "127.0.0.1", "--socks", "127.0.0.1:0", "--bind", "127.0.0.1", "--source-port", portOf(busyUDP.LocalAddr())}, "address already in use"},
		{"an address that is not ours", []string{"connect", "127.0.0.1", "--socks", "127.0.0.1:0", "--bind", "192.0.2.1"}, "cannot assign requested address"},
		{"no such device", []string{"connect", "127.0.0.1", "--socks", "127.0.0.1:0", "--device", "nosuch0"}, "device nosuch0"},
		{"hiding without a secret", []string{"connect", "127.0.0.1", "--socks", "127.0.0.1:0", "--hide-avps"}, "expected a tunnel secret for --hide-avps"},
		{"encryption without keys", []string{"connect", "127.0.0.1", "--socks", "127.0.0.1:0", "--mppe", "required", "--auth", "chap"}, "which alone gives keys for MPPE"},
		{"encryption without keys, serving", []string{"serve", "--users-file", users, "--listen", "127.0.0.1:0", "--mppe", "required", "--auth", "chap"}, "which alone gives keys for MPPE"},
		{"encryption when", []string{"connect", "127.0.0.1", "--socks", "127.0.0.1:0", "--mppe", "sometimes"}, `found "sometimes"`},
		{"half a forward", []string{"connect", "127.0.0.1", "-L", "8080:web"}, `-L: forward "8080:web": expected`},
		{"a bad port", []string{"connect", "127.0.0.1:l2tp", "--socks", "127.0.0.1:0"}, `found "l2tp"`},
		{"no users", []string{"serve", "--users-file", file(t, "# nobody\n")}, "found none"},
		{"a user without a password", []string{"serve", "--users-file", file(t, "alice:x\ns3cret\n")}, "line 2: expected name:password"},
		{"a user twice", []string{"serve", "--users-file", file(t, "alice:x\nalice:y\n")}, `line 2: the user "alice" stands there twice`},
		{"a pool of IPv6", []string{"serve", "--users-file", users, "--pool", "fd00::/64"}, "expected an IPv4 prefix"},
		{"a pool that is an address", []string{"serve", "--users-file", users, "--pool", "10.0.0.0"}, `expected a prefix such as 10.77.0.0/24, found "10.0.0.0"`},
		{"a DNS server that is a name", []string{"serve", "--users-file", users, "--dns", "dns"}, `expected an IP address such as 10.77.0.1, found "dns"`},
		{"an interval without sense", []string{"ping", "127.0.0.1", "10.0.0.1", "-i", "often"}, `found "often"`},
		{"a user without a password", []string{"connect", "127.0.0.1", "--socks", "127.0.0.1:0", "--user", "alice"}, `expected a password for the user "alice"`},
		{"three DNS servers", []string{"serve", "--users-file", users, "--dns", "1.1.1.1", "--dns", "8.8.8.8", "--dns", "9.9.9.9"}, "at most two"},
		{"a negative interval", []string{"ping", "127.0.0.1", "10.0.0.1", "-i", "0s"}, "to be positive"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cmd := start(t, c.args...)
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
			if strings.Contains(text, "s3cret") {
				t.Errorf("a secret is printed:\n%s", text)
			}
		})
	}
}

func portOf(a net.Addr) string {
	_, port, _ := net.SplitHostPort(a.String())
	return port
}

func TestANameThatNobodyKnows(t *testing.T) {
	cmd := start(t, "connect", "lns.invalid", "--socks", "127.0.0.1:0")
	if status := cmd.wait(t); status != 2 {
		t.Errorf("exit status %d, want 2", status)
	}
	if text := cmd.stderr.String(); !strings.HasPrefix(text, `l2tpnet: cannot find "lns.invalid"`) {
		t.Errorf("it says\n%s", text)
	}
}

func TestWhatThePeerRefuses(t *testing.T) {
	_, address := serving(t, "--secret-file", file(t, "tunsecret\n"))
	secret, password := file(t, "tunsecret\n"), file(t, "s3cret\n")
	for _, c := range []struct {
		name string
		args []string
		want []string
	}{
		{"a wrong password", []string{"--user", "alice", "--password-file", file(t, "wrong"), "--secret-file", secret}, []string{`user "alice"`, "hint: check --user, --password-file"}},
		{"an unknown user", []string{"--user", "mallory", "--password-file", password, "--secret-file", secret}, []string{`user "mallory"`, "hint: check --user"}},
		{"a wrong secret", []string{"--user", "alice", "--password-file", password, "--secret-file", file(t, "wrong")}, []string{"another tunnel secret", "hint: the tunnel secret is the server's own"}},
		{"no secret", []string{"--user", "alice", "--password-file", password}, []string{"none is configured", "--secret-file"}},
		{"a method that the server does not take", []string{"--user", "alice", "--password-file", password, "--secret-file", secret, "--auth", "pap"}, []string{"authentication by", "--auth"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cmd := start(t, append([]string{"connect", address, "--socks", "127.0.0.1:0"}, c.args...)...)
			if status := cmd.wait(t); status != 1 {
				t.Errorf("exit status %d, want 1", status)
			}
			text := cmd.stderr.String()
			for _, w := range c.want {
				if !strings.Contains(text, w) {
					t.Errorf("expected %q in\n%s", w, text)
				}
			}
			if n := strings.Count(text, "\n"); n != 2 {
				t.Errorf("expected one line and a hint, found\n%s", text)
			}
		})
	}
}

func TestConnectToServe(t *testing.T) {
	serve, address := serving(t, "--dns", "10.77.0.1")
	connect := start(t, "connect", address, "--user", "bob", "--password-file", file(t, " a password: with colons \n"),
		"--socks", "127.0.0.1:0", "-L", "127.0.0.1:0:10.77.0.1:80")
	line := connect.stdout.find(t, `(?m)^(connected to .*; SOCKS5 on 127\.0\.0\.1:\d+)$`)
	for _, w := range []string{address, "(l2tpnet)", "address 10.77.0.2", "gateway 10.77.0.1", "DNS 10.77.0.1"} {
		if !strings.Contains(line, w) {
			t.Errorf("expected %q in %q", w, line)
		}
	}
	forward := connect.stdout.find(t, `forwarding (\S+) to 10\.77\.0\.1:80\n`)
	serve.stdout.find(t, `(bob) connected: 10\.77\.0\.2 from 127`)

	// Nothing listens behind the gateway: the forward's connection ends at once.
	// The end may come so soon that Dial sees it.
	if conn, err := net.Dial("tcp", forward); err == nil {
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(20 * time.Second))
		if b, err := io.ReadAll(conn); len(b) > 0 || os.IsTimeout(err) {
			t.Errorf("read %q, %v, want an end", b, err)
		}
	} else if !errors.Is(err, syscall.ECONNRESET) {
		t.Fatal(err)
	}

	connect.stop()
	if status := connect.wait(t); status != 0 {
		t.Errorf("exit status %d after Ctrl-C, want 0; %s", status, connect.stderr)
	}
	serve.stdout.find(t, `(bob) disconnected`)
	serve.stop()
	if status := serve.wait(t); status != 0 {
		t.Errorf("serve: exit status %d after Ctrl-C, want 0; %s", status, serve.stderr)
	}
}

func TestConnectWithEverythingOn(t *testing.T) {
	secret := file(t, "tunsecret")
	_, address := serving(t, "--secret-file", secret, "--auth", "eap-mschapv2", "--mppe", "required", "--hide-avps", "--places-calls")
	connect := start(t, "connect", address, "--user", "alice", "--password-file", file(t, "s3cret"), "--secret-file", secret,
		"--auth", "eap-mschapv2", "--mppe", "required", "--hide-avps", "--outgoing-call", "5551234", "--socks", "127.0.0.1:0", "-v")
	connect.stdout.find(t, `(connected to .* address 10\.77\.0\.2)`)
	connect.stderr.find(t, `(encryption="MPPE 128 bit")`)
	connect.stop()
	if status := connect.wait(t); status != 0 {
		t.Errorf("exit status %d: %s", status, connect.stderr)
	}
}

func TestTheServerGoesAway(t *testing.T) {
	serve, address := serving(t)
	t.Setenv("L2TPNET_USER", "alice")
	t.Setenv("L2TPNET_PASSWORD", "s3cret")
	connect := start(t, "connect", address, "--socks", "127.0.0.1:0", "--once")
	connect.stdout.find(t, `(connected)`)
	serve.stop()
	if status := connect.wait(t); status != 1 {
		t.Errorf("exit status %d, want 1", status)
	}
	if text := connect.stderr.String(); !strings.HasPrefix(text, "l2tpnet: the tunnel is down: ") || strings.Count(text, "\n") != 1 {
		t.Errorf("it says\n%s", text)
	}
}

func TestPing(t *testing.T) {
	_, address := serving(t)
	t.Setenv("L2TPNET_USER", "alice")
	t.Setenv("L2TPNET_PASSWORD_FILE", file(t, "s3cret"))
	ping := start(t, "ping", address, "10.77.0.1", "-c", "3", "-i", "0.01")
	if status := ping.wait(t); status != 0 {
		t.Fatalf("exit status %d: %s", status, ping.stderr)
	}
	text := ping.stdout.String()
	for _, re := range []string{
		`^PING 10\.77\.0\.1 \(10\.77\.0\.1\): 56 data bytes`,
		`64 bytes from 10\.77\.0\.1: icmp_seq=3 ttl=\d+ time=\d+\.\d+ ms`,
		`3 packets transmitted, 3 received, 0% packet loss\nrtt min/avg/max/mdev = `,
	} {
		if !regexp.MustCompile(re).MatchString(text) {
			t.Errorf("expected %s in\n%s", re, text)
		}
	}
	silent := start(t, "ping", address, "10.77.0.99", "-c", "1", "-W", "200ms")
	if status := silent.wait(t); status != 1 {
		t.Errorf("nobody answers, and the exit status is %d", status)
	}
	if text := silent.stdout.String(); !strings.Contains(text, "1 packets transmitted, 0 received, 100% packet loss") {
		t.Errorf("it says\n%s", text)
	}
}

func TestDemoOnce(t *testing.T) {
	demo := start(t, "demo", "--once")
	if status := demo.wait(t); status != 0 {
		t.Fatalf("exit status %d: %s", status, demo.stderr)
	}
	page, err := site.ReadFile("site/index.html")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(demo.stdout.String(), string(page)) {
		t.Errorf("expected the page at the end of\n%s", demo.stdout)
	}
}

func TestDemoSaysWhatToType(t *testing.T) {
	demo := start(t, "demo", "--socks", "127.0.0.1:0")
	socks := demo.stdout.find(t, `curl --socks5-hostname (\S+) http://10\.77\.0\.1/`)
	client := &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "socks5h", Host: socks}), DisableKeepAlives: true}}
	// What listens on this machine is not what the proxy reaches.
	outside := httptest.NewServer(http.NotFoundHandler())
	defer outside.Close()
	if _, err := client.Get(outside.URL); err == nil {
		t.Error("the proxy reaches the host's own loopback")
	}
	r, err := client.Get("http://10.77.0.1/")
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	if r.StatusCode != http.StatusOK {
		t.Errorf("got %s", r.Status)
	}
	demo.stop()
	if status := demo.wait(t); status != 0 {
		t.Errorf("exit status %d after Ctrl-C, want 0", status)
	}
}

func TestHelpFitsA80ColumnTerminal(t *testing.T) {
	for _, args := range [][]string{{"--help"}, {"connect", "--help"}, {"serve", "--help"}, {"ping", "--help"}, {"demo", "--help"}, {"pseudowire", "--help"}, {"hub", "--help"}} {
		cmd := start(t, args...)
		if status := cmd.wait(t); status != 0 {
			t.Errorf("%v: exit status %d", args, status)
		}
		for line := range strings.Lines(cmd.stdout.String()) {
			if len(strings.TrimRight(line, "\n")) > 80 {
				t.Errorf("%v: %d columns: %s", args, len(line)-1, line)
			}
		}
	}
}

func TestPeersWordsAreMadePrintable(t *testing.T) {
	if got := printable("lns\x1b[2J\n\xff" + strings.Repeat("x", 100)); strings.ContainsAny(got, "\x1b\n") || len(got) > 80 {
		t.Errorf("printed as %q", got)
	}
}
