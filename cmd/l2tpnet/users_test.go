package main

import (
	"testing"

	"github.com/l2tpnet/l2tpnet/endpoint"
)

func TestAWindowsDomainInFrontOfAName(t *testing.T) {
	find := usersOf(map[string]endpoint.Secret{"alice": "s3cret", `CORP\bob`: "his"})
	for name, want := range map[string]endpoint.Secret{"alice": "s3cret", `BIGCO\alice`: "s3cret", `CORP\bob`: "his"} {
		if c, err := find(t.Context(), endpoint.AuthRequest{User: name}); err != nil || c.Password != want {
			t.Errorf("%s: not found, or another's: %v", name, err)
		}
	}
	for _, name := range []string{"bob", `alice\`, `\`, "", `BIGCO\mallory`} {
		if _, err := find(t.Context(), endpoint.AuthRequest{User: name}); err == nil {
			t.Errorf("%q was found", name)
		}
	}
}
