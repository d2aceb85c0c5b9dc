package netstack

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"slices"
	"time"
)

// How routers are solicited (RFC 4861 §10). The first solicitation is not
// delayed at random: that is to keep the many hosts of a link apart (§6.3.7),
// and on a PPP link there is one.
const (
	rtrSolicitationInterval = 4 * time.Second // RTR_SOLICITATION_INTERVAL
	maxRtrSolicitations     = 3               // MAX_RTR_SOLICITATIONS
)

// What one peer's advertisements can make a host remember. What comes when
// there is no room is ignored until something else has expired.
const (
	maxRouters  = 2 // one router is at the other end of a PPP link
	maxPrefixes = 8
	maxServers  = 8 // RFC 8106 §5.3.1 wants three at least
)

// A prefix cannot be withdrawn faster than this (RFC 4862 §5.5.3 (e)).
const minValidLifetime = 2 * time.Hour

// An autoconf is what a host knows from Router Advertisements: a machine that
// owns neither clock nor addresses. Its owner calls handle with what came
// and advance when the time of deadline has come, and then does what addresses,
// routed, mtu and servers say.
type autoconf struct {
	iid func(prefix netip.Prefix) [8]byte // the interface identifier for an address

	solicit   time.Time // when to solicit next; zero: no more
	solicited int

	routers  []expiring[netip.Addr]
	prefixes []slaacPrefix
	links    []expiring[netip.Prefix] // that are on the link itself (RFC 4861 §6.3.4)
	dns      []expiring[netip.Addr]
	other    bool   // a router has said that DHCPv6 knows more
	linkMTU  uint32 // as the last router said that said something
}

type expiring[T any] struct {
	value T
	until time.Time
}

// A slaacPrefix is a prefix with the address made from it (RFC 4862 §5.5.3).
type slaacPrefix struct {
	prefix           netip.Prefix
	addr             netip.Addr
	valid, preferred time.Time // until when
	duplicates       byte      // addresses made from it that another host has
}

// start begins to solicit routers.
func (a *autoconf) start(now time.Time) { a.solicit = now }

// handle takes in a Router Advertisement.
func (a *autoconf) handle(now time.Time, ra routerAdvert) {
	a.expire(now)
	if ra.lifetime > 0 {
		// RFC 4861 §6.3.7: "Once the host sends a Router Solicitation, and receives a
		// valid Router Advertisement with a non-zero Router Lifetime, the host MUST
		// desist from sending additional solicitations on that interface, until the
		// next time one of the above events occurs."
		a.solicit = time.Time{}
	}
	a.routers = refresh(a.routers, ra.router, now, ra.lifetime, maxRouters)
	a.other = a.other || ra.other
	if ra.mtu != 0 {
		a.linkMTU = ra.mtu
	}
	for _, s := range ra.servers {
		a.dns = refresh(a.dns, s.addr, now, s.lifetime, maxServers)
	}
	for _, p := range ra.onLink {
		a.links = refresh(a.links, p.prefix, now, p.valid, maxPrefixes)
	}
	for _, p := range ra.prefixes {
		a.handlePrefix(now, p)
	}
}

// refresh sets the lifetime of v in list: zero takes it out.
func refresh[T comparable](list []expiring[T], v T, now time.Time, lifetime time.Duration, limit int) []expiring[T] {
	i := slices.IndexFunc(list, func(e expiring[T]) bool { return e.value == v })
	switch {
	case i >= 0 && lifetime == 0:
		return slices.Delete(list, i, i+1)
	case i >= 0:
		list[i].until = now.Add(lifetime)
	case lifetime > 0 && len(list) < limit:
		return append(list, expiring[T]{v, now.Add(lifetime)})
	}
	return list
}

// handlePrefix does RFC 4862 §5.5.3 (d) and (e).
func (a *autoconf) handlePrefix(now time.Time, p advertisedPrefix) {
	i := slices.IndexFunc(a.prefixes, func(s slaacPrefix) bool { return s.prefix == p.prefix })
	if i < 0 {
		if p.valid > 0 && len(a.prefixes) < maxPrefixes {
			addr := p.prefix.Addr().As16()
			iid := a.iid(p.prefix)
			copy(addr[8:], iid[:])
			a.prefixes = append(a.prefixes, slaacPrefix{prefix: p.prefix, addr: netip.AddrFrom16(addr), valid: now.Add(p.valid), preferred: now.Add(p.preferred)})
		}
		return
	}
	s := &a.prefixes[i]
	s.preferred = now.Add(p.preferred)
	switch remaining := s.valid.Sub(now); {
	case p.valid > minValidLifetime || p.valid > remaining:
		s.valid = now.Add(p.valid)
	case remaining > minValidLifetime:
		s.valid = now.Add(minValidLifetime)
	}
}

