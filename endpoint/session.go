package endpoint

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/control"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/machine"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/ppp"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
	"github.com/l2tpnet/l2tpnet/endpoint/link"
)

// A Session is one pseudowire, with PPP in it (RFC 2661 §5.2). It is a
// [link.Sink] for IP packets on their way out, and has one attached for those
// that come in.
type Session struct {
	tunnel *Tunnel
	log    tagged
	answer bool // the peer called

	id       uint32 // ours; set on the loop before anybody can see it
	link     *ppp.Link
	runner   *machine.Runner[ppp.Event]
	mru      int
	outgoing *OutgoingCall // what we ask the peer to place; nil: we tell it of a call
	hungUp   bool          // the call is over; the loop's
	pppDown  bool          // PPP is over; the loop's
	proved   int           // the longest packet that comes through, where that has been measured; the loop's

	peerTunnel, peerID uint32        // the peer's; set before the first frame goes out
	sequenced          bool          // frames carry Ns; as peerID
	ns                 atomic.Uint32 // of the next frame, modulo 65536

	carries  atomic.Pointer[carriage] // never nil
	sealing  sync.Mutex               // of the Sealer and what it has sealed
	lostKeys atomic.Bool              // MPPE is out of step
	pathMax  atomic.Int32             // of which the MTUs are made: the path's MaxDatagram
	sink     atomic.Pointer[link.Sink]
	waiting  waitingRoom
	flow     flow

	ready chan struct{} // closed when all that is wanted has come up, or will not
	done  chan struct{} // closed when the session is over

	mu                sync.Mutex // what others may ask for
	state             SessionState
	user              string
	local             netip.Addr
	remote            netip.Addr
	localID, remoteID [8]byte
	dns               []netip.Addr
	err               error // why it is over, or is going to be
	account           any   // of the Credential, until there is a lease
	lease             *Lease
	after             func() // of AfterDone
	created           time.Time
}

// SessionState is how far a session has come.
type SessionState string

const (
	SessionCalling        SessionState = "calling"        // ICRQ, ICRP, ICCN
	SessionNegotiating    SessionState = "negotiating"    // LCP
	SessionAuthenticating SessionState = "authenticating" // a caller has said who it is
	SessionConfiguring    SessionState = "configuring"    // IPCP
	SessionUp             SessionState = "up"
	SessionClosing        SessionState = "closing"
	SessionDown           SessionState = "down"
)

func newSession(t *Tunnel, answer bool, cfg ppp.Config, mru int) *Session {
	s := &Session{
		tunnel: t, answer: answer, log: tagged{tunnel: t}, mru: mru,
		ready: make(chan struct{}), done: make(chan struct{}),
		state: SessionCalling, created: time.Now(),
	}
	s.carries.Store(&carriage{})
	cfg.Rand, cfg.MRU = t.ep.random, mru
	cfg.Traffic = s.flow.received // it shows that the peer lives
	s.link = ppp.New(cfg)
	s.runner = machine.Drive(t.loop, s.link, s.output)
	return s
}

// newCaller is a session that we open.
func newCaller(t *Tunnel, cfg *PPPConfig) (*Session, error) {
	if cfg == nil {
		cfg = &PPPConfig{}
	}
	mru := orDefault(cfg.MRU, defaultMRU)
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	s := newSession(t, false, ppp.Config{
		User: cfg.User, Password: cfg.Password.bytes(), Address: cfg.Address,
		Methods: pppMethods(cfg.Methods), NoIPv6: cfg.NoIPv6, MPPE: ppp.MPPEMode(cfg.MPPE),
	}, mru)
	s.outgoing, s.sequenced = cfg.Outgoing, cfg.Sequenced
	return s, nil
}

// newAnswerer is a session that the peer opens.
func newAnswerer(t *Tunnel, id uint32) *Session {
	a := t.ep.cfg.Answer
	s := newSession(t, true, ppp.Config{
		Server: true, Name: t.ep.cfg.HostName,
		Methods: pppMethods(a.Methods), NoIPv6: a.NoIPv6, MPPE: ppp.MPPEMode(a.MPPE),
	}, a.MRU)
	s.named(id)
	return s
}

func (s *Session) named(id uint32) {
	s.id = id
	s.log.session = id
}

