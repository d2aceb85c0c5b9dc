package integration

import (
	"bytes"
	"os"
	"os/exec"
	"regexp"
	"syscall"
	"testing"

	"github.com/l2tpnet/l2tpnet/integration/guest"
)

var skippedLine = regexp.MustCompile(`SKIPPED: .*`)

// inNamespace runs the test again, in a network namespace of its own, in which it may have any address and be far away.
// In there it returns true; outside, when that has ended, false. It skips where the system allows no such namespace.
//
//	go test ─► TestX ─► inNamespace ─► the same program, -test.run ^TestX$, behind clone(CLONE_NEWNET)
//	                                        └─ inNamespace: lo goes up ─► the test
func inNamespace(t *testing.T) bool {
	t.Helper()
	if os.Getenv(namespaceVariable) != "" {
		sh(t, "ip link set lo up")
		return true
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skipf("SKIPPED: %s; missing: ip, install with: apt-get install iproute2", t.Name())
	}
	guest.Prepare(t) // in there nothing can be fetched
	program, err := build()
	if err != nil {
		t.Fatal(err)
	}
	ways := map[string]*syscall.SysProcAttr{
		"root": {Cloneflags: syscall.CLONE_NEWNET},
		"user": {
			Cloneflags:  syscall.CLONE_NEWNET | syscall.CLONE_NEWUSER,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		},
	}
	var refusal error
	for _, way := range []string{"root", "user"} {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^"+t.Name()+"$", "-test.v", "-test.timeout", "10m")
		cmd.Env = append(os.Environ(), namespaceVariable+"="+way, programVariable+"="+program)
		cmd.SysProcAttr = ways[way]
		cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
		var said bytes.Buffer
		cmd.Stdout, cmd.Stderr = &said, &said
		if refusal = cmd.Start(); refusal != nil {
			continue
		}
		if err := cmd.Wait(); err != nil {
			t.Fatalf("in a namespace of its own: %v\n%s", err, said.String())
		}
		if skipped := skippedLine.FindString(said.String()); skipped != "" {
			t.Skip(skipped)
		}
		t.Logf("in a namespace of its own:\n%s", said.String())
		return false
	}
	t.Skipf("SKIPPED: %s; missing: a network namespace (run as root, or allow user namespaces to others): %v", t.Name(), refusal)
	return false
}
