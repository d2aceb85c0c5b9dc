package node

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint"
)

// An outlet is a UDP socket on loopback that a Pseudowire gets, and another one at the
// same address when it is opened again.
type outlet struct {
	mu   sync.Mutex
	conn net.PacketConn // that waits to be taken
	addr string
}

func newOutlet(t *testing.T, address string) *outlet {
	t.Helper()
	conn, err := net.ListenPacket("udp", address)
	if err != nil {
		t.Skipf("no socket at %s: %v", address, err) // no IPv6
	}
	o := &outlet{conn: conn, addr: conn.LocalAddr().String()}
	t.Cleanup(func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.conn != nil {
			o.conn.Close()
		}
	})
	return o
}

func (o *outlet) open(string) (net.PacketConn, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if conn := o.conn; conn != nil {
		o.conn = nil
		return conn, nil
	}
	return net.ListenPacket("udp", o.addr)
}

var ends = [2]netip.Prefix{netip.MustParsePrefix("10.9.0.1/24"), netip.MustParsePrefix("10.9.0.2/24")}

// twoEnds are both ends of a pseudowire, not opened yet. The first one is configured by
// cfg, the second one as the other way round.
func twoEnds(t *testing.T, cfg endpoint.StaticConfig, address string) (a, b *Pseudowire) {
	t.Helper()
	x, y := newOutlet(t, address), newOutlet(t, address)
	cfg.SessionID, cfg.PeerSessionID = 1, 2
	other := cfg
	other.SessionID, other.PeerSessionID, other.Cookie, other.PeerCookie = 2, 1, cfg.PeerCookie, cfg.Cookie
	a = &Pseudowire{Socket: x.open, Remote: y.addr, Static: cfg, Addresses: ends[:1], NoIPv6: true}
	b = &Pseudowire{Socket: y.open, Remote: x.addr, Static: other, Addresses: ends[1:], NoIPv6: true}
	return a, b
}

// opened opens a Pseudowire that is closed with the test.
func opened(t *testing.T, p *Pseudowire) *Pseudowire {
	t.Helper()
	if _, err := OpenPseudowire(patiently(t), p); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// echoAt7 listens at port 7 and sends back what comes.
func echoAt7(t *testing.T, p *Pseudowire) {
	t.Helper()
	ln, err := p.Listen("tcp", ":7")
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
}

// backAndForth sends through a connection to port 7 and expects it back.
func backAndForth(t *testing.T, from *Pseudowire, to netip.Addr, text []byte) {
	t.Helper()
	ctx := patiently(t)
	c, err := from.DialContext(ctx, "tcp", netip.AddrPortFrom(to, 7).String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(clientPatience))
	go c.Write(text)
	back := make([]byte, len(text))
	if _, err := io.ReadFull(c, back); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(back, text) {
		t.Error("expected what was sent, found something else")
	}
}

func TestPseudowireToPseudowire(t *testing.T) {
	four, eight := []byte{0xde, 0xad, 0xbe, 0xef}, []byte{1, 2, 3, 4, 5, 6, 7, 8}
	for _, c := range []struct {
		name    string
		cfg     endpoint.StaticConfig
		address string
		mtu     int // 1500 less IP, UDP, L2TPv3 and what is in front of an IP packet; 0: any
	}{
		{"ethernet", endpoint.StaticConfig{}, "127.0.0.1:0", 0},
		{"ethernet with cookies", endpoint.StaticConfig{Cookie: four, PeerCookie: eight}, "127.0.0.1:0", 0},
		{"ethernet in order", endpoint.StaticConfig{Sequencing: endpoint.SequencingBoth, ReorderTimeout: 50 * time.Millisecond}, "127.0.0.1:0", 0},
		{"ethernet over IPv6", endpoint.StaticConfig{Sublayer: endpoint.SublayerDefault}, "[::1]:0", 0},
		{"ethernet with an MTU", endpoint.StaticConfig{MTU: 1000}, "127.0.0.1:0", 1000},
		{"a VLAN", endpoint.StaticConfig{Type: endpoint.PseudowireVLAN, VLAN: 7}, "127.0.0.1:0", 0},
		{"IP", endpoint.StaticConfig{Type: endpoint.PseudowireIP, Cookie: eight, PeerCookie: eight}, "127.0.0.1:0", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			a, b := twoEnds(t, c.cfg, c.address)
			opened(t, a)
			opened(t, b)
			if _, err := a.Ping(patiently(t), ends[1].Addr(), nil); err != nil {
				t.Fatal(err)
			}
			echoAt7(t, a)
			echoAt7(t, b)
			long := bytes.Repeat([]byte("0123456789abcdef"), 1<<13) // many packets as long as can be
			backAndForth(t, a, ends[1].Addr(), long)
			backAndForth(t, b, ends[0].Addr(), long)
			st := a.Status()
			if c.mtu != 0 && st.Current.MTU != c.mtu {
				t.Errorf("expected an MTU of %d, found %d", c.mtu, st.Current.MTU)
			}
			if len(st.Endpoint.Tunnels) != 1 || st.Endpoint.Tunnels[0].Traffic.PacketsIn == 0 {
				t.Errorf("expected a tunnel through which frames have come, found %+v", st.Endpoint.Tunnels)
			}
		})
	}
}

