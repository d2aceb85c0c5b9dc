package proxy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	xproxy "golang.org/x/net/proxy"
)

// succeeded is the reply for a connection whose near end is 127.0.0.1.
func wantSucceeded(t *testing.T, c io.Reader) {
	t.Helper()
	wantBytes(t, c, "\x05\x00\x00\x01\x7f\x00\x00\x01")
	if _, err := io.ReadFull(c, make([]byte, 2)); err != nil {
		t.Fatal(err)
	}
}

func TestSOCKSConnect(t *testing.T) {
	tunnel := to(accepting(t, echo))
	address, _ := start(t, &SOCKS{Dialer: tunnel})
	c := dial(t, address)
	write(t, c, greeting)
	wantBytes(t, c, "\x05\x00")
	write(t, c, connect(3, name("echo.example"), 7))
	wantSucceeded(t, c)
	write(t, c, "hello")
	wantBytes(t, c, "hello")
	c.CloseWrite()
	wantEnd(t, c, "")
	tunnel.wantAsked(t, "tcp echo.example:7")
}

// A client may send everything at once, its end included.
func TestSOCKSEverythingAhead(t *testing.T) {
	data := string(noise(20, 100<<10)) // more than is read ahead while dialling
	address, _ := start(t, &SOCKS{Dialer: to(accepting(t, echo))})
	c := dial(t, address)
	var sending sync.WaitGroup
	sending.Go(func() {
		io.WriteString(c, greeting+connect(3, name("echo.example"), 7)+data)
		c.CloseWrite()
	})
	wantBytes(t, c, "\x05\x00")
	wantSucceeded(t, c)
	wantEnd(t, c, data)
	sending.Wait()
}

// BND.ADDR and BND.PORT are the address that the target sees (RFC 1928 §6).
func TestSOCKSBoundAddress(t *testing.T) {
	seen := make(chan net.Addr, 1)
	address, _ := start(t, &SOCKS{Dialer: to(accepting(t, func(c *net.TCPConn) { seen <- c.RemoteAddr() }))})
	c := dial(t, address)
	write(t, c, greeting+connect(1, "\x0a\x4d\x00\x01", 80))
	wantBytes(t, c, "\x05\x00")
	wantEnd(t, c, string(appendReply(nil, replySucceeded, addrPort(<-seen))))
}

// "If the reply code (REP value other than X'00') indicates a failure, the SOCKS
// server MUST terminate the TCP connection shortly after sending the reply."
// (RFC 1928 §6) The client reads it although it has sent more in the meantime.
func TestSOCKSFailures(t *testing.T) {
	const none = "\x00\x01\x00\x00\x00\x00\x00\x00"
	web := connect(3, name("web.example"), 80)
	for _, tc := range []struct {
		name   string
		dialer *tunnel
		sent   string
		want   string
	}{
		{"refused by a real host", to(closedPort(t)), greeting + web, "\x05\x00\x05\x05" + none},
		{"unreachable", failing(&net.OpError{Op: "dial", Err: syscall.EHOSTUNREACH}), greeting + web, "\x05\x00\x05\x04" + none},
		{"no such name", failing(&net.DNSError{IsNotFound: true}), greeting + web, "\x05\x00\x05\x04" + none},
		{"the tunnel is down", failing(net.ErrClosed), greeting + web, "\x05\x00\x05\x01" + none},
		{"a bad name", nil, greeting + connect(3, name("a\x00b"), 80), "\x05\x00\x05\x01" + none},
		{"BIND", nil, greeting + "\x05\x02\x00\x01\x0a\x4d\x00\x01\x00\x50", "\x05\x00\x05\x07" + none},
		{"UDP ASSOCIATE", nil, greeting + "\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00", "\x05\x00\x05\x07" + none},
		{"an unknown address type", nil, greeting + "\x05\x01\x00\x02", "\x05\x00\x05\x08" + none},
		{"authentication", nil, "\x05\x01\x02", "\x05\xff"},
		{"SOCKS4", nil, "\x04\x01\x00\x50\x0a\x4d\x00\x01\x00", ""},
		{"TLS", nil, "\x16\x03\x01", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			address, stop := start(t, &SOCKS{Dialer: tc.dialer})
			c := dial(t, address)
			write(t, c, tc.sent+strings.Repeat("and so on", 500))
			wantEndAndClose(t, c, tc.want)
			stop()
			if tc.dialer != nil {
				tc.dialer.wantAsked(t, "tcp web.example:80")
			}
		})
	}
}

