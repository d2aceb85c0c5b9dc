package endpoint

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/control"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/simnet"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
	"github.com/l2tpnet/l2tpnet/endpoint/link"
)

// A joint is a switch between two sessions of L2TPv3 that two peers have opened, with their
// ends of them.
type joint struct {
	a, inA, b, inB *Session
}

// joinedV3 switches two sessions of one type, at one endpoint or at two.
func joinedV3(t *testing.T, n *simnet.Net, endpoints int) joint {
	t.Helper()
	middle := answeringV3(t, n, 1, nil)
	other := middle
	west, east := dialling(t, n, 1), host(t, n, farAddr, &Config{HostName: "east", Rand: random(1, 'e'), Answer: &AnswerConfig{Secret: "tunsecret", V3: &V3Config{}}})
	a, inA := openV3(t, dialV3(t, west, nil), middle, nil)
	if endpoints == 2 { // the second one dials
		other = host(t, n, "192.0.2.99:1701", &Config{HostName: "middle", Rand: random(1, 'm')})
	}
	t.Cleanup(func() {
		for _, e := range []*Endpoint{west, east, middle, other} {
			e.Close()
		}
	})
	if endpoints == 1 {
		b, inB := openV3(t, dialV3(t, east, nil), middle, &PseudowireConfig{CookieLen: 4, Sequencing: SequencingBoth})
		return joint{a, inA, b, inB}
	}
	tun, err := other.Dial(t.Context(), farAddr, &TunnelConfig{Secret: "tunsecret", V3: &V3Config{}})
	if err != nil {
		t.Fatal(err)
	}
	inB, b := openV3(t, tun, east, nil)
	return joint{a, inA, b, inB}
}

// Issue 7: "proxying, hub and switching work over them as over static ones": from one session
// that is negotiated to another one, through one socket and through two.
func TestV3SwitchedToL2TPv3(t *testing.T) {
	for _, endpoints := range []int{1, 2} {
		for _, ending := range []string{"a", "inA", "b", "inB", "the tunnel"} {
			t.Run(fmt.Sprintf("%d endpoints, %s ends it", endpoints, ending), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					j := joinedV3(t, simnet.New(1), endpoints)
					if err := Switch(j.inA, j.inB); err != nil {
						t.Fatal(err)
					}
					wantBothWays(t, j.a, j.b, frame)
					synctest.Wait()
					if x, y := j.inA.Status().Traffic, j.inB.Status().Traffic; x.PacketsIn != y.PacketsOut || y.PacketsIn != x.PacketsOut || x.BytesIn != y.BytesOut || x.PacketsIn != 1 {
						t.Errorf("one side counts %+v, the other %+v", x, y)
					}
					told, code := j.b, uint16(wire.CallAdministrative) // who is told, and what
					switch ending {
					case "a":
						j.a.Close()
					case "inA": // "loss of carrier": nobody has told a reason
						j.inA.Close()
						code = wire.CallLostCarrier
					case "b":
						j.b.Close()
						told = j.a
					case "inB":
						j.inB.Close()
						told, code = j.a, wire.CallLostCarrier
					case "the tunnel": // whose end is no result of the call's
						j.a.tunnel.stop()
						code = wire.CallLostCarrier
					}
					<-told.Done()
					wantPeer("CDN", code)(t, told.Err())
					for _, s := range []*Session{j.a, j.inA, j.b, j.inB} {
						<-s.Done()
					}
				})
			})
		}
	}
}

