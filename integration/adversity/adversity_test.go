//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"
)

func TestMain(m *testing.M) {
	if name := os.Getenv(roleVariable); name != "" {
		if err := play(name); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
			os.Exit(2)
		}
		return
	}
	os.Exit(m.Run())
}

// The program in small, so that it does not rot: it says what it has found. What that is, nobody judges here.
func TestTables(t *testing.T) {
	for _, c := range []struct {
		args []string
		want []string
	}{
		{[]string{"-rounds", "1", "-seconds", "0.5", "-rate", "2000", "-sessions", "4"}, []string{
			"4 sessions carry ", string(once), string(afterASec), string(atOnce), " MiB", "The server has received "}},
		{[]string{"-rounds", "1", "-seconds", "0.3", "-idle", "50", "idle"}, []string{
			"50, the answering end", "50, the dialling end", " a second", "one connection"}},
	} {
		var stdout, stderr bytes.Buffer
		status := run(t.Context(), c.args, &stdout, &stderr)
		if status > 1 || stderr.Len() > 0 {
			t.Fatalf("%q: expected tables, found status %d and %s", c.args, status, stderr.String())
		}
		for _, want := range c.want {
			if !strings.Contains(stdout.String(), want) {
				t.Errorf("%q: expected %q in what it prints, found\n%s", c.args, want, stdout.String())
			}
		}
		for line := range strings.Lines(stdout.String()) {
			if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > 80 {
				t.Errorf("%q: expected at most 80 columns, found %d: %q", c.args, n, line)
			}
		}
		t.Logf("%s", stdout.String())
	}
}

// Each kind of flood repeats what it says, when it says.
func TestKindsOfFlood(t *testing.T) {
	const rate, n = 1000, 5000
	for _, k := range kinds {
		at := map[int][]int{} // when a tuple came, by tuple
		for i := range n {
			tuple := k.tuple(i, rate)
			at[tuple] = append(at[tuple], i)
		}
		for tuple, when := range at {
			switch {
			case k == once && len(when) != 1:
				t.Errorf("%s: tuple %d came %d times", k, tuple, len(when))
			case k == atOnce && (len(when) != 2 || when[1] != when[0]+1):
				t.Errorf("%s: tuple %d came at %v", k, tuple, when)
			case k == afterASec && when[0] < n-rate-1 && tuple < 1<<30 && (len(when) != 2 || when[1]-when[0] < rate || when[1]-when[0] > rate+1):
				t.Errorf("%s: tuple %d came at %v", k, tuple, when)
			}
		}
	}
}

// 2^20 sources, and no tuple twice among the laps of a flood of a minute.
func TestTuplesDiffer(t *testing.T) {
	seen, from := map[[2]uint32]bool{}, map[uint32]bool{}
	const tuples = 60 * 50000
	for n := range tuples {
		s := source(n)
		seen[[2]uint32{s, uint32(tunnelID(n))}] = true
		from[s] = true
		if tunnelID(n) == 0 {
			t.Fatalf("tuple %d has tunnel id 0", n)
		}
	}
	if len(seen) != tuples || len(from) != sources {
		t.Errorf("expected %d tuples from %d sources, found %d from %d", tuples, sources, len(seen), len(from))
	}
}
