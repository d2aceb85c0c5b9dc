package netstack

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// A pipeConn is a conn of nothing that knows whether it has been closed.
type pipeConn struct {
	net.Conn
	to     netip.AddrPort
	closed bool
}

func (c *pipeConn) Close() error { c.closed = true; return nil }

// RFC 8305 §5: the next attempt begins when one has failed, or "Connection Attempt
// Delay" after it began; whichever is established first wins and the other is
// given up. In virtual time.
func TestHappyEyeballs(t *testing.T) {
	const never = time.Hour
	for _, row := range []struct {
		name  string
		addrs string
		peers map[string]time.Duration // when they answer: negative, with a refusal
		want  string                   // address, or error
		after time.Duration
		tried string
	}{
		{"IPv6 is quick", "2001:db8::1 192.0.2.1", map[string]time.Duration{"2001:db8::1": 100, "192.0.2.1": 1}, "[2001:db8::1]:80", 100, "2001:db8::1"},
		{"IPv6 is slow", "2001:db8::1 192.0.2.1", map[string]time.Duration{"2001:db8::1": never, "192.0.2.1": 10}, "192.0.2.1:80", 260, "2001:db8::1 192.0.2.1"},
		{"IPv6 is slow, IPv4 slower", "2001:db8::1 192.0.2.1", map[string]time.Duration{"2001:db8::1": 300, "192.0.2.1": 100}, "[2001:db8::1]:80", 300, "2001:db8::1 192.0.2.1"},
		{"IPv6 refuses", "2001:db8::1 192.0.2.1", map[string]time.Duration{"2001:db8::1": -20, "192.0.2.1": 10}, "192.0.2.1:80", 30, "2001:db8::1 192.0.2.1"},
		{"IPv6 refuses after IPv4 was begun", "2001:db8::1 192.0.2.1", map[string]time.Duration{"2001:db8::1": -300, "192.0.2.1": 100}, "192.0.2.1:80", 350, "2001:db8::1 192.0.2.1"},
		{"IPv4 refuses meanwhile", "2001:db8::1 192.0.2.1", map[string]time.Duration{"2001:db8::1": 400, "192.0.2.1": -1}, "[2001:db8::1]:80", 400, "2001:db8::1 192.0.2.1"},
		{"both refuse: the first says why", "2001:db8::1 192.0.2.1", map[string]time.Duration{"2001:db8::1": -400, "192.0.2.1": -1}, "dial tcp [2001:db8::1]:80: connect: connection refused", 400, "2001:db8::1 192.0.2.1"},
		{"both refuse at once", "2001:db8::1 192.0.2.1", map[string]time.Duration{"2001:db8::1": -1, "192.0.2.1": -1}, "dial tcp [2001:db8::1]:80: connect: connection refused", 2, "2001:db8::1 192.0.2.1"},
		{"IPv4 first, if the addresses say so", "192.0.2.1 2001:db8::1", map[string]time.Duration{"2001:db8::1": 1, "192.0.2.1": 100}, "192.0.2.1:80", 100, "192.0.2.1"},
		{"one family, in turn", "192.0.2.1 192.0.2.2", map[string]time.Duration{"192.0.2.1": -400, "192.0.2.2": 50}, "192.0.2.2:80", 450, "192.0.2.1 192.0.2.2"},
		{"the second of IPv6", "2001:db8::1 2001:db8::2 192.0.2.1", map[string]time.Duration{"2001:db8::1": -1, "2001:db8::2": 1, "192.0.2.1": 1}, "[2001:db8::2]:80", 2, "2001:db8::1 2001:db8::2"},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var mu sync.Mutex
				var tried []string
				var conns []*pipeConn
				d := &dialer{network: "tcp", port: 80, toAddr: tcpAddr, because: func(err error) error { return err },
					one: func(ctx context.Context, _ string, to netip.AddrPort) (net.Conn, error) {
						mu.Lock()
						tried = append(tried, to.Addr().String())
						mu.Unlock()
						after := row.peers[to.Addr().String()]
						select {
						case <-ctx.Done():
							return nil, ctx.Err()
						case <-time.After(max(after, -after) * time.Millisecond):
						}
						if after < 0 {
							return nil, syscall.ECONNREFUSED
						}
						c := &pipeConn{to: to}
						mu.Lock()
						conns = append(conns, c)
						mu.Unlock()
						return c, nil
					}}
				var addrs []netip.Addr
				for a := range strings.FieldsSeq(row.addrs) {
					addrs = append(addrs, netip.MustParseAddr(a))
				}
				start := time.Now()
				c, err := d.dial(t.Context(), addrs)
				if took := time.Since(start); took != row.after*time.Millisecond {
					t.Errorf("it took %v, want %v", took, row.after*time.Millisecond)
				}
				got := fmt.Sprint(err)
				if err == nil {
					got = c.(*pipeConn).to.String()
				}
				if got != row.want {
					t.Errorf("%s, want %s", got, row.want)
				}
				mu.Lock()
				defer mu.Unlock()
				if s := strings.Join(tried, " "); s != row.tried {
					t.Errorf("tried %s, want %s", s, row.tried)
				}
				for _, other := range conns {
					if other.closed == (other == c) {
						t.Errorf("the conn to %v is closed: %v", other.to, other.closed)
					}
				}
			})
		})
	}
}

// Two that are established at the same instant: one is closed.
func TestHappyEyeballsTie(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var conns []*pipeConn
		d := &dialer{network: "tcp", port: 80, toAddr: tcpAddr, because: func(err error) error { return err },
			one: func(_ context.Context, _ string, to netip.AddrPort) (net.Conn, error) {
				if to.Addr().Is6() {
					time.Sleep(connectionAttemptDelay)
				}
				time.Sleep(time.Millisecond)
				c := &pipeConn{to: to}
				mu.Lock()
				defer mu.Unlock()
				conns = append(conns, c)
				return c, nil
			}}
		c, err := d.dial(t.Context(), []netip.Addr{netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("192.0.2.1")})
		if err != nil || len(conns) != 2 {
			t.Fatal(err, conns)
		}
		for _, other := range conns {
			if other.closed == (other == c) {
				t.Errorf("the conn to %v is closed: %v", other.to, other.closed)
			}
		}
	})
}

func TestHappyEyeballsCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &dialer{network: "tcp", port: 80, toAddr: tcpAddr, because: func(err error) error { return err },
			one: func(ctx context.Context, _ string, _ netip.AddrPort) (net.Conn, error) {
				<-ctx.Done()
				return nil, contextError(ctx)
			}}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		_, err := d.dial(ctx, []netip.Addr{netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("192.0.2.1")})
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}
