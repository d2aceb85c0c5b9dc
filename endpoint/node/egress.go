package node

import (
	"context"
	"log/slog"
	"math"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/l2tpnet/l2tpnet/netstack"
	"github.com/l2tpnet/l2tpnet/proxy"
)

// An Egress lets the clients of a [Server], or of a [LAN], out, as slirp does: each TCP
// connection, each UDP flow and each echo request of theirs goes on through an
// ordinary socket of the host's, and no privilege is needed. The zero value is
// ready to use. An Egress is for one of them; what follows of a client holds for each
// session of a Server, and for each address of a LAN.
//
// A client reaches what the host itself would reach, but for the host: its
// loopback addresses, those of its interfaces, link-local ones, the metadata
// services of clouds, multicast and broadcast are refused unless AllowHost has
// them, in every form of an IPv6 address with an IPv4 one in it that a standard
// knows. A client is told so (ICMP, "administratively prohibited").
//
// A connection that the far end refuses is refused to the client, one that
// breaks is reset, and each direction ends by itself. What a client sends by UDP
// from one port to one address and port is a flow, with a socket of its own that
// is connected: only the far end that was asked can answer, and "port
// unreachable" comes back as that. The price is a new port for each far end,
// where a NAT that maps endpoint-independently (RFC 4787 §4.1) has one for all.
type Egress struct {
	// AllowHost are destinations that clients may reach although they are the
	// host's, or near it. See [ParseAllow].
	AllowHost []Allow

	// Flows is how many TCP and UDP flows there are at once, the last quarter of
	// which is for clients with fewer than 16, FlowsPerClient how many of them one
	// client has. What comes on top is refused as prohibited, unless it is a UDP
	// flow and one of the client's has been idle for five seconds, which ends then.
	// 0: 1,024 and 256; negative: no limit.
	Flows, FlowsPerClient int
	// DialsPerClient is how many of its connections are being opened at once.
	// 0: 64; negative: no limit.
	DialsPerClient int

	// DialTimeout is how long the opening of a connection may take. 0: 10 s;
	// negative: as long as the system tries.
	DialTimeout time.Duration
	// TCPIdle and UDPIdle end a flow through which nothing goes in either
	// direction. 0: 2 h 4 min (RFC 5382 REQ-5) and 60 s; negative: never. A UDP flow
	// to port 53 ends 10 s after an answer.
	TCPIdle, UDPIdle time.Duration

	// Dialer opens the connections instead of the host, tcp and udp: another
	// tunnel's stack, for example. What is refused stays refused, and echo requests
	// are. nil: a net.Dialer
	Dialer proxy.Dialer

	// Logger is told of destinations that were refused at Info, of limits that were
	// reached and of what the system lacks at Warn, of each kind at most once in ten
	// seconds, and of each flow at Debug. nil: silent.
	Logger *slog.Logger

	state egressState
}

const (
	defaultEgressFlows          = 1024
	defaultEgressFlowsPerClient = 256
	defaultEgressDialsPerClient = 64
	defaultEgressDialTimeout    = 10 * time.Second
	defaultEgressTCPIdle        = 2*time.Hour + 4*time.Minute
	defaultEgressUDPIdle        = time.Minute

	egressDNSPort = 53
	egressDNSIdle = 10 * time.Second // after an answer

	egressEvictAfter = 5 * time.Second
	egressLittle     = 16 // flows of a client
)

// An EgressStatus says what has gone out through an [Egress].
type EgressStatus struct {
	TCP, UDP, Echo     EgressFlows // an echo request is a flow until its reply
	BytesUp, BytesDown uint64      // of TCP and UDP payload: to the far ends, and to the clients
}

// EgressFlows are the flows of one kind.
type EgressFlows struct {
	Open       int    // now
	Opened     uint64 // so far
	Prohibited uint64 // refused because of their destination
	Limited    uint64 // refused, or dropped, because there were too many
	Failed     uint64 // whose far end could not be reached
}

type egressKind int

const (
	egressTCP egressKind = iota
	egressUDP
	egressEcho
	egressKinds
)

func (k egressKind) String() string { return [...]string{"tcp", "udp", "echo"}[k] }

// egressState is what an Egress has beside its settings.
type egressState struct {
	once    sync.Once
	life    context.Context // until Close
	end     context.CancelFunc
	log     *slog.Logger
	dialer  proxy.Dialer
	policy  policy
	perHost bool // clients are told apart by their addresses
	echo    echoes
	counts  [egressKinds]egressCounts
	bytes   struct{ up, down atomic.Uint64 }

	mu       sync.Mutex
	closed   bool
	running  sync.WaitGroup // entered under mu, unless closed
	flows    int
	clients  map[egressOwner]*egressClient
	noticing map[string]*notice
}

type egressCounts struct {
	open                                atomic.Int64
	opened, prohibited, limited, failed atomic.Uint64
}

// forwarder has the flows of a server's sessions carried. own tells of an address
// whether the server gives it to its clients, now: none of those is dialled.
func (e *Egress) forwarder(own func(netip.Addr) bool) *netstack.Forwarder {
	e.begin()
	e.state.policy.own = own
	return &netstack.Forwarder{TCP: e.tcp, UDP: e.udp, Echo: e.ping}
}

// begin makes the state, once: Status and Close may come before the server.
func (e *Egress) begin() {
	e.state.once.Do(func() {
		s := &e.state
		s.life, s.end = context.WithCancel(context.Background())
		if s.log = e.Logger; s.log == nil {
			s.log = slog.New(slog.DiscardHandler)
		}
		if s.dialer = e.Dialer; s.dialer == nil {
			s.dialer = &net.Dialer{}
		}
		s.policy = policy{allow: e.AllowHost, interfaces: net.InterfaceAddrs}
		s.echo.listen = listenEcho
		s.clients = make(map[egressOwner]*egressClient)
		s.noticing = make(map[string]*notice)
	})
}

// Close resets all flows and returns when they have ended. Flows that come later
// are refused. Closing a Server closes its Egress.
func (e *Egress) Close() error {
	e.begin()
	e.state.mu.Lock()
	e.state.closed = true
	e.state.mu.Unlock()
	e.state.end()
	e.closeEcho()
	e.state.running.Wait()
	return nil
}

// Status is what has gone out so far.
func (e *Egress) Status() EgressStatus {
	e.begin()
	var st EgressStatus
	for k, f := range []*EgressFlows{&st.TCP, &st.UDP, &st.Echo} {
		c := &e.state.counts[k]
		*f = EgressFlows{
			Open:       int(c.open.Load()),
			Opened:     c.opened.Load(),
			Prohibited: c.prohibited.Load(),
			Limited:    c.limited.Load(),
			Failed:     c.failed.Load(),
		}
	}
	st.BytesUp, st.BytesDown = e.state.bytes.up.Load(), e.state.bytes.down.Load()
	return st
}

// most is a limit: 0 is the default, and what is negative none.
func most(set, otherwise int) int {
	switch {
	case set == 0:
		return otherwise
	case set < 0:
		return math.MaxInt
	}
	return set
}

// longest is the same for a time.
func longest(set, otherwise time.Duration) time.Duration {
	switch {
	case set == 0:
		return otherwise
	case set < 0:
		return math.MaxInt64
	}
	return set
}
