//go:build linux

package main

import (
	"errors"
	"math"

	"github.com/l2tpnet/l2tpnet/integration/internal/roles"
)

const (
	inFlight     = 64    // sessions that are set up at once
	idleSessions = 10000 // beside the one at work
	setUpsAMost  = 2000  // a second of a turn, and
	turnMost     = 5000  // in a turn: what has ended keeps its tunnel id for half a minute (RFC 2661 §5.7)
	tunnelsMost  = 30000
)

// setUps opens tunnels with a session each, whose users MS-CHAPv2 asks for their password, and closes them after the turn.
var setUps = &scene{name: "set-ups", open: func(h *hall, small bool, _ func(string) bool) ([]lane, error) {
	order := roles.DialOrder{InFlight: inFlight, SmallSocket: small}
	server, err := h.child("server", nil)
	if err != nil {
		return nil, err
	}
	if err := server.Ask("start", roles.ServerConfig{Sessions: tunnelsMost, SmallSocket: small}, &order.Server); err != nil {
		return nil, err
	}
	clients, err := h.child("clients", nil)
	if err != nil {
		return nil, err
	}
	return []lane{{ours, func(_ int, seconds float64) (s sample, err error) {
		order.Sessions = min(int(math.Ceil(setUpsAMost*seconds)), turnMost)
		var took float64
		if err := clients.Ask("dial", order, &took); err != nil {
			return s, err
		}
		s.SetUps = float64(order.Sessions) / took
		return s, clients.Ask("hangUp", nil, nil)
	}}}, nil
}}

// besideIdle has two servers that are alike, but one of them has idle sessions:
//
//	clients: 10,000 sessions ─► server ◄─ bulk ─ client
//	                            server ◄─ bulk ─ client
//
// While the other one is measured, these and their server stand still, which have their echoes and Hellos otherwise.
var besideIdle = &scene{name: "idle sessions", open: func(h *hall, small bool, _ func(string) bool) ([]lane, error) {
	busy, err := h.tunnel(nil, "", tunnelOrder{SmallSocket: small})
	if err != nil {
		return nil, err
	}
	clients, err := h.child("clients", nil)
	if err != nil {
		return nil, err
	}
	if err := clients.Ask("dial", roles.DialOrder{Server: busy.server, Sessions: idleSessions, InFlight: inFlight}, nil); err != nil {
		return nil, err
	}
	none, err := h.tunnel(nil, "", tunnelOrder{SmallSocket: small})
	if err != nil {
		return nil, err
	}
	busy.brief, none.brief = true, true
	undisturbed := none.lane(h, alone)
	return []lane{busy.lane(h, ours), {alone, func(flows int, seconds float64) (s sample, err error) {
		idle := []*roles.Child{clients, busy.taker, busy.client}
		for _, c := range idle {
			if err := c.Pause(); err != nil {
				return s, err
			}
		}
		s, err = undisturbed.measure(flows, seconds)
		for _, c := range idle {
			err = errors.Join(err, c.Continue())
		}
		return s, err
	}}}, nil
}}
