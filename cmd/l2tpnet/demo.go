package main

import (
	"context"
	"embed"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/node"
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
	s := &node.Server{
		Address: "127.0.0.1:0", Secret: secret, Users: map[string]node.User{user: {Password: password}},
		Logger: log.With("side", "server"),
	}
	if err := s.Start(); err != nil {
		return err
	}
	defer s.Close()
	web, err := s.Listen("tcp", ":80")
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

	// The client, and its proxy.
	c, err := node.Dial(p.ctx, &node.Client{
		Server: s.Addr().String(), User: user, Password: password, Secret: secret, Logger: log.With("side", "client"),
	})
	if err != nil {
		return explainDial(err)
	}
	defer c.Close()
	ctx, stop := context.WithCancel(p.ctx)
	served := make(chan struct{})
	go func() {
		defer close(served)
		(&proxy.SOCKS{Dialer: c, Logger: log}).Serve(ctx, socks)
	}()
	defer func() { stop(); <-served }()

	page := "http://" + s.Gateways()[0].String() + "/"
	up := c.Status().Current
	p.printf("connected to %s; SOCKS5 on %v\n", describe(&up, ""), socks.Addr())
	if cmd.Once {
		return fetch(p, socks.Addr(), page)
	}
	p.printf("\nThe web site is inside the tunnel only. Type in another terminal:\n\n")
	p.printf("    curl --socks5-hostname %v %s\n\n", socks.Addr(), page)
	p.printf("Ctrl-C ends the demo.\n")
	<-p.ctx.Done()
	return nil
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
