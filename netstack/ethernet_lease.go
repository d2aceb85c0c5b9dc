package netstack

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// A leasing is a client of DHCP at work. Its lock is held while the stack is told what
// has changed, and not while something is sent.
type leasing struct {
	mu     sync.Mutex
	client leaseClient
	timer  *time.Timer
}

// lease begins to ask for a lease.
func (n *EthernetNIC) lease() {
	d := &leasing{client: leaseClient{mac: n.layer.mac, random: n.nic.stack.rand}}
	n.dhcp = d
	d.timer = time.AfterFunc(time.Hour, n.leaseTick)
	n.layer.client = func(message []byte, from mac) {
		n.leaseDo(func(now time.Time) { d.client.handle(now, message, from) })
	}
	n.leaseDo(d.client.start)
}

func (n *EthernetNIC) leaseTick() {
	if !n.layer.gate.TryRLock() {
		return
	}
	defer n.layer.gate.RUnlock()
	n.leaseDo(n.dhcp.client.expire)
}

// leaseDo has f change what the client knows, and does what follows.
func (n *EthernetNIC) leaseDo(f func(now time.Time)) {
	d := n.dhcp
	var send []func()
	d.mu.Lock()
	now := time.Now()
	f(now)
	for e, ok := d.client.next(); ok; e, ok = d.client.next() {
		switch {
		case e.send != nil:
			send = append(send, func() { n.layer.sendDHCP4(*e.send) })
		case e.probe.IsValid():
			send = append(send, func() { n.layer.probe(e.probe) })
		case e.claim.IsValid():
			send = append(send, func() { n.layer.announce(e.claim) })
		case e.bound != nil:
			n.bound(e.bound)
			send = append(send, func() { n.layer.announce(e.bound.addr.Addr()) })
		default:
			n.nic.stack.log.Info("DHCP", "lost", e.lost)
			n.bound(nil)
		}
	}
	d.timer.Stop()
	if due := d.client.deadline(); !due.IsZero() {
		d.timer.Reset(due.Sub(now))
	}
	d.mu.Unlock()
	for _, f := range send {
		f()
	}
}

// bound makes the stack have a lease, or none.
func (n *EthernetNIC) bound(l *lease) {
	s, was := n.nic.stack, n.current()
	if l != nil && (was == nil || was.addr != l.addr) {
		terr := s.gv.AddProtocolAddress(n.nic.id, tcpip.ProtocolAddress{
			Protocol:          ipv4.ProtocolNumber,
			AddressWithPrefix: tcpip.AddressWithPrefix{Address: toAddress(l.addr.Addr()), PrefixLen: l.addr.Bits()},
		}, stack.AddressProperties{})
		if terr != nil {
			s.log.Warn("DHCP", "address", l.addr, "error", terr.String())
			return
		}
		s.log.Info("DHCP", "address", l.addr, "server", l.server, "until", l.end)
	}
	n.mu.Lock()
	n.held = l
	n.mu.Unlock()
	n.settle4()
	if was != nil && (l == nil || was.addr != l.addr) {
		// What it was bound to is gone, and might be another host's next.
		gone := was.addr.Addr()
		s.abort(func(local, _ netip.Addr) bool { return local == gone })
		s.gv.RemoveAddress(n.nic.id, toAddress(gone))
	}
	mtu := 0
	if l != nil {
		mtu = l.mtu
	}
	n.nic.limitMTU(mtu)
	n.notify()
}

// shut ends what the interface has begun, and gives its lease back.
func (n *EthernetNIC) shut() {
	if d := n.dhcp; d != nil && n.layer.gate.TryRLock() {
		n.leaseDo(d.client.release)
		n.layer.gate.RUnlock()
	}
	n.layer.shut()
}

// Wait waits until the interface has an address to begin connections from: the one that
// DHCP leases if it was asked for, otherwise one that it was given, or that IPv6 has
// made. It fails when ctx or the interface ends, and says what has been missing.
func (n *EthernetNIC) Wait(ctx context.Context) error {
	if n.nic == nil {
		return context.Cause(n.router.life)
	}
	for {
		changed := n.Changed()
		if n.ready() {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("netstack: %w: %w", n.missing(), contextError(ctx))
		case <-n.nic.life.Done():
			return context.Cause(n.nic.life)
		}
	}
}

func (n *EthernetNIC) ready() bool {
	if n.cfg.DHCP {
		return n.current() != nil
	}
	if len(n.cfg.Addresses) > 0 {
		return true
	}
	v := n.nic.v6
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.ready()
}

// missing is why there is no address.
func (n *EthernetNIC) missing() error {
	if n.dhcp == nil {
		return errors.New("no IPv6 router has advertised a prefix")
	}
	n.dhcp.mu.Lock()
	defer n.dhcp.mu.Unlock()
	if why := n.dhcp.client.trouble; why != "" {
		return errors.New(why)
	}
	return errors.New("no DHCP server has made an offer")
}

// WaitIPv6 waits until a router has given the interface a global IPv6 address and a
// default route, as [NIC.WaitIPv6] does.
func (n *EthernetNIC) WaitIPv6(ctx context.Context) error {
	if n.nic == nil {
		return errors.New("netstack: a gateway has no router of its own")
	}
	return n.nic.WaitIPv6(ctx)
}
