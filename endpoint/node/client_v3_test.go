package node

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint"
)

// circuitLAN is a server of L2TPv3 with a circuit of each type, whose Ethernet tells of
// addresses of both versions of IP, and an echo service at port 7.
func circuitLAN(t *testing.T, change func(*Server)) *called {
	t.Helper()
	l := circuitServer(t, func(s *Server) {
		s.LAN.Advertise = netip.MustParsePrefix("fd00:78::/64")
		if change != nil {
			change(s)
		}
	})
	ln, err := l.Listen("tcp", ":7")
	if err != nil {
		t.Fatal(err)
	}
	echoing(t, ln)
	return l
}

// clientV3 is a client of such a server.
func clientV3(l *called, change func(*Client)) *Client {
	c := &Client{Server: l.Addr().String(), Secret: "tunsecret", V3: &endpoint.V3Config{RouterID: 7}}
	if change != nil {
		change(c)
	}
	return c
}

// Issue 7: "PPP over v3, Ethernet, VLAN and IP by negotiation", with addresses that are
// leased, advertised, given or negotiated; "in the library the same Dial and Accept as v2".
func TestAClientOfEachType(t *testing.T) {
	l := circuitLAN(t, nil)
	wire := func(kind endpoint.PseudowireType, id string) *endpoint.PseudowireConfig {
		return &endpoint.PseudowireConfig{Type: kind, RemoteEndID: id}
	}
	static := []netip.Prefix{netip.MustParsePrefix("10.78.0.9/24")}
	for _, row := range []struct {
		name   string
		change func(*Client)
		kind   endpoint.PseudowireType
		to     string // whom it reaches
		has    string // the beginning of one of its addresses
	}{
		{"Ethernet, leased", func(c *Client) { c.Pseudowire, c.DHCP = wire(0, "red"), true }, endpoint.PseudowireEthernet, "10.78.0.1:7", "10.78.0.1"},
		{"Ethernet, advertised", func(c *Client) { c.Pseudowire = wire(0, "red") }, endpoint.PseudowireEthernet, "[fd00:78::1]:7", "fd00:78::"},
		{"Ethernet, given", func(c *Client) { c.Pseudowire, c.Addresses, c.NoIPv6 = wire(0, "red"), static, true }, endpoint.PseudowireEthernet, "10.78.0.1:7", "10.78.0.9"},
		{"a VLAN, leased", func(c *Client) {
			c.Pseudowire, c.DHCP = wire(endpoint.PseudowireVLAN, "blue"), true
			c.Pseudowire.VLAN = 9
		}, endpoint.PseudowireVLAN, "10.78.0.1:7", "10.78.0.1"},
		{"IP", func(c *Client) {
			c.Pseudowire, c.Addresses = wire(endpoint.PseudowireIP, "branch"), []netip.Prefix{netip.MustParsePrefix("10.77.0.50/24")}
		}, endpoint.PseudowireIP, "10.77.0.1:7", "10.77.0.50"},
		{"PPP", func(c *Client) { c.User, c.Password = "alice", "a" }, endpoint.PseudowirePPP, "10.77.0.1:7", "10.77.0."},
		{"PPP by name", func(c *Client) {
			c.Pseudowire, c.User, c.Password = wire(endpoint.PseudowirePPP, "users"), "alice", "a"
			c.Addresses = []netip.Prefix{netip.MustParsePrefix("10.77.0.99/24")}
			c.DNS = []netip.Addr{netip.MustParseAddr("10.77.0.53")}
		}, endpoint.PseudowirePPP, "10.77.0.1:7", "10.77.0."},
		{"PPP, or L2TPv2", func(c *Client) { c.User, c.Password, c.Fallback = "alice", "a", true }, endpoint.PseudowirePPP, "10.77.0.1:7", "10.77.0."},
	} {
		t.Run(row.name, func(t *testing.T) {
			d := newDiary(t)
			c := connected(t, clientV3(l, func(c *Client) {
				row.change(c)
				c.Events = d.write
			}))
			defer c.Close()
			up := await[Connected](d)
			if up.Version != 3 || up.Type != row.kind || up.Peer != l.Addr() || up.MTU < 1280 {
				t.Errorf("connected as %+v", up)
			}
			awaitAddress(t, c, row.has)
			for _, a := range c.DNS {
				if !slices.Contains(up.DNS, a) {
					t.Errorf("expected the DNS server %v, found %v", a, up.DNS)
				}
			}
			wantEcho(t, c.DialContext, row.to)
			to := netip.MustParseAddrPort(row.to).Addr()
			if _, err := c.Ping(soon(t), to, nil); err != nil {
				t.Errorf("ping: %v", err)
			}
			st := c.Status()
			if tunnels := st.Endpoint.Tunnels; len(tunnels) != 1 || tunnels[0].Version != 3 || len(tunnels[0].Sessions) != 1 || tunnels[0].Sessions[0].Traffic.PacketsIn == 0 {
				t.Errorf("the status is %+v", st.Endpoint)
			}
			if c.Pseudowire != nil {
				if id := st.Endpoint.Tunnels[0].Sessions[0].RemoteEndID; id != c.Pseudowire.RemoteEndID {
					t.Errorf("the Remote End ID is %q", id)
				}
			}
		})
	}
}

