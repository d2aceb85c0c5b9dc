package integration

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/l2tpnet/l2tpnet/integration/guest"
	"golang.org/x/net/dns/dnsmessage"
	socks "golang.org/x/net/proxy"
)

// "The dialling side must be something one forgets": connect, serve and what happens to them, for once with real processes,
// sockets and clocks. None of these tests says how fast anything is; what is promised is shown in virtual time.

// Everything befalls its own pair at once, since most of the time is spent waiting.
func TestConnectStays(t *testing.T) {
	t.Parallel()
	restarted := startServer(t, "127.0.0.1:0")
	first, second := startServer(t, "127.0.0.1:0"), startServer(t, "127.0.0.1:0")
	behind := startServer(t, "127.0.0.1:0")
	nat := newNAT(t, netip.MustParseAddrPort(behind.address))
	ordeals := []ordeal{
		{"the server dies without a word and comes again, knowing nothing of the tunnel", stay(t, restarted.address), restarted.address, func() {
			restarted.kill(t)
			startServer(t, restarted.address)
		}},
		{"the first server of two dies", stay(t, first.address, second.address), second.address, func() { first.kill(t) }},
		{"a NAT forgets the tunnel's port, and gives another one", stay(t, nat.address), nat.address, nat.forget},
	}
	for _, o := range ordeals {
		o.c.mustAnswer(t)
		o.befall()
		defer o.c.use()()
	}
	for _, o := range ordeals {
		t.Run(o.name, func(t *testing.T) {
			o.c.find(t, `^connected again to `+regexp.QuoteMeta(o.whom)+`\b`)
			o.c.mustAnswer(t)
		})
		o.c.interrupt(t)
	}
}

// An ordeal is what befalls a client, and to whom it is connected in the end.
type ordeal struct {
	name   string
	c      *stayer
	whom   string
	befall func()
}

// A laptop sleeps, for a short time and for so long that the server gives it up.
func TestConnectSleeps(t *testing.T) {
	t.Parallel()
	s := startServer(t, "127.0.0.1:0")
	c := stay(t, s.address)
	c.mustAnswer(t)
	c.signal(t, syscall.SIGSTOP)
	if os.Getenv("L2TPNET_FULL") == "1" {
		s.findWithin(t, 5*time.Minute, `^alice disconnected`)
		c.signal(t, syscall.SIGCONT)
		c.find(t, `^connected again to `)
	} else {
		time.Sleep(2 * time.Second)
		c.signal(t, syscall.SIGCONT)
	}
	c.mustAnswer(t)
	c.interrupt(t)
}

// A server is l2tpnet serve, with a DNS forwarder inside that any name is known to.
type server struct {
	*process
	address string
}

func startServer(t *testing.T, address string) *server {
	t.Helper()
	names := serveNames(t, netip.MustParseAddr("198.51.100.80"), netip.MustParseAddr("2001:db8:80::80"))
	p := start(t, "serve", "--listen", address, "--users-file", file(t, "alice:s3cret"), "--dns-forward", names.String(), "-v")
	return &server{p, fmt.Sprintf("127.0.0.1:%d", portIn(t, p.line(t)))}
}

// kill ends it so that it can say nothing to anybody.
func (s *server) kill(t *testing.T) {
	t.Helper()
	s.signal(t, syscall.SIGKILL)
	s.wait(t)
}

// A stayer is l2tpnet connect with its proxy.
type stayer struct {
	*process
	dialer socks.Dialer
}

func stay(t *testing.T, servers ...string) *stayer {
	t.Helper()
	args := append([]string{"connect", "--user", "alice", "--password-file", file(t, "s3cret"), "--socks", "127.0.0.1:0", "-v"}, servers...)
	p := start(t, args...)
	hello := p.line(t)
	m := socksAt.FindStringSubmatch(hello)
	if m == nil {
		t.Fatalf("connect's first line: expected where its SOCKS proxy listens, like %q, found %q", socksAt, hello)
	}
	d, err := socks.SOCKS5("tcp", m[1], nil, &net.Dialer{Timeout: guest.Patience})
	if err != nil {
		t.Fatal(err)
	}
	return &stayer{p, d}
}

