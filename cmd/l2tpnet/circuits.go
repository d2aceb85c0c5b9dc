package main

import (
	"bufio"
	"cmp"
	"encoding"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint"
	"github.com/l2tpnet/l2tpnet/endpoint/node"
)

const (
	circuitHint      = "for example: --circuit office,pw=vlan:7, or --circuit branch,pw=ip,address=10.77.0.50"
	circuitsFileHint = "a circuit is a line with its Remote End ID, and below it indented lines such as: pw vlan:7"
	circuitWords     = "pw, address, prefix, route, cookie-len, l2spec, seq, reorder-timeout, mtu, hosts, sessions or isolated"
)

// circuits are those of the flags and of the file.
func (f *serveV3Flags) circuits() (list []node.Circuit, err error) {
	if f.CircuitsFile != "" {
		if list, err = readCircuits(f.CircuitsFile); err != nil {
			return nil, err
		}
	}
	for _, spec := range f.Circuit {
		c, err := parseCircuit(spec)
		if err != nil {
			return nil, usage(fmt.Errorf("--circuit %s: %w", cmp.Or(strings.Split(spec, ",")[0], `""`), err), circuitHint)
		}
		list = append(list, c)
	}
	return list, nil
}

// parseCircuit reads "ID,KEY=VALUE,…".
func parseCircuit(spec string) (c node.Circuit, err error) {
	words := strings.Split(spec, ",")
	if c.ID, err = circuitID(words[0]); err != nil {
		return c, err
	}
	if key, _, found := strings.Cut(c.ID, "="); found && knownCircuitWord(key) {
		return c, fmt.Errorf("expected a Remote End ID first, and then %s, found %q", circuitWords, words[0])
	}
	for _, word := range words[1:] {
		key, value, _ := strings.Cut(strings.TrimSpace(word), "=")
		if err := setCircuit(&c, strings.TrimSpace(key), strings.TrimSpace(value)); err != nil {
			return c, err
		}
	}
	return c, checkCircuit(&c)
}

// circuitID is a Remote End ID as it stands, or in the quotes of Go, for any octets.
func circuitID(text string) (string, error) {
	text = strings.TrimSpace(text)
	if !strings.HasPrefix(text, `"`) {
		return text, nil
	}
	id, err := strconv.Unquote(text)
	if err != nil {
		return "", fmt.Errorf(`expected a Remote End ID, perhaps in quotes such as "a b" or "\x00\x07", found %s`, text)
	}
	return id, nil
}

func knownCircuitWord(key string) bool {
	for word := range strings.FieldsFuncSeq(circuitWords, func(r rune) bool { return r == ' ' || r == ',' }) {
		if word == key && word != "or" {
			return true
		}
	}
	return false
}

// setCircuit takes one word.
func setCircuit(c *node.Circuit, key, value string) (err error) {
	parse := func(to encoding.TextUnmarshaler) error { return to.UnmarshalText([]byte(value)) }
	number := func(to *int, of string) error {
		n, err := strconv.Atoi(value)
		if err != nil || n < 1 {
			return fmt.Errorf("expected a number of %s from 1, found %q", of, value)
		}
		*to = n
		return nil
	}
	switch key {
	case "pw":
		var pw pseudowire
		err = parse(&pw)
		c.Type, c.VLAN = pw.kind, pw.vlan
	case "address":
		var a address
		err = parse(&a)
		c.Address = netip.Addr(a)
	case "prefix":
		var p prefix
		err = parse(&p)
		c.Prefix6 = netip.Prefix(p)
	case "route":
		var p prefix
		err = parse(&p)
		c.Routes = append(c.Routes, netip.Prefix(p))
	case "cookie-len":
		var n cookieLen
		err = parse(&n)
		c.CookieLen = int(n)
	case "l2spec":
		var l sublayer
		err = parse(&l)
		c.Sublayer = endpoint.Sublayer(l)
	case "seq":
		var s sequencing
		err = parse(&s)
		c.Sequencing = endpoint.Sequencing(s)
	case "reorder-timeout":
		var t span
		err = parse(&t)
		c.ReorderTimeout = time.Duration(t)
	case "mtu":
		err = number(&c.MTU, "bytes")
	case "hosts":
		err = number(&c.Hosts, "hosts")
	case "sessions":
		err = number(&c.Sessions, "callers")
	case "isolated":
		if c.Isolated = true; value != "" {
			err = fmt.Errorf("expected it alone, found %q", value)
		}
	default:
		return fmt.Errorf("expected %s, found %q", circuitWords, key)
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", key, err)
	}
	return err
}

// checkCircuit finds what is missing, or too much, in itself.
func checkCircuit(c *node.Circuit) error { return oneLine(c.Validate()) }

// readCircuits reads a file of circuits: a line with the Remote End ID of each, and indented
// ones below that say the rest.
//
//	office
//		pw vlan:7
//	branch
//		pw ip
//		address 10.77.0.50
//
// Lines that are empty or begin with # are comments.
func readCircuits(file string) (list []node.Circuit, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, usage(fmt.Errorf("cannot read the circuits: %w", err), "--circuits-file names a file with a line for each circuit, and indented ones below")
	}
	defer f.Close()
	at := 0 // the line of the circuit above
	fail := func(line int, err error) ([]node.Circuit, error) {
		return nil, usage(fmt.Errorf("%s, line %d: %w", file, line, err), circuitsFileHint)
	}
	complete := func() error {
		if len(list) == 0 {
			return nil
		}
		return checkCircuit(&list[len(list)-1])
	}
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSuffix(lines.Text(), "\r")
		words := strings.Fields(line)
		switch indented := strings.TrimLeft(line, " \t") != line; {
		case len(words) == 0 || words[0][0] == '#':
		case !indented:
			if err := complete(); err != nil {
				return fail(at, err)
			}
			id, err := circuitID(line)
			if err != nil {
				return fail(n, err)
			}
			list, at = append(list, node.Circuit{ID: id}), n
		case len(list) == 0:
			return fail(n, errors.New("expected the Remote End ID of a circuit first, at the beginning of a line"))
		case len(words) > 2:
			return fail(n, fmt.Errorf("expected a word and its value, found %q", strings.TrimSpace(line)))
		default:
			if err := setCircuit(&list[len(list)-1], words[0], strings.Join(words[1:], "")); err != nil {
				return fail(n, err)
			}
		}
	}
	if err := lines.Err(); err != nil {
		return nil, usage(fmt.Errorf("%s: %w", file, err), "")
	}
	if len(list) == 0 {
		return nil, usage(fmt.Errorf("expected circuits in %s, found none", file), circuitsFileHint)
	}
	if err := complete(); err != nil {
		return fail(at, err)
	}
	return list, nil
}
