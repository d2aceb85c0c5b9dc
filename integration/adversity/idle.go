//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/l2tpnet/l2tpnet/integration/internal/roles"
)

// An idlePlan is what is measured with idle sessions.
type idlePlan struct {
	Rounds   int
	Seconds  float64 // of bulk with the idle sessions in each round, and without
	Sessions int     // that are idle
}

const (
	goalPerSession = 16 << 10 // bytes of a tunnel with one session and its PPP, at one end
	goalBulk       = 0.9      // of the throughput without idle sessions
	inFlight       = 64
)

// A house is a server with one client at work.
type house struct {
	server, client *roles.Child
	addr           netip.AddrPort
	bits           []float64 // a second, in each round
}

// besideIdle measures, and prints. Two servers are alike, but one of them has the idle sessions:
//
//	clients: 10,000 sessions ─► server A ◄─ bulk ─ client A
//	                            server B ◄─ bulk ─ client B
func besideIdle(ctx context.Context, w io.Writer, plan idlePlan) (missed []string, err error) {
	var all roles.Cast
	defer func() { all.End() }()
	houses := make([]*house, 2)
	for i := range houses {
		h := &house{}
		houses[i] = h
		if h.server, err = all.Start("server"); err != nil {
			return nil, err
		}
		if err := h.server.Ask("start", roles.ServerConfig{Sessions: plan.Sessions}, &h.addr); err != nil {
			return nil, err
		}
	}
	idlers, err := all.Start("clients")
	if err != nil {
		return nil, err
	}
	crowded := houses[0]

	// One session first, for what there is but once.
	if err := idlers.Ask("dial", roles.DialOrder{Server: crowded.addr, Sessions: 1, InFlight: 1}, nil); err != nil {
		return nil, err
	}
	ends := []struct {
		name          string
		child         *roles.Child
		before, after roles.Usage
	}{{name: "answering", child: crowded.server}, {name: "dialling", child: idlers}}
	for i := range ends {
		if err := ends[i].child.Ask("report", true, &ends[i].before); err != nil {
			return nil, err
		}
	}
	var took float64
	if err := idlers.Ask("dial", roles.DialOrder{Server: crowded.addr, Sessions: plan.Sessions, InFlight: inFlight}, &took); err != nil {
		return nil, err
	}
	time.Sleep(roles.Settling(plan.Seconds)) // what has been used to set them up may go
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "\nidle sessions\tlive each\tresident each\tCPU to set up\t\n")
	for i := range ends {
		e := &ends[i]
		if err := e.child.Ask("report", true, &e.after); err != nil {
			return nil, err
		}
		each := float64(e.after.Live-e.before.Live) / float64(plan.Sessions)
		fmt.Fprintf(t, "%d, the %s end\t%.0f B\t%.0f B\t%.2f ms\t\n", plan.Sessions, e.name, each,
			float64(int64(e.after.RSS)-int64(e.before.RSS))/float64(plan.Sessions),
			(e.after.CPU-e.before.CPU).Seconds()*1000/float64(plan.Sessions))
		if each > goalPerSession {
			missed = append(missed, fmt.Sprintf("the %s end: %.0f bytes for each idle session, above %d", e.name, each, goalPerSession))
		}
	}
	t.Flush()
	fmt.Fprintf(w, "\nThey were set up in %.1f s, %.0f a second, %d at a time.\n", took, float64(plan.Sessions)/took, inFlight)

	for _, h := range houses {
		if h.client, err = all.Start("clients"); err != nil {
			return nil, err
		}
		if err := h.client.Ask("dial", roles.DialOrder{Server: h.addr, Sessions: 1, InFlight: 1, Bulk: true}, nil); err != nil {
			return nil, err
		}
	}
	for round := range plan.Rounds {
		for turn := range houses {
			h := houses[(turn+round)%len(houses)]
			if err := h.measure(ctx, plan.Seconds); err != nil {
				return nil, err
			}
		}
	}
	var up int
	if err := idlers.Ask("up", nil, &up); err != nil {
		return nil, err
	}
	if up < plan.Sessions+1 {
		missed = append(missed, fmt.Sprintf("%d of %d idle sessions stand at the end", up, plan.Sessions+1))
	}
	var ratios []float64
	for i := range plan.Rounds {
		ratios = append(ratios, houses[0].bits[i]/houses[1].bits[i])
	}
	fmt.Fprintf(t, "\nbulk\twith idle ones\twithout\tratio\tspread\t\n")
	fmt.Fprintf(t, "one connection\t%s\t%s\t%.2f\t%.2f–%.2f\t\n", roles.Gigabits(roles.Median(houses[0].bits)), roles.Gigabits(roles.Median(houses[1].bits)),
		roles.Median(ratios), slices.Min(ratios), slices.Max(ratios))
	t.Flush()
	fmt.Fprintf(w, "\nMedians of %d rounds.\n", plan.Rounds)
	if m := roles.Median(ratios); m < goalBulk {
		missed = append(missed, fmt.Sprintf("%.3f of the throughput beside %d idle sessions, less than %.2f", m, plan.Sessions, goalBulk))
	}
	return missed, nil
}

// measure has the client send for some time.
func (h *house) measure(ctx context.Context, seconds float64) error {
	if err := h.client.Ask("send", true, nil); err != nil {
		return err
	}
	time.Sleep(roles.Settling(seconds))
	var from, until roles.ServerReport
	if err := h.server.Ask("report", false, &from); err != nil {
		return err
	}
	began := time.Now()
	select {
	case <-time.After(time.Duration(seconds * float64(time.Second))):
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := h.server.Ask("report", false, &until); err != nil {
		return err
	}
	h.bits = append(h.bits, float64(until.Bytes-from.Bytes)*8/time.Since(began).Seconds())
	return h.client.Ask("send", false, nil)
}
