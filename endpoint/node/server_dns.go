package node

import (
	"context"
	"net"
	"net/netip"

	"github.com/l2tpnet/l2tpnet/proxy"
)

// resolvConf is where the host's DNS servers are.
const resolvConf = "/etc/resolv.conf"

// resolvers are the servers that the gateway forwards questions to; nil: it does not.
func (s *Server) resolvers() func() []netip.AddrPort {
	switch {
	case len(s.ForwardDNS) > 0:
		return proxy.FixedServers(s.ForwardDNS...)
	case s.Egress != nil && s.Egress.Dialer == nil && s.DNS == nil:
		return proxy.HostServers(resolvConf)
	}
	return nil
}

// openDNS has the gateway's addresses answer questions, by UDP and TCP.
func (s *Server) openDNS() error {
	servers := s.resolvers()
	if servers == nil {
		return nil
	}
	d := &proxy.DNS{Servers: servers, Dialer: &net.Dialer{}, Source: s.sourceOf, Logger: s.log}
	if s.Egress != nil && s.Egress.Dialer != nil {
		d.Dialer = s.Egress.Dialer
	}
	ctx, stop := context.WithCancel(context.Background())
	s.stopDNS = stop
	for _, a := range s.addresses.gateways() {
		at := netip.AddrPortFrom(a, 53).String()
		conn, err := s.stack.ListenPacket("udp", at)
		if err != nil {
			return err
		}
		s.running.Go(func() { d.Serve(ctx, conn) })
		ln, err := s.stack.Listen("tcp", at)
		if err != nil {
			return err
		}
		s.running.Go(func() { d.ServeTCP(ctx, ln) })
	}
	return nil
}

// sourceOf is what the questions of a session are counted by, whichever of its
// addresses they come from: it may have a network of them.
func (s *Server) sourceOf(client netip.Addr) netip.Prefix {
	s.mu.Lock()
	defer s.mu.Unlock()
	for bits := client.BitLen(); bits >= 0; bits-- {
		p, _ := client.Prefix(bits)
		if c := s.owners[p]; c != nil {
			return c.owns()[0]
		}
	}
	return netip.PrefixFrom(client, client.BitLen()) // it has just gone
}