// wantEndAndClose is wantEnd of a connection that is then closed.
func wantEndAndClose(t *testing.T, c net.Conn, want string) {
	t.Helper()
	wantEnd(t, c, want)
	c.Close()
}

// closedPort is an address where nobody listens.
func closedPort(t *testing.T) string {
	ln := listen(t)
	ln.Close()
	return ln.Addr().String()
}

func TestSOCKSTellsHTTPClientsWhatItIs(t *testing.T) {
	address, _ := start(t, &SOCKS{})
	for _, request := range []string{
		"GET http://web.example/ HTTP/1.1\r\nHost: web.example\r\n\r\n",
		"CONNECT web.example:443 HTTP/1.1\r\nHost: web.example\r\n\r\n",
		"POST / HTTP/1.1\r\nContent-Length: 40000\r\n\r\n" + strings.Repeat("x", 40000),
	} {
		c := dial(t, address)
		write(t, c, request)
		c.CloseWrite()
		b, err := io.ReadAll(c)
		if want := "HTTP/1.1 400 Bad Request\r\n"; err != nil || !strings.HasPrefix(string(b), want) {
			t.Errorf("%.20q: %q, %v; want %q", request, b, err, want)
		}
		if want := "\r\n\r\nThis is a SOCKS5 proxy, not an HTTP proxy: use socks5h://" + address + "\n"; !strings.HasSuffix(string(b), want) {
			t.Errorf("%.20q: %q, want %q", request, b, want)
		}
	}
}

func TestSOCKSWarnsOnceInAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, logged := logs(0)
		ln := newPipes()
		stop := startOn(t, &SOCKS{Logger: log}, ln)
		defer stop()
		for range 100 {
			c := ln.dial("127.0.0.1:1")
			write(t, c, "\x04")
			wantEnd(t, c, "")
			time.Sleep(time.Second)
		}
		if n := strings.Count(logged(), "not a SOCKS5 client"); n != 10 {
			t.Errorf("in 100 s it was logged %d times, want 10:\n%s", n, logged())
		}
		if want := "complaints=10"; !strings.Contains(logged(), want) {
			t.Errorf("logged %s, want %q in it", logged(), want)
		}
	})
}

// A client may be slow, or silent, for 10 s in all, however it spreads its bytes.
func TestSOCKSSlowHandshakes(t *testing.T) {
	for _, tc := range []struct {
		name, sent, then string
	}{
		{"silent", "", ""},
		{"255 methods, one by one", "\x05\xff", "\x01"},
		{"silent after the greeting", greeting, ""},
		{"a name of 255 bytes, one by one", greeting + "\x05\x01\x00\x03\xff", "n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ln := newPipes()
				stop := startOn(t, &SOCKS{}, ln)
				defer stop()
				started := time.Now()
				c := ln.dial("127.0.0.1:1")
				var sending sync.WaitGroup
				sending.Go(func() {
					_, err := io.WriteString(c, tc.sent)
					for err == nil && tc.then != "" {
						time.Sleep(100 * time.Millisecond)
						_, err = io.WriteString(c, tc.then)
					}
				})
				io.Copy(io.Discard, c)
				took := time.Since(started)
				sending.Wait()
				if took != 10*time.Second {
					t.Errorf("the connection was closed after %v, want 10s", took)
				}
			})
		})
	}
}