// mustAnswer asks the forwarder at the gateway for a name, through the proxy and the tunnel.
func (c *stayer) mustAnswer(t *testing.T) {
	t.Helper()
	if err := c.ask(); err != nil {
		t.Fatalf("through the proxy and the tunnel: %v", err)
	}
}

func (c *stayer) ask() error {
	conn, err := c.dialer.Dial("tcp", "10.77.0.1:53")
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(guest.Patience))
	question := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: 7, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName("web.outside.test."), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}},
	}
	b, err := question.AppendPack(make([]byte, 2))
	if err != nil {
		return err
	}
	binary.BigEndian.PutUint16(b, uint16(len(b)-2)) // RFC 1035 §4.2.2
	if _, err := conn.Write(b); err != nil {
		return err
	}
	length := make([]byte, 2)
	if _, err := io.ReadFull(conn, length); err != nil {
		return err
	}
	b = make([]byte, binary.BigEndian.Uint16(length))
	if _, err := io.ReadFull(conn, b); err != nil {
		return err
	}
	var answer dnsmessage.Message
	if err := answer.Unpack(b); err != nil {
		return err
	}
	if answer.ID != 7 || len(answer.Answers) != 1 {
		return fmt.Errorf("expected an answer, found %v", answer.GoString())
	}
	return nil
}

// use has the tunnel used until stop is called, by somebody who does not know that it is of no use: a peer's silence is
// noticed where there is something to be said to it.
func (c *stayer) use() (stop func()) {
	over := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-over:
				return
			case <-time.After(500 * time.Millisecond):
				wg.Go(func() { c.ask() })
			}
		}
	})
	return func() {
		close(over)
		wg.Wait()
	}
}

// find waits for a line of standard output that matches.
func (p *process) find(t *testing.T, pattern string) string {
	t.Helper()
	return p.findWithin(t, 2*guest.Patience, pattern)
}

func (p *process) findWithin(t *testing.T, patience time.Duration, pattern string) string {
	t.Helper()
	var before []string
	late := time.After(patience)
	for {
		select {
		case line, ok := <-p.lines:
			if !ok {
				<-p.done
				t.Fatalf("l2tpnet: expected a line like %q, found its end, %v, and before it %q", pattern, p.cmd.ProcessState, before)
			}
			if regexp.MustCompile(pattern).MatchString(line) {
				return line
			}
			before = append(before, line)
		case <-late:
			t.Fatalf("l2tpnet: expected a line like %q within %v, found %s", pattern, patience, strings.Join(before, "\n"))
		}
	}
}

func (p *process) signal(t *testing.T, s os.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// A nat is a NAT before a server, with one client behind it: a port on loopback, whose datagrams go on from another one.
type nat struct {
	address string
	to      netip.AddrPort
	front   *net.UDPConn

	mu    sync.Mutex
	backs map[netip.AddrPort]*net.UDPConn // by the client's port
}

func newNAT(t *testing.T, to netip.AddrPort) *nat {
	t.Helper()
	front, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	n := &nat{address: front.LocalAddr().String(), to: to, front: front, backs: map[netip.AddrPort]*net.UDPConn{}}
	t.Cleanup(func() {
		front.Close()
		n.forget()
	})
	go func() {
		buf := make([]byte, 65536)
		for {
			size, client, err := front.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			n.send(client, buf[:size])
		}
	}()
	return n
}

func (n *nat) send(client netip.AddrPort, datagram []byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	back := n.backs[client]
	if back == nil {
		var err error
		if back, err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}); err != nil {
			return
		}
		n.backs[client] = back
		go func() {
			buf := make([]byte, 65536)
			for {
				size, from, err := back.ReadFromUDPAddrPort(buf)
				if err != nil {
					return
				}
				if from == n.to {
					n.front.WriteToUDPAddrPort(buf[:size], client)
				}
			}
		}()
	}
	back.WriteToUDPAddrPort(datagram, n.to)
}

// forget gives up all ports; whoever sends gets another one.
func (n *nat) forget() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for client, back := range n.backs {
		back.Close()
		delete(n.backs, client)
	}
}
