package node

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint"
	"github.com/l2tpnet/l2tpnet/netstack"
)

// silencePause is how long who gets no answer waits before he asks again.
const silencePause = time.Second

// A staticWay is the way of a [Pseudowire]: a session that is there because both ends
// say so, and an interface as its type wants it.
type staticWay struct {
	cfg               endpoint.StaticConfig
	addresses         []netip.Prefix
	gateway, gateway6 netip.Addr
	dns               []netip.Addr
	dhcp, noIPv6      bool
	mac               net.HardwareAddr
	interfaceID       [8]byte                // of an IP pseudowire, whose ends negotiate none
	answer            *endpoint.AnswerConfig // of a PPP server; nil: there is none
	log               *slog.Logger
}

// newStaticWay finds what does not fit together.
func newStaticWay(p *Pseudowire) (*staticWay, error) {
	w := &staticWay{
		cfg: p.Static, addresses: slices.Clone(p.Addresses), gateway: p.Gateway, gateway6: p.Gateway6,
		dns: slices.Clone(p.DNS), dhcp: p.DHCP, noIPv6: p.NoIPv6, mac: p.MAC, log: p.Logger,
	}
	if w.log == nil {
		w.log = slog.New(slog.DiscardHandler)
	}
	w.cfg.Type = cmp.Or(w.cfg.Type, endpoint.PseudowireEthernet)
	if err := w.cfg.Validate(); err != nil {
		return nil, err
	}
	if p.Users != nil && w.cfg.Type != endpoint.PseudowirePPP {
		return nil, fmt.Errorf("expected a PPP pseudowire with Users, found %v", w.cfg.Type)
	}
	switch w.cfg.Type {
	case endpoint.PseudowireEthernet, endpoint.PseudowireVLAN:
		switch {
		case w.dhcp && slices.ContainsFunc(w.addresses, func(a netip.Prefix) bool { return a.Addr().Is4() }):
			return nil, errors.New("expected an IPv4 address or DHCP, found both")
		case w.dhcp && w.gateway.IsValid():
			return nil, errors.New("expected an IPv4 gateway or DHCP, which tells of one, found both")
		case len(w.addresses) == 0 && !w.dhcp && w.noIPv6:
			return nil, errors.New("expected an address or DHCP, since there is no IPv6, found none")
		}
		if w.mac == nil {
			w.mac = make(net.HardwareAddr, 6)
			rand.Read(w.mac)
			w.mac[0] = w.mac[0]&^1 | 2 // one interface's, and no manufacturer's
		}
	case endpoint.PseudowireIP:
		switch {
		case w.dhcp:
			return nil, errors.New("expected an address, since DHCP is for Ethernet only, found none")
		case len(w.addresses) == 0:
			return nil, errors.New("expected an address for an IP pseudowire, found none")
		}
		rand.Read(w.interfaceID[:])
	case endpoint.PseudowirePPP:
		return w, w.speakPPP(p.Users)
	default:
		return nil, fmt.Errorf("expected a pseudowire of Ethernet, a VLAN, PPP or IP, found %v", w.cfg.Type)
	}
	return w, nil
}

// open has nothing to wait for, but for PPP: that waits for a peer who is silent, since
// the ends of a static pseudowire may come in any order.
func (w *staticWay) open(ctx context.Context, ep *endpoint.Endpoint, to netip.AddrPort, patience time.Duration) (*endpoint.Session, error) {
	return within(ctx, patience, func(ctx context.Context) (*endpoint.Session, error) {
		for {
			cfg := w.cfg
			session, err := ep.Static(ctx, to.String(), &cfg)
			if !w.again(err) || ctx.Err() != nil {
				return session, err
			}
			w.log.Info("no PPP yet", "peer", to, "error", err)
			select {
			case <-time.After(silencePause):
			case <-ctx.Done():
				return nil, err
			}
		}
	})
}

// again tells whether what has failed is the other end's business, so that we go on: that
// it is silent, and for a server whatever a caller has done.
func (w *staticWay) again(err error) bool {
	if err == nil || errors.Is(err, net.ErrClosed) {
		return false
	}
	_, silent := errors.AsType[*endpoint.TimeoutError](err)
	return silent || w.answer != nil
}

func (w *staticWay) join(ctx context.Context, stack *netstack.Stack, session *endpoint.Session) (inside, error) {
	switch session.Type() {
	case endpoint.PseudowirePPP:
		return joinPPP(ctx, stack, session, w.dns...)
	case endpoint.PseudowireIP:
		cfg := &netstack.IPConfig{Addresses: w.addresses, DNS: w.dns, MTU: session.MTU(), Name: "pseudowire"}
		if !w.noIPv6 && cfg.MTU >= leastIPv6MTU {
			cfg.InterfaceID = w.interfaceID
		}
		nic, err := stack.AddIP(session, cfg)
		if err != nil {
			return nil, &InsideError{err}
		}
		session.Attach(nic)
		return ipInside{nic}, nil
	}
	nic, err := stack.AddEthernet(session, &netstack.EthernetConfig{
		Addresses: w.addresses, Gateway: w.gateway, Gateway6: w.gateway6, DNS: w.dns, DHCP: w.dhcp, NoIPv6: w.noIPv6,
		MAC: w.mac, MTU: session.MTU(), Name: "pseudowire",
	})
	if err != nil {
		return nil, &InsideError{err}
	}
	session.Attach(nic)
	if err := w.wait(ctx, nic); err != nil {
		nic.Close()
		return nil, err
	}
	return ethernetInside{nic}, nil
}

// wait returns when the interface has its addresses: those of IPv4 that are leased, and
// of IPv6 what a router that is there tells of at once.
func (w *staticWay) wait(ctx context.Context, nic *netstack.EthernetNIC) error {
	if w.dhcp {
		if err := nic.Wait(ctx); err != nil {
			return err
		}
	}
	if !w.noIPv6 {
		short, cancel := context.WithTimeout(ctx, advertisementWait)
		defer cancel()
		nic.WaitIPv6(short)
	}
	return nil
}

// An InsideError is why a [Pseudowire] cannot have the addresses, routers and DNS servers
// inside that it was given.
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
