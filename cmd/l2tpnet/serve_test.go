package main

import (
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
)

func TestMistakesOfServe(t *testing.T) {
	users := file(t, "alice:s3cret\n")
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--pool6", "fd00::/64"}, "16 to 63 bits"},
		{[]string{"--delegate", "56"}, "to delegate prefixes of"},
		{[]string{"--pool6", "fd00:77::/48", "--delegate", "40"}, "49 to 64 bits"},
		{[]string{"--allow-host", "127.0.0.1"}, "expected --egress with --allow-host"},
		{[]string{"--egress", "--allow-host", "localhost"}, `--allow-host: allowed host "localhost"`},
		{[]string{"--dns-forward", "dns.example"}, `such as 192.0.2.53 or [2001:db8::53]:5353, found "dns.example"`},
		{[]string{"--dns-forward", "192.0.2.53:0"}, `found "192.0.2.53:0"`},
		{[]string{"--users-file", file(t, "alice:s3cret\n address 10.77.0.1\nbob:s3cret\n address 10.77.0.1\n")}, `is fixed for "alice" as well`},
		{[]string{"--users-file", file(t, "alice:s3cret\n adress 10.77.0.1\n")}, "line 2: expected name:password at the beginning"},
	} {
		cmd := start(t, append([]string{"serve", "--listen", "127.0.0.1:0", "--users-file", users}, c.args...)...)
		if status := cmd.wait(t); status != 2 {
			t.Errorf("%v: exit status %d, want 2", c.args, status)
		}
		if text := cmd.stderr.String(); !strings.Contains(text, c.want) || strings.Contains(text, "s3cret") {
			t.Errorf("%v: expected %q in\n%s", c.args, c.want, text)
		}
	}
}

func TestServeTellsWhatItDoes(t *testing.T) {
	serve, address := serving(t, "--pool6", "fd00:77::/48", "--delegate", "56", "--dns-forward", "192.0.2.53", "--egress", "--client-to-client",
		"--max-tunnels", "10", "--max-half-open", "5", "--max-sessions", "2")
	serve.stdout.find(t, `(gateway 10\.77\.0\.1, pool 10\.77\.0\.0/24, DNS 10\.77\.0\.1 fd00:77::1, IPv6 gateway fd00:77::1, pool fd00:77::/48, egress through this machine)\n`)
	connect := start(t, "connect", address, "--user", "alice", "--password-file", file(t, "s3cret"), "--socks", "127.0.0.1:0")
	serve.stdout.find(t, `(alice connected: 10\.77\.0\.2 fd00:77:0:1::/64 from 127)`)
	connect.stdout.find(t, `(fd00:77:0:1:)`)
	connect.stop()
	serve.stdout.find(t, `(alice disconnected: 10\.77\.0\.2 fd00:77:0:1::/64)\n`)
}

// The second call of a user with a fixed address takes over, and SIGHUP brings new
// users in.
func TestServeReadsItsUsersAgain(t *testing.T) {
	// Until serve listens for it itself, the signal must not end the test.
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	users := file(t, "alice:s3cret\n")
	serve := start(t, "serve", "--listen", "127.0.0.1:0", "--users-file", users)
	address := serve.stdout.find(t, `answering on (\S+),`)
	rewrite := func(content string) {
		t.Helper()
		if err := os.WriteFile(users, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		self, err := os.FindProcess(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		if err := self.Signal(syscall.SIGHUP); err != nil {
			t.Skipf("no SIGHUP here: %v", err)
		}
	}
	rewrite("alice\n")
	serve.stderr.find(t, `(the users stay as they were: .* line 1: expected name:password)`)
	rewrite("alice:s3cret\n\taddress 10.77.0.9\nbob:his\n")
	serve.stdout.find(t, `(users read again: 2)`)
	password := file(t, "s3cret")
	for range 2 {
		ping := start(t, "ping", address, "10.77.0.1", "-c", "1000", "-i", "0.1", "--user", "alice", "--password-file", password)
		ping.stdout.find(t, `(icmp_seq=1 )`)
		defer ping.stop()
	}
	serve.stdout.find(t, `(alice disconnected: 10\.77\.0\.9, for another session of the same user\nalice connected: 10\.77\.0\.9 from)`)
}
