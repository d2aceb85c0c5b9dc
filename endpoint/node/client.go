package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint"
	"github.com/l2tpnet/l2tpnet/netstack"
)

// A Client is a host inside a tunnel that stays connected: it dials a server, opens a
// session, of PPP if nothing else is said, has a TCP/IP stack on top, and dials again when
// the connection is lost. Its fields say how, their zero values are the defaults, and they must not
// be changed after [Dial] or [Client.Start]; its methods may be called by many at a
// time.
type Client struct {
	// Server is whom to dial: "host" or "host:port", or several of them separated by
	// commas; the port is 1701 when there is none. Servers are more of them. They are
	// tried in order, each time from the first one on.
	Server  string
	Servers []string

	// User and Password are for PPP, Secret is the tunnel's.
	User     string
	Password endpoint.Secret
	Secret   endpoint.Secret
	// Methods, MPPE, NoIPv6, MRU, Address and Outgoing are as in [endpoint.PPPConfig],
	// HideAVPs and HelloInterval as in [endpoint.TunnelConfig], and HostName as in
	// [endpoint.Config].
	Methods       []endpoint.AuthMethod
	MPPE          endpoint.MPPE
	NoIPv6        bool
	MRU           int
	Address       netip.Addr
	Outgoing      *endpoint.OutgoingCall
	HideAVPs      bool
	HelloInterval time.Duration
	HostName      string

	// V3 dials by L2TPv3 (RFC 3931), and Fallback, with PPP, goes on in L2TPv2 with servers
	// that do not speak it, as in [endpoint.TunnelConfig]. Nil: by L2TPv2.
	V3       *endpoint.V3Config
	Fallback bool
	// Pseudowire is the session that is asked for in L2TPv3: Ethernet, a VLAN, IP or PPP,
	// and for which circuit. Its PPP is as the fields above say. Nil: PPP.
	Pseudowire *endpoint.PseudowireConfig
	// Addresses, Gateway, Gateway6, DNS, DHCP and MAC are what we have inside, as in
	// [Pseudowire]: with Ethernet, a VLAN or IP, whose peers tell us nothing by themselves.
	// A lease is waited for a minute; then the attempt has failed, with a [LeaseError]. PPP
	// asks for the one of Addresses, and has the DNS servers that it is told of besides.
	Addresses         []netip.Prefix
	Gateway, Gateway6 netip.Addr
	DNS               []netip.Addr
	DHCP              bool
	MAC               net.HardwareAddr

	// Bind is the address to dial from, SourcePort the UDP port, Device the network
	// interface (Linux). Zero: as the routes say, and a new port for each attempt,
	// which a NAT that has forgotten the old one wants.
	Bind       netip.Addr
	SourcePort uint16
	Device     string
	// Socket opens the socket of an attempt, which is closed after it; network is
	// "udp4" or "udp6". Nil: the system's UDP, as Bind, SourcePort and Device say.
	Socket func(network string) (net.PacketConn, error)
	// Resolver finds the servers' addresses, afresh before each attempt. Nil:
	// net.DefaultResolver.
	Resolver *net.Resolver

	// AttemptTimeout is how long one address may take to establish the tunnel while
	// there is another one to try, or another server. 0: 10 s. The last resort has
	// the time of RFC 2661 §5.8, 31 s, or with V3 that of its ten retries, 71 s.
	AttemptTimeout time.Duration
	// Once is for who does not want to be connected again: the Client ends with its
	// connection, or when no server could be reached.
	Once bool
	// EndOnRefusal ends the Client when all servers have refused it for what does not
	// mend by itself, such as a wrong password or secret. Else they are tried again,
	// slowly: after 30 s, then less and less often, down to every 10 minutes.
	EndOnRefusal bool

	// AddressKey is what IPv6 addresses are made with ([netstack.Config]): with the
	// same key they are the same in the next process. Nil: they are the same as long
	// as the Client lives.
	AddressKey []byte
	// Events is told what happens, one event after another. It must not block, nor
	// wait for Close; all other methods may be called. Nil: nobody is told.
	Events func(Event)
	// Logger gets changes of state at Info, messages at Debug. Nil: nobody.
	Logger *slog.Logger

	mu        sync.Mutex
	run       *clientRun // nil: not started
	recording *recording // nil: no capture
	static    *staticWay // of the Pseudowire that the Client is inside of; nil: it dials
}

// Dial starts c and returns it when it is connected for the first time. When no
// server could be reached it returns the reason ([AttemptError] and what it wraps:
// [endpoint.AuthError], [endpoint.TimeoutError], *net.DNSError, …), and c has ended.
// When ctx is done before, so is c; afterwards ctx has no meaning.
func Dial(ctx context.Context, c *Client) (*Client, error) {
	if err := c.start(true); err != nil {
		return nil, err
	}
	if err := c.connected(ctx); err != nil {
		return nil, err
	}
	return c, nil
}

// connected waits for the first connection.
func (c *Client) connected(ctx context.Context) error {
	run := c.running()
	select {
	case <-run.once:
		return nil
	case <-run.done:
		return run.err
	case <-ctx.Done():
		c.Close()
		if last := run.lastError(); last != nil {
			return fmt.Errorf("%w: %w", ctx.Err(), last)
		}
		return ctx.Err()
	}
}