// awaitAddress waits until a client has an address that begins so: one that is advertised
// may come later than the others.
func awaitAddress(t *testing.T, c *Client, prefix string) {
	t.Helper()
	waitUntil(t, func() bool {
		return slices.ContainsFunc(c.Status().Current.Addresses, func(a netip.Addr) bool { return strings.HasPrefix(a.String(), prefix) })
	})
}

// A client of Ethernet comes back as who it was: with its MAC address, and those of IPv6
// that follow from it; its listeners are there again.
func TestAClientOfL2TPv3ComesBack(t *testing.T) {
	first := circuitLAN(t, nil)
	at := first.Addr().String()
	d := newDiary(t)
	c := connected(t, clientV3(first, func(c *Client) {
		c.Pseudowire, c.DHCP, c.Events = &endpoint.PseudowireConfig{RemoteEndID: "red"}, true, d.write
	}))
	await[Connected](d)
	host := nextHost(t, first)
	awaitAddress(t, c, "fd00:78:")
	before := c.Status().Current
	ln, err := c.Listen("tcp", ":7")
	if err != nil {
		t.Fatal(err)
	}
	echoing(t, ln)
	for _, a := range before.Addresses {
		if a.Is4() {
			wantEcho(t, first.DialContext, netip.AddrPortFrom(a, 7).String())
		}
	}
	first.Close()
	down := await[Disconnected](d)
	if _, ok := errors.AsType[*endpoint.PeerError](down.Err); !ok || down.Next.IsZero() {
		t.Errorf("the tunnel is down: %+v", down)
	}
	if _, err := c.Dial("tcp", "10.78.0.1:7"); !isDown(err) {
		t.Errorf("dialling meanwhile: %v", err)
	}
	second := circuitLAN(t, func(s *Server) { s.Address = at })
	await[Connected](d)
	awaitAddress(t, c, "fd00:78:")
	after := c.Status().Current
	if again := nextHost(t, second); again != host {
		t.Errorf("the MAC address was %v and is %v", host, again)
	}
	wantEcho(t, c.DialContext, "10.78.0.1:7")
	for _, a := range after.Addresses {
		if a.Is4() {
			wantEcho(t, second.DialContext, netip.AddrPortFrom(a, 7).String())
		} else if !slices.ContainsFunc(before.Addresses, func(b netip.Addr) bool { return a.WithZone("") == b.WithZone("") }) {
			t.Errorf("the address %v is new, before there were %v", a, before.Addresses)
		}
	}
	if n := c.Status().Connects; n != 2 {
		t.Errorf("connected %d times", n)
	}
}

// nextHost is the MAC address of the next client whose address a server tells of.
func nextHost(t *testing.T, l *called) string {
	t.Helper()
	for {
		if e := l.event(t, true); e.Host != nil {
			return e.Host.MAC.String()
		}
	}
}

