package node

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint"
	"github.com/l2tpnet/l2tpnet/endpoint/bridge"
)

// A Hub joins pseudowires of Ethernet to one segment: each is a port of a switch inside the
// process, and our own stack may be one more. Its ports are static sessions of L2TPv3, or
// negotiated ones: dialled, and dialled again when they are lost, or opened by others. Set
// the fields and call [StartHub]; the zero value of each field is its default. Fields must
// not change afterwards.
//
//	h, err := node.StartHub(ctx, &node.Hub{
//		Ports: []node.HubPort{
//			{Name: "north", Remote: "192.0.2.7:1701", Static: endpoint.StaticConfig{SessionID: 1, PeerSessionID: 11}},
//			{Name: "south", Remote: "192.0.2.8:1701", Pseudowire: &endpoint.PseudowireConfig{RemoteEndID: "lan"}},
//			{Name: "guests", Answer: true, Pseudowire: &endpoint.PseudowireConfig{}},
//		},
//		Secret: secret,
//		LAN:    &node.LAN{Addresses: []netip.Prefix{netip.MustParsePrefix("10.9.0.1/24")}},
//	})
type Hub struct {
	// Local is the UDP address of ports that say none. Empty: ":1701".
	Local string
	// Conn is a socket for them instead; it is the hub's from StartHub on, which ends when
	// it fails. All other sockets are opened again then.
	Conn net.PacketConn
	// Socket opens the others, at an address as Local says it. Nil: the system's UDP.
	Socket func(local string) (net.PacketConn, error)

	// Ports are the pseudowires: at least one.
	Ports []HubPort
	// Secret is the tunnel secret of those that are negotiated, and V3, HelloInterval and
	// HostName are of their control connections, as in [endpoint.TunnelConfig],
	// [endpoint.AnswerConfig] and [endpoint.Config]. Nil for V3 is its zero value. Without
	// a secret anybody may open a session for a port that is not for one address.
	Secret        endpoint.Secret
	V3            *endpoint.V3Config
	HelloInterval time.Duration
	HostName      string
	// LAN is our own stack as one more port. Nil: there is none.
	LAN *LAN
	// Ageing is for how long the switch remembers where a station is. 0: 300 s.
	Ageing time.Duration
	// ProbeInterval is how often each port sends a frame to find loops by. 0: 1 s;
	// negative: never.
	ProbeInterval time.Duration

	// Events, if set, is told what becomes of the ports, one event at a time, before
	// StartHub has returned as well. It should not take long, and must not close the hub.
	Events func(HubEvent)
	// Logger gets changes of state at Info, messages at Debug. Nil: nobody.
	Logger *slog.Logger
	// Rand is where random bytes come from. Nil: crypto/rand.
	Rand io.Reader

	log     *slog.Logger
	bridge  *bridge.Bridge
	sockets []*hubSocket
	ports   []*hubPort
	lan     *lanStack // nil: none
	telling sync.Mutex

	recording atomic.Pointer[recording] // nil: no capture

	started atomic.Bool // StartHub has returned
	ending  sync.Once
	life    context.Context // of all that goes on
	cancel  context.CancelFunc
	running sync.WaitGroup
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
	// Remote is the other end, "host:port"; the port is 1701 when there is none. With Answer
	// it is the address whose sessions are taken, "address" or "address:port"; empty: any.
	Remote string
	// Static is what both ends have to agree on. Its Type is Ethernet, or that of one
	// VLAN, whose frames have no tag in the hub. Frames that are longer than its MTU are
	// dropped; without one there is no limit, and long ones go in pieces.
	Static endpoint.StaticConfig
	// Pseudowire is our end of a session that is negotiated by L2TPv3 instead: of the same
	// types, and with an MTU of the same meaning. Nil: the port is static. Its RemoteEndID,
	// which is Name if it is empty, names the circuit that the other end is asked for, or
	// that others ask us for with Answer.
	//
	// The port is down while there is no session, or while the other end tells that its
	// circuit is not active (RFC 3931 §5.4.5): frames are dropped, and what was learned of
	// the stations behind it is forgotten.
	Pseudowire *endpoint.PseudowireConfig
	// Answer has the other end dial. A session takes the place of one that the same peer has
	// opened before, by its address and its Host Name: it has restarted. As long as the port
	// is another peer's it is refused.
	Answer bool

	// Isolated, Learned, Unknown, Broadcast and Multicast are as in [bridge.PortConfig].
	Isolated                               bool
	Learned, Unknown, Broadcast, Multicast int
}

// A HubEvent is what becomes of a port.
type HubEvent struct {
	Port string
	What PortChange
	Peer netip.AddrPort // of PortUp: the other end
	Err  error          // of PortDown and PortFailed: why
	Next time.Time      // of these: when we try again; zero: the other end has to
}

// A PortChange is what has become of a port.
type PortChange string

const (
	PortUp       PortChange = "up"       // frames go through it; not told of static ones that are up from the start
	PortDown     PortChange = "down"     // they do not any more
	PortFailed   PortChange = "failed"   // it was dialled, or opened again, in vain
	PortHeld     PortChange = "held"     // by the switch, because of a loop
	PortReleased PortChange = "released" // again
)

// StartHub starts h and returns it when the static ports are up, which is at once, and when
// our own stack has its address: by DHCP it waits for one as long as ctx lasts. Ports that
// are negotiated come up when they do. Nothing is left behind when it fails; afterwards ctx
// has no meaning. Until it has returned the hub's methods know of nothing.
func StartHub(ctx context.Context, h *Hub) (*Hub, error) {
	if h.done != nil {
		return nil, errors.New("node: the hub has been started already")
	}
	h.done, h.closed = make(chan struct{}), make(chan struct{})
	h.life, h.cancel = context.WithCancel(context.Background())
	if err := h.open(ctx); err != nil {
		h.end(err)
		return nil, err
	}
	h.started.Store(true)
	return h, nil
}

// told is what the switch tells of a port.
func (h *Hub) told(e bridge.Event) {
	what := PortReleased
	if e.Held {
		what = PortHeld
	}
	h.tell(HubEvent{Port: e.Port.Name(), What: what})
}

// tell tells of an event, unless the hub ends.
func (h *Hub) tell(e HubEvent) {
	if h.life.Err() != nil {
		return
	}
	h.log.Info("hub", "port", e.Port, "what", e.What, "peer", e.Peer, "error", e.Err)
	if h.Events == nil {
		return
	}
	h.telling.Lock()
	defer h.telling.Unlock()
	h.Events(e)
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
		h.cancel()
		var goodbyes sync.WaitGroup
		for _, s := range h.sockets {
			if ep := s.endpoint(); ep != nil {
				goodbyes.Go(func() { ep.Close() })
			}
		}
		goodbyes.Wait()
		h.running.Wait()
		for _, s := range h.sockets {
			if ep := s.endpoint(); ep != nil {
				ep.Close() // opened meanwhile
			}
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

// Done is closed when the hub has been closed or its Conn has failed; nil before StartHub.
func (h *Hub) Done() <-chan struct{} {
	if !h.started.Load() {
		return nil
	}
	return h.done
}

// Err is nil until Done is closed; then net.ErrClosed or Conn's error.
func (h *Hub) Err() error {
	select {
	case <-h.Done():
		return h.err
	default:
		return nil
	}
}
