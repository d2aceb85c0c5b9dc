//go:build linux

package main

import (
	"bytes"
	"encoding/xml"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

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

// Issue: "a plot (SVG) of throughput by flows and by MTU". It says what it is of, in which units, and on which machine.
func TestPlotIsXML(t *testing.T) {
	two := panels()
	for _, p := range two {
		p.y = map[string][]spread{}
		for x := range p.x {
			for _, l := range plotted {
				p.y[l.lane] = append(p.y[l.lane], spread{float64(x), float64(x) / 2, float64(2 * x)})
			}
		}
	}
	drawn := svg(two, "2 × A <machine> & its versions")
	var root struct {
		Lines []struct {
			Points string `xml:"points,attr"`
		} `xml:"polyline"`
		Dots []struct {
			X string `xml:"cx,attr"`
			Y string `xml:"cy,attr"`
		} `xml:"circle"`
		Texts []string `xml:"text"`
	}
	if err := xml.Unmarshal([]byte(drawn), &root); err != nil {
		t.Fatalf("%v\n%s", err, drawn)
	}
	if len(root.Lines) != 2*len(plotted) {
		t.Errorf("expected %d lines, found %d", 2*len(plotted), len(root.Lines))
	}
	for _, text := range []string{"Gbit/s", "TCP connections at a time", "MTU inside the tunnel, bytes", "16", "1400", plotted[0].legend, plotted[1].legend, "2 × A <machine> & its versions"} {
		if !slices.Contains(root.Texts, text) {
			t.Errorf("expected %q in the plot, found %q", text, root.Texts)
		}
	}
	// In the legend there is one for each line; the others are where the lines bend.
	var dots, bends []string
	for _, d := range root.Dots[len(plotted):] {
		dots = append(dots, d.X+","+d.Y)
	}
	for _, l := range root.Lines {
		bends = append(bends, strings.Fields(l.Points)...)
	}
	if !slices.Equal(dots, bends) || len(dots) != 2*(5+6) {
		t.Errorf("expected dots at %q, found %q", bends, dots)
	}
}

// All that is told takes less than half an hour, by default.
func TestLength(t *testing.T) {
	p, err := parse([]string{"--rounds", "8", "--markdown", "--plot", "p.svg"}, os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	if took := p.length(); took > 25*time.Minute || took < 10*time.Minute {
		t.Errorf("expected at most 25 min, found %v", took)
	}
	for _, c := range []struct{ args, want string }{{"--only plot", "expected --plot"}, {"--only nothing", "expected a part of one of these names"}} {
		if _, err := parse(strings.Fields(c.args), os.Stderr); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: expected an error with %q, found %v", c.args, c.want, err)
		}
	}
	if p, err := parse(strings.Fields("--only plot --plot p.svg"), os.Stderr); err != nil || len(p.figures()) > 0 {
		t.Errorf("--only plot: expected the plot alone, found %d figures, %v", len(p.figures()), err)
	}
}
