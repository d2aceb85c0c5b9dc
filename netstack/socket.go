package netstack

import (
	"context"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/waiter"
)

// A socket is what all conns have in common: a gVisor endpoint, and what ends
// a call that waits for it.
type socket struct {
	ep      tcpip.Endpoint
	life    context.Context // of what carries the socket's packets
	closed  chan struct{}   // by Close
	closing sync.Once
	rd, wr  side
	network string
	local   net.Addr
	remote  net.Addr // nil: not connected
}

// A side is one direction of a socket: reading (or accepting), or writing.
type side struct {
	mu       sync.Mutex // one call at a time
	entry    waiter.Entry
	ready    chan struct{} // something may have changed
	deadline deadline
}

func newSocket(ep tcpip.Endpoint, wq *waiter.Queue, life context.Context, network string) *socket {
	k := &socket{ep: ep, life: life, closed: make(chan struct{}), network: network}
	k.rd.init(wq, waiter.ReadableEvents)
	k.wr.init(wq, waiter.WritableEvents)
	return k
}

func (d *side) init(wq *waiter.Queue, events waiter.EventMask) {
	// Registered for good, so that waiting allocates nothing. An event that
	// nobody waits for stays in the channel, and costs the next wait a turn.
	d.entry, d.ready = waiter.NewChannelEntry(events | waiter.EventHUp | waiter.EventErr)
	d.deadline.expired = make(chan struct{})
	wq.EventRegister(&d.entry)
}

// check is why a call on this side must fail now, before it asks the endpoint.
func (k *socket) check(d *side) error {
	select {
	case <-k.closed:
		return net.ErrClosed
	default:
	}
	if k.life.Err() != nil {
		return context.Cause(k.life)
	}
	if d.deadline.passed() {
		return os.ErrDeadlineExceeded
	}
	return nil
}

// wait returns when there may be something to do, or check may have something
// to say, or cancel is closed.
func (k *socket) wait(d *side, cancel <-chan struct{}) {
	select {
	case <-d.ready:
	case <-d.deadline.wait():
	case <-k.closed:
	case <-k.life.Done():
	case <-cancel:
	}
}

// failure is the error of a call for which the endpoint gave terr, unless the
// socket's end, which made the endpoint fail, says it better.
func (k *socket) failure(d *side, call string, terr tcpip.Error) error {
	if err := k.check(d); err != nil {
		return err
	}
	return inCall(call, toError(terr))
}

func (k *socket) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: k.network, Source: k.local, Addr: k.remote, Err: err}
}

// Close ends the socket: blocked calls return. What a TCP connection has
// been given to write is still sent, while the tunnel is there.
func (k *socket) Close() error {
	err := k.opError("close", net.ErrClosed)
	k.closing.Do(func() {
		err = nil
		close(k.closed)
		if k.life.Err() != nil {
			k.ep.Abort() // nobody would acknowledge a FIN
			return
		}
		k.ep.Close()
	})
	return err
}

func (k *socket) LocalAddr() net.Addr  { return k.local }
func (k *socket) RemoteAddr() net.Addr { return k.remote }

func (k *socket) SetDeadline(t time.Time) error      { return k.setDeadline(t, &k.rd, &k.wr) }
func (k *socket) SetReadDeadline(t time.Time) error  { return k.setDeadline(t, &k.rd) }
func (k *socket) SetWriteDeadline(t time.Time) error { return k.setDeadline(t, &k.wr) }

func (k *socket) setDeadline(t time.Time, sides ...*side) error {
	select {
	case <-k.closed:
		return k.opError("set", net.ErrClosed)
	default:
	}
	for _, d := range sides {
		d.deadline.set(t)
	}
	return nil
}

// localAddrPort is where the endpoint is bound, with unspecified for any address.
func (k *socket) localAddrPort(unspecified netip.Addr) netip.AddrPort {
	full, terr := k.ep.GetLocalAddress()
	if terr != nil {
		panic("BUG: netstack: an endpoint without a local address: " + terr.String())
	}
	if full.Addr.Len() == 0 {
		return netip.AddrPortFrom(unspecified, full.Port)
	}
	return fromFullAddress(full)
}

// A deadline is a channel that is closed when a time has come, and that can be
// moved.
type deadline struct {
	mu      sync.Mutex
	at      time.Time // zero: never
	timer   *time.Timer
	expired chan struct{}
}

// passed goes by the clock: the timer's function may still be on its way.
func (d *deadline) passed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return !d.at.IsZero() && !time.Now().Before(d.at)
}

func (d *deadline) wait() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.expired
}

func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil && !d.timer.Stop() {
		<-d.expired // the timer has fired: its function is about to close the channel, or has
	}
	d.timer, d.at = nil, t
	select {
	case <-d.expired:
		d.expired = make(chan struct{})
	default:
	}
	if t.IsZero() {
		return
	}
	expired := d.expired
	if left := time.Until(t); left > 0 {
		d.timer = time.AfterFunc(left, func() { close(expired) })
	} else {
		close(expired)
	}
}
