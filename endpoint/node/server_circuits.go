package node

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint"
)

// A Circuit is what a [Server] has for those who ask for it by its name, the Remote End ID
// of L2TPv3 (RFC 3931 §5.4.4): how the pseudowire to it is, and where it leads.
type Circuit struct {
	// ID is the Remote End ID, octet by octet; empty: that of callers who name none.
	// AnyCircuit is for all that have no other Circuit.
	ID string
	// Type is what its pseudowire carries: Ethernet, a VLAN, IP or PPP. Zero: Ethernet.
	// Ethernet and VLAN lead to the server's LAN, without a tag; IP to where PPP's
	// sessions are; PPP is for Users.
	Type endpoint.PseudowireType
	// VLAN is the tag, 1 to 4094, that our frames have in a VLAN pseudowire; those of the
	// peer may have any.
	VLAN uint16

	// Address is that of the caller at the other end of an IP pseudowire, of IPv4, and
	// Prefix6 one of IPv6, of 64 bits, that it is told by router advertisements; Routes
	// are networks behind it. One of them is required with IP, since nothing is
	// negotiated, and there are none with other types.
	Address netip.Addr
	Prefix6 netip.Prefix
	Routes  []netip.Prefix

	// CookieLen, Sublayer, Sequencing, ReorderTimeout and MTU are those of
	// [endpoint.PseudowireConfig].
	CookieLen      int
	Sublayer       endpoint.Sublayer
	Sequencing     endpoint.Sequencing
	ReorderTimeout time.Duration
	MTU            int

	// Isolated keeps an Ethernet or VLAN client from those that are isolated too, even
	// with Server.ClientToClient, without which all are.
	Isolated bool
	// Hosts is how many MAC addresses an Ethernet or VLAN client may have behind it; frames
	// of others are dropped. 0: 16.
	Hosts int
	// Sessions is how many callers it may have at once: one more ends the oldest, which
	// may be that of a client that has vanished. 0: 1, but with AnyCircuit no limit;
	// negative: no limit. With IP it is 1, and PPP counts its users' sessions instead.
	Sessions int
}

// AnyCircuit is the ID of a [Circuit] for every Remote End ID that has none of its own.
const AnyCircuit = "*"

// circuits are a server's, by their ids.
type circuits struct {
	byID map[string]*Circuit
	ppp  bool // there are users
	lan  bool
}

// newCircuits finds what does not fit together.
func newCircuits(s *Server) (*circuits, error) {
	cs := &circuits{byID: map[string]*Circuit{}, ppp: s.Users != nil || s.Authenticate != nil, lan: s.LAN != nil}
	if s.V3 == nil {
		switch {
		case len(s.Circuits) > 0:
			return nil, errors.New("expected V3 with Circuits, which are L2TPv3's, found none")
		case s.LAN != nil:
			return nil, errors.New("expected V3 with a LAN, which is for clients of L2TPv3, found none")
		}
		return cs, nil
	}
	list := s.Circuits
	if len(list) == 0 {
		if cs.lan {
			list = append(list, Circuit{ID: AnyCircuit})
		}
		if !cs.lan && !cs.ppp {
			return nil, errors.New("expected Users, Authenticate, a LAN or Circuits to answer calls with, found none")
		}
	}
	for i := range list {
		c := list[i] // changed below
		if _, twice := cs.byID[c.ID]; twice {
			return nil, fmt.Errorf("the circuit %q: expected it once, found it twice", c.ID)
		}
		if err := cmp.Or(c.Validate(), cs.complete(&c)); err != nil {
			return nil, fmt.Errorf("the circuit %q: %w", c.ID, err)
		}
		cs.byID[c.ID] = &c
	}
	return cs, nil
}

