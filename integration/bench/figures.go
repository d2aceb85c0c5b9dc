//go:build linux

package main

import (
	"math"
	"slices"
	"strings"
)

// A sample is what was seen of a lane in a turn.
type sample struct {
	Bits      float64 // a second, at the receiver
	CPU       float64 // seconds a GB, of the processes between client and server
	BackBits  float64 // as Bits, of what the server sends
	BackCPU   float64 // as CPU
	Sending   float64 // allocations of the sender for each super-packet or ACK that it sent
	Receiving float64 // allocations of the receiver for each packet that it received
	RoundTrip float64 // µs of one byte; 0: not measured
	SetUps    float64 // sessions a second
}

// A figure is a line of the table: what a lane of a scene has, in the ratio to what another one has.
type figure struct {
	name        string
	scene       *scene
	lane, over  string // names of lanes; over is empty where there is no ratio
	value       func(sample) float64
	format      string // of the values
	goal        float64
	atMost      bool // the goal is a bound from above
	oneFlow     bool // more flows say nothing
	back        bool // it is of what the server sends
	asManyZeros bool // as the format shows it, zero is zero
}

func bits(s sample) float64      { return s.Bits / 1e9 }
func backBits(s sample) float64  { return s.BackBits / 1e9 }
func cpu(s sample) float64       { return s.CPU }
func backCPU(s sample) float64   { return s.BackCPU }
func roundTrip(s sample) float64 { return s.RoundTrip }

// figures are those of the issue that the goals come from, in its order.
var figures = []figure{
	{name: "-L ÷ slirp4netns", scene: forwards, lane: ours, over: slirp, value: bits, format: "%.2f", goal: 3},
	{name: "-L ÷ gvisor-tap-vsock", scene: forwards, lane: ours, over: gvisorTap, value: bits, format: "%.2f", goal: 5},
	{name: "-L ÷ wireguard-go", scene: forwards, lane: ours, over: wireguard, value: bits, format: "%.2f", goal: 8},
	{name: "-L ÷ ssh -L", scene: forwards, lane: ours, over: ssh, value: bits, format: "%.2f", goal: 1.2},
	{name: "-L ÷ slirp, back", scene: forwards, lane: ours, over: slirp, value: backBits, format: "%.2f", goal: 3, back: true},
	{name: "-L ÷ gvisor-tap, back", scene: forwards, lane: ours, over: gvisorTap, value: backBits, format: "%.2f", goal: 5, back: true},
	{name: "-L ÷ wireguard, back", scene: forwards, lane: ours, over: wireguard, value: backBits, format: "%.2f", goal: 8, back: true},
	{name: "-L ÷ ssh -L, back", scene: forwards, lane: ours, over: ssh, value: backBits, format: "%.2f", goal: 1.2, back: true},
	{name: "1 byte ÷ slirp4netns", scene: forwards, lane: ours, over: slirp, value: roundTrip, format: "%.0fµs", goal: 1, atMost: true, oneFlow: true},
	{name: "inside ÷ raw UDP", scene: twoProcesses, lane: ours, over: rawUDP, value: bits, format: "%.2f", goal: 3},
	{name: "inside, CPU s/GB", scene: twoProcesses, lane: ours, value: cpu, format: "%.2f", goal: 0.9, atMost: true},
	{name: "back, CPU s/GB", scene: twoProcesses, lane: ours, value: backCPU, format: "%.2f", goal: 0.9, atMost: true, back: true},
	{name: "Ethernet ÷ PPP, s/GB", scene: twoProcesses, lane: ethernet, over: ours, value: cpu, format: "%.2f", goal: 1.1, atMost: true},
	{name: "Ethernet ÷ PPP, back", scene: twoProcesses, lane: ethernet, over: ours, value: backCPU, format: "%.2f", goal: 1.1, atMost: true, back: true},
	{name: "allocs/super-packet", scene: twoProcesses, lane: ours, value: func(s sample) float64 { return s.Sending }, format: "%.2f", goal: 2, atMost: true},
	{name: "allocs/datagram in", scene: twoProcesses, lane: ours, value: func(s sample) float64 { return s.Receiving }, format: "%.2f", goal: 0, atMost: true, asManyZeros: true},
	{name: "sequenced ÷ not", scene: twoProcesses, lane: sequenced, over: ours, value: bits, format: "%.2f", goal: 0.9},
	{name: "veth ÷ kernel TCP", scene: overVeth, lane: ours, over: kernelTCP, value: bits, format: "%.2f", goal: 0.7},
	{name: "lossy ÷ no tunnel", scene: lossyNetwork, lane: ours, over: noTunnel, value: bits, format: "%.3f", goal: 0.95},
	{name: "set-ups a second", scene: setUps, lane: ours, value: func(s sample) float64 { return s.SetUps }, format: "%.0f", goal: 2000, oneFlow: true},
	{name: "10,000 idle ÷ none", scene: besideIdle, lane: ours, over: alone, value: bits, format: "%.2f", goal: 0.9},
}

// Names of lanes, as the table's notes have them.
const (
	ours      = "l2tpnet"
	sequenced = "l2tpnet, sequenced"
	ethernet  = "l2tpnet, Ethernet"
	slirp     = "slirp4netns"
	gvisorTap = "gvisor-tap-vsock"
	wireguard = "wireguard-go"
	ssh       = "ssh -L"
	rawUDP    = "raw UDP"
	kernelTCP = "kernel TCP"
	noTunnel  = "no tunnel"
	alone     = "no idle sessions"
)

// figures are those that the plan asks for.
func (p plan) figures() (wanted []figure) {
	for _, f := range figures {
		if strings.Contains(f.name, p.only) {
			wanted = append(wanted, f)
		}
	}
	return wanted
}

func names() (all []string) {
	for _, f := range figures {
		all = append(all, f.name)
	}
	return all
}

// scenes are those of figures, in their order.
func scenes(of []figure) (all []*scene) {
	for _, f := range of {
		if !slices.Contains(all, f.scene) {
			all = append(all, f.scene)
		}
	}
	return all
}

// wants tells whether a lane is in one of the figures.
func wants(of []figure, s *scene, lane string) bool {
	return slices.ContainsFunc(of, func(f figure) bool { return f.scene == s && (f.lane == lane || f.over == lane) })
}

// met tells whether a value is as the goal demands.
func (f figure) met(v float64) bool {
	switch {
	case math.IsNaN(v):
		return false
	case f.asManyZeros:
		v = math.Round(v*100) / 100
	}
	if f.atMost {
		return v <= f.goal
	}
	return v >= f.goal
}
