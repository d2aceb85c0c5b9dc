package node

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// A names is a DNS server inside, of a server's.
func names(t *testing.T, s *Server, name string, addr netip.Addr) {
	t.Helper()
	pc, err := s.ListenPacket("udp", netip.AddrPortFrom(s.Gateways()[0], 53).String())
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		b := make([]byte, 512)
		for {
			n, from, err := pc.ReadFrom(b)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(b[:n]) != nil || len(m.Questions) != 1 {
				continue
			}
			m.Response = true
			if q := m.Questions[0]; q.Name.String() == name && q.Type == dnsmessage.TypeA {
				m.Answers = []dnsmessage.Resource{{
					Header: dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET, TTL: 1},
					Body:   &dnsmessage.AResource{A: addr.As4()},
				}}
			}
			if b, err := m.Pack(); err == nil {
				pc.WriteTo(b, from)
			}
		}
	}()
}

// IPv6 addresses stay the same, and names are resolved again: by the servers that the
// new connection names.
func TestClientHasTheSameIPv6AddressAgain(t *testing.T) {
	t.Parallel()
	gateway := netip.MustParseAddr("10.77.0.1")
	s := &Server{
		Address: "127.0.0.1:0", DNS: []netip.Addr{gateway}, Pool6: netip.MustParsePrefix("fd00:77::/48"),
		Users: map[string]User{"alice": {Password: "s3cret", Prefix6: netip.MustParsePrefix("fd00:77:0:5::/64")}},
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	names(t, s, "www.inside.", netip.MustParseAddr("10.77.0.99"))
	d := newDiary(t)
	c := connected(t, &Client{Server: s.Addr().String(), User: "alice", Password: "s3cret", Events: d.write})
	lookup := func(ctx context.Context) {
		t.Helper()
		if addrs, err := c.LookupHost(ctx, "www.inside"); err != nil || len(addrs) != 1 || addrs[0] != "10.77.0.99" {
			t.Errorf("%v, %v", addrs, err)
		}
		var unknown *net.DNSError
		if _, err := c.LookupHost(ctx, "nobody.inside"); !errors.As(err, &unknown) || !unknown.IsNotFound {
			t.Errorf("a name that nobody knows: %v", err)
		}
	}
	global := func() netip.Addr {
		t.Helper()
		for { // in Connected already, or in a Changed soon
			var up Connected
			select {
			case e := <-d.events:
				switch e := e.(type) {
				case Connected:
					up = e
				case Changed:
					up = e.Connected
				}
			case <-patiently(t).Done():
				t.Fatal("no IPv6 address")
			}
			for _, a := range up.Addresses {
				if a.Is6() && !a.IsLinkLocalUnicast() {
					return a
				}
			}
		}
	}
	first := global()
	lookup(patiently(t))
	ln, err := c.Listen("tcp", netip.AddrPortFrom(first, 80).String())
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	s.Disconnect(func(ServerSession) bool { return true })
	await[Disconnected](d)
	if again := global(); again != first {
		t.Errorf("the address was %v and is %v", first, again)
	}
	lookup(WithWait(patiently(t)))
	conn, err := s.DialContext(patiently(t), "tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if conn, err := ln.Accept(); err != nil {
		t.Error(err)
	} else {
		conn.Close()
	}
}
