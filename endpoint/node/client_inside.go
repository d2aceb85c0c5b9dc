package node

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/l2tpnet/l2tpnet/endpoint"
	"github.com/l2tpnet/l2tpnet/netstack"
)

// An interior is what the interface of a session is to have, whose peer tells it nothing
// by itself: as its type wants it. With PPP, which negotiates addresses, there are at most
// the DNS servers and the address that is asked for.
//
//	Ethernet, VLAN   netstack.EthernetNIC   addresses given, leased or advertised
//	IP               netstack.NIC           addresses given
//	PPP              netstack.NIC           addresses negotiated
type interior struct {
	kind              endpoint.PseudowireType
	addresses         []netip.Prefix
	gateway, gateway6 netip.Addr
	dns               []netip.Addr
	dhcp, noIPv6      bool
	mac               net.HardwareAddr
	interfaceID       [8]byte // of an IP pseudowire, whose ends negotiate none
}

// complete finds what does not fit together, and makes what was left open, which stays the
// same from one connection to the next.
func (i *interior) complete() error {
	i.addresses, i.dns = slices.Clone(i.addresses), slices.Clone(i.dns)
	switch i.kind {
	case endpoint.PseudowireEthernet, endpoint.PseudowireVLAN:
		switch {
		case i.dhcp && slices.ContainsFunc(i.addresses, func(a netip.Prefix) bool { return a.Addr().Is4() }):
			return errors.New("expected an IPv4 address or DHCP, found both")
		case i.dhcp && i.gateway.IsValid():
			return errors.New("expected an IPv4 gateway or DHCP, which tells of one, found both")
		case len(i.addresses) == 0 && !i.dhcp && i.noIPv6:
			return errors.New("expected an address or DHCP, since there is no IPv6, found none")
		}
		if i.mac == nil {
			i.mac = make(net.HardwareAddr, 6)
			rand.Read(i.mac)
			i.mac[0] = i.mac[0]&^1 | 2 // one interface's, and no manufacturer's
		}
	case endpoint.PseudowireIP:
		switch {
		case i.dhcp:
			return errors.New("expected an address, since DHCP is for Ethernet only, found none")
		case len(i.addresses) == 0:
			return errors.New("expected an address for an IP pseudowire, found none")
		}
		rand.Read(i.interfaceID[:])
	case endpoint.PseudowirePPP:
		switch {
		case i.dhcp:
			return errors.New("expected no DHCP with PPP, which gives addresses itself")
		case len(i.addresses) > 1 || len(i.addresses) == 1 && !i.addresses[0].Addr().Is4():
			return fmt.Errorf("expected one IPv4 address with PPP, found %v", i.addresses)
		}
	default:
		return fmt.Errorf("expected a pseudowire of Ethernet, a VLAN, PPP or IP, found %v", i.kind)
	}
	return nil
}

// asked is the address that PPP's client asks for; the zero value: any.
func (i *interior) asked() netip.Addr {
	if len(i.addresses) == 0 {
		return netip.Addr{}
	}
	return i.addresses[0].Addr()
}

// join is that of a [way].
func (i *interior) join(ctx context.Context, stack *netstack.Stack, session *endpoint.Session) (inside, error) {
	switch session.Type() {
	case endpoint.PseudowirePPP:
		return joinPPP(ctx, stack, session, i.dns...)
	case endpoint.PseudowireIP:
		cfg := &netstack.IPConfig{Addresses: i.addresses, DNS: i.dns, MTU: session.MTU(), Name: "pseudowire"}
		if !i.noIPv6 && cfg.MTU >= leastIPv6MTU {
			cfg.InterfaceID = i.interfaceID
		}
		nic, err := stack.AddIP(session, cfg)
		if err != nil {
			return nil, &InsideError{err}
		}
		session.Attach(nic)
		return ipInside{nic}, nil
	}
	nic, err := stack.AddEthernet(session, &netstack.EthernetConfig{
		Addresses: i.addresses, Gateway: i.gateway, Gateway6: i.gateway6, DNS: i.dns, DHCP: i.dhcp, NoIPv6: i.noIPv6,
		MAC: i.mac, MTU: session.MTU(), Name: "pseudowire",
	})
	if err != nil {
		return nil, &InsideError{err}
	}
	session.Attach(nic)
	if err := i.wait(ctx, nic); err != nil {
		nic.Close()
		return nil, err
	}
	return ethernetInside{nic}, nil
}

// wait returns when the interface has its addresses: those of IPv4 that are leased, and
// of IPv6 what a router that is there tells of at once.
func (i *interior) wait(ctx context.Context, nic *netstack.EthernetNIC) error {
	if i.dhcp {
		if err := nic.Wait(ctx); err != nil {
			return err
		}
	}
	if !i.noIPv6 {
		short, cancel := context.WithTimeout(ctx, advertisementWait)
		defer cancel()
		nic.WaitIPv6(short)
	}
	return nil
}

// An InsideError is why a [Pseudowire] or a [Client] cannot have the addresses, routers and
// DNS servers inside that it was given.
type InsideError struct{ Err error }

func (e *InsideError) Error() string { return e.Err.Error() }
func (e *InsideError) Unwrap() error { return e.Err }

// An ipInside is the NIC of a session whose frames are IP packets. It has nobody who
// could be called a gateway.
type ipInside struct{ *netstack.NIC }

func (ipInside) gateway() netip.Addr { return netip.Addr{} }

// An ethernetInside is the interface of a session whose frames are Ethernet's.
type ethernetInside struct{ *netstack.EthernetNIC }

func (i ethernetInside) gateway() netip.Addr { return i.Gateway() }
