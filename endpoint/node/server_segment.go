package node

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"

	"github.com/l2tpnet/l2tpnet/endpoint"
	"github.com/l2tpnet/l2tpnet/endpoint/bridge"
	"github.com/l2tpnet/l2tpnet/netstack"
)

// defaultServerLANMTU is that of PPP's sessions: Ethernet frames of such packets go through
// a path of 1,500 bytes, over either version of IP, whatever their pseudowire has in front.
const defaultServerLANMTU = defaultMRU

// A segment is the Ethernet of a server's clients: a switch, with the server's own stack at
// one port and a client at each other.
type segment struct {
	server *Server
	bridge *bridge.Bridge
	lan    *lanStack
	claims claims

	mu      sync.Mutex
	clients map[*bridge.Port]*caller
}

// openSegment makes the switch and joins the server's stack to it.
func (s *Server) openSegment() (err error) {
	if s.LAN == nil {
		return nil
	}
	cfg := new(*s.LAN)
	cfg.ours = true // no client's word counts for where things go
	switch {
	case cfg.DHCP:
		return errors.New("the LAN: expected an address of our own, which clients can be told, found DHCP")
	case cfg.Egress != nil && cfg.Egress == s.Egress:
		return errors.New("the LAN: expected an Egress of its own, found the Server's")
	}
	if err := cfg.check(); err != nil {
		return fmt.Errorf("the LAN: %w", err)
	}
	for _, p := range cfg.addresses() {
		for _, pool := range []netip.Prefix{s.addresses.v4.whole, s.addresses.pool6} {
			if pool.IsValid() && pool.Overlaps(p) {
				return &OverlapError{pool, p}
			}
		}
	}
	cfg.MTU = cmp.Or(cfg.MTU, defaultServerLANMTU)
	cfg.NoIPv6 = cfg.NoIPv6 || s.NoIPv6 && !cfg.Advertise.IsValid()
	cfg.beside = s.addresses.owns
	g := &segment{server: s, clients: map[*bridge.Port]*caller{}}
	g.claims = claims{by: map[claim]*guard{}, lan: func(a netip.Addr) bool { return a.Is6() || s.LAN.owns(a) }}
	cfg.leased = g.leased
	bc := &bridge.Config{Logger: s.log, Rand: s.Rand}
	if !s.ClientToClient {
		bc.ProbeInterval = -1 // there is no way from client to client, and so none in a loop
	}
	if g.bridge, err = bridge.New(bc); err != nil {
		return err
	}
	s.segment = g
	if g.lan, err = openLAN(cfg, s.stack, g.bridge, cfg.MTU, s.log, s.Rand); err != nil {
		return err
	}
	ours := &guard{of: &g.claims}
	g.claims.first(ours, claim{mac: [6]byte(g.lan.nic.MAC())})
	for _, a := range g.lan.nic.Addresses() {
		g.claims.first(ours, claim{ip: a.WithZone("")})
	}
	return nil
}

// An OverlapError is a LAN whose clients could not be told from those of the pools.
type OverlapError struct{ Pool, LAN netip.Prefix }

func (e *OverlapError) Error() string {
	return fmt.Sprintf("the LAN: expected another network than that of the pool %v, found %v", e.Pool, e.LAN)
}

// close ends what openSegment has begun; nil: there is none.
func (g *segment) close() {
	if g == nil {
		return
	}
	if g.lan != nil {
		g.lan.close()
	}
	g.bridge.Close()
}

// defaultHosts is how many hosts a client may have in the LAN.
const defaultHosts = 16

// plug joins a client to the switch.
func (g *segment) plug(c *caller) error {
	hosts := cmp.Or(c.circuit.Hosts, defaultHosts)
	name := c.shows.Peer.String() + " session " + strconv.FormatUint(uint64(c.session.Status().ID), 10)
	p, err := g.bridge.Attach(name, c.session, &bridge.PortConfig{
		MTU: c.circuit.MTU, Isolated: c.circuit.Isolated || !g.server.ClientToClient,
		// Who has any number of them has all the addresses that there are to lease.
		Learned: hosts, LearnedOnly: true,
	})
	if err != nil {
		return err
	}
	c.plug = p
	if !g.server.ClientToClient { // or they are hosts of one switch, which may move from one port to another
		c.guard = &guard{of: &g.claims, next: p, ask: c.session.Tunnel().Probe, most: hosts * (1 + claimsPerHost)}
	}
	g.mu.Lock()
	g.clients[p] = c
	g.mu.Unlock()
	return nil
}

// unplug takes a client away. It returns what hosts it had: one that has said goodbye has
// given its address back.
func (g *segment) unplug(c *caller) []ServerHost {
	hosts := g.hosts(c.plug.Stations())[c.plug]
	if first := c.first.Load(); first != nil {
		for i, h := range hosts {
			if !h.Address.IsValid() && slices.Equal(h.MAC, first.MAC) {
				hosts[i] = *first
			}
		}
	}
	g.mu.Lock()
	delete(g.clients, c.plug)
	g.mu.Unlock()
	c.plug.Close()
	if c.guard != nil {
		g.claims.leave(c.guard)
	}
	return hosts
}

// leased tells of the first address that a client's hosts have got: it says who is there.
func (g *segment) leased(l netstack.DHCPv4Lease) {
	g.claims.lease(l.MAC, l.Address)
	g.mu.Lock()
	c := g.clients[g.bridge.PortOf(l.MAC)]
	g.mu.Unlock()
	host := &ServerHost{l.MAC, l.Address}
	if c == nil || !c.first.CompareAndSwap(nil, host) {
		return
	}
	g.server.background(func() {
		<-c.up
		g.server.tell(c, ServerEvent{Up: true, Host: host, Session: c.now()})
	})
}

// A ServerHost is one of a client's in the LAN.
type ServerHost struct {
	MAC     net.HardwareAddr
	Address netip.Addr // IPv4, where it has been leased to it. Zero: it is not known
}

// hosts are those of the switch's stations, by their ports.
func (g *segment) hosts(stations []bridge.Station) map[*bridge.Port][]ServerHost {
	leased := map[string]netip.Addr{}
	if g.lan.dhcp != nil {
		for _, l := range g.lan.dhcp.Leases() {
			leased[string(l.MAC)] = l.Address
		}
	}
	all := map[*bridge.Port][]ServerHost{}
	for _, s := range stations {
		h := ServerHost{s.Address, leased[string(s.Address)]}
		if !slices.ContainsFunc(all[s.Port], func(o ServerHost) bool { return slices.Equal(o.MAC, h.MAC) }) { // once for all VLANs
			all[s.Port] = append(all[s.Port], h)
		}
	}
	return all
}

// ethernet tells whether a session leads to the LAN.
func (v *ServerSession) ethernet() bool {
	return v.Type == endpoint.PseudowireEthernet || v.Type == endpoint.PseudowireVLAN
}
