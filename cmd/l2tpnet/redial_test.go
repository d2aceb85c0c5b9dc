package main

import (
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// "The dialling side must be something one forgets."
func TestConnectDialsAgain(t *testing.T) {
	serve, address := serving(t)
	t.Setenv("L2TPNET_USER", "alice")
	t.Setenv("L2TPNET_PASSWORD", "s3cret")
	connect := start(t, "connect", address, "--socks", "127.0.0.1:0")
	socks := connect.stdout.find(t, `connected to .* SOCKS5 on (\S+)\n`)
	serve.stop()
	serve.wait(t)
	connect.stderr.find(t, `(?m)^l2tpnet: (the tunnel is down: .*; dialling again in \d+ s)$`)
	client := &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "socks5h", Host: socks}), DisableKeepAlives: true}}
	if _, err := client.Get("http://10.77.0.1/"); err == nil || !strings.Contains(err.Error(), "network unreachable") {
		t.Errorf("through the proxy, without the tunnel: %v", err)
	}

	start(t, "serve", "--listen", address, "--users-file", file(t, "alice:s3cret\n"))
	connect.stdout.find(t, `(?m)^(connected again to .*, address 10\.77\.0\.\d+, gateway 10\.77\.0\.1, DNS .*)$`)
	if _, err := client.Get("http://10.77.0.1/"); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("through the proxy again: %v, want the gateway's word", err)
	}
	connect.stop()
	if status := connect.wait(t); status != 0 {
		t.Errorf("exit status %d after Ctrl-C, want 0; %s", status, connect.stderr)
	}
}

// The second server of two, named in either way.
func TestConnectToTheNextServer(t *testing.T) {
	_, address := serving(t)
	strict := start(t, "serve", "--listen", "127.0.0.1:0", "--users-file", file(t, "alice:another\n"))
	first := strict.stdout.find(t, `answering on (\S+),`)
	t.Setenv("L2TPNET_USER", "alice")
	t.Setenv("L2TPNET_PASSWORD", "s3cret")
	for _, servers := range [][]string{{first, address}, {first + "," + address}} {
		connect := start(t, append([]string{"connect", "--socks", "127.0.0.1:0"}, servers...)...)
		connect.stdout.find(t, `connected to (`+address+`)`)
		connect.stop()
		connect.wait(t)
	}
	ping := start(t, "ping", first+","+address, "10.77.0.1", "-c", "1")
	if status := ping.wait(t); status != 0 {
		t.Errorf("exit status %d: %s", status, ping.stderr)
	}
	// When all refuse, each has its words.
	neither := start(t, "connect", "--socks", "127.0.0.1:0", first, first)
	if status := neither.wait(t); status != 1 {
		t.Errorf("exit status %d, want 1", status)
	}
	if text := neither.stderr.String(); strings.Count(text, first+": ") != 2 || !strings.Contains(text, "\nhint: check --user") || strings.Count(text, "\n") != 2 {
		t.Errorf("it says\n%s", text)
	}
}

// For containers, which may come up before their server does.
func TestConnectRetries(t *testing.T) {
	free, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.LocalAddr().String()
	free.Close()
	t.Setenv("L2TPNET_USER", "alice")
	t.Setenv("L2TPNET_PASSWORD", "s3cret")
	connect := start(t, "connect", "lns.invalid", "--retry", "--socks", "127.0.0.1:0")
	connect.stderr.find(t, `(?m)^l2tpnet: (no tunnel: lns\.invalid: .*; dialling again in \d+ s)$`)
	connect.stop()
	if status := connect.wait(t); status != 0 {
		t.Errorf("exit status %d after Ctrl-C, want 0", status)
	}

	connect = start(t, "connect", address, "--retry", "--socks", "127.0.0.1:0")
	ping := start(t, "ping", address, "10.77.0.1", "--retry", "-c", "1")
	start(t, "serve", "--listen", address, "--users-file", file(t, "alice:s3cret\n"))
	connect.stdout.find(t, `(connected to .*; SOCKS5 on )`)
	if status := ping.wait(t); status != 0 {
		t.Errorf("exit status %d: %s", status, ping.stderr)
	}
	both := start(t, "connect", address, "--retry", "--once")
	if status := both.wait(t); status != 2 {
		t.Errorf("--retry and --once: exit status %d, want 2", status)
	}
}

func TestVersion(t *testing.T) {
	cmd := start(t, "--version")
	if status := cmd.wait(t); status != 0 || !strings.HasPrefix(cmd.stdout.String(), "l2tpnet ") || strings.Count(cmd.stdout.String(), "\n") != 1 {
		t.Errorf("exit status %d: %q", status, cmd.stdout)
	}
}