// Issue 7: "the fall-back of §4.7.3 in both roles": a server that does not speak L2TPv3 is
// gone on with in L2TPv2, and in L2TPv3 when it has learnt it.
func TestAClientFallsBack(t *testing.T) {
	old := serverOf(t, func(s *Server) { s.Secret = "tunsecret" })
	at := old.Addr().String()
	d := newDiary(t)
	c := connected(t, clientV3(old, func(c *Client) {
		c.Fallback, c.User, c.Password, c.Events = true, "alice", "a", d.write
		c.Pseudowire = &endpoint.PseudowireConfig{Type: endpoint.PseudowirePPP, Sequencing: endpoint.SequencingBoth}
	}))
	if up := await[Connected](d); up.Version != 2 || up.Type != endpoint.PseudowirePPP {
		t.Errorf("connected as %+v", up)
	}
	if _, err := c.Ping(soon(t), netip.MustParseAddr("10.77.0.1"), nil); err != nil {
		t.Error(err)
	}
	old.Close()
	await[Disconnected](d)
	serverOf(t, func(s *Server) { s.Secret, s.Address, s.V3 = "tunsecret", at, &endpoint.V3Config{} })
	if up := await[Connected](d); up.Version != 3 || up.Type != endpoint.PseudowirePPP {
		t.Errorf("connected as %+v", up)
	}
	if _, err := c.Ping(soon(t), netip.MustParseAddr("10.77.0.1"), nil); err != nil {
		t.Error(err)
	}
}

// Issue 7: "a time-out whose hint names the secret"; "without it the hint says that the
// peer may not speak v3". It does so where the next server has its turn, too.
func TestTheHintOfASilentServer(t *testing.T) {
	t.Parallel()
	silent := silence(t, "udp4", "127.0.0.1:0")
	for _, row := range []struct {
		name           string
		change         func(*Client)
		secret, speaks bool // what the hint has
	}{
		{"with a secret", func(c *Client) {}, true, true},
		{"without", func(c *Client) { c.Secret = "" }, true, true},
		{"that may fall back", func(c *Client) { c.Fallback = true }, true, false},
		{"that may fall back, without", func(c *Client) { c.Secret, c.Fallback = "", true }, true, false},
		{"in L2TPv2", func(c *Client) { c.V3 = nil }, false, false},
	} {
		c := &Client{Servers: []string{silent, silent}, Secret: "tunsecret", V3: &endpoint.V3Config{}, AttemptTimeout: 50 * time.Millisecond}
		row.change(c)
		_, err := Dial(patiently(t), c)
		late, ok := errors.AsType[*PatienceError](err)
		if !ok || strings.Contains(late.Hint(), "tunnel secret") != row.secret || strings.Contains(late.Hint(), "may not speak L2TPv3") != row.speaks {
			t.Errorf("%s: %v, hint %q", row.name, err, late.Hint())
		}
	}
}

// Nobody gives a lease: the attempt ends. The session ends while it is waited for: that is
// why, and not the lease.
func TestNobodyGivesALease(t *testing.T) {
	attempt := func(change func(*call), then func(*called)) error {
		l := circuitLAN(t, func(s *Server) { s.LAN.ServeDHCP = DHCPRange{} })
		run, err := newClientRun(clientV3(l, func(c *Client) {
			c.Pseudowire, c.DHCP = &endpoint.PseudowireConfig{RemoteEndID: "red"}, true
		}))
		if err != nil {
			t.Fatal(err)
		}
		defer run.cancel()
		defer run.stack.Close()
		defer run.closing.Wait()
		change(run.way.(*call))
		failed := make(chan error, 1)
		go func() {
			_, err := run.dial(patiently(t), run.keeper.servers[0], l.Addr(), 0)
			failed <- err
		}()
		l.event(t, true)
		then(l)
		return <-failed
	}
	err := attempt(func(w *call) { w.lease = time.Millisecond }, func(*called) {})
	lease, ok := errors.AsType[*LeaseError](err)
	if !ok || lease.Circuit != "active" || !strings.Contains(err.Error(), "no address has come by DHCP within 1ms") || !lease.Timeout() {
		t.Errorf("without a server of DHCP: %v", err)
	}
	inactive := &LeaseError{After: time.Minute, Circuit: "inactive, fault in receiving"}
	if !strings.HasSuffix(inactive.Error(), "within 1m0s: the peer's circuit is inactive, fault in receiving") {
		t.Errorf("with a circuit that is inactive: %v", inactive)
	}
	err = attempt(func(*call) {}, func(l *called) { l.Close() })
	if _, ok := errors.AsType[*endpoint.PeerError](err); !ok {
		t.Errorf("with a server that ends: %v", err)
	}
}

