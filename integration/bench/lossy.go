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
	"github.com/l2tpnet/l2tpnet/endpoint/node"
	"github.com/l2tpnet/l2tpnet/integration/internal/roles"
	"github.com/l2tpnet/l2tpnet/netstack"
)

// lossyNetwork has both ends in one process, with a network between them that is made of queues: a round trip takes 40 ms,
// and one of a thousand full datagrams is lost. What is lost in a round is the same, by its number, with the tunnel and
// without. It is as much as TCP can do with that, not the machine's speed, that counts here.
//
//	stack ─► endpoint ─► queue ─► endpoint ─► stack
//	stack ─────────────► queue ─────────────► stack
var lossyNetwork = &scene{name: "lossy network", longer: 7.5, open: func(h *hall, small bool, _ func(string) bool) (lanes []lane, err error) {
	if small {
		return nil, nil // there is no socket
	}
	for _, name := range []string{ours, noTunnel} {
		c, err := h.child("far away", nil)
		if err != nil {
			return nil, err
		}
		order := lossyOrder{Tunnel: name == ours}
		lanes = append(lanes, lane{name, func(flows int, seconds float64) (s sample, err error) {
			order.Flows, order.Seconds, order.Seed = flows, seconds, order.Seed+1
			return s, c.Ask("measure", order, &s)
		}})
	}
	return lanes, nil
}}

// A lossyOrder is a turn on the lossy network.
type lossyOrder struct {
	Tunnel  bool
	Flows   int
	Seconds float64
	Seed    uint64 // of what is lost
}

const innerMTU = 1400

func newFarAway() roles.Role {
	return roles.Role{
		"measure": roles.Asks(measureLossy),
		"report":  func(json.RawMessage) (any, error) { return report{Usage: roles.Used(false)}, nil },
	}
}

// ends are the two stacks that were joined last, and what is to be closed of all.
type ends struct {
	dial   func(ctx context.Context, network, address string) (net.Conn, error)
	listen func(network, address string) (net.Listener, error)
	server netip.Addr
	close  []func() error
}

// measureLossy has several networks at once, since what one of them loses within seconds is too little to compare: as many
// as make up eight connections, two at least.
func measureLossy(order lossyOrder) (s sample, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	connect := withoutTunnel
	if order.Tunnel {
		connect = throughTunnel
	}
	e := &ends{}
	defer func() {
		for i := len(e.close) - 1; i >= 0; i-- {
			e.close[i]()
		}
	}()
	var services roles.Services
	var clients []*client
	var targets []string
	for n := range max(2, 8/order.Flows) {
		if err := connect(ctx, e, order.Seed<<8+uint64(n)); err != nil {
			return s, err
		}
		if err := services.Serve(func(port int) (net.Listener, error) { return e.listen("tcp", fmt.Sprintf(":%d", port)) }); err != nil {
			return s, err
		}
		clients = append(clients, &client{dialer: e.dial})
		targets = append(targets, fmt.Sprintf("%v:%d", e.server, roles.SinkPort))
	}
	// At once, since connections begin with much more than they can keep.
	for i, c := range clients {
		if _, err := c.flows(flowOrder{Target: targets[i], Flows: order.Flows}); err != nil {
			return s, err
		}
	}
	time.Sleep(roles.Settling(order.Seconds))
	from, began, used := services.Taken(), time.Now(), roles.Used(false).CPU
	time.Sleep(time.Duration(order.Seconds * float64(time.Second)))
	bytes := float64(services.Taken() - from)
	s.Bits = bytes * 8 / time.Since(began).Seconds()
	s.CPU = (roles.Used(false).CPU - used).Seconds() / (bytes / 1e9)
	for _, c := range clients {
		c.stop()
	}
	return s, nil
}

// withoutTunnel joins two stacks by the network itself.
func withoutTunnel(_ context.Context, e *ends, seed uint64) error {
	var nics [2]*netstack.NIC
	var stacks [2]*netstack.Stack
	addresses := [2]netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")}
	for i := range stacks {
		to := newWire(seed+uint64(i)<<48, func(p []byte) {
			b := link.NewBatch()
			defer b.Free()
			b.Add(0, p, nil)
			nics[1-i].Put(b)
		})
		e.close = append(e.close, to.close)
		stack, err := netstack.New(nil)
		if err != nil {
			return err
		}
		stacks[i] = stack
		e.close = append(e.close, stack.Close)
		out := link.SinkFunc(func(b *link.Batch) {
			for i := range b.Frames {
				to.send(b.Frames[i].AppendTo(nil))
			}
		})
		if nics[i], err = stack.AddIP(out, &netstack.IPConfig{Addresses: []netip.Prefix{netip.PrefixFrom(addresses[i], 24)}, MTU: innerMTU}); err != nil {
			return err
		}
	}
	e.dial, e.listen, e.server = stacks[0].DialContext, stacks[1].Listen, addresses[1]
	return nil
}

// throughTunnel joins them by a tunnel over the network.
func throughTunnel(ctx context.Context, e *ends, seed uint64) error {
	near, far := newSocket("192.0.2.1:1701"), newSocket("192.0.2.2:1701")
	for i, way := range [][2]*socket{{near, far}, {far, near}} {
		from, to := way[0], way[1]
		from.out = newWire(seed+uint64(i)<<48, func(p []byte) { to.take(p, from.address) })
		e.close = append(e.close, from.out.close)
	}
	server := &node.Server{Conn: far, Users: map[string]node.User{roles.User: {Password: roles.Password}}, MRU: innerMTU}
	if err := server.Start(); err != nil {
		return err
	}
	e.close = append(e.close, server.Close)
	ep, err := endpoint.New(near, nil)
	if err != nil {
		return err
	}
	e.close = append(e.close, ep.Close)
	c := &client{}
	if e.server, err = c.open(ctx, ep, far.address.String(), tunnelOrder{}); err != nil {
		return err
	}
	e.close = append(e.close, c.stack.Close)
	e.dial, e.listen = c.dialer, server.Listen
	return nil
}
