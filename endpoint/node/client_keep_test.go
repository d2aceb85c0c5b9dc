package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint"
)

// A fakeConn is a connection of nothing.
type fakeConn struct {
	done chan struct{}
	err  error
	log  func(string, ...any)

	mu      sync.Mutex
	onProbe func()
	changed chan struct{}
	was     Connected
}

func (c *fakeConn) Done() <-chan struct{} { return c.done }
func (c *fakeConn) Err() error            { return c.err }
func (c *fakeConn) fail(err *DownError)   { c.log("fails: %v", err) }
func (c *fakeConn) close()                { c.log("closed") }
func (c *fakeConn) Probe() {
	c.log("probed")
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.onProbe != nil {
		c.onProbe()
	}
}

func (c *fakeConn) Changed() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changed
}

func (c *fakeConn) describe() Connected {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.was
}

func (c *fakeConn) advertise(addr string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.was.Addresses = []netip.Addr{netip.MustParseAddr(addr)}
	close(c.changed)
	c.changed = make(chan struct{})
}

func (c *fakeConn) lose(err error) {
	c.err = err
	close(c.done)
}

// A story is a keeper in a world that the test makes up, and what happened, by the
// second. Use it in a synctest bubble.
type story struct {
	t      *testing.T
	keeper *keeper
	woke   chan struct{}
	stop   context.CancelFunc
	ended  chan struct{}
	err    error

	// dns has the addresses of the names, and dialled says what comes of an attempt:
	// after a time, and nil for a connection. Unlisted ones are silent.
	dns     map[string]string
	dialled map[string]outcome

	start time.Time
	mu    sync.Mutex
	lines []string
	conn  *fakeConn
}

type outcome struct {
	after time.Duration
	err   error
}

func tell(t *testing.T, servers string, change func(*story)) *story {
	targets, err := parseServers(servers)
	if err != nil {
		t.Fatal(err)
	}
	s := &story{t: t, woke: make(chan struct{}, 1), ended: make(chan struct{}), dns: map[string]string{}, dialled: map[string]outcome{}, start: time.Now()}
	s.keeper = &keeper{
		servers: targets, resolve: s.resolve, dial: s.dial, tell: s.event, woke: s.woke,
		jitter:   func() float64 { return 1 }, // the longest time, which is a round number
		patience: defaultPatience,
	}
	change(s)
	ctx, stop := context.WithCancel(t.Context())
	s.stop = func() { stop(); <-s.ended }
	go func() {
		defer close(s.ended)
		s.err = s.keeper.run(ctx)
	}()
	return s
}

func (s *story) log(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, fmt.Sprintf("%v ", time.Since(s.start))+fmt.Sprintf(format, args...))
}

func (s *story) resolve(_ context.Context, host string) (addrs []netip.Addr, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list, ok := s.dns[host]
	if !ok {
		return nil, &net.DNSError{Name: host, Err: "no such host", IsNotFound: true}
	}
	for a := range strings.FieldsSeq(list) {
		addrs = append(addrs, netip.MustParseAddr(a))
	}
	return addrs, nil
}

var errSilent = errors.New("silence")

