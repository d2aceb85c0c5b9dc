package netstack

import (
	"net/netip"
	"slices"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// Addresses are used while nobody knows yet whether another host has them: optimistic
// Duplicate Address Detection (RFC 4429). They are random, and a connection need not wait
// for a second.
const (
	dadTransmits = 1 // DupAddrDetectTransmits, RFC 4862 §5.1
	idgenRetries = 3 // RFC 7217 §6

	duplicateInterval = time.Second // of log lines about them
	duplicateBurst    = 5
)

// A claim is an address that it has not been long asked for whether another host has it.
type claim struct {
	addr netip.Addr
	due  time.Time // for the next solicitation, or the end
	sent int
}

// claim6 begins to ask for those of own that are new, under e.mu.
func (e *etherLayer) claim6(own []netip.Prefix) {
	now := time.Now()
	e.claims = slices.DeleteFunc(e.claims, func(c claim) bool {
		return !slices.ContainsFunc(own, func(p netip.Prefix) bool { return p.Addr() == c.addr })
	})
	for _, p := range own {
		if !e.hasLocked(p.Addr()) {
			e.claims = append(e.claims, claim{addr: p.Addr(), due: now})
		}
	}
	if len(e.claims) > 0 && !e.done {
		e.timer.Reset(0)
	}
}

// advanceClaims gives those addresses that are to be asked for now, and when there is
// something to do next; under e.mu.
func (e *etherLayer) advanceClaims(now time.Time) (ask []netip.Addr, due time.Time) {
	e.claims = slices.DeleteFunc(e.claims, func(c claim) bool { return c.sent >= dadTransmits && !now.Before(c.due) })
	for i := range e.claims {
		c := &e.claims[i]
		if !now.Before(c.due) {
			ask = append(ask, c.addr)
			c.sent, c.due = c.sent+1, now.Add(retransTimer)
		}
		if due.IsZero() || c.due.Before(due) {
			due = c.due
		}
	}
	return ask, due
}

// isOptimistic reports whether another host may turn out to have the address.
func (e *etherLayer) isOptimistic(a netip.Addr) bool {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return slices.ContainsFunc(e.claims, func(c claim) bool { return c.addr == a })
}

// solicitDuplicate asks whether another host has an address (RFC 4862 §5.4.2).
func (e *etherLayer) solicitDuplicate(target netip.Addr) {
	m := make([]byte, neighborLen)
	m[0] = byte(header.ICMPv6NeighborSolicit)
	copy(m[8:], target.AsSlice())
	to := solicitedNode(target)
	e.send(groupMAC(to), etherIPv6, icmpv6Packet(netip.IPv6Unspecified(), to, header.NDPHopLimit, m))
}

// clashed is called when another host has an address that is ours, or was to be.
func (n *EthernetNIC) clashed(addr netip.Addr, by mac) {
	if addr.Is4() && n.dhcp != nil {
		n.leaseDo(func(now time.Time) { n.dhcp.client.conflict(now, addr, by) })
	}
	if !n.layer.has(addr) {
		return
	}
	n.layer.counters.duplicate.Add(1)
	if addr.Is6() && n.nic != nil && n.layer.isOptimistic(addr) && n.anew(addr) {
		return
	}
	if n.duplicates.allow(time.Now(), duplicateInterval, duplicateBurst) {
		n.stack().log.Warn("another host has an address of ours", "address", addr, "host", by.String())
		if addr.Is4() && n.dhcp == nil {
			n.layer.announce(addr) // RFC 5227 §2.4: it is defended
		}
	}
}

// anew makes another address of the prefix that addr was made from, if it was.
func (n *EthernetNIC) anew(addr netip.Addr) bool {
	v := n.nic.v6
	if v == nil {
		return false
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.auto.duplicate(addr, func(p netip.Prefix, counter byte) [8]byte {
		return opaqueIIDFrom(n.nic.stack.addressKey, n.cfg.Name, p, counter)
	}) {
		return false
	}
	n.nic.settle(time.Now())
	return true
}
