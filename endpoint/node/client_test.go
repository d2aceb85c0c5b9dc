package node

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/pcapng"
)

const clientPatience = 60 * time.Second

func patiently(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), clientPatience)
	t.Cleanup(cancel)
	return ctx
}

var aliceAddress = netip.MustParseAddr("10.77.0.5")

// lns is a server on loopback that knows alice, who has a fixed address, with an echo
// service at port 7 inside.
func lns(t *testing.T, address string) *Server {
	t.Helper()
	s := &Server{Address: address, Users: map[string]User{"alice": {Password: "s3cret", Address: aliceAddress}}, NoIPv6: true}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	ln, err := s.Listen("tcp", ":7")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				io.Copy(c, c)
			}()
		}
	}()
	return s
}

// A diary waits for events.
type diary struct {
	t      *testing.T
	events chan Event
}

func newDiary(t *testing.T) *diary { return &diary{t, make(chan Event, 1000)} }

func (d *diary) write(e Event) { d.events <- e }

// await waits for an event of a type.
func await[E Event](d *diary) (found E) {
	d.t.Helper()
	patience := time.After(clientPatience)
	for {
		select {
		case e := <-d.events:
			if found, ok := e.(E); ok {
				return found
			}
		case <-patience:
			d.t.Fatalf("expected a %T", found)
		}
	}
}

