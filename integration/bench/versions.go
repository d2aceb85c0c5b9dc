//go:build linux

package main

import (
	"debug/buildinfo"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// machine is what the figures depend on, in a line.
func machine() string {
	var u unix.Utsname
	unix.Uname(&u)
	model := runtime.GOARCH
	info, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(info)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			model = strings.TrimSpace(value)
			break
		}
	}
	return fmt.Sprintf("%d × %s, Linux %s, %s", runtime.NumCPU(), model, unix.ByteSliceToString(u.Release[:]), runtime.Version())
}

// firstLine is the first line that a program says, such as its version.
func firstLine(program string, args ...string) string {
	out, _ := exec.Command(program, args...).CombinedOutput()
	line, _, _ := strings.Cut(string(out), "\n")
	return line
}

// firstCipher is what ssh prefers, and sshd has too, since both are of one package.
func firstCipher(ssh string) string {
	out, _ := exec.Command(ssh, "-G", "-F", "none", "localhost").Output()
	for line := range strings.Lines(string(out)) {
		if list, ok := strings.CutPrefix(line, "ciphers "); ok {
			cipher, _, _ := strings.Cut(strings.TrimSpace(list), ",")
			return cipher
		}
	}
	return "what it prefers"
}

// moduleVersion is which version of a module is in a program.
func moduleVersion(program, module string) string {
	if info, err := buildinfo.ReadFile(program); err == nil {
		for _, m := range append(info.Deps, &info.Main) {
			if m.Path == module {
				return m.Version
			}
		}
	}
	return "of an unknown version"
}
