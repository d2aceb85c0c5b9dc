package proxy

import (
	"io"
	"net"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

func TestParseForward(t *testing.T) {
	for _, tc := range []struct{ in, listen, target string }{
		{"8080:web.example:80", "127.0.0.1:8080", "web.example:80"},
		{"8080:10.77.0.1:80", "127.0.0.1:8080", "10.77.0.1:80"},
		{"8080:[fd00::1]:80", "127.0.0.1:8080", "[fd00::1]:80"},
		{"localhost:8080:web:80", "localhost:8080", "web:80"},
		{"192.0.2.1:8080:web:80", "192.0.2.1:8080", "web:80"},
		{"[::1]:8080:[fd00::1]:80", "[::1]:8080", "[fd00::1]:80"},
		{"*:8080:web:80", ":8080", "web:80"},
		{":8080:web:80", ":8080", "web:80"},
		{"0:web:80", "127.0.0.1:0", "web:80"},
		{"65535:web:65535", "127.0.0.1:65535", "web:65535"},
		{"08080:web:080", "127.0.0.1:8080", "web:80"},
	} {
		listen, target, err := ParseForward(tc.in)
		if listen != tc.listen || target != tc.target || err != nil {
			t.Errorf("%q: %q %q %v, want %q %q", tc.in, listen, target, err, tc.listen, tc.target)
		}
	}
	for _, tc := range []struct{ in, want string }{
		{"", "expected [bind:]port:host:hostport, found 1 field"},
		{"8080", "found 1 field"},
		{"web:80", "found 2 fields"},
		{"8080:fd00::1:80", "found 5 fields (IPv6 addresses need brackets)"},
		{"a:b:c:d:e", "found 5 fields"},
		{"http:web:80", `port: expected a number from 0 to 65535, found "http"`},
		{":web:80", `port: expected a number from 0 to 65535, found ""`},
		{"-1:web:80", `found "-1"`},
		{"65536:web:80", `found "65536"`},
		{"8080:web:0", `hostport: expected a number from 1 to 65535, found "0"`},
		{"8080:web:", `hostport: expected a number from 1 to 65535, found ""`},
		{"8080:web:http", `found "http"`},
		{"8080::80", "host: expected a host of 1 to 255 bytes, found 0"},
		{"8080:a b:80", `found the byte 0x20 in "a b"`},
		{"8080:web\x00:80", "found the byte 0x00"},
		{"a b:8080:web:80", "bind: expected a host"},
		{"8080:[fd00::1:80", "expected ] after [fd00::1:80"},
		{"8080:[web]:80", `expected an IPv6 address in brackets, found "web"`},
		{"8080:[10.77.0.1]:80", `expected an IPv6 address in brackets, found "10.77.0.1"`},
		{"8080:[fd00::1]80", `expected a colon after [fd00::1], found "80"`},
		{"[]:8080:web:80", `expected an IPv6 address in brackets, found ""`},
		{"8080:web]:80", "found the byte 0x5D"},
	} {
		listen, target, err := ParseForward(tc.in)
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%q: %q %q %v, want an error that says %q", tc.in, listen, target, err, tc.want)
		} else if !strings.Contains(err.Error(), strconv.Quote(tc.in)) {
			t.Errorf("%q: the error %v does not name it", tc.in, err)
		}
	}
}

func FuzzParseForward(f *testing.F) {
	for _, s := range []string{"8080:web.example:80", "*:8080:web:80", ":0:web:80", "[::1]:8080:[fd00::1]:80", "8080:[fd00::1]80", "a:b:c:d:e", "[", "]", ":::"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		listen, target, err := ParseForward(s)
		if err != nil {
			return
		}
		bind, port, err := net.SplitHostPort(listen)
		if err != nil {
			t.Fatalf("%q: listen %q: %v", s, listen, err)
		}
		host, hostport, err := net.SplitHostPort(target)
		if err != nil {
			t.Fatalf("%q: target %q: %v", s, target, err)
		}
		if n, err := strconv.ParseUint(hostport, 10, 16); err != nil || n == 0 || host == "" {
			t.Fatalf("%q: target %q", s, target)
		}
		// Written as the option is written, it means the same.
		brackets := func(h string) string {
			if strings.Contains(h, ":") {
				return "[" + h + "]"
			}
			return h
		}
		again := brackets(bind) + ":" + port + ":" + brackets(host) + ":" + hostport
		if l, r, err := ParseForward(again); l != listen || r != target || err != nil {
			t.Fatalf("%q means %q %q, %q means %q %q %v", s, listen, target, again, l, r, err)
		}
	})
}

func TestForward(t *testing.T) {
	tunnel := to(accepting(t, echo))
	address, _ := start(t, &Forward{Dialer: tunnel, Target: "echo.example:7"})
	c := dial(t, address)
	write(t, c, "hello")
	wantBytes(t, c, "hello")
	write(t, c, "bye")
	c.CloseWrite()
	wantEnd(t, c, "bye")
	tunnel.wantAsked(t, "tcp echo.example:7")
}

// A client that half closes at once still gets all of the answer: it may be one
// that only listens, as in nc -N.
func TestForwardToOneWhoOnlySpeaks(t *testing.T) {
	address, _ := start(t, &Forward{Dialer: to(accepting(t, func(c *net.TCPConn) {
		io.Copy(io.Discard, c) // until the client's end has come
		io.WriteString(c, "SSH-2.0-banner")
	})), Target: "ssh.example:22"})
	c := dial(t, address)
	c.CloseWrite()
	wantEnd(t, c, "SSH-2.0-banner")
}

func TestForwardThatCannotBeDialledResets(t *testing.T) {
	log, logged := logs(-4)
	address, stop := start(t, &Forward{Dialer: failing(syscall.ECONNREFUSED), Target: "web.example:80", Logger: log})
	c, err := net.Dial("tcp", address)
	if err == nil { // else the reset came first
		_, err = c.Read(make([]byte, 1))
		c.Close()
	}
	if !isReset(err) {
		t.Errorf("the connection ended with %v, want a reset", err)
	}
	stop()
	if want := "connection refused"; !strings.Contains(logged(), want) || !strings.Contains(logged(), "web.example:80") {
		t.Errorf("logged %q, want the target and %q", logged(), want)
	}
}
