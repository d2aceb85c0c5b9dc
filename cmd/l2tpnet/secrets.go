package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/l2tpnet/l2tpnet/endpoint"
)

// secretMax bounds a file that should hold one line.
const secretMax = 4096

// readSecret gets a secret from a file that holds it alone, or else from an
// environment variable; what names it in errors. Neither: the empty one.
func readSecret(what, file, variable string) (endpoint.Secret, error) {
	if file == "" {
		return endpoint.Secret(os.Getenv(variable)), nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return "", usage(fmt.Errorf("cannot read the %s: %w", what, err), "")
	}
	// One line end belongs to the file, spaces to the secret.
	s := strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r")
	switch {
	case s == "":
		return "", usage(fmt.Errorf("expected a %s in %s, found nothing", what, file), "")
	case strings.ContainsAny(s, "\r\n") || len(s) > secretMax:
		return "", usage(fmt.Errorf("expected a %s alone in %s, one line of at most %d bytes, found more", what, file, secretMax), "")
	}
	return endpoint.Secret(s), nil
}

// readUsers reads a file of name:password lines; lines that are empty or begin with
// # are comments. Passwords may contain colons, names may not.
func readUsers(file string) (map[string]endpoint.Secret, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, usage(fmt.Errorf("cannot read the users: %w", err), "--users-file names a file of name:password lines")
	}
	defer f.Close()
	users := map[string]endpoint.Secret{}
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSuffix(lines.Text(), "\r")
		if t := strings.TrimSpace(line); t == "" || t[0] == '#' {
			continue
		}
		// The line is not shown: it may be a password.
		name, password, ok := strings.Cut(line, ":")
		name = strings.TrimSpace(name)
		switch {
		case !ok || name == "" || password == "":
			err = errors.New("expected name:password")
		case len(name) > 255 || len(password) > 255:
			err = errors.New("expected a name and a password of at most 255 bytes")
		case users[name] != "":
			err = fmt.Errorf("the user %q stands there twice", name)
		}
		if err != nil {
			return nil, usage(fmt.Errorf("%s, line %d: %w", file, n, err), "")
		}
		users[name] = endpoint.Secret(password)
	}
	if err := lines.Err(); err != nil {
		return nil, usage(fmt.Errorf("%s: %w", file, err), "")
	}
	if len(users) == 0 {
		return nil, usage(fmt.Errorf("expected name:password lines in %s, found none", file), "")
	}
	return users, nil
}
