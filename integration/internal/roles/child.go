//go:build linux

package roles

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/pprof"
	"strings"
	"syscall"
	"time"
)

// variable, in the environment, makes a program one of its roles.
const variable = "L2TPNET_ROLE"

// ProfileVariable, in the environment, is a directory where each child leaves a profile of its CPU time, for go tool pprof.
const ProfileVariable = "L2TPNET_PROFILE"

// A Role answers questions, each by name, with arguments and answers that JSON can carry.
type Role map[string]func(args json.RawMessage) (answer any, err error)

// Main plays the role that the environment gives to this program, out of all that it has. It returns false if there is none:
// then this is the parent.
func Main(all map[string]func() Role) bool {
	name := os.Getenv(variable)
	if name == "" {
		return false
	}
	err := profiled(name, func() error { return play(name, all[name]) })
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(2)
	}
	return true
}

// Patience is how long a child may take to answer, beyond what it was asked to take.
const Patience = 5 * time.Minute

type question struct {
	Name string
	Args json.RawMessage
}

type answer struct {
	Value json.RawMessage
	Error string
}

// profiled calls f, and has its CPU time noted where somebody wants to know.
func profiled(name string, f func() error) error {
	dir := os.Getenv(ProfileVariable)
	if dir == "" {
		return f()
	}
	file, err := os.Create(filepath.Join(dir, fmt.Sprintf("%s-%d.pprof", strings.ReplaceAll(name, " ", "-"), os.Getpid())))
	if err != nil {
		return err
	}
	defer file.Close()
	if err := pprof.StartCPUProfile(file); err != nil {
		return err
	}
	defer pprof.StopCPUProfile()
	return f()
}

// play answers what the parent asks, until it closes the pipe.
func play(name string, begin func() Role) error {
	if begin == nil {
		return fmt.Errorf("expected a role in %s, found %q", variable, name)
	}
	r := begin()
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var q question
		if err := in.Decode(&q); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		var a answer
		var value any
		err := fmt.Errorf("the %s does not know that question", name)
		if f := r[q.Name]; f != nil {
			value, err = f(q.Args)
		}
		if err == nil {
			a.Value, err = json.Marshal(value)
		}
		if err != nil {
			a.Error = err.Error()
		}
		if err := out.Encode(a); err != nil {
			return err
		}
	}
}

// Asks makes a function with arguments of a type into one of a role's.
func Asks[A, V any](f func(A) (V, error)) func(json.RawMessage) (any, error) {
	return func(raw json.RawMessage) (any, error) {
		var args A
		if err := json.Unmarshal(raw, &args); err != nil {
			return nil, err
		}
		return f(args)
	}
}

// A Child is this program again, as one of the roles. It ends when its pipe is closed, and so with its parent at the latest.
type Child struct {
	name string
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *os.File
	dec  *json.Decoder
}

// StartChild starts this program again.
func StartChild(name string) (*Child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &Child{name: name, cmd: exec.Command(self)}
	c.cmd.Env = append(os.Environ(), variable+"="+name)
	c.cmd.Stderr = os.Stderr
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	c.cmd.Stdout = write
	err = c.cmd.Start()
	write.Close()
	if err != nil {
		out.Close()
		return nil, err
	}
	c.out, c.dec = out, json.NewDecoder(out)
	return c, nil
}

// Ask waits for an answer; nil for value if it does not matter.
func (c *Child) Ask(name string, args, value any) error {
	raw, err := json.Marshal(args)
	if err != nil {
		return err
	}
	fail := func(err error) error { return fmt.Errorf("the %s, asked for %s: %w", c.name, name, err) }
	if err := json.NewEncoder(c.in).Encode(question{name, raw}); err != nil {
		return fail(err)
	}
	if err := c.out.SetReadDeadline(time.Now().Add(Patience)); err != nil {
		return fail(err)
	}
	var a answer
	if err := c.dec.Decode(&a); err != nil {
		return fail(err)
	}
	if a.Error != "" {
		return fail(errors.New(a.Error))
	}
	if value == nil {
		return nil
	}
	return json.Unmarshal(a.Value, value)
}

// Pause has the system stop the child, and Continue has it go on.
func (c *Child) Pause() error { return c.cmd.Process.Signal(syscall.SIGSTOP) }

func (c *Child) Continue() error { return c.cmd.Process.Signal(syscall.SIGCONT) }

// End closes the pipe, and waits until the child has gone.
func (c *Child) End() {
	c.in.Close()
	late := time.AfterFunc(10*time.Second, func() { c.cmd.Process.Kill() })
	c.cmd.Wait()
	late.Stop()
	c.out.Close()
}

// A Cast is children that end together.
type Cast []*Child

// Start starts one more.
func (all *Cast) Start(name string) (*Child, error) {
	c, err := StartChild(name)
	if err == nil {
		*all = append(*all, c)
	}
	return c, err
}

// End ends them all.
func (all Cast) End() {
	for _, c := range all {
		c.End()
	}
}
