package endpoint

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/control"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/udp"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

const (
	// closeGrace is how long Close waits for a peer to acknowledge, and
	// terminateGrace what PPP gets of it for its Terminate-Request.
	closeGrace     = 1800 * time.Millisecond
	terminateGrace = 500 * time.Millisecond

	acceptBacklog = 64    // sessions that are up and wait for Accept
	tunnelIDsMax  = 60000 // of 65,535, so that a free one is found soon
	loopsMax      = 4
)

// An Endpoint is one UDP address with all its tunnels: it dials, and it answers
// when its configuration says so. Its methods may be called by many at a time.
type Endpoint struct {
	cfg    Config
	log    *slog.Logger
	socks  []*udp.Conn // of one address
	random io.Reader
	loops  []*loop

	ids        idSpace         // our tunnel ids, half-open tunnels' too
	tunnels    idTable[Tunnel] // by our tunnel id; written under mu
	sessions   sessionTable    // of L2TPv3; written under mu
	half       *halfOpen       // nil: nobody is answered
	answering  control.Config  // of tunnels that a peer opens
	accepted   chan *Session
	counters   counters
	refusal    occasion                 // of a pseudowire
	challenges challenges               // of the tunnels that are being dialled
	speaksV3   atomic.Bool              // control messages of L2TPv3 are for us
	recorder   atomic.Pointer[recorder] // of the capture that runs, or nil

	ctx    context.Context // ends with the endpoint
	cancel context.CancelFunc
	read   sync.WaitGroup // the readers
	done   chan struct{}

	mu       sync.Mutex
	closing  bool
	err      error
	all      map[*Tunnel]struct{} // those with a control connection
	statics  map[netip.AddrPort]*Tunnel
	byPeer   map[peerID]*Tunnel // tunnels that were not dialled, and are established
	byAddr   map[netip.AddrPort]*peerTunnels
	nextLoop int
	nextUp   chan struct{} // closed with the next tunnel that is established; nil: nobody waits
}

// peerID is how a peer names its tunnel: a repeated SCCRQ, and a message that
// does not know our id, find their tunnel by it.
type peerID struct {
	addr netip.AddrPort
	id   uint32
	v3   bool // ids of L2TPv3 are others than those of L2TPv2
}

// Listen opens a UDP socket and makes an endpoint of it. The network is "udp",
// "udp4" or "udp6"; the address ":0" is a port of the system's choice for an
// endpoint that dials, ":1701" the usual one for one that answers. Nil for cfg
// is its zero value. With [Config.Sockets] there are several of one address.
func Listen(network, address string, cfg *Config) (*Endpoint, error) {
	full, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("endpoint: %w", err)
	}
	conns, err := listen(network, address, &full)
	if err != nil {
		return nil, err
	}
	return newEndpoint(conns, full), nil
}

// New makes an endpoint of a socket, which is the endpoint's from then on and
// closed with it. Addresses of conn need a method AddrPort, as *net.UDPAddr has.
//
// A *net.UDPConn, or what else offers its SyscallConn as a type that embeds one
// does, is used by its descriptor on Linux, and its ReadFrom and WriteTo are not
// called. A type that has something to do there embeds a net.PacketConn instead.
func New(conn net.PacketConn, cfg *Config) (*Endpoint, error) {
	full, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("endpoint: %w", err)
	}
	return newEndpoint([]net.PacketConn{conn}, full), nil
}