func (s *story) dial(ctx context.Context, _ *target, to netip.AddrPort, patience time.Duration) (connection, error) {
	s.log("dial %v", to)
	s.mu.Lock()
	o, ok := s.dialled[to.Addr().String()]
	s.mu.Unlock()
	if !ok {
		o = outcome{31 * time.Second, errSilent}
	}
	if patience > 0 && o.after > patience {
		o = outcome{patience, &PatienceError{After: patience}}
	}
	select {
	case <-time.After(o.after):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if o.err != nil {
		return nil, o.err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conn = &fakeConn{done: make(chan struct{}), changed: make(chan struct{}), log: s.log, was: Connected{Peer: to}}
	return s.conn, nil
}

func (s *story) event(e Event) {
	next := func(t time.Time) string {
		if t.IsZero() {
			return "never"
		}
		return time.Until(t).String()
	}
	switch e := e.(type) {
	case Connected:
		s.log("up at %v", e.Peer)
	case Changed:
		s.log("changed: %v", e.Addresses)
	case Failed:
		s.log("failed (%v), next: %s", e.Err, next(e.Next))
	case Disconnected:
		s.log("down (%v), next: %s", e.Err, next(e.Next))
	}
}

// want compares what has happened since the last time.
func (s *story) want(lines ...string) {
	s.t.Helper()
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Equal(s.lines, lines) {
		s.t.Errorf("it happened:\n\t%s\nwanted:\n\t%s", strings.Join(s.lines, "\n\t"), strings.Join(lines, "\n\t"))
	}
	s.lines = nil
}

func (s *story) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = nil
}

// answers says what comes of dialling an address from now on.
func (s *story) answers(addr string, after time.Duration, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dialled[addr] = outcome{after, err}
}

// pass lets time pass.
func (s *story) pass(d time.Duration) { time.Sleep(d); synctest.Wait() }

// "Client stays connected (jittered back-off, the name resolved afresh, the next address
// family and the next server when one fails)".
func TestKeeperStaysConnected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := tell(t, "a.example,b.example:1702", func(s *story) {
			s.dns["a.example"] = "2001:db8::1 2001:db8::2 192.0.2.1"
			s.dns["b.example"] = "192.0.2.9"
			s.dialled["192.0.2.1"] = outcome{time.Second, errors.New("go away")}
			s.dialled["192.0.2.9"] = outcome{time.Second, nil}
		})
		s.pass(22 * time.Second)
		s.want(
			"0s dial [2001:db8::1]:1701",  // silent: not for 31 s while there is another
			"10s dial 192.0.2.1:1701",     // the other family before the second address
			"11s dial [2001:db8::2]:1701", // silent, too
			"21s dial 192.0.2.9:1702",     // the next server
			"22s up at 192.0.2.9:1702",
		)
		// The server has another address now, which is asked for again; and the first
		// server works again.
		s.mu.Lock()
		s.dns["a.example"] = "192.0.2.2"
		s.mu.Unlock()
		s.answers("192.0.2.2", 0, nil)
		s.pass(2 * time.Minute)
		s.conn.lose(errors.New("the peer is silent"))
		s.pass(time.Second)
		s.want(
			"2m22s fails: the tunnel is down: the peer is silent",
			"2m22s closed",
			"2m22s down (the peer is silent), next: 1s",
			"2m23s dial 192.0.2.2:1701",
			"2m23s up at 192.0.2.2:1701",
		)
		s.stop()
		if !errors.Is(s.err, net.ErrClosed) {
			t.Errorf("it ended with %v", s.err)
		}
		s.want("2m23s closed")
	})
}

// A lone server has the 31 s of the RFC, and the pauses grow to a minute.
func TestKeeperBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := tell(t, "192.0.2.1", func(s *story) { s.dialled["192.0.2.1"] = outcome{0, errors.New("no route")} })
		s.pass(1 * time.Second)
		s.want("0s dial 192.0.2.1:1701", "0s failed (192.0.2.1: no route), next: 1s", "1s dial 192.0.2.1:1701", "1s failed (192.0.2.1: no route), next: 2s")
		s.pass(2*time.Second + 4*time.Second + 8*time.Second + 16*time.Second + 32*time.Second)
		s.forget()
		s.pass(time.Minute)
		s.want("2m3s dial 192.0.2.1:1701", "2m3s failed (192.0.2.1: no route), next: 1m0s")
		// Now it answers, but does not last: that is no reason to begin anew.
		s.answers("192.0.2.1", 31*time.Second, errSilent)
		s.pass(time.Minute)
		s.want("3m3s dial 192.0.2.1:1701")
		s.answers("192.0.2.1", 0, nil)
		s.pass(31 * time.Second)
		s.want("3m34s failed (192.0.2.1: silence), next: 1m0s")
		s.pass(time.Minute + 30*time.Second)
		s.conn.lose(errors.New("gone"))
		s.pass(0)
		s.want("4m34s dial 192.0.2.1:1701", "4m34s up at 192.0.2.1:1701", "5m4s fails: the tunnel is down: gone", "5m4s closed", "5m4s down (gone), next: 1m0s")
		s.pass(time.Minute + time.Minute)
		s.conn.lose(errors.New("gone"))
		s.pass(0)
		s.want("6m4s dial 192.0.2.1:1701", "6m4s up at 192.0.2.1:1701", "7m4s fails: the tunnel is down: gone", "7m4s closed", "7m4s down (gone), next: 1s")
		s.stop()
	})
}

// Pauses are random, from half to all of their time.
func TestKeeperJitters(t *testing.T) {
	for jitter, want := range map[float64]time.Duration{0: 2 * time.Second, 0.5: 3 * time.Second, 1: 4 * time.Second} {
		targets, _ := parseServers("192.0.2.1")
		k := &keeper{servers: targets, jitter: func() float64 { return jitter }, failures: 2}
		now := time.Now()
		if got := k.next(now).Sub(now); got != want {
			t.Errorf("with jitter %v the third pause is %v, want %v", jitter, got, want)
		}
	}
}

