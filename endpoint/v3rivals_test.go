package endpoint

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/simnet"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

// A peer that has restarted dials anew while its old tunnel stands, by L2TPv3.
func TestV3PeerThatRestarts(t *testing.T) {
	for _, again := range []byte{'c', 'd'} { // the same ids again, or others
		synctest.Test(t, func(t *testing.T) {
			n := simnet.New(1)
			server := answeringV3(t, n, 1, nil)
			defer server.Close()
			dial := func(who byte, name string) (*Endpoint, *Session, *Session) {
				e := host(t, n, lacAddr, &Config{HostName: name, Rand: random(1, who), Logger: testLogger(t, "lac")})
				ours, theirs := openV3(t, dialV3(t, e, nil), server, nil)
				return e, ours, theirs
			}
			old, _, dies := dial('c', "first")
			id := dies.Tunnel().PeerID()
			n.SetLink("192.0.2.1", "192.0.2.2", dead)
			n.SetLink("192.0.2.2", "192.0.2.1", dead)
			old.Close()
			n.SetLink("192.0.2.1", "192.0.2.2", simnet.Link{})
			n.SetLink("192.0.2.2", "192.0.2.1", simnet.Link{})
			risen, ours, theirs := dial(again, "risen")
			defer risen.Close()
			wantBothWays(t, ours, theirs, frame)
			if same := theirs.Tunnel().PeerID() == id; same != (again == 'c') {
				t.Fatalf("the peer's id is the same: %v", same)
			}
			<-dies.Done()
			if again == 'c' && !errors.Is(dies.Tunnel().Err(), ErrSuperseded) {
				t.Errorf("the old tunnel ended with %v", dies.Tunnel().Err())
			}
			wantBothWays(t, ours, theirs, frame)
		})
	}
}

// Issue: "Loss, reordering, simultaneous opens with tie breakers, restarts and roll-over of
// secrets in virtual time, a thousand seeds." A client restarts again and again, over a
// line that loses and reorders, while the secret is changed.
func TestV3RestartsAndRollOverOnABadLine(t *testing.T) {
	type end struct{ secret, old Secret }
	steps := []struct{ server, client end }{
		{end{"one", ""}, end{"one", ""}}, {end{"two", "one"}, end{"one", ""}}, {end{"two", "one"}, end{"two", "one"}}, {end{"two", ""}, end{"two", "one"}}, {end{"two", ""}, end{"two", ""}},
	}
	var failed, all int
	for seed := range seeds(30) {
		synctest.Test(t, func(t *testing.T) {
			n := simnet.New(seed)
			n.SetDefault(simnet.Link{Loss: .1, Duplicate: .1, Reorder: .2, Delay: 20 * time.Millisecond, Jitter: 20 * time.Millisecond})
			for i, step := range steps {
				all++
				server := answeringV3(t, n, seed<<4|uint64(i), func(a *AnswerConfig) { a.Secret, a.V3 = step.server.secret, &V3Config{OldSecret: step.server.old} })
				// The first client dies without a word; the second is the one that is served.
				var ours *Session
				for k := range byte(2) {
					client := host(t, n, lacAddr, &Config{Rand: random(seed<<4|uint64(i), 'c'+k)})
					tun, err := client.Dial(t.Context(), lnsAddr, &TunnelConfig{Secret: step.client.secret, V3: &V3Config{OldSecret: step.client.old}, Fallback: seed%2 == 0})
					if err == nil {
						ours, err = tun.Open(t.Context(), nil)
					}
					if err != nil {
						failed++
						client.Close()
						break
					}
					theirs, err := server.Accept(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					theirs.Attach(theirs)
					if k == 0 {
						n.SetLink("192.0.2.1", "192.0.2.2", dead)
						client.Close()
						n.SetLink("192.0.2.1", "192.0.2.2", simnet.Link{Loss: .1, Reorder: .2, Delay: 20 * time.Millisecond})
						continue
					}
					sink, got := collect()
					ours.Attach(sink)
					for range 30 {
						put(ours, frame("still here"))
					}
					wantPacket(t, got, frame("still here"))
					time.Sleep(3 * time.Minute)
					if err := ours.Err(); err != nil {
						failed++
					} else if st := server.Status(); len(st.Tunnels) != 1 || st.Counters.BadDigest > 1 {
						// A message to the first client may reach the second.
						t.Errorf("seed %d, step %d: %+v", seed, i, st)
					}
					client.Close()
				}
				server.Close()
			}
		})
	}
	if failed > 1+all/50 {
		t.Errorf("%d of %d failed", failed, all)
	}
}

// "Dead peers: found within 30 s while traffic flows": as in L2TPv2, by a Hello as soon as
// frames have gone one way for 5 s. Without traffic a Hello finds out.
func TestV3DeadPeersAreFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		server := answeringV3(t, n, 1, nil)
		defer server.Close()
		client := dialling(t, n, 1)
		defer client.Close()
		ours, theirs := openV3(t, dialV3(t, client, nil), server, &PseudowireConfig{Type: PseudowireIP})
		ours.Attach(nothing)
		go talk(theirs)
		time.Sleep(5 * time.Minute)
		for _, s := range []*Session{ours, theirs} {
			if err := s.Err(); err != nil {
				t.Fatalf("a session has ended: %v", err)
			}
		}
		n.SetDefault(dead)
		since := time.Now()
		wantGone(t, "the session at the end that talks", theirs, since, 30*time.Second)
		// 60 s of silence, of which traffic makes it 2.5 s until that is seen, and ten times a
		// Hello.
		wantGone(t, "the session at the other end", ours, since, (60+71)*time.Second+2500*time.Millisecond)
	})
}

