package netstack

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/link"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

const (
	defaultMTU = 1400 // the MRU that package endpoint asks for
	minMTU     = 68   // RFC 791 §3.2: what every internet module must forward
	minMTU6    = 1280 // RFC 8200 §5: what every link must carry
	// minPathMTU4 is the least that an ICMP error may say of a path, as in Linux. Less is said by nobody who means well:
	// RFC 1191 §3 has 508 and 296 for point-to-point links that have gone, and 0 for routers from before it.
	minPathMTU4 = 552
	maxMTU      = 65535 // RFC 791 §3.1: what the total length can say
)

// IPConfig is how a NIC is set up: with plain values, as IPCP and IPV6CP
// negotiated them.
type IPConfig struct {
	Addresses   []netip.Prefix // the NIC's own, with the lengths of their subnets (/32 on a point-to-point link); at least one unless there is IPv6
	DNS         []netip.Addr   // servers to resolve names with, in order of preference
	MTU         int            // of IP packets, from 68, with IPv6 from 1280. 0: 1400
	InterfaceID [8]byte        // ours, which fe80::/64 makes the link-local address. Zero: no IPv6
	Name        string         // what global IPv6 addresses depend on, with prefix and AddressKey: NICs that follow each other have the same with the same name. Empty: a number
}

// A NIC is a Stack's interface to one session. It is the [link.Sink] for what
// comes in: frames that are IP packets.
type NIC struct {
	base
	out      link.Sink
	down     narrow       // from the stack to out
	given    uint32       // the MTU of IPConfig
	dns      []netip.Addr // of IPConfig
	v6       *nic6        // nil: no IPv6
	ether    *EthernetNIC // whose addresses and routes it has; nil: a point-to-point link
	gate     sync.RWMutex // read-locked by a Put; locked for good by shut
	shutting sync.Once
	counters counters

	mtus  sync.Mutex // of what follows, and held while the stack is told
	fits  int        // the session's MTU
	limit int        // what DHCP says; 0: nothing
}

// base is what a NIC and a Router have in common.
type base struct {
	stack *Stack
	id    tcpip.NICID
	addrs []netip.Addr
	ep    *linkEndpoint
	life  context.Context
	end   context.CancelCauseFunc
}

// AddIP adds a NIC that sends to out, and the default route into it. With IPv6 it
// sends Router Solicitations from then on; its global addresses, unless they are given,
// their default route and DNS servers come with Router Advertisements, and may come
// after AddIP has returned ([NIC.WaitIPv6]).
func (s *Stack) AddIP(out link.Sink, cfg *IPConfig) (*NIC, error) {
	for _, a := range cfg.Addresses {
		if !a.Addr().Is4() && cfg.InterfaceID == [8]byte{} {
			return nil, fmt.Errorf("netstack: an interface without IPv6, which has no interface identifier, cannot be given the address %v", a)
		}
	}
	n := &NIC{out: out}
	if err := s.addNIC(n, cfg); err != nil {
		return nil, err
	}
	return n, nil
}

// addNIC adds n, which knows its way out.
func (s *Stack) addNIC(n *NIC, cfg *IPConfig) error {
	n.given, n.fits = uint32(cmp.Or(cfg.MTU, defaultMTU)), maxMTU
	n.down.out, n.down.back, n.down.counters, n.down.most = n.out, n, &n.counters, n.given
	n.down.mtu.Store(n.given)
	if cfg.InterfaceID != [8]byte{} {
		n.v6 = &nic6{linkLocal: linkLocal(cfg.InterfaceID), changed: make(chan struct{})}
		n.v6.auto.iid = func(p netip.Prefix) [8]byte { return opaqueIID(s.addressKey, cmp.Or(cfg.Name, zone(n.id)), p) }
	}
	for _, server := range cfg.DNS {
		server = server.Unmap()
		if !server.Is4() && n.v6 == nil {
			return fmt.Errorf("netstack: the DNS server %v cannot be asked without IPv6", server)
		}
		n.dns = append(n.dns, server)
	}
	if n.ether == nil && n.v6 == nil && len(cfg.Addresses) == 0 {
		return errNoAddress
	}
	if err := s.add(&n.base, n, cfg.Addresses, cfg.MTU, n.v6 != nil); err != nil {
		return err
	}
	if n.ether == nil {
		n.routeAll()
	}
	if n.v6 != nil && slices.ContainsFunc(n.addrs, netip.Addr.Is6) {
		n.v6.given = n.ether == nil || n.ether.cfg.Gateway6.IsValid()
	}
	if n.v6 != nil {
		if err := n.start6(); err != nil {
			n.Close()
			return fmt.Errorf("netstack: address %v: %w", n.v6.linkLocal, err)
		}
	}
	s.mu.Lock()
	s.dns = append(s.dns, n.dns...)
	s.mu.Unlock()
	return nil
}

