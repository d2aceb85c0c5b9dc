//go:build linux

package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint"
	"github.com/l2tpnet/l2tpnet/integration/internal/roles"
)

// A floodPlan is what is measured with floods.
type floodPlan struct {
	Kinds    []kind
	Rounds   int
	Seconds  float64 // of each flood in each round, and of each baseline
	Rate     int     // SCCRQs a second
	Sessions int
}

// length is about how long it takes.
func (p floodPlan) length() time.Duration {
	each := time.Duration(p.Seconds*float64(time.Second)) + roles.Settling(p.Seconds)
	return time.Duration(1+2*p.Rounds*len(p.Kinds)) * each
}

const (
	goalThroughput = 0.9      // of what the sessions carry while the same flood goes to a socket that only reads
	goalMemory     = 32 << 20 // bytes more than before the first flood
	goalHonest     = 10.0     // seconds until an honest client is in
	honestPause    = 500 * time.Millisecond
)

// honestClients is where those have their addresses, one after the other.
var honestClients = netip.MustParseAddr("127.2.0.1")

// A slice of time is what was seen in it.
type slice struct {
	Bits     float64 // a second, that arrived at the server's sinks
	CPU      float64 // seconds a second, of the server
	Sent     float64 // datagrams a second of the flood
	Dropped  float64 // datagrams a second that the server's socket had no room for
	PeakRSS  uint64
	Live     uint64
	Honest   []float64 // seconds until each honest client was in
	Refused  int       // honest clients that gave up
	Counters endpoint.Counters
}

// A floodResult is all that was seen of one kind of flood.
type floodResult struct {
	Kind            kind
	Baseline, Flood []slice
}

// ratios are those of what was carried in each round.
func (r floodResult) ratios() (all []float64) {
	for i := range r.Flood {
		all = append(all, r.Flood[i].Bits/r.Baseline[i].Bits)
	}
	return all
}

func (r floodResult) honest() (worst float64, tries, refused int) {
	for _, s := range r.Flood {
		tries += len(s.Honest) + s.Refused
		refused += s.Refused
		for _, seconds := range s.Honest {
			worst = max(worst, seconds)
		}
	}
	return worst, tries, refused
}

// A stage has everybody who takes part.
type stage struct {
	server, flooder        *roles.Child
	serverAddr, readerAddr netip.AddrPort
	honest                 int // clients so far
}

// underFlood measures, and prints. missed are the goals that were missed, in words.
func underFlood(ctx context.Context, w io.Writer, plan floodPlan) (missed []string, err error) {
	var all roles.Cast
	defer func() { all.End() }()
	s := &stage{}
	if s.server, err = all.Start("server"); err != nil {
		return nil, err
	}
	if err := s.server.Ask("start", roles.ServerConfig{}, &s.serverAddr); err != nil {
		return nil, err
	}
	reader, err := all.Start("reader")
	if err != nil {
		return nil, err
	}
	if err := reader.Ask("start", nil, &s.readerAddr); err != nil {
		return nil, err
	}
	if s.flooder, err = all.Start("flooder"); err != nil {
		return nil, err
	}
	clients, err := all.Start("clients")
	if err != nil {
		return nil, err
	}
	if err := clients.Ask("dial", roles.DialOrder{Server: s.serverAddr, Sessions: plan.Sessions, InFlight: 8, Bulk: true}, nil); err != nil {
		return nil, err
	}
	if err := clients.Ask("send", true, nil); err != nil {
		return nil, err
	}
	time.Sleep(2 * roles.Settling(plan.Seconds)) // past slow start

	// What the server has before the first flood, when it has been at work for a while. A
	// garbage collection ends each slice, so that all begin alike.
	if err := s.server.Ask("fill heap", nil, nil); err != nil {
		return nil, err
	}
	before, err := s.watch(ctx, plan.Seconds)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(w, "%d sessions carry %s; the server has %s of memory, %s live.\n",
		plan.Sessions, roles.Gigabits(before.Bits), mebibytes(before.PeakRSS), mebibytes(before.Live))

	results := make([]floodResult, len(plan.Kinds))
	for round := range plan.Rounds {
		for i, k := range plan.Kinds {
			results[i].Kind = k
			// What goes first has its turn too, lest a drift of the machine be taken for something.
			for turn := range 2 {
				if (turn+round)%2 == 0 {
					sl, err := s.during(ctx, plan, k, s.readerAddr)
					if err != nil {
						return nil, err
					}
					results[i].Baseline = append(results[i].Baseline, sl)
					continue
				}
				sl, err := s.during(ctx, plan, k, s.serverAddr)
				if err != nil {
					return nil, err
				}
				results[i].Flood = append(results[i].Flood, sl)
			}
		}
	}
	var up int
	if err := clients.Ask("up", nil, &up); err != nil {
		return nil, err
	}
	if up < plan.Sessions {
		missed = append(missed, fmt.Sprintf("%d of %d sessions stand at the end", up, plan.Sessions))
	}
	var read uint64
	if err := reader.Ask("datagrams", nil, &read); err != nil {
		return nil, err
	}
	printFlood(w, before, results, read)
	return append(missed, missedByFlood(before, results, plan)...), nil
}

