//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// A program is one that is built from source.
type program struct {
	name, lane string
	dir        string // of its module, in ours; empty: ours
	pkg        string
}

const (
	peers      = "integration/bench/peers/"
	missingEnd = ".missing" // of the name of a file that says why there is no program
)

var programs = []program{
	{"l2tpnet", ours, "", "./cmd/l2tpnet"},
	{"gvproxy", gvisorTap, peers + "gvisortapvsock", "github.com/containers/gvisor-tap-vsock/cmd/gvproxy"},
	{"gvforwarder", gvisorTap, peers + "gvisortapvsock", "github.com/containers/gvisor-tap-vsock/cmd/vm"},
	{"wireguard", wireguard, peers + "wireguard", "."},
}

// buildPrograms builds those that the plan needs. Those of other people are not fetched for that: where a module is not in
// the cache, a file says so in the program's place.
func buildPrograms(ctx context.Context, dir string, p plan) error {
	if !slices.ContainsFunc(p.figures(), func(f figure) bool { return f.scene == forwards }) {
		return nil
	}
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/l2tpnet/l2tpnet").Output()
	if err != nil {
		return errors.New("expected to run in the module's directory, with the go command")
	}
	for _, b := range programs {
		if !wants(p.figures(), forwards, b.lane) {
			continue
		}
		module := filepath.Join(strings.TrimSpace(string(root)), b.dir)
		cmd := exec.CommandContext(ctx, "go", "build", "-o", filepath.Join(dir, b.name), b.pkg)
		cmd.Dir = module
		if b.dir != "" {
			cmd.Env = append(os.Environ(), "GOPROXY=off", "GOFLAGS=-mod=readonly")
		}
		out, err := cmd.CombinedOutput()
		switch {
		case err == nil:
		case b.dir == "":
			return fmt.Errorf("go build %s: %w\n%s", b.pkg, err, out)
		default:
			why := fmt.Sprintf("cannot be built; try: (cd %s && go mod download)", b.dir)
			if err := os.WriteFile(filepath.Join(dir, b.name+missingEnd), []byte(why), 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

// built is where a program is, or why it is not.
func (h *hall) built(name string) (path string, err error) {
	path = filepath.Join(h.dir, name)
	if why, err := os.ReadFile(path + missingEnd); err == nil {
		return "", fmt.Errorf("%s %s", name, why)
	}
	return path, nil
}

// installed is where a program of Debian's is, or how to get it.
func installed(name, pkg string) (string, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("no %s; try: apt-get install %s", name, pkg)
	}
	return path, nil
}
