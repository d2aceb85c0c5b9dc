package netstack

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
)

const (
	// forwardPending is how many flows of one session, of each kind, wait at once
	// for the Forwarder's decision. What comes on top is dropped: who means it
	// sends it again.
	forwardPending = 256
	// forwardSegment is the same for all hosts of an Ethernet segment together, of which
	// each has forwardPending.
	forwardSegment = 4 * forwardPending

	// forwardBuffer is what a forwarded connection begins with, in each direction,
	// and forwardBufferMax what it grows to with its throughput: both are less
	// than elsewhere, since clients open the connections.
	forwardBuffer    = 256 << 10
	forwardBufferMax = 1 << 20

	// forwardHandshake is how long a client may take to acknowledge our SYN, once
	// the far end is connected.
	forwardHandshake = 30 * time.Second
	// forwardLinger is how long a connection that has been closed goes on trying
	// to send the rest to a client that does not take it.
	forwardLinger = time.Minute
	// forwardTimeWait is short: our ends are not those that choose the ports.
	forwardTimeWait = 5 * time.Second
)

// ErrProhibited is for Refuse: the client is told that the destination is
// administratively prohibited (RFC 1812 §5.2.7.1, RFC 4443 §3.1).
var ErrProhibited = errors.New("administratively prohibited")

// A Forwarder has the flows of a [Router]'s sessions to addresses that are
// neither the Router's own nor those of another session. Each function is called
// on a goroutine of its own; a flow that is neither accepted nor refused when it
// returns is dropped without an answer. Where a function is nil, its flows are
// refused as prohibited. What is sent to multicast and broadcast addresses does not
// come here, nor to link-local ones of IPv6.
//
// One session may have 256 flows of each kind undecided, and so may a host of an Ethernet
// segment, all hosts of which may have 1,024; the Forwarder has to bound those that it
// has accepted.
type Forwarder struct {
	TCP  func(*TCPFlow)     // a client opens a connection
	UDP  func(*UDPFlow)     // a client has sent a first datagram
	Echo func(*EchoRequest) // a client has sent an ICMP or ICMPv6 echo request
}

// A Flow is what the three kinds have in common.
type Flow struct {
	w        *forwarding
	kind     flowKind
	port     *Port
	src, dst netip.AddrPort
	quote    []byte // the first packet, as much as ICMP errors have of it
	done     bool   // accepted, refused or dropped; under w.mu
}

// Source is the client's address and port.
func (f *Flow) Source() netip.AddrPort { return f.src }

// Destination is where the client means to go.
func (f *Flow) Destination() netip.AddrPort { return f.dst }

// Port is the session that the flow comes from.
func (f *Flow) Port() *Port { return f.port }

// Context ends with the session.
func (f *Flow) Context() context.Context { return f.port.life }

type flowKind int

const (
	tcpFlow flowKind = iota
	udpFlow
	echoFlow
	flowKinds
)

// A forwarding is a Forwarder at work. It has a gVisor stack of its own, beside
// that of the Router: one that takes packets to any address and speaks from any
// (promiscuous and spoofing, as gVisor calls it). In the Router's own, listeners
// at any address would take the clients' connections to everywhere.
//
//	               ┌── own address ──► Stack         Listen, Dial
//	Port ──► Router┤
//	               └── any other ────► forwarding    Forwarder's functions
type forwarding struct {
	Forwarder
	router *Router
	gv     *stack.Stack
	ep     *linkEndpoint
	tcp    *tcp.Forwarder
	ending sync.Once

	mu        sync.Mutex
	syns      map[stack.TransportEndpointID]*TCPFlow // that wait for a decision
	undecided map[flowOwner]*[flowKinds]int          // of sessions, and hosts of segments, that have any
}

const forwardNIC tcpip.NICID = 1

func newForwarding(f *Forwarder, r *Router) (*forwarding, error) {
	w := &forwarding{
		Forwarder: *f,
		router:    r,
		syns:      make(map[stack.TransportEndpointID]*TCPFlow),
		undecided: make(map[flowOwner]*[flowKinds]int),
		gv: stack.New(stack.Options{
			NetworkProtocols: []stack.NetworkProtocolFactory{
				ipv4.NewProtocolWithOptions(ipv4.Options{AllowExternalLoopbackTraffic: true}), // for the Forwarder to refuse
				ipv6.NewProtocolWithOptions(ipv6.Options{AllowExternalLoopbackTraffic: true}),
			},
			TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocolCUBIC, udp.NewProtocol, icmp.NewProtocol4, icmp.NewProtocol6},
			SecureRNG:          r.stack.rand,
			Clock:              newClock(),
		}),
	}
	w.ep = newLinkEndpoint(w.gv, forwardNIC, int(r.ep.MTU()), header.IPv6MinimumSize, r)
	if err := w.set(); err != nil {
		w.close()
		return nil, fmt.Errorf("netstack: forwarding: %w", err)
	}
	return w, nil
}

