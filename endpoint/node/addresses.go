package node

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"

	"github.com/l2tpnet/l2tpnet/endpoint"
)

var defaultPool = netip.MustParsePrefix("10.77.0.0/24")

// maxDNS6 is how many servers an advertisement of netstack's has room for.
const maxDNS6 = 8

// addresses is what a server gives to its sessions. It is the endpoint's pool.
type addresses struct {
	gateway, gateway6 netip.Addr // gateway6 may be none
	dns               []netip.Addr
	pool6             netip.Prefix        // zero: none
	makeRoom          func(*User) *caller // ends a session that the user's next one replaces

	ofCircuits map[netip.Prefix]string // what is fixed for circuits, by whose ids

	mu       sync.Mutex
	v4       *carver
	v6       *carver        // of 64 bits; nil: none
	delegate *carver        // nil: none
	reserved []netip.Prefix // fixed for users who are known beforehand
}

// A grant is what one session has got, until both the endpoint and the router have
// done with it.
type grant struct {
	user       *User
	address    netip.Addr
	prefix     netip.Prefix // IPv6, of 64 bits; invalid: none
	delegated  netip.Prefix // IPv6; invalid: none
	holders    int
	fixedParts []netip.Prefix
	before     *caller // who had to leave for it already
}

// newAddresses reads what the server's fields say about addresses.
func newAddresses(s *Server) (a *addresses, err error) {
	pool := s.Pool
	if !pool.IsValid() {
		pool = defaultPool
	}
	a = &addresses{dns: s.DNS, makeRoom: s.makeRoom}
	for _, d := range s.DNS {
		if !usable4(d) && !usable6(netip.PrefixFrom(d, d.BitLen())) {
			return nil, fmt.Errorf("expected addresses of DNS servers that callers can ask, found %v", d)
		}
	}
	if n := len(a.dns6()); n > maxDNS6 {
		return nil, fmt.Errorf("expected at most %d DNS servers with IPv6 addresses, found %d", maxDNS6, n)
	}
	if !pool.Addr().Is4() {
		return nil, fmt.Errorf("expected an IPv4 prefix such as %v for the pool, found %v", defaultPool, pool)
	}
	if a.v4, err = newCarver(pool, 32); err != nil {
		return nil, err
	}
	first, last := a.v4.piece(0), a.v4.piece(a.v4.count-1)
	a.gateway = s.Gateway
	if pool.Bits() < 31 {
		// The network's own address and its broadcast address are nobody's.
		a.v4.hold(first)
		a.v4.hold(last)
		first = a.v4.piece(1)
	}
	if !a.gateway.IsValid() {
		a.gateway = first.Addr()
	}
	if !usable4(a.gateway) {
		return nil, fmt.Errorf("expected an IPv4 address of a host for the gateway, found %v", a.gateway)
	}
	a.v4.hold(netip.PrefixFrom(a.gateway, 32))
	if uint64(len(a.v4.used)) >= a.v4.count {
		return nil, fmt.Errorf("expected a pool with room for a client, found %v with gateway %v", a.v4.whole, a.gateway)
	}
	return a, a.setup6(s)
}

func (a *addresses) setup6(s *Server) (err error) {
	a.gateway6 = s.Gateway6
	if g := a.gateway6; g.IsValid() && !usable6(netip.PrefixFrom(g, 128)) {
		return fmt.Errorf("expected a global IPv6 address for the gateway, found %v", g)
	}
	pool := s.Pool6
	if !pool.IsValid() {
		if s.DelegateBits != 0 {
			return fmt.Errorf("expected an IPv6 pool to delegate prefixes of, found none")
		}
		return nil
	}
	if pool = pool.Masked(); !usable6(pool) || pool.Bits() < 16 || pool.Bits() > 63 {
		return fmt.Errorf("expected a global IPv6 prefix of 16 to 63 bits such as fd00:77::/48 for the pool, found %v", s.Pool6)
	}
	if !a.gateway6.IsValid() {
		a.gateway6 = pool.Addr().Next()
	}
	a.pool6 = pool
	each := pool
	if n := s.DelegateBits; n != 0 {
		// Half is for the sessions, half for the networks behind them.
		each = netip.PrefixFrom(pool.Addr(), pool.Bits()+1)
		if n <= pool.Bits() || n > 64 {
			return fmt.Errorf("expected delegated prefixes of %d to 64 bits out of %v, found %d", pool.Bits()+1, pool, n)
		}
		halves := carver{whole: pool, bits: each.Bits()}
		if a.delegate, err = newCarver(halves.piece(1), n); err != nil {
			return err
		}
		a.delegate.hold(netip.PrefixFrom(a.gateway6, 128))
	}
	if a.v6, err = newCarver(each, 64); err != nil {
		return err
	}
	a.v6.hold(netip.PrefixFrom(a.gateway6, 128))
	if uint64(len(a.v6.used)) >= a.v6.count {
		return fmt.Errorf("expected an IPv6 pool with a prefix of 64 bits for a client, found %v with gateway %v", pool, a.gateway6)
	}
	return nil
}

// gateways are our own addresses.
func (a *addresses) gateways() []netip.Addr {
	if !a.gateway6.IsValid() {
		return []netip.Addr{a.gateway}
	}
	return []netip.Addr{a.gateway, a.gateway6}
}

