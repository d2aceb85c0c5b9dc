package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint"
)

const (
	// refusalPause is how long a server that has refused us is left alone at least;
	// it doubles with each refusal. Many servers lock an account after a few.
	refusalPause    = 30 * time.Second
	refusalPauseMax = 10 * time.Minute

	lookupTimeout = 10 * time.Second
)

// A target is one of those that are tried.
type target struct {
	name     string // as it was configured
	host     string
	port     uint16
	good     netip.Addr // what has worked last
	refusals int        // in a row
	until    time.Time  // after a refusal: when it is tried again
}

// parseServers takes lists of servers, each separated by commas, apart.
func parseServers(lists ...string) (all []*target, err error) {
	for _, list := range lists {
		if list == "" {
			continue
		}
		for name := range strings.SplitSeq(list, ",") {
			s, err := parseServer(strings.TrimSpace(name))
			if err != nil {
				return nil, err
			}
			all = append(all, s)
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%w: expected a server to dial, found none", endpoint.ErrAddress)
	}
	return all, nil
}

func parseServer(name string) (*target, error) {
	s := &target{name: name, host: name, port: endpoint.DefaultPort}
	if host, port, err := net.SplitHostPort(name); err == nil {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return nil, fmt.Errorf("%w: expected a port of 1 to 65535 in %q, found %q", endpoint.ErrAddress, name, port)
		}
		s.host, s.port = host, uint16(n)
	} else if inner, ok := strings.CutPrefix(name, "["); ok {
		if s.host, ok = strings.CutSuffix(inner, "]"); !ok {
			return nil, fmt.Errorf("%w: expected host or host:port, found %q", endpoint.ErrAddress, name)
		}
	} else if strings.Contains(name, ":") {
		if _, err := netip.ParseAddr(name); err != nil {
			return nil, fmt.Errorf("%w: expected host or host:port, found %q", endpoint.ErrAddress, name)
		}
	}
	if s.host == "" || strings.ContainsAny(s.host, " \t/@") {
		return nil, fmt.Errorf("%w: expected host or host:port, found %q", endpoint.ErrAddress, name)
	}
	return s, nil
}

// addresses are where a server may be, in the order to try them: what has worked last,
// then one family after the other.
func (s *target) addresses(ctx context.Context, resolve resolver) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(s.host); err == nil {
		return []netip.Addr{a.Unmap()}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	addrs, err := resolve(ctx, s.host)
	if err != nil {
		return nil, err
	}
	return order(addrs, s.good), nil
}

// A resolver finds the addresses of a host, best first.
type resolver func(ctx context.Context, host string) ([]netip.Addr, error)

// order puts the families in turn, beginning with the first one's, so that a family
// that does not work costs one attempt and not as many as it has addresses.
//
// RFC 8305 §4: "the client SHOULD modify the ordered list to interleave address
// families." And, of the state that it may keep: "the client SHOULD […] prefer […]
// destinations" that it has used.
func order(addrs []netip.Addr, good netip.Addr) (ordered []netip.Addr) {
	var first, second []netip.Addr
	seen := map[netip.Addr]bool{}
	for _, a := range addrs {
		a = a.Unmap()
		if seen[a] {
			continue
		}
		seen[a] = true
		switch {
		case a == good:
			ordered = append(ordered, a)
		case len(first) == 0 || a.Is4() == first[0].Is4():
			first = append(first, a)
		default:
			second = append(second, a)
		}
	}
	if len(ordered) > 0 && len(first) > 0 && first[0].Is4() == ordered[0].Is4() {
		first, second = second, first // the other family's turn
	}
	for len(first) > 0 || len(second) > 0 {
		if len(first) > 0 {
			ordered, first = append(ordered, first[0]), first[1:]
		}
		if len(second) > 0 {
			ordered, second = append(ordered, second[0]), second[1:]
		}
	}
	return ordered
}

// refused tells whether a server will go on saying no, until somebody mends
// something.
func refused(err error) bool {
	if _, ok := errors.AsType[*endpoint.AuthError](err); ok {
		return true
	}
	if _, ok := errors.AsType[*endpoint.RefusedError](err); ok {
		return true
	}
	peer, ok := errors.AsType[*endpoint.PeerError](err)
	return ok && peer.NotAuthorized()
}

// refuse notes a refusal.
func (s *target) refuse(now time.Time, jitter float64) {
	pause := refusalPauseMax
	if s.refusals < 6 {
		pause = min(pause, refusalPause<<s.refusals)
	}
	s.refusals++
	s.until = now.Add(pause + time.Duration(jitter*float64(pause)/2))
}
