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

// A tableFormat is how a line of the table looks, and what stands between its head and
// the others.
type tableFormat struct{ row, rule string }

var (
	plain    = tableFormat{row: "%-21s %5s %2s %5s %5s %5s %5s %5s %-11s %s\n"}
	markdown = tableFormat{
		row:  "| %s | %s | %s | %s | %s | %s | %s | %s | %s | %s |\n",
		rule: "|---|---|--:|--:|--:|--:|--:|--:|---|---|\n",
	}
)

// cells are what is in a line.
type cells [10]any

func (t tableFormat) line(w io.Writer, c cells) { fmt.Fprintf(w, t.row, c[:]...) }

func (t tableFormat) head(w io.Writer) {
	t.line(w, cells{"Gbit/s", "bufs", "×", "ours", "s/GB", "theirs", "s/GB", "ratio", "spread", "goal"})
	io.WriteString(w, t.rule)
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

// cells are the figure's line of the table, which has 80 columns where it is plain.
func (f figure) cells(r result, flows int, small bool) cells {
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
	return cells{f.name, buffers(small), n, fmt.Sprintf(f.format, r.ours), seconds(r.oursCPU), theirs, seconds(r.theirsCPU), ratio, spread, goal}
}

// miss says that the goal is missed.
func (f figure) miss(r result, flows int, small bool) string {
	return fmt.Sprintf("%s (%s buffers, %d at a time): %.3g, goal %s", f.name, buffers(small), flows, r.median, f.bound())
}
