package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint"
	"github.com/l2tpnet/l2tpnet/netstack"
)

// patience is for what must happen: long, since nothing depends on it.
const patience = 30 * time.Second

func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// A called is a server on loopback, with its events.
type called struct {
	*Server
	events chan ServerEvent
	via    string // where it is called; empty: at its own address
}

// serverOf starts a server that alice and bob may call, as change has it.
func serverOf(t *testing.T, change func(*Server)) *called {
	t.Helper()
	l := &called{Server: &Server{Address: "127.0.0.1:0", Users: map[string]User{"alice": {Password: "a"}, "bob": {Password: "b"}}}, events: make(chan ServerEvent, 100)}
	l.Events = func(e ServerEvent) { l.events <- e }
	if change != nil {
		change(l.Server)
	}
	if err := l.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// event is the next one.
func (l *called) event(t *testing.T, up bool) ServerEvent {
	t.Helper()
	select {
	case e := <-l.events:
		if e.Up != up {
			t.Fatalf("told of %+v, want up %v", e, up)
		}
		return e
	case <-time.After(patience):
		t.Fatal("told of nothing")
		return ServerEvent{}
	}
}

// A lac has called a server.
type lac struct {
	session *endpoint.Session
	stack   *netstack.Stack
	nic     *netstack.NIC
}

// call calls the server as a user, whose password is the first letter of the name.
func (l *called) call(t *testing.T, user string, more ...netip.Prefix) *lac {
	t.Helper()
	c, err := l.tryCall(t, user, more...)
	if err != nil {
		t.Fatalf("%s calls: %v", user, err)
	}
	return c
}

func (l *called) tryCall(t *testing.T, user string, more ...netip.Prefix) (*lac, error) {
	t.Helper()
	ep, err := endpoint.Listen("udp", "127.0.0.1:0", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ep.Close() })
	address := l.Addr().String()
	if l.via != "" {
		address = l.via
	}
	tun, err := ep.Dial(soon(t), address, &endpoint.TunnelConfig{Secret: l.Secret})
	if err != nil {
		return nil, err
	}
	name := user[strings.IndexByte(user, '\\')+1:]
	c := &lac{}
	c.session, err = tun.OpenPPP(soon(t), &endpoint.PPPConfig{User: user, Password: endpoint.Secret(name[:1]), NoIPv6: l.NoIPv6})
	if err != nil {
		return nil, err
	}
	if c.stack, err = netstack.New(nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.stack.Close() })
	id, _ := c.session.InterfaceIDs()
	c.nic, err = c.stack.AddIP(c.session, &netstack.IPConfig{
		Addresses: append(c.session.Addresses(), more...), DNS: c.session.DNS(), MTU: c.session.MTU(), InterfaceID: id,
	})
	if err != nil {
		t.Fatal(err)
	}
	c.session.Attach(c.nic)
	return c, nil
}

// address is the client's own.
func (c *lac) address() netip.Addr { return c.session.Addresses()[0].Addr() }

// echoing answers one connection after another with what it says.
func echoing(t *testing.T, ln net.Listener) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			c.SetDeadline(time.Now().Add(patience))
			io.Copy(c, c)
			c.Close()
		}
	}()
	t.Cleanup(func() { ln.Close(); <-done })
}