func newEndpoint(conns []net.PacketConn, full Config) *Endpoint {
	e := &Endpoint{
		cfg: full, log: full.Logger,
		random:   &lockedReader{r: full.Rand},
		accepted: make(chan *Session, acceptBacklog),
		done:     make(chan struct{}),
		all:      map[*Tunnel]struct{}{}, statics: map[netip.AddrPort]*Tunnel{}, byPeer: map[peerID]*Tunnel{}, byAddr: map[netip.AddrPort]*peerTunnels{},
	}
	if a := e.cfg.Answer; a != nil && !a.StaticOnly {
		e.half = newHalfOpen(&a.Limits)
		e.answering = control.Config{
			HostName:      e.cfg.HostName,
			Secret:        a.Secret.bytes(),
			HideAVPs:      a.HideAVPs && a.Secret != "",
			PlacesCalls:   a.PlacesCalls,
			HelloInterval: a.HelloInterval,
			Retries:       a.Retries,
			Outstanding:   e.challenges.outstanding,
			MaxSessions:   sessionsMost, // see refuseSession
			PeerWindow:    a.Limits.PeerWindow, SendQueue: a.Limits.SendQueue,
			DuplicateAckDelay: time.Second / time.Duration(a.Limits.DuplicateAcks),
			SessionTaken:      e.sessionTaken,
		}
		if a.V3 != nil {
			e.answering.V3 = a.V3.control(a.answeredTypes())
			e.speaksV3.Store(true)
		}
	}
	e.ctx, e.cancel = context.WithCancel(context.Background())
	for range min(loopsMax, runtime.GOMAXPROCS(0)) {
		e.loops = append(e.loops, newLoop(e))
	}
	for _, c := range conns {
		e.socks = append(e.socks, udp.New(c))
	}
	for _, s := range e.socks {
		e.read.Go(func() { e.receiveAll(s) })
	}
	return e
}

// Addr is the socket's own address.
func (e *Endpoint) Addr() netip.AddrPort { return e.socks[0].LocalAddr() }

// ErrAddress is the error of an address that no tunnel can be dialled to.
var ErrAddress = errors.New("not a server's address")

// Dial opens a tunnel, of L2TPv2, or of L2TPv3 with TunnelConfig.V3, to an LNS, "host" or "host:port"; the port is 1701 when
// there is none. It returns when the tunnel is established, has failed
// ([PeerError], [AuthError], [TimeoutError], [RefusedError]), or ctx is done, which
// abandons it.
func (e *Endpoint) Dial(ctx context.Context, address string, cfg *TunnelConfig) (*Tunnel, error) {
	peer, err := e.resolve(ctx, address)
	if err != nil {
		return nil, err
	}
	if cfg == nil {
		cfg = &TunnelConfig{}
	}
	if err := cfg.V3.Validate(cfg.Secret); err != nil {
		return nil, err
	}
	var v3 *control.V3
	if cfg.V3 != nil {
		v3 = cfg.V3.control(dialledTypes)
		v3.Fallback = cfg.Fallback
		e.speaksV3.Store(true)
	}
	for again := 0; ; again++ {
		t, err := e.dialOnce(ctx, peer, cfg, v3)
		if !errors.Is(err, ErrEqualTie) || again == equalTiesMost {
			return t, err
		}
	}
}

// dialOnce dials, with a tie breaker that is new each time.
func (e *Endpoint) dialOnce(ctx context.Context, peer netip.AddrPort, cfg *TunnelConfig, v3 *control.V3) (*Tunnel, error) {
	t, err := e.dial(e.pathTo(peer, netip.Addr{}), control.Config{
		HostName:      e.cfg.HostName,
		Secret:        cfg.Secret.bytes(),
		HelloInterval: cfg.HelloInterval,
		HideAVPs:      cfg.HideAVPs && cfg.Secret != "",
		PlacesCalls:   e.cfg.placesCalls(),
		// Who answers as well may meet a peer that dials at the same time.
		TieBreaker:   e.wantsSingle(peer),
		V3:           v3,
		Retries:      cfg.Retries,
		SessionTaken: e.sessionTaken,
	})
	if err != nil {
		return nil, err
	}
	defer e.challenges.remove(t.machine.Challenge())
	defer e.challenges.remove(t.machine.Nonce())
	select {
	case <-t.up:
		return t, nil
	case <-t.done:
		if w := e.lostTo(ctx, t); w != nil {
			return w, nil // the peer has dialled us at the same time, and won
		}
		return nil, t.Err()
	case <-ctx.Done():
		t.stop()
		return nil, ctx.Err()
	}
}