// Validate tells what is wrong in itself.
func (c *Circuit) Validate() error {
	kind := cmp.Or(c.Type, endpoint.PseudowireEthernet)
	leads := c.Address.IsValid() || c.Prefix6.IsValid() || len(c.Routes) > 0
	ip := kind == endpoint.PseudowireIP
	switch kind {
	case endpoint.PseudowireEthernet, endpoint.PseudowireVLAN, endpoint.PseudowireIP, endpoint.PseudowirePPP:
	default:
		return fmt.Errorf("expected Ethernet, a VLAN, IP or PPP, found %v", kind)
	}
	switch {
	case ip && !leads:
		return errors.New("expected the address of who is at the other end of an IP pseudowire, which negotiates none, found none")
	case ip && (c.ID == AnyCircuit || c.Sessions > 1 || c.Sessions < 0):
		return errors.New("expected one caller for an IP pseudowire, whose address is one's, found more")
	case c.Hosts < 0:
		return fmt.Errorf("expected a number of hosts from 1, or 0 for %d, found %d", defaultHosts, c.Hosts)
	case !ip && leads:
		return fmt.Errorf("expected an address for an IP pseudowire only, found it for %v", kind)
	}
	return errors.Join(c.user().check(), c.pseudowire().Validate())
}

// complete fills in the defaults, and tells what the server does not have.
func (cs *circuits) complete(c *Circuit) error {
	c.Type = cmp.Or(c.Type, endpoint.PseudowireEthernet)
	if c.Sessions == 0 && c.ID != AnyCircuit {
		c.Sessions = 1
	}
	switch c.Type {
	case endpoint.PseudowireEthernet, endpoint.PseudowireVLAN:
		if !cs.lan {
			return fmt.Errorf("expected a LAN that %v can lead to, found none", c.Type)
		}
	case endpoint.PseudowirePPP:
		if !cs.ppp {
			return errors.New("expected users for PPP, found none")
		}
	}
	return nil
}

// user is who would have what an IP circuit has.
func (c *Circuit) user() *User {
	return &User{Name: c.ID, Address: c.Address, Prefix6: c.Prefix6, Routes: c.Routes}
}

// pseudowire is our end of it.
func (c *Circuit) pseudowire() *endpoint.PseudowireConfig {
	return &endpoint.PseudowireConfig{
		Type: c.Type, VLAN: c.VLAN, CookieLen: c.CookieLen, Sublayer: c.Sublayer, Sequencing: c.Sequencing,
		ReorderTimeout: c.ReorderTimeout, MTU: c.MTU,
	}
}

// find is the circuit that a call is for. PPP tells by itself who is there, so that a call
// for it needs none, unless it names one where there are others.
func (cs *circuits) find(call endpoint.Call) (*Circuit, error) {
	c, named := cs.byID[call.RemoteEndID]
	if !named {
		c = cs.byID[AnyCircuit]
	}
	anybody := c != nil || call.RemoteEndID == "" || len(cs.byID) == 0
	switch {
	case c != nil && c.Type == call.Type:
		return c, nil
	case call.Type == endpoint.PseudowirePPP && cs.ppp && !named && anybody:
		return &Circuit{Type: endpoint.PseudowirePPP}, nil
	case c == nil:
		return nil, errors.New("expected the Remote End ID of a circuit, found another one")
	}
	return nil, fmt.Errorf("expected %v for the circuit, found %v", c.Type, call.Type)
}

// ofCircuit completes a caller of L2TPv3 without PPP; nil: its session is over.
func (c *caller) ofCircuit() *caller {
	call, ok := c.session.Call()
	if !ok {
		return nil
	}
	found, err := c.server.circuits.find(call)
	if err != nil {
		return nil // it was found when the session was asked for
	}
	c.circuit, c.key = found, callerKey{circuit: found}
	c.shows.Address, c.shows.Prefix, c.shows.Routes = found.Address, found.Prefix6, found.Routes
	return c
}

// types are what peers are told that they may ask for.
func (cs *circuits) types() (types []endpoint.PseudowireType) {
	for _, c := range cs.byID {
		types = append(types, c.Type)
	}
	if cs.ppp {
		types = append(types, endpoint.PseudowirePPP)
	}
	slices.Sort(types)
	return slices.Compact(types)
}

// pseudowire is our end of what a peer asks for.
func (s *Server) pseudowire(call endpoint.Call) (*endpoint.PseudowireConfig, error) {
	c, err := s.circuits.find(call)
	if err != nil {
		return nil, err
	}
	return c.pseudowire(), nil
}