// Start begins to connect and does not wait, for programs that begin before there is
// a network: until c is connected its methods fail with a [DownError]. The error is
// about the configuration. A Client that has ended can be started again.
func (c *Client) Start() error { return c.start(false) }

func (c *Client) start(impatient bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.run != nil {
		select {
		case <-c.run.done:
		default:
			return errors.New("node: the Client has been started already")
		}
	}
	run, err := newClientRun(c)
	if err != nil {
		return err
	}
	c.run = run
	go run.keep(impatient)
	return nil
}

// running is nil before Start.
func (c *Client) running() *clientRun {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.run
}

var errClientNotStarted = errors.New("node: the Client has not been started")

// use gives the stack once the tunnel is up.
func (c *Client) use(ctx context.Context) (*clientRun, *netstack.Stack, error) {
	run := c.running()
	if run == nil {
		return nil, nil, errClientNotStarted
	}
	if err := run.ready(ctx); err != nil {
		return nil, nil, err
	}
	return run, run.stack, nil
}

// Done is closed when the Client has ended: by Close, or for the reason that Err
// tells. Before Start it is nil.
func (c *Client) Done() <-chan struct{} {
	run := c.running()
	if run == nil {
		return nil
	}
	return run.done
}

// Err is nil until Done is closed; then it is net.ErrClosed after Close, else why the
// Client has ended (see [Client.Once] and [Client.EndOnRefusal]).
func (c *Client) Err() error {
	run := c.running()
	if run == nil {
		return nil
	}
	select {
	case <-run.done:
		return run.err
	default:
		return nil
	}
}

// Close says goodbye to the server, for two seconds at most, and ends all that is
// open inside. A second Close waits for the first. The error is nil.
func (c *Client) Close() error {
	if run := c.running(); run != nil {
		run.cancel()
		<-run.done
	}
	return nil
}

// waitKey is the key of WithWait's value.
type waitKey struct{}

// WithWait makes the calls that take the context wait while the tunnel is down, as
// long as the context lasts, instead of failing at once with a [DownError].
func WithWait(ctx context.Context) context.Context {
	return context.WithValue(ctx, waitKey{}, true)
}

func waits(ctx context.Context) bool { return ctx.Value(waitKey{}) != nil }

// Dial is DialContext without a context.
func (c *Client) Dial(network, address string) (net.Conn, error) {
	return c.DialContext(context.Background(), network, address)
}

// DialContext opens a connection through the tunnel, as [netstack.Stack.DialContext]
// does: names are resolved by the tunnel's DNS servers only. While the tunnel is down
// it fails at once with a [DownError] that says why, or waits if ctx comes from
// [WithWait]. The connection does not survive the tunnel: its calls fail at once then,
// with a [DownError] too.
func (c *Client) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	return attempt(ctx, c, func(s *netstack.Stack) (net.Conn, error) { return s.DialContext(ctx, network, address) },
		func(err error) error { return &net.OpError{Op: "dial", Net: network, Err: err} })
}

// LookupHost resolves a name by the tunnel's DNS servers, as
// [netstack.Stack.LookupHost] does, and waits or fails as DialContext does.
func (c *Client) LookupHost(ctx context.Context, host string) ([]string, error) {
	return attempt(ctx, c, func(s *netstack.Stack) ([]string, error) { return s.LookupHost(ctx, host) },
		func(err error) error { return &net.DNSError{Name: host, Err: err.Error(), UnwrapErr: err} })
}

// Ping sends one ICMP echo request and waits for the reply, as [netstack.Stack.Ping]
// does, and waits or fails as DialContext does while the tunnel is down.
func (c *Client) Ping(ctx context.Context, addr netip.Addr, opts *netstack.PingOptions) (*netstack.PingReply, error) {
	return attempt(ctx, c, func(s *netstack.Stack) (*netstack.PingReply, error) { return s.Ping(ctx, addr, opts) },
		func(err error) error {
			return &net.OpError{Op: "ping", Net: "ip", Addr: &net.IPAddr{IP: addr.AsSlice(), Zone: addr.Zone()}, Err: err}
		})
}

// attempt calls f while the tunnel is up, and again when the tunnel was lost meanwhile
// and ctx waits.
func attempt[T any](ctx context.Context, c *Client, f func(*netstack.Stack) (T, error), down func(error) error) (result T, err error) {
	for {
		run, stack, err := c.use(ctx)
		if err != nil {
			return result, down(err)
		}
		if result, err = f(stack); err == nil {
			return result, nil
		}
		if ctx.Err() != nil {
			return result, err
		}
		// Without its NIC a stack says that the network is unreachable: why it is
		// gone says more.
		lost := run.whyDown()
		switch {
		case lost == nil && !isDown(err):
			return result, err
		case waits(ctx):
			continue
		case lost != nil && !isDown(err):
			return result, down(lost)
		}
		return result, err
	}
}

func isDown(err error) bool {
	_, ok := errors.AsType[*DownError](err)
	return ok
}
