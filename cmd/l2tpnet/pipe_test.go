//go:build unix

package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func fifo(t *testing.T) string {
	t.Helper()
	// Not TempDir, which fails if who was to open the pipe comes when it has gone, and
	// makes a file.
	dir, err := os.MkdirTemp("", "l2tpnet")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	name := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(name, 0o600); err != nil {
		t.Skip(err)
	}
	return name
}

// Ctrl-C ends what waits for somebody to read a pipe.
func TestACaptureThatNobodyOpens(t *testing.T) {
	pipe := fifo(t)
	_, address := serving(t)
	connect := start(t, "connect", address, "--socks", "127.0.0.1:0", "--pcap", pipe)
	connect.stop()
	if status := connect.wait(t); status != 130 {
		t.Errorf("exit status %d, want 130", status)
	}
	reader, err := os.OpenFile(pipe, os.O_RDONLY|syscall.O_NONBLOCK, 0) // lets the other end go
	if err != nil {
		t.Fatal(err)
	}
	reader.Close()
}

// Who opens a pipe and does not read it gets no capture, and keeps nobody.
func TestACaptureThatNobodyReads(t *testing.T) {
	pipe := fifo(t)
	reader, err := os.OpenFile(pipe, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	_, address := serving(t)
	t.Setenv("L2TPNET_USER", "alice")
	t.Setenv("L2TPNET_PASSWORD", "s3cret")
	ping := start(t, "ping", address, "10.77.0.1", "-c", "5", "-i", "0.01", "-s", "20000", "--pcap", pipe)
	if status := ping.wait(t); status != 1 {
		t.Errorf("exit status %d, want 1, for the capture: %s", status, ping.stdout)
	}
	if text := ping.stderr.String(); !strings.Contains(text, "l2tpnet: the capture is not complete: ") {
		t.Errorf("it says\n%s", text)
	}
}
