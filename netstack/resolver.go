package netstack

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

// LookupHost resolves a name to addresses, by the tunnel's DNS servers only. They
// are asked in turn until one gives an answer or says that there is none: for
// IPv4 addresses, and at the same time for IPv6 ones, which come first, while
// the tunnel has IPv6. An address is its own answer. Errors are *net.DNSError:
// IsNotFound, IsTimeout and IsTemporary are set as package net sets them.
func (s *Stack) LookupHost(ctx context.Context, host string) ([]string, error) {
	addrs, err := s.lookup(ctx, anyFamily, host)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(addrs))
	for i, a := range addrs {
		names[i] = a.String()
	}
	return names, nil
}

func (s *Stack) lookup(ctx context.Context, f family, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		if a = a.Unmap(); !f.has(a) {
			return nil, &net.AddrError{Err: "not an " + f.String() + " address", Addr: host}
		}
		return []netip.Addr{a}, nil
	}
	fail := func(e net.DNSError) ([]netip.Addr, error) {
		e.Name = host
		return nil, &e
	}
	notFound := net.DNSError{Err: "no such host", IsNotFound: true}
	name, ok := domainName(host)
	// "localhost" is this host for whoever asks, which nobody in the tunnel is;
	// DNS must not be asked (RFC 6761 §6.3).
	if !ok || isLocalhost(name.String()) {
		return fail(notFound)
	}
	if err := s.Err(); err != nil {
		return fail(net.DNSError{Err: err.Error(), UnwrapErr: err})
	}
	servers := s.servers()
	if len(servers) == 0 {
		return fail(net.DNSError{Err: "no DNS server in the tunnel"})
	}
	types := s.questions(f)
	var last net.DNSError
	for n := range s.dnsAttempts {
		patience := s.dnsTimeout
		if n == 0 && s.dnsAttempts > 1 {
			patience /= 4 // a lost datagram is more likely than a slow server
		}
		for _, server := range servers {
			addrs, err := s.askAll(ctx, patience, netip.AddrPortFrom(server, 53), name, types)
			switch {
			case err == nil && len(addrs) > 0:
				return addrs, nil
			case err == nil || errors.Is(err, errNoSuchName):
				notFound.Server = server.String()
				return fail(notFound)
			}
			s.log.Debug("DNS server gave no answer", "server", server, "name", host, "error", err)
			last = net.DNSError{Err: err.Error(), Server: server.String(), UnwrapErr: err}
			var rcode rcodeError
			var timeout net.Error
			switch {
			case errors.As(err, &rcode):
				last.Err, last.IsTemporary = "server misbehaving: "+rcode.Error(), true
			case errors.As(err, &timeout) && timeout.Timeout():
				last.Err, last.IsTimeout = "i/o timeout", true
			}
			if ctx.Err() != nil {
				last.Err, last.UnwrapErr = contextError(ctx).Error(), contextError(ctx)
				return fail(last)
			}
		}
	}
	return fail(last)
}

// servers are the DNS servers to ask, in order: those that the NICs were set up
// with, then those that DHCP has told, and those that routers advertise.
func (s *Stack) servers() []netip.Addr {
	s.mu.Lock()
	all := slices.Clone(s.dns)
	s.mu.Unlock()
	for _, n := range s.nics() {
		if n.ether != nil {
			all = append(all, n.ether.leasedDNS()...)
		}
		if n.v6 != nil {
			n.v6.mu.Lock()
			all = append(all, n.v6.dns...)
			n.v6.mu.Unlock()
		}
	}
	return all
}

// questions are the types of records to ask for, in the order that the addresses
// shall have: IPv6 first where a global address of ours can reach it (RFC
// 6724 §2.1: its precedence is higher, and rule 1 avoids what cannot be reached).
func (s *Stack) questions(f family) []dnsmessage.Type {
	ready := slices.ContainsFunc(s.nics(), func(n *NIC) bool {
		if n.v6 == nil {
			return false
		}
		n.v6.mu.Lock()
		defer n.v6.mu.Unlock()
		return n.v6.ready()
	})
	switch {
	case f == onlyIPv6:
		return []dnsmessage.Type{dnsmessage.TypeAAAA}
	case f == anyFamily && ready:
		return []dnsmessage.Type{dnsmessage.TypeAAAA, dnsmessage.TypeA}
	}
	return []dnsmessage.Type{dnsmessage.TypeA}
}

// domainName is host as a name in a DNS message, if it can be one: labels of 1 to
// 63 letters, digits, hyphens and underscores, 253 bytes together (RFC 1035
// §2.3.4).
func domainName(host string) (dnsmessage.Name, bool) {
	host = strings.TrimSuffix(host, ".")
	if len(host) > 253 {
		return dnsmessage.Name{}, false
	}
	for label := range strings.SplitSeq(host, ".") {
		if len(label) < 1 || len(label) > 63 {
			return dnsmessage.Name{}, false
		}
		for _, c := range []byte(label) {
			switch {
			case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
			default:
				return dnsmessage.Name{}, false
			}
		}
	}
	name, err := dnsmessage.NewName(host + ".")
	return name, err == nil
}

func isLocalhost(name string) bool {
	name = strings.ToLower(name)
	return name == "localhost." || strings.HasSuffix(name, ".localhost.")
}