func connected(t *testing.T, c *Client) *Client {
	t.Helper()
	if _, err := Dial(patiently(t), c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// echoed sends something to the server's echo service and back.
func echoed(t *testing.T, c *Client, ctx context.Context) net.Conn {
	t.Helper()
	conn, err := c.DialContext(ctx, "tcp", "10.77.0.1:7")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	b := make([]byte, 5)
	conn.SetDeadline(time.Now().Add(clientPatience))
	if _, err := conn.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, b); err != nil || string(b) != "hello" {
		t.Fatalf("%q, %v", b, err)
	}
	conn.SetDeadline(time.Time{})
	return conn
}

// isDownWith checks how what needs the tunnel fails without it.
func isDownWith[E error](t *testing.T, what string, err error) {
	t.Helper()
	_, isOp := errors.AsType[*net.OpError](err)
	_, isDNS := errors.AsType[*net.DNSError](err)
	_, hasReason := errors.AsType[E](err)
	if !isOp && !isDNS || !isDown(err) || !hasReason || !errors.Is(err, syscall.ENETUNREACH) {
		t.Errorf("%s: %v (%T), want a DownError with a %T in it", what, err, err, *new(E))
	}
}

// "its DialContext, Listen, ListenPacket and LookupHost survive a redial (listeners
// listen again; connections die with an error at once; new ones fail within a second,
// or wait if the context asks)".
func TestClientAcrossARestart(t *testing.T) {
	s := lns(t, "127.0.0.1:0")
	at := s.Addr().String()
	d := newDiary(t)
	c := connected(t, &Client{Server: at, User: "alice", Password: "s3cret", Events: d.write})
	up := await[Connected](d)
	if up.Peer != s.Addr() || len(up.Addresses) != 1 || up.Addresses[0] != aliceAddress || up.Gateway != s.Gateways()[0] {
		t.Errorf("connected as %+v", up)
	}
	conn := echoed(t, c, patiently(t))

	listeners := map[string]net.Listener{}
	packets := map[string]net.PacketConn{}
	for _, a := range []string{":80", aliceAddress.String() + ":81"} {
		ln, err := c.Listen("tcp", a)
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		pc, err := c.ListenPacket("udp", a)
		if err != nil {
			t.Fatal(err)
		}
		defer pc.Close()
		listeners[a], packets[a] = ln, pc
		if _, port, _ := net.SplitHostPort(a); !strings.HasSuffix(ln.Addr().String(), ":"+port) || !strings.HasSuffix(pc.LocalAddr().String(), ":"+port) {
			t.Errorf("%s listens at %v and %v", a, ln.Addr(), pc.LocalAddr())
		}
	}
	if _, err := c.Listen("tcp", "10.77.0.6:80"); !errors.Is(err, syscall.EADDRNOTAVAIL) {
		t.Errorf("Listen at somebody else's address: %v", err)
	}
	// What waits now goes on waiting, whatever happens to the tunnel.
	var wg sync.WaitGroup
	for a, ln := range listeners {
		wg.Go(func() {
			conn, err := ln.Accept()
			if err != nil {
				t.Errorf("Accept at %s: %v", a, err)
				return
			}
			conn.Close()
		})
		wg.Go(func() {
			b := make([]byte, 100)
			n, from, err := packets[a].ReadFrom(b)
			if err != nil {
				t.Errorf("ReadFrom at %s: %v", a, err)
				return
			}
			if _, err := packets[a].WriteTo(b[:n], from); err != nil {
				t.Errorf("WriteTo at %s: %v", a, err)
			}
		})
	}

	s.Close()
	_, err := conn.Read(make([]byte, 1))
	isDownWith[*endpoint.PeerError](t, "a Read", err)
	_, err = conn.Write(make([]byte, 1))
	isDownWith[*endpoint.PeerError](t, "a Write", err)
	down := await[Disconnected](d)
	if _, ok := errors.AsType[*endpoint.PeerError](down.Err); !ok || down.Next.IsZero() {
		t.Errorf("disconnected: %+v", down)
	}
	// The server is away: there is no way that it could be up.
	ctx := patiently(t)
	_, err = c.DialContext(ctx, "tcp", "10.77.0.1:7")
	isDownWith[error](t, "DialContext", err)
	_, err = c.LookupHost(ctx, "www.example.net")
	isDownWith[error](t, "LookupHost", err)
	_, err = c.Ping(ctx, s.addresses.gateway, nil)
	isDownWith[error](t, "Ping", err)
	for a, pc := range packets {
		if _, err := pc.WriteTo([]byte("x"), net.UDPAddrFromAddrPort(netip.MustParseAddrPort("10.77.0.1:9"))); !errors.Is(err, syscall.ENETUNREACH) && !errors.Is(err, syscall.EHOSTUNREACH) {
			t.Errorf("WriteTo at %s: %v", a, err)
		}
	}
	// It may be dialling again.
	stands := func(t endpoint.TunnelStatus) bool { return t.Up }
	if st := c.Status(); st.State == StateConnected || st.Err == nil || st.Connects != 1 || slices.ContainsFunc(st.Endpoint.Tunnels, stands) {
		t.Errorf("the status is %+v", st)
	}
	short, cancel := context.WithTimeout(WithWait(ctx), 10*time.Millisecond)
	defer cancel()
	if _, err := c.DialContext(short, "tcp", "10.77.0.1:7"); !errors.Is(err, context.DeadlineExceeded) || !isDown(err) {
		t.Errorf("a dial that does not want to wait for long: %v", err)
	}
	booting, err := c.Listen("tcp", aliceAddress.String()+":82") // it may be ours again
	if err != nil {
		t.Fatal(err)
	}
	defer booting.Close()

	s = lns(t, at)
	echoed(t, c, WithWait(ctx))
	await[Connected](d)
	for _, port := range []string{"80", "81", "82"} {
		conn, err := s.DialContext(ctx, "tcp", aliceAddress.String()+":"+port)
		if err != nil {
			t.Fatalf("a listener after the redial: %v", err)
		}
		defer conn.Close()
	}
	for _, port := range []string{"80", "81"} {
		conn, err := s.DialContext(ctx, "udp", aliceAddress.String()+":"+port)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(clientPatience))
		b := make([]byte, 10)
		if _, err := conn.Write([]byte("knock")); err != nil {
			t.Fatal(err)
		}
		if n, err := conn.Read(b); err != nil || string(b[:n]) != "knock" {
			t.Errorf("the UDP socket at %s after the redial: %q, %v", port, b[:n], err)
		}
	}
	wg.Wait()
	st := c.Status()
	if st.State != StateConnected || st.Connects != 2 || len(st.Endpoint.Tunnels) != 1 || st.Current.Peer != s.Addr() || st.Counters.PacketsIn == 0 {
		t.Errorf("the status is %+v", st)
	}

	// The end of the Client is the end of all that it has.
	c.Close()
	c.Close()
	for a := range listeners {
		if _, err := listeners[a].Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Accept at %s of a closed Client: %v", a, err)
		}
		if _, _, err := packets[a].ReadFrom(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("ReadFrom at %s of a closed Client: %v", a, err)
		}
	}
	if _, err := c.DialContext(WithWait(ctx), "tcp", "10.77.0.1:7"); !errors.Is(err, net.ErrClosed) {
		t.Errorf("DialContext of a closed Client: %v", err)
	}
	if !errors.Is(c.Err(), net.ErrClosed) {
		t.Errorf("Err is %v", c.Err())
	}
}

// A mute is a socket that loses everything when it is told to.
type mute struct {
	net.PacketConn
	on atomic.Bool
}

func (m *mute) WriteTo(b []byte, to net.Addr) (int, error) {
	if m.on.Load() {
		return len(b), nil
	}
	return m.PacketConn.WriteTo(b, to)
}

// ReadFrom loses what the server goes on to send, which would be a sign of life.
func (m *mute) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, from, err := m.PacketConn.ReadFrom(b)
		if err != nil || !m.on.Load() {
			return n, from, err
		}
	}
}