// set tells gVisor what the stack is for. The handlers come before the NIC, so
// that none of its packets is answered otherwise.
func (w *forwarding) set() error {
	if err := tuneTCP(w.gv, forwardBuffer, forwardBufferMax); err != nil {
		return err
	}
	wait := tcpip.TCPTimeWaitTimeoutOption(forwardTimeWait)
	if terr := w.gv.SetTransportProtocolOption(tcp.ProtocolNumber, &wait); terr != nil {
		return errors.New(terr.String())
	}
	// How many may be in flight is for us to say: gVisor counts all clients as one.
	w.tcp = tcp.NewForwarder(w.gv, forwardBuffer, int(^uint(0)>>1), w.opened)
	w.gv.SetTransportProtocolHandler(tcp.ProtocolNumber, w.handleTCP)
	w.gv.SetTransportProtocolHandler(udp.ProtocolNumber, w.handleUDP)
	w.gv.SetTransportProtocolHandler(icmp.ProtocolNumber4, w.handleEcho)
	w.gv.SetTransportProtocolHandler(icmp.ProtocolNumber6, w.handleEcho)
	if terr := w.gv.CreateNICWithOptions(forwardNIC, w.ep, stack.NICOptions{QDisc: w.ep}); terr != nil {
		return errors.New(terr.String())
	}
	for _, terr := range []tcpip.Error{w.gv.SetPromiscuousMode(forwardNIC, true), w.gv.SetSpoofing(forwardNIC, true)} {
		if terr != nil {
			return errors.New(terr.String())
		}
	}
	for _, all := range []tcpip.Subnet{header.IPv4EmptySubnet, header.IPv6EmptySubnet} {
		w.gv.AddRoute(tcpip.Route{Destination: all, NIC: forwardNIC})
	}
	return nil
}

// close resets the connections and frees what gVisor has. Nothing may come in any
// more.
func (w *forwarding) close() {
	w.ending.Do(func() {
		w.gv.Close()
		w.gv.Wait()
	})
}

// takes is the way of a packet that has been let in, where it is not the Router's
// own stack: nil. What is for many, or for nobody, is left to that, which drops it.
func (w *forwarding) takes(p []byte) *linkEndpoint {
	var dst netip.Addr
	if p[0]>>4 == 4 {
		dst = netip.AddrFrom4([4]byte(p[16:]))
	} else {
		dst = netip.AddrFrom16([16]byte(p[24:]))
	}
	unicast := dst.IsGlobalUnicast() || dst.IsLoopback() || dst.Is4() && dst.IsLinkLocalUnicast()
	if !unicast || dst.Is4() && dst.As4()[0] == 0 || w.router.has(dst) {
		return nil
	}
	return w.ep
}

// A flowOwner is who has flows: a session or, in an Ethernet segment, a host.
type flowOwner struct {
	port *Port
	host netip.Addr // zero: all of them
}

// owners are those that a flow counts for, and how many may be undecided.
func (f *Flow) owners() (list [2]flowOwner, most [2]int, n int) {
	list[0], most[0], n = flowOwner{port: f.port}, forwardPending, 1
	if f.port.ether != nil {
		list[1], most[1], n = flowOwner{f.port, f.src.Addr()}, forwardPending, 2
		most[0] = forwardSegment
	}
	return list, most, n
}

// begin counts a flow in, unless its session has too many that are undecided.
func (w *forwarding) begin(f *Flow) bool {
	owners, most, count := f.owners()
	for i, o := range owners[:count] {
		if n := w.undecided[o]; n != nil && n[f.kind] >= most[i] {
			return false
		}
	}
	for _, o := range owners[:count] {
		n := w.undecided[o]
		if n == nil {
			n = new([flowKinds]int)
			w.undecided[o] = n
		}
		n[f.kind]++
	}
	return true
}

// decide counts a flow out of the undecided ones. It is false when that has been
// done.
func (w *forwarding) decide(f *Flow) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if f.done {
		return false
	}
	f.done = true
	owners, _, count := f.owners()
	for _, o := range owners[:count] {
		n := w.undecided[o]
		if n[f.kind]--; *n == ([flowKinds]int{}) {
			delete(w.undecided, o)
		}
	}
	return true
}

// newFlow is the flow that a packet begins; nil: its session has just ended, or
// has too many. Its caller has the lock.
func (w *forwarding) newFlow(kind flowKind, id stack.TransportEndpointID, pkt *stack.PacketBuffer) *Flow {
	src, dst := fromAddress(id.RemoteAddress), fromAddress(id.LocalAddress)
	f := &Flow{
		w:    w,
		kind: kind,
		port: w.router.port(src),
		src:  netip.AddrPortFrom(src, id.RemotePort),
		dst:  netip.AddrPortFrom(dst, id.LocalPort),
	}
	if f.port == nil || f.port.life.Err() != nil || !w.begin(f) {
		return nil
	}
	f.quote = quoteOf(pkt)
	return f
}

// abort resets the connections of a session.
func (w *forwarding) abort(p *Port) {
	abortTCP(w.gv, func(_, remote netip.Addr) bool { return w.router.port(remote) == p })
}

// because is why a flow's session is over, or err.
func (f *Flow) because(err error) error {
	if cause := context.Cause(f.port.life); cause != nil {
		return cause
	}
	return err
}

// A refusal is what the client of a refused flow is told.
type refusal int

const (
	unreachableHost refusal = iota
	unreachableNet
	refused // RST, or that the port is unreachable
	prohibited
)

// refusalOf is what a client is told when err is why its flow was refused. What
// the host's own rules forbid is forbidden to the client.
func refusalOf(err error) refusal {
	is := func(targets ...error) bool {
		for _, t := range targets {
			if errors.Is(err, t) {
				return true
			}
		}
		return false
	}
	switch {
	case is(syscall.ECONNREFUSED, syscall.ECONNRESET):
		return refused
	case is(ErrProhibited, os.ErrPermission):
		return prohibited
	case is(syscall.ENETUNREACH, syscall.EADDRNOTAVAIL, syscall.EAFNOSUPPORT):
		return unreachableNet
	}
	return unreachableHost
}
