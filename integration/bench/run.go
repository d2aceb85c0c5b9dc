//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/l2tpnet/l2tpnet/integration/internal/roles"
)

// length is about how long a plan takes, were nothing missing.
func (p plan) length() time.Duration {
	wanted := p.figures()
	lanes := map[string]float64{}
	for _, f := range wanted {
		for _, l := range []string{f.lane, f.over} {
			if l == "" {
				continue
			}
			turn := f.scene.turn(p.seconds)
			if f.back && l != rawUDP {
				turn *= 2
			}
			times := len(p.flows) * len(p.buffers)
			switch {
			case f.scene == setUps:
				times = len(p.buffers)
			case f.scene == lossyNetwork:
				times = len(p.flows)
			}
			lanes[f.scene.name+l] = max(lanes[f.scene.name+l], turn*float64(times))
		}
	}
	each := 0.0
	for _, turns := range lanes {
		each += turns
	}
	if p.plot != "" {
		for _, panel := range panels() {
			each += float64(len(panel.x)*len(plotted)) * p.pointTurn()
		}
	}
	return time.Duration(each * float64(p.rounds) * float64(time.Second))
}

// turn is how many seconds a turn of a scene takes, where seconds of it count.
func (s *scene) turn(seconds float64) float64 {
	if s.longer > 1 {
		return s.longer*seconds + roles.Settling(s.longer*seconds).Seconds()
	}
	return seconds + settling(seconds).Seconds()
}

// run plays all scenes, prints the table, and returns the goals that were missed, in words.
func (p plan) run(ctx context.Context, w io.Writer) (missed []string, err error) {
	wanted := p.figures()
	format := plain
	if p.page {
		format = markdown
	}
	// Of a page the table is one piece: what is to be noted follows it.
	var notes []string
	defer func() {
		if p.page && len(notes) > 0 {
			fmt.Fprintln(w)
			for _, n := range notes {
				fmt.Fprintln(w, "- "+n)
			}
		}
	}()
	note := func(n string) {
		switch {
		case slices.Contains(notes, n):
			return
		case !p.page:
			fmt.Fprintln(w, n)
		}
		notes = append(notes, n)
	}
	format.head(w)
	for _, s := range scenes(wanted) {
		for _, small := range p.buffers {
			m, err := p.play(ctx, w, s, small, wanted, format, note)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", s.name, err)
			}
			missed = append(missed, m...)
		}
	}
	return missed, nil
}

// play plays a scene with buffers of one kind.
func (p plan) play(ctx context.Context, w io.Writer, s *scene, small bool, wanted []figure, format tableFormat, note func(string)) (missed []string, err error) {
	h := &hall{ctx: ctx, out: w, dir: p.dir, back: map[string]bool{}, absent: map[string]string{}}
	for _, f := range wanted {
		if f.scene == s && f.back {
			h.back[f.lane], h.back[f.over] = true, true
		}
	}
	defer h.end()
	lanes, err := s.open(h, small, func(lane string) bool { return wants(wanted, s, lane) })
	if err != nil {
		return nil, err
	}
	for lane, why := range h.absent {
		h.notes = append(h.notes, fmt.Sprintf("MISSING: %s: %s", lane, why))
	}
	for _, n := range slices.Sorted(slices.Values(h.notes)) {
		note(n)
	}
	for i, flows := range p.flows {
		figures := slices.Clone(wanted)
		figures = slices.DeleteFunc(figures, func(f figure) bool { return f.scene != s || f.oneFlow && i > 0 })
		if len(figures) == 0 {
			continue
		}
		seen, failed := map[string][]sample{}, map[string]bool{}
		for round := range p.rounds {
			for turn := range lanes {
				// What goes first has its turn too, lest a drift of the machine be taken for something.
				l := lanes[(turn+round)%len(lanes)]
				if failed[l.name] {
					continue
				}
				got, err := l.measure(flows, p.seconds*max(1, s.longer))
				if err != nil && ctx.Err() == nil { // once more: a yardstick may stumble
					got, err = l.measure(flows, p.seconds*max(1, s.longer))
				}
				switch {
				case err == nil:
					seen[l.name] = append(seen[l.name], got)
				case l.name == lanes[0].name, ctx.Err() != nil: // it is ours
					return nil, fmt.Errorf("%s: %w", l.name, err)
				default:
					failed[l.name] = true
					delete(seen, l.name)
					note(fmt.Sprintf("FAILED: %s, %d at a time: %v", l.name, flows, err))
				}
			}
		}
		for _, f := range figures {
			if r, ok := f.result(seen); ok {
				format.line(w, f.cells(r, flows, small))
				if !f.met(r.median) {
					missed = append(missed, f.miss(r, flows, small))
				}
			}
		}
	}
	return missed, nil
}
