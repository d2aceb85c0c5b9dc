package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"
)

// A stanzaReader reads a file of ports, or of circuits: a line that says which each is, and indented
// ones below that say the rest, a word and its value on each. Lines that are empty or begin with # are
// comments.
type stanzaReader struct {
	kind, head string // of a stanza, and of its first line: "port", "the name of a port"
	hint       string

	begin    func(line string) error
	set      func(key, value string) error
	complete func() error // is called when the stanza is over
}

// read stops at the first mistake, and says on which line it is.
func (r *stanzaReader) read(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return usage(fmt.Errorf("cannot read the %ss: %w", r.kind, err), fmt.Sprintf("--%ss-file names a file with a line for each %[1]s, and indented ones below", r.kind))
	}
	defer f.Close()
	at := 0 // the line where the stanza above begins
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSuffix(lines.Text(), "\r")
		words := strings.Fields(line)
		where := n
		switch indented := strings.TrimLeft(line, " \t") != line; {
		case len(words) == 0 || words[0][0] == '#':
		case !indented:
			if at > 0 {
				where, err = at, r.complete()
			}
			if err == nil {
				at, where, err = n, n, r.begin(line)
			}
		case at == 0:
			err = fmt.Errorf("expected %s first, at the beginning of a line", r.head)
		case len(words) > 2:
			err = fmt.Errorf("expected a word and its value, found %q", strings.TrimSpace(line))
		default:
			err = r.set(words[0], strings.Join(words[1:], ""))
		}
		if err != nil {
			return r.fail(file, where, err)
		}
	}
	switch err := lines.Err(); {
	case err != nil:
		return usage(fmt.Errorf("%s: %w", file, err), "")
	case at == 0:
		return usage(fmt.Errorf("expected %ss in %s, found none", r.kind, file), r.hint)
	}
	if err := r.complete(); err != nil {
		return r.fail(file, at, err)
	}
	return nil
}

func (r *stanzaReader) fail(file string, line int, err error) error {
	return usage(fmt.Errorf("%s, line %d: %w", file, line, err), r.hint)
}
