//go:build linux

package main

import (
	"context"
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"

	"github.com/l2tpnet/l2tpnet/integration/internal/roles"
)

// A panel is one of the plot's two: throughput by something.
type panel struct {
	title, axis string
	x           []int
	y           map[string][]spread // Gbit/s by lane, for each x
}

// A spread is what several rounds have measured.
type spread struct{ median, least, most float64 }

func panels() []*panel {
	return []*panel{
		{title: "by connections, MTU 1,400", axis: "TCP connections at a time", x: []int{1, 2, 4, 8, 16}},
		{title: "by MTU, one connection", axis: "MTU inside the tunnel, bytes", x: []int{576, 700, 850, 1000, 1200, 1400}},
	}
}

// plotted are the lanes, their names in the legend, and the colours of their lines.
var plotted = []struct{ lane, legend, colour string }{
	{ours, "l2tpnet: TCP through the tunnel, both ends in processes", "#0b6bcb"},
	{rawUDP, "raw UDP in Go: datagrams as long, one system call each", "#c05621"},
}

// draw measures both ends inside two processes, and raw UDP in turns with it, by flows and by MTU, and writes the plot.
func (p plan) draw(ctx context.Context, w io.Writer) error {
	all := panels()
	for i, panel := range all {
		panel.y = map[string][]spread{}
		for _, x := range panel.x {
			flows, mtu := x, datagram
			if i == 1 {
				flows, mtu = 1, x
			}
			if err := p.point(ctx, panel, flows, mtu); err != nil {
				return fmt.Errorf("%s, %d: %w", panel.title, x, err)
			}
			if p.page {
				continue // a table is one piece
			}
			fmt.Fprintf(w, "%s, %d:", panel.title, x)
			for _, l := range plotted {
				last := panel.y[l.lane][len(panel.y[l.lane])-1]
				fmt.Fprintf(w, " %s %.2f (%.2f–%.2f)", l.lane, last.median, last.least, last.most)
			}
			fmt.Fprintln(w, " Gbit/s")
		}
	}
	under := fmt.Sprintf("%s · medians of %d rounds of %g s in turns, and their spread", machine(), p.rounds, p.pointSeconds())
	return os.WriteFile(p.plot, []byte(svg(all, under)), 0o644)
}

// pointSeconds is the length of a turn: there are many points, and no goal is judged by one.
func (p plan) pointSeconds() float64 { return p.seconds / 2 }

// pointTurn is how many seconds a turn takes.
func (p plan) pointTurn() float64 { return p.pointSeconds() + settling(p.pointSeconds()).Seconds() }

// point appends what all rounds have measured to a panel.
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
			s, err := l.measure(flows, p.pointSeconds())
			if err != nil && ctx.Err() == nil {
				s, err = l.measure(flows, p.pointSeconds())
			}
			if err != nil {
				return fmt.Errorf("%s: %w", l.name, err)
			}
			seen[l.name] = append(seen[l.name], bits(s))
		}
	}
	for _, l := range plotted {
		values := seen[l.lane]
		to.y[l.lane] = append(to.y[l.lane], spread{roles.Median(values), slices.Min(values), slices.Max(values)})
	}
	return nil
}

const (
	panelWidth, panelHeight = 340.0, 220.0
	panelLeft, panelTop     = 60.0, 90.0
	panelApart              = 430.0
	plotHeight              = 400.0
)

// svg draws the panels beside each other, of one scale. Steps of x are as wide as each other, whatever they are.
func svg(panels []*panel, under string) string {
	most := 0.0
	for _, p := range panels {
		for _, y := range p.y {
			for _, v := range y {
				most = max(most, v.most)
			}
		}
	}
	step := math.Pow(10, math.Floor(math.Log10(max(most, 0.01))))
	if most/step < 3 {
		step /= 2
	}
	top := math.Ceil(most/step) * step
	var b strings.Builder
	text := func(x, y float64, attributes, format string, a ...any) {
		fmt.Fprintf(&b, `<text x="%.1f" y="%.1f" %s>`, x, y, attributes)
		xml.EscapeText(&b, fmt.Appendf(nil, format, a...))
		b.WriteString("</text>\n")
	}
	width := panelApart * float64(len(panels))
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%.0f" height="%.0f" viewBox="0 0 %[1]g %[2]g" font-family="sans-serif" font-size="12" fill="#222">`+"\n", width, plotHeight)
	b.WriteString(`<rect width="100%" height="100%" fill="white"/>` + "\n")
	for n, l := range plotted {
		y := 22 + 18*float64(n)
		fmt.Fprintf(&b, `<path d="M%.0f %.1fh28" stroke="%s" stroke-width="2"/><circle cx="%.0f" cy="%[2]g" r="3" fill="%[3]s"/>`+"\n", panelLeft, y-4, l.colour, panelLeft+14)
		text(panelLeft+36, y, "", "%s", l.legend)
	}
	for i, p := range panels {
		left := panelLeft + panelApart*float64(i)
		at := func(x int, y float64) (float64, float64) {
			return left + panelWidth*(float64(x)+0.5)/float64(max(1, len(p.x))), panelTop + panelHeight*(1-y/top)
		}
		text(left, panelTop-14, `font-weight="bold"`, "Throughput %s", p.title)
		for y := 0.0; y <= top+step/2; y += step {
			_, py := at(0, y)
			fmt.Fprintf(&b, `<path d="M%.0f %.1fh%.0f" stroke="#ddd"/>`+"\n", left, py, panelWidth)
			text(left-6, py+4, `text-anchor="end"`, "%.3g", y)
		}
		middle := panelTop + panelHeight/2
		text(left-38, middle, fmt.Sprintf(`text-anchor="middle" transform="rotate(-90 %g %g)"`, left-38, middle), "Gbit/s")
		for x, label := range p.x {
			px, py := at(x, 0)
			text(px, py+18, `text-anchor="middle"`, "%d", label)
		}
		text(left+panelWidth/2, panelTop+panelHeight+40, `text-anchor="middle"`, "%s", p.axis)
		for _, l := range plotted {
			var points []string
			for x, y := range p.y[l.lane] {
				px, py := at(x, y.median)
				_, high := at(x, y.most)
				_, low := at(x, y.least)
				points = append(points, fmt.Sprintf("%.1f,%.1f", px, py))
				fmt.Fprintf(&b, `<path d="M%.1f %.1fV%.1f" stroke="%s" stroke-opacity="0.5"/><circle cx="%.1[1]f" cy="%.1[5]f" r="3" fill="%[4]s"/>`+"\n", px, low, high, l.colour, py)
			}
			fmt.Fprintf(&b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`+"\n", strings.Join(points, " "), l.colour)
		}
	}
	text(panelLeft, plotHeight-18, `font-size="11" fill="#666"`, "%s", under)
	b.WriteString("</svg>\n")
	return b.String()
}
