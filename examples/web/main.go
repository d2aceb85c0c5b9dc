// Web serves a page inside an L2TP tunnel, and nowhere else: this machine listens on no
// port for it. It stays connected, and may be started before there is a network.
//
//	L2TPNET_PASSWORD=… go run ./examples/web lns.example.net alice
//
// If the server has a tunnel secret, it is taken from L2TPNET_SECRET.
package main

import (
	"fmt"
	"log"
	"net/http"
	"os"

	"github.com/l2tpnet/l2tpnet/endpoint"
	"github.com/l2tpnet/l2tpnet/endpoint/node"
)

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: web SERVER[:PORT] USER, with L2TPNET_PASSWORD and L2TPNET_SECRET in the environment")
	}
	c := &node.Client{
		Server: os.Args[1], User: os.Args[2],
		Password: endpoint.Secret(os.Getenv("L2TPNET_PASSWORD")),
		Secret:   endpoint.Secret(os.Getenv("L2TPNET_SECRET")),
		Events:   tell,
	}
	if err := c.Start(); err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	ln, err := c.Listen("tcp", ":80") // of whatever address the server gives, also the next time
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(http.Serve(ln, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "Hello %s, from inside the tunnel.\n", r.RemoteAddr)
	})))
}

func tell(e node.Event) {
	switch e := e.(type) {
	case node.Connected:
		log.Printf("connected to %v: http://%v/", e.Peer, e.Addresses[0])
	case node.Disconnected:
		log.Printf("the tunnel is down: %v; dialling again at %s", e.Err, e.Next.Format("15:04:05"))
	case node.Failed:
		log.Printf("no tunnel: %v; dialling again at %s", e.Err, e.Next.Format("15:04:05"))
	}
}
