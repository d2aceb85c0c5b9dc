package main

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/l2tpnet/l2tpnet/endpoint/node"
)

// egressFlags are what every gateway has.
type egressFlags struct {
	DNSForward []nameserver `name:"dns-forward" placeholder:"ADDR[:PORT]" help:"DNS server that the gateway forwards ${whose} questions to. Default: with --egress and without --dns, those of /etc/resolv.conf."`
	Egress     bool         `help:"Carry what ${who} send elsewhere, TCP, UDP and echo requests, through this machine's ordinary sockets. Its own addresses, its loopback and what is link-local are refused."`
	AllowHost  []string     `placeholder:"ADDR[:PORT]" sep:"none" help:"An address, with a port or without, or a prefix that --egress carries to although it would be refused; pings only without a port. May be repeated."`
}

// egress makes what --egress and --allow-host say; nil: nothing goes anywhere.
func (f *egressFlags) egress() (*node.Egress, error) {
	if !f.Egress {
		if len(f.AllowHost) > 0 {
			return nil, usage(errors.New("expected --egress with --allow-host, found none"), "--allow-host is what --egress carries to although it would be refused")
		}
		return nil, nil
	}
	e := &node.Egress{}
	for _, host := range f.AllowHost {
		a, err := node.ParseAllow(host)
		if err != nil {
			return nil, usage(fmt.Errorf("--allow-host: %w", err), "for example: --allow-host 127.0.0.1:8080, --allow-host 192.168.1.0/24")
		}
		e.AllowHost = append(e.AllowHost, a)
	}
	return e, nil
}

// forwards are the servers that questions go to.
func (f *egressFlags) forwards() (servers []netip.AddrPort) {
	for _, n := range f.DNSForward {
		servers = append(servers, netip.AddrPort(n))
	}
	return servers
}