// during looks at the server while a flood goes somewhere. If it goes to the server, honest clients call it meanwhile.
func (s *stage) during(ctx context.Context, plan floodPlan, k kind, to netip.AddrPort) (sl slice, err error) {
	length := plan.Seconds + roles.Settling(plan.Seconds).Seconds()
	flooding, over := context.WithCancel(ctx)
	var sent int
	var failed error
	var wg sync.WaitGroup
	wg.Go(func() {
		defer over()
		failed = s.flooder.Ask("flood", floodOrder{To: to, Kind: k, Rate: plan.Rate, Seconds: length}, &sent)
	})
	var honest []float64
	var refused int
	if to == s.serverAddr {
		wg.Go(func() { honest, refused = s.honestClients(flooding) })
	}
	time.Sleep(roles.Settling(plan.Seconds))
	sl, err = s.watch(ctx, plan.Seconds)
	wg.Wait()
	sl.Sent, sl.Honest, sl.Refused = float64(sent)/length, honest, refused
	return sl, cmp.Or(err, failed)
}

// watch looks at the server for some time.
func (s *stage) watch(ctx context.Context, seconds float64) (sl slice, err error) {
	var from, until roles.ServerReport
	if err := s.server.Ask("report", false, &from); err != nil {
		return sl, err
	}
	began := time.Now()
	select {
	case <-time.After(time.Duration(seconds * float64(time.Second))):
	case <-ctx.Done():
		return sl, ctx.Err()
	}
	if err := s.server.Ask("report", false, &until); err != nil {
		return sl, err
	}
	took := time.Since(began).Seconds()
	sl.Bits = float64(until.Bytes-from.Bytes) * 8 / took
	sl.CPU = (until.CPU - from.CPU).Seconds() / took
	sl.Dropped = float64(until.Dropped-from.Dropped) / took
	sl.PeakRSS = until.PeakRSS
	sl.Counters = until.Counters
	// Only now, since it costs something.
	if err := s.server.Ask("report", true, &until); err != nil {
		return sl, err
	}
	sl.Live = until.Live
	return sl, nil
}

// honestClients call the server one after another, each from an address that nobody has had, for as long as there is a
// flood. One that the end of the flood finds waiting counts if it has waited for longer than the goal.
func (s *stage) honestClients(flooding context.Context) (seconds []float64, refused int) {
	for flooding.Err() == nil {
		s.honest++
		began := time.Now()
		err := callOnce(flooding, s.serverAddr, roles.Nth(honestClients, s.honest))
		took := time.Since(began).Seconds()
		switch {
		case err == nil:
			seconds = append(seconds, took)
		case flooding.Err() == nil || took > goalHonest:
			refused++
		}
		select {
		case <-time.After(honestPause):
		case <-flooding.Done():
		}
	}
	return seconds, refused
}

// callOnce opens a session and closes it.
func callOnce(ctx context.Context, server netip.AddrPort, from netip.Addr) error {
	ep, err := endpoint.Listen("udp", netip.AddrPortFrom(from, 0).String(), nil)
	if err != nil {
		return err
	}
	defer func() { go ep.Close() }() // it may take its time
	_, err = roles.OpenSession(ctx, ep, server)
	return err
}

// missedByFlood says which goals were missed.
func missedByFlood(before slice, results []floodResult, plan floodPlan) (missed []string) {
	miss := func(format string, args ...any) { missed = append(missed, fmt.Sprintf(format, args...)) }
	for _, r := range results {
		if m := roles.Median(r.ratios()); m < goalThroughput {
			miss("%s: %.3f of the throughput, less than %.2f", r.Kind, m, goalThroughput)
		}
		if extra := r.extraMemory(before); extra > goalMemory {
			miss("%s: %s more memory, above %s", r.Kind, mebibytes(extra), mebibytes(goalMemory))
		}
		worst, tries, refused := r.honest()
		if refused > 0 || tries == 0 || worst > goalHonest {
			miss("%s: honest clients in within %.0f s: %d of %d, worst %.1f s", r.Kind, goalHonest, tries-refused, tries, worst)
		}
		var sent []float64
		for _, s := range slices.Concat(r.Baseline, r.Flood) {
			sent = append(sent, s.Sent)
		}
		if m := roles.Median(sent); m < 0.95*float64(plan.Rate) {
			miss("%s: a flood of %.0f/s, below %d: this machine is too slow", r.Kind, m, plan.Rate)
		}
	}
	return missed
}

// extraMemory is how much more was resident than before the first flood.
func (r floodResult) extraMemory(before slice) (extra uint64) {
	for _, s := range r.Flood {
		if s.PeakRSS > before.PeakRSS {
			extra = max(extra, s.PeakRSS-before.PeakRSS)
		}
	}
	return extra
}
