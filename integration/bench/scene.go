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
	dir    string          // of programs; empty: there are none
	back   map[string]bool // lanes whose other direction is measured too
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
	Got     uint64 // bytes that have come back to a client
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
	oneWay        bool           // nothing comes back
}

const roundTrips = 500

// settling is how long flows run before they are looked at: on this machine alone TCP needs no more.
func settling(seconds float64) time.Duration { return roles.Settling(min(seconds, 0.5)) }

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

func (b bulk) measure(ctx context.Context, flows int, seconds float64, back bool) (s sample, err error) {
	if b.echo != "" {
		if err := b.client.Ask("roundTrips", roundTripOrder{Target: b.echo, Number: roundTrips}, &s.RoundTrip); err != nil {
			return s, err
		}
	}
	verb := b.verb
	if verb == "" {
		verb = "flows"
	}
	from, until, err := b.run(ctx, verb, flows, seconds, func(m moment) uint64 { return m.taker.Bytes })
	if err != nil {
		return s, err
	}
	bytes := float64(until.taker.Bytes - from.taker.Bytes)
	s.Bits, s.CPU = rates(from, until, bytes)
	each := func(allocs, things uint64) float64 { return float64(allocs) / float64(max(1, things)) }
	s.Sending = each(until.client.Mallocs-from.client.Mallocs, until.client.Puts-from.client.Puts)
	s.Receiving = each(until.taker.Mallocs-from.taker.Mallocs, until.taker.Packets-from.taker.Packets)
	if !back || b.oneWay {
		return s, nil
	}
	if from, until, err = b.run(ctx, "fetch", flows, seconds, func(m moment) uint64 { return m.client.Got }); err != nil {
		return s, err
	}
	s.BackBits, s.BackCPU = rates(from, until, float64(until.client.Got-from.client.Got))
	return s, nil
}

// rates are bits a second, and CPU seconds a GB.
func rates(from, until moment, bytes float64) (bits, cpu float64) {
	return bytes * 8 / until.at.Sub(from.at).Seconds(), (until.cpu - from.cpu).Seconds() / (bytes / 1e9)
}

// run has the client begin something, and end it after a time in which count has grown.
func (b bulk) run(ctx context.Context, verb string, flows int, seconds float64, count func(moment) uint64) (from, until moment, err error) {
	if err := b.client.Ask(verb, flowOrder{Target: b.target, Flows: flows, Size: b.size}, nil); err != nil {
		return from, until, err
	}
	time.Sleep(settling(seconds))
	if from, err = b.now(); err != nil {
		return from, until, err
	}
	select {
	case <-time.After(time.Duration(seconds * float64(time.Second))):
	case <-ctx.Done():
		return from, until, ctx.Err()
	}
	until, err = b.now()
	// Where the machine is busy, or much was lost at first, a short turn may be too short.
	for err == nil && count(until) == count(from) && time.Since(from.at) < patience {
		time.Sleep(50 * time.Millisecond)
		until, err = b.now()
	}
	if err != nil {
		return from, until, err
	}
	if err := b.client.Ask("stop", nil, nil); err != nil {
		return from, until, err
	}
	if verb == "fetch" {
		if err := b.taker.Ask("hush", nil, nil); err != nil {
			return from, until, err
		}
	}
	if count(until) == count(from) {
		return from, until, fmt.Errorf("nothing has arrived in %v", until.at.Sub(from.at))
	}
	return from, until, nil
}

// lane makes a lane of it.
func (b bulk) lane(h *hall, name string) lane {
	return lane{name, func(flows int, seconds float64) (sample, error) {
		return b.measure(h.ctx, flows, seconds, h.back[name])
	}}
}
