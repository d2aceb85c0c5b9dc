// Command l2tpnet dials and answers L2TP without privileges: pseudowires end in
// a TCP/IP stack inside the process, which its SOCKS proxy, its forwards and its
// ping use.
//
// Rules of what it prints:
//
//   - Standard output is for what the user asked for: that the tunnel stands and
//     where its listeners are, a page, statistics. One fact a line, no colour.
//   - Standard error is for what went wrong, one line and then at most one that
//     begins with "hint:", and for the log, of which -v shows more.
//   - The exit status is 0 when the user ended it or it did what it should, 2 when the user
//     can mend it on this machine (flags, files, ports, names), 130 when the user ended it
//     before it had begun, 1 for all else.
//   - Who closes the pipe that it prints to has ended it.
//   - A secret is never printed, and no flag takes one.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/alecthomas/kong"
)

type grammar struct {
	Connect    connectCmd    `cmd:"" help:"Dial an L2TP server and open listeners whose connections go through the tunnel."`
	Serve      serveCmd      `cmd:"" help:"Answer L2TP calls, as an LNS."`
	Ping       pingCmd       `cmd:"" help:"Dial an L2TP server and ping a host through the tunnel."`
	Pseudowire pseudowireCmd `cmd:"" help:"Be one end of a static L2TPv3 pseudowire, as of ip l2tp or QEMU, with the same listeners."`
	Hub        hubCmd        `cmd:"" help:"Join L2TPv3 pseudowires, static or negotiated, to one Ethernet, with a switch in this process, and be a host on it or its gateway."`
	Decode     decodeCmd     `cmd:"" help:"Tell in words what a capture has of L2TP and PPP."`
	Demo       demoCmd       `cmd:"" help:"A server, a web site behind it, a client and its SOCKS proxy, all in one process on loopback."`

	Version kong.VersionFlag `help:"Print the version and exit."`
}

// program is what a command runs in.
type program struct {
	ctx            context.Context // ends with Ctrl-C
	stop           func()          // as Ctrl-C does
	stdout, stderr io.Writer
}

func (p *program) printf(format string, args ...any) {
	if _, err := fmt.Fprintf(p.stdout, format, args...); err != nil {
		p.stop()
	}
}

// logger writes to standard error: warnings without -v, changes of state with it,
// control messages with -vv.
func (p *program) logger(verbose int) *slog.Logger {
	level := slog.LevelWarn
	switch {
	case verbose == 1:
		level = slog.LevelInfo
	case verbose > 1:
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(p.stderr, &slog.HandlerOptions{Level: level}))
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	signal.Ignore(syscall.SIGPIPE) // the server is to hear that we go
	chooseProcessors()
	// The second Ctrl-C ends at once.
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// exited is what kong panics with instead of ending the process after --help.
type exited int

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (status int) {
	defer func() {
		if r := recover(); r != nil {
			code, ok := r.(exited)
			if !ok {
				panic(r)
			}
			status = int(code)
		}
	}()
	parser, err := kong.New(&grammar{},
		kong.Name("l2tpnet"),
		kong.Description("L2TP without privileges: tunnels that end inside this process."),
		kong.Writers(stdout, stderr),
		kong.Exit(func(code int) { panic(exited(code)) }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 80}),
		kong.Vars{"auth": defaultAuth, "version": version()},
	)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	command, err := parser.Parse(args)
	if err != nil {
		return report(stderr, usage(err, "l2tpnet --help, or l2tpnet COMMAND --help, shows what there is"))
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	err = command.Run(&program{ctx: ctx, stop: stop, stdout: stdout, stderr: stderr})
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return 130
	}
	return report(stderr, err)
}

// version is what Go has noted of this build.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "l2tpnet, of an unknown version"
	}
	words := "l2tpnet " + cmp.Or(info.Main.Version, "(devel)")
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	if revision := settings["vcs.revision"]; revision != "" {
		words += ", " + revision[:min(12, len(revision))]
		if settings["vcs.modified"] == "true" {
			words += " and changes"
		}
	}
	return words + ", " + info.GoVersion
}