// call places the call, on the loop.
func (s *Session) call(now time.Time) {
	if c := s.outgoing; c != nil {
		s.named(s.tunnel.machine.PlaceCall(now, control.OutgoingCall{
			CalledNumber: c.Number, SubAddress: c.SubAddress, MinimumBPS: c.MinimumBPS, MaximumBPS: c.MaximumBPS,
		}))
	} else {
		s.named(s.tunnel.machine.Call(now, control.CallConfig{Line: control.Line{SequencingRequired: s.sequenced}}))
	}
	s.tunnel.setSession(s.id, s)
}

// Tunnel is the tunnel that the session runs in.
func (s *Session) Tunnel() *Tunnel { return s.tunnel }

// Addresses are our end's inner addresses.
func (s *Session) Addresses() []netip.Prefix {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.local.IsValid() {
		return nil
	}
	return []netip.Prefix{netip.PrefixFrom(s.local, s.local.BitLen())}
}

// PeerAddress is the other end's inner address.
func (s *Session) PeerAddress() netip.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.remote
}

// DNS are the servers that the peer named (RFC 1877); none when we answered.
func (s *Session) DNS() []netip.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dns
}

// InterfaceIDs are the IPv6 interface identifiers of both ends (RFC 5072), ours
// first: their link-local addresses are fe80::/64 with them. Zero: no IPv6.
func (s *Session) InterfaceIDs() (local, peer [8]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.localID, s.remoteID
}

// User is the caller's name when we answered, as it was authenticated.
func (s *Session) User() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.user
}

// Lease is what the pool gave to a caller who stands; ok tells whether it did.
func (s *Session) Lease() (l Lease, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lease == nil {
		return Lease{}, false
	}
	return *s.lease, true
}

// Done is closed when the session is over.
func (s *Session) Done() <-chan struct{} { return s.done }

// AfterDone has f called on a goroutine of its own when the session is over, or at
// once if it is: for those with so many sessions that goroutines which wait would cost
// more than these do. There is one such f, the one given last.
func (s *Session) AfterDone(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == SessionDown {
		go func() { <-s.done; f() }()
		return
	}
	s.after = f
}

// Err is nil while the session stands. Then it is net.ErrClosed when Close was
// called, else why it ended.
func (s *Session) Err() error {
	select {
	case <-s.done:
	default:
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Close terminates PPP, ends the session by a CDN, and returns when it is over.
func (s *Session) Close() error {
	s.terminate()
	return nil
}

// terminate gives PPP a moment to say goodbye; the CDN does not wait for more.
func (s *Session) terminate() {
	s.setErr(net.ErrClosed)
	s.runner.Do(func(now time.Time) { s.link.Close(now, "") })
	grace := time.NewTimer(terminateGrace)
	defer grace.Stop()
	select {
	case <-s.done:
	case <-grace.C:
		s.hangup(wire.Result{Code: wire.CallAdministrative})
		select {
		case <-s.done:
		case <-s.tunnel.done:
		}
	}
}

// setErr notes why the session ends; the first reason counts.
func (s *Session) setErr(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
		s.state = SessionClosing
	}
}

func (s *Session) setState(state SessionState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.state = state
	}
}

func (s *Session) hangup(r wire.Result) {
	s.tunnel.runner.Do(func(now time.Time) {
		if s.id != 0 {
			s.tunnel.machine.Hangup(now, s.id, r)
		}
	})
}

// connected starts PPP: the call stands. On the loop, and at once: the peer's first
// frame may be right behind its ICCN.
func (s *Session) connected(now time.Time, ev control.SessionUp) {
	s.peerTunnel, s.peerID, s.sequenced = s.tunnel.machine.PeerID(), ev.PeerSession, ev.SequencingRequired
	s.setState(SessionNegotiating)
	s.log.Info("session connected", "peer session", ev.PeerSession)
	s.runner.DoNow(now, func(now time.Time) { s.link.OpenProxied(now, s.proxied(ev.Proxy)) })
}

// proxied is what a LAC has negotiated in our place, if it may do so: its word is
// taken for what the user has proved, which only one who knows the tunnel secret may
// ask of us.
func (s *Session) proxied(p *control.Proxy) ppp.Proxy {
	if p == nil || !s.answer || s.tunnel.ep.cfg.Answer.Secret == "" {
		return ppp.Proxy{}
	}
	s.log.Info("the LAC has negotiated for us", "user", shown(p.ProxyAuthenName))
	return ppp.Proxy{
		LastSent: p.LastSentLCPConfReq, LastReceived: p.LastReceivedLCPConfReq,
		AuthenType: p.ProxyAuthenType, Name: p.ProxyAuthenName, Challenge: p.ProxyAuthenChallenge,
		ID: uint8(p.ProxyAuthenID), Response: p.ProxyAuthenResponse,
	}
}

// disconnected takes that the call is over, and why: the control machine has
// let the id go. PPP may know better. On the loop, once.
func (s *Session) disconnected(now time.Time, err error) {
	s.tunnel.setSession(s.id, nil)
	s.tunnel.past.add(s.flow.traffic())
	s.hungUp = true
	if s.pppDown {
		s.finish()
		return
	}
	s.runner.DoNow(now, func(now time.Time) { s.link.Lost(now, err) })
}

// finish ends it all, when both the call and PPP are over. On the loop.
func (s *Session) finish() {
	s.runner.Stop()
	s.mu.Lock()
	s.state = SessionDown
	err, lease, after := s.err, s.lease, s.after
	s.lease, s.after = nil, nil
	s.mu.Unlock()
	if lease != nil {
		s.tunnel.ep.cfg.Answer.Pool.Release(*lease)
	}
	level := slog.LevelInfo
	if _, ok := errors.AsType[*AuthError](err); ok && s.answer {
		level = slog.LevelWarn // somebody was refused
	}
	s.log.Log(s.tunnel.ep.ctx, level, "session down", "reason", reason(err))
	close(s.done)
	if after != nil {
		go after()
	}
}

// output takes what PPP has to send and to tell, on the loop.
func (s *Session) output(now time.Time, packet []byte, event ppp.Event) {
	switch ev := event.(type) {
	case nil:
		s.sendFrame(packet)
	case ppp.AuthQuestion:
		s.setState(SessionAuthenticating)
		go s.authenticate(ev)
	case ppp.Authenticated:
		s.mu.Lock()
		s.user = ev.User
		s.mu.Unlock()
		s.log.Info("authenticated", "method", ev.Method, "user", shown(ev.User))
		s.setState(SessionConfiguring)
	case ppp.AddressQuestion:
		go s.assign(ev)
	case ppp.Up:
		if s.moved(s.local.IsValid() && (s.local != ev.Local || s.remote != ev.Peer)) {
			return
		}
		s.mu.Lock()
		s.local, s.remote, s.dns = ev.Local, ev.Peer, ev.DNS
		s.mu.Unlock()
		s.carry(func(c *carriage) { c.negotiated4, c.encryption = min(ev.MTU, s.mru), ev.Encryption })
		s.measure()
		s.log.Info("IPv4 up", "local", ev.Local, "remote", ev.Peer, "dns", ev.DNS, "mtu", ev.MTU, "encryption", ev.Encryption.String())
	case ppp.Up6:
		if s.moved(s.localID != [8]byte{} && (s.localID != ev.Local || s.remoteID != ev.Peer)) {
			return
		}
		s.mu.Lock()
		s.localID, s.remoteID = ev.Local, ev.Peer
		s.mu.Unlock()
		s.carry(func(c *carriage) { c.negotiated6, c.encryption = min(ev.MTU, s.mru), ev.Encryption })
		s.measure()
		s.log.Info("IPv6 up", "local", LinkLocal(ev.Local), "remote", LinkLocal(ev.Peer), "mtu", ev.MTU, "encryption", ev.Encryption.String())
	case ppp.NetworkDown:
		s.carry(func(c *carriage) {
			if ev.Protocol == ppp.ProtocolIPv6 {
				c.negotiated6 = 0
			} else {
				c.negotiated4 = 0
			}
		})
	case ppp.PathMTU:
		s.proved = ev.MTU
		s.carry(func(*carriage) {})
		s.log.Info("long packets do not come through, nor does word of it", "mtu inside", s.MTU(), "longest", ev.MTU)
	case ppp.Settled:
		s.settled()
	case ppp.Notice:
		s.log.Info("the peer says", "in", ev.Packet, "text", shown(ev.Text))
	case ppp.Down:
		s.carries.Store(&carriage{})
		s.setErr(publicError(ev.Err))
		s.pppDown = true
		if s.hungUp {
			s.finish()
			return
		}
		s.hangup(cdn(ev.Err))
	}
}

// moved ends a session whose peer has renegotiated other addresses than those that
// its owner has set up: it would stand there and carry nothing. On the loop.
func (s *Session) moved(other bool) bool {
	if other {
		s.setErr(&PPPError{words: "the peer has given other addresses to a session that was up"})
		s.runner.Do(func(now time.Time) { s.link.Close(now, "other addresses than before") })
	}
	return other
}

// LinkLocal is the link-local address with an interface identifier.
func LinkLocal(id [8]byte) netip.Addr {
	a := [16]byte{0xfe, 0x80}
	copy(a[8:], id[:])
	return netip.AddrFrom16(a)
}

// settled tells those who wait that the session is complete. On the loop, once.
func (s *Session) settled() {
	close(s.ready)
	if !s.answer {
		return
	}
	select {
	case s.tunnel.ep.accepted <- s:
	default:
		s.tunnel.ep.counters.notAccepted.Add(1)
		s.setErr(fmt.Errorf("%d sessions wait to be accepted", acceptBacklog))
		s.hangup(wire.Result{Code: wire.CallNoFacilities})
	}
}

// lifetime is a context that ends with the session. A [context.WithCancel] for each
// would cost it, and the endpoint, 200 octets for as long as it stands.
type lifetime struct{ session *Session }

func (lifetime) Deadline() (deadline time.Time, ok bool) { return }
func (l lifetime) Done() <-chan struct{}                 { return l.session.done }
func (lifetime) Value(any) any                           { return nil }

func (l lifetime) Err() error {
	select {
	case <-l.session.done:
		return context.Canceled
	default:
		return nil
	}
}

// authenticate asks the user's authenticator, which may take its time.
func (s *Session) authenticate(q ppp.AuthQuestion) {
	c, err := s.tunnel.ep.cfg.Answer.Authenticate(lifetime{s}, AuthRequest{User: q.User, Method: publicMethod(q.Method), Peer: s.tunnel.Peer()})
	if err != nil {
		s.log.Warn("user refused", "user", shown(q.User), "reason", err)
	}
	s.mu.Lock()
	s.account = c.Account
	s.mu.Unlock()
	s.runner.Do(func(now time.Time) {
		s.link.Credential(now, ppp.Credential{Password: c.Password.bytes(), NTHash: c.NTHash}, err)
	})
}

// assign asks the pool for addresses, which it gets back when the session is
// over, or was before the answer came.
func (s *Session) assign(q ppp.AddressQuestion) {
	pool := s.tunnel.ep.cfg.Answer.Pool
	s.mu.Lock()
	account := s.account
	s.account = nil
	s.mu.Unlock()
	l, err := pool.Assign(lifetime{s}, AddressRequest{User: q.User, Account: account, Peer: s.tunnel.Peer()})
	if err != nil {
		s.log.Warn("no address for a caller", "user", shown(q.User), "error", err)
	} else {
		s.mu.Lock()
		over := s.state == SessionDown
		if !over {
			s.lease = &l
		}
		s.mu.Unlock()
		if over {
			pool.Release(l)
			return
		}
	}
	s.runner.Do(func(now time.Time) {
		s.link.Assign(now, ppp.Assignment{Local: l.Local, Peer: l.Peer, DNS: l.DNS}, err)
	})
}

// Attach gives the session the sink for what comes in. Up to 16 packets that came
// before the first one was attached are handed to it at once. Nil takes the sink
// away: packets are dropped and counted then. An [MTUSetter] is told the MTU.
func (s *Session) Attach(sink link.Sink) {
	if sink == nil {
		s.sink.Store(nil)
		return
	}
	s.waiting.leave(sink, func() { s.sink.Store(&sink) })
	if _, ok := sink.(MTUSetter); ok {
		s.runner.Do(func(time.Time) { s.tellMTU(s.MTU()) })
	}
}