// wantEcho speaks to an echoing listener.
func wantEcho(t *testing.T, dial func(context.Context, string, string) (net.Conn, error), address string) {
	t.Helper()
	c, err := dial(soon(t), "tcp", address)
	if err != nil {
		t.Fatalf("dialling %s: %v", address, err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c, "hello"); err != nil {
		t.Fatal(err)
	}
	c.(interface{ CloseWrite() error }).CloseWrite()
	if b, err := io.ReadAll(c); string(b) != "hello" || err != nil {
		t.Errorf("%s: %q, %v", address, b, err)
	}
}

func TestAServerAndItsCallers(t *testing.T) {
	l := serverOf(t, nil)
	web, err := l.Listen("tcp", ":7")
	if err != nil {
		t.Fatal(err)
	}
	echoing(t, web)
	alice, bob := l.call(t, "alice"), l.call(t, `CORP\bob`)
	told := map[string]ServerEvent{} // in whichever order they come
	for range 2 {
		e := l.event(t, true)
		told[e.Session.User] = e
	}
	for _, c := range []struct {
		lac           *lac
		user, address string
	}{{alice, "alice", "10.77.0.2"}, {bob, "bob", "10.77.0.3"}} {
		e := told[c.user]
		if e.Session.User != c.user || e.Session.Address.String() != c.address || c.lac.address() != e.Session.Address ||
			e.Session.Peer.Addr().String() != "127.0.0.1" || e.Session.MTU != 1400 || e.Session.Encryption != "none" {
			t.Errorf("told of %+v, want %s with %s", e.Session, c.user, c.address)
		}
		if len(c.lac.session.DNS()) != 0 {
			t.Errorf("told of the DNS servers %v, which there are not", c.lac.session.DNS())
		}
		wantEcho(t, c.lac.stack.DialContext, "10.77.0.1:7")
	}
	in, err := bob.stack.Listen("tcp", ":7")
	if err != nil {
		t.Fatal(err)
	}
	echoing(t, in)
	wantEcho(t, l.DialContext, "10.77.0.3:7")

	st := l.Status()
	if len(st.Sessions) != 2 || st.Sessions[0].User != "alice" || st.Sessions[1].Traffic.BytesIn == 0 || len(st.Endpoint.Tunnels) != 2 || st.PoolFree != 251 || st.Inside.PacketsIn == 0 {
		t.Errorf("status %+v", st)
	}
	bob.session.Close()
	if e := l.event(t, false); e.Session.User != "bob" || e.Session.Traffic.BytesIn == 0 || e.Err == nil {
		t.Errorf("told of %+v", e)
	}
	if n := l.Disconnect(func(s ServerSession) bool { return s.Address == alice.address() }); n != 1 {
		t.Errorf("%d were disconnected", n)
	}
	if e := l.event(t, false); e.Session.User != "alice" || !errors.Is(e.Err, net.ErrClosed) {
		t.Errorf("told of %+v", e)
	}
	if st := l.Status(); len(st.Sessions) != 0 {
		t.Errorf("status %+v", st)
	}
	waiting := make(chan error)
	ln, err := l.Listen("tcp", ":8")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _, err := ln.Accept(); waiting <- err }()
	l.Close()
	if err := <-waiting; !errors.Is(err, net.ErrClosed) {
		t.Errorf("after Close a listener says %v", err)
	}
	<-l.Done()
	if err := l.Err(); err != net.ErrClosed {
		t.Errorf("after Close: %v", err)
	}
	if _, err := l.Dial("tcp", "10.77.0.2:7"); !errors.Is(err, net.ErrClosed) {
		t.Errorf("dialling after Close: %v", err)
	}
	if err := l.Start(); err == nil {
		t.Error("it starts again")
	}
}

