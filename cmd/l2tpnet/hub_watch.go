package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint"
	"github.com/l2tpnet/l2tpnet/endpoint/node"
)

// hubTelling is what the user is told of a hub's ports, each thing once as long as it is so.
type hubTelling struct {
	p   *program
	hub *node.Hub

	mu   sync.Mutex
	said map[string]string // by port: what is wrong with it
}

// open says who may come to ports that are for anybody.
func (t *hubTelling) open(ports []*port) {
	for _, port := range ports {
		if port.answer && port.Remote == "" && t.hub.Secret == "" {
			fmt.Fprintf(t.p.stderr, "l2tpnet: anybody may ask for the port %s\nhint: --secret-file, or remote=ADDRESS for the port, says who may\n", port.name)
		}
	}
}

// event takes what becomes of a port.
func (t *hubTelling) event(e node.HubEvent) {
	switch e.What {
	case node.PortHeld:
		fmt.Fprintf(t.p.stderr, "l2tpnet: the port %s is held: what goes out of the hub comes back to it, a loop\n", e.Port)
	case node.PortReleased:
		fmt.Fprintf(t.p.stderr, "l2tpnet: the port %s is released\n", e.Port)
	case node.PortUp:
		t.fresh(e.Port, "")
		t.p.printf("port %s is up: %v\n", e.Port, e.Peer)
	case node.PortDown, node.PortFailed:
		words, hint := e.Err.Error(), ""
		if f, ok := errors.AsType[*failure](explainDial(e.Err)); ok {
			words, hint = f.Error(), f.hint
		}
		words = oneLine(errors.New(words)).Error()
		if !t.fresh(e.Port, words) && e.What == node.PortFailed {
			return // again and again
		}
		verb := map[node.PortChange]string{node.PortDown: "is down", node.PortFailed: "does not come up"}[e.What]
		again := ""
		if !e.Next.IsZero() {
			again = "; trying again in " + inSeconds(e.Next)
		}
		fmt.Fprintf(t.p.stderr, "l2tpnet: the port %s %s: %s%s\n", e.Port, verb, words, again)
		if hint != "" {
			fmt.Fprintf(t.p.stderr, "hint: %s\n", hint)
		}
	}
}

// fresh notes what is said of a port, and tells whether it is something else than before.
func (t *hubTelling) fresh(port, words string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	was := t.said[port]
	t.said[port] = words
	return was != words
}

// watch says what is wrong with ports that nothing comes out of, until ctx is done or the hub
// has ended, which is its error. A port that is silent is no news.
func (t *hubTelling) watch(ctx context.Context) error {
	look := time.NewTicker(silence)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.hub.Done():
			return t.hub.Err()
		case <-look.C:
		}
		st := t.hub.Status()
		for _, port := range st.Ports {
			name, in := port.Bridge.Name, port.Session.Traffic
			if port.Session.Circuit != "" || in.CookieDiscards+in.SequenceDiscards+in.Invalid == 0 {
				continue // it is negotiated what comes, or nothing has
			}
			if words, hint := diagnose(in, endpoint.Counters{}); words != "" && t.fresh(name, words) {
				fmt.Fprintf(t.p.stderr, "l2tpnet: port %s: %s\nhint: %s\n", name, words, hint)
			}
		}
		for _, ep := range st.Endpoints {
			for _, tunnel := range ep.Tunnels {
				if !tunnel.Dialed || tunnel.Up {
					continue
				}
				// A dial fails after ten retries, which take more than a minute. It may have begun just now.
				who := tunnel.Peer.String()
				if again := t.fresh(who, fmt.Sprint(tunnel.ID)); !again && t.fresh(who+" is silent", "so") {
					silent := endpoint.TimeoutError{Silent: true, V3: true, Secret: t.hub.Secret != ""}
					fmt.Fprintf(t.p.stderr, "l2tpnet: no answer by L2TPv3 yet from %v\nhint: %s\n", tunnel.Peer, silent.Hint())
				}
			}
			if ep.Counters.BadDigest > 0 && t.fresh(ep.Local.String(), badDigest) {
				fmt.Fprintf(t.p.stderr, "l2tpnet: %v: %s\nhint: %s\n", ep.Local, badDigest, badDigestHint)
			}
		}
	}
}

const (
	badDigest     = "control messages come whose digest is wrong or missing, and are dropped"
	badDigestHint = "their sender has another tunnel secret, or none: --secret-file, L2TPNET_SECRET"
)
