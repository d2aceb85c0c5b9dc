//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"time"

	"github.com/l2tpnet/l2tpnet/integration/internal/roles"
)

// A scene has lanes that are measured in turns.
type scene struct {
	name   string
	longer float64 // so many times the length of a turn elsewhere; 0: as long
	// open begins what the wanted lanes need. A lane for which something is missing is not among those returned.
	open func(h *hall, small bool, wanted func(lane string) bool) ([]lane, error)
}

// A lane is one of the ways that are compared.
type lane struct {
	name    string
	measure func(flows int, seconds float64) (sample, error)
}

// A hall is where a scene is played: what it begins ends with it.
type hall struct {
	ctx    context.Context
	out    io.Writer
	dir    string // of programs; empty: there are none
	cast   roles.Cast
	ends   []func()
	notes  []string
	absent map[string]string // lanes that cannot be measured, and why
}

func (h *hall) end() {
	for i := len(h.ends) - 1; i >= 0; i-- {
		h.ends[i]()
	}
	h.cast.End()
}

// missing says once that a lane cannot be measured.
func (h *hall) missing(lane, why string) {
	if h.absent[lane] == "" {
		h.absent[lane] = why
	}
}

// note says something of a lane, once.
func (h *hall) note(lane, text string) {
	h.notes = append(h.notes, fmt.Sprintf("%s: %s", lane, text))
}

// child starts this program again, in this namespace or in another.
func (h *hall) child(role string, ns *namespace) (c *roles.Child, err error) {
	err = ns.do(func() error {
		c, err = h.cast.Start(role)
		return err
	})
	return c, err
}

// A report is what a child tells: all of them CPU, and what else they have.
type report struct {
	roles.Usage
	Bytes   uint64 // that its services have taken
	Packets uint64 // that have come to it
	Puts    uint64 // super-packets and ACKs that it has sent
}

// A meter tells the CPU time that a process has used so far, and its children.
type meter func() (time.Duration, error)

func reports(c *roles.Child) (r report, err error) {
	err = c.Ask("report", false, &r)
	return r, err
}

func meterOf(c *roles.Child) meter {
	return func() (time.Duration, error) {
		r, err := reports(c)
		return r.CPU, err
	}
}

// briefly is the meter of a server, whose report costs more the more sessions there are.
func briefly(server *roles.Child) meter {
	return func() (time.Duration, error) {
		var r report
		err := server.Ask("brief", false, &r)
		return r.CPU, err
	}
}

// A bulk sends from a client to where a taker counts what comes.
type bulk struct {
	client, taker *roles.Child
	target        string         // of the client's connections
	server        netip.AddrPort // of the tunnel; none: there is no tunnel
	echo          string         // as target, of the service that sends back; empty: no round trips
	path          []meter        // of the processes in between
	size          int            // of datagrams
	brief         bool           // the taker is a server with many sessions
	verb          string         // what the client is asked to do; empty: "flows"
}

const roundTrips = 500

// moment is what there was at one time.
type moment struct {
	at            time.Time
	cpu           time.Duration
	client, taker report
}

func (b bulk) now() (m moment, err error) {
	for _, used := range b.path {
		d, err := used()
		if err != nil {
			return m, err
		}
		m.cpu += d
	}
	if m.client, err = reports(b.client); err != nil {
		return m, err
	}
	question := "report"
	if b.brief {
		question = "brief"
	}
	err = b.taker.Ask(question, false, &m.taker)
	m.at = time.Now()
	return m, err
}

func (b bulk) measure(ctx context.Context, flows int, seconds float64) (s sample, err error) {
	if b.echo != "" {
		if err := b.client.Ask("roundTrips", roundTripOrder{Target: b.echo, Number: roundTrips}, &s.RoundTrip); err != nil {
			return s, err
		}
	}
	verb := b.verb
	if verb == "" {
		verb = "flows"
	}
	if err := b.client.Ask(verb, flowOrder{Target: b.target, Flows: flows, Size: b.size}, nil); err != nil {
		return s, err
	}
	time.Sleep(roles.Settling(seconds))
	from, err := b.now()
	if err != nil {
		return s, err
	}
	select {
	case <-time.After(time.Duration(seconds * float64(time.Second))):
	case <-ctx.Done():
		return s, ctx.Err()
	}
	until, err := b.now()
	// Where the machine is busy, or much was lost at first, a short turn may be too short.
	for err == nil && until.taker.Bytes == from.taker.Bytes && time.Since(from.at) < patience {
		time.Sleep(50 * time.Millisecond)
		until, err = b.now()
	}
	if err != nil {
		return s, err
	}
	if err := b.client.Ask("stop", nil, nil); err != nil {
		return s, err
	}
	bytes := float64(until.taker.Bytes - from.taker.Bytes)
	if bytes == 0 {
		return s, fmt.Errorf("nothing has arrived in %v", until.at.Sub(from.at))
	}
	s.Bits = bytes * 8 / until.at.Sub(from.at).Seconds()
	s.CPU = (until.cpu - from.cpu).Seconds() / (bytes / 1e9)
	each := func(allocs, things uint64) float64 { return float64(allocs) / float64(max(1, things)) }
	s.Sending = each(until.client.Mallocs-from.client.Mallocs, until.client.Puts-from.client.Puts)
	s.Receiving = each(until.taker.Mallocs-from.taker.Mallocs, until.taker.Packets-from.taker.Packets)
	return s, nil
}

// lane makes a lane of it.
func (b bulk) lane(h *hall, name string) lane {
	return lane{name, func(flows int, seconds float64) (sample, error) { return b.measure(h.ctx, flows, seconds) }}
}
