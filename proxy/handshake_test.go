package proxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
)

// A script is a client whose bytes are known before.
type script struct {
	io.Reader
	answer bytes.Buffer
}

func (s *script) Write(p []byte) (int, error) { return s.answer.Write(p) }

const greeting = "\x05\x01\x00"

// connect is a request to CONNECT to an address of a type.
func connect(atyp byte, address string, port uint16) string {
	return "\x05\x01\x00" + string([]byte{atyp}) + address + string([]byte{byte(port >> 8), byte(port)})
}

// name is the address of a request with a domain name: "The first octet of the
// address field contains the number of octets of name that follow, there is no
// terminating NUL octet." (RFC 1928 §5)
func name(s string) string { return string([]byte{byte(len(s))}) + s }

const (
	code01 = "a general failure"
	code07 = "command not supported"
	code08 = "address type not supported"
)

var handshakes = []struct {
	name   string
	sent   string
	target string // "": it is refused
	refuse string // which refusal; "": the end of the connection
}{
	{"IPv4", greeting + connect(1, "\x0a\x4d\x00\x01", 80), "10.77.0.1:80", ""},
	{"IPv6", greeting + connect(4, "\xfd\x00"+strings.Repeat("\x00", 13)+"\x01", 443), "[fd00::1]:443", ""},
	{"a name stays a name", greeting + connect(3, name("web.example"), 8080), "web.example:8080", ""},
	{"several methods", "\x05\x03\x02\x01\x00" + connect(3, name("a"), 1), "a:1", ""},
	{"255 methods", "\x05\xff" + strings.Repeat("\x01", 254) + "\x00" + connect(3, name("a"), 1), "a:1", ""},
	{"a name of 255 bytes", greeting + connect(3, name(strings.Repeat("n", 255)), 65535), strings.Repeat("n", 255) + ":65535", ""},
	{"a reserved byte that is not zero", greeting + "\x05\x01\x77\x03" + name("a") + "\x00\x01", "a:1", ""},
	{"a name in UTF-8", greeting + connect(3, name("bücher.example"), 80), "bücher.example:80", ""},
	{"an address as a name", greeting + connect(3, name("10.77.0.1"), 80), "10.77.0.1:80", ""},
	{"an IPv6 address as a name", greeting + connect(3, name("fd00::1"), 80), "[fd00::1]:80", ""},

	// All of these are only the tunnel's: the dialer gets them as they are.
	{"127.1", greeting + connect(3, name("127.1"), 80), "127.1:80", ""},
	{"::ffff:127.0.0.1", greeting + connect(4, strings.Repeat("\x00", 10)+"\xff\xff\x7f\x00\x00\x01", 80), "[::ffff:127.0.0.1]:80", ""},
	{"0.0.0.0", greeting + connect(1, "\x00\x00\x00\x00", 80), "0.0.0.0:80", ""},
	{"::", greeting + connect(4, strings.Repeat("\x00", 16), 80), "[::]:80", ""},
	{"a link-local address", greeting + connect(4, "\xfe\x80"+strings.Repeat("\x00", 13)+"\x01", 80), "[fe80::1]:80", ""},
	{"a metadata service", greeting + connect(1, "\xa9\xfe\xa9\xfe", 80), "169.254.169.254:80", ""},

	{"a name of 0 bytes", greeting + connect(3, name(""), 80), "", code01},
	{"a name with a NUL", greeting + connect(3, name("web\x00.example"), 80), "", code01},
	{"a name with a line feed", greeting + connect(3, name("web\n.example"), 80), "", code01},
	{"a name with a space", greeting + connect(3, name("web example"), 80), "", code01},
	{"a name with DEL", greeting + connect(3, name("web\x7f"), 80), "", code01},
	{"a name with a port in it", greeting + connect(3, name("web:81"), 80), "", code01},
	{"a name in brackets", greeting + connect(3, name("[::1]"), 80), "", code01},
	{"port 0", greeting + connect(3, name("web"), 0), "", code01},
	{"a request of version 4", greeting + "\x04\x01\x00\x01\x0a\x4d\x00\x01\x00\x50", "", code01},
	{"BIND", greeting + "\x05\x02\x00\x01\x0a\x4d\x00\x01\x00\x50", "", code07},
	{"UDP ASSOCIATE", greeting + "\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00", "", code07},
	{"an unknown command", greeting + "\x05\xf0\x00\x03" + name("web") + "\x00\x50", "", code07},
	{"an unknown address type", greeting + "\x05\x01\x00\x02\x0a\x4d\x00\x01\x00\x50", "", code08},

	{"nothing", "", "", ""},
	{"a version alone", "\x05", "", ""},
	{"a cut greeting", "\x05\x02\x00", "", ""},
	{"a cut request", greeting + "\x05\x01\x00", "", ""},
	{"a cut name", greeting + "\x05\x01\x00\x03\x0aweb", "", ""},
	{"a cut port", greeting + "\x05\x01\x00\x03" + name("web") + "\x00", "", ""},
}

