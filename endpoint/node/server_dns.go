package node

import (
	"context"
	"net"
	"net/netip"
	"sync"

	"github.com/l2tpnet/l2tpnet/netstack"
	"github.com/l2tpnet/l2tpnet/proxy"
)

// resolvConf is where the host's DNS servers are.
const resolvConf = "/etc/resolv.conf"

// resolvers are the servers that the gateway forwards questions to; nil: it does not.
func (s *Server) resolvers() func() []netip.AddrPort {
	return resolvers(s.ForwardDNS, s.Egress, s.DNS)
}

// resolvers are the servers that a gateway forwards questions to: those that it is given,
// or the host's where clients reach what the host reaches and are told of no others.
func resolvers(forward []netip.AddrPort, egress *Egress, told []netip.Addr) func() []netip.AddrPort {
	switch {
	case len(forward) > 0:
		return proxy.FixedServers(forward...)
	case egress != nil && egress.Dialer == nil && told == nil:
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
	stop, err := serveDNS(d, s.stack, s.addresses.gateways(), &s.running)
	s.stopDNS = stop
	return err
}

// serveDNS has addresses of a stack answer questions, by UDP and TCP, until stop is called.
// What has been begun when there is an error has to be stopped as well.
func serveDNS(d *proxy.DNS, stack *netstack.Stack, addresses []netip.Addr, running *sync.WaitGroup) (stop context.CancelFunc, err error) {
	ctx, stop := context.WithCancel(context.Background())
	for _, a := range addresses {
		at := netip.AddrPortFrom(a, 53).String()
		conn, err := stack.ListenPacket("udp", at)
		if err != nil {
			return stop, err
		}
		running.Go(func() { d.Serve(ctx, conn) })
		ln, err := stack.Listen("tcp", at)
		if err != nil {
			return stop, err
		}
		running.Go(func() { d.ServeTCP(ctx, ln) })
	}
	return stop, nil
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
