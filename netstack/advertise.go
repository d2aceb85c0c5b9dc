package netstack

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// How often a session is told of its prefix, and for how long that holds (RFC 4861
// §6.2.1, §10). A host solicits when its interface comes up, and never again
// while it has a router: so advertisements have to come before what they said
// runs out, and as seldom as the RFC lets them, since there may be ten thousand
// sessions. Two may be lost.
const (
	maxAdvertInterval     = 1800 * time.Second // MaxRtrAdvInterval
	minAdvertInterval     = 600 * time.Second  // MinRtrAdvInterval: 0.33 of it
	initialAdvertInterval = 16 * time.Second   // MAX_INITIAL_RTR_ADVERT_INTERVAL
	initialAdverts        = 3                  // MAX_INITIAL_RTR_ADVERTISEMENTS

	advertLifetime    = 3 * maxAdvertInterval // of the router, DNS servers, and preferred addresses
	advertValid       = 2 * advertLifetime
	advertHopLimit    = 64
	advertOtherConfig = 0x40 // O: DHCPv6 says more

	// Solicitations are answered at once: the delays of RFC 4861 §6.2.6 are there to
	// keep the many routers of a link apart, and to answer many hosts by one
	// packet.
	solicitedInterval = time.Second
	solicitedBurst    = 3
)

// advertises reports whether IPv6 is routed to the session, so that there is
// something to tell it.
func (p *Port) advertises() bool { return p.v6 != nil && len(p.prefixes6) > 0 }

// routerSolicited answers a Router Solicitation.
func (p *Port) routerSolicited(src netip.Addr) verdict {
	if !p.advertises() {
		return verdict{drop: &p.counters.noIPv6}
	}
	if !p.v6.solicited.allow(time.Now(), solicitedInterval, solicitedBurst) {
		return verdict{drop: &p.counters.excessive}
	}
	// In a segment all hosts hear the answer, so that those whose solicitation was one too
	// many have it as well.
	if src.IsUnspecified() || p.ether != nil {
		src = allNodes
	}
	p.advertise(src)
	return verdict{done: true}
}

func (p *Port) advertise(to netip.Addr) {
	p.send(icmpv6Packet(p.v6.linkLocal, to, header.NDPHopLimit, p.v6.advertisement(p.mtu())))
}

// advertisement is a Router Advertisement (RFC 4861 §4.2). On a PPP link there is no
// source link-layer address.
func (v *port6) advertisement(mtu int) []byte {
	m := make([]byte, raMinLen, 128)
	m[0], m[4] = byte(header.ICMPv6RouterAdvert), advertHopLimit
	// Not M: addresses come from the prefix.
	m[5] = advertOtherConfig
	binary.BigEndian.PutUint16(m[raLifetime:], wireSeconds[uint16](advertLifetime))

	m = append(m, optionMTU, 1, 0, 0)
	m = binary.BigEndian.AppendUint32(m, uint32(mtu))
	if v.prefix.IsValid() {
		// Not L on a PPP link: no other host of the prefix is there, and what is not for
		// the session itself is for its router.
		const onLink, autonomous = 0x80, 0x40
		flags := byte(autonomous)
		if v.mac != (mac{}) {
			flags |= onLink
		}
		m = append(m, optionPrefix, 4, byte(v.prefix.Bits()), flags)
		m = binary.BigEndian.AppendUint32(m, wireSeconds[uint32](advertValid))
		m = binary.BigEndian.AppendUint32(m, wireSeconds[uint32](advertLifetime))
		m = append(m, 0, 0, 0, 0)
		m = append(m, v.prefix.Addr().AsSlice()...)
	}
	if v.mac != (mac{}) {
		m = append(m, linkOption(optionSourceLink, v.mac)...)
	}
	if len(v.dns) > 0 {
		m = append(m, optionRDNSS, byte(1+2*len(v.dns)), 0, 0)
		m = binary.BigEndian.AppendUint32(m, wireSeconds[uint32](advertLifetime))
		for _, server := range v.dns {
			m = append(m, server.AsSlice()...)
		}
	}
	return m
}

func wireSeconds[T uint16 | uint32](d time.Duration) T { return T(d / time.Second) }

// schedule says when to advertise to p next, under r.mu: a few times soon, since the
// session may not have been listening, and then seldom.
func (r *Router) schedule(p *Port) {
	p.v6.adverts++
	after := initialAdvertInterval
	if p.v6.adverts >= initialAdverts {
		// The timer has steps of the initial interval.
		after = minAdvertInterval + rand.N(maxAdvertInterval-initialAdvertInterval-minAdvertInterval)
	}
	p.v6.nextAdvert = time.Now().Add(after)
	if r.advertising == nil {
		r.advertising = time.AfterFunc(initialAdvertInterval, r.advertise)
	}
}

// advertise tells those sessions whose time has come. One timer is enough for all.
func (r *Router) advertise() {
	var due []*Port
	r.mu.Lock()
	if r.life.Err() != nil {
		r.mu.Unlock()
		return
	}
	now := time.Now()
	for p := range r.ports {
		if p.advertises() && !now.Before(p.v6.nextAdvert) {
			due = append(due, p)
			r.schedule(p)
		}
	}
	r.advertising.Reset(initialAdvertInterval)
	r.mu.Unlock()
	for _, p := range due {
		p.announce()
	}
}

// announce advertises to whoever is there, unless the Port is closed.
func (p *Port) announce() {
	if p.gate.TryRLock() {
		defer p.gate.RUnlock()
		p.advertise(allNodes)
	}
}
