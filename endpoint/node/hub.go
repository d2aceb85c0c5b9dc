package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint"
	"github.com/l2tpnet/l2tpnet/endpoint/bridge"
)

// A Hub joins static L2TPv3 pseudowires of Ethernet to one segment: each is a port of a
// switch inside the process, and our own stack may be one more. Set the fields and call
// [StartHub]; the zero value of each field is its default. Fields must not change
// afterwards.
//
//	h, err := node.StartHub(ctx, &node.Hub{
//		Ports: []node.HubPort{
//			{Name: "north", Remote: "192.0.2.7:1701", Static: endpoint.StaticConfig{SessionID: 1, PeerSessionID: 11}},
//			{Name: "south", Remote: "192.0.2.8:1701", Static: endpoint.StaticConfig{SessionID: 2, PeerSessionID: 12}},
//		},
//		LAN: &node.LAN{Addresses: []netip.Prefix{netip.MustParsePrefix("10.9.0.1/24")}},
//	})
type Hub struct {
	// Local is the UDP address of ports that say none. Empty: ":1701".
	Local string
	// Conn is a socket for them instead; it is the hub's from StartHub on.
	Conn net.PacketConn

	// Ports are the pseudowires: at least one.
	Ports []HubPort
	// LAN is our own stack as one more port. Nil: there is none.
	LAN *LAN
	// Ageing is for how long the switch remembers where a station is. 0: 300 s.
	Ageing time.Duration
	// ProbeInterval is how often each port sends a frame to find loops by. 0: 1 s;
	// negative: never.
	ProbeInterval time.Duration

	// Events, if set, is told when the switch holds a port because of a loop, and when it
	// releases it, one event at a time. It should not take long, and must not close the
	// hub.
	Events func(HubEvent)
	// Logger gets changes of state at Info, messages at Debug. Nil: nobody.
	Logger *slog.Logger
	// Rand is where random bytes come from. Nil: crypto/rand.
	Rand io.Reader

	log       *slog.Logger
	bridge    *bridge.Bridge
	endpoints []*endpoint.Endpoint // by socket
	ports     []*hubPort
	lan       *lanStack // nil: none

	started atomic.Bool // StartHub has returned
	ending  sync.Once
	done    chan struct{} // nil: not started
	closed  chan struct{}
	err     error // when done
}

// A HubPort is a pseudowire of a [Hub].
type HubPort struct {
	// Name is for people. Empty: "port1", "port2" and so forth.
	Name string
	// Local is the UDP address of our end; ports with the same one share a socket. Empty:
	// that of the Hub.
	Local string
	// Remote is the other end, "host:port"; the port is 1701 when there is none.
	Remote string
	// Static is what both ends have to agree on. Its Type is Ethernet, or that of one
	// VLAN, whose frames have no tag in the hub. Frames that are longer than its MTU are
	// dropped; without one there is no limit, and long ones go in pieces.
	Static endpoint.StaticConfig

	// Isolated, Learned, Unknown, Broadcast and Multicast are as in [bridge.PortConfig].
	Isolated                               bool
	Learned, Unknown, Broadcast, Multicast int
}

// A HubEvent is what becomes of a port.
type HubEvent struct {
	Port string
	Held bool // because of a loop; or released
}

// A hubPort is a HubPort at work.
type hubPort struct {
	session *endpoint.Session
	port    *bridge.Port
}

// StartHub starts h and returns it when the ports are up, which is at once, and when our
// own stack has its address: by DHCP it waits for one as long as ctx lasts. Nothing is
// left behind when it fails; afterwards ctx has no meaning. Until it has returned the hub's
// methods know of nothing.
func StartHub(ctx context.Context, h *Hub) (*Hub, error) {
	if h.done != nil {
		return nil, errors.New("node: the hub has been started already")
	}
	h.done, h.closed = make(chan struct{}), make(chan struct{})
	if err := h.open(ctx); err != nil {
		h.end(err)
		return nil, err
	}
	h.started.Store(true)
	for _, ep := range h.endpoints {
		go func() {
			<-ep.Done()
			h.end(ep.Err())
		}()
	}
	return h, nil
}

