package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const recorded = "../../endpoint/internal/capture/testdata/uml-v2-pap.pcap"

func TestDecode(t *testing.T) {
	cmd := start(t, "decode", recorded)
	if status := cmd.wait(t); status != 0 {
		t.Errorf("exit status %d, want 0", status)
	}
	want, err := os.ReadFile("../../endpoint/decode/testdata/uml-v2-pap.txt")
	if err != nil {
		t.Fatal(err)
	}
	if cmd.stdout.String() != string(want) || cmd.stderr.String() != "" {
		t.Errorf("it prints\n%s%s\nwant\n%s", cmd.stdout, cmd.stderr, want)
	}
}

// stdin is what a command reads until the test has ended.
func stdin(t *testing.T) *os.File {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	before := os.Stdin
	os.Stdin = r
	t.Cleanup(func() {
		os.Stdin = before
		w.Close()
		r.Close()
	})
	return w
}

func TestDecodeOfStandardInput(t *testing.T) {
	file, err := os.ReadFile(recorded)
	if err != nil {
		t.Fatal(err)
	}
	t.Run("to its end", func(t *testing.T) {
		in := stdin(t)
		cmd := start(t, "decode", "-")
		in.Write(file)
		in.Close()
		if status := cmd.wait(t); status != 0 || !strings.Contains(cmd.stdout.String(), "opened, 10.77.0.1 and 10.77.0.10\n") {
			t.Errorf("exit status %d, and it prints\n%s%s", status, cmd.stdout, cmd.stderr)
		}
	})
	// A capture that goes on is shown as it comes, and Ctrl-C ends it with a summary.
	t.Run("until Ctrl-C", func(t *testing.T) {
		in := stdin(t)
		cmd := start(t, "decode", "-")
		in.Write(file[:1000])
		cmd.stdout.find(t, "(SCCCN)")
		cmd.stop()
		if status := cmd.wait(t); status != 0 || !strings.Contains(cmd.stdout.String(), " control messages") {
			t.Errorf("exit status %d, and it prints\n%s%s", status, cmd.stdout, cmd.stderr)
		}
	})
}

func TestWhatCannotBeDecoded(t *testing.T) {
	whole, err := os.ReadFile(recorded)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		args []string
		want string
	}{
		{"no file", []string{"decode"}, `expected "<file>"`},
		{"a file that is not there", []string{"decode", "/nowhere/at/all"}, "cannot read the capture"},
		{"a directory", []string{"decode", t.TempDir()}, "is a directory"},
		{"a text", []string{"decode", file(t, "This is a text, and no capture of packets.")}, "expected a capture in pcap or pcapng format, found something else\nhint: captures are made by"},
		{"nothing of L2TP", []string{"decode", file(t, string(whole[:24]))}, "expected L2TP in the capture, found none\nhint: L2TP on another UDP port"},
		{"half a packet", []string{"decode", file(t, string(whole[:50]))}, "the capture ends in the middle of packet 1"},
		{"a secret that is not there", []string{"decode", recorded, "--secret-file", "/nowhere/at/all"}, "cannot read the tunnel secret"},
		{"a port that is none", []string{"decode", recorded, "--port", "l2tp"}, "--port"},
		{"a capture that cannot be written, of a client", []string{"connect", "127.0.0.1", "--socks", "127.0.0.1:0", "--pcap", "/nowhere/at/all"}, "cannot write the capture"},
		{"a capture that cannot be written, of a server", []string{"serve", "--users-file", file(t, "alice:s3cret\n"), "--pcap", t.TempDir()}, "cannot write the capture"},
		{"a capture onto a full disk", []string{"connect", "127.0.0.1", "--socks", "127.0.0.1:0", "--pcap", "/dev/full"}, "no space left"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cmd := start(t, c.args...)
			if status := cmd.wait(t); status != 2 {
				t.Errorf("exit status %d, want 2", status)
			}
			text := cmd.stderr.String()
			if lines := strings.Count(text, "\n"); !strings.Contains(text, c.want) || lines > 2 {
				t.Errorf("expected %q in one line and a hint, found\n%s", c.want, text)
			}
		})
	}
}

func TestDecodeOfWhatIsCut(t *testing.T) {
	whole, err := os.ReadFile(recorded)
	if err != nil {
		t.Fatal(err)
	}
	cmd := start(t, "decode", file(t, string(whole[:1000])))
	if status := cmd.wait(t); status != 0 || !strings.HasSuffix(cmd.stdout.String(), "the capture ends in the middle of packet 10\n") {
		t.Errorf("exit status %d, and it prints\n%s%s", status, cmd.stdout, cmd.stderr)
	}
}

// A call from connect to serve, captured at both ends: they tell the same story,
// though no port is 1701.
func TestPcap(t *testing.T) {
	dir := t.TempDir()
	ours, theirs := filepath.Join(dir, "client.pcapng"), filepath.Join(dir, "server.pcapng")
	if err := os.WriteFile(ours, make([]byte, 1<<20), 0o644); err != nil { // from before, and for all to read
		t.Fatal(err)
	}
	server, address := serving(t, "--pcap", theirs, "--auth", "pap")
	client := start(t, "connect", address, "--user", "alice", "--password-file", file(t, "s3cret"), "--auth", "pap",
		"--socks", "127.0.0.1:0", "--pcap", ours)
	client.stdout.find(t, "(connected to)")
	client.stop()
	if status := client.wait(t); status != 0 {
		t.Errorf("the client's exit status is %d\n%s", status, client.stderr)
	}
	server.stop()
	if status := server.wait(t); status != 0 {
		t.Errorf("the server's exit status is %d\n%s", status, server.stderr)
	}
	for _, name := range []string{ours, theirs} {
		st, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if st.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, want that only its owner may read it", name, st.Mode())
		}
		decoded := start(t, "decode", name)
		status := decoded.wait(t)
		text := decoded.stdout.String()
		for _, want := range []string{"A > B 0/0         SCCRQ", "B > A ", `PAP Auth-Req 1 "alice"`, "auth ok", "opened, 10.77.0.1 and 10.77.0.2", "StopCCN"} {
			if status != 0 || !strings.Contains(text, want) {
				t.Errorf("exit status %d, expected %q in\n%s%s", status, want, text, decoded.stderr)
			}
		}
		if strings.Contains(text, "malformed") || strings.Contains(text, "s3cret") {
			t.Errorf("%s tells\n%s", name, text)
		}
	}
}

// What went wrong is what one wants to see.
func TestPcapOfACallThatFails(t *testing.T) {
	_, address := serving(t)
	name := filepath.Join(t.TempDir(), "failed.pcapng")
	client := start(t, "connect", address, "--user", "alice", "--password-file", file(t, "wrong"), "--socks", "127.0.0.1:0", "--pcap", name)
	if status := client.wait(t); status != 1 {
		t.Errorf("exit status %d, want 1", status)
	}
	decoded := start(t, "decode", name)
	if status := decoded.wait(t); status != 0 || !strings.Contains(decoded.stdout.String(), "error 691: authentication failure") {
		t.Errorf("exit status %d, and it prints\n%s%s", status, decoded.stdout, decoded.stderr)
	}
}
