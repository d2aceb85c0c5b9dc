//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

// roleVariable, in the environment, makes this program one of the roles.
const roleVariable = "L2TPNET_ADVERSITY_ROLE"

// A role answers questions, each by name, with arguments and answers that JSON can carry.
type role map[string]func(args json.RawMessage) (answer any, err error)

// roles are all that a child can be.
var roles = map[string]func() role{
	"server":  newServer,
	"clients": newClients,
	"flooder": newFlooder,
	"reader":  newReader,
}

// patience is how long a child may take to answer, beyond what it was asked to take.
const patience = 5 * time.Minute

type question struct {
	Name string
	Args json.RawMessage
}

type answer struct {
	Value json.RawMessage
	Error string
}

// play answers what the parent asks, until it closes the pipe.
func play(name string) error {
	begin := roles[name]
	if begin == nil {
		return fmt.Errorf("expected a role in %s, found %q", roleVariable, name)
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
		value, err := r[q.Name](q.Args)
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

// asks makes a function with arguments of a type into one of a role's.
func asks[A, V any](f func(A) (V, error)) func(json.RawMessage) (any, error) {
	return func(raw json.RawMessage) (any, error) {
		var args A
		if err := json.Unmarshal(raw, &args); err != nil {
			return nil, err
		}
		return f(args)
	}
}

// A child is this program again, as one of the roles. It ends when its pipe is closed, and so with its parent at the latest.
type child struct {
	name string
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *os.File
	dec  *json.Decoder
}

func startChild(name string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &child{name: name, cmd: exec.Command(self)}
	c.cmd.Env = append(os.Environ(), roleVariable+"="+name)
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

// ask waits for an answer; nil for value if it does not matter.
func (c *child) ask(name string, args, value any) error {
	raw, err := json.Marshal(args)
	if err != nil {
		return err
	}
	fail := func(err error) error { return fmt.Errorf("the %s, asked for %s: %w", c.name, name, err) }
	if err := json.NewEncoder(c.in).Encode(question{name, raw}); err != nil {
		return fail(err)
	}
	if err := c.out.SetReadDeadline(time.Now().Add(patience)); err != nil {
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

// end closes the pipe, and waits until the child has gone.
func (c *child) end() {
	c.in.Close()
	late := time.AfterFunc(10*time.Second, func() { c.cmd.Process.Kill() })
	c.cmd.Wait()
	late.Stop()
	c.out.Close()
}

// A cast is children that end together.
type cast []*child

func (all *cast) start(name string) (*child, error) {
	c, err := startChild(name)
	if err == nil {
		*all = append(*all, c)
	}
	return c, err
}

func (all cast) end() {
	for _, c := range all {
		c.end()
	}
}
