package integration

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/l2tpnet/l2tpnet/integration/guest"
)

// An unprivileged user dials xl2tpd and pppd on a Linux kernel, and fetches what is behind them.
func TestConnectToXl2tpd(t *testing.T) {
	t.Parallel()
	g := guest.Boot(t, 1701, 1702, 1703, 1704, 1705, 1706)
	traffic := newCapture(t)
	password, secret := file(t, "s3cret"), file(t, "tunsecret")

	lines := []struct {
		port    int
		auth    string
		options string // of the guest's lns
	}{
		{1701, "pap", ""}, {1702, "pap", "secret"},
		{1703, "chap", ""}, {1704, "chap", "secret"},
		{1705, "mschapv2", ""}, {1706, "mschapv2", "secret hidden"},
	}
	for _, l := range lines {
		withSecret := strings.Contains(l.options, "secret")
		flags := []string{"--user", "alice", "--password-file", password, "--auth", l.auth, "--socks", "127.0.0.1:0", "-v"}
		if withSecret {
			flags = append(flags, "--secret-file", secret)
		}
		hidden := strings.Contains(l.options, "hidden")
		if hidden {
			flags = append(flags, "--hide-avps")
		}
		g.Run(t, fmt.Sprintf("lns %d %s %s", l.port, l.auth, l.options))
		t.Run(strings.TrimSpace(l.auth+" "+l.options), func(t *testing.T) {
			mark := g.Mark()
			c := connect(t, traffic.relay(t, g.Addr(l.port)), flags...)
			if want := fmt.Sprintf(` 10\.9\.%d\.10\b.*\b10\.9\.0\.1\b`, l.port%10); !regexp.MustCompile(want).MatchString(c.hello) {
				t.Errorf("connect's first line: expected our address and the DNS server's like %q, found %q", want, c.hello)
			}
			if withSecret {
				sameBytes(t, guest.Page, c.get(t, "http://web.inside.test/")) // a name that only the tunnel's DNS knows
			}
			sameBytes(t, string(guest.Blob()), c.get(t, "http://10.9.0.1/blob"))

			c.interrupt(t)
			if hidden && len(traffic.fields(t, "ip.src == "+dialler.String()+" && l2tp.avp.hidden == 1", "frame.number")) == 0 {
				t.Error("tshark: expected hidden AVPs in our messages, found none")
			}
			// xl2tpd saw us hang up: first the call (CDN), then the tunnel (StopCCN).
			g.Expect(t, mark, fmt.Sprintf(`^lns %d: .*Connection closed to 10\.0\.2\.2, serial -?\d+`, l.port))
			g.Expect(t, mark, fmt.Sprintf(`^lns %d: .*Connection closed to 10\.0\.2\.2, port \d+ .*Local: \d+, Remote: \d+`, l.port))
		})
	}

	// What pppd says to whoever has the wrong password reaches the user.
	for _, l := range lines {
		if l.options != "" {
			continue
		}
		t.Run("wrong password with "+l.auth, func(t *testing.T) {
			mark := g.Mark()
			complaint := refused(t, traffic.relay(t, g.Addr(l.port)), "--user", "alice", "--password-file", file(t, "wrong"), "--auth", l.auth)
			said := g.Expect(t, mark, `sent \[(?:PAP AuthNak|CHAP Failure) id=\S+ "(?:[^"]*M=)?([^"]*)"`)
			if words := said[1]; words == "" || !strings.Contains(complaint, words) {
				t.Errorf("expected a complaint with pppd's words %q, found %q", words, complaint)
			}
		})
	}
	for _, c := range []struct {
		name  string
		flags []string
	}{
		{"wrong tunnel secret", []string{"--secret-file", file(t, "wrong")}},
		{"no tunnel secret", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			complaint := refused(t, traffic.relay(t, g.Addr(1704)), append(c.flags, "--user", "alice", "--password-file", password)...)
			if !strings.Contains(complaint, "secret") {
				t.Errorf("expected a complaint about the tunnel secret, found %q", complaint)
			}
		})
	}
	t.Run("tshark finds nothing malformed", func(t *testing.T) { traffic.judge(t, dialler) })
}

