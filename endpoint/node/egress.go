package node

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	defaultEgressFlows          = 1024
	defaultEgressFlowsPerClient = 256
	defaultEgressDialsPerClient = 64
	defaultEgressDialTimeout    = 10 * time.Second
	defaultEgressTCPIdle        = 2 * time.Hour
	defaultEgressUDPIdle        = time.Minute
)

// An Egress lets the clients of a [Server] out, as slirp does: each TCP
// connection, each UDP flow and each echo request of theirs goes on through an
// ordinary socket of the host's, and no privilege is needed. The zero value is
// ready to use; a Server has one of its own.
//
// A client reaches what the host itself would reach, but for the host: its
// loopback addresses, those of its interfaces, link-local ones (which have the
// metadata services of clouds), multicast and broadcast are refused unless
// AllowHost has them, in every form that an IPv6 address can hide them in. A
// client is told so (ICMP, "administratively prohibited").
type Egress struct {
	// AllowHost are destinations that clients may reach although they are the
	// host's, or near it. See [ParseAllow].
	AllowHost []Allow

	// Flows is how many TCP and UDP flows there are at once, FlowsPerClient how
	// many of them one client has. 0: 1,024 and 256; negative: no limit.
	Flows, FlowsPerClient int
	// DialsPerClient is how many of its connections are being opened at once.
	// 0: 64; negative: no limit.
	DialsPerClient int

	// DialTimeout is how long the opening of a connection may take. 0: 10 s.
	DialTimeout time.Duration
	// TCPIdle and UDPIdle end a flow through which nothing goes, one way nor the
	// other. 0: 2 h (RFC 5382 REQ-5: not less than 2 h 4 min where the far end
	// is not asked whether it lives; it is asked) and 60 s; negative: never.
	TCPIdle, UDPIdle time.Duration

	// Dialer opens the connections, tcp and udp, which are not the host's own
	// then but for example another tunnel's. nil: a net.Dialer
	Dialer interface {
		DialContext(ctx context.Context, network, address string) (net.Conn, error)
	}

	// Logger is told at Info which destinations were refused, at most once in
	// ten seconds, at Warn what the system lacks, at Debug about each flow. nil:
	// silent.
	Logger *slog.Logger

	state egressState
}

// egressState is what an Egress has beside its settings.
type egressState struct {
	once   sync.Once
	policy policy
}

// own are the networks that the server gives to its clients; nothing in them is
// dialled.
func (e *Egress) start(own []netip.Prefix) {
	e.state.once.Do(func() {
		e.state.policy = policy{allow: e.AllowHost, own: own, interfaces: net.InterfaceAddrs}
	})
}