// A call that the server is asked to place, in L2TPv3 for a circuit (OCRQ).
func TestAClientHasACircuitBroughtUp(t *testing.T) {
	l := circuitLAN(t, func(s *Server) { s.PlacesCalls = true })
	c := connected(t, clientV3(l, func(c *Client) {
		c.Pseudowire, c.DHCP, c.Outgoing = &endpoint.PseudowireConfig{}, true, &endpoint.OutgoingCall{Number: "red"}
	}))
	if id := c.Status().Endpoint.Tunnels[0].Sessions[0].RemoteEndID; id != "red" {
		t.Errorf("the Remote End ID is %q", id)
	}
	wantEcho(t, c.DialContext, "10.78.0.1:7")
}

// A circuit that there is not is refused; the server is asked again, as of what may mend.
func TestACircuitThatIsRefused(t *testing.T) {
	l := circuitLAN(t, nil)
	_, err := Dial(patiently(t), clientV3(l, func(c *Client) {
		c.Pseudowire, c.DHCP = &endpoint.PseudowireConfig{RemoteEndID: "green"}, true
	}))
	if e, ok := errors.AsType[*endpoint.PeerError](err); !ok || e.Message != "CDN" {
		t.Errorf("%v", err)
	}
	only := circuitLAN(t, func(s *Server) { s.Circuits = []Circuit{{ID: "blue", Type: endpoint.PseudowireVLAN, VLAN: 7}} })
	_, err = Dial(patiently(t), clientV3(only, func(c *Client) {
		c.Pseudowire, c.DHCP = &endpoint.PseudowireConfig{RemoteEndID: "blue"}, true
	}))
	if e, ok := errors.AsType[*endpoint.RefusedError](err); !ok || !strings.HasSuffix(e.Error(), "the peer takes no ethernet, only vlan, ppp") {
		t.Errorf("%v", err)
	}
}

// What the fields of a Client mean for a session.
func TestWhatAClientAsksFor(t *testing.T) {
	for _, sequencing := range []endpoint.Sequencing{"", endpoint.SequencingNone, endpoint.SequencingSend, endpoint.SequencingRecv, endpoint.SequencingBoth} {
		for _, outgoing := range []*endpoint.OutgoingCall{nil, {Number: "red"}} {
			c := &Client{
				V3: &endpoint.V3Config{RouterID: 7}, Fallback: true, Secret: "tunsecret", User: "alice", Password: "a", Outgoing: outgoing,
				Pseudowire: &endpoint.PseudowireConfig{Type: endpoint.PseudowirePPP, Sequencing: sequencing},
				Addresses:  []netip.Prefix{netip.MustParsePrefix("10.77.0.9/24")},
			}
			w, err := c.newCall()
			if err != nil {
				t.Fatal(err)
			}
			// RFC 2661 §4.4.6: the Sequencing Required AVP is a LAC's to send.
			wants := outgoing == nil && (sequencing == endpoint.SequencingRecv || sequencing == endpoint.SequencingBoth)
			if p := w.pseudowire; p.PPP.Sequenced != wants || p.PPP.User != "alice" || p.PPP.Address.String() != "10.77.0.9" ||
				p.Outgoing != (outgoing != nil) || (p.RemoteEndID == "red") != (outgoing != nil) || p.Sequencing != sequencing {
				t.Errorf("sequencing %q, outgoing %v: asked for %+v with %+v", sequencing, outgoing, p, p.PPP)
			}
			if !w.tunnel.Fallback || w.tunnel.V3.RouterID != 7 || w.tunnel.Secret != "tunsecret" {
				t.Errorf("the tunnel is %+v", w.tunnel)
			}
			if c.Pseudowire.PPP != nil || c.Pseudowire.Outgoing {
				t.Error("the caller's own configuration has changed")
			}
		}
	}
}

