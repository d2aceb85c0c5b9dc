package roles

import (
	"fmt"
	"io"
	"slices"
	"time"
)

// Median is the middle of some values; 0 of none.
func Median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	v := slices.Sorted(slices.Values(values))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// Gigabits is bits a second in words.
func Gigabits(bits float64) string { return fmt.Sprintf("%.2f Gbit/s", bits/1e9) }

// Settling is how long what has begun runs before it is looked at, for the given seconds.
func Settling(seconds float64) time.Duration {
	return min(time.Second, time.Duration(seconds*float64(time.Second)))
}

// Verdict says which goals were missed, and returns the program's exit status: 1 if there are any.
func Verdict(w io.Writer, missed []string) (status int) {
	for _, m := range missed {
		fmt.Fprintln(w, "MISSED:", m)
	}
	if len(missed) > 0 {
		return 1
	}
	fmt.Fprintln(w, "All goals are met.")
	return 0
}
