package main

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

func TestUsersFile(t *testing.T) {
	users, err := readUsers(file(t, "# who may call\r\n\nalice:s3cret\r\n  address 10.77.0.10\n\t# her house\n\troute 192.168.7.0/24\n\troute fd00:7::/48\n"+
		"\tprefix fd00:77:0:a::/64\n\tdelegate fd00:77:0:a00::/56\nbob: a password: with colons \n sessions 2\n carol:indented\nroute:x\n"))
	if err != nil {
		t.Fatal(err)
	}
	if len(users) != 4 {
		t.Errorf("found %d users", len(users))
	}
	a := users["alice"]
	if a.Password != "s3cret" || a.Address != netip.MustParseAddr("10.77.0.10") || fmt.Sprint(a.Routes) != "[192.168.7.0/24 fd00:7::/48]" ||
		a.Prefix6.String() != "fd00:77:0:a::/64" || a.Delegated6.String() != "fd00:77:0:a00::/56" {
		t.Errorf("alice has %v %v %v %v", a.Address, a.Routes, a.Prefix6, a.Delegated6)
	}
	if b := users["bob"]; b.Password != " a password: with colons " || b.MaxSessions != 2 || b.Address.IsValid() {
		t.Errorf("bob has %d sessions, or another's address or password", b.MaxSessions)
	}
	if users["carol"].Password != "indented" || users["route"].Password != "x" {
		t.Error("carol or route has another password")
	}
	if s := fmt.Sprintf("%v %+v", users, users); strings.Contains(s, "s3cret") {
		t.Error("a secret shows itself")
	}
}

func TestUsersFileMistakes(t *testing.T) {
	for _, c := range []struct{ content, want string }{
		{"  address 10.0.0.1\n", "line 1: expected name:password at the beginning"},
		{"alice:x\n address\n", "line 2: expected name:password at the beginning"},
		{"alice:x\n adress 10.0.0.1\n", "line 2: expected name:password at the beginning"},
		{"alice:x\n address 10.0.0\n", `line 2: address of the user "alice"`},
		{"alice:x\n route 10.0.0.1/24\n", "expected 10.0.0.0/24"},
		{"alice:x\n prefix fd00::\n", `line 2: prefix of the user "alice"`},
		{"alice:x\n sessions 0\n", "from 1"},
		{"alice:x\nalice:y\n", "twice"},
		{"alice:" + strings.Repeat("x", 256), "at most 255 bytes"},
		{"alice\n", "expected name:password"},
		{strings.Repeat("x", 1<<17), "too long"},
	} {
		if _, err := readUsers(file(t, c.content)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.20q: %v, want %q", c.content, err, c.want)
		}
	}
}