// "errors that cannot mend by themselves … are retried slowly": the server that has
// refused us is left alone, at all its addresses, and the others are not.
func TestKeeperAfterARefusal(t *testing.T) {
	wrong := &endpoint.AuthError{User: "alice"}
	synctest.Test(t, func(t *testing.T) {
		s := tell(t, "a.example,192.0.2.9", func(s *story) {
			s.dns["a.example"] = "192.0.2.1 192.0.2.2"
			s.dialled["192.0.2.1"] = outcome{0, wrong}
			s.dialled["192.0.2.9"] = outcome{0, errors.New("busy")}
		})
		s.pass(2 * time.Second)
		s.want(
			"0s dial 192.0.2.1:1701", "0s dial 192.0.2.9:1701",
			"0s failed (a.example (192.0.2.1:1701): ; 192.0.2.9: busy), next: 1s",
			"1s dial 192.0.2.9:1701", "1s failed (192.0.2.9: busy), next: 2s",
		)
		s.answers("192.0.2.9", 0, wrong)
		s.pass(43 * time.Second)
		s.want(
			"3s dial 192.0.2.9:1701", "3s failed (192.0.2.9: ), next: 42s", // 45 s after the first refusal
			"45s dial 192.0.2.1:1701", "45s failed (a.example (192.0.2.1:1701): ), next: 3s",
		)
		// Not even somebody who wakes up asks again sooner.
		s.woke <- struct{}{}
		s.pass(time.Second)
		s.want()
		s.pass(2 * time.Second)
		s.want("48s dial 192.0.2.9:1701", "48s failed (192.0.2.9: ), next: 1m27s")
		s.stop()
	})
}

func TestKeeperEnds(t *testing.T) {
	wrong, busy := &endpoint.AuthError{User: "alice"}, errors.New("busy")
	for _, row := range []struct {
		name   string
		change func(*keeper)
		first  error
		lost   bool // after a connection
		want   error
	}{
		{"Once, and it was lost", func(k *keeper) { k.once = true }, nil, true, errSilent},
		{"Once, and it never was", func(k *keeper) { k.once = true }, busy, false, busy},
		{"Dial, and it never was", func(k *keeper) { k.impatient = true }, busy, false, busy},
		{"a refusal", func(k *keeper) { k.endOnRefusal = true }, wrong, false, wrong},
		{"Dial, and it was lost", func(k *keeper) { k.impatient = true }, nil, true, nil},
		{"a refusal, of who goes on", func(*keeper) {}, wrong, false, nil},
		{"busy, and only a refusal ends it", func(k *keeper) { k.endOnRefusal = true }, busy, false, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := tell(t, "192.0.2.1", func(s *story) {
					s.dialled["192.0.2.1"] = outcome{0, row.first}
					row.change(s.keeper)
				})
				synctest.Wait()
				if row.lost {
					s.conn.lose(errSilent)
					synctest.Wait()
				}
				select {
				case <-s.ended:
					if row.want == nil || !errors.Is(s.err, row.want) {
						t.Errorf("it ended with %v, want %v", s.err, row.want)
					}
					if last := s.lines[len(s.lines)-1]; !strings.HasSuffix(last, "next: never") {
						t.Errorf("the last event is %q", last)
					}
				default:
					if row.want != nil {
						t.Errorf("it goes on, want %v", row.want)
					}
					s.stop()
				}
			})
		})
	}
}

// Suspend and resume: the peer is asked at once, and the next attempt does not wait.
func TestKeeperWakesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var slept time.Duration
		start := time.Now()
		s := tell(t, "192.0.2.1", func(s *story) { s.dialled["192.0.2.1"] = outcome{0, nil} })
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go watchClock(ctx, func() (time.Time, time.Duration) {
			mu.Lock()
			defer mu.Unlock()
			return time.Now().Round(0).Add(slept), time.Since(start) // timers stand still, too
		}, s.woke)
		s.pass(time.Hour)
		s.want("0s dial 192.0.2.1:1701", "0s up at 192.0.2.1:1701")
		s.conn.mu.Lock()
		s.conn.onProbe = func() {
			conn := s.conn
			time.AfterFunc(6*time.Second, func() { conn.lose(errors.New("the peer is silent")) })
		}
		s.conn.mu.Unlock()
		s.answers("192.0.2.1", 0, errors.New("no network")) // not yet, after waking up
		sleep := func(d time.Duration) {
			mu.Lock()
			defer mu.Unlock()
			slept += d
		}
		sleep(8 * time.Hour)
		s.pass(11 * time.Second)
		s.want(
			"1h0m5s probed",
			"1h0m11s fails: the tunnel is down: the peer is silent", "1h0m11s closed", "1h0m11s down (the peer is silent), next: 1s",
		)
		s.pass(time.Minute + 20*time.Second)
		s.forget() // 1, 2, 4, … 32 s
		sleep(8 * time.Hour)
		s.answers("192.0.2.1", 0, nil)
		s.pass(5 * time.Second)
		s.want("1h1m35s dial 192.0.2.1:1701", "1h1m35s up at 192.0.2.1:1701")
		s.stop()
	})
}