// What one peer says when it ends its session the other one is told, in words that it knows.
func TestASwitchPassesResultsOn(t *testing.T) {
	long := string(make([]byte, 300))
	for _, row := range []struct {
		said wire.Result
		v2   bool
		want wire.Result
	}{
		{said: wire.Result{Code: wire.CallBusy, Error: wire.ErrorNone, Text: "the line is busy"}, want: wire.Result{Code: wire.CallBusy, Text: "the line is busy"}},
		{said: wire.Result{Code: wire.CallBusy}, v2: true, want: wire.Result{Code: wire.CallBusy}},
		{said: wire.Result{Code: wire.CallError, Error: wire.ErrorResources, Text: "no room"}, v2: true, want: wire.Result{Code: wire.CallError, Error: wire.ErrorResources, Text: "no room"}},
		{said: wire.Result{Code: wire.CallFSM}, want: wire.Result{Code: wire.CallFSM}},
		{said: wire.Result{Code: wire.CallFSM}, v2: true, want: wire.Result{Code: wire.CallLostCarrier}},
		{said: wire.Result{Code: 0xffff}, want: wire.Result{Code: 0xffff}},
		{said: wire.Result{Code: wire.CallBusy, Text: "\xff\xfe"}, want: wire.Result{Code: wire.CallBusy}},
		{said: wire.Result{Code: wire.CallBusy, Text: long}, want: wire.Result{Code: wire.CallBusy}},
	} {
		tun := &Tunnel{version: 3}
		if row.v2 {
			tun.version = 2
		}
		err := publicError(&control.PeerError{Message: wire.CDN, Result: row.said})
		if got := (&Session{tunnel: tun}).passedOn(err); got != row.want {
			t.Errorf("%+v is passed on as %+v, want %+v", row.said, got, row.want)
		}
	}
}

// PPP of L2TPv2 goes on in L2TPv3, negotiated, and the other way round.
func TestV3PPPSwitchedToAndFromL2TPv2(t *testing.T) {
	for _, here := range []bool{false, true} { // whether the caller has L2TPv3
		t.Run(fmt.Sprint("from L2TPv3 ", here), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := simnet.New(1)
				lac := dialling(t, n, 1)
				defer lac.Close()
				middle := host(t, n, lnsAddr, &Config{HostName: "lts", Rand: random(1, 't'), Answer: &AnswerConfig{V3: &V3Config{}, RawPPP: func(Call) bool { return true }}})
				defer middle.Close()
				lns := host(t, n, farAddr, &Config{HostName: "far", Rand: random(1, 'f'), Answer: &AnswerConfig{V3: &V3Config{}, Authenticate: users, Pool: pool(t)}})
				defer lns.Close()
				version := func(v3 bool) *TunnelConfig {
					if v3 {
						return &TunnelConfig{V3: &V3Config{}}
					}
					return nil
				}
				tun, err := lac.Dial(t.Context(), lnsAddr, version(here))
				if err != nil {
					t.Fatal(err)
				}
				calling := make(chan *Session, 1)
				go func() {
					s, err := tun.OpenPPP(t.Context(), &PPPConfig{User: "alice", Password: "s3cret"})
					if err != nil {
						t.Error(err)
					}
					calling <- s
				}()
				in, err := middle.Accept(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				onward, err := middle.Dial(t.Context(), farAddr, version(!here))
				if err != nil {
					t.Fatal(err)
				}
				out, err := onward.OpenRawPPP(t.Context(), in)
				if err != nil {
					t.Fatal(err)
				}
				if err := Switch(in, out); err != nil {
					t.Fatal(err)
				}
				client := <-calling
				server, err := lns.Accept(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				wantBothWays(t, client, server, packet)
				server.Close()
				<-client.Done()
				<-in.Done()
				<-out.Done()
			})
		})
	}
}

