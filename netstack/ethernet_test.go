package netstack

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/l2tpnet/l2tpnet/endpoint/link"
)

// An etherPair is two stacks at the ends of one Ethernet cable.
type etherPair struct {
	a, b       *Stack
	nicA, nicB *EthernetNIC
	ab, ba     *wire
}

func newEtherPair(t *testing.T, cfgA, cfgB *EthernetConfig) *etherPair {
	p := &etherPair{ab: newWire(t, &wire{}), ba: newWire(t, &wire{})}
	p.a, p.b = newStack(t, nil), newStack(t, nil)
	p.nicB = addEthernet(t, p.b, p.ba, cfgB)
	p.ab.deliverTo(p.nicB)
	p.nicA = addEthernet(t, p.a, p.ab, cfgA)
	p.ba.deliverTo(p.nicA)
	return p
}

func addEthernet(t testing.TB, s *Stack, out link.Sink, cfg *EthernetConfig) *EthernetNIC {
	n, err := s.AddEthernet(out, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func prefixes(list ...string) (all []netip.Prefix) {
	for _, p := range list {
		all = append(all, netip.MustParsePrefix(p))
	}
	return all
}

// transfer sends size bytes by TCP from one stack to the other's address, and back.
func transfer(t *testing.T, from, to *Stack, addr netip.Addr, size int) {
	t.Helper()
	ln, err := to.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client, err := from.DialContext(patience(t), "tcp", at(addr, ln.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	server, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		io.Copy(server, server)
		server.(interface{ CloseWrite() error }).CloseWrite()
	})
	wg.Go(func() {
		io.Copy(client, &pattern{size: size})
		client.(interface{ CloseWrite() error }).CloseWrite()
	})
	if err := sameStream(client, size); err != nil {
		t.Error(err)
	}
}

func TestTwoStacksOnOneEthernet(t *testing.T) {
	p := newEtherPair(t, &EthernetConfig{Addresses: prefixes("10.0.0.1/24")}, &EthernetConfig{Addresses: prefixes("10.0.0.2/24")})
	if _, err := p.a.Ping(patience(t), addrB, nil); err != nil {
		t.Error(err)
	}
	if _, err := p.b.Ping(patience(t), addrA, nil); err != nil {
		t.Error(err)
	}
	transfer(t, p.a, p.b, addrB, 1<<20)
}

// Both ends have link-local addresses without being told.
func TestIPv6OnOneEthernet(t *testing.T) {
	p := newEtherPair(t, &EthernetConfig{}, &EthernetConfig{})
	there := p.nicB.Addresses()
	if len(there) != 1 || !there[0].IsLinkLocalUnicast() {
		t.Fatalf("the addresses are %v, want one that is link-local", there)
	}
	addr := there[0].WithZone("")
	if _, err := p.a.Ping(patience(t), addr, nil); err != nil {
		t.Error(err)
	}
	transfer(t, p.a, p.b, addr, 1<<20)
}

func TestNobodyHasTheAddress(t *testing.T) {
	s := newStack(t, nil)
	addEthernet(t, s, discard, &EthernetConfig{Addresses: prefixes("10.0.0.1/24")})
	for _, address := range []string{"10.0.0.9:80", "192.0.2.1:80"} {
		ctx, cancel := context.WithTimeout(context.Background(), 60e9)
		_, err := s.DialContext(ctx, "tcp", address)
		cancel()
		if !errors.Is(err, syscall.EHOSTUNREACH) && !errors.Is(err, syscall.ENETUNREACH) {
			t.Errorf("dialling %s: %v, want that it is unreachable", address, err)
		}
	}
}

func TestMACAddressesOfAnInterface(t *testing.T) {
	s := newStack(t, nil)
	cfg := &EthernetConfig{Addresses: prefixes("10.0.0.1/24")}
	n := addEthernet(t, s, discard, cfg)
	if m := n.MAC(); len(m) != 6 || m[0]&1 != 0 || m[0]&2 == 0 {
		t.Errorf("the address is %v, want a unicast one, locally administered", m)
	}
	for text, want := range map[string]string{
		"01:00:00:00:00:01":             "group",
		"ff:ff:ff:ff:ff:ff":             "group",
		"00:00:00:00:00:00":             "nobody",
		"02:00:5e:10:00:00:00:01":       "8 octets",
		"02:00:00:00:fe:80:00:00:00:00": "",
	} {
		m, err := net.ParseMAC(text)
		if err != nil {
			continue
		}
		_, err = s.AddEthernet(discard, &EthernetConfig{Addresses: prefixes("10.1.0.1/24"), MAC: m})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("with the address %v: %v, want %q in it", text, err, want)
		}
	}
}
