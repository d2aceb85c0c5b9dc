package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/l2tpnet/l2tpnet/netstack"
)

// An egressOwner is whom flows are counted by: a session, or a host of an Ethernet
// segment, of which all have the same port.
type egressOwner struct {
	port *netstack.Port
	host netip.Addr // zero: a session
}

func (s *egressState) owner(port *netstack.Port, from netip.Addr) egressOwner {
	if !s.perHost {
		from = netip.Addr{}
	}
	return egressOwner{port, from}
}

// An egressClient is one owner, as long as it has flows.
type egressClient struct {
	flows, dials, echoes int
	udp                  map[*egressFlow]struct{}
}

func newEgressClient() *egressClient { return &egressClient{udp: make(map[*egressFlow]struct{})} }

func (c *egressClient) idle() bool { return c.flows == 0 && c.dials == 0 && c.echoes == 0 }

// An egressFlow is one that has been let in.
type egressFlow struct {
	egress *Egress
	kind   egressKind
	owner  egressOwner
	dials  bool // is being opened

	asksDNS bool // ends soon after an answer

	ctx    context.Context // until the session's end, the Egress's, or that of the flow itself
	cancel context.CancelCauseFunc
	stop   func() bool // listening to the Egress's end
	idle   *idler      // nil: the flow has not begun
	left   bool        // is counted no more
}

var (
	errEgressIdle    = errors.New("nothing has gone through for too long")
	errEgressEvicted = errors.New("idle, and the client needs the room")
)

// enter lets a flow in, or tells the limit that forbids it. Each that has been
// let in must leave.
func (e *Egress) enter(kind egressKind, session context.Context, owner egressOwner) (*egressFlow, error) {
	s := &e.state
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, net.ErrClosed
	}
	c := s.clients[owner]
	if c == nil {
		c = newEgressClient()
	}
	perClient, total := most(e.FlowsPerClient, defaultEgressFlowsPerClient), most(e.Flows, defaultEgressFlows)
	// One client, or a few, cannot take all there is: the last quarter is for those
	// who have little.
	shared := total
	if c.flows >= egressLittle {
		shared -= total / 4
	}
	if (c.flows >= perClient || s.flows >= shared) && (kind != egressUDP || !s.evict(c)) {
		if c.flows >= perClient {
			return nil, fmt.Errorf("the client has %d flows, which is the limit", c.flows)
		}
		return nil, fmt.Errorf("there are %d flows, and the client has %d of them, which is the limit", s.flows, c.flows)
	}
	if kind == egressTCP && c.dials >= most(e.DialsPerClient, defaultEgressDialsPerClient) {
		return nil, fmt.Errorf("%d connections of the client's are being opened, which is the limit", c.dials)
	}
	f := &egressFlow{egress: e, kind: kind, owner: owner, dials: kind == egressTCP}
	f.ctx, f.cancel = context.WithCancelCause(session)
	f.stop = context.AfterFunc(s.life, func() { f.cancel(net.ErrClosed) })
	s.clients[owner] = c
	s.flows++
	c.flows++
	if f.dials {
		c.dials++
	} else {
		c.udp[f] = struct{}{}
	}
	s.running.Add(1)
	s.counts[kind].open.Add(1)
	return f, nil
}

// evict ends the UDP flow of a client's that has been idle for the longest time.
func (s *egressState) evict(c *egressClient) bool {
	var oldest *egressFlow
	for f := range c.udp {
		if f.idle != nil && (oldest == nil || f.idle.since() > oldest.idle.since()) {
			oldest = f
		}
	}
	if oldest == nil || oldest.idle.since() < egressEvictAfter {
		return false
	}
	s.discount(oldest)
	oldest.cancel(errEgressEvicted)
	return true
}

// dialled ends the opening of a connection.
func (f *egressFlow) dialled() {
	f.egress.state.mu.Lock()
	defer f.egress.state.mu.Unlock()
	if f.dials && !f.left {
		f.egress.state.clients[f.owner].dials--
	}
	f.dials = false
}

// leave is the end of a flow.
func (f *egressFlow) leave() {
	s := &f.egress.state
	f.dialled()
	f.idle.end()
	f.stop()
	f.cancel(net.ErrClosed)
	s.mu.Lock()
	s.discount(f)
	s.mu.Unlock()
	s.running.Done()
}