// The time for the handshake does not bound the flow.
func TestSOCKSIdleFlowsStay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ln := newPipes()
		near, far := net.Pipe()
		stop := startOn(t, &SOCKS{Dialer: &tunnel{dial: func(context.Context) (net.Conn, error) { return near, nil }}}, ln)
		defer stop()
		c := ln.dial("127.0.0.1:1")
		go io.WriteString(c, greeting)
		wantBytes(t, c, "\x05\x00")
		go io.WriteString(c, connect(3, name("a"), 1))
		wantBytes(t, c, "\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")
		time.Sleep(24 * time.Hour)
		go io.WriteString(c, "good morning")
		wantBytes(t, far, "good morning")
		go io.WriteString(far, "hello")
		wantBytes(t, c, "hello")
		c.Close()
		wantEnd(t, far, "")
	})
}

// A target that does not answer is an unreachable host, after 30 s.
func TestSOCKSDialTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ln := newPipes()
		stop := startOn(t, &SOCKS{Dialer: &tunnel{dial: func(ctx context.Context) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}}}, ln)
		defer stop()
		c := ln.dial("127.0.0.1:1")
		go io.WriteString(c, greeting)
		wantBytes(t, c, "\x05\x00")
		go io.WriteString(c, connect(3, name("a"), 1))
		started := time.Now()
		wantBytes(t, c, "\x05\x04")
		if took := time.Since(started); took != 30*time.Second {
			t.Errorf("the reply came after %v, want 30s", took)
		}
	})
}

// A client that goes away takes its dialling with it.
func TestSOCKSClientGoesWhileDialling(t *testing.T) {
	dialling, cancelled := make(chan bool), make(chan error)
	address, _ := start(t, &SOCKS{Dialer: &tunnel{dial: func(ctx context.Context) (net.Conn, error) {
		dialling <- true
		<-ctx.Done()
		cancelled <- context.Cause(ctx)
		return nil, ctx.Err()
	}}})
	c := dial(t, address)
	write(t, c, greeting+connect(3, name("a"), 1))
	<-dialling
	c.Close()
	if err := <-cancelled; err != errGone {
		t.Errorf("dialling ended with %v, want %v", err, errGone)
	}
}

// But what a client sends while its target is being dialled is kept, in order,
// and dialling goes on.
func TestSOCKSSendsWhileDialling(t *testing.T) {
	dialling, go_on := make(chan bool), make(chan bool)
	server := accepting(t, echo)
	address, _ := start(t, &SOCKS{Dialer: &tunnel{dial: func(ctx context.Context) (net.Conn, error) {
		dialling <- true
		<-go_on
		var d net.Dialer
		return d.DialContext(ctx, "tcp", server)
	}}})
	c := dial(t, address)
	write(t, c, greeting+connect(3, name("a"), 1))
	<-dialling
	write(t, c, "one ")
	write(t, c, "two ")
	c.CloseWrite()
	go_on <- true
	wantBytes(t, c, "\x05\x00")
	wantSucceeded(t, c)
	wantEnd(t, c, "one two ")
}

