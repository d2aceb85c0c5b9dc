//go:build linux

package main

import (
	"bytes"
	"encoding/xml"
	"os"
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

// The program in small, so that it does not rot: the scenes that need nobody else and no namespace have a line for each of
// their figures. What it says, nobody judges here.
func TestOneRound(t *testing.T) {
	for _, only := range []string{"inside ÷", "back, CPU", "Ethernet", "allocs", "sequenced", "lossy", "set-ups"} {
		p, err := parse([]string{"--rounds", "1", "--seconds", "0.1", "--only", only, "--flows", "2"}, os.Stderr)
		if err != nil {
			t.Fatal(err)
		}
		var said bytes.Buffer
		if _, err := p.run(t.Context(), &said); err != nil {
			t.Fatalf("%s: %v", only, err)
		}
		t.Logf("\n%s", said.String())
		for _, f := range p.figures() {
			if !strings.Contains(said.String(), f.name) {
				t.Errorf("expected a line for %q, found none", f.name)
			}
		}
		for line := range strings.Lines(said.String()) {
			if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > 80 {
				t.Errorf("expected at most 80 columns, found %d: %q", n, line)
			}
		}
	}
}

func TestGoals(t *testing.T) {
	least := figure{goal: 3}
	most := figure{goal: 0.9, atMost: true}
	none := figure{atMost: true, asManyZeros: true}
	for _, c := range []struct {
		f    figure
		v    float64
		want bool
	}{{least, 3, true}, {least, 2.99, false}, {most, 0.9, true}, {most, 0.91, false}, {none, 0.004, true}, {none, 0.006, false}} {
		if got := c.f.met(c.v); got != c.want {
			t.Errorf("%v, goal %s: expected %v, found %v", c.v, c.f.bound(), c.want, got)
		}
	}
}

// Ratios are of the same round, and the median is of them.
func TestResultIsOfRatios(t *testing.T) {
	f := figure{lane: "a", over: "b", value: bits}
	seen := map[string][]sample{
		"a": {{Bits: 2e9}, {Bits: 40e9}, {Bits: 9e9}},
		"b": {{Bits: 1e9}, {Bits: 10e9}, {Bits: 3e9}},
	}
	r, ok := f.result(seen)
	if !ok || r.median != 3 || r.least != 2 || r.most != 4 {
		t.Errorf("expected 3, from 2 to 4, found %+v, %v", r, ok)
	}
	delete(seen, "b")
	if _, ok := f.result(seen); ok {
		t.Error("expected no result without the other lane")
	}
}

func TestPlotIsXML(t *testing.T) {
	drawn := svg([]*panel{{title: "flows", x: []int{1, 2}, y: map[string][]float64{ours: {1, 2.5}, rawUDP: {0, 0.5}}}})
	var root struct {
		Lines []struct{} `xml:"polyline"`
		Dots  []struct{} `xml:"circle"`
	}
	if err := xml.Unmarshal([]byte(drawn), &root); err != nil {
		t.Fatalf("%v\n%s", err, drawn)
	}
	if len(root.Lines) != len(plotted) || len(root.Dots) != 2*len(plotted) {
		t.Errorf("expected two lines of two dots, found %d of %d", len(root.Lines), len(root.Dots))
	}
}
