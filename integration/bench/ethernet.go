//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint"
	"github.com/l2tpnet/l2tpnet/endpoint/link"
	"github.com/l2tpnet/l2tpnet/integration/internal/roles"
	"github.com/l2tpnet/l2tpnet/netstack"
)

// An ethernetEnd is a client, or a server, at one end of a static Ethernet pseudowire: an
// interface with a MAC address, ARP and all, where a tunnel's client has PPP.
type ethernetEnd struct {
	client
	ep       *endpoint.Endpoint
	services roles.Services
}

// A joinOrder says who is at the other end, and which of the two this one is.
type joinOrder struct {
	Peer    netip.AddrPort
	Ours    uint32 // session ids
	Theirs  uint32
	Address netip.Prefix // inside
}

func newEthernetEnd() roles.Role {
	e := &ethernetEnd{}
	role := e.client.role()
	role["listen"] = roles.Asks(e.listen)
	role["join"] = roles.Asks(e.join)
	role["hush"] = func(json.RawMessage) (any, error) { e.services.Hush(); return nil, nil }
	role["report"] = roles.Asks(func(bool) (report, error) {
		return report{Usage: roles.Used(false), Puts: e.puts.Load(), Got: e.got.Load(), Bytes: e.services.Taken()}, nil
	})
	return role
}

// listen opens the socket, and tells its address.
func (e *ethernetEnd) listen(small bool) (address netip.AddrPort, err error) {
	conn, err := roles.ListenUDP("127.0.0.1:0", small)
	if err != nil {
		return address, err
	}
	if e.ep, err = endpoint.New(conn, nil); err != nil {
		return address, err
	}
	return e.ep.Addr(), nil
}

// join opens the pseudowire, with a stack that has the services.
func (e *ethernetEnd) join(order joinOrder) (any, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	session, err := e.ep.Static(ctx, order.Peer.String(), &endpoint.StaticConfig{SessionID: order.Ours, PeerSessionID: order.Theirs})
	if err != nil {
		return nil, err
	}
	if e.stack, err = netstack.New(nil); err != nil {
		return nil, err
	}
	e.stack.SetReceiveWindow(e.ep.Status().ReceiveBuffer)
	out := link.SinkFunc(func(b *link.Batch) {
		e.puts.Add(1)
		session.Put(b)
	})
	nic, err := e.stack.AddEthernet(out, &netstack.EthernetConfig{Addresses: []netip.Prefix{order.Address}, MTU: innerMTU, NoIPv6: true})
	if err != nil {
		return nil, err
	}
	session.Attach(nic)
	e.dialer = e.stack.DialContext
	return nil, e.services.Serve(func(port int) (net.Listener, error) { return e.stack.Listen("tcp", fmt.Sprintf(":%d", port)) })
}

// segment is two ends of a pseudowire.
func (h *hall) segment(small bool) (b bulk, err error) {
	var ends [2]*roles.Child
	var addresses [2]netip.AddrPort
	for i := range ends {
		if ends[i], err = h.child("ethernet end", nil); err != nil {
			return b, err
		}
		if err := ends[i].Ask("listen", small, &addresses[i]); err != nil {
			return b, err
		}
	}
	inside := [2]netip.Prefix{netip.MustParsePrefix("192.0.2.1/24"), netip.MustParsePrefix("192.0.2.2/24")}
	for i, end := range ends {
		order := joinOrder{Peer: addresses[1-i], Ours: uint32(i + 1), Theirs: uint32(2 - i), Address: inside[i]}
		if err := end.Ask("join", order, nil); err != nil {
			return b, err
		}
	}
	return bulk{client: ends[0], taker: ends[1], path: []meter{meterOf(ends[0]), meterOf(ends[1])},
		target: fmt.Sprintf("%v:%d", inside[1].Addr(), roles.SinkPort)}, nil
}
