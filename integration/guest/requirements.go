package guest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// A Missing error says what this machine lacks for a guest, and how to get it.
type Missing struct {
	What     []string // programs, files, or a kernel, each in words
	Packages []string // Debian packages that bring them
}

func (e *Missing) Error() string {
	s := "missing: " + strings.Join(e.What, ", ")
	if len(e.Packages) > 0 {
		s += "; install with: apt-get install " + strings.Join(e.Packages, " ")
	}
	return s
}

func (e *Missing) add(what, pkg string) {
	e.What = append(e.What, what)
	if pkg != "" && !slices.Contains(e.Packages, pkg) {
		e.Packages = append(e.Packages, pkg)
	}
}

// tools are the host's files that a guest is made of or made by.
type tools struct {
	qemu, busybox, xl2tpd, pppd, ip, pppol2tp, legacy string
	iperf3                                            string // optional: "" where it is not installed
}

// findTools looks for everything at once, so that one error names all that is missing.
func findTools() (tools, error) {
	var t tools
	var missing Missing
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		missing.add("a Linux host on amd64 (this is "+runtime.GOOS+"/"+runtime.GOARCH+")", "")
		return t, &missing
	}
	program := func(name, pkg string) string {
		path := lookPath(name)
		if path == "" {
			missing.add(name, pkg)
		}
		return path
	}
	file := func(pattern, pkg string) string {
		if found, _ := filepath.Glob(pattern); len(found) > 0 {
			return found[len(found)-1]
		}
		missing.add(pattern, pkg)
		return ""
	}
	t = tools{
		qemu:     program("qemu-system-x86_64", "qemu-system-x86"),
		busybox:  program("busybox", "busybox-static"),
		xl2tpd:   program("xl2tpd", "xl2tpd"),
		pppd:     file("/usr/sbin/pppd", "ppp"), // read, not executed: only root and the group dip may do that
		ip:       program("ip", "iproute2"),
		pppol2tp: file("/usr/lib/pppd/*/pppol2tp.so", "ppp"),
		// pppd takes MD4, which MS-CHAP needs, from OpenSSL, which keeps it in this provider.
		legacy: file("/usr/lib/x86_64-linux-gnu/ossl-modules/legacy.so", "libssl3"),
		iperf3: lookPath("iperf3"),
	}
	program("ldd", "libc-bin")
	program("xz", "xz-utils")
	program("dpkg-deb", "dpkg")
	program("apt-get", "apt")
	program("go", "golang") // builds the guest's own servers
	if len(missing.What) > 0 {
		return t, &missing
	}
	return t, nil
}

// lookPath also looks where Debian keeps daemons, which an ordinary user's PATH leaves out.
func lookPath(name string) string {
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	for _, dir := range []string{"/usr/sbin", "/sbin", "/usr/bin", "/bin"} {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path
		}
	}
	return ""
}

// cacheDir is where the kernel and the image stay between runs.
func cacheDir() (string, error) {
	dir := os.Getenv("L2TPNET_GUEST_CACHE")
	if dir == "" {
		base, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("no place for the guest's kernel (set L2TPNET_GUEST_CACHE): %w", err)
		}
		dir = filepath.Join(base, "l2tpnet-integration")
	}
	return dir, os.MkdirAll(dir, 0o755)
}

// run runs a command and, where it fails, says what it said.
func run(dir, name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, strings.TrimSpace(string(out)))
	}
	return string(out), nil
}
