//go:build linux

package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// patience is how long somebody else's program may take to be ready.
const patience = 20 * time.Second

// A process is somebody else's program, or l2tpnet.
type process struct {
	cmd   *exec.Cmd
	lines chan string // of standard output
	done  chan struct{}

	mu   sync.Mutex
	said bytes.Buffer // on standard error
}

func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.said.Len() < 1<<16 {
		p.said.Write(b)
	}
	return len(b), nil
}

// start starts a program, which ends with the hall.
func (h *hall) start(ns *namespace, env []string, name string, args ...string) (*process, error) {
	p := &process{cmd: exec.Command(name, args...), lines: make(chan string, 100), done: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stderr = p
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := ns.do(p.cmd.Start); err != nil {
		return nil, err
	}
	go func() {
		for s := bufio.NewScanner(out); s.Scan(); {
			select {
			case p.lines <- s.Text():
			default: // nobody reads any more
			}
		}
		close(p.lines)
		p.cmd.Wait()
		close(p.done)
	}()
	h.ends = append(h.ends, func() {
		p.cmd.Process.Signal(syscall.SIGTERM)
		late := time.AfterFunc(5*time.Second, func() { p.cmd.Process.Kill() })
		<-p.done
		late.Stop()
	})
	return p, nil
}

func (p *process) fail(format string, args ...any) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return fmt.Errorf("%s: %s\n%s", filepath.Base(p.cmd.Path), fmt.Sprintf(format, args...), strings.TrimSpace(p.said.String()))
}

// line waits for the next line of standard output.
func (p *process) line() (string, error) {
	select {
	case line, ok := <-p.lines:
		if ok {
			return line, nil
		}
		return "", p.fail("expected a line on standard output, found its end")
	case <-time.After(patience):
		return "", p.fail("expected a line on standard output, found nothing")
	}
}

// ready waits until something does not fail any more.
func (p *process) ready(try func() error) (err error) {
	for began := time.Now(); time.Since(began) < patience; time.Sleep(50 * time.Millisecond) {
		select {
		case <-p.done:
			return p.fail("it has ended: %v", p.cmd.ProcessState)
		default:
		}
		if err = try(); err == nil {
			return nil
		}
	}
	return p.fail("it is not ready: %v", err)
}

// meter is the CPU time of the process and of its children, which the kernel tells in hundredths of a second.
func (p *process) meter() (time.Duration, error) {
	total := 0
	parents := map[string][]string{}
	used := map[string]int{}
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0, err
	}
	for _, path := range stats {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		_, rest, ok := bytes.Cut(stat, []byte(") ")) // behind its name
		f := strings.Fields(string(rest))
		if !ok || len(f) < 13 {
			return 0, errors.New(path + ": expected what proc(5) says")
		}
		user, _ := strconv.Atoi(f[11])
		system, _ := strconv.Atoi(f[12])
		pid := filepath.Base(filepath.Dir(path))
		parents[f[1]] = append(parents[f[1]], pid)
		used[pid] = user + system
	}
	for next := []string{strconv.Itoa(p.cmd.Process.Pid)}; len(next) > 0; next = next[1:] {
		total += used[next[0]]
		next = append(next, parents[next[0]]...)
	}
	return time.Duration(total) * 10 * time.Millisecond, nil
}