// Issue 4: "a client accepted while its old tunnel still stands".
func TestAUserWithAFixedAddressTakesOver(t *testing.T) {
	for name, u := range map[string]User{
		"an address":  {Password: "a", Address: netip.MustParseAddr("10.77.0.9")},
		"a network":   {Password: "a", Routes: []netip.Prefix{netip.MustParsePrefix("192.168.7.0/24")}},
		"one session": {Password: "a", MaxSessions: 1},
	} {
		t.Run(name, func(t *testing.T) {
			l := serverOf(t, func(s *Server) { s.Users["alice"] = u })
			old := l.call(t, "alice")
			l.event(t, true)
			// Who cannot authenticate as alice does not remove her.
			ep, err := endpoint.Listen("udp", "127.0.0.1:0", nil)
			if err != nil {
				t.Fatal(err)
			}
			defer ep.Close()
			tun, err := ep.Dial(soon(t), l.Addr().String(), nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := tun.OpenPPP(soon(t), &endpoint.PPPConfig{User: "alice", Password: "wrong"}); err == nil {
				t.Fatal("a wrong password is taken")
			}
			if err := old.session.Err(); err != nil {
				t.Fatalf("a wrong password has ended the session: %v", err)
			}

			young := l.call(t, "alice")
			if e := l.event(t, false); e.Err != ErrReplaced {
				t.Errorf("told of %+v", e)
			}
			if e := l.event(t, true); e.Session.Address != young.address() || u.Address.IsValid() && young.address() != u.Address {
				t.Errorf("told of %+v, and the caller of %v", e, young.address())
			}
			select {
			case <-old.session.Done():
			case <-time.After(patience):
				t.Fatal("the old session stands")
			}
			in, err := young.stack.Listen("tcp", ":7")
			if err != nil {
				t.Fatal(err)
			}
			echoing(t, in)
			wantEcho(t, l.DialContext, netip.AddrPortFrom(young.address(), 7).String())
		})
	}
}

func TestTheOldestOfTooManySessionsGoes(t *testing.T) {
	l := serverOf(t, func(s *Server) { s.Users["alice"] = User{Password: "a", MaxSessions: 2} })
	for _, user := range []string{"bob", "alice", "alice", "bob"} {
		l.call(t, user)
		l.event(t, true)
	}
	l.call(t, "alice")
	if e := l.event(t, false); e.Session.Address.String() != "10.77.0.3" || e.Err != ErrReplaced {
		t.Errorf("told of %+v", e)
	}
	l.event(t, true)
	var left []string
	for _, s := range l.Status().Sessions {
		left = append(left, s.User+" "+s.Address.String())
	}
	if want := "[bob 10.77.0.2 alice 10.77.0.4 bob 10.77.0.5 alice 10.77.0.6]"; fmt.Sprint(left) != want {
		t.Errorf("%v are left, want %s", left, want)
	}
}

func TestAnExhaustedPoolIsSaidInWords(t *testing.T) {
	l := serverOf(t, func(s *Server) { s.Pool = netip.MustParsePrefix("10.77.0.0/30") })
	first := l.call(t, "alice")
	l.event(t, true)
	_, err := l.tryCall(t, "bob")
	if err == nil || !strings.Contains(err.Error(), "no address is free") {
		t.Errorf("the second of one says %v", err)
	}
	first.session.Close()
	l.event(t, false)
	if c := l.call(t, "bob"); c.address() != netip.MustParseAddr("10.77.0.2") {
		t.Errorf("got %v", c.address())
	}
}

// The pool's only address is hers, and the session that has it would give way anyway.
func TestTakingOverFromAnExhaustedPool(t *testing.T) {
	l := serverOf(t, func(s *Server) {
		s.Pool = netip.MustParsePrefix("10.77.0.0/30")
		s.Users["alice"] = User{Password: "a", MaxSessions: 1}
	})
	for i := range 3 {
		c := l.call(t, "alice")
		if i > 0 {
			if e := l.event(t, false); e.Err != ErrReplaced {
				t.Errorf("told of %+v", e)
			}
		}
		if e := l.event(t, true); e.Session.Address != c.address() || c.address().String() != "10.77.0.2" {
			t.Errorf("told of %+v, and the caller of %v", e, c.address())
		}
	}
}

func TestAServersLimits(t *testing.T) {
	l := serverOf(t, func(s *Server) { s.Limits = endpoint.Limits{Sessions: 1} })
	c := l.call(t, "alice")
	l.event(t, true)
	if _, err := c.session.Tunnel().OpenPPP(soon(t), &endpoint.PPPConfig{User: "bob", Password: "b"}); err == nil || !strings.Contains(err.Error(), "too many sessions") {
		t.Errorf("a second session in the tunnel: %v", err)
	}
	if st := l.Status(); st.Endpoint.Counters.SessionLimit != 1 || len(st.Sessions) != 1 {
		t.Errorf("counted %+v", st.Endpoint.Counters)
	}
}

func TestNetworksBehindAUser(t *testing.T) {
	l := serverOf(t, func(s *Server) {
		s.Users["alice"] = User{Password: "a", Routes: []netip.Prefix{netip.MustParsePrefix("192.168.7.0/24")}}
	})
	c := l.call(t, "alice", netip.MustParsePrefix("192.168.7.1/32"))
	if e := l.event(t, true); len(e.Session.Routes) != 1 {
		t.Errorf("told of %+v", e)
	}
	in, err := c.stack.Listen("tcp", "192.168.7.1:7")
	if err != nil {
		t.Fatal(err)
	}
	echoing(t, in)
	wantEcho(t, l.DialContext, "192.168.7.1:7")
}

func TestUsersAreReplacedWhileTheServerRuns(t *testing.T) {
	l := serverOf(t, nil)
	if err := l.SetUsers(map[string]User{"alice": {Address: netip.IPv6Loopback()}}); err == nil || !strings.Contains(err.Error(), `"alice"`) {
		t.Errorf("a bad list: %v", err)
	}
	l.call(t, "alice")
	l.call(t, "bob")
	l.event(t, true)
	l.event(t, true)
	if err := l.SetUsers(map[string]User{"bob": {Password: "b"}, "carol": {Password: "c", Address: netip.MustParseAddr("10.77.0.4")}}); err != nil {
		t.Fatal(err)
	}
	if e := l.event(t, false); e.Session.User != "alice" {
		t.Errorf("told of %+v", e)
	}
	if _, err := l.tryCall(t, "alice"); err == nil {
		t.Error("who is no longer there may call")
	}
	if c := l.call(t, "bob"); c.address().String() != "10.77.0.5" { // .4 is carol's
		t.Errorf("bob got %v", c.address())
	}
	if c := l.call(t, "carol"); c.address().String() != "10.77.0.4" {
		t.Errorf("carol got %v", c.address())
	}
}

// What is behind a user who is not there, and was not known at the start, does not leave
// by the egress, to whoever has the same network at home.
func TestNetworksOfNewUsersStayInside(t *testing.T) {
	l := serverOf(t, func(s *Server) { s.Egress = &Egress{} })
	inside := netip.MustParseAddrPort("198.18.7.1:80")
	why := func() string { return l.Egress.state.policy.refuses(inside) }
	if got := why(); got != "" {
		t.Fatalf("refused at first: %s", got)
	}
	carol := User{Password: "c", Routes: []netip.Prefix{netip.MustParsePrefix("198.18.7.0/24")}}
	if err := l.SetUsers(map[string]User{"carol": carol}); err != nil {
		t.Fatal(err)
	}
	if got := why(); !strings.Contains(got, "of the server's clients") {
		t.Errorf("refused because it %q", got)
	}
}

func TestAFunctionKnowsTheUsers(t *testing.T) {
	l := serverOf(t, func(s *Server) {
		s.Users = nil
		s.Authenticate = func(_ context.Context, r endpoint.AuthRequest) (User, error) {
			if name, ok := strings.CutSuffix(r.User, "@example.net"); ok {
				return User{Name: name, Password: endpoint.Secret(r.User[:1]), Address: netip.MustParseAddr("10.77.0.77")}, nil
			}
			return User{}, errors.New("not one of ours")
		}
	})
	if c := l.call(t, "dora@example.net"); c.address().String() != "10.77.0.77" {
		t.Errorf("got %v", c.address())
	}
	if e := l.event(t, true); e.Session.User != "dora" {
		t.Errorf("told of %+v", e)
	}
	if _, err := l.tryCall(t, "dora"); err == nil {
		t.Error("somebody else may call")
	}
}

// What a function fixes for a user is that user's, although the pool has given it to
// somebody: it could not know.
func TestAFixedAddressThatThePoolHasGiven(t *testing.T) {
	l := serverOf(t, func(s *Server) {
		s.Users = nil
		s.Authenticate = func(_ context.Context, r endpoint.AuthRequest) (User, error) {
			u := User{Password: endpoint.Secret(r.User[:1])}
			if r.User == "bob" {
				u.Address = netip.MustParseAddr("10.77.0.2")
			}
			return u, nil
		}
	})
	if c := l.call(t, "alice"); c.address().String() != "10.77.0.2" {
		t.Fatalf("alice has %v", c.address())
	}
	l.event(t, true)
	l.call(t, "bob")
	if e := l.event(t, false); e.Session.User != "alice" {
		t.Errorf("told of %+v", e)
	}
	if e := l.event(t, true); e.Session.User != "bob" || e.Session.Address.String() != "10.77.0.2" {
		t.Errorf("told of %+v", e)
	}
	if c := l.call(t, "alice"); c.address().String() == "10.77.0.2" {
		t.Error("alice has bob's address")
	}
}

// Whoever is told of sessions, and does not come back, keeps no session waiting.
func TestEventsThatTakeLong(t *testing.T) {
	held, release := context.WithCancel(context.Background())
	defer release()
	var users []string
	l := serverOf(t, func(s *Server) {
		s.Users["alice"] = User{Password: "a", MaxSessions: 1}
		s.Events = func(e ServerEvent) {
			<-held.Done()
			users = append(users, fmt.Sprint(e.Session.Address, e.Up))
		}
	})
	web, err := l.Listen("tcp", ":7")
	if err != nil {
		t.Fatal(err)
	}
	echoing(t, web)
	for range 3 {
		wantEcho(t, l.call(t, "alice").stack.DialContext, "10.77.0.1:7")
	}
	release()
	l.Close()
	if want := "[10.77.0.2 true 10.77.0.2 false 10.77.0.3 true 10.77.0.3 false 10.77.0.4 true 10.77.0.4 false]"; fmt.Sprint(users) != want {
		t.Errorf("told of %v, want %s", users, want)
	}
}

func TestAServerWithoutSense(t *testing.T) {
	prefix, addr := netip.MustParsePrefix, netip.MustParseAddr
	for _, c := range []struct {
		want   string
		change func(*Server)
	}{
		{"expected Users or Authenticate", func(s *Server) { s.Users = nil }},
		{"expected an IPv4 prefix", func(s *Server) { s.Pool = prefix("fd00::/64") }},
		{"room for a client", func(s *Server) { s.Pool = prefix("10.0.0.1/32") }},
		{"for the gateway", func(s *Server) { s.Gateway = addr("224.0.0.1") }},
		{"16 to 63 bits", func(s *Server) { s.Pool6 = prefix("fd00::/64") }},
		{"16 to 63 bits", func(s *Server) { s.Pool6 = prefix("fe80::/32") }},
		{"16 to 63 bits", func(s *Server) { s.Pool6 = prefix("10.0.0.0/24") }},
		{"for the gateway", func(s *Server) { s.Gateway6 = addr("fe80::1") }},
		{"to delegate prefixes of", func(s *Server) { s.DelegateBits = 56 }},
		{"49 to 64 bits", func(s *Server) { s.Pool6, s.DelegateBits = prefix("fd00::/48"), 48 }},
		{"49 to 64 bits", func(s *Server) { s.Pool6, s.DelegateBits = prefix("fd00::/48"), 65 }},
		{`"alice": expected an IPv4 address`, func(s *Server) { s.Users["alice"] = User{Address: addr("fd00::1")} }},
		{`"alice": expected an IPv6 prefix of 64`, func(s *Server) { s.Users["alice"] = User{Prefix6: prefix("fd00::/63")} }},
		{`"alice": expected an IPv6 prefix of at most 64`, func(s *Server) { s.Users["alice"] = User{Delegated6: prefix("fd00::/65")} }},
		{`"alice": expected a route`, func(s *Server) { s.Users["alice"] = User{Routes: []netip.Prefix{prefix("10.1.1.1/24")}} }},
		{`the server's own address 10.77.0.1 is in it`, func(s *Server) {
			s.Users = map[string]User{"alice": {Address: netip.MustParseAddr("10.77.0.1")}}
		}},
		{`leaves nothing of the pool 10.77.0.0/24 to others`, func(s *Server) {
			s.Gateway = netip.MustParseAddr("192.0.2.1")
			s.Users = map[string]User{"bob": {Routes: []netip.Prefix{netip.MustParsePrefix("10.77.0.0/16")}}}
		}},
		{`10.1.1.1/32 is fixed for "alice" as well`, func(s *Server) {
			s.Users["alice"], s.Users["bob"] = User{Address: addr("10.1.1.1")}, User{Address: addr("10.1.1.1")}
		}},
		{"that callers can ask, found fe80::1", func(s *Server) { s.DNS = []netip.Addr{addr("10.0.0.1"), addr("fe80::1")} }},
		{"at most 8", func(s *Server) { s.DNS = slices.Repeat([]netip.Addr{addr("fd00::1")}, 9) }},
		{"MRU", func(s *Server) { s.MRU = 100 }},
		{"it needs 1280", func(s *Server) { s.MRU, s.Pool6 = 1000, prefix("fd00::/48") }},
		{"address already in use", func(s *Server) {
			conn, err := net.ListenPacket("udp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { conn.Close() })
			s.Address = conn.LocalAddr().String()
		}},
	} {
		s := &Server{Address: "127.0.0.1:0", Users: map[string]User{}}
		c.change(s)
		err := s.Start()
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want an error that says %q", err, c.want)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := (&Server{Conn: conn}).Start(); err == nil {
		t.Error("a server without users has started")
	}
	if _, err := conn.WriteTo([]byte("x"), conn.LocalAddr()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("its socket is left open: %v", err)
	}
	var s Server
	if _, err := s.Listen("tcp", ":80"); err == nil || s.Done() != nil || s.Err() != nil || s.Addr().IsValid() || s.Gateways() != nil || s.Disconnect(nil) != 0 {
		t.Errorf("a server that was not started listens: %v", err)
	}
}

// "Sessions of users who are no longer there are closed": also those that are
// authenticated, but not routed yet.
func TestAUserWhoIsRemovedWhileCalling(t *testing.T) {
	l := serverOf(t, nil)
	l.joining.Lock()
	c := l.call(t, "alice")
	err := l.SetUsers(map[string]User{"bob": {Password: "b"}})
	l.joining.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	l.event(t, true)
	l.event(t, false)
	select {
	case <-c.session.Done():
	case <-time.After(patience):
		t.Error("alice's session goes on")
	}
}