func TestReadRequest(t *testing.T) {
	codes := map[string]replyCode{code01: replyGeneralFailure, code07: replyCommandNotSupported, code08: replyAddressNotSupported}
	for _, tc := range handshakes {
		t.Run(tc.name, func(t *testing.T) {
			const ahead = "bytes that the client sends ahead"
			for how, r := range map[string]io.Reader{
				"at once":   strings.NewReader(tc.sent + ahead),
				"in pieces": iotest.OneByteReader(strings.NewReader(tc.sent + ahead)),
			} {
				if tc.target == "" && tc.refuse == "" {
					r = strings.NewReader(tc.sent)
				}
				s := &script{Reader: r}
				target, err := readRequest(s)
				var refused *refusal
				switch {
				case tc.target != "":
					if target != tc.target || err != nil {
						t.Errorf("%s: %q, %v; want %q", how, target, err, tc.target)
					}
					if rest, _ := io.ReadAll(r); string(rest) != ahead {
						t.Errorf("%s: %q is left to read, want %q", how, rest, ahead)
					}
				case tc.refuse != "":
					if !errors.As(err, &refused) || refused.code != codes[tc.refuse] {
						t.Errorf("%s: %q, %v; want the refusal %q", how, target, err, tc.refuse)
					}
				default:
					if err != io.EOF && err != io.ErrUnexpectedEOF {
						t.Errorf("%s: %q, %v; want the end of the connection", how, target, err)
					}
				}
				if strings.HasPrefix(tc.sent, "\x05\x01\x00") && s.answer.String() != "\x05\x00" {
					t.Errorf("%s: the greeting was answered by %q, want 05 00", how, s.answer.String())
				}
			}
		})
	}
}

// "If the selected METHOD is X'FF', none of the methods listed by the client
// are acceptable, and the client MUST close the connection." (RFC 1928 §3)
func TestNoAcceptableMethod(t *testing.T) {
	for _, sent := range []string{"\x05\x00", "\x05\x01\x02", "\x05\x02\x01\x02"} {
		s := &script{Reader: strings.NewReader(sent)}
		if _, err := readRequest(s); err != errNoMethod || s.answer.String() != "\x05\xff" {
			t.Errorf("%q: %v, answer %q; want FF", sent, err, s.answer.String())
		}
	}
}

func TestOtherProtocols(t *testing.T) {
	for _, tc := range []struct{ sent, want string }{
		{"\x04\x01\x00\x50\x0a\x4d\x00\x01alice\x00", "version 4"},
		{"GET / HTTP/1.1\r\n\r\n", "HTTP"},
		{"CONNECT web.example:443 HTTP/1.1\r\n\r\n", "HTTP"},
		{"\x16\x03\x01\x02\x00\x01", "0x16"},
		{"\x00", "0x00"},
	} {
		s := &script{Reader: strings.NewReader(tc.sent)}
		var wrong wrongProtocol
		if _, err := readRequest(s); !errors.As(err, &wrong) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%q: %v, want an error that says %q", tc.sent, err, tc.want)
		}
	}
}

