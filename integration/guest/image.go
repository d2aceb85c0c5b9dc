package guest

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

//go:embed init.sh
var initScript []byte

// An image is what QEMU boots.
type image struct {
	qemu, vmlinux, initrd string
}

// buildImage gathers the parts and puts them together. That takes less time than to find out whether the cache's image
// is still right, so it is always done; but an image of the same contents has the same name and is written once.
func buildImage() (image, error) {
	t, err := findTools()
	if err != nil {
		return image{}, err
	}
	cache, err := cacheDir()
	if err != nil {
		return image{}, err
	}
	k, err := findKernel(cache)
	if err != nil {
		return image{}, err
	}
	initramfs, err := pack(t, k)
	if err != nil {
		return image{}, fmt.Errorf("the guest's initramfs: %w", err)
	}
	initrd := filepath.Join(cache, fmt.Sprintf("initramfs-%x.cpio", sha256.Sum256(initramfs)))
	if _, err := os.Stat(initrd); err != nil {
		if err := replaceImage(cache, initrd, initramfs); err != nil {
			return image{}, err
		}
	}
	return image{t.qemu, k.vmlinux, initrd}, nil
}

// pack makes the initramfs.
func pack(t tools, k kernel) ([]byte, error) {
	files, err := gather(t, k)
	if err != nil {
		return nil, err
	}
	servers, err := buildServers()
	if err != nil {
		return nil, err
	}
	w := &cpio{made: map[string]bool{}}
	w.file("/init", 0o755, initScript)
	for _, name := range sortedKeys(servers) {
		w.file("/bin/"+name, 0o755, servers[name])
	}
	w.file("/www/blob", 0o644, Blob())
	w.file("/www/index.html", 0o644, []byte(Page))
	w.device("/dev/console", 5, 1) // the kernel opens it before init can mount /dev
	for _, name := range sortedKeys(files) {
		data, err := os.ReadFile(files[name])
		if err != nil {
			return nil, err
		}
		w.file(name, 0o755, data)
	}
	w.trailer()
	return w.out.Bytes(), nil
}

// buildServers compiles what no applet of Debian's busybox does: the DNS server, the router's advertisements, and the
// kernel's counters.
func buildServers() (map[string][]byte, error) {
	dir, err := os.MkdirTemp("", "servers-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	const pkg = "github.com/l2tpnet/l2tpnet/integration/guest/"
	_, err = run("", "env", "CGO_ENABLED=0", "GOFLAGS=", lookPath("go"), "build", "-trimpath", "-ldflags=-s -w", "-o", dir+"/", pkg+"dnsd", pkg+"l2tpstat", pkg+"rad")
	if err != nil {
		return nil, err
	}
	servers := map[string][]byte{}
	for _, name := range []string{"dnsd", "l2tpstat", "rad"} {
		if servers[name], err = os.ReadFile(filepath.Join(dir, name)); err != nil {
			return nil, err
		}
	}
	return servers, nil
}

// gather maps each path in the guest to the host's file that it is a copy of.
func gather(t tools, k kernel) (map[string]string, error) {
	files := map[string]string{
		// Where init.sh and xl2tpd look for them, wherever this machine keeps them.
		"/bin/busybox":     t.busybox,
		"/usr/sbin/ip":     t.ip,
		"/usr/sbin/xl2tpd": t.xl2tpd,
		"/usr/sbin/pppd":   t.pppd,
		t.pppol2tp:         t.pppol2tp,
		t.legacy:           t.legacy,
	}
	if t.iperf3 != "" {
		files["/usr/bin/iperf3"] = t.iperf3
	}
	for _, program := range sortedKeys(files) {
		libraries, err := ldd(files[program])
		if err != nil {
			return nil, err
		}
		for _, l := range libraries {
			files[l] = l
		}
	}
	for _, m := range k.modules {
		files["/modules/"+filepath.Base(m)] = m
	}
	return files, nil
}

var library = regexp.MustCompile(`(?m)^\s*(?:\S+ => )?(/\S+) \(0x`)

// ldd lists the libraries, and the loader, that a program is linked to: none for a static one.
func ldd(program string) ([]string, error) {
	out, err := run("", "ldd", program)
	if err != nil && strings.Contains(err.Error(), "not a dynamic executable") {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if strings.Contains(out, "not found") {
		return nil, fmt.Errorf("%s lacks a library: %s", program, out)
	}
	var paths []string
	for _, m := range library.FindAllStringSubmatch(out, -1) {
		paths = append(paths, m[1])
	}
	return paths, nil
}

// replaceImage writes an image beside the old ones, moves it into place, and only then removes the old ones: another
// process may be reading one, and keeps what it has opened.
func replaceImage(cache, initrd string, data []byte) error {
	old, _ := filepath.Glob(filepath.Join(cache, "initramfs-*.cpio"))
	tmp, err := os.CreateTemp(cache, "building-")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	if _, err := tmp.Write(data); err != nil {
		return err
	}
	if err := tmp.Close(); err != nil {
		return err
	}
	if err := os.Chmod(tmp.Name(), 0o644); err != nil { // for QEMU, whoever it runs as
		return err
	}
	if err := os.Rename(tmp.Name(), initrd); err != nil {
		return err
	}
	for _, path := range old {
		os.Remove(path)
	}
	return nil
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// cpio writes the kernel's initramfs format, "newc": a header of hexadecimal fields, the name, the data, each padded to
// four octets (Documentation/driver-api/early-userspace/buffer-format.rst in the kernel's source).
type cpio struct {
	out  bytes.Buffer
	ino  int
	made map[string]bool // directories written so far
}

func (w *cpio) file(name string, perm int, data []byte) {
	w.parents(name)
	w.entry(name, 0o100000|perm, data, 0, 0)
}

func (w *cpio) device(name string, major, minor int) {
	w.parents(name)
	w.entry(name, 0o020600, nil, major, minor)
}

// parents writes the directories above name that are not there yet, since the kernel makes none by itself.
func (w *cpio) parents(name string) {
	dir := path.Dir(name)
	if dir == "/" || w.made[dir] {
		return
	}
	w.parents(dir)
	w.made[dir] = true
	w.entry(dir, 0o040755, nil, 0, 0)
}

func (w *cpio) trailer() { w.entry("TRAILER!!!", 0, nil, 0, 0) }

func (w *cpio) entry(name string, mode int, data []byte, major, minor int) {
	w.ino++
	name = strings.TrimPrefix(name, "/")
	fmt.Fprintf(&w.out, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00",
		w.ino, mode, 0 /*uid*/, 0 /*gid*/, 1 /*links*/, 0 /*mtime*/, len(data),
		0, 0 /*device*/, major, minor, len(name)+1, 0 /*checksum*/, name)
	w.pad()
	w.out.Write(data)
	w.pad()
}

func (w *cpio) pad() {
	for w.out.Len()%4 != 0 {
		w.out.WriteByte(0)
	}
}