// The end of the context ends handshakes, dialling and flows alike, and Serve
// returns after all of them.
func TestSOCKSStop(t *testing.T) {
	dialling := make(chan bool)
	var d net.Dialer
	server := accepting(t, echo)
	first := true
	tunnel := &tunnel{dial: func(ctx context.Context) (net.Conn, error) {
		if first {
			first = false
			return d.DialContext(ctx, "tcp", server)
		}
		dialling <- true
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	address, stop := start(t, &SOCKS{Dialer: tunnel, Limits: Limits{HandshakeTimeout: -1}})

	flow := dial(t, address)
	write(t, flow, greeting+connect(3, name("a"), 1))
	wantBytes(t, flow, "\x05\x00")
	wantSucceeded(t, flow)
	dials := dial(t, address)
	write(t, dials, greeting+connect(3, name("b"), 1))
	wantBytes(t, dials, "\x05\x00")
	<-dialling
	handshake := dial(t, address)
	write(t, handshake, greeting)
	wantBytes(t, handshake, "\x05\x00")

	stop()
	for what, c := range map[string]net.Conn{"flow": flow, "dialling": dials, "handshake": handshake} {
		if n, err := c.Read(make([]byte, 1)); !isReset(err) {
			t.Errorf("%s: a read ended with %d bytes, %v; want a reset", what, n, err)
		}
	}
	if c, err := net.Dial("tcp", address); err == nil {
		c.Close()
		t.Error("the listener is open after Serve has returned")
	}
}

// An independent client: that of golang.org/x/net.
func TestSOCKSWithAnotherClient(t *testing.T) {
	tunnel := to(accepting(t, echo))
	address, _ := start(t, &SOCKS{Dialer: tunnel})
	client, err := xproxy.SOCKS5("tcp", address, nil, xproxy.Direct)
	if err != nil {
		t.Fatal(err)
	}
	targets := []string{"echo.example:7", "10.77.0.1:80", "[fd00::1]:443", strings.Repeat("n", 255) + ":65535"}
	for _, target := range targets {
		c, err := client.Dial("tcp", target)
		if err != nil {
			t.Fatalf("%s: %v", target, err)
		}
		write(t, c, target)
		wantBytes(t, c, target)
		c.Close()
	}
	var want []string
	for _, target := range targets {
		want = append(want, "tcp "+target)
	}
	tunnel.wantAsked(t, want...)

	address, _ = start(t, &SOCKS{Dialer: failing(syscall.ECONNREFUSED)})
	client, _ = xproxy.SOCKS5("tcp", address, nil, xproxy.Direct)
	if _, err := client.Dial("tcp", "web.example:80"); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("refused: the client says %v, want connection refused", err)
	}
}

// Another one: curl, with the name resolved behind the proxy.
func TestSOCKSWithCurl(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("curl is not installed")
	}
	page := noise(21, 3<<20)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			b, err := io.ReadAll(r.Body)
			if err != nil || !bytes.Equal(b, page) {
				http.Error(w, "not what was sent", http.StatusBadRequest)
				return
			}
		}
		w.Write(page)
	}))
	defer web.Close()
	tunnel := to(web.Listener.Addr().String())
	address, _ := start(t, &SOCKS{Dialer: tunnel})

	run := func(proxy string, args ...string) ([]byte, error) {
		cmd := exec.Command(curl, append([]string{"-sS", "--noproxy", "", "--socks5-hostname", proxy}, args...)...)
		cmd.Stdin = bytes.NewReader(page)
		return cmd.Output()
	}
	for _, args := range [][]string{
		{"http://web.example/"},
		{"http://web.example/", "--data-binary", "@-", "-H", "Expect:"},
	} {
		if b, err := run(address, args...); err != nil || !bytes.Equal(b, page) {
			t.Errorf("curl %v: %d bytes, %v; want the page, %d bytes", args, len(b), err, len(page))
		}
	}
	tunnel.wantAsked(t, "tcp web.example:80", "tcp web.example:80")

	// curl has an exit code of its own for a proxy's refusal: 97.
	address, _ = start(t, &SOCKS{Dialer: failing(syscall.ECONNREFUSED)})
	_, err = run(address, "http://web.example/")
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 97 || !strings.Contains(string(exit.Stderr), "(5)") {
		t.Errorf("refused: curl ended with %v, want exit code 97 and the reply's code 5", err)
	}
}

// 8 MiB up, FIN, 1 MiB back, through the proxy as a whole.
func TestSOCKSHalfClose(t *testing.T) {
	up, down := noise(22, 8<<20), noise(23, 1<<20)
	address, _ := start(t, &SOCKS{Dialer: to(accepting(t, func(c *net.TCPConn) {
		if b, err := io.ReadAll(c); err != nil || !bytes.Equal(b, up) {
			t.Errorf("the target got %d bytes, %v; want %d", len(b), err, len(up))
		}
		c.Write(down)
	}))})
	client, _ := xproxy.SOCKS5("tcp", address, nil, xproxy.Direct)
	conn, err := client.Dial("tcp", "web.example:80")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c := conn.(interface {
		net.Conn
		CloseWrite() error
	})
	if _, err := c.Write(up); err != nil {
		t.Fatal(err)
	}
	c.CloseWrite()
	if b, err := io.ReadAll(c); err != nil || !bytes.Equal(b, down) {
		t.Errorf("the client got %d bytes, %v; want %d", len(b), err, len(down))
	}
}
