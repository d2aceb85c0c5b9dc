//go:build linux

package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"github.com/l2tpnet/l2tpnet/integration/internal/roles"
)

// parts are all that a child can be.
var parts = map[string]func() roles.Role{
	"server":    roles.NewServer,
	"clients":   roles.NewClients,
	"client":    newClient,
	"forwarder": newForwarder,
	"host":      newHost,
	"far away":  newFarAway,

	"ethernet end": newEthernetEnd,
}

func main() {
	if roles.Main(parts) {
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	plan, err := parse(os.Args[1:], os.Stderr)
	if err != nil {
		if err != flag.ErrHelp {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(2)
	}
	if dir := os.Getenv(insideVariable); dir != "" {
		plan.dir = dir
		os.Exit(inside(ctx, plan, os.Stdout, os.Stderr))
	}
	os.Exit(outside(ctx, plan, os.Stdout, os.Stderr))
}

// A plan is what is to be measured.
type plan struct {
	rounds  int
	seconds float64
	only    string
	flows   []int
	buffers []bool // whether small, in this order
	profile string // directory; empty: none
	plot    string // file; empty: none
	page    bool   // the table is one of Markdown's
	dir     string // with programs that have been built
}

func parse(args []string, stderr io.Writer) (p plan, err error) {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.IntVar(&p.rounds, "rounds", 8, "how often all take turns")
	flags.Float64Var(&p.seconds, "seconds", 0.8, "length of each turn")
	flags.StringVar(&p.only, "only", "", "figures with this in their name alone, or plot: "+strings.Join(names(), ", "))
	flows := flags.String("flows", "1,8", "numbers of connections at a time")
	buffers := flags.String("buffers", "wide,stock", "of sockets: those that they get, or 212,992 bytes")
	flags.StringVar(&p.profile, "profile", "", "directory for profiles of the CPU time of this program's children")
	flags.StringVar(&p.plot, "plot", "", "file for a plot (SVG) of throughput by flows and by MTU, besides the table")
	flags.BoolVar(&p.page, "markdown", false, "print the table as Markdown has it")
	if err := flags.Parse(args); err != nil {
		return p, flag.ErrHelp // it has been said
	}
	if p.rounds < 1 || p.seconds <= 0 || flags.NArg() > 0 {
		return p, fmt.Errorf("expected --rounds and --seconds above zero, and nothing but flags")
	}
	for f := range strings.SplitSeq(*flows, ",") {
		n, err := strconv.Atoi(f)
		if err != nil || n < 1 || n > 100 {
			return p, fmt.Errorf("--flows: expected numbers from 1 to 100, separated by commas, found %q", f)
		}
		p.flows = append(p.flows, n)
	}
	for b := range strings.SplitSeq(*buffers, ",") {
		if b != "wide" && b != "stock" {
			return p, fmt.Errorf("--buffers: expected wide, stock, or both with a comma, found %q", b)
		}
		p.buffers = append(p.buffers, b == "stock")
	}
	if p.only == "plot" && p.plot == "" {
		return p, fmt.Errorf("--only plot: expected --plot and a file for it")
	}
	if len(p.figures()) == 0 && p.only != "plot" {
		return p, fmt.Errorf("--only: expected a part of one of these names: %s; found %q", strings.Join(names(), ", "), p.only)
	}
	return p, nil
}
