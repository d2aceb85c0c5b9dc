package netstack

import (
	"context"
	"net"
	"net/netip"
	"time"
)

// connectionAttemptDelay is how long the first family is alone (RFC 8305 §5:
// "Connection Attempt Delay … 250 milliseconds").
const connectionAttemptDelay = 250 * time.Millisecond

// A dialer tries the addresses of a host.
type dialer struct {
	network string
	port    uint16
	one     func(ctx context.Context, network string, to netip.AddrPort) (net.Conn, error)
	toAddr  func(netip.AddrPort) net.Addr
	because func(error) error
}

// dial tries the addresses of the first one's family in order. Those of the
// other family are begun with when that has failed, or takes too long; whichever
// is connected first wins, and the other is given up.
func (d *dialer) dial(ctx context.Context, addrs []netip.Addr) (net.Conn, error) {
	first, second := byFamily(addrs)
	if len(second) == 0 {
		return d.inTurn(ctx, first)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		first bool
		conn  net.Conn
		err   error
	}
	done := make(chan result, 2)
	try := func(addrs []netip.Addr, first bool) {
		c, err := d.inTurn(ctx, addrs)
		done <- result{first, c, err}
	}
	delay := time.NewTimer(connectionAttemptDelay)
	defer delay.Stop()
	go try(first, true)
	select {
	case r := <-done:
		if r.err == nil {
			return r.conn, nil
		}
		done <- r
	case <-delay.C:
	}
	go try(second, false)
	r := <-done
	if r.err == nil {
		cancel()
		if lost := <-done; lost.err == nil {
			lost.conn.Close()
		}
		return r.conn, nil
	}
	last := <-done
	if last.err == nil {
		return last.conn, nil
	}
	if last.first {
		r = last
	}
	return nil, r.err
}

// byFamily takes the addresses of the first one's family, and those of the other.
func byFamily(addrs []netip.Addr) (first, second []netip.Addr) {
	for _, a := range addrs {
		if a.Is4() == addrs[0].Is4() {
			first = append(first, a)
		} else {
			second = append(second, a)
		}
	}
	return first, second
}

// inTurn tries one address after another, and fails as the first one did.
func (d *dialer) inTurn(ctx context.Context, addrs []netip.Addr) (net.Conn, error) {
	var first error
	for i, a := range addrs {
		ap := netip.AddrPortFrom(a, d.port)
		part, cancel := share(ctx, len(addrs)-i)
		c, err := d.one(part, d.network, ap)
		cancel()
		if err == nil {
			return c, nil
		}
		if first == nil {
			first = &net.OpError{Op: "dial", Net: d.network, Addr: d.toAddr(ap), Err: inCall("connect", d.because(err))}
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, first
}

// share gives one of n addresses its part of the time that is left, so that
// the first one cannot use up all of it; but not less than two seconds.
func share(ctx context.Context, n int) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok || n == 1 {
		return ctx, func() {}
	}
	left := time.Until(deadline)
	return context.WithTimeout(ctx, max(left/time.Duration(n), min(left, 2*time.Second)))
}