// Accept waits for the next session that a caller has opened: authenticated,
// with its addresses, ready for [Session.Attach].
func (e *Endpoint) Accept(ctx context.Context) (*Session, error) {
	select {
	case s := <-e.accepted:
		return s, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-e.done:
		return nil, e.Err()
	}
}

// Close closes every session and tunnel, waits for at most two seconds until
// their peers have acknowledged that, and closes the socket.
func (e *Endpoint) Close() error {
	e.shut(net.ErrClosed)
	<-e.done
	return nil
}

// Done is closed when the endpoint has closed or its socket has failed.
func (e *Endpoint) Done() <-chan struct{} { return e.done }

// Err is nil until Done is closed; then net.ErrClosed or the socket's error.
func (e *Endpoint) Err() error {
	select {
	case <-e.done:
		return e.err
	default:
		return nil
	}
}

func (e *Endpoint) shut(reason error) {
	e.mu.Lock()
	if e.closing {
		e.mu.Unlock()
		return
	}
	e.closing = true
	e.err = reason
	tunnels := e.everyTunnel()
	e.mu.Unlock()
	go func() {
		e.cancel()
		var wg sync.WaitGroup
		for _, t := range tunnels {
			wg.Go(func() { t.Close() })
		}
		wg.Wait()
		for _, s := range e.socks {
			s.Close()
		}
		e.read.Wait()
		for _, l := range e.loops {
			l.Close()
		}
		e.endCapture()
		close(e.done)
	}()
}

// everyTunnel is all tunnels. mu is held.
func (e *Endpoint) everyTunnel() []*Tunnel {
	return slices.AppendSeq(slices.Collect(maps.Keys(e.all)), maps.Values(e.statics))
}

// takeLoop is the next one for a tunnel. mu is held.
func (e *Endpoint) takeLoop() *loop {
	l := e.loops[e.nextLoop]
	e.nextLoop = (e.nextLoop + 1) % len(e.loops)
	return l
}

// resolve finds the peer's address, of a family that the socket can reach.
func (e *Endpoint) resolve(ctx context.Context, address string) (netip.AddrPort, error) {
	host, port := address, uint16(DefaultPort)
	if h, p, err := net.SplitHostPort(address); err == nil {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil || n == 0 {
			return netip.AddrPort{}, fmt.Errorf("%w: expected a port of 1 to 65535 in %q, found %q", ErrAddress, address, p)
		}
		host, port = h, uint16(n)
	}
	network := "ip"
	switch local := e.Addr().Addr(); {
	case local.Is4() && !local.IsUnspecified():
		network = "ip4"
	case local.Is6() && !local.IsUnspecified():
		network = "ip6"
	}
	if a, err := netip.ParseAddr(host); err == nil {
		a = a.Unmap()
		if network == "ip4" && !a.Is4() || network == "ip6" && !a.Is6() {
			return netip.AddrPort{}, fmt.Errorf("%w: the socket at %v cannot reach %v, which is of the other family", ErrAddress, e.Addr(), a)
		}
		return netip.AddrPortFrom(a, port), nil
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, network, host)
	if err != nil {
		return netip.AddrPort{}, err
	}
	return netip.AddrPortFrom(addrs[0].Unmap(), port), nil
}

