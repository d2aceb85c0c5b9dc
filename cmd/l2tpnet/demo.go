package main

import (
	"context"
	"embed"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint"
	"github.com/l2tpnet/l2tpnet/proxy"
)

type demoCmd struct {
	Socks   string `default:"127.0.0.1:1080" placeholder:"ADDR" help:"Where the SOCKS5 proxy listens. Default: ${default}."`
	Once    bool   `help:"Fetch a page through the proxy, print it and exit; the proxy then takes any free port."`
	Verbose int    `short:"v" type:"counter" help:"Log to standard error what happens; -vv every control message too."`
}

//go:embed site
var site embed.FS

func (cmd *demoCmd) Run(p *program) error {
	address, err := loopback(cmd.Socks)
	if err != nil {
		return usage(err, "")
	}
	if cmd.Once {
		address = "127.0.0.1:0"
	}
	socks, err := net.Listen("tcp", address)
	if err != nil {
		return explainListen(err, address, "--socks")
	}
	defer socks.Close()
	log := p.logger(cmd.Verbose)
	const user, password, secret = "demo", "correct horse", "battery staple"

	// The server, with a web site that listens inside its stack and nowhere else.
	pool, err := endpoint.NewPool(netip.MustParsePrefix("10.77.0.0/24"), netip.Addr{}, nil)
	if err != nil {
		return err
	}
	s, err := newServer(log.With("side", "server"), "127.0.0.1:0", &endpoint.AnswerConfig{
		Secret: secret, Authenticate: usersOf(map[string]endpoint.Secret{user: password}), Pool: pool,
	}, pool.Gateway(), 0)
	if err != nil {
		return err
	}
	defer s.close()
	web, err := s.stack.Listen("tcp", ":80")
	if err != nil {
		return err
	}
	pages, err := fs.Sub(site, "site")
	if err != nil {
		return err
	}
	httpServer := &http.Server{Handler: http.FileServerFS(pages), ReadHeaderTimeout: 10 * time.Second}
	go httpServer.Serve(web)
	defer httpServer.Close()
	go s.run(p.ctx)

	// The client, and its proxy.
	ep, err := endpoint.Listen("udp", "127.0.0.1:0", &endpoint.Config{Logger: log.With("side", "client")})
	if err != nil {
		return err
	}
	c, err := dial(p.ctx, log.With("side", "client"), ep, s.endpoint.Addr().String(),
		&endpoint.TunnelConfig{Secret: secret}, &endpoint.PPPConfig{User: user, Password: password})
	if err != nil {
		return explainDial(err, "the demo's server")
	}
	defer c.close()
	ctx, stop := context.WithCancel(p.ctx)
	served := make(chan struct{})
	go func() {
		defer close(served)
		(&proxy.SOCKS{Dialer: c.stack, Logger: log}).Serve(ctx, socks)
	}()
	defer func() { stop(); <-served }()

	page := "http://" + pool.Gateway().String() + "/"
	p.printf("%s; SOCKS5 on %v\n", c.describe(), socks.Addr())
	if cmd.Once {
		return fetch(p, socks.Addr(), page)
	}
	p.printf("\nThe web site is inside the tunnel only. Type in another terminal:\n\n")
	p.printf("    curl --socks5-hostname %v %s\n\n", socks.Addr(), page)
	p.printf("Ctrl-C ends the demo.\n")
	return c.wait(p.ctx)
}

// fetch prints a page that it gets through a SOCKS5 proxy.
func fetch(p *program, socks net.Addr, page string) error {
	transport := &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "socks5h", Host: socks.String()})}
	defer transport.CloseIdleConnections()
	request, err := http.NewRequestWithContext(p.ctx, http.MethodGet, page, nil)
	if err != nil {
		return err
	}
	response, err := (&http.Client{Transport: transport, Timeout: 30 * time.Second}).Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("expected %s to be there, found %s", page, response.Status)
	}
	p.printf("%s through SOCKS5, PPP and L2TP:\n\n", page)
	_, err = io.Copy(p.stdout, response.Body)
	return err
}
