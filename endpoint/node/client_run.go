package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint"
	"github.com/l2tpnet/l2tpnet/netstack"
)

// A clientRun is a Client from its Start to its end.
type clientRun struct {
	c       *Client
	log     *slog.Logger
	keeper  *keeper
	stack   *netstack.Stack
	way     way
	woke    chan struct{}
	closing sync.WaitGroup // of endpoints that say goodbye; the keeper's goroutine adds and waits

	life   context.Context // of the keeper
	cancel context.CancelFunc
	first  sync.Once
	once   chan struct{} // closed when connected for the first time
	done   chan struct{}
	err    error // why it is done

	mu      sync.Mutex
	status  ClientStatus       // but for what the connection knows better
	ep      *endpoint.Endpoint // of the connection that stands, or of the attempt
	conn    *clientConn        // that stands
	changed chan struct{}      // closed when status.State changes, and then another
	rebinds map[rebinder]struct{}
}

// newClientRun checks the configuration and prepares all that needs no network.
func newClientRun(c *Client) (_ *clientRun, err error) {
	r := &clientRun{
		c: c, log: c.Logger, woke: make(chan struct{}, 1),
		once: make(chan struct{}), done: make(chan struct{}), changed: make(chan struct{}),
		rebinds: map[rebinder]struct{}{},
	}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	targets, err := parseServers(append([]string{c.Server}, c.Servers...)...)
	if err != nil {
		return nil, err
	}
	if r.way, err = c.newWay(); err != nil {
		return nil, err
	}
	if c.Socket != nil && (c.Bind.IsValid() || c.SourcePort != 0 || c.Device != "") {
		return nil, errors.New("node: expected a Socket or one of Bind, SourcePort and Device, found both")
	}
	if c.AttemptTimeout < 0 {
		return nil, fmt.Errorf("node: expected a positive AttemptTimeout, found %v", c.AttemptTimeout)
	}
	if r.stack, err = netstack.New(&netstack.Config{Logger: r.log, AddressKey: c.AddressKey}); err != nil {
		return nil, err
	}
	r.keeper = &keeper{
		servers: targets, resolve: r.resolve, dial: r.dial, tell: r.tell, jitter: rand.Float64, woke: r.woke,
		patience: c.AttemptTimeout, once: c.Once, endOnRefusal: c.EndOnRefusal,
	}
	if r.keeper.patience == 0 {
		r.keeper.patience = defaultPatience
	}
	r.status = ClientStatus{State: StateConnecting, Since: time.Now()}
	r.life, r.cancel = context.WithCancel(context.Background())
	return r, nil
}

// newWay is how the Client comes to its sessions.
func (c *Client) newWay() (way, error) {
	if c.static != nil {
		return c.static, nil
	}
	return c.newCall()
}

// keep is the Client's goroutine.
func (r *clientRun) keep(impatient bool) {
	defer r.cancel()
	watching := make(chan struct{})
	go func() {
		defer close(watching)
		watchClock(r.life, systemClock(), r.woke)
	}()
	r.keeper.impatient = impatient
	err := r.keeper.run(r.life)
	r.mu.Lock()
	r.err = err
	r.mu.Unlock()
	r.cancel()
	r.set(func(s *ClientStatus) { s.State, s.Next = StateClosed, time.Time{} })
	if !errors.Is(err, net.ErrClosed) {
		r.stack.Fail(&DownError{Err: err})
	}
	r.stack.Close()
	r.closing.Wait()
	<-watching
	r.log.Info("client ended", "reason", err)
	close(r.done)
}

// resolve asks the system for a server's addresses, of the family that it can be
// dialled from.
func (r *clientRun) resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	network := "ip"
	switch {
	case r.c.Bind.Unmap().Is4():
		network = "ip4"
	case r.c.Bind.Is6():
		network = "ip6"
	}
	resolver := r.c.Resolver
	if resolver == nil {
		resolver = net.DefaultResolver
	}
	return resolver.LookupNetIP(ctx, network, host)
}

// tell takes what has happened, from the keeper.
func (r *clientRun) tell(e Event) {
	switch e := e.(type) {
	case Connecting:
		r.log.Info("connecting", "server", e.Server, "address", e.Address)
		r.set(func(s *ClientStatus) { s.State, s.Next, s.Attempts = StateConnecting, time.Time{}, s.Attempts+1 })
	case Failed:
		r.log.Info("no server could be connected to", "error", e.Err, "next", until(e.Next))
		r.set(func(s *ClientStatus) { s.State, s.Err, s.Next = StateWaiting, e.Err, e.Next })
	case Connected:
		r.log.Info("connected", "server", e.Server, "peer", e.Peer, "addresses", e.Addresses, "dns", e.DNS)
		r.rebind()
		r.set(func(s *ClientStatus) {
			s.State, s.Next, s.Current = StateConnected, time.Time{}, e
			s.Attempts, s.Connects = 0, s.Connects+1
		})
		r.first.Do(func() { close(r.once) })
	case Changed:
		r.rebind()
		r.set(func(s *ClientStatus) { s.Current = e.Connected })
	case Disconnected:
		r.unbind()
		r.log.Info("the tunnel is down", "error", e.Err, "next", until(e.Next))
		r.set(func(s *ClientStatus) { s.State, s.Err, s.Next, s.Current = StateWaiting, e.Err, e.Next, Connected{} })
	}
	if r.c.Events != nil {
		r.c.Events(e)
	}
}

// until is a time for the log, where it is more useful as a duration.
func until(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return "in " + time.Until(t).Round(100*time.Millisecond).String()
}

// set changes the status, and wakes up those who wait for that.
func (r *clientRun) set(change func(*ClientStatus)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	was := r.status.State
	change(&r.status)
	if r.status.State != was {
		r.status.Since = time.Now()
		close(r.changed)
		r.changed = make(chan struct{})
	}
}

func (r *clientRun) lastError() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.status.Err
}

// ready returns nil when the tunnel is up.
func (r *clientRun) ready(ctx context.Context) error {
	for {
		r.mu.Lock()
		changed := r.changed
		r.mu.Unlock()
		err := r.whyDown()
		if err == nil || !waits(ctx) || r.life.Err() != nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		}
	}
}

// whyDown is nil while the tunnel is up, a [DownError] while it is not, and
// net.ErrClosed or the Client's last error when it never will be again.
func (r *clientRun) whyDown() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.life.Err() != nil:
		if r.err != nil && !errors.Is(r.err, net.ErrClosed) {
			return &DownError{Err: r.err}
		}
		return net.ErrClosed
	case r.status.State == StateConnected:
		return nil
	}
	return &DownError{Err: r.status.Err, Next: r.status.Next}
}

// Status is what the Client is doing; the zero value before Start.
func (c *Client) Status() ClientStatus {
	r := c.running()
	if r == nil {
		return ClientStatus{}
	}
	r.mu.Lock()
	s, conn, ep := r.status, r.conn, r.ep
	r.mu.Unlock()
	if ep != nil {
		s.Endpoint = ep.Status()
	}
	if conn != nil && s.State == StateConnected {
		s.Counters = conn.inside.Counters()
	}
	return s
}
