//go:build linux

package main

import (
	"fmt"
	"net"
	"strings"
)

// overVeth has the server, and the host of kernel TCP, at the other end of a pair of network interfaces that do nothing for
// anybody: no segmentation, no merging, no checksums.
//
//	client ─► veth, offloads off ─► namespace: server, its stack
//	client ─────────────────────────► host
var overVeth = &scene{name: "veth", open: func(h *hall, small bool, wanted func(string) bool) (lanes []lane, err error) {
	const here, there = "192.0.2.1", "192.0.2.2"
	ns, err := h.namespace()
	if err == nil {
		err = joinByVeth(ns, here, there)
	}
	if err != nil {
		for _, name := range []string{ours, kernelTCP} {
			h.missing(name+" over veth", strings.TrimSpace(err.Error()))
		}
		return nil, nil
	}
	h.ends = append(h.ends, func() { sh("ip link del bench0") })
	if wanted(ours) {
		b, err := h.tunnel(ns, there, tunnelOrder{SmallSocket: small})
		if err != nil {
			return nil, err
		}
		lanes = append(lanes, b.lane(h, ours))
	}
	if wanted(kernelTCP) {
		b, ports, err := h.kernel(ns)
		if err != nil {
			return nil, err
		}
		b.target = net.JoinHostPort(there, ports.Sink)
		lanes = append(lanes, b.lane(h, kernelTCP))
	}
	return lanes, nil
}}

// joinByVeth makes the pair: bench0 here, bench1 there.
func joinByVeth(ns *namespace, here, there string) error {
	off := "tso off gso off gro off tx off rx off sg off"
	if err := sh("ip link add bench0 type veth peer name bench1",
		"ip link set bench1 netns "+ns.path(),
		fmt.Sprintf("ip addr add %s/24 dev bench0", here),
		"ethtool -K bench0 "+off,
		"ip link set bench0 up",
		fmt.Sprintf("ip route replace 192.0.2.0/24 dev bench0 proto kernel scope link src %s", here)+cubic); err != nil {
		return err
	}
	return ns.do(func() error {
		return sh(fmt.Sprintf("ip addr add %s/24 dev bench1", there), "ethtool -K bench1 "+off, "ip link set bench1 up")
	})
}