// A machine whose clock goes on while it sleeps, and one that was merely busy.
func TestWatchClock(t *testing.T) {
	for _, row := range []struct {
		name            string
		wall, monotonic time.Duration // how much more than a tick's time
		want            int
	}{
		{"nothing", 0, 0, 0},
		{"busy", 4 * time.Second, 4 * time.Second, 0},
		{"asleep, on Linux", time.Minute, 0, 1},
		{"asleep, where the clock goes on", time.Minute, time.Minute, 1},
		{"set back", -time.Hour, 0, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			reads := 0
			ctx, cancel := context.WithCancel(t.Context())
			woke := make(chan struct{}, 10)
			go watchClock(ctx, func() (time.Time, time.Duration) {
				if reads++; reads <= 2 {
					return time.Now(), time.Since(start)
				}
				return time.Now().Add(row.wall), time.Since(start) + row.monotonic
			}, woke)
			time.Sleep(time.Hour)
			cancel()
			synctest.Wait()
			if len(woke) != row.want {
				t.Errorf("%s: woke up %d times, want %d", row.name, len(woke), row.want)
			}
		})
	}
}

// Events tell what advertisements change, but not each of a router's whims.
func TestKeeperTellsChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := tell(t, "192.0.2.1", func(s *story) { s.dialled["192.0.2.1"] = outcome{0, nil} })
		s.pass(time.Minute)
		change := func(addr string) {
			s.conn.advertise(addr)
			synctest.Wait()
		}
		change("2001:db8::1")
		change("2001:db8::2")
		change("2001:db8::3")
		s.pass(5 * time.Second)
		change("2001:db8::4")
		s.stop()
		s.want("0s dial 192.0.2.1:1701", "0s up at 192.0.2.1:1701", "1m0s changed: [2001:db8::1]", "1m5s changed: [2001:db8::3]", "1m5s changed: [2001:db8::4]", "1m5s closed")
	})
}

func TestOrder(t *testing.T) {
	for _, row := range []struct{ addrs, good, want string }{
		{"", "", ""},
		{"192.0.2.1", "", "192.0.2.1"},
		{"2001:db8::1 2001:db8::2 192.0.2.1 192.0.2.2", "", "2001:db8::1 192.0.2.1 2001:db8::2 192.0.2.2"},
		{"192.0.2.1 192.0.2.2 192.0.2.3 2001:db8::1", "", "192.0.2.1 2001:db8::1 192.0.2.2 192.0.2.3"},
		{"2001:db8::1 2001:db8::2 192.0.2.1 192.0.2.2", "192.0.2.2", "192.0.2.2 2001:db8::1 192.0.2.1 2001:db8::2"},
		{"2001:db8::1 2001:db8::2 192.0.2.1", "2001:db8::2", "2001:db8::2 192.0.2.1 2001:db8::1"},
		{"192.0.2.1 ::ffff:192.0.2.1", "192.0.2.9", "192.0.2.1"},
	} {
		var addrs []netip.Addr
		for a := range strings.FieldsSeq(row.addrs) {
			addrs = append(addrs, netip.MustParseAddr(a))
		}
		good, _ := netip.ParseAddr(row.good)
		if got := strings.Trim(fmt.Sprint(order(addrs, good)), "[]"); got != row.want {
			t.Errorf("%s (%s has worked): %s, want %s", row.addrs, row.good, got, row.want)
		}
	}
}

func TestParseServers(t *testing.T) {
	for _, row := range []struct{ in, want string }{
		{"lns.example.net", "lns.example.net 1701"},
		{"lns.example.net:1702, 192.0.2.1", "lns.example.net 1702, 192.0.2.1 1701"},
		{"[2001:db8::1]:99,2001:db8::1,[2001:db8::2]", "2001:db8::1 99, 2001:db8::1 1701, 2001:db8::2 1701"},
		{"", "expected a server to dial, found none"},
		{"a,,b", `found ""`}, {"a:0", `found "0"`}, {"a:l2tp", `found "l2tp"`}, {"a:1:2", `found "a:1:2"`}, {":1701", `found ":1701"`},
		{"[a", `found "[a"`}, {"http://a/", `found "//a/"`}, {"a b", `found "a b"`},
	} {
		all, err := parseServers(row.in)
		if err != nil {
			if !errors.Is(err, endpoint.ErrAddress) || !strings.Contains(err.Error(), row.want) {
				t.Errorf("%q: %v, want %s", row.in, err, row.want)
			}
			continue
		}
		var got []string
		for _, s := range all {
			got = append(got, fmt.Sprint(s.host, " ", s.port))
		}
		if got := strings.Join(got, ", "); got != row.want {
			t.Errorf("%q: %s, want %s", row.in, got, row.want)
		}
	}
}
