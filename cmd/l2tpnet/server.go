package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"

	"github.com/l2tpnet/l2tpnet/endpoint"
	"github.com/l2tpnet/l2tpnet/netstack"
)

// A server is an endpoint that answers, and one stack that all its sessions are
// routed to.
type server struct {
	endpoint *endpoint.Endpoint
	stack    *netstack.Stack
	router   *netstack.Router
	log      *slog.Logger
	// notify, if set, is told of every session that is up, and that it is over.
	notify func(s *endpoint.Session, up bool)
}

func newServer(log *slog.Logger, listen string, answer *endpoint.AnswerConfig, gateway netip.Addr, mtu int) (_ *server, err error) {
	s := &server{log: log}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.stack, err = netstack.New(&netstack.Config{Logger: log}); err != nil {
		return nil, err
	}
	s.router, err = s.stack.AddRouted(&netstack.RoutedConfig{
		Addresses: []netip.Addr{gateway}, MTU: mtu,
	})
	if err != nil {
		return nil, err
	}
	s.endpoint, err = endpoint.Listen("udp", listen, &endpoint.Config{Logger: log, Answer: answer})
	return s, err
}

// run joins every session to the stack until the endpoint closes or ctx is done.
func (s *server) run(ctx context.Context) error {
	for {
		session, err := s.endpoint.Accept(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		go s.join(session)
	}
}

func (s *server) join(session *endpoint.Session) {
	peer := session.PeerAddress()
	if !peer.IsValid() {
		s.log.Warn("a caller has no IPv4, and nothing else is routed here", "user", session.User())
		session.Close()
		return
	}
	id, _ := session.InterfaceIDs()
	port, err := s.router.Attach(&netstack.PortConfig{
		Prefixes: []netip.Prefix{netip.PrefixFrom(peer, peer.BitLen())}, MTU: session.MTU(), InterfaceID: id,
	}, session)
	if err != nil {
		s.log.Error("a session cannot be routed", "user", session.User(), "error", err)
		session.Close()
		return
	}
	defer port.Close()
	session.Attach(port)
	if s.notify != nil {
		s.notify(session, true)
		defer s.notify(session, false)
	}
	<-session.Done()
	if err := session.Err(); !errors.Is(err, net.ErrClosed) {
		s.log.Info("session ended", "user", session.User(), "reason", err)
	}
}

func (s *server) close() {
	if s.endpoint != nil {
		s.endpoint.Close()
	}
	if s.stack != nil {
		s.stack.Close()
	}
}
