package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"sync"

	"github.com/l2tpnet/l2tpnet/endpoint"
	"github.com/l2tpnet/l2tpnet/netstack"
)

// A Pseudowire is a host at the end of a static L2TPv3 pseudowire: what the two ends
// would negotiate elsewhere is configured at both, as with ip l2tp on Linux. Its fields
// say how, their zero values are the defaults, and they must not be changed after
// [OpenPseudowire] or [Pseudowire.Start]; its methods may be called by many at a time.
//
//	p, err := node.OpenPseudowire(ctx, &node.Pseudowire{
//		Local: ":1701", Remote: "192.0.2.7:1701",
//		Static:    endpoint.StaticConfig{Type: endpoint.PseudowireEthernet, SessionID: 1, PeerSessionID: 2},
//		Addresses: []netip.Prefix{netip.MustParsePrefix("10.77.0.5/24")},
//	})
//
// There is no control connection, so that nobody says hello or goodbye: a peer that is
// not there is not noticed, and one that comes back goes on where it was. Connections
// inside end by their own time-outs then, as they would on a cable. Only PPP notices,
// by its own means, and is negotiated again. The socket is opened again when it fails.
type Pseudowire struct {
	// Local is the UDP address of this end, "address:port" or ":port"; empty: ":1701".
	// Remote is that of the other end, "host:port"; the port is 1701 when there is none.
	Local, Remote string
	// Device is the network interface to use (Linux). Empty: as the routes say.
	Device string
	// Socket opens the socket instead, as [Client.Socket] does.
	Socket func(network string) (net.PacketConn, error)

	// Static is what both ends have to agree on. With PPP its PPP is how we introduce
	// ourselves.
	Static endpoint.StaticConfig

	// Users make us the server of a PPP pseudowire: they are those who may call, with their
	// passwords, and perhaps an Address. Static.PPP has the methods and the rest then. Nil:
	// we are PPP's client, or there is no PPP.
	Users map[string]User

	// Addresses are ours, inside, with the lengths of their networks. With Ethernet they
	// may be missing: then there is DHCP, or IPv6 alone. PPP's client asks for the one that
	// is given, its server has it, and gives another one of the network to who calls.
	Addresses []netip.Prefix
	// Gateway and Gateway6 are the routers on an Ethernet. Zero: none, or those that
	// DHCP and router advertisements tell of.
	Gateway, Gateway6 netip.Addr
	// DNS are the servers that names are asked of, before those that the network tells
	// of.
	DNS []netip.Addr
	// DHCP has an IPv4 address leased on an Ethernet.
	DHCP bool
	// NoIPv6 leaves IPv6 off.
	NoIPv6 bool
	// MAC is our address on an Ethernet. Nil: a random one, as long as the Pseudowire
	// lives.
	MAC net.HardwareAddr

	// AddressKey, Events and Logger are as in [Client]. An event tells where addresses
	// have come, or have changed.
	AddressKey []byte
	Events     func(Event)
	Logger     *slog.Logger

	starting sync.Mutex
	client   Client // what it is inside
}

// OpenPseudowire starts p and returns it when it has its addresses: at once where they are
// given, else when DHCP or PPP has found them, however long the other end takes to be
// there. When this machine is what does not let it, the reason is returned, and p has
// ended; when ctx is done before, so is p, and afterwards ctx has no meaning.
func OpenPseudowire(ctx context.Context, p *Pseudowire) (*Pseudowire, error) {
	if err := p.start(true); err != nil {
		return nil, err
	}
	if err := p.client.connected(ctx); err != nil {
		return nil, err
	}
	return p, nil
}

// Start begins, and does not wait for addresses. The error is about the configuration.
// A Pseudowire that has ended can be started again.
func (p *Pseudowire) Start() error { return p.start(false) }

