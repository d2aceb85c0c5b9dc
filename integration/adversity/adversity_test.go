//go:build linux

package main

import (
	"bytes"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/l2tpnet/l2tpnet/integration/internal/roles"
)

func TestMain(m *testing.M) {
	if roles.Main(parts) {
		return
	}
	os.Exit(m.Run())
}

// The program in small, so that it does not rot: it says what it has found. What that is, nobody judges here, but that an
// honest client gets in at all: where the machine is busy, in a longer flood.
func TestFlood(t *testing.T) {
	in := regexp.MustCompile(`each tuple once .* ([1-9]\d*) of \d+ `)
	for seconds := 3.0; ; seconds *= 3 {
		var said bytes.Buffer
		plan := floodPlan{Kinds: kinds[:1], Rounds: 1, Seconds: seconds, Rate: 2000, Sessions: 2}
		if _, err := underFlood(t.Context(), &said, plan); err != nil {
			t.Fatal(err)
		}
		t.Logf("%s", said.String())
		mustSay(t, said.String(), "2 sessions carry ", " MiB live.", string(once), "The server has received ")
		if in.MatchString(said.String()) {
			return
		}
		if seconds > 20 {
			t.Fatal("expected an honest client to get in, found none")
		}
	}
}

func TestIdle(t *testing.T) {
	var stdout, stderr bytes.Buffer
	status := run(t.Context(), []string{"-rounds", "1", "-seconds", "0.3", "-idle", "50", "idle"}, &stdout, &stderr)
	t.Logf("%s", stdout.String())
	if status > 1 || stderr.Len() > 0 {
		t.Fatalf("expected tables, found status %d and %s", status, stderr.String())
	}
	mustSay(t, stdout.String(), "50, the answering end", "50, the dialling end", " a second", "one connection")
}

func mustSay(t *testing.T, said string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(said, want) {
			t.Errorf("expected %q in what it prints", want)
		}
	}
	for line := range strings.Lines(said) {
		if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > 80 {
			t.Errorf("expected at most 80 columns, found %d: %q", n, line)
		}
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
	from := make([]bool, sources)
	for n := range sources {
		ids := map[uint16]bool{}
		for lap := range 3 {
			tuple := n + lap*sources
			if source(tuple) != source(n) {
				t.Fatalf("tuples %d and %d: expected the same source, found others", n, tuple)
			}
			ids[tunnelID(tuple)] = true
		}
		if len(ids) != 3 || ids[0] {
			t.Fatalf("source %d: expected three ids, none of them 0, found %v", n, ids)
		}
		from[source(n)-sourcesNet] = true
	}
	if slices.Contains(from, false) {
		t.Error("expected tuples of all sources, found none of some")
	}
}
