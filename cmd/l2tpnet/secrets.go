package main

import (
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
