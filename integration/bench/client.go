//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint"
	"github.com/l2tpnet/l2tpnet/endpoint/link"
	"github.com/l2tpnet/l2tpnet/integration/internal/roles"
	"github.com/l2tpnet/l2tpnet/netstack"
)

// A client sends in bulk, and one byte at a time: through this machine's TCP or, once it has dialled, through a tunnel.
type client struct {
	dialer  func(ctx context.Context, network, address string) (net.Conn, error)
	stack   *netstack.Stack // nil: this machine's
	puts    atomic.Uint64   // super-packets and ACKs that its stack has sent
	got     atomic.Uint64   // bytes that have come back
	closing []io.Closer
	sending sync.WaitGroup
}

// A tunnelOrder is a tunnel to dial.
type tunnelOrder struct {
	Server      netip.AddrPort
	SmallSocket bool
	Sequenced   bool
	MTU         int // bytes inside. 0: 1,400
}

// A flowOrder is how much is to be sent at a time, and where to.
type flowOrder struct {
	Target string
	Flows  int
	Size   int // of datagrams
}

// A roundTripOrder is how often one byte is to go somewhere and back.
type roundTripOrder struct {
	Target string
	Number int
}

func newClient() roles.Role {
	c := &client{dialer: new(net.Dialer).DialContext}
	return c.role()
}

func (c *client) role() roles.Role {
	return roles.Role{
		"dial":       roles.Asks(c.dial),
		"flows":      roles.Asks(c.flows),
		"blast":      roles.Asks(c.blast),
		"fetch":      roles.Asks(c.fetch),
		"stop":       func(json.RawMessage) (any, error) { return nil, c.stop() },
		"roundTrips": roles.Asks(c.roundTrips),
		"report": func(json.RawMessage) (any, error) {
			return report{Usage: roles.Used(false), Puts: c.puts.Load(), Got: c.got.Load()}, nil
		},
	}
}

// dial tells the address of the server inside.
func (c *client) dial(order tunnelOrder) (gateway netip.Addr, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, err := roles.ListenUDP(":0", order.SmallSocket)
	if err != nil {
		return gateway, err
	}
	ep, err := endpoint.New(conn, nil)
	if err != nil {
		return gateway, err
	}
	return c.open(ctx, ep, order.Server.String(), order)
}

// open opens a session, and has the client's connections go through it.
func (c *client) open(ctx context.Context, ep *endpoint.Endpoint, server string, order tunnelOrder) (gateway netip.Addr, err error) {
	tunnel, err := ep.Dial(ctx, server, nil)
	if err != nil {
		return gateway, err
	}
	session, err := tunnel.OpenPPP(ctx, &endpoint.PPPConfig{User: roles.User, Password: roles.Password, Sequenced: order.Sequenced, MRU: order.MTU})
	if err != nil {
		return gateway, err
	}
	if c.stack, err = netstack.New(nil); err != nil {
		return gateway, err
	}
	out := link.SinkFunc(func(b *link.Batch) {
		c.puts.Add(1)
		session.Put(b)
	})
	c.stack.SetReceiveWindow(ep.Status().ReceiveBuffer)
	nic, err := c.stack.AddIP(out, &netstack.IPConfig{Addresses: session.Addresses(), MTU: session.MTU()})
	if err != nil {
		return gateway, err
	}
	session.Attach(nic)
	c.dialer = c.stack.DialContext
	return session.PeerAddress(), nil
}

// flows begins to send over so many connections.
func (c *client) flows(order flowOrder) (any, error) {
	for range order.Flows {
		conn, err := c.connect(order.Target)
		if err != nil {
			return nil, err
		}
		c.send(conn, roles.Chunk)
	}
	return nil, nil
}

// fetch begins to receive over so many connections. All are there before the first one is asked for anything:
// slirp4netns, once it is busy, accepts none for minutes.
func (c *client) fetch(order flowOrder) (any, error) {
	var conns []net.Conn
	for range order.Flows {
		conn, err := c.connect(order.Target)
		if err != nil {
			return nil, err
		}
		conns = append(conns, conn)
		c.closing = append(c.closing, conn)
	}
	for _, conn := range conns {
		if _, err := conn.Write([]byte{roles.Back}); err != nil {
			return nil, err
		}
		c.sending.Go(func() {
			for buf := make([]byte, roles.Chunk); ; {
				n, err := conn.Read(buf)
				c.got.Add(uint64(n))
				if err != nil {
					return
				}
			}
		})
	}
	return nil, nil
}

// blast begins to send datagrams, as many as it can, one system call each: from one socket, however many flows there are
// elsewhere, since more of them would only take the reader's time.
func (c *client) blast(order flowOrder) (any, error) {
	conn, err := net.Dial("udp", order.Target)
	if err != nil {
		return nil, err
	}
	conn.(*net.UDPConn).SetWriteBuffer(udpBuffer)
	c.send(conn, order.Size)
	return nil, nil
}

func (c *client) connect(target string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return c.dialer(ctx, "tcp", target)
}

func (c *client) send(conn net.Conn, size int) {
	c.closing = append(c.closing, conn)
	c.sending.Go(func() {
		for buf := make([]byte, size); ; {
			if _, err := conn.Write(buf); err != nil {
				return
			}
		}
	})
}

// stop ends what has begun.
func (c *client) stop() error {
	for _, conn := range c.closing {
		conn.Close()
	}
	c.closing = nil
	c.sending.Wait()
	return nil
}

// roundTrips tells the median, in µs.
func (c *client) roundTrips(order roundTripOrder) (float64, error) {
	conn, err := c.connect(order.Target)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Minute))
	one := make([]byte, 1)
	var took []float64
	for i := range order.Number + order.Number/10 {
		began := time.Now()
		if _, err := conn.Write(one); err != nil {
			return 0, err
		}
		if _, err := io.ReadFull(conn, one); err != nil {
			return 0, fmt.Errorf("round trip %d: %w", i, err)
		}
		if i >= order.Number/10 { // what is before warms up
			took = append(took, float64(time.Since(began))/float64(time.Microsecond))
		}
	}
	return roles.Median(took), nil
}
