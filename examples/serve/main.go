// Serve is an LNS whose callers reach the Internet through this machine's ordinary
// sockets, over IPv4 and IPv6, without any privilege:
//
//	L2TPNET_PASSWORD=… go run ./examples/serve -listen :1701 -user alice
//
// If callers must know a tunnel secret, it is taken from L2TPNET_SECRET. Its gateway,
// 10.77.0.1, answers DNS questions, and shows a page to those who have called.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net/http"
	"net/netip"
	"os"
	"os/signal"

	"github.com/l2tpnet/l2tpnet/endpoint"
	"github.com/l2tpnet/l2tpnet/endpoint/node"
)

func main() {
	listen := flag.String("listen", ":1701", "UDP `address` to answer on")
	user := flag.String("user", "alice", "the `name` of the one who may call; the password is in L2TPNET_PASSWORD")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := serve(ctx, *listen, *user); err != nil {
		log.Fatal(err)
	}
}

func serve(ctx context.Context, listen, user string) error {
	password := endpoint.Secret(os.Getenv("L2TPNET_PASSWORD"))
	if password == "" {
		return fmt.Errorf("expected a password in L2TPNET_PASSWORD, found none")
	}
	s := &node.Server{
		Address: listen,
		Secret:  endpoint.Secret(os.Getenv("L2TPNET_SECRET")),
		Users:   map[string]node.User{user: {Password: password}},
		Pool6:   netip.MustParsePrefix("fd00:77::/48"), // a prefix of 64 bits for each session
		Egress:  &node.Egress{},                        // but to this machine itself, and what is link-local
		Events: func(e node.ServerEvent) {
			log.Printf("%q at %v, %v: up %v, %v", e.Session.User, e.Session.Address, e.Session.Prefix, e.Up, e.Err)
		},
	}
	if err := s.Start(); err != nil {
		return err
	}
	defer s.Close()
	web, err := s.Listen("tcp", ":80")
	if err != nil {
		return err
	}
	go http.Serve(web, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "You are %s. The Internet is behind me.\n", r.RemoteAddr)
	}))
	log.Printf("answering on %v; http://%v/ is for callers", s.Addr(), s.Gateways()[0])
	select {
	case <-ctx.Done():
		return nil
	case <-s.Done():
		return s.Err()
	}
}