// duplicate says that another host has an address, and makes another one of its prefix,
// some times (RFC 7217 §6). It is false when addr was not made here.
func (a *autoconf) duplicate(addr netip.Addr, iid func(p netip.Prefix, counter byte) [8]byte) bool {
	i := slices.IndexFunc(a.prefixes, func(s slaacPrefix) bool { return s.addr == addr })
	if i < 0 {
		return false
	}
	s := &a.prefixes[i]
	if s.duplicates++; s.duplicates > idgenRetries {
		s.addr = netip.Addr{}
		return true
	}
	next, id := s.prefix.Addr().As16(), iid(s.prefix, s.duplicates)
	copy(next[8:], id[:])
	s.addr = netip.AddrFrom16(next)
	return true
}

func (a *autoconf) expire(now time.Time) {
	expired := func(e expiring[netip.Addr]) bool { return !e.until.After(now) }
	a.routers = slices.DeleteFunc(a.routers, expired)
	a.dns = slices.DeleteFunc(a.dns, expired)
	a.links = slices.DeleteFunc(a.links, func(e expiring[netip.Prefix]) bool { return !e.until.After(now) })
	a.prefixes = slices.DeleteFunc(a.prefixes, func(s slaacPrefix) bool { return !s.valid.After(now) })
}

// advance forgets what has expired, and reports whether to send a Router
// Solicitation.
func (a *autoconf) advance(now time.Time) (solicit bool) {
	a.expire(now)
	if a.solicit.IsZero() || a.solicit.After(now) {
		return false
	}
	a.solicited++
	a.solicit = now.Add(rtrSolicitationInterval)
	if a.solicited == maxRtrSolicitations {
		a.solicit = time.Time{}
	}
	return true
}

// deadline is when to call advance, or zero: never.
func (a *autoconf) deadline(now time.Time) (next time.Time) {
	earlier := func(t time.Time) {
		if t.After(now) && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	if !a.solicit.IsZero() {
		next = a.solicit
	}
	for _, e := range slices.Concat(a.routers, a.dns) {
		earlier(e.until)
	}
	for _, e := range a.links {
		earlier(e.until)
	}
	for _, s := range a.prefixes {
		earlier(s.valid)
		earlier(s.preferred)
	}
	return next
}

// addresses are the addresses made from prefixes, in the order in which they
// came, and whether each is deprecated (RFC 4862 §5.5.4).
func (a *autoconf) addresses(now time.Time) (list []autoAddress) {
	for _, s := range a.prefixes {
		if !s.addr.IsValid() {
			continue
		}
		list = append(list, autoAddress{s.addr, !s.preferred.After(now)})
	}
	return list
}

type autoAddress struct {
	addr       netip.Addr
	deprecated bool
}

// routed reports whether there is a default router.
func (a *autoconf) routed() bool { return len(a.routers) > 0 }

// onLink are the prefixes whose addresses are on the link itself.
func (a *autoconf) onLink() (list []netip.Prefix) {
	for _, e := range a.links {
		list = append(list, e.value)
	}
	return list
}

// prefer gives another default router a try, where one does not answer (RFC 4861 §6.3.6).
// It is false when there is no other.
func (a *autoconf) prefer(instead netip.Addr) bool {
	i := slices.IndexFunc(a.routers, func(e expiring[netip.Addr]) bool { return e.value == instead })
	if i < 0 || len(a.routers) < 2 {
		return false
	}
	silent := a.routers[i]
	a.routers = append(slices.Delete(a.routers, i, i+1), silent)
	return true
}

// servers are the DNS servers.
func (a *autoconf) servers() (list []netip.Addr) {
	for _, e := range a.dns {
		list = append(list, e.value)
	}
	return list
}

// mtu is the IPv6 MTU of a link that has the given one: what the router said,
// if that is between IPv6's least and the link's own (RFC 4861 §6.3.4).
func (a *autoconf) mtu(link uint32) uint32 {
	if a.linkMTU >= minMTU6 && a.linkMTU < link {
		return a.linkMTU
	}
	return link
}

// opaqueIID is an interface identifier that tells nothing, and is the same
// whenever the key, the interface and the prefix are (RFC 7217 §5). The
// function F is HMAC-SHA-256 under the secret key.
func opaqueIID(key []byte, netIface string, prefix netip.Prefix) (iid [8]byte) {
	return opaqueIIDFrom(key, netIface, prefix, 0)
}

// opaqueIIDFrom is the same when as many as counter were duplicates.
func opaqueIIDFrom(key []byte, netIface string, prefix netip.Prefix, counter byte) (iid [8]byte) {
	for ; ; counter++ { // DAD_Counter
		f := hmac.New(sha256.New, key)
		network := prefix.Addr().As16()
		f.Write(network[:8])
		f.Write([]byte{counter})
		f.Write([]byte(netIface))
		copy(iid[:], f.Sum(nil))
		if !isReservedIID(iid) {
			return iid
		}
	}
}

// isReservedIID reports whether an identifier is one that RFC 5453 reserves: of
// the subnet-router anycast address, of IANA's Ethernet block, or of the subnet
// anycast addresses (RFC 2526).
func isReservedIID(iid [8]byte) bool {
	n := binary.BigEndian.Uint64(iid[:])
	return n == 0 ||
		n >= 0x0200_5eff_fe00_0000 && n <= 0x0200_5eff_feff_ffff ||
		n >= 0xfdff_ffff_ffff_ff80 && n <= 0xfdff_ffff_ffff_ffff
}
