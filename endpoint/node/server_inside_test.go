package node

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

var pool6 = netip.MustParsePrefix("fd00:77::/48")

// address6 waits for the client's global IPv6 address.
func (c *lac) address6(t *testing.T) netip.Addr {
	t.Helper()
	if err := c.nic.WaitIPv6(soon(t)); err != nil {
		t.Fatalf("no router advertisement: %v", err)
	}
	for _, a := range c.nic.Addresses() {
		if a.Is6() && !a.IsLinkLocalUnicast() {
			return a
		}
	}
	t.Fatalf("no global IPv6 address among %v", c.nic.Addresses())
	return netip.Addr{}
}

// Issue 4: "IPv6 prefix per session (--pool6) by router advertisements answered per
// session below the stack".
func TestEachSessionHasAnIPv6PrefixOfItsOwn(t *testing.T) {
	resolver := netip.MustParseAddr("2001:db8::53")
	l := serverOf(t, func(s *Server) {
		s.Pool6, s.DelegateBits = pool6, 56
		s.DNS = []netip.Addr{netip.MustParseAddr("192.0.2.53"), resolver}
		s.Users["bob"] = User{Password: "b", Prefix6: netip.MustParsePrefix("fd00:77:0:b0b::/64"), Routes: []netip.Prefix{netip.MustParsePrefix("fd00:b0b::/48")}}
	})
	if got := l.Gateways(); len(got) != 2 || got[1].String() != "fd00:77::1" {
		t.Errorf("gateways %v", got)
	}
	web, err := l.Listen("tcp", ":7")
	if err != nil {
		t.Fatal(err)
	}
	echoing(t, web)
	seen := map[netip.Prefix]bool{}
	for user, prefix := range map[string]string{"alice": "fd00:77:0:1::/64", "bob": "fd00:77:0:b0b::/64"} {
		c := l.call(t, user)
		e := l.event(t, true)
		if e.Session.Prefix.String() != prefix || e.Session.Delegated.Bits() != 56 || !pool6.Overlaps(e.Session.Delegated) {
			t.Errorf("told of %+v, want the prefix %s", e.Session, prefix)
		}
		a := c.address6(t)
		if !e.Session.Prefix.Contains(a) {
			t.Errorf("%s has %v, want one of %s", user, a, prefix)
		}
		if got := c.nic.DNS(); !slices.Contains(got, resolver) || !slices.Contains(got, netip.MustParseAddr("192.0.2.53")) {
			t.Errorf("%s is told of the DNS servers %v", user, got)
		}
		// All that is the session's counts as one where its questions are counted.
		source := l.sourceOf(e.Session.Address)
		for _, p := range append([]netip.Prefix{e.Session.Prefix, e.Session.Delegated}, e.Session.Routes...) {
			if got := l.sourceOf(p.Addr().Next()); got != source || seen[got] {
				t.Errorf("%v of %s counts as %v, want %v and nobody else's", p, user, got, source)
			}
		}
		seen[source] = true
		wantEcho(t, c.stack.DialContext, "[fd00:77::1]:7")
		in, err := c.stack.Listen("tcp", ":7")
		if err != nil {
			t.Fatal(err)
		}
		echoing(t, in)
		wantEcho(t, l.DialContext, netip.AddrPortFrom(a, 7).String())
	}
}