func TestReplyTo(t *testing.T) {
	wrap := func(err error) error {
		return fmt.Errorf("dial: %w", &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", err)})
	}
	for _, tc := range []struct {
		name string
		err  error
		want replyCode
	}{
		{"refused", wrap(syscall.ECONNREFUSED), 5},
		{"no route to the host", wrap(syscall.EHOSTUNREACH), 4},
		{"no such name", wrap(&net.DNSError{Err: "no such host", Name: "web", IsNotFound: true}), 4},
		{"no answer from the name server", wrap(&net.DNSError{Err: "timeout", Name: "web", IsTimeout: true}), 4},
		{"the name server fails", wrap(&net.DNSError{Err: "server misbehaving", Name: "web"}), 4},
		{"the name server refuses", wrap(&net.DNSError{Err: "connection refused", Name: "web", UnwrapErr: syscall.ECONNREFUSED}), 4},
		{"nobody can be asked", wrap(&net.DNSError{Err: "the tunnel is down", Name: "web", UnwrapErr: syscall.ENETUNREACH}), 3},
		{"no route to the network", wrap(syscall.ENETUNREACH), 3},
		{"TCP's time-out", wrap(syscall.ETIMEDOUT), 4},
		{"our time-out", wrap(context.DeadlineExceeded), 4},
		{"a deadline", wrap(os.ErrDeadlineExceeded), 4},
		{"the tunnel is closed", wrap(net.ErrClosed), 1},
		{"cancelled", wrap(context.Canceled), 1},
		{"anything else", errors.New("anything else"), 1},
	} {
		if got := replyTo(tc.err); got != tc.want {
			t.Errorf("%s: %02X, want %02X", tc.name, byte(got), byte(tc.want))
		}
	}
}

func TestAppendReply(t *testing.T) {
	for _, tc := range []struct {
		bound net.Addr
		want  string
	}{
		{nil, "\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"},
		{&net.UnixAddr{Name: "pipe"}, "\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"},
		{&net.TCPAddr{IP: net.IPv4(10, 77, 0, 2), Port: 0x1234}, "\x05\x00\x00\x01\x0a\x4d\x00\x02\x12\x34"},
		{&net.TCPAddr{IP: net.ParseIP("fe80::2"), Port: 0x1234, Zone: "nic"}, "\x05\x00\x00\x04\xfe\x80" + strings.Repeat("\x00", 13) + "\x02\x12\x34"},
	} {
		if got := appendReply(nil, replySucceeded, addrPort(tc.bound)); string(got) != tc.want {
			t.Errorf("bound to %v: % x, want % x", tc.bound, got, tc.want)
		}
	}
}

func FuzzSOCKSHandshake(f *testing.F) {
	for _, tc := range handshakes {
		f.Add([]byte(tc.sent))
	}
	f.Add([]byte("\x04\x01\x00\x50\x0a\x4d\x00\x01alice\x00"))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Fuzz(func(t *testing.T, sent []byte) {
		r := bytes.NewReader(sent)
		s := &script{Reader: r}
		target, err := readRequest(s)
		used := sent[:len(sent)-r.Len()]
		if len(used) > 2+255+4+1+255+2 {
			t.Fatalf("%d bytes were read", len(used))
		}
		if a := s.answer.String(); a != "" && a != "\x05\x00" && a != "\x05\xff" {
			t.Fatalf("the greeting was answered by %q", a)
		}
		if err != nil {
			return
		}
		// The target means what the request's last bytes say, and no more.
		host, port, err := net.SplitHostPort(target)
		if err != nil {
			t.Fatalf("the target %q: %v", target, err)
		}
		end := name(host)
		if a, err := netip.ParseAddr(host); err == nil && !bytes.Contains(used, []byte(end)) {
			end = string(a.AsSlice())
		}
		var n uint16
		if _, err := fmt.Sscan(port, &n); err != nil {
			t.Fatal(err)
		}
		end += string([]byte{byte(n >> 8), byte(n)})
		if !bytes.HasSuffix(used, []byte(end)) {
			t.Fatalf("the target %q of %q", target, used)
		}
	})
}
