package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint"
	"github.com/l2tpnet/l2tpnet/endpoint/bridge"
	"github.com/l2tpnet/l2tpnet/netstack"
)

var errNoLAN = errors.New("the hub has no stack of its own, only ports")

// inside is our stack, if there is one and the hub is open.
func (h *Hub) inside() (*netstack.Stack, error) {
	switch {
	case !h.started.Load():
		return nil, errors.New("node: the hub has not been started")
	case h.Err() != nil:
		return nil, h.Err()
	case h.lan == nil:
		return nil, errNoLAN
	}
	return h.lan.stack, nil
}

// Endpoints are the sockets of the ports, as they are now: one that has failed is followed
// by another.
func (h *Hub) Endpoints() (all []*endpoint.Endpoint) {
	if !h.started.Load() {
		return nil
	}
	for _, s := range h.sockets {
		all = append(all, s.endpoint())
	}
	return all
}

// Capture writes what a hub with one socket sends and receives to w, as
// [endpoint.Endpoint.Capture] does: each socket that takes the place of another one is a
// section of the pcapng file. It may begin before StartHub, and when that has returned; there
// is one at a time ([endpoint.ErrCapturing]). Call stop after Close and close w then: it
// returns when all is written, with w's error or an [endpoint.CaptureLossError].
func (h *Hub) Capture(w io.Writer) (stop func() error, err error) {
	r := &recording{w: w}
	if !h.recording.CompareAndSwap(nil, r) {
		return nil, endpoint.ErrCapturing
	}
	end := func() error {
		err := r.end()
		h.recording.CompareAndSwap(r, nil)
		return err
	}
	if h.started.Load() {
		if err := h.record(h.sockets[0].endpoint()); err != nil {
			end()
			return nil, err
		}
	}
	return end, nil
}

// record has an endpoint captured, if somebody wants that.
func (h *Hub) record(ep *endpoint.Endpoint) error {
	r := h.recording.Load()
	switch {
	case r == nil:
		return nil
	case len(h.sockets) > 1:
		return fmt.Errorf("expected ports with one local address, since a capture is one socket's, found %d", len(h.sockets))
	}
	return r.begin(ep)
}

// Dial is DialContext without a context.
func (h *Hub) Dial(network, address string) (net.Conn, error) {
	return h.DialContext(context.Background(), network, address)
}

// DialContext opens a connection from our stack into the segment, or where its gateway
// leads, as [netstack.Stack.DialContext] does. Where we are the gateway no name is
// resolved.
func (h *Hub) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	stack, err := h.inside()
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	return stack.DialContext(ctx, network, address)
}

// Listen opens a TCP listener in the segment, as [netstack.Stack.Listen] does.
func (h *Hub) Listen(network, address string) (net.Listener, error) {
	stack, err := h.inside()
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Err: err}
	}
	return stack.Listen(network, address)
}

// ListenPacket opens a UDP socket in the segment, as [netstack.Stack.ListenPacket] does.
func (h *Hub) ListenPacket(network, address string) (net.PacketConn, error) {
	stack, err := h.inside()
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Err: err}
	}
	return stack.ListenPacket(network, address)
}

// LookupHost resolves a name by the segment's DNS servers, as
// [netstack.Stack.LookupHost] does.
func (h *Hub) LookupHost(ctx context.Context, host string) ([]string, error) {
	stack, err := h.inside()
	if err != nil {
		return nil, &net.DNSError{Name: host, Err: err.Error(), UnwrapErr: err}
	}
	return stack.LookupHost(ctx, host)
}

// Ping sends one ICMP echo request and waits for the reply, as [netstack.Stack.Ping]
// does.
func (h *Hub) Ping(ctx context.Context, addr netip.Addr, opts *netstack.PingOptions) (*netstack.PingReply, error) {
	stack, err := h.inside()
	if err != nil {
		return nil, &net.OpError{Op: "ping", Net: "ip", Addr: &net.IPAddr{IP: addr.AsSlice(), Zone: addr.Zone()}, Err: err}
	}
	return stack.Ping(ctx, addr, opts)
}

// A HubStatus says what a hub is doing.
type HubStatus struct {
	Ports     []HubPortStatus // the pseudowires
	Stations  []HubStation    // that are known, by port
	Endpoints []endpoint.Status
	LAN       *LANStatus // nil: none
}

// A HubPortStatus is one port's.
type HubPortStatus struct {
	Up      bool           // frames go through it, but for what Bridge tells
	Remote  netip.AddrPort // the other end; the zero value while there is no session
	Ups     int            // how many sessions there have been
	Err     error          // why it is not up, as far as that is known
	Next    time.Time      // when we try again; zero: we do not, or the other end has to
	Bridge  bridge.PortStatus
	Session endpoint.SessionStatus // the zero value while there is none
}

func (p *hubPort) status() HubPortStatus {
	p.mu.Lock()
	st := HubPortStatus{Ups: p.ups, Err: p.err, Next: p.next}
	l := p.link
	st.Up = l != nil && l.circuit.Usable()
	p.mu.Unlock()
	st.Bridge = p.port.Status()
	if l != nil {
		st.Remote, st.Session = l.session.Tunnel().Peer(), l.session.Status()
	}
	return st
}

// A HubStation is a MAC address that has been heard, and where.
type HubStation struct {
	MAC   net.HardwareAddr
	VLAN  uint16 // of its frames' tags; 0: none
	Port  string
	Heard time.Duration // ago; 0 for our own
}

// A LANStatus is our own stack's.
type LANStatus struct {
	MAC       net.HardwareAddr
	Addresses []netip.Addr
	DNS       []netip.Addr
	Bridge    bridge.PortStatus
	Leases    []netstack.DHCPv4Lease
	DHCP      *netstack.DHCPv4Counters // nil: no server
	Egress    *EgressStatus            // nil: none
	Inside    netstack.Counters
}

// Status is how all is; the zero value before StartHub.
func (h *Hub) Status() HubStatus {
	var st HubStatus
	if !h.started.Load() {
		return st
	}
	for _, p := range h.ports {
		st.Ports = append(st.Ports, p.status())
	}
	for _, s := range h.bridge.Stations() {
		st.Stations = append(st.Stations, HubStation{s.Address, s.VLAN, s.Port.Name(), s.Heard})
	}
	for _, s := range h.sockets {
		st.Endpoints = append(st.Endpoints, s.endpoint().Status())
	}
	if h.lan != nil {
		st.LAN = new(h.lan.status())
	}
	return st
}

func (l *lanStack) status() LANStatus {
	st := LANStatus{
		MAC: l.nic.MAC(), Addresses: l.nic.Addresses(), DNS: l.nic.DNS(), Bridge: l.port.Status(), Inside: l.nic.Counters(),
	}
	if l.dhcp != nil {
		st.Leases, st.DHCP = l.dhcp.Leases(), new(l.dhcp.Counters())
	}
	if l.Egress != nil {
		st.Egress = new(l.Egress.Status())
	}
	return st
}