func TestClientToClient(t *testing.T) {
	for _, allowed := range []bool{false, true} {
		l := serverOf(t, func(s *Server) { s.ClientToClient, s.Pool6 = allowed, pool6 })
		alice, bob := l.call(t, "alice"), l.call(t, "bob")
		in, err := bob.stack.Listen("tcp", ":7")
		if err != nil {
			t.Fatal(err)
		}
		echoing(t, in)
		alice.address6(t)
		for _, to := range []netip.Addr{bob.address(), bob.address6(t)} {
			address := netip.AddrPortFrom(to, 7).String()
			if allowed {
				wantEcho(t, alice.stack.DialContext, address)
				continue
			}
			before := l.Status().Inside.ClientToClient
			ctx, cancel := context.WithCancel(soon(t))
			dialled := make(chan error)
			go func() {
				conn, err := alice.stack.DialContext(ctx, "tcp", address)
				if err == nil {
					conn.Close()
				}
				dialled <- err
			}()
			for l.Status().Inside.ClientToClient == before && ctx.Err() == nil {
				time.Sleep(10 * time.Millisecond)
			}
			if ctx.Err() != nil {
				t.Errorf("nothing for %s was counted", address)
			}
			cancel()
			if err := <-dialled; err == nil {
				t.Errorf("%s is reached", address)
			}
		}
	}
}

// nameserver is a DNS server on the host's loopback that knows one name.
func nameserver(t *testing.T) netip.AddrPort {
	t.Helper()
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 4096)
		for {
			n, client, err := conn.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(b[:n]) != nil || len(m.Questions) != 1 {
				continue
			}
			m.Response, m.Additionals = true, nil
			q := m.Questions[0]
			h := dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 60}
			switch {
			case !strings.EqualFold(q.Name.String(), "www.example."):
				m.RCode = dnsmessage.RCodeNameError
			case q.Type == dnsmessage.TypeA:
				m.Answers = []dnsmessage.Resource{{Header: h, Body: &dnsmessage.AResource{A: [4]byte{192, 0, 2, 80}}}}
			case q.Type == dnsmessage.TypeAAAA:
				m.Answers = []dnsmessage.Resource{{Header: h, Body: &dnsmessage.AAAAResource{AAAA: netip.MustParseAddr("2001:db8::80").As16()}}}
			}
			if b, err := m.Pack(); err == nil {
				conn.WriteToUDPAddrPort(b, client)
			}
		}
	}()
	t.Cleanup(func() { conn.Close(); <-done })
	return conn.LocalAddr().(*net.UDPAddr).AddrPort()
}

// Issue 4: "a DNS forwarder at the gateway address".
func TestTheGatewayForwardsQuestions(t *testing.T) {
	l := serverOf(t, func(s *Server) { s.ForwardDNS, s.Pool6 = []netip.AddrPort{nameserver(t)}, pool6 })
	c := l.call(t, "alice")
	c.address6(t)
	if got := c.nic.DNS(); !slices.Equal(got, l.Gateways()) {
		t.Errorf("told of the DNS servers %v, want the gateways %v", got, l.Gateways())
	}
	if got, err := c.stack.LookupHost(soon(t), "www.example"); err != nil || !slices.Equal(got, []string{"2001:db8::80", "192.0.2.80"}) {
		t.Errorf("%v, %v", got, err)
	}
	var dns *net.DNSError
	if got, err := c.stack.LookupHost(soon(t), "nobody.example"); !errors.As(err, &dns) || !dns.IsNotFound {
		t.Errorf("%v, %v, want that there is no such name", got, err)
	}
	// And by IPv6.
	conn, err := c.stack.DialContext(soon(t), "udp", "[fd00:77::1]:53")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	question, err := (&dnsmessage.Message{Header: dnsmessage.Header{ID: 7}, Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName("www.example."), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}}}).Pack()
	if err != nil {
		t.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(patience))
	if _, err := conn.Write(question); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 512)
	n, err := conn.Read(b)
	var m dnsmessage.Message
	if err != nil || m.Unpack(b[:n]) != nil || m.ID != 7 || len(m.Answers) != 1 {
		t.Errorf("%+v, %v", m, err)
	}
}

func TestACallerWithoutIPv6(t *testing.T) {
	l := serverOf(t, func(s *Server) { s.Pool6, s.NoIPv6 = pool6, true })
	l.call(t, "alice")
	if e := l.event(t, true); e.Session.Prefix.IsValid() || !e.Session.Address.IsValid() {
		t.Errorf("told of %+v, want no IPv6", e.Session)
	}
}