// owns tells whether an address is in a network that is the server's to give, as far as
// they are known beforehand: whatever is sent there must not leave by another way.
func (a *addresses) owns(addr netip.Addr) bool {
	has := func(p netip.Prefix) bool { return p.Contains(addr) }
	if has(a.v4.whole) || has(a.pool6) || slices.Contains(a.gateways(), addr) {
		return true
	}
	for p := range a.ofCircuits {
		if has(p) {
			return true
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.ContainsFunc(a.reserved, has)
}

// dns6 are the servers that a session with IPv6 is told of.
func (a *addresses) dns6() (list []netip.Addr) {
	for _, d := range a.dns {
		if d.Is6() && !d.Is4In6() {
			list = append(list, d)
		}
	}
	return list
}

// check tells what is fixed for a user and cannot be its.
func (a *addresses) check(u *User) error {
	for _, p := range u.fixed() {
		for _, g := range a.gateways() {
			if p.Contains(g) {
				return fmt.Errorf("%v is fixed for it, and the server's own address %v is in it", p, g)
			}
		}
		for _, pool := range []netip.Prefix{a.v4.whole, a.pool6} {
			if pool.IsValid() && p.Bits() <= pool.Bits() && p.Contains(pool.Addr()) {
				return fmt.Errorf("%v is fixed for it, which leaves nothing of the pool %v to others", p, pool)
			}
		}
	}
	return nil
}

// fixCircuits keeps what circuits have from all others, for good.
func (a *addresses) fixCircuits(cs *circuits) error {
	a.ofCircuits = map[netip.Prefix]string{}
	for _, id := range slices.Sorted(maps.Keys(cs.byID)) {
		u := cs.byID[id].user()
		err := a.check(u)
		for _, p := range u.fixed() {
			if other, ok := a.ofCircuits[p]; ok && err == nil {
				err = fmt.Errorf("%v is fixed for the circuit %q as well", p, other)
			}
		}
		if err != nil {
			return fmt.Errorf("the circuit %q: %w", id, err)
		}
		for _, p := range u.fixed() {
			a.ofCircuits[p] = id
			a.hold(p, (*carver).hold)
		}
	}
	return nil
}

// checkAll names the user for whom something is fixed that cannot be.
func (a *addresses) checkAll(users map[string]User) error {
	for _, name := range slices.Sorted(maps.Keys(users)) {
		u := users[name]
		err := a.check(&u)
		for _, p := range u.fixed() {
			if id, ok := a.ofCircuits[p]; ok && err == nil {
				err = fmt.Errorf("%v is fixed for the circuit %q as well", p, id)
			}
		}
		if err != nil {
			return fmt.Errorf("the user %q: %w", name, err)
		}
	}
	return nil
}

// reserve keeps what is fixed for these users out of the pools.
func (a *addresses) reserve(users map[string]User) {
	a.mu.Lock()
	defer a.mu.Unlock()
	old := a.reserved
	a.reserved = nil
	for _, u := range users {
		a.reserved = append(a.reserved, u.fixed()...)
	}
	for _, p := range a.reserved {
		a.hold(p, (*carver).hold)
	}
	for _, p := range old {
		a.hold(p, (*carver).release)
	}
}

// hold has all pools hold or release a prefix. With a.mu.
func (a *addresses) hold(p netip.Prefix, do func(*carver, netip.Prefix)) {
	for _, c := range []*carver{a.v4, a.v6, a.delegate} {
		if c != nil {
			do(c, p)
		}
	}
}

// Assign implements [endpoint.AddressPool]. A fixed address is given at once: whoever
// has it keeps it until the new session is there.
func (a *addresses) Assign(_ context.Context, r endpoint.AddressRequest) (endpoint.Lease, error) {
	u, ok := r.Account.(*User)
	if !ok {
		return endpoint.Lease{}, errUnknownUser
	}
	g := &grant{user: u, address: u.Address, prefix: u.Prefix6, delegated: u.Delegated6, holders: 1, fixedParts: u.fixed()}
	if err := a.check(u); err != nil { // of a user who was not known beforehand
		return endpoint.Lease{}, fmt.Errorf("the user %q: %w", u.Name, err)
	}
	if !a.fill(g) {
		if g.before = a.makeRoom(u); g.before == nil || !a.fill(g) {
			return endpoint.Lease{}, endpoint.ErrPoolEmpty
		}
	}
	return endpoint.Lease{Peer: g.address, Local: a.gateway, DNS: a.dns, Owner: g}, nil
}

// fill takes what is not fixed from the pools. It is false when there is no IPv4 address.
func (a *addresses) fill(g *grant) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !g.address.IsValid() {
		p, ok := a.v4.take()
		if !ok {
			return false
		}
		g.address = p.Addr()
	}
	// Without an IPv6 prefix a session still has IPv4.
	if !g.prefix.IsValid() && a.v6 != nil {
		g.prefix, _ = a.v6.take()
	}
	if !g.delegated.IsValid() && a.delegate != nil {
		g.delegated, _ = a.delegate.take()
	}
	for _, p := range g.fixedParts {
		a.hold(p, (*carver).hold)
	}
	return true
}

// Release implements [endpoint.AddressPool].
func (a *addresses) Release(l endpoint.Lease) { a.drop(l.Owner.(*grant)) }

// keep makes the caller another holder of the grant, if it has any yet.
func (a *addresses) keep(g *grant) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if g.holders == 0 {
		return false
	}
	g.holders++
	return true
}

// drop gives everything back when the last holder has dropped it.
func (a *addresses) drop(g *grant) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if g.holders--; g.holders > 0 {
		return
	}
	if !g.user.Address.IsValid() {
		a.v4.release(netip.PrefixFrom(g.address, 32))
	}
	if !g.user.Prefix6.IsValid() && g.prefix.IsValid() {
		a.v6.release(g.prefix)
	}
	if !g.user.Delegated6.IsValid() && g.delegated.IsValid() {
		a.delegate.release(g.delegated)
	}
	for _, p := range g.fixedParts {
		a.hold(p, (*carver).release)
	}
}

// free is how many more sessions the IPv4 pool has addresses for.
func (a *addresses) free() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return int(a.v4.count) - len(a.v4.used)
}
