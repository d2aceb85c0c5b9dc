package netstack

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"
)

// A connection that is lost says why, and what is bound to no address outlives it.
func TestNICFail(t *testing.T) {
	p := newPair(t, nil, nil)
	client, _ := p.connect(t)
	bound, err := p.a.Listen("tcp", "10.0.0.1:80")
	if err != nil {
		t.Fatal(err)
	}
	defer bound.Close()
	pc, err := p.a.ListenPacket("udp", ":53")
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	var wg sync.WaitGroup
	wg.Go(func() {
		_, err := client.Read(make([]byte, 1))
		want(t, "a blocked Read", err, errDown)
	})
	wg.Go(func() {
		_, err := bound.Accept()
		want(t, "a blocked Accept at the NIC's address", err, errDown)
	})
	wg.Go(func() {
		if _, _, err := pc.ReadFrom(make([]byte, 1)); err != nil {
			t.Errorf("a ReadFrom that waits for the next NIC: %v", err)
		}
	})
	p.nicA.Fail(errDown)
	_, err = p.a.DialContext(patience(t), "tcp", "10.0.0.2:80")
	want(t, "a dial", err, errDown)
	p.nicA.Close()
	_, err = client.Write(make([]byte, 1))
	want(t, "a Write after Close", err, errDown)
	if _, err := pc.WriteTo([]byte("x"), net.UDPAddrFromAddrPort(netip.MustParseAddrPort("10.0.0.2:9"))); err == nil {
		t.Error("WriteTo goes nowhere, and does not say so")
	}
	p.ba.deliverTo(addIP(t, p.a, p.ab, addrA))
	c, err := p.b.Dial("udp", "10.0.0.1:53")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	n := addIP(t, newStack(t, nil), discard, addrA)
	n.Fail(nil)
	if why := context.Cause(n.life); !errors.Is(why, net.ErrClosed) {
		t.Errorf("it has failed because of %v, want net.ErrClosed", why)
	}
	n.Close()
}

// RFC 7217 §5: Net_Iface is "an implementation-dependent stable identifier associated
// with the network interface": a name, for interfaces that follow each other.
func TestNamedNICsHaveTheSameAddress(t *testing.T) {
	s := newStack(t, nil)
	address := func(name string) netip.Addr {
		n, err := s.AddIP(discard, &IPConfig{InterfaceID: idA, Name: name})
		if err != nil {
			t.Fatal(err)
		}
		defer n.Close()
		put(n, newAdvert().auto(prefixA).packet())
		return n.Addresses()[0]
	}
	first := address("tunnel")
	if !prefixA.Contains(first) {
		t.Fatalf("the address is %v", first)
	}
	if again := address("tunnel"); again != first {
		t.Errorf("the same name makes %v, and then %v", first, again)
	}
	if other := address("another"); other == first {
		t.Errorf("another name makes %v, too", other)
	}
	if a, b := address(""), address(""); a == b {
		t.Errorf("no name makes %v twice", a)
	}
}

// A lost question costs a quarter of the time that a slow server is given: what is
// left of the context is not enough for all of it.
func TestLookupAsksAgainSoon(t *testing.T) {
	t.Parallel()
	p := newPair(t, nil, &Config{DNSTimeout: 8 * time.Second}, addrB)
	serveDNS(t, p.b, addrB, func(q query) [][]byte {
		if q.tries == 1 {
			return nil
		}
		return one(q.reply(nil, a(q.name.String(), "192.0.2.1")))
	})
	ctx, cancel := context.WithTimeout(patience(t), 7*time.Second)
	defer cancel()
	if got, err := p.a.LookupHost(ctx, host); err != nil || len(got) != 1 {
		t.Errorf("%v, %v", got, err)
	}
}
