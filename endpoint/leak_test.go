package endpoint

import (
	"context"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/simnet"
)

// standing is how many entries an endpoint's tables have, of tunnels, half-open ones
// and ids.
func standing(e *Endpoint) (n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for row := range e.tunnels.rows {
		for column := range 256 {
			if e.tunnels.get(uint32(row<<8|column)) != nil {
				n++
			}
		}
	}
	e.ids.mu.Lock()
	n += len(e.all) + len(e.byPeer) + len(e.byAddr) + e.ids.taken
	e.ids.mu.Unlock()
	if e.half != nil {
		e.half.mu.Lock()
		n += e.half.records.len()
		e.half.mu.Unlock()
	}
	return n
}

// "A thousand connects leave goroutines, descriptors, timers and stack objects where
// they were": however they end, nothing of them is left when the last message that
// the peer might send again must have come. A timer that is left would hold its
// machine, and so show on the heap.
func TestConnectionsLeaveNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		p := pool(t)
		free := p.free
		lns, lac := answering(t, n, 1, func(a *AnswerConfig) { a.Pool = p }), dialling(t, n, 1)
		defer lns.Close()
		defer lac.Close()
		for _, e := range []*Endpoint{lns, lac} {
			for row := range uint32(256) {
				e.tunnels.set(row<<8, nil) // rows are made once
			}
		}
		alice := PPPConfig{User: "alice", Password: "s3cret"}
		ways := []func(){
			func() { // both closed, in order
				client, _ := calling(t, lac, lns, lnsAddr)
				put(client, packet("hello"))
				client.Close()
				client.Tunnel().Close()
			},
			func() { // the tunnel closed, with its sessions
				client, server := calling(t, lac, lns, lnsAddr)
				server.Attach(nothing)
				client.Tunnel().Close()
				<-server.Done()
			},
			func() { // by the server
				client, server := calling(t, lac, lns, lnsAddr)
				server.Tunnel().Close()
				<-client.Done()
			},
			func() { // a wrong password
				tun, err := lac.Dial(t.Context(), lnsAddr, &TunnelConfig{Secret: "tunsecret"})
				if err != nil {
					t.Fatal(err)
				}
				if _, err := tun.OpenPPP(t.Context(), &PPPConfig{User: "alice", Password: "wrong"}); err == nil {
					t.Fatal("a wrong password opened a session")
				}
				tun.Close()
			},
			func() { // no patience
				ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
				defer cancel()
				lac.Dial(ctx, "192.0.2.99", nil)
				tun, err := lac.Dial(t.Context(), lnsAddr, &TunnelConfig{Secret: "tunsecret"})
				if err != nil {
					t.Fatal(err)
				}
				n.SetDefault(simnet.Link{Loss: 1})
				ctx, cancel = context.WithTimeout(t.Context(), time.Millisecond)
				defer cancel()
				tun.OpenPPP(ctx, &alice)
				n.SetDefault(simnet.Link{})
				tun.Close()
			},
			func() { // a peer that vanishes
				client, server := calling(t, lac, lns, lnsAddr)
				n.SetDefault(dead)
				<-client.Tunnel().Done()
				<-server.Tunnel().Done()
				n.SetDefault(simnet.Link{})
			},
		}
		round := func(connects uint64) {
			for i := range connects {
				ways[i%uint64(len(ways))]()
			}
			time.Sleep(10 * time.Minute)
			synctest.Wait()
		}
		round(uint64(len(ways) * 3))
		heap, goroutines := inUse(), runtime.NumGoroutine()
		connects := max(300, seeds(300))
		round(connects)
		if g := runtime.NumGoroutine(); g != goroutines {
			t.Errorf("%d goroutines after %d connects, %d before", g, connects, goroutines)
		}
		if a, s := standing(lac), standing(lns); a != 0 || s != 0 {
			t.Errorf("the tables still have %d entries at the client, %d at the server", a, s)
		}
		// What a connect costs while it stands is 12 KiB: of both ends, less than a
		// hundredth may be left. Pools and maps grow by some 10 KiB in all.
		const slack = 64 << 10
		if each := (inUse() - heap - slack) / int(connects); each > 128 {
			t.Errorf("%d octets are left of each connect", each)
		}
		if p.free != free {
			t.Errorf("%d addresses are free after %d connects, %d before", p.free, connects, free)
		}
	})
}
