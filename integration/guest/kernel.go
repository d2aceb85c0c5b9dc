package guest

import (
	"bytes"
	"debug/elf"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// wantModules are what init.sh loads; what they depend on comes before them.
var wantModules = []string{
	"virtio_pci", "virtio_net",
	"l2tp_core", "l2tp_netlink", "l2tp_eth", "l2tp_ip", "l2tp_ip6", "pppox", "ppp_generic", "l2tp_ppp",
	"ppp_async", "ppp_mppe", "ppp_deflate", "bsd_comp", "tun",
}

// A kernel is a directory with vmlinux and modules in it, named so that their order is the order to load them in.
type kernel struct {
	vmlinux string
	modules []string
}

// findKernel takes the newest kernel of the cache, and fetches Debian's present one only where there is none.
func findKernel(cache string) (kernel, error) {
	dirs, _ := filepath.Glob(filepath.Join(cache, "kernel-*"))
	if len(dirs) == 0 {
		dir, err := fetchKernel(cache)
		if err != nil {
			return kernel{}, err
		}
		dirs = []string{dir}
	}
	dir := dirs[len(dirs)-1]
	modules, _ := filepath.Glob(filepath.Join(dir, "*.ko"))
	return kernel{filepath.Join(dir, "vmlinux"), modules}, nil
}

var realKernel = regexp.MustCompile(`(?m)^\s*Depends:\s*(linux-image-\S+)`)

// fetchKernel downloads the package behind linux-image-amd64 and keeps the kernel and the modules that are needed.
func fetchKernel(cache string) (string, error) {
	depends, err := run(cache, "apt-cache", "depends", "--important", "linux-image-amd64")
	m := realKernel.FindStringSubmatch(depends)
	if err != nil || m == nil {
		return "", &Missing{What: []string{"a kernel: apt knows no linux-image-amd64 (apt-get update brings Debian's lists)"}}
	}
	tmp, err := os.MkdirTemp(cache, "fetch-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	if _, err := run(tmp, "apt-get", "download", m[1]); err != nil {
		return "", &Missing{What: []string{fmt.Sprintf("a kernel: %s was not downloaded (%v)", m[1], err)}}
	}
	debs, _ := filepath.Glob(filepath.Join(tmp, "*.deb"))
	if len(debs) != 1 {
		return "", fmt.Errorf("apt-get download %s left %d packages, expected one", m[1], len(debs))
	}
	if _, err := run(tmp, "dpkg-deb", "-x", debs[0], "x"); err != nil {
		return "", err
	}
	keep := filepath.Join(tmp, "keep")
	if err := keepKernel(filepath.Join(tmp, "x"), keep); err != nil {
		return "", fmt.Errorf("%s: %w", m[1], err)
	}
	dir := filepath.Join(cache, "kernel-"+strings.TrimPrefix(m[1], "linux-image-"))
	if err := os.Rename(keep, dir); err != nil && !isDir(dir) { // another process may have been faster
		return "", err
	}
	return dir, nil
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// keepKernel takes the kernel and the wanted modules of an unpacked package into dir, as 00-name.ko, 01-name.ko, …
func keepKernel(root, dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	images, _ := filepath.Glob(filepath.Join(root, "boot", "vmlinuz-*"))
	if len(images) != 1 {
		return fmt.Errorf("found %d kernels in boot/, expected one", len(images))
	}
	if err := unpackKernel(images[0], filepath.Join(dir, "vmlinux")); err != nil {
		return err
	}
	byName := map[string]string{}
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if name, ok := strings.CutSuffix(filepath.Base(path), ".ko"); ok {
			byName[moduleName(name)] = path
		}
		return err
	})
	if err != nil {
		return err
	}
	order, err := loadOrder(wantModules, byName)
	if err != nil {
		return err
	}
	for i, name := range order {
		if err := os.Rename(byName[name], filepath.Join(dir, fmt.Sprintf("%02d-%s.ko", i, name))); err != nil {
			return err
		}
	}
	return nil
}

// unpackKernel takes the ELF file out of a bzImage. QEMU starts that as well (PVH), and the emulated processor, which
// would need four seconds to unpack it at every boot, is spared that.
func unpackKernel(bzImage, vmlinux string) error {
	data, err := os.ReadFile(bzImage)
	if err != nil {
		return err
	}
	start := bytes.Index(data, []byte("\xfd7zXZ\x00"))
	if start < 0 {
		return fmt.Errorf("%s is not compressed with xz, expected Debian's kernel to be", filepath.Base(bzImage))
	}
	out, err := os.Create(vmlinux)
	if err != nil {
		return err
	}
	defer out.Close()
	var said strings.Builder
	xz := exec.Command("xz", "-dc", "--single-stream") // what follows the stream is not ours
	xz.Stdin, xz.Stdout, xz.Stderr = bytes.NewReader(data[start:]), out, &said
	if err := xz.Run(); err != nil {
		return fmt.Errorf("xz of the kernel: %w: %s", err, said.String())
	}
	return nil
}

// moduleName is the name as the kernel knows it: file names may have dashes where it has underscores.
func moduleName(s string) string { return strings.ReplaceAll(s, "-", "_") }

// loadOrder puts every module after what it depends on. The package has no modules.dep (that is made when a kernel is
// installed), but each module names its own dependencies.
func loadOrder(want []string, byName map[string]string) ([]string, error) {
	var order []string
	var add func(name string) error
	add = func(name string) error {
		if slices.Contains(order, name) {
			return nil
		}
		path, ok := byName[name]
		if !ok {
			return fmt.Errorf("no module %s", name)
		}
		depends, err := moduleDepends(path)
		if err != nil {
			return fmt.Errorf("module %s: %w", name, err)
		}
		for _, d := range depends {
			if err := add(d); err != nil {
				return fmt.Errorf("%w, which %s depends on", err, name)
			}
		}
		order = append(order, name)
		return nil
	}
	for _, name := range want {
		if err := add(name); err != nil {
			return nil, err
		}
	}
	return order, nil
}

// moduleDepends reads the line depends=a,b of a module's .modinfo section.
func moduleDepends(path string) ([]string, error) {
	f, err := elf.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	section := f.Section(".modinfo")
	if section == nil {
		return nil, fmt.Errorf("no .modinfo section in %s", path)
	}
	info, err := section.Data()
	if err != nil {
		return nil, err
	}
	var depends []string
	for line := range strings.SplitSeq(string(info), "\x00") {
		if list, ok := strings.CutPrefix(line, "depends="); ok && list != "" {
			for name := range strings.SplitSeq(list, ",") {
				depends = append(depends, moduleName(name))
			}
		}
	}
	return depends, nil
}