func TestWhatAClientOfL2TPv3CannotBe(t *testing.T) {
	given := []netip.Prefix{netip.MustParsePrefix("10.78.0.9/24")}
	ppp := endpoint.PseudowirePPP
	for _, row := range []struct {
		name   string
		change func(*Client)
		want   string
	}{
		{"a pseudowire in L2TPv2", func(c *Client) { c.V3 = nil }, "expected V3 with a Pseudowire"},
		{"a fall-back of nothing", func(c *Client) { c.V3, c.Pseudowire, c.Fallback = nil, nil, true }, "expected V3 with Fallback"},
		{"a fall-back of Ethernet", func(c *Client) { c.Fallback = true }, "a PPP pseudowire with Fallback, since L2TPv2 carries nothing else, found ethernet"},
		{"PPP twice", func(c *Client) { c.Pseudowire.Type, c.Pseudowire.PPP, c.DHCP = ppp, &endpoint.PPPConfig{}, false }, "found it in its Pseudowire"},
		{"PPP that passes", func(c *Client) { c.Pseudowire.Type, c.Pseudowire.RawPPP, c.DHCP = ppp, true, false }, "found it in its Pseudowire"},
		{"a user of Ethernet", func(c *Client) { c.User = "alice" }, "expected a PPP pseudowire with a User"},
		{"PPP's address on Ethernet", func(c *Client) { c.Address = given[0].Addr() }, "expected a PPP pseudowire with"},
		{"two addresses for PPP", func(c *Client) { c.Pseudowire, c.DHCP, c.Addresses, c.Address = nil, false, given, given[0].Addr() }, "found it in Addresses as well"},
		{"PPP with DHCP", func(c *Client) { c.Pseudowire.Type = ppp }, "PPP, which gives addresses itself"},
		{"DHCP and an address", func(c *Client) { c.Addresses = given }, "expected an IPv4 address or DHCP, found both"},
		{"no address", func(c *Client) { c.DHCP, c.NoIPv6 = false, true }, "expected an address or DHCP"},
		{"no address for IP", func(c *Client) { c.Pseudowire.Type, c.DHCP = endpoint.PseudowireIP, false }, "expected an address for an IP pseudowire"},
		{"HDLC", func(c *Client) { c.Pseudowire.Type = endpoint.PseudowireHDLC }, "expected a pseudowire of Ethernet, a VLAN, PPP or IP"},
		{"a VLAN without a tag", func(c *Client) { c.Pseudowire.Type = endpoint.PseudowireVLAN }, "expected a VLAN of 1 to 4094"},
		{"a cookie of three", func(c *Client) { c.Pseudowire.CookieLen = 3 }, "expected a cookie of 4 or 8 octets"},
		{"an old secret alone", func(c *Client) { c.Secret, c.V3.OldSecret = "", "old" }, "expected a tunnel secret beside the old one"},
		{"a router elsewhere", func(c *Client) { c.DHCP, c.Addresses, c.Gateway = false, given, netip.MustParseAddr("10.9.0.1") }, "is in none"},
	} {
		c := &Client{
			Server: "127.0.0.1:1", Secret: "tunsecret", V3: &endpoint.V3Config{}, Pseudowire: &endpoint.PseudowireConfig{}, DHCP: true,
		}
		row.change(c)
		if row.name == "a router elsewhere" { // which the stack finds
			l := circuitLAN(t, nil)
			c.Server, c.Pseudowire.RemoteEndID = l.Addr().String(), "red"
			_, err := Dial(patiently(t), c)
			if _, ok := errors.AsType[*InsideError](err); !ok || !strings.Contains(err.Error(), row.want) {
				t.Errorf("%s: expected %q, found %v", row.name, row.want, err)
			}
			continue
		}
		if err := c.Start(); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: expected %q, found %v", row.name, row.want, err)
			c.Close()
		}
	}
}