func TestIPv6GivenOnAnIPPseudowire(t *testing.T) {
	a, b := twoEnds(t, endpoint.StaticConfig{Type: endpoint.PseudowireIP}, "127.0.0.1:0")
	six := [2]netip.Prefix{netip.MustParsePrefix("fd00:9::1/64"), netip.MustParsePrefix("fd00:9::2/64")}
	a.Addresses, b.Addresses = append(ends[:1:1], six[0]), six[1:]
	a.NoIPv6, b.NoIPv6 = false, false
	opened(t, a)
	opened(t, b)
	echoAt7(t, a)
	backAndForth(t, b, six[0].Addr(), bytes.Repeat([]byte("six"), 10000))
	if _, err := a.Ping(patiently(t), six[1].Addr(), nil); err != nil {
		t.Error(err)
	}
}

// A pseudowire goes on when the other end comes back, and nothing that the system says
// meanwhile (ICMP: nobody listens there) ends it.
//
// A peer that begins to count from 0 again is one whose frames are all late (RFC 3931
// appendix C), until there have been too many of these: so it does not reach us at its
// first attempt.
func TestAPseudowireSurvivesItsPeer(t *testing.T) {
	for _, sequencing := range []endpoint.Sequencing{endpoint.SequencingNone, endpoint.SequencingBoth} {
		t.Run(string(sequencing), func(t *testing.T) {
			t.Parallel()
			survives(t, sequencing)
		})
	}
}

func survives(t *testing.T, sequencing endpoint.Sequencing) {
	a, b := twoEnds(t, endpoint.StaticConfig{Sequencing: sequencing}, "127.0.0.1:0")
	opened(t, a)
	opened(t, b)
	echoAt7(t, a)
	backAndForth(t, b, ends[0].Addr(), []byte("before"))
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	for range 3 { // into the void
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		a.Ping(ctx, ends[1].Addr(), nil)
		cancel()
	}
	if err := a.Err(); err != nil {
		t.Fatalf("expected the pseudowire to stand, found %v", err)
	}
	opened(t, b) // with another MAC address
	for patience := patiently(t); sequencing != endpoint.SequencingNone; {
		ctx, cancel := context.WithTimeout(patience, time.Second)
		_, err := b.Ping(ctx, ends[0].Addr(), nil)
		cancel()
		if err == nil {
			break
		}
		if patience.Err() != nil {
			t.Fatal(err)
		}
	}
	echoAt7(t, b)
	backAndForth(t, b, ends[0].Addr(), []byte("after"))
	backAndForth(t, a, ends[1].Addr(), []byte("after, from the other side"))
	if n := a.Status().Connects; n != 1 {
		t.Errorf("expected one connection, found %d", n)
	}
}

func TestAWrongCookieIsCountedAndNothingElse(t *testing.T) {
	a, b := twoEnds(t, endpoint.StaticConfig{Cookie: []byte("good"), PeerCookie: []byte("good")}, "127.0.0.1:0")
	b.Static.Cookie = []byte("evil")
	opened(t, a)
	opened(t, b)
	for patience := patiently(t); a.Status().Endpoint.Tunnels[0].Traffic.CookieDiscards == 0; {
		ctx, cancel := context.WithTimeout(patience, 50*time.Millisecond)
		_, err := b.Ping(ctx, ends[0].Addr(), nil)
		cancel()
		if err == nil || patience.Err() != nil {
			t.Fatalf("expected no reply, and frames that are counted, found %v", err)
		}
	}
	if in := a.Status().Endpoint.Tunnels[0].Traffic.PacketsIn; in != 0 {
		t.Errorf("expected no frame to come out, found %d", in)
	}
}

