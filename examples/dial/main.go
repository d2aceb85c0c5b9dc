// Dial fetches a page through an L2TP tunnel:
//
//	L2TPNET_PASSWORD=… go run ./examples/dial lns.example.net alice http://intranet.example/
//
// If the server has a tunnel secret, it is taken from L2TPNET_SECRET.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"

	"github.com/l2tpnet/l2tpnet/endpoint"
	"github.com/l2tpnet/l2tpnet/netstack"
)

func main() {
	if len(os.Args) != 4 {
		log.Fatal("usage: dial SERVER[:PORT] USER URL, with L2TPNET_PASSWORD and L2TPNET_SECRET in the environment")
	}
	if err := fetch(context.Background(), os.Args[1], os.Args[2], os.Args[3], os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func fetch(ctx context.Context, server, user, url string, to io.Writer) error {
	ep, err := endpoint.Listen("udp", ":0", nil)
	if err != nil {
		return err
	}
	defer ep.Close()
	tun, err := ep.Dial(ctx, server, &endpoint.TunnelConfig{Secret: endpoint.Secret(os.Getenv("L2TPNET_SECRET"))})
	if err != nil {
		return err
	}
	sess, err := tun.OpenPPP(ctx, &endpoint.PPPConfig{User: user, Password: endpoint.Secret(os.Getenv("L2TPNET_PASSWORD"))})
	if err != nil {
		return err
	}

	stack, err := netstack.New(nil)
	if err != nil {
		return err
	}
	defer stack.Close()
	id, _ := sess.InterfaceIDs() // zero when the server has no IPv6
	nic, err := stack.AddIP(sess, &netstack.IPConfig{Addresses: sess.Addresses(), DNS: sess.DNS(), MTU: sess.MTU(), InterfaceID: id})
	if err != nil {
		return err
	}
	sess.Attach(nic)

	web := &http.Client{Transport: &http.Transport{DialContext: stack.DialContext, DisableKeepAlives: true}}
	response, err := web.Get(url)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	fmt.Fprintln(os.Stderr, url, "from", sess.Addresses(), response.Status)
	_, err = io.Copy(to, response.Body)
	return err
}
