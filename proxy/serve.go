package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"
)

// A Dialer opens connections, resolving names by itself: a tunnel's stack, or
// a [net.Dialer]. Errors that errors.Is tells to be ECONNREFUSED, EHOSTUNREACH
// or ENETUNREACH, time-outs and [net.DNSError] reach the client as such.
type Dialer interface {
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
}

// Limits bound what the clients of one call of Serve may use. Zero values are
// the defaults, negative ones mean no limit.
type Limits struct {
	// Flows is the number of connections at once, those in their handshake
	// included. What comes on top is reset. 0: 1,024.
	Flows int
	// FlowsPerSource is that number for one source, which is an IPv4 address
	// or an IPv6 network of 64 bits. 0: 256.
	FlowsPerSource int
	// HandshakeTimeout bounds the time from accepting a connection to having
	// read its request. 0: 10 s.
	HandshakeTimeout time.Duration
	// DialTimeout bounds the dialling of one target. 0: 30 s.
	DialTimeout time.Duration
}

const (
	// complainEvery is how often a client's misconduct is logged, at most.
	complainEvery = 10 * time.Second
	// acceptDelay and acceptDelayMax are how long accepting pauses after an
	// error that will pass, the first time and at most.
	acceptDelay    = 5 * time.Millisecond
	acceptDelayMax = time.Second
)

// withDefaults is l with its zeros replaced; what is negative stays so.
func (l Limits) withDefaults() Limits {
	if l.Flows == 0 {
		l.Flows = 1024
	}
	if l.FlowsPerSource == 0 {
		l.FlowsPerSource = 256
	}
	if l.HandshakeTimeout == 0 {
		l.HandshakeTimeout = 10 * time.Second
	}
	if l.DialTimeout == 0 {
		l.DialTimeout = 30 * time.Second
	}
	return l
}

// A server is one call of Serve: it accepts, counts, and has flow called for
// each connection on a goroutine of its own.
type server struct {
	limits Limits
	log    *slog.Logger
	flow   func(ctx context.Context, s *server, client net.Conn)
	source func(client net.Addr) netip.Prefix // what a client counts as

	mu         sync.Mutex
	flows      int
	bySource   map[netip.Prefix]int
	complaints int       // since the last one that was logged
	complained time.Time // when that was
}

func newServer(l Limits, log *slog.Logger, flow func(context.Context, *server, net.Conn)) *server {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &server{limits: l.withDefaults(), log: log, flow: flow, source: sourceOf, bySource: make(map[netip.Prefix]int)}
}

// serve accepts until ctx is done, and then returns nil, or until the listener
// fails, and then returns why. Either way ln and all connections are closed.
func (s *server) serve(ctx context.Context, ln net.Listener) error {
	var running sync.WaitGroup
	defer running.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer ln.Close()
	stop := context.AfterFunc(ctx, func() { ln.Close() })
	defer stop()

	delay := acceptDelay
	for {
		client, err := ln.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				abort(client)
			}
			return nil
		case passing(err):
			s.log.Warn("accepting a connection failed, will try again", "listener", ln.Addr(), "error", err, "in", delay)
			select {
			case <-ctx.Done():
			case <-time.After(delay):
			}
			delay = min(2*delay, acceptDelayMax)
			continue
		case err != nil:
			return err
		}
		delay = acceptDelay
		source := s.source(client.RemoteAddr())
		if err := s.enter(source); err != nil {
			s.complain("connection refused", "client", client.RemoteAddr(), "error", err)
			abort(client)
			continue
		}
		running.Go(func() {
			defer s.leave(source)
			s.flow(ctx, s, client)
		})
	}
}

// passing tells whether an error of Accept is one that passes: the resources
// of the process or the system are used up, or a client has gone already.
func passing(err error) bool {
	for _, e := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// sourceOf is what a client counts as: its IPv4 address, or its IPv6 network of
// 64 bits, all addresses of which one host may have. Clients whose address is
// not IP count as one.
func sourceOf(a net.Addr) netip.Prefix {
	ap := addrPort(a)
	bits := 32
	if ap.Addr().Is6() {
		bits = 64
	}
	p, _ := ap.Addr().Prefix(bits)
	return p
}

// addrPort is the IP address and port of a, without a zone; the zero value when
// it has none.
func addrPort(a net.Addr) netip.AddrPort {
	if a == nil {
		return netip.AddrPort{}
	}
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port())
}

// enter counts a connection in. It returns the limit that forbids it; nil: none.
func (s *server) enter(source netip.Prefix) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.limits.Flows; n > 0 && s.flows >= n {
		return fmt.Errorf("%d are open, which is the limit", n)
	}
	if n := s.limits.FlowsPerSource; n > 0 && s.bySource[source] >= n {
		return fmt.Errorf("%d from %v are open, which is the limit for one source", n, source)
	}
	s.flows++
	s.bySource[source]++
	return nil
}

func (s *server) leave(source netip.Prefix) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flows--
	if s.bySource[source]--; s.bySource[source] == 0 {
		delete(s.bySource, source)
	}
}

// complain logs what clients do wrong. A flood of them does not flood the log.
func (s *server) complain(message string, args ...any) {
	s.mu.Lock()
	s.complaints++
	n, now := s.complaints, time.Now()
	due := now.Sub(s.complained) >= complainEvery
	if due {
		s.complaints, s.complained = 0, now
	}
	s.mu.Unlock()
	if due {
		s.log.Warn(message, append(args, "complaints", n)...)
	}
}

// dialContext is ctx with the time limit for dialling.
func (s *server) dialContext(ctx context.Context) (context.Context, context.CancelFunc) {
	if s.limits.DialTimeout < 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, s.limits.DialTimeout)
}

// carry is the part of a flow that follows the dialling.
func (s *server) carry(ctx context.Context, client, target net.Conn, first []byte, name string) {
	log := s.log.With("client", client.RemoteAddr(), "target", name)
	log.Debug("connected", "local", target.LocalAddr())
	up, down, err := splice(ctx, client, target, first, nil)
	if err != nil {
		log.Debug("cut short", "up", up, "down", down, "error", err)
		return
	}
	log.Debug("ended", "up", up, "down", down)
}
