package netstack

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

// LookupHost resolves a name to IPv4 addresses, by the tunnel's DNS servers
// only. They are asked in turn until one gives an answer or says that there is
// none. An address is its own answer. Errors are *net.DNSError: IsNotFound,
// IsTimeout and IsTemporary are set as package net sets them.
func (s *Stack) LookupHost(ctx context.Context, host string) ([]string, error) {
	addrs, err := s.lookup(ctx, host)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(addrs))
	for i, a := range addrs {
		names[i] = a.String()
	}
	return names, nil
}

func (s *Stack) lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a.Unmap()}, nil
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
	s.mu.Lock()
	servers := append([]netip.Addr(nil), s.dns...)
	s.mu.Unlock()
	if err := s.Err(); err != nil {
		return fail(net.DNSError{Err: err.Error(), UnwrapErr: err})
	}
	if len(servers) == 0 {
		return fail(net.DNSError{Err: "no DNS server in the tunnel"})
	}
	var last net.DNSError
	for range s.dnsAttempts {
		for _, server := range servers {
			addrs, err := s.ask(ctx, netip.AddrPortFrom(server, 53), name)
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