// RFC 3931 §4.2: "If no peer response is detected after several retransmissions (a recommended
// default is 10, but MUST be configurable), the control connection and all associated sessions
// MUST be cleared." The time is that of a Hello, of which the peer has heard nothing.
func TestV3RetriesAreConfigurable(t *testing.T) {
	for retries, cycle := range map[int]time.Duration{0: 71 * time.Second, 2: 7 * time.Second, -1: time.Second} {
		synctest.Test(t, func(t *testing.T) {
			n := simnet.New(1)
			server := answeringV3(t, n, 1, func(a *AnswerConfig) { a.Retries, a.HelloInterval = retries, 10*time.Second })
			defer server.Close()
			client := dialling(t, n, 1)
			defer client.Close()
			ours := dialV3(t, client, func(c *TunnelConfig) { c.Retries, c.HelloInterval = retries, 10*time.Second })
			time.Sleep(time.Minute)
			theirs := server.only(client.Addr())
			n.SetDefault(dead)
			since := time.Now()
			for _, tun := range []*Tunnel{ours, theirs} {
				<-tun.Done()
			}
			// A Hello comes up to a tenth early, or up to 10 s after the last that was heard.
			if took := time.Since(since); took < cycle || took > cycle+11*time.Second {
				t.Errorf("%d retries: both ends know after %v, want %v and what it takes until a Hello", retries, took, cycle)
			}
		})
	}
}

// RFC 3931 §5.4.3, of the tie breaker: 'The lower value "wins", and the "loser" MUST discard
// its control connection. A StopCCN SHOULD be sent by the winner as an explicit rejection
// for the losing SCCRQ.'
func TestV3BothDialAtOnceAndOneTunnelStands(t *testing.T) {
	var lossy, unlucky int
	for seed := range seeds(240) {
		synctest.Test(t, func(t *testing.T) {
			n := simnet.New(seed)
			l := simnet.Link{Delay: 20 * time.Millisecond, Jitter: 10 * time.Millisecond, Reorder: .1}
			if seed%2 == 1 {
				l.Loss = .2
				lossy++
			}
			n.SetDefault(l)
			both := func(address string, who byte) *Endpoint {
				return host(t, n, address, &Config{HostName: string(who), Rand: random(seed, who), Logger: testLogger(t, string(who)),
					Answer: &AnswerConfig{Secret: "tunsecret", V3: &V3Config{}}})
			}
			a, b := both(lacAddr, 'a'), both(lnsAddr, 'b')
			defer a.Close()
			defer b.Close()
			dialled := make(chan error, 2)
			for i, d := range []struct {
				from *Endpoint
				to   string
			}{{a, lnsAddr}, {b, lacAddr}} {
				go func() {
					time.Sleep(time.Duration(i) * time.Duration(seed%5) * 4 * time.Millisecond) // before it hears of the other
					tun, err := d.from.Dial(t.Context(), d.to, &TunnelConfig{Secret: "tunsecret", V3: &V3Config{}, Fallback: seed%4 >= 2})
					if err == nil {
						_, err = tun.Open(t.Context(), &PseudowireConfig{RemoteEndID: d.to})
					}
					dialled <- err
				}()
			}
			var failed error
			for range 2 {
				failed = errors.Join(failed, <-dialled)
			}
			n.SetDefault(simnet.Link{})
			time.Sleep(3 * time.Minute)
			ta, tb := a.Status().Tunnels, b.Status().Tunnels
			if seed%2 == 1 && failed != nil {
				unlucky++
				return
			}
			if failed != nil {
				t.Errorf("seed %d: %v", seed, failed)
			}
			if len(ta) != 1 || len(tb) != 1 || ta[0].ID != tb[0].PeerID || ta[0].Version != 3 {
				t.Errorf("seed %d: expected one tunnel, found\n%+v\n%+v", seed, ta, tb)
			} else if len(ta[0].Sessions) != 2 {
				t.Errorf("seed %d: expected the sessions of both in it, found %+v", seed, ta[0].Sessions)
			}
		})
	}
	if unlucky > 1+lossy/10 {
		t.Errorf("%d of %d lossy links failed", unlucky, lossy)
	}
}

