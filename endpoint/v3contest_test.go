package endpoint

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/simnet"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

// RFC 3931 §4.3: authentication is to "guard against control message spoofing". Nobody signs an
// SCCRQ of L2TPv2: one in the peer's name, whose tie breaker wins against all others or is
// ours, neither delays nor ends what is dialled by L2TPv3, nor what may come to be of L2TPv3
// and has a secret.
func TestV3AForgedTieOfL2TPv2IsNotBelieved(t *testing.T) {
	for _, fallback := range []bool{false, true} {
		took := map[string]time.Duration{}
		for _, forged := range []string{"nothing", "one that wins", "one that draws"} {
			synctest.Test(t, func(t *testing.T) {
				n := simnet.New(1)
				n.SetDefault(simnet.Link{Delay: 50 * time.Millisecond})
				server := answeringV3(t, n, 1, nil)
				defer server.Close()
				both := host(t, n, lacAddr, &Config{Rand: random(1, 'b'), Logger: testLogger(t, "lac"), Answer: &AnswerConfig{Secret: "tunsecret", V3: &V3Config{}}})
				defer both.Close()
				// The first SCCRQ is lost, so that there is time for the other's.
				n.SetLink("192.0.2.1", "192.0.2.2", dead)
				time.AfterFunc(500*time.Millisecond, func() { n.SetLink("192.0.2.1", "192.0.2.2", simnet.Link{}) })
				time.AfterFunc(time.Millisecond, func() {
					if forged == "nothing" {
						return
					}
					m := &wire.Message{Type: wire.SCCRQ, ProtocolVersion: wire.ProtocolVersion, FramingCapabilities: 3, HostName: "x", AssignedTunnelID: 7}
					if forged == "one that draws" {
						m.TieBreaker = *both.only(server.Addr()).machine.TieBreaker()
					}
					m.Set(wire.AVPTieBreaker)
					both.receive(server.Addr(), netip.Addr{}, opening(m), nil)
				})
				began := time.Now()
				tun, err := both.Dial(t.Context(), lnsAddr, &TunnelConfig{Secret: "tunsecret", V3: &V3Config{}, Fallback: fallback})
				if err != nil || tun.Status().Version != 3 {
					t.Errorf("fall-back %v, %s is forged: %v", fallback, forged, err)
				}
				took[forged] = time.Since(began)
			})
		}
		if took["one that wins"] != took["nothing"] || took["one that draws"] != took["nothing"] {
			t.Errorf("fall-back %v: dialling took %v", fallback, took)
		}
	}
}

// RFC 2661 §4.4.3 and RFC 3931 §5.4.3 choose one of two tunnels that are dialled at once, if
// they are of one version: what could only be of L2TPv3 does not end for one of L2TPv2. An
// honest peer of L2TPv2 has one tunnel with who dials it with a fall-back.
func TestV3TiesAreOfOneVersion(t *testing.T) {
	v2, v3 := TunnelConfig{Secret: "tunsecret"}, TunnelConfig{Secret: "tunsecret", V3: &V3Config{}}
	either := v3
	either.Fallback = true
	for name, c := range map[string]struct {
		ours, theirs TunnelConfig
		answers      *V3Config // of theirs
		versions     [2]int    // that they get
		tunnels      int
	}{
		"L2TPv3 and L2TPv2":                     {v3, v2, &V3Config{}, [2]int{3, 2}, 2},
		"a fall-back and a peer of L2TPv2":      {either, v2, nil, [2]int{2, 2}, 1},
		"a fall-back and L2TPv3":                {either, v3, &V3Config{}, [2]int{3, 3}, 1},
		"a fall-back and another":               {either, either, &V3Config{}, [2]int{3, 3}, 1},
		"L2TPv2 and L2TPv2, where both answer":  {v2, v2, &V3Config{}, [2]int{2, 2}, 1},
		"L2TPv3 and L2TPv3, where both answer ": {v3, v3, &V3Config{}, [2]int{3, 3}, 1},
	} {
		for seed := range uint64(8) { // whichever wins
			t.Run(fmt.Sprint(name, " ", seed), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					n := simnet.New(seed)
					n.SetDefault(simnet.Link{Delay: 20 * time.Millisecond})
					a := answerer(t, n, lacAddr, seed, 'a', &V3Config{})
					defer a.Close()
					b := answerer(t, n, lnsAddr, seed, 'b', c.answers)
					defer b.Close()
					var opened [2]*Tunnel
					var failed [2]error
					var all sync.WaitGroup
					all.Go(func() { opened[0], failed[0] = a.Dial(t.Context(), lnsAddr, &c.ours) })
					all.Go(func() { opened[1], failed[1] = b.Dial(t.Context(), lacAddr, &c.theirs) })
					all.Wait()
					if err := errors.Join(failed[:]...); err != nil {
						t.Fatal(err)
					}
					time.Sleep(2 * time.Minute)
					for i, e := range []*Endpoint{a, b} {
						st := e.Status()
						if got := opened[i].Status(); got.Version != c.versions[i] || !got.Up || len(st.Tunnels) != c.tunnels || st.Counters.BadDigest != 0 {
							t.Errorf("end %d has a tunnel %+v; of %d, %+v", i, got, len(st.Tunnels), st.Counters)
						}
					}
				})
			})
		}
	}
}

func answerer(t *testing.T, n *simnet.Net, address string, seed uint64, who byte, v3 *V3Config) *Endpoint {
	t.Helper()
	return host(t, n, address, &Config{HostName: string(who), Rand: random(seed, who), Logger: testLogger(t, string(who)),
		Answer: &AnswerConfig{Secret: "tunsecret", Authenticate: users, Pool: pool(t), V3: v3}})
}