// RFC 5641 §2: faults and standby are told beside that the circuit is active, and §3: "The (S)
// bit can be set in conjunction with any other bit". A switch passes all of it on, but not N,
// which "is provided to emulate" something else.
func TestASwitchPassesFaultsOfCircuits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := joinedV3(t, simnet.New(1), 1)
		if err := Switch(j.inA, j.inB); err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			status CircuitStatus
			want   string
		}{
			{CircuitRxFault | CircuitPSNTxFault, "inactive, fault in receiving, fault of the pseudowire in sending"},
			{CircuitActive | CircuitStandby, "active, standby"},
			{CircuitActive | wire.CircuitNew, "active"},
			{CircuitTxFault | CircuitPSNRxFault | CircuitStandby, "inactive, fault in sending, fault of the pseudowire in receiving, standby"},
			{CircuitActive, "active"},
		} {
			j.a.mu.Lock()
			j.a.circuit.status = c.status
			j.a.mu.Unlock()
			j.a.showCircuit()
			time.Sleep(2 * time.Second)
			got, ok := j.b.PeerCircuit()
			if want := c.status &^ wire.CircuitNew; got != want || !ok || got.String() != c.want || j.inB.Status().Circuit != c.want || j.b.mute.Load() == want.Usable() {
				t.Errorf("of %v b is told %v, want %v in words %q", c.status, got, want, c.want)
			}
		}
	})
}

// What a peer tells of its circuit all the time fills nobody else's queue: the other is told
// once a second, and in the end what is so.
func TestASwitchPassesCircuitsOnNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		j := joinedV3(t, n, 1)
		if err := Switch(j.inA, j.inB); err != nil {
			t.Fatal(err)
		}
		told := make(chan CircuitStatus, 1000)
		j.b.Attach(circuitSink{told})
		synctest.Wait()
		<-told // as it is
		for i := range 500 {
			j.a.SetCircuit(i%2 == 1)
			time.Sleep(20 * time.Millisecond)
		}
		j.a.SetCircuit(false)
		time.Sleep(5 * time.Second)
		if len(told) < 2 || len(told) > 13 {
			t.Errorf("told %d times in 10 s", len(told))
		}
		if got, _ := j.b.PeerCircuit(); got != 0 {
			t.Errorf("in the end b is told %v", got)
		}
		j.inA.Attach(nothing) // which parts them
		time.Sleep(5 * time.Second)
		if got, _ := j.b.PeerCircuit(); got != CircuitActive {
			t.Errorf("parted, b is told %v", got)
		}
	})
}

// A circuitSink tells of the peer's circuit.
type circuitSink struct{ told chan CircuitStatus }

func (circuitSink) Put(*link.Batch)                  {}
func (s circuitSink) SetPeerCircuit(c CircuitStatus) { s.told <- c }

// RFC 3931 §6.13: "The WAN-Error-Notify (WEN) is a control message sent from an LAC to an LNS
// to indicate WAN error conditions. The counters in this message are cumulative. This message
// should only be sent when an error occurs, and not more than once every 60 seconds." Of two
// ends of a pseudowire either may be an LAC, so that it is passed on both ways.
func TestASwitchPassesWENOfL2TPv3(t *testing.T) {
	for _, back := range []bool{false, true} {
		t.Run(fmt.Sprint("from the one that was called ", back), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := simnet.New(1)
				j := joinedV3(t, n, 2)
				if err := Switch(j.inA, j.inB); err != nil {
					t.Fatal(err)
				}
				from, address := j.a, farAddr
				if back {
					from, address = j.b, lacAddr
				}
				var told []uint32
				n.SetTap(func(r simnet.Record) {
					_, avps, err := wire.ParseV3Control(r.Payload)
					if err != nil || r.To.String() != address || r.Fate != simnet.Delivered {
						return
					}
					if m, _ := wire.ParseMessageV3(avps, nil); m.Type == wire.WEN {
						told = append(told, m.CallErrors.CRC)
					}
				})
				for crc := range uint32(180) {
					from.tunnel.runner.Do(func(now time.Time) {
						from.tunnel.machine.ReportErrors(now, from.id, wire.CallErrors{CRC: crc})
					})
					time.Sleep(time.Second)
				}
				synctest.Wait()
				if want := []uint32{0, 60, 120}; !slices.Equal(told, want) {
					t.Errorf("told of %v errors, want %v", told, want)
				}
				if j.a.Err() != nil || j.b.Err() != nil {
					t.Errorf("the sessions have ended: %v, %v", j.a.Err(), j.b.Err())
				}
			})
		})
	}
}
