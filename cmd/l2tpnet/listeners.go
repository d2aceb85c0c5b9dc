package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"

	"github.com/l2tpnet/l2tpnet/proxy"
)

// listenFlags are what every command has whose listeners on this machine go out through
// a tunnel.
type listenFlags struct {
	Socks   string   `placeholder:"ADDR" help:"Where the SOCKS5 proxy listens, [host:]port; loopback without a host. Default: ${socks}."`
	Forward []string `short:"L" placeholder:"[BIND:]PORT:HOST:HOSTPORT" sep:"none" help:"Forward a local port to a host and port behind the tunnel; may be repeated."`
}

// defaultSocks is where the proxy listens when nothing else was asked for.
const defaultSocks = "127.0.0.1:1080"

// A service is something that listens on this machine and goes out through the tunnel.
type service struct {
	listener net.Listener
	words    string
	serve    func(context.Context, net.Listener, proxy.Dialer) error
}

// services are what listens, the proxy first.
type services []*service

// open opens the listeners. That comes first: a port that is taken shows before
// anybody is called. Without a flag there is a SOCKS proxy at otherwise, or nothing.
func (f *listenFlags) open(otherwise string, log *slog.Logger) (all services, err error) {
	defer func() {
		if err != nil {
			all.close()
			all = nil
		}
	}()
	socks := f.Socks
	if socks == "" && len(f.Forward) == 0 {
		socks = otherwise
	}
	if socks != "" {
		address, err := loopback(socks)
		if err != nil {
			return all, usage(err, "")
		}
		ln, err := net.Listen("tcp", address)
		if err != nil {
			return all, explainListen(err, address, "--socks")
		}
		all = append(all, &service{ln, fmt.Sprintf("SOCKS5 on %v", ln.Addr()), func(ctx context.Context, ln net.Listener, d proxy.Dialer) error {
			return (&proxy.SOCKS{Dialer: d, Logger: log}).Serve(ctx, ln)
		}})
	}
	for _, spec := range f.Forward {
		address, target, err := proxy.ParseForward(spec)
		if err != nil {
			return all, usage(fmt.Errorf("-L: %w", err), "for example: -L 8080:intranet.example:80")
		}
		ln, err := net.Listen("tcp", address)
		if err != nil {
			return all, explainListen(err, address, "-L")
		}
		all = append(all, &service{ln, fmt.Sprintf("%v to %s", ln.Addr(), target), func(ctx context.Context, ln net.Listener, d proxy.Dialer) error {
			return (&proxy.Forward{Dialer: d, Target: target, Logger: log}).Serve(ctx, ln)
		}})
	}
	return all, nil
}

func (all services) close() {
	for _, s := range all {
		s.listener.Close()
	}
}

// describe is where they listen: the end of the line that tells of the connection,
// and a line for each of the others.
func (all services) describe() string {
	if len(all) == 0 {
		return "\n"
	}
	words := fmt.Sprintf("; %s\n", all[0].words)
	for _, s := range all[1:] {
		words += fmt.Sprintf("forwarding %s\n", s.words)
	}
	return words
}

// serve lets them go out by d until wait returns, whose error it gives back.
func (all services) serve(ctx context.Context, d proxy.Dialer, wait func(context.Context) error) error {
	ctx, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	for _, s := range all {
		wg.Go(func() { s.serve(ctx, s.listener, d) })
	}
	err := wait(ctx)
	stop()
	wg.Wait()
	return err
}

// loopback completes a listener's address: a port alone is one on loopback.
func loopback(address string) (string, error) {
	if !strings.Contains(address, ":") {
		address = ":" + address
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", fmt.Errorf("--socks: expected [host:]port, found %q", address)
	}
	switch host {
	case "":
		host = "127.0.0.1"
	case "*":
		host = ""
	}
	return net.JoinHostPort(host, port), nil
}