func (s *egressState) discount(f *egressFlow) {
	if f.left {
		return
	}
	f.left = true
	s.counts[f.kind].open.Add(-1)
	s.flows--
	c := s.clients[f.owner]
	c.flows--
	delete(c.udp, f)
	if c.idle() {
		delete(s.clients, f.owner)
	}
}

// expires ends the flow when nothing goes through for a time. A client's UDP flow
// can be evicted from then on.
func (f *egressFlow) expires(limit time.Duration) {
	i := newIdler(limit, func() { f.cancel(errEgressIdle) })
	f.egress.state.mu.Lock()
	f.idle = i
	f.egress.state.mu.Unlock()
}

// moved counts what has gone through, which keeps the flow.
func (f *egressFlow) moved(count *atomic.Uint64, n int) {
	count.Add(uint64(n))
	f.idle.touch()
}

// An idler calls a function when it has not been touched for a time.
type idler struct {
	began time.Time
	last  atomic.Int64 // ns after began
	over  func()

	mu    sync.Mutex
	limit time.Duration
	timer *time.Timer // nil: ended
}

func newIdler(limit time.Duration, over func()) *idler {
	i := &idler{began: time.Now(), limit: limit, over: over}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.timer = time.AfterFunc(limit, i.look)
	return i
}

func (i *idler) touch() { i.last.Store(int64(time.Since(i.began))) }

// for_ is how long nothing has touched it.
func (i *idler) since() time.Duration { return time.Since(i.began) - time.Duration(i.last.Load()) }

func (i *idler) look() {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.timer == nil {
		return
	}
	if left := i.limit - i.since(); left > 0 {
		i.timer.Reset(left)
		return
	}
	i.timer = nil
	i.over()
}

// shorten makes the time at most so long.
func (i *idler) shorten(limit time.Duration) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if limit < i.limit && i.timer != nil {
		i.limit = limit
		i.timer.Reset(max(0, limit-i.since()))
	}
}

func (i *idler) end() {
	if i == nil {
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.timer != nil {
		i.timer.Stop()
		i.timer = nil
	}
}

// noticeEvery is how often one kind of thing is logged, at most.
const noticeEvery = 10 * time.Second

type notice struct {
	last time.Time
	n    int // since then
}

// notice logs what clients can bring about: a flood of it does not flood the log.
func (e *Egress) notice(level slog.Level, message string, args ...any) {
	s := &e.state
	now := time.Now()
	s.mu.Lock()
	n := s.noticing[message]
	if n == nil {
		n = new(notice)
		s.noticing[message] = n
	}
	n.n++
	times, due := n.n, n.last.IsZero() || now.Sub(n.last) >= noticeEvery
	if due {
		n.last, n.n = now, 0
	}
	s.mu.Unlock()
	if due {
		s.log.Log(context.Background(), level, message, append(args, "times", times)...)
	}
}

// prohibits tells whether a destination is refused; if so it is counted and
// logged.
func (e *Egress) prohibits(kind egressKind, from netip.Addr, to netip.AddrPort) bool {
	why := e.state.policy.refuses(to)
	if why != "" {
		e.prohibited(kind, from, to, why)
	}
	return why != ""
}

func (e *Egress) prohibited(kind egressKind, from netip.Addr, to netip.AddrPort, why string) {
	e.state.counts[kind].prohibited.Add(1)
	e.notice(slog.LevelInfo, "egress refused", "client", from, "protocol", kind.String(), "destination", to, "because", "it "+why)
}

// limits counts and logs a flow that is refused because there are too many.
func (e *Egress) limits(kind egressKind, from netip.Addr, err error) {
	e.state.counts[kind].limited.Add(1)
	if !errors.Is(err, net.ErrClosed) {
		e.notice(slog.LevelWarn, "egress limit reached", "client", from, "protocol", kind.String(), "error", err)
	}
}

// fails counts and logs a far end that could not be reached.
func (e *Egress) fails(kind egressKind, from netip.Addr, to netip.AddrPort, err error) {
	e.state.counts[kind].failed.Add(1)
	if isScarce(err) {
		e.notice(slog.LevelWarn, "egress has no sockets left", "error", err)
		return
	}
	e.state.log.Debug("egress failed", "client", from, "protocol", kind.String(), "destination", to, "error", err)
}

// isScarce tells whether an error means that the process or the system has no more
// sockets, or memory for them, now.
func isScarce(err error) bool {
	for _, e := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
