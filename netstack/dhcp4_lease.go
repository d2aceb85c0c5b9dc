package netstack

import (
	"net"
	"net/netip"
	"slices"
	"time"
)

// A leaseholder is whom a lease is for.
type leaseholder struct {
	id   string
	mac  mac
	name string
}

type leaseState int

const (
	leaseOffered  leaseState = iota
	leaseBound               // the client has it
	leaseEnded               // the client had it
	leaseDeclined            // somebody else has it, without having asked: who was offered it has found out
)

// A lease4 is who has an address, or had it last.
type lease4 struct {
	addr   netip.Addr
	pooled bool // it is one of those for anybody
	client leaseholder
	state  leaseState
	until  time.Time
}

// isFree reports whether somebody else may have the address.
func (l *lease4) isFree(now time.Time) bool { return !now.Before(l.until) }

// offer keeps an address for c: its fixed one, the one that it has or had, the one that
// it wants, or any.
func (s *DHCPv4Server) offer(now time.Time, c *leaseholder, wanted netip.Addr) *lease4 {
	a, l := s.fixed[c.mac], s.clients[c.id]
	switch {
	case a.IsValid():
		l = s.take(now, c, a)
	case l != nil && s.gives(l.addr):
	case s.gives(wanted):
		if l = s.take(now, c, wanted); l != nil {
			break
		}
		fallthrough
	default:
		l = s.any(now, c)
	}
	if l != nil && (l.state != leaseBound || l.isFree(now)) {
		l.state, l.until = leaseOffered, now.Add(offerTime)
	}
	return l
}

// grant gives c the address that it wants, if it may have it.
func (s *DHCPv4Server) grant(now time.Time, c *leaseholder, wanted netip.Addr, lease time.Duration) *lease4 {
	if fixed := s.fixed[c.mac]; fixed.IsValid() && fixed != wanted || !fixed.IsValid() && !s.gives(wanted) {
		return nil
	}
	l := s.take(now, c, wanted)
	if l != nil {
		l.client, l.state, l.until = *c, leaseBound, now.Add(lease)
	}
	return l
}

// gives reports whether a is one of those for anybody.
func (s *DHCPv4Server) gives(a netip.Addr) bool {
	return a.Is4() && !a.Less(s.cfg.First) && !s.cfg.Last.Less(a) && !s.kept[a]
}

// take is the lease of a for c, unless a is somebody else's. What else c had is free then.
func (s *DHCPv4Server) take(now time.Time, c *leaseholder, a netip.Addr) *lease4 {
	l := s.leases[a]
	if l != nil && l.client.id != c.id && !l.isFree(now) {
		return nil
	}
	if other := s.clients[c.id]; other != nil && other != l {
		other.client, other.state, other.until = leaseholder{}, leaseEnded, now
		delete(s.clients, c.id)
		s.full = time.Time{}
	} else if other == nil && s.has(now, c.mac) >= maxOfMAC {
		return nil
	}
	if l == nil {
		l = &lease4{addr: a, pooled: s.gives(a)}
		s.leases[a] = l
		s.records = append(s.records, l)
	}
	if l.client.id != c.id {
		if s.clients[l.client.id] == l {
			delete(s.clients, l.client.id)
		}
		l.client, l.state, l.until = *c, leaseEnded, now
	}
	s.clients[c.id] = l
	return l
}

// has is how many addresses a MAC address has.
func (s *DHCPv4Server) has(now time.Time, m mac) (n int) {
	for _, l := range s.records {
		if l.client.mac == m && !l.isFree(now) {
			n++
		}
	}
	return n
}

// any is the lease of an address that nobody ever had, or else of the one that has been
// free for the longest.
func (s *DHCPv4Server) any(now time.Time, c *leaseholder) *lease4 {
	if now.Before(s.full) {
		return nil
	}
	for ; !s.cfg.Last.Less(s.fresh); s.fresh = s.fresh.Next() {
		if !s.kept[s.fresh] && s.leases[s.fresh] == nil {
			return s.take(now, c, s.fresh)
		}
	}
	var oldest *lease4
	for _, l := range s.records {
		if l.pooled && (oldest == nil || l.until.Before(oldest.until)) {
			oldest = l
		}
	}
	if oldest == nil {
		return nil // the range has kept ones only
	}
	if !oldest.isFree(now) {
		s.full = oldest.until
		return nil
	}
	return s.take(now, c, oldest.addr)
}

// A DHCPv4Lease is who has an address.
type DHCPv4Lease struct {
	Address netip.Addr
	MAC     net.HardwareAddr
	Name    string    // how the client calls itself; empty: not at all, or not by a name
	Until   time.Time // when it ends, unless the client asks for more
}

func (l *lease4) public() DHCPv4Lease {
	return DHCPv4Lease{l.addr, slices.Clone(l.client.mac[:]), l.client.name, l.until}
}

// Leases are the addresses that clients have now, in order.
func (s *DHCPv4Server) Leases() []DHCPv4Lease {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []DHCPv4Lease
	for _, l := range s.leases {
		if l.state == leaseBound && !l.isFree(now) {
			all = append(all, l.public())
		}
	}
	slices.SortFunc(all, func(a, b DHCPv4Lease) int {
		return a.Address.Compare(b.Address)
	})
	return all
}
