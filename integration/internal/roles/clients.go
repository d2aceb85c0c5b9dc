//go:build linux

package roles

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint"
	"github.com/l2tpnet/l2tpnet/netstack"
)

// bulkClients is where the first of those clients has its address; the others have the ones after it.
var bulkClients = netip.MustParseAddr("127.1.0.1")

// A DialOrder is how many sessions are to be opened.
type DialOrder struct {
	Server   netip.AddrPort
	Sessions int
	InFlight int // how many are opened at once
	// Bulk gives each session an endpoint with an address of its own, a stack, and a connection to the server's sink. Without
	// it they are of one endpoint and carry nothing.
	Bulk bool
	// SmallSocket bounds the buffers of that one endpoint's socket ([ListenUDP]).
	SmallSocket bool
}

// clients are many, in one process.
type clients struct {
	sending atomic.Bool
	mu      sync.Mutex
	kept    []*endpoint.Session
	shared  []*endpoint.Endpoint // of those that are not for bulk
}

// NewClients is many clients of a [NewServer].
func NewClients() Role {
	c := &clients{}
	return Role{
		"dial":   Asks(c.dial),
		"send":   Asks(func(on bool) (any, error) { c.sending.Store(on); return nil, nil }),
		"report": Asks(func(collect bool) (Usage, error) { return Used(collect), nil }),
		"hangUp": func(json.RawMessage) (any, error) { return nil, c.hangUp() },
		"up":     func(json.RawMessage) (any, error) { return c.up(), nil },
	}
}

// dial opens sessions, and tells how many seconds that took.
func (c *clients) dial(order DialOrder) (seconds float64, err error) {
	ctx, cancel := context.WithTimeoutCause(context.Background(), Patience, fmt.Errorf("%d sessions were not there within %v", order.Sessions, Patience))
	defer cancel()
	var shared *endpoint.Endpoint
	if !order.Bulk {
		conn, err := ListenUDP("127.0.0.1:0", order.SmallSocket)
		if err != nil {
			return 0, err
		}
		if shared, err = endpoint.New(conn, nil); err != nil {
			return 0, err
		}
		c.shared = append(c.shared, shared)
	}
	began := time.Now()
	var wg sync.WaitGroup
	work := make(chan int)
	failed := make(chan error, order.InFlight)
	for range order.InFlight {
		wg.Go(func() {
			for i := range work {
				if err := c.open(ctx, order, i, shared); err != nil {
					failed <- fmt.Errorf("session %d of %d: %w", i+1, order.Sessions, err)
					return
				}
			}
		})
	}
	for i := range order.Sessions {
		select {
		case work <- i:
		case err = <-failed:
		}
		if err != nil {
			break
		}
	}
	close(work)
	wg.Wait()
	select {
	case err = <-failed:
	default:
	}
	return time.Since(began).Seconds(), err
}

func (c *clients) open(ctx context.Context, order DialOrder, i int, ep *endpoint.Endpoint) (err error) {
	if order.Bulk {
		if ep, err = endpoint.Listen("udp", netip.AddrPortFrom(Nth(bulkClients, i), 0).String(), nil); err != nil {
			return err
		}
	}
	s, err := OpenSession(ctx, ep, order.Server)
	if err != nil {
		return err
	}
	c.keep(s)
	if !order.Bulk {
		return nil
	}
	stack, err := netstack.New(nil)
	if err != nil {
		return err
	}
	nic, err := stack.AddIP(s, &netstack.IPConfig{Addresses: s.Addresses(), MTU: s.MTU()})
	if err != nil {
		return err
	}
	s.Attach(nic)
	conn, err := stack.DialContext(ctx, "tcp", fmt.Sprintf("%v:%d", s.PeerAddress(), SinkPort))
	if err != nil {
		return err
	}
	go func() {
		for buf := make([]byte, 64<<10); ; {
			if !c.sending.Load() {
				time.Sleep(10 * time.Millisecond)
				continue
			}
			if _, err := conn.Write(buf); err != nil {
				return
			}
		}
	}()
	return nil
}

// OpenSession opens a tunnel to a server, and a session in it.
func OpenSession(ctx context.Context, ep *endpoint.Endpoint, server netip.AddrPort) (*endpoint.Session, error) {
	t, err := ep.Dial(ctx, server.String(), nil)
	if err != nil {
		return nil, err
	}
	s, err := t.OpenPPP(ctx, &endpoint.PPPConfig{User: User, Password: Password})
	if err != nil {
		t.Close()
	}
	return s, err
}

func (c *clients) keep(s *endpoint.Session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kept = append(c.kept, s)
}

// hangUp closes the sessions that are not for bulk, and their endpoints.
func (c *clients) hangUp() (err error) {
	for _, ep := range c.shared {
		err = errors.Join(err, ep.Close())
	}
	c.shared = nil
	return err
}

// up counts the sessions that stand.
func (c *clients) up() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.kept {
		if s.Err() == nil {
			n++
		}
	}
	return n
}

// Nth is the address n after the first.
func Nth(first netip.Addr, n int) netip.Addr {
	b := first.As4()
	at := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	at += uint32(n)
	return netip.AddrFrom4([4]byte{byte(at >> 24), byte(at >> 16), byte(at >> 8), byte(at)})
}
