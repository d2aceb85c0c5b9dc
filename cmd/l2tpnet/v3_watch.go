package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint"
	"github.com/l2tpnet/l2tpnet/endpoint/node"
)

// In L2TPv3 a peer that has another secret is silent, and ten retries take more than a
// minute: who waits is told earlier what may be the matter.

// how is by which version of L2TP the server was reached, and what it carries, for who has
// asked for L2TPv3.
func (c *client) how(e *node.Connected) string {
	if c.V3 == nil {
		return ""
	}
	return fmt.Sprintf(", L2TPv%d, %v", e.Version, e.Type)
}

// watch says what is wrong with L2TPv3, each thing once, until the client is closed.
func (c *client) watch() {
	if c.V3 == nil {
		return
	}
	ctx, stop := context.WithCancel(c.p.ctx)
	over := make(chan struct{})
	c.unwatch = func() { stop(); <-over }
	go func() {
		defer close(over)
		look := time.NewTicker(silence / looks)
		defer look.Stop()
		for w := (watcher{c: c, told: map[string]bool{}}); ; {
			select {
			case <-look.C:
				w.look(c.Status())
			case <-ctx.Done():
				return
			}
		}
	}()
}

// looks are how often in a row something has to be seen before it is said: so that a server which
// has just been turned to is given as much time as the first one.
const looks = 5

// A watcher says each thing once; but for a circuit, which may change again and again.
type watcher struct {
	c        *client
	told     map[string]bool
	seen     string // what may have to be said, and
	times    int    // in how many looks
	inactive string // what was said of the circuit, as long as it is so
}

func (w *watcher) look(st node.ClientStatus) {
	words, hint := w.c.diagnose(st)
	if w.inactive != "" && words != w.inactive && st.State == node.StateConnected {
		delete(w.told, w.inactive)
		w.inactive = ""
		if words == "" {
			w.c.complain("the server's circuit is active again")
		}
	}
	if words != w.seen {
		w.seen, w.times = words, 0
	}
	if w.times++; words == "" || w.told[words] || w.times < looks {
		return
	}
	w.told[words] = true
	if strings.HasPrefix(words, circuitIs) {
		w.inactive = words
	}
	w.c.complain("%s", words)
	if hint != "" && !w.told[hint] {
		w.told[hint] = true
		fmt.Fprintf(w.c.p.stderr, "hint: %s\n", hint)
	}
}

// circuitIs is how what is said of a circuit begins.
const circuitIs = "the server's circuit is "

// diagnose is what is wrong with a client of L2TPv3; "": nothing can be seen.
func (c *client) diagnose(st node.ClientStatus) (words, hint string) {
	var tunnel endpoint.TunnelStatus // there is one
	if len(st.Endpoint.Tunnels) > 0 {
		tunnel = st.Endpoint.Tunnels[0]
	}
	circuit := ""
	if len(tunnel.Sessions) > 0 {
		circuit = tunnel.Sessions[0].PeerCircuit
	}
	switch {
	case st.State == node.StateConnecting && !tunnel.Up && st.Endpoint.Counters.BadDigest > 0:
		return "control messages come whose digest is wrong or missing, and are dropped", "the server has another tunnel secret, or none: --secret-file, L2TPNET_SECRET"
	case st.State == node.StateConnecting && st.Connects == 0 && !tunnel.Up && tunnel.Peer.IsValid():
		silent := endpoint.TimeoutError{Silent: true, V3: !c.Fallback, Fallback: c.Fallback, Secret: c.Secret != ""}
		versions := "L2TPv3"
		if c.Fallback {
			versions = "L2TPv3 or L2TPv2"
		}
		return fmt.Sprintf("no answer by %s yet from %v", versions, tunnel.Peer), silent.Hint()
	case strings.HasPrefix(circuit, "inactive"):
		return circuitIs + circuit + ": nothing is sent to it", ""
	case st.State == node.StateConnecting && c.DHCP && len(tunnel.Sessions) > 0:
		return "no address has come by DHCP yet", noLeaseHint
	case st.State == node.StateConnected && !slices.ContainsFunc(st.Current.Addresses, func(a netip.Addr) bool { return !a.IsLinkLocalUnicast() }):
		return "there is no address inside but a link-local one", "--dhcp has an address leased, --address gives one"
	}
	return "", ""
}

// explainV3 says what a server means that has refused what was asked for by L2TPv3.
func (c *client) explainV3(err error) error {
	if e, ok := errors.AsType[*endpoint.RefusedError](err); ok && e.Message == "" && c.Outgoing == nil {
		return &failure{err, "--pw is what the pseudowire carries", 1}
	}
	if peer, ok := errors.AsType[*endpoint.PeerError](err); ok && peer.Message == "CDN" {
		hint := cdnHints[peer.ResultCode]
		if hint == noCircuitHint && c.Outgoing != nil {
			hint = "without --outgoing-call the server is asked for a circuit, and not to bring it up"
		}
		if hint != "" {
			return &failure{err, hint, 1}
		}
	}
	return err
}

// cdnHints are for result codes of a CDN that are about what was asked for (RFC 3931
// §5.4.2, RFC 4667 §4.3).
var cdnHints = map[uint16]string{
	5:  noCircuitHint, // no facilities, for good
	6:  noCircuitHint, // an invalid destination
	14: noCircuitHint, // an unsupported type
	15: "the server wants numbers, for which there is no room: --l2spec default",
	23: "--mtu has to be what the server has",
}

const noCircuitHint = "--remote-end-id names one of the server's circuits, --pw its type"
