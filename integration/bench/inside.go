//go:build linux

package main

import (
	"fmt"
	"net/netip"

	"github.com/l2tpnet/l2tpnet/integration/internal/roles"
)

// twoProcesses has both ends of TCP inside the ends of the tunnel:
//
//	client, its stack ─► UDP on loopback ─► server, its stack
var twoProcesses = &scene{name: "two processes", open: func(h *hall, small bool, wanted func(string) bool) (lanes []lane, err error) {
	for _, name := range []string{ours, sequenced} {
		if !wanted(name) {
			continue
		}
		b, err := h.tunnel(nil, "", tunnelOrder{SmallSocket: small, Sequenced: name == sequenced})
		if err != nil {
			return nil, err
		}
		lanes = append(lanes, b.lane(h, name))
	}
	if wanted(ethernet) {
		b, err := h.segment(small)
		if err != nil {
			return nil, err
		}
		lanes = append(lanes, b.lane(h, ethernet))
	}
	if wanted(rawUDP) {
		b, err := h.datagrams(datagram)
		if err != nil {
			return nil, err
		}
		lanes = append(lanes, b.lane(h, rawUDP))
	}
	return lanes, nil
}}

// tunnel is a client and a server, which is in a namespace where it has an address; nil: in this one, on loopback.
func (h *hall) tunnel(ns *namespace, address string, order tunnelOrder) (b bulk, err error) {
	server, err := h.child("server", ns)
	if err != nil {
		return b, err
	}
	cfg := roles.ServerConfig{SmallSocket: order.SmallSocket, Sessions: tunnelsMost, MRU: order.MTU}
	if address != "" {
		cfg.Address = address + ":0"
	}
	if err := server.Ask("start", cfg, &order.Server); err != nil {
		return b, err
	}
	var r roles.ServerReport
	if err := server.Ask("report", false, &r); err != nil {
		return b, err
	}
	h.note(buffers(order.SmallSocket)+" buffers", fmt.Sprintf("a socket of ours gets %d bytes, overhead included", r.Buffer))
	client, err := h.child("client", nil)
	if err != nil {
		return b, err
	}
	var gateway netip.Addr
	if err := client.Ask("dial", order, &gateway); err != nil {
		return b, err
	}
	return bulk{client: client, taker: server, server: order.Server, path: []meter{meterOf(client), briefly(server)},
		target: fmt.Sprintf("%v:%d", gateway, roles.SinkPort)}, nil
}

// kernel is a client and a host, as for tunnel. Where the client sends to is for the caller to say.
func (h *hall) kernel(ns *namespace) (b bulk, ports hostPorts, err error) {
	host, err := h.child("host", ns)
	if err != nil {
		return b, ports, err
	}
	if err := host.Ask("start", nil, &ports); err != nil {
		return b, ports, err
	}
	client, err := h.child("client", nil)
	return bulk{client: client, taker: host, path: []meter{meterOf(client), meterOf(host)}}, ports, err
}

// datagrams is a client and a host between which datagrams of one size go, a system call each.
func (h *hall) datagrams(size int) (bulk, error) {
	b, ports, err := h.kernel(nil)
	b.verb, b.target, b.size, b.oneWay = "blast", local(ports.UDP), size, true
	return b, err
}