// A connection is l2tpnet connect that has connected.
type connection struct {
	*process
	browser
	hello string // the first line that it printed
}

// A browser fetches what is behind a tunnel.
type browser struct{ *http.Client }

func newBrowser(t *testing.T, transport *http.Transport) browser {
	transport.ResponseHeaderTimeout = guest.Patience
	t.Cleanup(transport.CloseIdleConnections)
	return browser{&http.Client{Transport: transport, Timeout: 2 * guest.Patience}}
}

// socksAt is where the first line says that the proxy listens.
var socksAt = regexp.MustCompile(`SOCKS5?\D*?\s(127\.0\.0\.1:\d+)`)

func connect(t *testing.T, server string, flags ...string) *connection {
	t.Helper()
	return connected(t, start(t, append([]string{"connect", server}, flags...)...))
}

// connected waits for the first line of an l2tpnet that has a SOCKS proxy.
func connected(t *testing.T, p *process) *connection {
	t.Helper()
	hello := p.line(t)
	m := socksAt.FindStringSubmatch(hello)
	if m == nil {
		t.Fatalf("the first line: expected where its SOCKS proxy listens, like %q, found %q", socksAt, hello)
	}
	// Names go to the proxy as they are: net/http resolves none for a SOCKS proxy.
	proxy := http.ProxyURL(&url.URL{Scheme: "socks5", Host: m[1]})
	return &connection{p, newBrowser(t, &http.Transport{Proxy: proxy}), hello}
}

func (b browser) get(t *testing.T, url string) string {
	t.Helper()
	return b.fetch(t, url, func() (*http.Response, error) { return b.Get(url) })
}

func (b browser) post(t *testing.T, url, content string) string {
	t.Helper()
	return b.fetch(t, url, func() (*http.Response, error) {
		return b.Post(url, "application/octet-stream", strings.NewReader(content))
	})
}

func (b browser) fetch(t *testing.T, url string, ask func() (*http.Response, error)) string {
	t.Helper()
	began := time.Now()
	r, err := ask()
	if err != nil {
		t.Fatalf("through the tunnel: %v", err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatalf("%s, after %d bytes: %v", url, len(body), err)
	}
	if r.StatusCode != http.StatusOK {
		t.Fatalf("%s: expected 200, found %s: %s", url, r.Status, body)
	}
	t.Logf("%s: %d bytes in %v", url, len(body), time.Since(began).Round(time.Millisecond))
	return string(body)
}

func sameBytes(t *testing.T, want, got string) {
	t.Helper()
	if want == got {
		return
	}
	at := 0
	for at < min(len(want), len(got)) && want[at] == got[at] {
		at++
	}
	t.Errorf("expected %d bytes, found %d; the first difference is at %d: expected %.40q, found %.40q", len(want), len(got), at, want[at:], got[at:])
}

// refused runs l2tpnet connect, which must fail with one plain line (and a hint at most), and returns that line.
func refused(t *testing.T, server string, flags ...string) string {
	t.Helper()
	p := start(t, append([]string{"connect", server, "--socks", "127.0.0.1:0"}, flags...)...)
	status := p.wait(t)
	if status <= 0 {
		t.Errorf("expected a positive exit status, found %v", p.cmd.ProcessState)
	}
	for line := range p.lines {
		t.Errorf("expected nothing on standard output, found %q", line)
	}
	complaint, rest, _ := strings.Cut(strings.TrimSpace(p.stderr.String()), "\n")
	if complaint == "" || rest != "" && (!strings.HasPrefix(rest, "hint:") || strings.Contains(rest, "\n")) {
		t.Errorf("expected one line and a hint at most on standard error, found\n%s", p.stderr.String())
	}
	if strings.Contains(p.stderr.String(), "wrong") && bytes.Contains([]byte(complaint), []byte(`"wrong"`)) {
		t.Errorf("a secret was printed: %q", complaint)
	}
	t.Logf("it said: %s", complaint)
	return complaint
}