// NAT rebinding, and a machine that has slept: the peer is silent, which is found in
// seconds when somebody asks, and the redial has a fresh socket; that the server still
// has the old session does not matter.
func TestClientAfterASilentDeath(t *testing.T) {
	t.Parallel()
	s := lns(t, "127.0.0.1:0")
	d := newDiary(t)
	var mu sync.Mutex
	var sockets []*mute
	c := connected(t, &Client{Server: s.Addr().String(), User: "alice", Password: "s3cret", Events: d.write,
		Socket: func(string) (net.PacketConn, error) {
			conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
			if err != nil {
				return nil, err
			}
			mu.Lock()
			defer mu.Unlock()
			sockets = append(sockets, &mute{PacketConn: conn})
			return sockets[len(sockets)-1], nil
		}})
	await[Connected](d)
	conn := echoed(t, c, patiently(t))
	sockets[0].on.Store(true)
	c.running().woke <- struct{}{} // as the clocks do
	_, err := conn.Read(make([]byte, 1))
	isDownWith[*endpoint.TimeoutError](t, "a Read", err)
	echoed(t, c, WithWait(patiently(t)))
	if up := await[Connected](d); up.Addresses[0] != aliceAddress {
		t.Errorf("again, with %v", up.Addresses)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(sockets) < 2 || sockets[0].LocalAddr().String() == sockets[1].LocalAddr().String() {
		t.Errorf("%d sockets, want another one", len(sockets))
	}
}

// silence is a UDP socket that answers nothing.
func silence(t *testing.T, network, address string) string {
	t.Helper()
	conn, err := net.ListenPacket(network, address)
	if err != nil {
		t.Skipf("no %s here: %v", network, err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn.LocalAddr().String()
}

// The next address family, and the next server: one is silent, one refuses.
func TestClientFailsOver(t *testing.T) {
	t.Parallel()
	good := lns(t, "127.0.0.1:0")
	strict := &Server{Address: "127.0.0.1:0", Users: map[string]User{"alice": {Password: "another"}}}
	if err := strict.Start(); err != nil {
		t.Fatal(err)
	}
	defer strict.Close()
	for _, row := range []struct {
		name, silent string
		servers      []string
	}{
		{"a silent server", silence(t, "udp4", "127.0.0.1:0"), nil},
		{"a server that refuses", strict.Addr().String(), nil},
		{"a name that nobody knows", "lns.invalid", nil},
		{"a silent IPv6 server", silence(t, "udp6", "[::1]:0"), nil},
		{"no IPv6 at all", "[2001:db8::1]", nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			d := newDiary(t)
			c := connected(t, &Client{
				Server: row.silent, Servers: []string{good.Addr().String()}, AttemptTimeout: 300 * time.Millisecond,
				User: "alice", Password: "s3cret", NoIPv6: true, Events: d.write,
			})
			if up := await[Connected](d); up.Peer != good.Addr() {
				t.Errorf("connected to %v, want %v", up.Peer, good.Addr())
			}
			if row.silent != "lns.invalid" {
				if st := c.Status(); st.Attempts != 0 || st.Current.Server != good.Addr().String() {
					t.Errorf("the status is %+v", st)
				}
			}
			c.Close()
		})
	}
}

// "Dial's first attempt returns them": what cannot mend by itself, and all else.
func TestDialSaysWhyNot(t *testing.T) {
	t.Parallel()
	s := lns(t, "127.0.0.1:0")
	at := s.Addr().String()
	fails := func(c *Client) error {
		c.NoIPv6 = true
		_, err := Dial(patiently(t), c)
		if err == nil {
			t.Fatal("it is connected")
		}
		<-c.Done()
		return err
	}
	err := fails(&Client{Server: at, User: "alice", Password: "wrong"})
	if _, ok := errors.AsType[*endpoint.AuthError](err); !ok || !strings.HasPrefix(err.Error(), at+": ") {
		t.Errorf("a wrong password: %v", err)
	}
	err = fails(&Client{Server: "lns.invalid", User: "alice", Password: "s3cret"})
	if _, ok := errors.AsType[*net.DNSError](err); !ok || strings.Count(err.Error(), "lns.invalid") > 2 {
		t.Errorf("an unknown name: %v", err)
	}
	err = fails(&Client{Servers: []string{silence(t, "udp4", "127.0.0.1:0"), at}, AttemptTimeout: 300 * time.Millisecond, User: "alice", Password: "wrong"})
	_, wrong := errors.AsType[*endpoint.AuthError](err)
	if _, ok := errors.AsType[*PatienceError](err); !ok || !wrong {
		t.Errorf("two servers: %v", err)
	}
	for _, c := range []*Client{{}, {Server: "a:0"}, {Server: at, MRU: 1}, {Server: at, Device: "x", Socket: func(string) (net.PacketConn, error) { return nil, nil }}, {Server: at, AttemptTimeout: -1}, {Server: at, AddressKey: []byte{1}}} {
		if _, err := Dial(t.Context(), c); err == nil || c.Done() != nil {
			t.Errorf("%+v is started: %v", c, err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	c := &Client{Server: silence(t, "udp4", "127.0.0.1:0")}
	if _, err := Dial(ctx, c); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("an impatient Dial: %v", err)
	}
	// A Client that has ended may be started again, and one that has not may not.
	c.Server, c.User, c.Password = at, "alice", "s3cret"
	connected(t, c)
	if err := c.Start(); err == nil {
		t.Error("it is started twice")
	}
}

// A Client that is connected only Once ends with its connection, and everything that
// it has says why.
func TestClientOnce(t *testing.T) {
	t.Parallel()
	s := lns(t, "127.0.0.1:0")
	d := newDiary(t)
	c := connected(t, &Client{Server: s.Addr().String(), User: "alice", Password: "s3cret", NoIPv6: true, Once: true, Events: d.write})
	conn := echoed(t, c, patiently(t))
	var listeners []net.Listener
	for _, a := range []string{":80", aliceAddress.String() + ":81"} {
		ln, err := c.Listen("tcp", a)
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		listeners = append(listeners, ln)
	}
	s.Disconnect(func(ServerSession) bool { return true })
	for _, ln := range listeners {
		_, err := ln.Accept()
		isDownWith[*endpoint.PeerError](t, "Accept", err)
	}
	_, err := conn.Read(make([]byte, 1))
	isDownWith[*endpoint.PeerError](t, "Read", err)
	<-c.Done()
	_, err = c.DialContext(WithWait(patiently(t)), "tcp", "10.77.0.1:7")
	isDownWith[*endpoint.PeerError](t, "DialContext", err)
	if _, ok := errors.AsType[*endpoint.PeerError](c.Err()); !ok || !await[Disconnected](d).Next.IsZero() || c.Status().State != StateClosed {
		t.Errorf("it has ended with %v, and is %+v", c.Err(), c.Status())
	}
}

func TestClientBeforeStart(t *testing.T) {
	c := &Client{}
	for what, call := range map[string]func() error{
		"Dial":         func() error { _, err := c.Dial("tcp", "10.0.0.1:80"); return err },
		"Listen":       func() error { _, err := c.Listen("tcp", ":80"); return err },
		"ListenPacket": func() error { _, err := c.ListenPacket("udp", ":80"); return err },
		"LookupHost":   func() error { _, err := c.LookupHost(t.Context(), "a"); return err },
		"Ping":         func() error { _, err := c.Ping(t.Context(), aliceAddress, nil); return err },
	} {
		if err := call(); !errors.Is(err, errClientNotStarted) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if c.Close() != nil || c.Err() != nil || c.Status().State != "" {
		t.Error("a Client that was not started has ended")
	}
}

// Start is "for programs that boot before the network".
func TestClientStartsBeforeItsServer(t *testing.T) {
	t.Parallel()
	port := silence(t, "udp4", "127.0.0.1:0")
	c := &Client{Server: port + ",lns.invalid", AttemptTimeout: 100 * time.Millisecond, User: "alice", Password: "s3cret"}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, err := c.Dial("tcp", "10.77.0.1:7")
	if !isDown(err) {
		t.Errorf("a dial before the network is there: %v", err)
	}
	ln, err := c.Listen("tcp", ":80")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	select {
	case <-c.Done():
		t.Error(c.Err())
	default:
	}
}

// A capture goes on after a redial: each connection is a section.
func TestClientCaptures(t *testing.T) {
	t.Parallel()
	s := lns(t, "127.0.0.1:0")
	d := newDiary(t)
	c := &Client{Server: s.Addr().String(), User: "alice", Password: "s3cret", Events: d.write}
	var file bytes.Buffer
	stop, err := c.Capture(&file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Capture(&file); !errors.Is(err, endpoint.ErrCapturing) {
		t.Errorf("a second capture: %v", err)
	}
	connected(t, c)
	await[Connected](d)
	echoed(t, c, patiently(t))
	s.Disconnect(func(ServerSession) bool { return true })
	await[Disconnected](d)
	await[Connected](d)
	echoed(t, c, patiently(t))
	c.Close()
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	r, err := pcapng.NewReader(bytes.NewReader(file.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	ports := map[uint16]bool{}
	inner := 0
	for {
		p, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if p.Interface.Name == pcapng.Inner {
			inner++
		} else if len(p.Data) > 24 {
			a, b := uint16(p.Data[20])<<8|uint16(p.Data[21]), uint16(p.Data[22])<<8|uint16(p.Data[23])
			ports[a], ports[b] = true, true
		}
	}
	if len(ports) != 3 || inner == 0 {
		t.Errorf("%d ports of UDP and %d inner packets are in the capture, want 3 and some", len(ports), inner)
	}
}
