package node

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	"github.com/l2tpnet/l2tpnet/endpoint"
)

// Endpoint is the endpoint that is called, for [endpoint.Endpoint.Capture] and the
// like; nil before Start.
func (s *Server) Endpoint() *endpoint.Endpoint {
	if s.started() != nil {
		return nil
	}
	return s.endpoint
}

// Addr is the UDP address that the server answers on; the zero value before Start.
func (s *Server) Addr() netip.AddrPort {
	if s.started() != nil {
		return netip.AddrPort{}
	}
	return s.endpoint.Addr()
}

// Gateways are our own addresses inside: the IPv4 one, then the IPv6 one, if there is
// one. None before Start.
func (s *Server) Gateways() []netip.Addr {
	if s.started() != nil {
		return nil
	}
	return s.addresses.gateways()
}

// Done is closed when the server has closed or its socket has failed; nil before
// Start.
func (s *Server) Done() <-chan struct{} {
	if s.started() != nil {
		return nil
	}
	return s.endpoint.Done()
}

// Err is nil until Done is closed; then net.ErrClosed or the socket's error.
func (s *Server) Err() error {
	if s.started() != nil {
		return nil
	}
	return s.endpoint.Err()
}

// Dial is DialContext without a context.
func (s *Server) Dial(network, address string) (net.Conn, error) {
	return s.DialContext(context.Background(), network, address)
}

// DialContext opens a connection to a caller, or to what is behind it, as
// [netstack.Stack.DialContext] does. No name is resolved.
func (s *Server) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if err := s.started(); err != nil {
		return nil, fmt.Errorf("dial %s %s: %w", network, address, err)
	}
	return s.stack.DialContext(ctx, network, address)
}

// Listen opens a TCP listener inside, for callers: ":80" is port 80 of the gateway's
// addresses ([netstack.Stack.Listen]).
func (s *Server) Listen(network, address string) (net.Listener, error) {
	if err := s.started(); err != nil {
		return nil, fmt.Errorf("listen %s %s: %w", network, address, err)
	}
	return s.stack.Listen(network, address)
}

// ListenPacket opens a UDP socket inside, for callers, as Listen does
// ([netstack.Stack.ListenPacket]).
func (s *Server) ListenPacket(network, address string) (net.PacketConn, error) {
	if err := s.started(); err != nil {
		return nil, fmt.Errorf("listen %s %s: %w", network, address, err)
	}
	return s.stack.ListenPacket(network, address)
}
