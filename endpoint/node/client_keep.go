package node

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"time"
)

const (
	backoffMin = time.Second
	backoffMax = time.Minute
	// stableAfter is how long a connection stands that is worth to be dialled again
	// at once when it is lost.
	stableAfter = time.Minute
	// changePause is the least time from one Changed to the next: a router may
	// change its mind all the time.
	changePause = 5 * time.Second

	defaultPatience = 10 * time.Second
)

// A connection is what a keeper keeps: a session with its NIC.
type connection interface {
	Done() <-chan struct{}
	Err() error
	Probe()                   // sees whether the peer is there, fast
	Changed() <-chan struct{} // closed when describe changes next; nil: never
	describe() Connected
	fail(*DownError) // ends what goes through it
	close()          // says goodbye, and does not wait for it
}

// A keeper keeps a connection up: it tries the servers in turn, holds the connection
// that comes of it, and begins again when that is lost.
//
//	       ┌──── all failed ───► pause ◄──── lost ────┐
//	       │                       │                  │
//	──► round ◄────────────────────┘                  │
//	       │  server, address, server, address …      │
//	       └──── one is connected ──────────────► hold
//
// It has no sockets and no stack: those are behind dial. All of it runs on one
// goroutine.
type keeper struct {
	servers  []*target
	resolve  resolver
	dial     func(ctx context.Context, s *target, to netip.AddrPort, patience time.Duration) (connection, error)
	tell     func(Event)
	jitter   func() float64 // from 0 to 1
	woke     <-chan struct{}
	patience time.Duration // for one address when there are others

	once         bool
	impatient    bool // until the first connection
	endOnRefusal bool

	failures int // in a row, for the back-off
}

// run returns net.ErrClosed when ctx is done, or why there is nothing to be kept.
func (k *keeper) run(ctx context.Context) error {
	for {
		conn, err := k.round(ctx)
		if conn != nil {
			k.impatient = false
			err = k.hold(ctx, conn)
		}
		if ctx.Err() != nil {
			return net.ErrClosed
		}
		over := k.once || conn == nil && (k.impatient || k.endOnRefusal && k.allRefused())
		next := time.Time{}
		if !over {
			next = k.next(time.Now())
		}
		if conn != nil {
			k.tell(Disconnected{err, next})
		} else {
			k.tell(Failed{err, next})
		}
		if over {
			return err
		}
		k.pause(ctx, next)
	}
}

// round tries every server that has not refused us lately, each at all its addresses.
func (k *keeper) round(ctx context.Context) (connection, error) {
	now := time.Now()
	open := slices.DeleteFunc(slices.Clone(k.servers), func(s *target) bool { return s.until.After(now) })
	var errs attemptErrors
	for _, s := range open {
		addrs, err := s.addresses(ctx, k.resolve)
		if err != nil {
			errs = append(errs, &AttemptError{Server: s.name, Err: err})
		}
		for _, a := range addrs {
			patience := k.patience
			if len(open) == 1 && len(addrs) == 1 {
				patience = 0 // the protocol's own
			}
			to := netip.AddrPortFrom(a, s.port)
			k.tell(Connecting{s.name, to})
			conn, err := k.dial(ctx, s, to, patience)
			if err == nil {
				s.refusals, s.good = 0, a
				return conn, nil
			}
			if ctx.Err() != nil {
				return nil, net.ErrClosed
			}
			if s.good == a {
				s.good = netip.Addr{}
			}
			errs = append(errs, &AttemptError{s.name, to, err})
			if refused(err) {
				s.refuse(time.Now(), k.jitter()) // and would at its other addresses
				break
			}
		}
		if ctx.Err() != nil {
			return nil, net.ErrClosed
		}
	}
	if len(errs) == 1 {
		return nil, errs[0]
	}
	return nil, errs
}

// hold returns when the connection is lost, with the reason, or ctx is done. All of it
// is gone then but the goodbye.
func (k *keeper) hold(ctx context.Context, conn connection) error {
	defer conn.close()
	since := time.Now()
	changed := conn.Changed()
	told := conn.describe()
	k.tell(told)
	var rest <-chan time.Time // until changes are looked at again
	for {
		select {
		case <-ctx.Done():
			return net.ErrClosed
		case <-conn.Done():
			if time.Since(since) >= stableAfter {
				k.failures = 0
			}
			conn.fail(&DownError{Err: conn.Err()})
			return conn.Err()
		case <-k.woke:
			conn.Probe()
		case <-changed:
			changed, rest = nil, nil
			timer := time.NewTimer(changePause)
			defer timer.Stop()
			rest = timer.C
			if now := conn.describe(); !now.equal(told) {
				told = now
				k.tell(Changed{now})
			}
		case <-rest:
			changed = conn.Changed()
			if now := conn.describe(); !now.equal(told) {
				told = now
				k.tell(Changed{now})
			}
		}
	}
}

func (c Connected) equal(d Connected) bool {
	return slices.Equal(c.Addresses, d.Addresses) && slices.Equal(c.DNS, d.DNS) && c.MTU == d.MTU
}

func (k *keeper) allRefused() bool {
	now := time.Now()
	return !slices.ContainsFunc(k.servers, func(s *target) bool { return !s.until.After(now) })
}

// next is when to try again: after a time that doubles with each failure, from half of
// it to all of it, so that the clients of a server that has restarted do not all come
// at once; or when the first of the servers may be asked again that have all refused
// us.
func (k *keeper) next(now time.Time) time.Time {
	if k.allRefused() {
		first := slices.MinFunc(k.servers, func(a, b *target) int { return a.until.Compare(b.until) })
		return first.until
	}
	d := backoffMax
	if k.failures < 6 {
		d = min(d, backoffMin<<k.failures)
	}
	k.failures++
	return now.Add(d/2 + time.Duration(k.jitter()*float64(d/2)))
}

// pause waits for the next attempt. Who has slept does not wait for the rest of the
// time, unless the servers have refused us.
func (k *keeper) pause(ctx context.Context, next time.Time) {
	timer := time.NewTimer(time.Until(next))
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			return
		case <-ctx.Done():
			return
		case <-k.woke:
			if !k.allRefused() {
				return
			}
		}
	}
}