// Issue 4: "TCP, UDP and ICMP echo of the clients through the host's ordinary sockets
// … own addresses refused unless listed". What the egress itself does is tested with it;
// here it has a server around it.
func TestAServersEgress(t *testing.T) {
	host := hostAddress(t)
	ln, err := net.Listen("tcp", netip.AddrPortFrom(host, 0).String())
	if err != nil {
		t.Skipf("%v", err)
	}
	echoing(t, ln)
	for _, allowed := range []bool{true, false} {
		l := serverOf(t, func(s *Server) {
			s.Egress = &Egress{}
			if allowed {
				a, err := ParseAllow(ln.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				s.Egress.AllowHost = []Allow{a}
			}
		})
		c := l.call(t, "alice")
		// The host's resolvers are behind the gateway.
		if got := c.session.DNS(); !slices.Equal(got, l.Gateways()) {
			t.Errorf("told of the DNS servers %v, want the gateway", got)
		}
		if allowed {
			wantEcho(t, c.stack.DialContext, ln.Addr().String())
			continue
		}
		if conn, err := c.stack.DialContext(soon(t), "tcp", ln.Addr().String()); err == nil {
			conn.Close()
			t.Error("the host's own address is reached")
		} else if errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("no refusal: %v", err)
		}
	}
}

// hostAddress is an IPv4 address of the host's that is not a loopback one.
func hostAddress(t *testing.T) netip.Addr {
	t.Helper()
	all, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() && p.Addr().IsGlobalUnicast() {
			return p.Addr()
		}
	}
	t.Skip("the host has no address but loopback ones")
	return netip.Addr{}
}

// A caller who rejects IPCP has IPv6 alone, and needs nothing else.
func TestACallerWithIPv6Alone(t *testing.T) {
	l := serverOf(t, func(s *Server) { s.Pool6 = pool6 })
	l.via = withoutIPv4(t, l.Addr())
	web, err := l.Listen("tcp", ":7")
	if err != nil {
		t.Fatal(err)
	}
	echoing(t, web)
	c := l.call(t, "alice")
	if e := l.event(t, true); e.Session.Address.IsValid() || !e.Session.Prefix.Contains(c.address6(t)) {
		t.Errorf("told of %+v, want IPv6 alone", e.Session)
	}
	wantEcho(t, c.stack.DialContext, "[fd00:77::1]:7")
}

// withoutIPv4 is a way to a server on which IPCP is a protocol that neither end knows.
func withoutIPv4(t *testing.T, server netip.AddrPort) string {
	t.Helper()
	inside, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(server))
	if err != nil {
		t.Fatal(err)
	}
	outside, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	const ipcp, nothing = "\x80\x21", "\x80\xff"
	change := func(m []byte) []byte {
		m = bytes.Replace(m, []byte("\xff\x03"+ipcp), []byte("\xff\x03"+nothing), 1)
		// LCP's Protocol-Reject: code 8, id, length, the protocol.
		if i := bytes.Index(m, []byte("\xff\x03\xc0\x21\x08")); i >= 0 && len(m) >= i+10 && string(m[i+8:i+10]) == nothing {
			copy(m[i+8:], ipcp)
		}
		return m
	}
	var client atomic.Pointer[netip.AddrPort]
	var running sync.WaitGroup
	running.Go(func() {
		for b := make([]byte, 1<<16); ; {
			n, from, err := outside.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			client.Store(&from)
			inside.Write(change(b[:n]))
		}
	})
	running.Go(func() {
		for b := make([]byte, 1<<16); ; {
			n, err := inside.Read(b)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if to := client.Load(); err == nil && to != nil {
				outside.WriteToUDPAddrPort(change(b[:n]), *to)
			}
		}
	})
	t.Cleanup(func() { inside.Close(); outside.Close(); running.Wait() })
	return outside.LocalAddr().String()
}
