// Dial fetches a page through an L2TP tunnel:
//
//	L2TPNET_PASSWORD=… go run ./examples/dial lns.example.net alice http://intranet.example/
//
// If the server has a tunnel secret, it is taken from L2TPNET_SECRET.
package main

import (
	"context"
	"io"
	"log"
	"net/http"
	"os"

	"github.com/l2tpnet/l2tpnet/endpoint"
	"github.com/l2tpnet/l2tpnet/endpoint/node"
)

func main() {
	if len(os.Args) != 4 {
		log.Fatal("usage: dial SERVER[:PORT] USER URL, with L2TPNET_PASSWORD and L2TPNET_SECRET in the environment")
	}
	c, err := node.Dial(context.Background(), &node.Client{
		Server: os.Args[1], User: os.Args[2],
		Password: endpoint.Secret(os.Getenv("L2TPNET_PASSWORD")),
		Secret:   endpoint.Secret(os.Getenv("L2TPNET_SECRET")),
	})
	check(err)
	defer c.Close() // says goodbye
	web := &http.Client{Transport: &http.Transport{DialContext: c.DialContext}}
	response, err := web.Get(os.Args[3])
	check(err)
	defer response.Body.Close()
	_, err = io.Copy(os.Stdout, response.Body)
	check(err)
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
