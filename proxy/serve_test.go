package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestLimits(t *testing.T) {
	for _, tc := range []struct {
		name    string
		limits  Limits
		sources []string // that dial, in this order
		want    string   // o: it is let in, x: it is not
	}{
		{"flows", Limits{Flows: 2}, []string{"192.0.2.1:1", "192.0.2.2:1", "192.0.2.3:1"}, "oox"},
		{"one source", Limits{FlowsPerSource: 2}, []string{"192.0.2.1:1", "192.0.2.1:2", "192.0.2.1:3", "192.0.2.2:1"}, "ooxo"},
		{"one IPv6 network", Limits{FlowsPerSource: 1}, []string{"[2001:db8::1]:1", "[2001:db8::2]:1", "[2001:db8:0:1::1]:1"}, "oxo"},
		{"IPv4 in IPv6", Limits{FlowsPerSource: 1}, []string{"192.0.2.1:1", "[::ffff:192.0.2.1]:1", "[::ffff:192.0.2.2]:1"}, "oxo"},
		{"none", Limits{Flows: -1, FlowsPerSource: -1}, many("192.0.2.1", 2000), strings.Repeat("o", 2000)},
		{"the defaults for a source", Limits{}, many("192.0.2.1", 257), strings.Repeat("o", 256) + "x"},
		{"the defaults for all", Limits{}, append(append(append(append(many("192.0.2.1", 256), many("192.0.2.2", 256)...), many("192.0.2.3", 256)...), many("192.0.2.4", 256)...), "192.0.2.5:1"),
			strings.Repeat("o", 1024) + "x"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log, logged := logs(0)
				ln := newPipes()
				stop := startOn(t, &SOCKS{Limits: tc.limits, Logger: log}, ln)
				defer stop()
				var conns []net.Conn
				for i, source := range tc.sources {
					c := ln.dial(source)
					synctest.Wait()
					switch tc.want[i] {
					case 'o':
						wantOpen(t, c)
						conns = append(conns, c)
					case 'x':
						wantClosed(t, c)
					}
				}
				if warned := strings.Contains(logged(), "which is the limit"); warned != strings.Contains(tc.want, "x") {
					t.Errorf("logged %q", logged())
				}
				// Whoever leaves makes room.
				conns[0].Close()
				synctest.Wait()
				again := ln.dial(tc.sources[0])
				synctest.Wait()
				wantOpen(t, again)
				for _, c := range append(conns, again) {
					c.Close()
				}
			})
		})
	}
}

// many is n ports of a host.
func many(host string, n int) (all []string) {
	for i := range n {
		all = append(all, fmt.Sprintf("%s:%d", host, i+1))
	}
	return all
}

// A faulty listener fails as often as it is told to.
type faulty struct {
	*pipes
	errs []error
	at   []time.Time // when it was asked
}

func (f *faulty) Accept() (net.Conn, error) {
	f.at = append(f.at, time.Now())
	if len(f.errs) > 0 {
		err := f.errs[0]
		f.errs = f.errs[1:]
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept4", err)}
	}
	return f.pipes.Accept()
}

// When file descriptors have run out, accepting pauses for longer and longer,
// up to a second; it goes on when there are some again.
func TestAcceptBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, logged := logs(0)
		ln := &faulty{pipes: newPipes()}
		for range 10 {
			ln.errs = append(ln.errs, syscall.EMFILE)
		}
		ln.errs = append(ln.errs, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED)
		stop := startOn(t, &Forward{Logger: log, Dialer: failing(net.ErrClosed)}, ln)
		c := ln.dial("127.0.0.1:1")
		wantClosed(t, c)
		stop()
		var pauses []time.Duration
		for i := range 14 {
			pauses = append(pauses, ln.at[i+1].Sub(ln.at[i]))
		}
		const ms = time.Millisecond
		want := fmt.Sprint([]time.Duration{5 * ms, 10 * ms, 20 * ms, 40 * ms, 80 * ms, 160 * ms, 320 * ms, 640 * ms, 1000 * ms, 1000 * ms, 1000 * ms, 1000 * ms, 1000 * ms, 1000 * ms})
		if fmt.Sprint(pauses) != want {
			t.Errorf("accepting paused for %v, want %s", pauses, want)
		}
		if want := "too many open files"; !strings.Contains(logged(), want) {
			t.Errorf("logged %q, want %q", logged(), want)
		}
	})
}

// The pause does not hold up the end.
func TestStopWhileBackingOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ln := &faulty{pipes: newPipes()}
		for range 20 {
			ln.errs = append(ln.errs, syscall.EMFILE)
		}
		stop := startOn(t, &SOCKS{}, ln)
		time.Sleep(3 * time.Second)
		stopping := time.Now()
		stop()
		if took := time.Since(stopping); took != 0 {
			t.Errorf("Serve returned after %v, want at once", took)
		}
	})
}

// When Serve has returned, nothing of it goes on.
func TestServeWaitsForItsFlows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		release := make(chan bool)
		slow := &tunnel{dial: func(ctx context.Context) (net.Conn, error) {
			<-release // whatever ctx says
			return nil, ctx.Err()
		}}
		ln := newPipes()
		ended := make(chan error)
		go func() { ended <- (&Forward{Dialer: slow}).Serve(ctx, ln) }()
		ln.dial("127.0.0.1:1")
		cancel()
		synctest.Wait()
		select {
		case <-ended:
			t.Error("Serve returned while its dialer was at work")
		default:
			close(release)
			<-ended
		}
	})
}

// A listener that fails for good ends Serve, and all flows with it.
func TestTheListenerFails(t *testing.T) {
	ln := listen(t)
	ended := make(chan error)
	go func() {
		ended <- (&Forward{Dialer: to(accepting(t, echo)), Target: "a:1"}).Serve(context.Background(), ln)
	}()
	c := dial(t, ln.Addr().String())
	write(t, c, "hello")
	wantBytes(t, c, "hello")
	ln.Close()
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Serve returned %v, want closed", err)
	}
	if _, err := c.Read(make([]byte, 1)); !isReset(err) {
		t.Errorf("the flow's read ended with %v, want a reset", err)
	}
}

func TestServeAfterTheEnd(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	ln := listen(t)
	if err := (&SOCKS{}).Serve(ctx, ln); err != nil {
		t.Errorf("Serve returned %v, want nil", err)
	}
	if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept: %v, want a closed listener", err)
	}
}
