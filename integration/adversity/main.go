//go:build linux

package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/l2tpnet/l2tpnet/integration/internal/roles"
)

// parts are all that a child can be.
var parts = map[string]func() roles.Role{
	"server":  roles.NewServer,
	"clients": roles.NewClients,
	"flooder": newFlooder,
	"reader":  newReader,
}

func main() {
	if roles.Main(parts) {
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is the program: 0, or 1 if a goal was missed, or 2 if something failed.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("adversity", flag.ContinueOnError)
	flags.SetOutput(stderr)
	rounds := flags.Int("rounds", 6, "how often each flood and its baseline take turns")
	seconds := flags.Float64("seconds", 10, "length of each, in each round")
	rate := flags.Int("rate", 50000, "SCCRQs a second")
	sessions := flags.Int("sessions", 100, "sessions at work meanwhile")
	idle := flags.Int("idle", 10000, "idle sessions, of \"adversity idle\"")
	flags.Usage = func() {
		fmt.Fprintf(stderr, "usage: adversity [flags] [flood|idle]\n\nOne unbroken minute of each flood: -rounds 1 -seconds 60\n\n")
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if *rounds < 1 || *seconds <= 0 || *rate < 1 || *sessions < 1 || *idle < 1 {
		fmt.Fprintln(stderr, "expected numbers above zero")
		return 2
	}
	var missed []string
	var err error
	switch flags.Arg(0) {
	case "", "flood":
		plan := floodPlan{Kinds: kinds, Rounds: *rounds, Seconds: *seconds, Rate: *rate, Sessions: *sessions}
		fmt.Fprintf(stdout, "Floods of %d SCCRQs a second, %d × %v s of each kind. It takes about %v.\n", *rate, *rounds, *seconds, plan.length().Round(time.Second))
		missed, err = underFlood(ctx, stdout, plan)
	case "idle":
		plan := idlePlan{Rounds: *rounds, Seconds: *seconds, Sessions: *idle}
		fmt.Fprintf(stdout, "%d idle sessions; then a connection beside them, and one elsewhere:\n%d × %v s of each.\n", *idle, *rounds, *seconds)
		missed, err = besideIdle(ctx, stdout, plan)
	default:
		flags.Usage()
		return 2
	}
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 2
	}
	return roles.Verdict(stdout, missed)
}
