//go:build linux

package main

import (
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/l2tpnet/l2tpnet/integration/internal/roles"
)

// A result is a figure's, of all rounds.
type result struct {
	ours, theirs        float64 // medians of the values
	oursCPU, theirsCPU  float64 // and of their CPU
	median, least, most float64 // of the ratios, or of the values where there are none
}

// result is what the samples say, by their lanes; false: some are missing.
func (f figure) result(seen map[string][]sample) (r result, ok bool) {
	mine, other := seen[f.lane], seen[f.over]
	if len(mine) == 0 || f.over != "" && len(other) == 0 {
		return r, false
	}
	each := func(all []sample, of func(sample) float64) (values []float64) {
		for _, s := range all {
			values = append(values, of(s))
		}
		return values
	}
	values := each(mine, f.value)
	used := cpu
	if f.back {
		used = backCPU
	}
	r.ours, r.oursCPU = roles.Median(values), roles.Median(each(mine, used))
	r.theirs, r.theirsCPU = roles.Median(each(other, f.value)), roles.Median(each(other, used))
	if f.over != "" {
		for i, v := range each(other, f.value) {
			values[i] /= v
		}
	}
	r.median, r.least, r.most = roles.Median(values), slices.Min(values), slices.Max(values)
	return r, true
}

const row = "%-21s %5s %2s %5s %5s %5s %5s %5s %-11s %s"

func printHead(w io.Writer) {
	fmt.Fprintf(w, row+"\n", "Gbit/s", "bufs", "×", "ours", "s/GB", "theirs", "s/GB", "ratio", "spread", "goal")
}

func buffers(small bool) string {
	if small {
		return "stock"
	}
	return "wide"
}

// bound is the goal in words: "≥ 3".
func (f figure) bound() string {
	if f.atMost {
		return fmt.Sprintf("≤%g", f.goal)
	}
	return fmt.Sprintf("≥%g", f.goal)
}

// line is the figure's line of the table, of 80 columns.
func (f figure) line(r result, flows int, small bool) string {
	seconds := func(v float64) string {
		if v == 0 || math.IsNaN(v) {
			return ""
		}
		return fmt.Sprintf("%.2f", v)
	}
	n := fmt.Sprint(flows)
	if f.oneFlow {
		n = ""
	}
	theirs, ratio, spread := "", "", fmt.Sprintf(f.format+"–"+f.format, r.least, r.most)
	if f.over != "" {
		theirs, ratio = fmt.Sprintf(f.format, r.theirs), fmt.Sprintf("%.2f", r.median)
		spread = fmt.Sprintf("%.2f–%.2f", r.least, r.most)
	}
	goal := f.bound() + " ✓"
	if !f.met(r.median) {
		goal = f.bound() + " ✗"
	}
	return fmt.Sprintf(row, f.name, buffers(small), n, fmt.Sprintf(f.format, r.ours), seconds(r.oursCPU), theirs, seconds(r.theirsCPU), ratio, spread, goal)
}

// miss says that the goal is missed.
func (f figure) miss(r result, flows int, small bool) string {
	return fmt.Sprintf("%s (%s buffers, %d at a time): %.3g, goal %s", f.name, buffers(small), flows, r.median, f.bound())
}