// add makes the interface x, of which n is the base.
func (s *Stack) add(n *base, x netInterface, addresses []netip.Prefix, mtu int, v6 bool) error {
	if mtu == 0 {
		mtu = defaultMTU
	}
	if mtu < minMTU || mtu > maxMTU {
		return fmt.Errorf("netstack: an MTU of %d is not from %d to %d", mtu, minMTU, maxMTU)
	}
	ipHeader := header.IPv4MinimumSize
	if v6 {
		ipHeader = header.IPv6MinimumSize
		if mtu < minMTU6 {
			return fmt.Errorf("netstack: no IPv6 with an MTU of %d: it needs %d", mtu, minMTU6)
		}
	}
	for _, a := range addresses {
		if ip := a.Addr(); !a.IsValid() || ip.Is6() && !isGlobal(ip) || ip.IsUnspecified() || ip.IsLoopback() || ip.IsMulticast() {
			return fmt.Errorf("netstack: an interface cannot be given the address %v, only unicast ones", a)
		}
		n.addrs = append(n.addrs, a.Addr())
	}
	n.stack, n.id = s, s.gv.NextNICID()
	n.ep = newLinkEndpoint(s.gv, n.id, mtu, ipHeader, x)
	n.life, n.end = context.WithCancelCause(s.life)

	// Under the lock, so that Close sees the interface or the interface the end.
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.Err(); err != nil {
		return fmt.Errorf("netstack: %w", err)
	}
	if terr := s.gv.CreateNICWithOptions(n.id, n.ep, stack.NICOptions{QDisc: n.ep}); terr != nil {
		return fmt.Errorf("netstack: %s", terr)
	}
	for _, a := range addresses {
		terr := s.gv.AddProtocolAddress(n.id, tcpip.ProtocolAddress{
			Protocol:          protocolOf(a.Addr()),
			AddressWithPrefix: tcpip.AddressWithPrefix{Address: toAddress(a.Addr()), PrefixLen: a.Bits()},
		}, stack.AddressProperties{})
		if terr != nil {
			s.gv.RemoveNIC(n.id)
			return fmt.Errorf("netstack: address %v: %s", a, terr)
		}
	}
	s.interfaces[n.id] = x
	s.log.Debug("interface added", "addresses", addresses, "mtu", mtu)
	return nil
}

var errNoAddress = errors.New("netstack: an interface needs an address")

// routeAll makes the interface the way to everywhere.
func (n *base) routeAll() {
	if slices.ContainsFunc(n.addrs, netip.Addr.Is4) {
		n.stack.gv.AddRoute(tcpip.Route{Destination: header.IPv4EmptySubnet, NIC: n.id})
	}
	if slices.ContainsFunc(n.addrs, netip.Addr.Is6) {
		n.stack.gv.AddRoute(tcpip.Route{Destination: header.IPv6EmptySubnet, NIC: n.id})
	}
}

// routeTo makes it the way to some networks, whichever interface the rest goes to.
func (n *base) routeTo(networks []netip.Prefix) {
	for _, p := range networks {
		if !p.IsValid() {
			continue
		}
		to := tcpip.AddressWithPrefix{Address: toAddress(p.Addr()), PrefixLen: p.Bits()}
		n.stack.gv.AddRoute(tcpip.Route{Destination: to.Subnet(), NIC: n.id})
	}
}

