//go:build linux

package main

import (
	"fmt"
	"io"
	"reflect"
	"slices"
	"text/tabwriter"

	"github.com/l2tpnet/l2tpnet/integration/internal/roles"
)

// printFlood prints the tables.
func printFlood(w io.Writer, before slice, results []floodResult, read uint64) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "\nthe flood\tsent/s\tread only\tflooded\tratio\tspread\t\n")
	for _, r := range results {
		ratios := r.ratios()
		fmt.Fprintf(t, "%s\t%.0f\t%s\t%s\t%.2f\t%.2f–%.2f\t\n", r.Kind, pick(r.Flood, func(s slice) float64 { return s.Sent }),
			roles.Gigabits(pick(r.Baseline, bits)), roles.Gigabits(pick(r.Flood, bits)), roles.Median(ratios), slices.Min(ratios), slices.Max(ratios))
	}
	t.Flush()
	fmt.Fprintf(t, "\nthe server\tCPU s/s\tlost/s\tmemory\tlive\thonest\tworst\t\n")
	for _, r := range results {
		worst, tries, refused := r.honest()
		cpu, lost := func(s slice) float64 { return s.CPU }, func(s slice) float64 { return s.Dropped }
		live := uint64(0)
		for _, s := range r.Flood {
			live = max(live, s.Live)
		}
		fmt.Fprintf(t, "%s\t%.2f → %.2f\t%.0f → %.0f\t+%s\t+%s\t%d of %d\t%.1f s\t\n", r.Kind, pick(r.Baseline, cpu), pick(r.Flood, cpu),
			pick(r.Baseline, lost), pick(r.Flood, lost),
			mebibytes(r.extraMemory(before)), mebibytes(live-min(live, before.Live)), tries-refused, tries, worst)
	}
	t.Flush()
	fmt.Fprintf(w, "\nMedians of %d rounds; memory, beyond what it was before, and honest clients at\ntheir worst. Lost are the datagrams that the server's socket had no room for.\n", len(results[0].Flood))
	last := results[len(results)-1].Flood
	c := last[len(last)-1].Counters
	fmt.Fprintf(w, "The reader has read %d datagrams. The server has received %d, of which\n", read, c.Received)
	v := reflect.ValueOf(c)
	for i := range v.NumField() {
		if n := v.Field(i).Uint(); n > 0 && v.Type().Field(i).Name != "Received" {
			fmt.Fprintf(w, "  %12d  %s\n", n, v.Type().Field(i).Name)
		}
	}
}

func bits(s slice) float64 { return s.Bits }

// pick is the median of something in all slices.
func pick(all []slice, of func(slice) float64) float64 {
	var values []float64
	for _, s := range all {
		values = append(values, of(s))
	}
	return roles.Median(values)
}

func mebibytes(n uint64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }
