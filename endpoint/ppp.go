package endpoint

import (
	"context"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/control"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/machine"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/ppp"
)

// A pppEnd is an end of PPP in a session: its frames are negotiated here, and IP
// packets come out of it. The pseudowire may be of either version.
type pppEnd struct {
	session  *Session
	link     *ppp.Link
	runner   *machine.Runner[ppp.Event]
	mru      int
	down     bool                   // PPP is over; the loop's
	proved   int                    // the longest packet that comes through, where that has been measured; the loop's
	pieces   atomic.Pointer[pieces] // nil: what is proved is enough for what must pass
	lostKeys atomic.Bool            // MPPE is out of step
	silent   atomic.Bool            // it begins when the peer does
	opening  sync.Mutex             // an encrypted packet is being opened

	// What others may ask for, under the session's lock.
	user              string
	local             netip.Addr
	remote            netip.Addr
	localID, remoteID [8]byte
	dns               []netip.Addr
	account           any // of the Credential, until there is a lease
	lease             *Lease
}

// terminatePPP has PPP end in the session.
func (s *Session) terminatePPP(cfg ppp.Config, mru int) {
	p := &pppEnd{session: s, mru: mru}
	cfg.Rand, cfg.MRU = s.tunnel.ep.random, mru
	cfg.Traffic = s.flow.received // it shows that the peer lives
	cfg.Sent = s.flow.bytesOut.Load
	p.link = ppp.New(cfg)
	p.runner = machine.Drive(s.tunnel.loop.Loop, p.link, p.output)
	s.ppp = p
}

// newCaller is a session that we open, with PPP in it.
func newCaller(t *Tunnel, cfg *PPPConfig) (*Session, error) {
	if cfg == nil {
		cfg = &PPPConfig{}
	}
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	s := newSession(t, false, PseudowirePPP)
	s.terminatePPP(ppp.Config{
		User: cfg.User, Password: cfg.Password.bytes(), Address: cfg.Address,
		Methods: pppMethods(cfg.Methods), NoIPv6: cfg.NoIPv6, MPPE: ppp.MPPEMode(cfg.MPPE),
	}, orDefault(cfg.MRU, defaultMRU))
	s.outgoing, s.wants = cfg.Outgoing, cfg.Sequenced
	return s, nil
}

// newAnswerer is a session that the peer opens, with PPP in it.
func newAnswerer(t *Tunnel) *Session {
	a := t.ep.cfg.Answer
	s := newSession(t, true, PseudowirePPP)
	s.terminatePPP(ppp.Config{
		Server: true, Name: t.ep.cfg.HostName,
		Methods: pppMethods(a.Methods), NoIPv6: a.NoIPv6, MPPE: ppp.MPPEMode(a.MPPE),
	}, a.MRU)
	return s
}

// Addresses are our end's inner addresses, where PPP has negotiated any.
func (s *Session) Addresses() []netip.Prefix {
	p := s.ppp
	if p == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !p.local.IsValid() {
		return nil
	}
	return []netip.Prefix{netip.PrefixFrom(p.local, p.local.BitLen())}
}

