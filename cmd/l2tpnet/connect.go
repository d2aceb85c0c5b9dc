package main

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"strings"
	"sync"

	"github.com/l2tpnet/l2tpnet/proxy"
)

type connectCmd struct {
	Server []string `arg:"" placeholder:"SERVER[:PORT]" help:"The L2TP server's name or address; the port is 1701 when there is none. Of several, the next one is dialled when one fails."`
	dialFlags
	Socks   string   `placeholder:"ADDR" help:"Where the SOCKS5 proxy listens, [host:]port; loopback without a host. Default: 127.0.0.1:1080, or none when there is a -L."`
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

func (cmd *connectCmd) Run(p *program) (err error) {
	log := p.logger(cmd.Verbose)
	// Listeners first: a port that is taken shows before anybody is called.
	var services []*service
	defer func() {
		for _, s := range services {
			s.listener.Close()
		}
	}()
	if cmd.Socks == "" && len(cmd.Forward) == 0 {
		cmd.Socks = defaultSocks
	}
	if cmd.Socks != "" {
		address, err := loopback(cmd.Socks)
		if err != nil {
			return usage(err, "")
		}
		ln, err := net.Listen("tcp", address)
		if err != nil {
			return explainListen(err, address, "--socks")
		}
		services = append(services, &service{ln, fmt.Sprintf("SOCKS5 on %v", ln.Addr()), func(ctx context.Context, ln net.Listener, d proxy.Dialer) error {
			return (&proxy.SOCKS{Dialer: d, Logger: log}).Serve(ctx, ln)
		}})
	}
	for _, spec := range cmd.Forward {
		address, target, err := proxy.ParseForward(spec)
		if err != nil {
			return usage(fmt.Errorf("-L: %w", err), "for example: -L 8080:intranet.example:80")
		}
		ln, err := net.Listen("tcp", address)
		if err != nil {
			return explainListen(err, address, "-L")
		}
		services = append(services, &service{ln, fmt.Sprintf("%v to %s", ln.Addr(), target), func(ctx context.Context, ln net.Listener, d proxy.Dialer) error {
			return (&proxy.Forward{Dialer: d, Target: target, Logger: log}).Serve(ctx, ln)
		}})
	}

	c, err := cmd.client(p, cmd.Server...)
	if err != nil {
		return err
	}
	defer func() { err = cmp.Or(err, c.close()) }()
	c.greeting = fmt.Sprintf("; %s\n", services[0].words)
	for _, s := range services[1:] {
		c.greeting += fmt.Sprintf("forwarding %s\n", s.words)
	}
	if cmd.Retry {
		err = c.start()
	} else {
		err = c.dial(p.ctx)
	}
	if err != nil {
		return err
	}

	ctx, stop := context.WithCancel(p.ctx)
	var wg sync.WaitGroup
	for _, s := range services {
		wg.Go(func() { s.serve(ctx, s.listener, &c.Client) })
	}
	err = c.wait(ctx)
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
