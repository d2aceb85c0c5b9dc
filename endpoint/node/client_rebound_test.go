package node

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"testing"
)

// A listener that is opened at the moment when the tunnel is lost listens again after
// the redial, as all others do.
func TestASocketIsKnownBeforeItIsBound(t *testing.T) {
	life, cancel := context.WithCancel(t.Context())
	defer cancel()
	r := &clientRun{log: slog.New(slog.DiscardHandler), life: life, changed: make(chan struct{}), rebinds: map[rebinder]struct{}{}}
	r.status.State = StateConnected
	b := &rebound[net.Listener]{run: r, network: "tcp", local: net.Listener.Addr}
	b.listen = func(string) (net.Listener, error) {
		if len(r.rebinders()) != 1 {
			t.Error("a tunnel that is lost now does not take the socket away, and the next one does not give it back")
		}
		return net.Listen("tcp", "127.0.0.1:0")
	}
	at := netip.MustParseAddrPort("127.0.0.1:80")
	if err := b.begin(at, net.TCPAddrFromAddrPort(at)); err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	b.listen = func(string) (net.Listener, error) { return nil, errNotOurs }
	refused := &rebound[net.Listener]{run: r, network: "tcp", local: net.Listener.Addr, listen: b.listen}
	if err := refused.begin(at, net.TCPAddrFromAddrPort(at)); err != errNotOurs || len(r.rebinders()) != 1 {
		t.Errorf("a socket that cannot be had: %v, and %d are known", err, len(r.rebinders()))
	}
}
