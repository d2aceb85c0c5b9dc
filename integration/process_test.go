package integration

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/l2tpnet/l2tpnet/integration/guest"
)

// nobody is whom l2tpnet runs as where the test is root.
const nobody = 65534

// namespaceVariable, in the environment, says that the test runs in a network namespace of its own: "root", or "user" if
// that is in a user namespace, too, where nobody but root is known.
const namespaceVariable = "L2TPNET_TEST_NAMESPACE"

// programVariable tells it where l2tpnet has been built already.
const programVariable = "L2TPNET_TEST_PROGRAM"

// workDir holds the program, and the secrets that it is given. Nobody can read both.
var workDir string

func TestMain(m *testing.M) {
	// Not t.TempDir, which only its owner may enter.
	dir, err := os.MkdirTemp("", "l2tpnet-integration-")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	workDir = dir
	status := m.Run()
	os.RemoveAll(dir)
	os.Exit(status)
}

// build compiles the command line once.
var build = sync.OnceValues(func() (string, error) {
	if path := os.Getenv(programVariable); path != "" {
		return path, nil
	}
	path := filepath.Join(workDir, "l2tpnet")
	out, err := exec.Command("go", "build", "-o", path, "github.com/l2tpnet/l2tpnet/cmd/l2tpnet").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build cmd/l2tpnet: %w\n%s", err, out)
	}
	return path, nil
})

// dropsPrivileges tells whether l2tpnet runs as nobody: where the test is root, unless it is so only in a user namespace of
// its own, in which nobody does not exist.
func dropsPrivileges() bool { return os.Getuid() == 0 && os.Getenv(namespaceVariable) != "user" }

// unprivileged is how l2tpnet, and QEMU, are started: as nobody where the test is root.
func unprivileged() *syscall.SysProcAttr {
	if dropsPrivileges() {
		return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	return nil
}

// file writes a secret to a file that only the user whom l2tpnet runs as can read.
func file(t *testing.T, content string) string {
	t.Helper()
	f, err := os.CreateTemp(workDir, "secret-")
	if err == nil {
		_, err = io.WriteString(f, content+"\n")
	}
	if err == nil && dropsPrivileges() {
		err = f.Chown(nobody, nobody)
	}
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return f.Name()
}

// A process is a running l2tpnet.
type process struct {
	cmd    *exec.Cmd
	lines  chan string // of standard output
	stderr words
	done   chan struct{} // closed when it has ended
}

// words are what a process says, and may be read meanwhile.
type words struct {
	mu   sync.Mutex
	said strings.Builder
}

func (w *words) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.said.Write(b)
}

func (w *words) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.said.String()
}

// start runs l2tpnet. It ends with the test at the latest.
func start(t *testing.T, args ...string) *process {
	t.Helper()
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: exec.Command(path, args...), lines: make(chan string, 1000), done: make(chan struct{})}
	p.cmd.Dir = workDir
	p.cmd.Stderr = &p.stderr
	p.cmd.Env = []string{"PATH=" + os.Getenv("PATH")} // no L2TPNET_… of whoever runs the tests
	p.cmd.SysProcAttr = unprivileged()
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("l2tpnet does not start: %v", err)
	}
	go func() {
		for s := bufio.NewScanner(stdout); s.Scan(); {
			p.lines <- s.Text()
		}
		close(p.lines)
		p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		<-p.done
		if t.Failed() {
			t.Logf("l2tpnet %s\nsaid on standard error:\n%s", strings.Join(args, " "), p.stderr.String())
		}
	})
	return p
}

// line waits for the next line of standard output.
func (p *process) line(t *testing.T) string {
	t.Helper()
	select {
	case line, ok := <-p.lines:
		if !ok {
			<-p.done
			t.Fatalf("l2tpnet: expected a line on standard output, found its end, %v and on standard error:\n%s", p.cmd.ProcessState, p.stderr.String())
		}
		return line
	case <-time.After(guest.Patience):
		t.Fatal("l2tpnet: expected a line on standard output, found nothing")
	}
	panic("not reached")
}

// wait waits for its end and returns the exit status.
func (p *process) wait(t *testing.T) int {
	t.Helper()
	select {
	case <-p.done:
	case <-time.After(guest.Patience):
		t.Fatal("l2tpnet: expected it to end, found it running")
	}
	return p.cmd.ProcessState.ExitCode()
}

// interrupt is Ctrl-C: l2tpnet ends, with success or with the shell's status for it.
func (p *process) interrupt(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatal(err)
	}
	status := p.wait(t)
	if status != 0 && status != 130 {
		t.Errorf("after Ctrl-C: expected exit status 0 or 130, found %d and on standard error:\n%s", status, p.stderr.String())
	}
}