// start sets up the Client inside and starts it: one whose way is static.
func (p *Pseudowire) start(impatient bool) error {
	p.starting.Lock()
	defer p.starting.Unlock()
	if p.client.running() != nil && p.client.Err() == nil {
		return errors.New("node: the Pseudowire has been started already")
	}
	way, err := newStaticWay(p)
	if err != nil {
		return err
	}
	c := &p.client
	c.Server, c.Device, c.Socket, c.static = p.Remote, p.Device, p.Socket, way
	c.AddressKey, c.Events, c.Logger = p.AddressKey, p.Events, p.Logger
	if p.Socket == nil {
		local, err := parseLocal(p.Local)
		if err != nil {
			return err
		}
		c.Bind, c.SourcePort = local.Addr(), local.Port()
	}
	return c.start(impatient)
}

// parseLocal reads "address:port" or ":port". An address that is none in particular
// becomes the zero value.
func parseLocal(s string) (netip.AddrPort, error) {
	if s == "" {
		return netip.AddrPortFrom(netip.Addr{}, endpoint.DefaultPort), nil
	}
	host, port, err := net.SplitHostPort(s)
	n, bad := strconv.ParseUint(port, 10, 16)
	if err != nil || bad != nil {
		return netip.AddrPort{}, fmt.Errorf("expected an address of this machine and a port, found %q", s)
	}
	if host == "" {
		return netip.AddrPortFrom(netip.Addr{}, uint16(n)), nil
	}
	a, err := netip.ParseAddr(host)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("expected an address of this machine and a port, found %q", s)
	}
	if a.IsUnspecified() {
		a = netip.Addr{}
	}
	return netip.AddrPortFrom(a.Unmap(), uint16(n)), nil
}

// DialContext opens a connection through the pseudowire, as [Client.DialContext] does:
// names are resolved by the DNS servers inside only, and before there is an address it
// fails at once, or waits with [WithWait].
func (p *Pseudowire) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	return p.client.DialContext(ctx, network, address)
}

// Dial is DialContext without a context.
func (p *Pseudowire) Dial(network, address string) (net.Conn, error) {
	return p.client.Dial(network, address)
}

// Listen opens a TCP listener inside, as [Client.Listen] does.
func (p *Pseudowire) Listen(network, address string) (net.Listener, error) {
	return p.client.Listen(network, address)
}

// ListenPacket opens a UDP socket inside, as [Client.ListenPacket] does.
func (p *Pseudowire) ListenPacket(network, address string) (net.PacketConn, error) {
	return p.client.ListenPacket(network, address)
}

// LookupHost resolves a name by the DNS servers inside, as [Client.LookupHost] does.
func (p *Pseudowire) LookupHost(ctx context.Context, host string) ([]string, error) {
	return p.client.LookupHost(ctx, host)
}

// Ping sends one ICMP echo request and waits for the reply, as [Client.Ping] does.
func (p *Pseudowire) Ping(ctx context.Context, addr netip.Addr, opts *netstack.PingOptions) (*netstack.PingReply, error) {
	return p.client.Ping(ctx, addr, opts)
}

// Status is what the Pseudowire is doing: connected, since it has its addresses.
// Whether the other end is there shows in what has come from it.
func (p *Pseudowire) Status() ClientStatus { return p.client.Status() }

// Capture writes what is sent and received to w, as [Client.Capture] does.
func (p *Pseudowire) Capture(w io.Writer) (stop func() error, err error) {
	return p.client.Capture(w)
}

// Done is closed when the Pseudowire has ended; before it is started it is nil.
func (p *Pseudowire) Done() <-chan struct{} { return p.client.Done() }

// Err is nil until Done is closed; then it is net.ErrClosed after Close, else why the
// Pseudowire could not begin.
func (p *Pseudowire) Err() error { return p.client.Err() }

// Close ends all that is open inside. The other end is not told, unless there is PPP. A
// second Close waits for the first. The error is nil.
func (p *Pseudowire) Close() error { return p.client.Close() }