// remove takes the interface out of the stack, once it has been shut.
func (n *base) remove() {
	s := n.stack
	s.mu.Lock()
	x, there := s.interfaces[n.id]
	delete(s.interfaces, n.id)
	s.mu.Unlock()
	if !there {
		return
	}
	s.abort(func(local, _ netip.Addr) bool { return x.has(local) })
	s.gv.RemoveNIC(n.id)
	s.log.Debug("interface removed", "addresses", n.addrs)
}

func (n *base) has(local netip.Addr) bool { return slices.Contains(n.addrs, local) }

func (n *NIC) hasIPv6() bool { return n.v6 != nil }

func (n *NIC) has(local netip.Addr) bool {
	local = local.WithZone("")
	if n.base.has(local) || n.ether != nil && n.ether.leased(local) {
		return true
	}
	if n.v6 == nil || local.Is4() {
		return false
	}
	n.v6.mu.Lock()
	defer n.v6.mu.Unlock()
	return local == n.v6.linkLocal || slices.ContainsFunc(n.v6.addrs, func(a autoAddress) bool { return a.addr == local })
}

// Put takes packets that came in. After Close they are dropped.
func (n *NIC) Put(b *link.Batch) {
	if !n.gate.TryRLock() {
		n.counters.late.Add(uint64(len(b.Frames)))
		return
	}
	defer n.gate.RUnlock()
	n.ep.receive(b, n, &n.counters)
}

// A client takes what its tunnel brings, from anywhere, and has one way out.
func (n *NIC) admit4(p header.IPv4) verdict         { n.stack.echoes.look4(p); return verdict{} }
func (n *NIC) toward(uint32) (link.Sink, *counters) { return &n.down, &n.counters }
func (n *NIC) carrier(netip.Addr) context.Context   { return n.life }

// SetMTU says what the session's MTU is now, in bytes; an endpoint.Session that the
// NIC is attached to does it when the path to its peer turns out to be narrow. More than
// [IPConfig] has said is cut to that. Connections that stand are told at their next
// packet that is too long, which is fragmented.
func (n *NIC) SetMTU(mtu int) {
	if !n.gate.TryRLock() {
		return
	}
	defer n.gate.RUnlock()
	n.mtus.Lock()
	defer n.mtus.Unlock()
	n.fits = mtu
	n.setMTU()
}

// limitMTU says what the network has said that the MTU is. 0: nothing.
func (n *NIC) limitMTU(mtu int) {
	n.mtus.Lock()
	defer n.mtus.Unlock()
	if n.limit == mtu {
		return
	}
	n.limit = mtu
	n.setMTU()
}

// setMTU makes the stack agree with both, under n.mtus.
func (n *NIC) setMTU() {
	least, now := minMTU, n.given
	if n.v6 != nil {
		least = minMTU6
	}
	now = min(now, uint32(max(n.fits, least)))
	if n.limit != 0 {
		now = min(now, uint32(max(n.limit, least)))
	}
	n.down.mtu.Store(now)
	if n.v6 == nil {
		n.ep.mtu.Store(now)
		return
	}
	n.v6.mu.Lock()
	defer n.v6.mu.Unlock()
	n.v6.linkMTU = now
	n.settle(time.Now())
}

func (n *NIC) shut() {
	n.end(net.ErrClosed)
	n.shutting.Do(func() {
		if n.ether != nil {
			n.ether.shut()
		}
		n.gate.Lock()
		if n.v6 != nil {
			n.stop6()
		}
	})
}

// Close removes the NIC from its stack. Conns and listeners that have its
// addresses fail with net.ErrClosed; listeners at any address stay.
func (n *NIC) Close() error {
	n.shut()
	n.remove()
	s := n.stack
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, server := range n.dns {
		if i := slices.Index(s.dns, server); i >= 0 {
			s.dns = slices.Delete(s.dns, i, i+1)
		}
	}
	n.dns = nil
	return nil
}

// Counters are the NIC's counters so far.
func (n *NIC) Counters() Counters { return n.counters.snapshot() }