// dial makes a tunnel that sends its SCCRQ.
func (e *Endpoint) dial(way *udp.Path, cfg control.Config) (*Tunnel, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closing {
		return nil, net.ErrClosed
	}
	// An SCCRQ that a peer of L2TPv2 is to understand too has room for 16 bits.
	id, err := e.ids.take(e.random, cfg.V3 != nil && !cfg.V3.Fallback)
	if err != nil {
		return nil, err
	}
	owner := &owner{Reader: e.random}
	cfg.Rand, cfg.Traffic, cfg.Sent, cfg.LocalID = owner, owner.traffic, owner.sent, id
	m := control.Dial(time.Now(), cfg)
	e.challenges.add(m.Challenge())
	e.challenges.add(m.Nonce())
	return e.add(id, way, peerID{}, nil, m, owner), nil
}

// An owner is what a machine asks things of: its endpoint, and its tunnel, once it
// has one.
type owner struct {
	io.Reader // random numbers
	tunnel    *Tunnel
}

func (o *owner) traffic() (sent, received uint64) {
	if o.tunnel == nil {
		return 0, 0
	}
	return o.tunnel.traffic()
}

func (o *owner) sent() uint64 {
	if o.tunnel == nil {
		return 0
	}
	return o.tunnel.sentUnmeasured()
}

// add makes a tunnel of a machine, whose id is taken. caller is how the peer names it
// when the peer has opened it, else zero; replaces what goes when it is established, if
// anything. mu is held.
func (e *Endpoint) add(id uint32, way *udp.Path, caller peerID, replaces *Tunnel, m *control.Tunnel, o *owner) *Tunnel {
	t := newTunnel(e, id, way, caller, e.takeLoop(), m)
	t.replaces, o.tunnel = replaces, t
	e.tunnels.set(id, t)
	e.all[t] = struct{}{}
	e.index(t)
	t.runner.Do(func(time.Time) {}) // sends and tells what it has by now
	return t
}

// tunnel is the one that has an id of ours, or nil.
func (e *Endpoint) tunnel(id uint32) *Tunnel {
	if t := e.tunnels.get(id); t != nil && t.id == id {
		return t
	}
	return nil
}

// forget takes a tunnel whose machine has ended out of all tables. On its loop.
func (e *Endpoint) forget(t *Tunnel) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.all, t)
	e.tunnels.set(t.id, nil)
	e.ids.free(t.id)
	e.unindex(t)
	if e.byPeer[t.caller] == t {
		delete(e.byPeer, t.caller)
	}
}

// answer finds the tunnel of a control message that names none, of a peer that does
// not know our id. Nil: there is none, and the message has been seen to.
func (e *Endpoint) answer(from netip.AddrPort, to netip.Addr, h wire.Header, datagram, avps []byte) *Tunnel {
	o, v3, ok := e.opening(h, avps)
	caller := peerID{from, o.TunnelID, v3}
	if ok && o.Type == wire.SCCRQ && e.half != nil && (!v3 || e.answering.V3 != nil) {
		e.sccrq(caller, to, datagram, o.Hidden)
		return nil
	}
	if o.Hidden != nil && e.knows(from) {
		o.TunnelID = e.opened(datagram, v3).AssignedTunnelID
		caller.id = o.TunnelID
	}
	if !ok || o.TunnelID == 0 {
		e.counters.unknownTunnel.Add(1)
		return nil
	}
	e.mu.Lock()
	t := e.byPeer[caller]
	e.mu.Unlock()
	if t == nil && o.Type == wire.StopCCN {
		if e.complete(caller, 0, h, datagram, avps) {
			return nil
		}
		// Of an LNS that refuses our SCCRQ, or does not use our id.
		t = e.stopped(caller)
	}
	if t == nil {
		e.counters.unknownTunnel.Add(1)
	}
	return t
}

func (c *Config) placesCalls() bool { return c.Answer != nil && c.Answer.PlacesCalls }

func (c *Config) answerSecret() []byte {
	if c.Answer == nil {
		return nil
	}
	return c.Answer.Secret.bytes()
}

// lockedReader lets machines on several loops draw from one random source.
type lockedReader struct {
	mu sync.Mutex
	r  io.Reader
}

func (l *lockedReader) Read(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.r.Read(p)
}
