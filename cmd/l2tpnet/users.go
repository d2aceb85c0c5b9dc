package main

import (
	"context"
	"errors"
	"strings"

	"github.com/l2tpnet/l2tpnet/endpoint"
)

var errUnknownUser = errors.New("no such user")

// usersOf is an authenticator by a list of users.
func usersOf(users map[string]endpoint.Secret) endpoint.Authenticator {
	return func(_ context.Context, r endpoint.AuthRequest) (endpoint.Credential, error) {
		password, ok := users[r.User]
		if !ok {
			// Windows puts its domain in front.
			_, name, _ := strings.Cut(r.User, `\`)
			password, ok = users[name]
		}
		if !ok {
			return endpoint.Credential{}, errUnknownUser
		}
		return endpoint.Credential{Password: password}, nil
	}
}
