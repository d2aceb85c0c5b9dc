// Serve is an LNS with a web site inside, which nobody reaches but its callers:
//
//	L2TPNET_PASSWORD=… go run ./examples/serve -listen :1701 -user alice -files ./public
//
// If callers must know a tunnel secret, it is taken from L2TPNET_SECRET.
package main

import (
	"context"
	"errors"
	"flag"
	"log"
	"net/http"
	"net/netip"
	"os"
	"os/signal"

	"github.com/l2tpnet/l2tpnet/endpoint"
	"github.com/l2tpnet/l2tpnet/netstack"
)

func main() {
	listen := flag.String("listen", ":1701", "UDP `address` to answer on")
	user := flag.String("user", "alice", "the `name` of the one who may call; the password is in L2TPNET_PASSWORD")
	auth := flag.String("auth", "mschapv2,chap", "authentication `methods`")
	files := flag.String("files", ".", "`directory` that the web site shows")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := serve(ctx, *listen, *user, *auth, http.FileServer(http.Dir(*files))); err != nil {
		log.Fatal(err)
	}
}

func serve(ctx context.Context, listen, user, auth string, site http.Handler) error {
	password := endpoint.Secret(os.Getenv("L2TPNET_PASSWORD"))
	if password == "" {
		return errors.New("expected a password in L2TPNET_PASSWORD, found none")
	}
	methods, err := endpoint.ParseAuthMethods(auth)
	if err != nil {
		return err
	}
	pool, err := endpoint.NewPool(netip.MustParsePrefix("10.77.0.0/24"), netip.Addr{}, nil)
	if err != nil {
		return err
	}

	stack, err := netstack.New(nil)
	if err != nil {
		return err
	}
	defer stack.Close()
	router, err := stack.AddRouted(&netstack.RoutedConfig{Addresses: []netip.Addr{pool.Gateway()}})
	if err != nil {
		return err
	}
	web, err := stack.Listen("tcp", ":80")
	if err != nil {
		return err
	}
	go http.Serve(web, site)

	ep, err := endpoint.Listen("udp", listen, &endpoint.Config{Answer: &endpoint.AnswerConfig{
		Secret:  endpoint.Secret(os.Getenv("L2TPNET_SECRET")),
		Methods: methods,
		Pool:    pool,
		Authenticate: func(_ context.Context, r endpoint.AuthRequest) (endpoint.Credential, error) {
			if r.User != user {
				return endpoint.Credential{}, errors.New("unknown user")
			}
			return endpoint.Credential{Password: password}, nil
		},
	}})
	if err != nil {
		return err
	}
	defer ep.Close()
	log.Printf("answering on %v; the web site is http://%v/ for callers", ep.Addr(), pool.Gateway())
	for {
		sess, err := ep.Accept(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		go join(router, sess)
	}
}

// join routes a caller's address to its session for as long as that stands.
func join(router *netstack.Router, sess *endpoint.Session) {
	port, err := router.Attach(&netstack.PortConfig{
		Prefixes: []netip.Prefix{netip.PrefixFrom(sess.PeerAddress(), 32)}, MTU: sess.MTU(),
	}, sess)
	if err != nil {
		log.Print(err)
		sess.Close()
		return
	}
	defer port.Close()
	sess.Attach(port)
	log.Printf("%q is here: %v", sess.User(), sess.PeerAddress())
	<-sess.Done()
	log.Printf("%q is gone: %v", sess.User(), sess.Err())
}