// RFC 3931 §5.4.4: of two sessions that are asked for at once for one circuit, one stands.
// The tie breakers of endpoints that answer as well see to that; of one alone it is its own.
func TestV3SessionsTie(t *testing.T) {
	for _, both := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			n := simnet.New(1)
			n.SetDefault(simnet.Link{Delay: 20 * time.Millisecond})
			server := answeringV3(t, n, 1, nil)
			defer server.Close()
			cfg := &Config{HostName: "lac", Rand: random(1, 'c'), Logger: testLogger(t, "lac")}
			if both {
				cfg.Answer = &AnswerConfig{V3: &V3Config{}}
			}
			client := host(t, n, lacAddr, cfg)
			defer client.Close()
			ours := dialV3(t, client, nil)
			openV3(t, ours, server, &PseudowireConfig{RemoteEndID: "another"})
			theirs := server.find(ours.ep.Addr(), func(*Tunnel) bool { return true })
			results := make(chan error, 2)
			for _, tun := range []*Tunnel{ours, theirs} {
				go func() {
					_, err := tun.Open(t.Context(), &PseudowireConfig{RemoteEndID: "one"})
					results <- err
				}()
			}
			lost, stand := 0, 0
			for range 2 {
				switch err := <-results; {
				case err == nil:
					stand++
				case errors.Is(err, ErrLostSessionTie):
					lost++
				default:
					if e, ok := errors.AsType[*PeerError](err); !ok || both && e.ResultCode != wire.CallLostTie {
						t.Errorf("a session failed with %v", err)
					}
					lost++
				}
			}
			time.Sleep(time.Minute)
			// Who does not answer refuses the server's, whose tie breaker has won already.
			if want := map[bool]int{true: 1, false: 0}[both]; stand != want || len(ours.Status().Sessions) != 1+want || len(theirs.Status().Sessions) != 1+want {
				t.Errorf("both answer %v: %d stand and %d have lost; %+v", both, stand, lost, ours.Status().Sessions)
			}
		})
	}
}

// RFC 3931 §3.4.1 has session ids that are unique in the whole endpoint, those of static
// sessions included.
func TestV3SessionIDsAreUnique(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		server := answeringV3(t, n, 1, func(a *AnswerConfig) { a.Limits.Sessions, a.Limits.UnauthenticatedSessions = -1, -1 })
		defer server.Close()
		repeats := repeating(0)
		client := host(t, n, lacAddr, &Config{Rand: &repeats})
		defer client.Close()
		tun := dialV3(t, client, nil)
		static(t, client, lnsAddr, &StaticConfig{SessionID: 0x01010102, PeerSessionID: 1})
		seen := map[uint32]bool{0x01010102: true}
		for range 5 {
			s, err := tun.Open(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			if seen[s.id] {
				t.Errorf("the session id %#x is given twice", s.id)
			}
			seen[s.id] = true
		}
		if !seen[0x01010101] || !seen[0x01010103] {
			t.Errorf("the ids are %v: the source did not repeat itself", seen)
		}
		if _, err := client.Static(t.Context(), lnsAddr, &StaticConfig{SessionID: 0x01010103, PeerSessionID: 1}); !errors.Is(err, ErrSessionID) {
			t.Errorf("a static session with the id of another: %v", err)
		}
	})
}

// repeating is a random source of ones.
type repeating int

func (*repeating) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = 1
	}
	return len(b), nil
}
