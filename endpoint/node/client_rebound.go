package node

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"
)

const errNotOurs = syscall.EADDRNOTAVAIL

// A rebinder is a socket at one address, which comes and goes with the connection.
type rebinder interface {
	rebind()
	unbind()
}

func (r *clientRun) rebinders() []rebinder {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]rebinder, 0, len(r.rebinds))
	for b := range r.rebinds {
		list = append(list, b)
	}
	return list
}

// rebind gives sockets their addresses back, if they are there.
func (r *clientRun) rebind() {
	for _, b := range r.rebinders() {
		b.rebind()
	}
}

// unbind takes them away.
func (r *clientRun) unbind() {
	for _, b := range r.rebinders() {
		b.unbind()
	}
}

// A rebound is a listener or a UDP socket at one address: the stack's while the address
// is ours, and none meanwhile.
type rebound[S io.Closer] struct {
	run     *clientRun
	network string
	listen  func(address string) (S, error)
	local   func(S) net.Addr
	expire  func(s S, read, write time.Time) // sets both deadlines
	at      netip.AddrPort
	addr    net.Addr

	mu      sync.Mutex
	inner   S // if bound
	bound   bool
	closed  bool
	rd, wr  time.Time     // deadlines
	changed chan struct{} // closed when one of these changes, and then another
}

// begin binds at, if the address is there. Without a tunnel nobody knows whether it
// will be.
func (b *rebound[S]) begin(at netip.AddrPort, addr net.Addr) (err error) {
	b.at, b.addr, b.changed = at, addr, make(chan struct{})
	// A connection that is lost from here on takes the socket away, one that comes gives
	// it back.
	b.mu.Lock()
	b.run.mu.Lock()
	b.run.rebinds[b] = struct{}{}
	b.run.mu.Unlock()
	defer func() {
		b.mu.Unlock()
		if err != nil {
			b.Close()
			return
		}
		b.rebind()
	}()
	down := b.run.whyDown()
	inner, err := b.listen(at.String())
	switch {
	case err == nil:
		b.inner, b.bound, b.addr = inner, true, b.local(inner)
		b.at = netip.MustParseAddrPort(b.addr.String()) // with the port that was chosen
	case !isDown(down) || !errors.Is(err, errNotOurs):
		return err
	case at.Port() == 0:
		return &net.OpError{Op: "listen", Net: b.network, Addr: addr, Err: down}
	}
	return nil
}

// rebind binds again, if the address is there.
func (b *rebound[S]) rebind() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || b.bound {
		return
	}
	inner, err := b.listen(b.at.String())
	if err != nil {
		b.run.log.Info("no socket", "network", b.network, "address", b.at, "error", err)
		return
	}
	b.expire(inner, b.rd, b.wr)
	b.inner, b.bound = inner, true
	b.wake()
}

func (b *rebound[S]) unbind() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.bound {
		b.inner.Close()
		b.bound = false
		b.wake()
	}
}

// wake tells those who wait to look again. Under mu.
func (b *rebound[S]) wake() {
	close(b.changed)
	b.changed = make(chan struct{})
}

// now is what the socket is, until changed is closed, or why it is none any more.
func (b *rebound[S]) now() (inner S, bound bool, changed <-chan struct{}, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.closed:
		err = net.ErrClosed
	case b.run.life.Err() != nil:
		err = b.run.whyDown()
	}
	return b.inner, b.bound, b.changed, err
}

// read calls f with the stack's socket, and again with the next one when that has
// gone with its connection.
func (b *rebound[S]) read(op string, f func(S) error) error {
	fail := func(err error) error { return &net.OpError{Op: op, Net: b.network, Source: b.addr, Err: err} }
	for {
		inner, bound, changed, err := b.now()
		if err != nil {
			return fail(err)
		}
		if !bound {
			if err := b.wait(changed); err != nil {
				return fail(err)
			}
			continue
		}
		err = f(inner)
		if err == nil || !isDown(err) && !errors.Is(err, net.ErrClosed) {
			return err
		}
		// With the connection, or by unbind, which comes soon; or it is our end.
		select {
		case <-changed:
		case <-b.run.life.Done():
		}
	}
}

// wait returns when there is something new, or with an error at the deadline.
func (b *rebound[S]) wait(changed <-chan struct{}) error {
	b.mu.Lock()
	deadline := b.rd
	b.mu.Unlock()
	var expired <-chan time.Time
	if !deadline.IsZero() {
		timer := time.NewTimer(time.Until(deadline))
		defer timer.Stop()
		expired = timer.C
	}
	select {
	case <-changed:
	case <-b.run.life.Done():
	case <-expired:
		return os.ErrDeadlineExceeded
	}
	return nil
}

func (b *rebound[S]) setDeadlines(read, write *time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return &net.OpError{Op: "set", Net: b.network, Source: b.addr, Err: net.ErrClosed}
	}
	if read != nil {
		b.rd = *read
	}
	if write != nil {
		b.wr = *write
	}
	if b.bound {
		b.expire(b.inner, b.rd, b.wr)
		return nil
	}
	b.wake()
	return nil
}

// Close ends the socket: calls that wait return.
func (b *rebound[S]) Close() error {
	b.run.mu.Lock()
	delete(b.run.rebinds, b)
	b.run.mu.Unlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return &net.OpError{Op: "close", Net: b.network, Source: b.addr, Err: net.ErrClosed}
	}
	b.closed = true
	if b.bound {
		b.inner.Close()
		b.bound = false
	}
	b.wake()
	return nil
}
