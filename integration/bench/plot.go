//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"strings"

	"github.com/l2tpnet/l2tpnet/integration/internal/roles"
)

// A panel is one of the plot's two: throughput by something.
type panel struct {
	title string
	x     []int
	y     map[string][]float64 // Gbit/s by lane, for each x
}

// plotted are the lanes, and the colours of their lines.
var plotted = []struct{ lane, colour string }{{ours, "#0b6bcb"}, {rawUDP, "#c05621"}}

// draw measures both ends inside two processes, and raw UDP in turns with it, by flows and by MTU, and writes the plot.
func (p plan) draw(ctx context.Context, w io.Writer) error {
	panels := []*panel{
		{title: "connections at a time, MTU 1,400", x: []int{1, 2, 4, 8, 16}},
		{title: "MTU inside, one connection", x: []int{576, 700, 850, 1000, 1200, 1400}},
	}
	for i, panel := range panels {
		panel.y = map[string][]float64{}
		for _, x := range panel.x {
			flows, mtu := x, datagram
			if i == 1 {
				flows, mtu = 1, x
			}
			if err := p.point(ctx, panel, flows, mtu); err != nil {
				return fmt.Errorf("%s, %d: %w", panel.title, x, err)
			}
			fmt.Fprintf(w, "%s, %d:", panel.title, x)
			for _, l := range plotted {
				fmt.Fprintf(w, " %s %.2f", l.lane, panel.y[l.lane][len(panel.y[l.lane])-1])
			}
			fmt.Fprintln(w, " Gbit/s")
		}
	}
	return os.WriteFile(p.plot, []byte(svg(panels)), 0o644)
}

// point appends the medians of all rounds to a panel.
func (p plan) point(ctx context.Context, to *panel, flows, mtu int) error {
	h := &hall{ctx: ctx, absent: map[string]string{}}
	defer h.end()
	tunnel, err := h.tunnel(nil, "", tunnelOrder{MTU: mtu})
	if err != nil {
		return err
	}
	raw, err := h.datagrams(mtu)
	if err != nil {
		return err
	}
	seen := map[string][]float64{}
	for range p.rounds {
		for _, l := range []lane{tunnel.lane(h, ours), raw.lane(h, rawUDP)} {
			s, err := l.measure(flows, p.seconds)
			if err != nil {
				return fmt.Errorf("%s: %w", l.name, err)
			}
			seen[l.name] = append(seen[l.name], bits(s))
		}
	}
	for _, l := range plotted {
		to.y[l.lane] = append(to.y[l.lane], roles.Median(seen[l.lane]))
	}
	return nil
}

const (
	panelWidth, panelHeight = 330.0, 200.0
	panelLeft, panelTop     = 45.0, 40.0
	panelApart              = 400.0
)

// svg draws the panels beside each other. Steps of x are as wide as each other, whatever they are.
func svg(panels []*panel) string {
	most := 0.0
	for _, p := range panels {
		for _, y := range p.y {
			for _, v := range y {
				most = max(most, v)
			}
		}
	}
	step := math.Pow(10, math.Floor(math.Log10(max(most, 0.01))))
	if most/step < 3 {
		step /= 2
	}
	top := math.Ceil(most/step) * step
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%.0f" height="290" font-family="sans-serif" font-size="11">`+"\n", panelApart*float64(len(panels)))
	b.WriteString(`<rect width="100%" height="100%" fill="white"/>` + "\n")
	for i, p := range panels {
		left := panelLeft + panelApart*float64(i)
		at := func(x int, y float64) (float64, float64) {
			return left + panelWidth*float64(x)/float64(max(1, len(p.x)-1)), panelTop + panelHeight*(1-y/top)
		}
		for y := 0.0; y <= top+step/2; y += step {
			_, py := at(0, y)
			fmt.Fprintf(&b, `<path d="M%.0f %.1fh%.0f" stroke="#ddd"/><text x="%.0f" y="%.1f" text-anchor="end">%.3g</text>`+"\n", left, py, panelWidth, left-6, py+4, y)
		}
		for x, label := range p.x {
			px, py := at(x, 0)
			fmt.Fprintf(&b, `<text x="%.1f" y="%.1f" text-anchor="middle">%d</text>`+"\n", px, py+16, label)
		}
		fmt.Fprintf(&b, `<text x="%.0f" y="%.0f" text-anchor="middle">%s</text>`+"\n", left+panelWidth/2, panelTop+panelHeight+36, p.title)
		for n, l := range plotted {
			var points []string
			for x, y := range p.y[l.lane] {
				px, py := at(x, y)
				points = append(points, fmt.Sprintf("%.1f,%.1f", px, py))
				fmt.Fprintf(&b, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>`+"\n", px, py, l.colour)
			}
			fmt.Fprintf(&b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`+"\n", strings.Join(points, " "), l.colour)
			fmt.Fprintf(&b, `<text x="%.0f" y="22" fill="%s">%s, Gbit/s</text>`+"\n", left+120*float64(n), l.colour, l.lane)
		}
	}
	b.WriteString("</svg>\n")
	return b.String()
}