// PeerAddress is the other end's inner address, where PPP has negotiated one.
func (s *Session) PeerAddress() netip.Addr {
	if s.ppp == nil {
		return netip.Addr{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ppp.remote
}

// DNS are the servers that the peer named (RFC 1877); none when we answered.
func (s *Session) DNS() []netip.Addr {
	if s.ppp == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ppp.dns
}

// InterfaceIDs are the IPv6 interface identifiers of both ends (RFC 5072), ours
// first: their link-local addresses are fe80::/64 with them. Zero: no IPv6, or no PPP.
func (s *Session) InterfaceIDs() (local, peer [8]byte) {
	if s.ppp == nil {
		return local, peer
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ppp.localID, s.ppp.remoteID
}

// User is the caller's name when we answered, as it was authenticated.
func (s *Session) User() string {
	if s.ppp == nil {
		return ""
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ppp.user
}

// Lease is what the pool gave to a caller who stands; ok tells whether it did.
func (s *Session) Lease() (l Lease, ok bool) {
	if s.ppp == nil {
		return Lease{}, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ppp.lease == nil {
		return Lease{}, false
	}
	return *s.ppp.lease, true
}

// open starts PPP. On the loop.
func (p *pppEnd) open(now time.Time, proxy *control.Proxy) {
	p.runner.DoNow(now, func(now time.Time) { p.link.OpenProxied(now, p.proxied(proxy)) })
}

// proxied is what a LAC has negotiated in our place, if it may do so: its word is
// taken for what the user has proved, which only one who knows the tunnel secret may
// ask of us.
func (p *pppEnd) proxied(by *control.Proxy) ppp.Proxy {
	s := p.session
	if by == nil || !s.answer || s.tunnel.ep.cfg.Answer.Secret == "" {
		return ppp.Proxy{}
	}
	s.log.Info("the LAC has negotiated for us", "user", shown(by.ProxyAuthenName))
	return ppp.Proxy{
		LastSent: by.LastSentLCPConfReq, LastReceived: by.LastReceivedLCPConfReq,
		AuthenType: by.ProxyAuthenType, Name: by.ProxyAuthenName, Challenge: by.ProxyAuthenChallenge,
		ID: uint8(by.ProxyAuthenID), Response: by.ProxyAuthenResponse,
	}
}

// output takes what PPP has to send and to tell, on the loop.
func (p *pppEnd) output(now time.Time, packet []byte, event ppp.Event) {
	s := p.session
	switch ev := event.(type) {
	case nil:
		if p.runner.Held() && p.link.Ending() { // an answer may not come: it does not wait for that one
			p.runner.Resume(now)
		}
		s.sendFrame(packet)
	case ppp.AuthQuestion:
		s.setState(SessionAuthenticating)
		go p.authenticate(ev)
	case ppp.Authenticated:
		s.mu.Lock()
		p.user = ev.User
		s.mu.Unlock()
		s.log.Info("authenticated", "method", ev.Method, "user", shown(ev.User))
		s.setState(SessionConfiguring)
	case ppp.AddressQuestion:
		go p.assign(ev)
	case ppp.Up:
		if p.moved(p.local.IsValid() && (p.local != ev.Local || p.remote != ev.Peer)) {
			return
		}
		s.mu.Lock()
		p.local, p.remote, p.dns = ev.Local, ev.Peer, ev.DNS
		s.mu.Unlock()
		s.carry(func(c *carriage) { c.negotiated4, c.encryption = min(ev.MTU, p.mru), ev.Encryption })
		p.measure()
		s.log.Info("IPv4 up", "local", ev.Local, "remote", ev.Peer, "dns", ev.DNS, "mtu", ev.MTU, "encryption", ev.Encryption.String())
	case ppp.Up6:
		if p.moved(p.localID != [8]byte{} && (p.localID != ev.Local || p.remoteID != ev.Peer)) {
			return
		}
		s.mu.Lock()
		p.localID, p.remoteID = ev.Local, ev.Peer
		s.mu.Unlock()
		s.carry(func(c *carriage) { c.negotiated6, c.encryption = min(ev.MTU, p.mru), ev.Encryption })
		p.measure()
		s.log.Info("IPv6 up", "local", LinkLocal(ev.Local), "remote", LinkLocal(ev.Peer), "mtu", ev.MTU, "encryption", ev.Encryption.String())
	case ppp.NetworkDown:
		s.carry(func(c *carriage) {
			if ev.Protocol == ppp.ProtocolIPv6 {
				c.negotiated6 = 0
			} else {
				c.negotiated4 = 0
			}
		})
	case ppp.Whole:
		s.sendFrameWhole(ev.Frame)
	case ppp.PathMTU:
		p.proved = ev.MTU
		p.cutToPieces()
		s.carry(func(*carriage) {})
		s.log.Info("long packets do not come through, nor does word of it", "mtu inside", s.MTU(), "longest", ev.MTU)
	case ppp.Settled:
		s.settled()
	case ppp.Notice:
		s.log.Info("the peer says", "in", ev.Packet, "text", shown(ev.Text))
	case ppp.Down:
		s.carries.Store(&carriage{})
		s.setErr(publicError(ev.Err))
		p.down = true
		if s.hungUp {
			s.finish()
			return
		}
		s.hangup(cdn(ev.Err))
	}
}

// moved ends a session whose peer has renegotiated other addresses than those that
// its owner has set up: it would stand there and carry nothing. On the loop.
func (p *pppEnd) moved(other bool) bool {
	if other {
		p.session.setErr(&PPPError{words: "the peer has given other addresses to a session that was up"})
		p.runner.Do(func(now time.Time) { p.link.Close(now, "other addresses than before") })
	}
	return other
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
func (p *pppEnd) authenticate(q ppp.AuthQuestion) {
	s := p.session
	c, err := s.tunnel.ep.cfg.Answer.Authenticate(lifetime{s}, AuthRequest{User: q.User, Method: publicMethod(q.Method), Peer: s.tunnel.Peer()})
	if err != nil {
		s.log.Warn("user refused", "user", shown(q.User), "reason", err)
	}
	s.mu.Lock()
	p.account = c.Account
	s.mu.Unlock()
	p.runner.Do(func(now time.Time) {
		p.link.Credential(now, ppp.Credential{Password: c.Password.bytes(), NTHash: c.NTHash}, err)
	})
}

// assign asks the pool for addresses, which it gets back when the session is
// over, or was before the answer came.
func (p *pppEnd) assign(q ppp.AddressQuestion) {
	s := p.session
	pool := s.tunnel.ep.cfg.Answer.Pool
	s.mu.Lock()
	account := p.account
	p.account = nil
	s.mu.Unlock()
	l, err := pool.Assign(lifetime{s}, AddressRequest{User: q.User, Account: account, Peer: s.tunnel.Peer()})
	if err != nil {
		s.log.Warn("no address for a caller", "user", shown(q.User), "error", err)
	} else {
		s.mu.Lock()
		over := s.state == SessionDown
		if !over {
			p.lease = &l
		}
		s.mu.Unlock()
		if over {
			pool.Release(l)
			return
		}
	}
	p.runner.Do(func(now time.Time) {
		p.link.Assign(now, ppp.Assignment{Local: l.Local, Peer: l.Peer, DNS: l.DNS}, err)
	})
}

// release gives back what the pool has given: the session is down.
func (p *pppEnd) release() {
	s := p.session
	s.mu.Lock()
	lease := p.lease
	p.lease = nil
	s.mu.Unlock()
	if lease != nil {
		s.tunnel.ep.cfg.Answer.Pool.Release(*lease)
	}
}
