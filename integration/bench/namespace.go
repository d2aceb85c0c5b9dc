//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/l2tpnet/l2tpnet/integration/internal/roles"
	"golang.org/x/sys/unix"
)

// insideVariable, in the environment, says that this is the program's own namespace, and where programs have been built.
const insideVariable = "L2TPNET_BENCH_INSIDE"

// ownAddress is an address of this machine in there that is not loopback's, which no stack sends to (RFC 2544's network).
const ownAddress = "198.18.0.1"

// outside builds what is to be run, and runs this program again in namespaces of its own: network, mounts and, unless root
// does it, users.
func outside(ctx context.Context, p plan, stdout, stderr io.Writer) int {
	fail := func(err error) int {
		fmt.Fprintln(stderr, err)
		return 2
	}
	dir, err := os.MkdirTemp("", "l2tpnet-bench-")
	if err != nil {
		return fail(err)
	}
	defer os.RemoveAll(dir)
	if err := buildPrograms(ctx, dir, p); err != nil {
		return fail(err)
	}
	self, err := os.Executable()
	if err != nil {
		return fail(err)
	}
	cmd := exec.CommandContext(ctx, self, os.Args[1:]...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 20 * time.Second
	cmd.Env = append(os.Environ(), insideVariable+"="+dir)
	if p.profile != "" {
		cmd.Env = append(cmd.Env, roles.ProfileVariable+"="+p.profile)
	}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	runtime.LockOSThread() // which the child's life depends on
	if err := cmd.Start(); err != nil {
		return fail(fmt.Errorf("a network namespace of its own is needed: run it as root, or allow user namespaces: %w", err))
	}
	cmd.Wait()
	if status := cmd.ProcessState.ExitCode(); status >= 0 {
		return status
	}
	return 2
}

// inside is the program itself: 0, or 1 if a goal was missed, or 2 if something failed.
func inside(ctx context.Context, p plan, stdout, stderr io.Writer) int {
	fmt.Fprintln(stdout, machine())
	fmt.Fprintf(stdout, "%d rounds of %g s each. It takes about %v.\n", p.rounds, p.seconds, p.length().Round(time.Second))
	var missed []string
	err := furnish()
	if err == nil && len(p.figures()) > 0 {
		fmt.Fprintln(stdout, "Gbit/s or what else the line is of, and CPU seconds for a GB; medians.")
		missed, err = p.run(ctx, stdout)
	}
	if err == nil && p.plot != "" {
		err = p.draw(ctx, stdout)
	}
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 2
	}
	if len(p.figures()) == 0 {
		return 0
	}
	return roles.Verdict(stdout, missed)
}

// furnish prepares the program's namespaces: loopback, CUBIC, and a /run where sshd has its directory.
func furnish() error {
	if err := furnishNetwork(ownAddress); err != nil {
		return err
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("mounts: %w", err)
	}
	if err := unix.Mount("tmpfs", "/run", "tmpfs", 0, "mode=755"); err != nil {
		return fmt.Errorf("/run: %w", err)
	}
	return os.Mkdir("/run/sshd", 0o755)
}

// cubic is for a route: who sends along it does so by CUBIC, whatever the system's default is. Only the first namespace can
// set that, for all that it does not allow.
const cubic = " congctl cubic"

func furnishNetwork(addresses ...string) error {
	commands := []string{"ip link set lo up"}
	for _, a := range addresses {
		commands = append(commands, fmt.Sprintf("ip addr add %s/32 dev lo", a))
	}
	for _, to := range append([]string{"127.0.0.0/8", "127.0.0.1"}, addresses...) {
		commands = append(commands, fmt.Sprintf("ip route replace table local local %s dev lo proto kernel scope host", to)+cubic)
	}
	return sh(commands...)
}

// A namespace is a network namespace. Nil is the program's own.
type namespace struct{ file *os.File }

// namespace makes one, which ends with the hall.
func (h *hall) namespace() (ns *namespace, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return nil, err
	}
	defer home.Close()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return nil, fmt.Errorf("a network namespace: %w", err)
	}
	defer comeHome(home)
	if err := furnishNetwork(); err != nil {
		return nil, err
	}
	ns = &namespace{}
	if ns.file, err = os.Open("/proc/thread-self/ns/net"); err != nil {
		return nil, err
	}
	h.ends = append(h.ends, func() { ns.file.Close() })
	return ns, nil
}

func comeHome(home *os.File) {
	if err := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); err != nil {
		panic("BUG: the way back to the first network namespace: " + err.Error())
	}
}

// path names the namespace to other programs.
func (ns *namespace) path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), ns.file.Fd()) }

// do calls f in the namespace: what it starts is in there.
func (ns *namespace) do(f func() error) error {
	if ns == nil {
		return f()
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	defer home.Close()
	if err := unix.Setns(int(ns.file.Fd()), unix.CLONE_NEWNET); err != nil {
		return err
	}
	defer comeHome(home)
	return f()
}

// sh runs commands, one after another.
func sh(commands ...string) error {
	for _, c := range commands {
		args := strings.Fields(c)
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w %s", c, err, out)
		}
	}
	return nil
}
