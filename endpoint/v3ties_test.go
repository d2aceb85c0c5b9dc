package endpoint

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/simnet"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

// An equalizer is a random source that can be had to say for so many reads what that of
// another says.
type equalizer struct {
	mu    sync.Mutex
	own   io.Reader
	equal int
}

func (e *equalizer) Read(b []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.equal == 0 {
		return e.own.Read(b)
	}
	e.equal--
	for i := range b {
		b[i] = 7
	}
	return len(b), nil
}

func (e *equalizer) next(reads int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.equal = reads
}

// twins are two endpoints of L2TPv3 that dial and answer, with their random sources.
func twins(t *testing.T, n *simnet.Net) (ends [2]*Endpoint, sources [2]*equalizer) {
	t.Helper()
	for i, address := range []string{lacAddr, lnsAddr} {
		sources[i] = &equalizer{own: random(1, byte(i))}
		ends[i] = host(t, n, address, &Config{HostName: fmt.Sprint(i), Rand: sources[i], Logger: testLogger(t, address), Answer: &AnswerConfig{V3: &V3Config{}}})
	}
	return ends, sources
}

// RFC 3931 §5.4.3: "In the case in which a tie breaker is present on both sides and the value
// is equal, both sides MUST discard their control connections and restart control connection
// negotiation with a new, random tie breaker value."
func TestV3EqualTieBreakers(t *testing.T) {
	for name, c := range map[string]struct {
		reads int // that are equal; of each dial three are: identifier, serial number, tie breaker
		falls bool
		lost  bool // what one of them sends first
	}{"both see it": {reads: 3}, "by fall-back": {reads: 3, falls: true}, "one sees it": {reads: 3, lost: true}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := simnet.New(1)
				n.SetDefault(simnet.Link{Delay: 20 * time.Millisecond})
				if c.lost {
					n.SetLink("192.0.2.1", "192.0.2.2", simnet.Link{Loss: 1})
					time.AfterFunc(10*time.Millisecond, func() { n.SetLink("192.0.2.1", "192.0.2.2", simnet.Link{Delay: 20 * time.Millisecond}) })
				}
				var mu sync.Mutex
				seen := map[[8]byte]int{} // tie breakers, by how many SCCRQs have them
				n.SetTap(func(r simnet.Record) {
					if r.Fate != simnet.Sent {
						return
					}
					_, avps, _ := parseControl(r.Payload)
					if m, _ := wire.ParseMessageV3(avps, nil); m.Type == wire.SCCRQ {
						mu.Lock()
						defer mu.Unlock()
						seen[m.TieBreaker]++
					}
				})
				ends, sources := twins(t, n)
				var opened [2]*Tunnel
				var all sync.WaitGroup
				for i, e := range ends {
					defer e.Close()
					sources[i].next(c.reads)
					all.Go(func() {
						var err error
						opened[i], err = e.Dial(t.Context(), []string{lnsAddr, lacAddr}[i], &TunnelConfig{V3: &V3Config{}, Fallback: c.falls})
						if err != nil {
							t.Errorf("end %d: %v", i, err)
						}
					})
				}
				all.Wait()
				time.Sleep(2 * time.Minute)
				mu.Lock()
				defer mu.Unlock()
				if n := seen[[8]byte{7, 7, 7, 7, 7, 7, 7, 7}]; n < 2 || len(seen) < 2 {
					t.Fatalf("the tie breakers were %v", seen)
				}
				for i, e := range ends {
					if st := e.Status(); len(st.Tunnels) != 1 || st.HalfOpen != 0 || opened[i] == nil || opened[i].isDown() {
						t.Errorf("end %d: %+v", i, st)
					}
				}
			})
		})
	}
}

// Somebody who sends back whatever comes has our tie breaker each time: we do not dial for
// ever.
func TestV3EqualTieBreakersForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		ends, _ := twins(t, n)
		defer ends[0].Close()
		ends[1].Close()
		mirror := tapped(t, n, lnsAddr, lacAddr)
		came := make(chan int)
		go func() {
			b, count := make([]byte, 2000), 0
			for {
				mirror.conn.SetReadDeadline(time.Now().Add(time.Minute))
				k, _, err := mirror.conn.ReadFrom(b)
				if err != nil {
					came <- count
					return
				}
				_, avps, _ := parseControl(b[:k])
				if m, _ := wire.ParseMessageV3(avps, nil); m.Type == wire.SCCRQ {
					count++
					mirror.conn.WriteTo(b[:k], mirror.to)
				}
			}
		}()
		if _, err := ends[0].Dial(t.Context(), lnsAddr, &TunnelConfig{V3: &V3Config{}}); !errors.Is(err, ErrEqualTie) {
			t.Errorf("dialling ended with %v", err)
		}
		if n := <-came; n != 1+equalTiesMost {
			t.Errorf("%d SCCRQs were sent", n)
		}
	})
}

// Of sessions likewise: "both sides MUST discard their sessions and restart session
// negotiation with new random tie breaker values" (RFC 3931 §5.4.4).
func TestV3EqualSessionTieBreakers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		n.SetDefault(simnet.Link{Delay: 20 * time.Millisecond})
		ends, sources := twins(t, n)
		defer ends[1].Close()
		defer ends[0].Close()
		ours := dialV3(t, ends[0], func(c *TunnelConfig) { c.Secret = "" })
		time.Sleep(time.Second)
		theirs := ends[1].only(ends[0].Addr())
		stand := make(chan bool, 2)
		for i, tun := range []*Tunnel{ours, theirs} {
			sources[i].next(3) // cookie, tie breaker, identifier
			go func() {
				_, err := tun.Open(t.Context(), &PseudowireConfig{RemoteEndID: "one"})
				if err != nil && !errors.Is(err, ErrLostSessionTie) {
					if e, ok := errors.AsType[*PeerError](err); !ok || e.ResultCode != wire.CallLostTie {
						t.Errorf("end %d: %v", i, err)
					}
				}
				stand <- err == nil
			}()
		}
		if a, b := <-stand, <-stand; a == b {
			t.Errorf("one end has its session: %v, the other %v", a, b)
		}
		time.Sleep(time.Minute)
		for _, tun := range []*Tunnel{ours, theirs} {
			if st := tun.Status(); len(st.Sessions) != 1 || st.Sessions[0].State != SessionUp {
				t.Errorf("a tunnel has %+v", st.Sessions)
			}
		}
	})
}