func TestPPPInAPseudowire(t *testing.T) {
	x, y := newOutlet(t, "127.0.0.1:0"), newOutlet(t, "127.0.0.1:0")
	client := &Pseudowire{
		Socket: x.open, Remote: y.addr,
		Static: endpoint.StaticConfig{Type: endpoint.PseudowirePPP, SessionID: 1, PeerSessionID: 2, PPP: &endpoint.PPPConfig{User: "alice", Password: "s3cret"}},
	}
	server := &Pseudowire{
		Socket: y.open, Remote: x.addr, Addresses: ends[:1], Users: map[string]User{"alice": {Password: "s3cret"}},
		Static: endpoint.StaticConfig{Type: endpoint.PseudowirePPP, SessionID: 2, PeerSessionID: 1},
	}
	d := newDiary(t)
	client.Events = d.write
	serving := make(chan error, 1)
	go func() {
		_, err := OpenPseudowire(t.Context(), server)
		serving <- err
	}()
	t.Cleanup(func() { server.Close() })
	// A caller who has the wrong password is told so, and the server waits for the next one.
	client.Static.PPP.Password = "wrong"
	if _, err := OpenPseudowire(patiently(t), client); err == nil {
		t.Fatal("expected an error")
	} else if _, ok := errors.AsType[*endpoint.AuthError](err); !ok {
		t.Errorf("expected an AuthError, found %v", err)
	}
	client.Static.PPP.Password = "s3cret"
	opened(t, client)
	if err := <-serving; err != nil {
		t.Fatal(err)
	}
	up := await[Connected](d)
	if len(up.Addresses) == 0 || up.Addresses[0] != ends[1].Addr() || up.Gateway != ends[0].Addr() {
		t.Errorf("expected the address %v and the gateway %v, found %+v", ends[1].Addr(), ends[0].Addr(), up)
	}
	if _, err := server.Ping(WithWait(patiently(t)), ends[1].Addr(), nil); err != nil {
		t.Error(err)
	}
	echoAt7(t, server)
	backAndForth(t, client, ends[0].Addr(), bytes.Repeat([]byte("ppp"), 10000))

	// The peer says goodbye, and comes again.
	server.Close()
	await[Disconnected](d)
	if _, err := client.Dial("tcp", "10.9.0.1:7"); !isDown(err) {
		t.Errorf("expected a DownError, found %v", err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	await[Connected](d)
	echoAt7(t, server)
	backAndForth(t, client, ends[0].Addr(), []byte("again"))
	// So does the client.
	client.Close()
	if _, err := OpenPseudowire(patiently(t), client); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Ping(patiently(t), ends[0].Addr(), nil); err != nil {
		t.Error(err)
	}
}

func TestWhatAPseudowireCannotBe(t *testing.T) {
	valid := func() *Pseudowire {
		return &Pseudowire{Local: "127.0.0.1:0", Remote: "127.0.0.1:1", Addresses: ends[:1],
			Static: endpoint.StaticConfig{SessionID: 1, PeerSessionID: 2}}
	}
	for _, c := range []struct {
		name   string
		change func(*Pseudowire)
		want   string
	}{
		{"no ids", func(p *Pseudowire) { p.Static.SessionID = 0 }, "expected session ids"},
		{"address and DHCP", func(p *Pseudowire) { p.DHCP = true }, "an IPv4 address or DHCP, found both"},
		{"gateway and DHCP", func(p *Pseudowire) { p.DHCP, p.Addresses, p.Gateway = true, nil, ends[0].Addr() }, "gateway or DHCP"},
		{"nothing", func(p *Pseudowire) { p.Addresses, p.NoIPv6 = nil, true }, "expected an address or DHCP"},
		{"IP without an address", func(p *Pseudowire) { p.Static.Type, p.Addresses = endpoint.PseudowireIP, nil }, "expected an address"},
		{"IP with DHCP", func(p *Pseudowire) { p.Static.Type, p.DHCP = endpoint.PseudowireIP, true }, "for Ethernet only"},
		{"PPP with DHCP", func(p *Pseudowire) { p.Static.Type, p.DHCP = endpoint.PseudowirePPP, true }, "gives addresses itself"},
		{"users without PPP", func(p *Pseudowire) { p.Users = map[string]User{"alice": {Password: "s3cret"}} }, "expected a PPP pseudowire with Users"},
		{"users without an address", func(p *Pseudowire) {
			p.Static.Type, p.Addresses, p.Users = endpoint.PseudowirePPP, nil, map[string]User{"alice": {Password: "s3cret"}}
		}, "expected an address with the length"},
		{"users without a network", func(p *Pseudowire) {
			p.Static.Type, p.Addresses, p.Users = endpoint.PseudowirePPP, []netip.Prefix{netip.MustParsePrefix("10.9.0.1/32")}, map[string]User{"alice": {Password: "s3cret"}}
		}, "such as 10.9.0.1/24"},
		{"PPP that passes", func(p *Pseudowire) { p.Static.Type, p.Static.RawPPP = endpoint.PseudowirePPP, true }, "expected PPP that ends here"},
		{"HDLC", func(p *Pseudowire) { p.Static.Type = endpoint.PseudowireHDLC }, "expected a pseudowire of Ethernet"},
		{"a name of ours", func(p *Pseudowire) { p.Local = "localhost:1701" }, "expected an address of this machine"},
		{"no remote", func(p *Pseudowire) { p.Remote = "" }, "expected a server"},
		{"an address that is not ours", func(p *Pseudowire) { p.Local = "192.0.2.1:0" }, "cannot assign"},
	} {
		p := valid()
		c.change(p)
		_, err := OpenPseudowire(patiently(t), p)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: expected %q, found %v", c.name, c.want, err)
		}
		if err == nil {
			p.Close()
		}
	}
	idle := valid()
	if _, err := idle.Dial("tcp", "10.9.0.2:7"); err == nil || idle.Done() != nil || idle.Err() != nil || idle.Close() != nil {
		t.Errorf("not started: %v, %v", err, idle.Err())
	}
	p := opened(t, valid())
	if err := p.Start(); err == nil {
		t.Error("expected an error of who starts what has started")
	}
	p.Close()
	if !errors.Is(p.Err(), net.ErrClosed) {
		t.Errorf("expected net.ErrClosed, found %v", p.Err())
	}
	if err := p.Start(); err != nil {
		t.Errorf("after the end: %v", err)
	}
	p.Close()
}