func (h *Hub) open(ctx context.Context) (err error) {
	if h.log = h.Logger; h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	if err := h.check(); err != nil {
		if h.Conn != nil {
			h.Conn.Close()
		}
		return err
	}
	if h.bridge, err = bridge.New(&bridge.Config{Ageing: h.Ageing, ProbeInterval: h.ProbeInterval, Events: h.tell, Logger: h.log, Rand: h.Rand}); err != nil {
		return err
	}
	sockets := map[string]*endpoint.Endpoint{}
	if h.Conn != nil {
		ep, err := endpoint.New(h.Conn, &endpoint.Config{Logger: h.log, Rand: h.Rand})
		if err != nil {
			return err
		}
		sockets[h.local("")] = ep
		h.endpoints = append(h.endpoints, ep)
	}
	mtu := defaultLANMTU
	for i := range h.Ports {
		p := &h.Ports[i]
		local := h.local(p.Local)
		ep := sockets[local]
		if ep == nil {
			if ep, err = endpoint.Listen("udp", local, &endpoint.Config{Logger: h.log, Rand: h.Rand}); err != nil {
				return fmt.Errorf("%s: %w", h.name(i), err)
			}
			sockets[local] = ep
			h.endpoints = append(h.endpoints, ep)
		}
		if err := h.openPort(ctx, h.name(i), p, ep); err != nil {
			return fmt.Errorf("%s: %w", h.name(i), err)
		}
		mtu = min(mtu, h.ports[i].session.MTU())
	}
	if h.LAN == nil {
		return nil
	}
	if h.lan, err = openLAN(h.LAN, nil, h.bridge, mtu, h.log, h.Rand); err != nil {
		return err
	}
	window := 0
	for _, ep := range h.endpoints {
		if n := ep.Status().ReceiveBuffer / 2; window == 0 || n < window { // the other half is the system's overhead
			window = n
		}
	}
	h.lan.stack.SetReceiveWindow(window)
	return h.lan.wait(ctx, h.lan.nic, h.log)
}

// check finds what does not fit together.
func (h *Hub) check() error {
	if len(h.Ports) == 0 {
		return errors.New("expected one pseudowire or more to join, found none")
	}
	names := map[string]bool{lanPort: h.LAN != nil}
	for i := range h.Ports {
		p, name := &h.Ports[i], h.name(i)
		if names[name] {
			return fmt.Errorf("expected ports with different names, found %q twice", name)
		}
		names[name] = true
		switch t := p.Static.Type; t {
		case 0, endpoint.PseudowireEthernet, endpoint.PseudowireVLAN:
		default:
			return fmt.Errorf("%s: expected a pseudowire of Ethernet or of a VLAN, found %v", name, t)
		}
		if p.Remote == "" {
			return fmt.Errorf("%s: expected the address of its other end, found none", name)
		}
		if err := p.Static.Validate(); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if h.LAN != nil {
		return h.LAN.check()
	}
	return nil
}

func (h *Hub) name(i int) string { return cmp.Or(h.Ports[i].Name, "port"+strconv.Itoa(i+1)) }

// local is the address of a port's socket.
func (h *Hub) local(of string) string {
	return cmp.Or(of, h.Local, ":"+strconv.Itoa(endpoint.DefaultPort))
}

// openPort joins a pseudowire to the switch.
func (h *Hub) openPort(ctx context.Context, name string, p *HubPort, ep *endpoint.Endpoint) error {
	session, err := ep.Static(ctx, p.Remote, &p.Static)
	if err != nil {
		return err
	}
	port, err := h.bridge.Attach(name, session, &bridge.PortConfig{
		MTU: p.Static.MTU, Isolated: p.Isolated, Learned: p.Learned, Unknown: p.Unknown, Broadcast: p.Broadcast, Multicast: p.Multicast,
	})
	if err != nil {
		return err
	}
	session.Attach(port)
	h.ports = append(h.ports, &hubPort{session, port})
	return nil
}

func (h *Hub) tell(e bridge.Event) {
	if h.Events != nil {
		h.Events(HubEvent{Port: e.Port.Name(), Held: e.Held})
	}
}

// end ends all, the first time, and returns when that is done.
func (h *Hub) end(reason error) {
	h.ending.Do(func() {
		h.err = reason
		close(h.done)
		if h.lan != nil {
			if reason != net.ErrClosed {
				h.lan.stack.Fail(reason)
			}
			h.lan.close()
		}
		if h.bridge != nil {
			h.bridge.Close()
		}
		for _, ep := range h.endpoints {
			ep.Close()
		}
		close(h.closed)
	})
	<-h.closed
}

// Close ends the hub and all that is open inside, which fails with net.ErrClosed. A second
// Close waits for the first. The error is nil.
func (h *Hub) Close() error {
	if h.started.Load() {
		h.end(net.ErrClosed)
	}
	return nil
}

// Done is closed when the hub has been closed or one of its sockets has failed; nil
// before StartHub.
func (h *Hub) Done() <-chan struct{} {
	if !h.started.Load() {
		return nil
	}
	return h.done
}

// Err is nil until Done is closed; then net.ErrClosed or the socket's error.
func (h *Hub) Err() error {
	select {
	case <-h.Done():
		return h.err
	default:
		return nil
	}
}
