package main

import (
	"cmp"
	"encoding"
	"fmt"
	"net/netip"
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
	last := func() *node.Circuit { return &list[len(list)-1] }
	r := stanzaReader{
		kind: "circuit", head: "the Remote End ID of a circuit", hint: circuitsFileHint,
		begin: func(line string) error {
			if words := strings.Fields(line); len(words) > 1 && knownCircuitWord(words[0]) {
				return fmt.Errorf("expected a Remote End ID, or, with a space before it, a word of the circuit above, found %q", strings.TrimSpace(line))
			}
			id, err := circuitID(line)
			list = append(list, node.Circuit{ID: id})
			return err
		},
		set:      func(key, value string) error { return setCircuit(last(), key, value) },
		complete: func() error { return checkCircuit(last()) },
	}
	err = r.read(file)
	return list, err
}
