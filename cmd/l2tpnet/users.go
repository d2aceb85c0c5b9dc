package main

import (
	"bufio"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"github.com/l2tpnet/l2tpnet/endpoint"
	"github.com/l2tpnet/l2tpnet/endpoint/node"
)

// readUsers reads a file of name:password lines. Passwords may contain colons, names
// may not. Lines that begin with a space or a tab say what is fixed for the user
// above them:
//
//	alice:s3cret
//		address 10.77.0.10
//		route 192.168.7.0/24
//
// Lines that are empty or begin with # are comments.
func readUsers(file string) (map[string]node.User, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, usage(fmt.Errorf("cannot read the users: %w", err), "--users-file names a file of name:password lines")
	}
	defer f.Close()
	users := map[string]node.User{}
	name := "" // of the user above
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSuffix(lines.Text(), "\r")
		if t := strings.TrimSpace(line); t == "" || t[0] == '#' {
			continue
		}
		if words, ok := setting(line); ok {
			err = set(users, name, words)
		} else {
			name, err = addUser(users, line)
		}
		if err != nil {
			// The line is not shown: it may be a password.
			return nil, usage(fmt.Errorf("%s, line %d: %w", file, n, err), "")
		}
	}
	if err := lines.Err(); err != nil {
		return nil, usage(fmt.Errorf("%s: %w", file, err), "")
	}
	if len(users) == 0 {
		return nil, usage(fmt.Errorf("expected name:password lines in %s, found none", file), "")
	}
	return users, nil
}

// addUser reads a line of name:password.
func addUser(users map[string]node.User, line string) (name string, err error) {
	name, password, ok := strings.Cut(line, ":")
	name = strings.TrimSpace(name)
	_, twice := users[name]
	switch {
	case !ok || name == "" || password == "":
		return "", errors.New("expected name:password")
	case len(name) > 255 || len(password) > 255:
		return "", errors.New("expected a name and a password of at most 255 bytes")
	case twice:
		return "", fmt.Errorf("the user %q stands there twice", name)
	}
	users[name] = node.User{Password: endpoint.Secret(password)}
	return name, nil
}

// setting is the words of an indented line, unless the first one has a colon: then it
// is a name:password line that somebody has indented.
func setting(line string) (words []string, ok bool) {
	words = strings.Fields(line)
	return words, (line[0] == ' ' || line[0] == '\t') && !strings.Contains(words[0], ":")
}

var errSetting = errors.New("expected name:password at the beginning of the line, or below a user address, route, prefix, delegate or sessions with a value")

// set changes the user above as an indented line says.
func set(users map[string]node.User, name string, words []string) (err error) {
	u, ok := users[name]
	if !ok || len(words) != 2 {
		return errSetting
	}
	value := words[1]
	parsePrefix := func() (p netip.Prefix) {
		if p, err = netip.ParsePrefix(value); err != nil {
			err = fmt.Errorf("expected a prefix such as 192.168.7.0/24 or fd00:7::/48, found %q", value)
		} else if p != p.Masked() {
			err = fmt.Errorf("the prefix has bits behind its length: expected %v", p.Masked())
		}
		return p
	}
	switch words[0] {
	case "address":
		if u.Address, err = netip.ParseAddr(value); err != nil {
			err = fmt.Errorf("expected an IP address such as 10.77.0.10, found %q", value)
		}
	case "route":
		u.Routes = append(u.Routes, parsePrefix())
	case "prefix":
		u.Prefix6 = parsePrefix()
	case "delegate":
		u.Delegated6 = parsePrefix()
	case "sessions":
		if u.MaxSessions, err = strconv.Atoi(value); err != nil || u.MaxSessions < 1 {
			err = fmt.Errorf("expected a number from 1, found %q", value)
		}
	default:
		return errSetting
	}
	if err != nil {
		return fmt.Errorf("%s of the user %q: %w", words[0], name, err)
	}
	users[name] = u
	return nil
}
