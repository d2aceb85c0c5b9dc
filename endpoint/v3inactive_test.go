package endpoint

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/simnet"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

// fromServer counts the data messages that the server sends.
func fromServer(n *simnet.Net) *atomic.Int64 {
	var data atomic.Int64
	n.SetTap(func(r simnet.Record) {
		if r.From.String() == lnsAddr && r.Payload[0]&0x80 == 0 {
			data.Add(1)
		}
	})
	return &data
}

// "all data traffic for that session MUST cease (or not begin) in the direction of the
// sender of the Circuit Status AVP until the circuit is advertised as active" (RFC 3931
// §5.4.5): PPP's own packets are data as well, and the session is there afterwards. A peer
// that is gone then is found out as ever.
func TestV3PPPOutlivesAnInactiveCircuit(t *testing.T) {
	for name, who := range map[string]struct{ client, server bool }{
		"the client's": {client: true}, "the server's": {server: true}, "both": {true, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := simnet.New(1)
				data := fromServer(n)
				server := answeringV3(t, n, 1, nil)
				defer server.Close()
				client := dialling(t, n, 1)
				defer client.Close()
				ours, err := dialV3(t, client, nil).OpenPPP(t.Context(), &PPPConfig{User: "alice", Password: "s3cret"})
				if err != nil {
					t.Fatal(err)
				}
				theirs, err := server.Accept(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				set := func(active bool) {
					if who.client {
						ours.SetCircuit(active)
					}
					if who.server {
						theirs.SetCircuit(active)
					}
				}
				for range 2 {
					wantBothWays(t, ours, theirs, packet)
					set(false)
					time.Sleep(time.Second)
					before := data.Load()
					time.Sleep(10 * time.Minute)
					if a, b := ours.Err(), theirs.Err(); a != nil || b != nil {
						t.Fatalf("the session is over while the circuit is inactive: %v, %v", a, b)
					}
					if sent := data.Load() - before; sent != 0 {
						t.Errorf("%d data messages were sent while the circuit was inactive", sent)
					}
					set(true)
					time.Sleep(time.Second)
					wantBothWays(t, ours, theirs, packet)
					time.Sleep(10 * time.Minute)
				}
				n.SetDefault(simnet.Link{Loss: 1})
				for _, s := range []*Session{ours, theirs} {
					<-s.Done()
					if e, ok := errors.AsType[*TimeoutError](s.Err()); !ok || !strings.Contains(e.Error(), "LCP Echo-Request") {
						t.Errorf("a dead peer ended the session with %v", s.Err())
					}
				}
			})
		})
	}
}

// beginsInactive is a call of PPP whose caller's circuit is inactive for the time being.
func beginsInactive(t *testing.T, tun *Tunnel) *Session {
	t.Helper()
	s, err := newNegotiated(tun, &PseudowireConfig{Type: PseudowirePPP, PPP: &PPPConfig{User: "alice", Password: "s3cret"}}, false)
	if err != nil {
		t.Fatal(err)
	}
	s.circuit.status, s.circuit.ours.Status = 0, 0
	tun.runner.Do(func(now time.Time) { s.call(now) })
	return s
}

// "(or not begin)": PPP begins when the circuit is active, at whichever end.
func TestV3PPPBeginsWhenTheCircuitIsActive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		data := fromServer(n)
		server := answeringV3(t, n, 1, nil)
		defer server.Close()
		client := dialling(t, n, 1)
		defer client.Close()
		ours := beginsInactive(t, dialV3(t, client, nil))
		time.Sleep(inactiveMost - time.Second)
		if data.Load() != 0 || ours.Err() != nil || ours.complete() {
			t.Fatalf("the server has sent %d data messages to an inactive circuit; the session: %v", data.Load(), ours.Err())
		}
		ours.SetCircuit(true)
		if _, err := ours.established(t.Context()); err != nil {
			t.Fatal(err)
		}
		theirs, err := server.Accept(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		wantBothWays(t, ours, theirs, packet)
		time.Sleep(2 * inactiveMost)
		wantBothWays(t, ours, theirs, packet)
	})
}

// Somebody who has not said who it is does not get a session for ever, however its circuit
// comes and goes; RFC 3931 §5.4.2: "1 - Session disconnected due to loss of carrier or
// circuit disconnect".
func TestV3PPPDoesNotWaitForEverForACaller(t *testing.T) {
	for name, active := range map[string]time.Duration{"never active": 0, "active for moments": 10 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := simnet.New(1)
				server := answeringV3(t, n, 1, nil)
				defer server.Close()
				client := dialling(t, n, 1)
				defer client.Close()
				tun := dialV3(t, client, nil)
				ours := beginsInactive(t, tun)
				tell := func(status uint16) {
					tun.runner.Do(func(now time.Time) { tun.machine.SetStatus(now, ours.id, status) })
				}
				tick := time.NewTicker(30 * time.Second)
				defer tick.Stop()
				for over, began := false, time.Now(); !over; {
					if time.Since(began) > 2*inactiveMost {
						t.Fatalf("the session stands after %v", time.Since(began))
					}
					select {
					case <-ours.Done():
						over = true
					case <-tick.C:
						if active > 0 { // it says so, and does nothing
							tell(wire.CircuitActive)
							time.Sleep(active)
							tell(0)
						}
					}
				}
				if e, ok := errors.AsType[*PeerError](ours.Err()); !ok || e.Message != "CDN" || e.ResultCode != wire.CallLostCarrier {
					t.Errorf("the session ended with %v", ours.Err())
				}
				if st := server.Status(); len(st.Tunnels) != 1 || len(st.Tunnels[0].Sessions) != 0 {
					t.Errorf("the server has %+v", st.Tunnels)
				}
			})
		})
	}
}

// The caller waits as long as its context lets it.
func TestV3ACallersContextEndsTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		server := answeringV3(t, n, 1, nil)
		defer server.Close()
		client := dialling(t, n, 1)
		defer client.Close()
		ours := beginsInactive(t, dialV3(t, client, nil))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := ours.established(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the wait ended with %v", err)
		}
		<-ours.Done() // PPP's farewell is not answered, and not waited for
	})
}
