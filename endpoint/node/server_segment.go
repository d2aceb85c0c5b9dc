package node

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"

	"github.com/l2tpnet/l2tpnet/endpoint"
	"github.com/l2tpnet/l2tpnet/endpoint/bridge"
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
}

// openSegment makes the switch and joins the server's stack to it.
func (s *Server) openSegment() (err error) {
	if s.LAN == nil {
		return nil
	}
	cfg := new(*s.LAN)
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
				return fmt.Errorf("the LAN: expected another network than that of the pool %v, found %v", pool, p)
			}
		}
	}
	cfg.MTU = cmp.Or(cfg.MTU, defaultServerLANMTU)
	cfg.NoIPv6 = cfg.NoIPv6 || s.NoIPv6 && !cfg.Advertise.IsValid()
	cfg.beside = s.addresses.owns
	g := &segment{server: s}
	if g.bridge, err = bridge.New(&bridge.Config{Logger: s.log, Rand: s.Rand}); err != nil {
		return err
	}
	s.segment = g
	g.lan, err = openLAN(cfg, s.stack, g.bridge, cfg.MTU, s.log, s.Rand)
	return err
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

// plug joins a client to the switch.
func (g *segment) plug(c *caller) (*bridge.Port, error) {
	name := c.shows.Peer.String() + " session " + strconv.FormatUint(uint64(c.session.Status().ID), 10)
	return g.bridge.Attach(name, c.session, &bridge.PortConfig{
		MTU: c.circuit.MTU, Isolated: c.circuit.Isolated || !g.server.ClientToClient,
	})
}

// A ServerHost is one of a client's in the LAN.
type ServerHost struct {
	MAC     net.HardwareAddr
	Address netip.Addr // IPv4, where it has been leased to it. Zero: it is not known
}

// hosts are those behind a port.
func (g *segment) hosts(of *bridge.Port) []ServerHost {
	return g.allHosts()[of]
}

// allHosts are those that have been heard, by their ports.
func (g *segment) allHosts() map[*bridge.Port][]ServerHost {
	if g == nil {
		return nil
	}
	leased := map[string]netip.Addr{}
	if g.lan.dhcp != nil {
		for _, l := range g.lan.dhcp.Leases() {
			leased[string(l.MAC)] = l.Address
		}
	}
	all := map[*bridge.Port][]ServerHost{}
	for _, s := range g.bridge.Stations() {
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
