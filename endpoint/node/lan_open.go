package node

import (
	"context"
	"crypto/rand"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/l2tpnet/l2tpnet/endpoint/bridge"
	"github.com/l2tpnet/l2tpnet/endpoint/link"
	"github.com/l2tpnet/l2tpnet/netstack"
	"github.com/l2tpnet/l2tpnet/proxy"
)

// lanPort is the name of our own stack's port.
const lanPort = "lan"

// A lanStack is a LAN at work: a stack on a port of a bridge.
//
//	ports ◄──► Bridge ◄──► Port ◄──► EthernetNIC ─┬─ Stack: Dial, Listen, DNS forwarder
//	                                              ├─ DHCP server
//	                                              └─ Forwarder: Egress
type lanStack struct {
	*LAN
	stack   *netstack.Stack
	shared  bool // the stack is somebody else's
	nic     *netstack.EthernetNIC
	port    *bridge.Port
	dhcp    *netstack.DHCPv4Server
	stopDNS context.CancelFunc
	running sync.WaitGroup
}

// A lateSink is one that is known later than who sends to it: an interface that asks for
// an address before it has been returned. The first frames wait for it.
type lateSink struct {
	to atomic.Pointer[netstack.EthernetNIC]

	mu      sync.Mutex
	waiting [][]byte
}

const lateFrames = 16

func (s *lateSink) Put(b *link.Batch) {
	nic := s.to.Load()
	if nic == nil {
		if nic = s.wait(b); nic == nil {
			return
		}
	}
	nic.Put(b)
}

// wait keeps the frames, unless it is known by now where they go.
func (s *lateSink) wait(b *link.Batch) *netstack.EthernetNIC {
	s.mu.Lock()
	defer s.mu.Unlock()
	if nic := s.to.Load(); nic != nil {
		return nic
	}
	for i := range b.Frames {
		if len(s.waiting) < lateFrames {
			s.waiting = append(s.waiting, b.Frames[i].AppendTo(nil))
		}
	}
	return nil
}

// is says where frames go, those that have waited first.
func (s *lateSink) is(nic *netstack.EthernetNIC) {
	s.mu.Lock()
	s.to.Store(nic)
	waiting := s.waiting
	s.waiting = nil
	s.mu.Unlock()
	b := link.NewBatch()
	defer b.Free()
	for _, f := range waiting {
		b.Add(0, f, nil)
	}
	nic.Put(b)
}

// openLAN joins a stack to a bridge whose links carry so many bytes of IP packets: a stack
// of its own, where there is none yet.
func openLAN(cfg *LAN, stack *netstack.Stack, b *bridge.Bridge, mtu int, log *slog.Logger, random io.Reader) (_ *lanStack, err error) {
	l := &lanStack{LAN: new(*cfg), stack: stack, shared: stack != nil}
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	if l.MTU != 0 {
		mtu = l.MTU
	}
	if random == nil {
		random = rand.Reader
	}
	if l.MAC == nil {
		l.MAC = make(net.HardwareAddr, 6)
		if _, err := io.ReadFull(random, l.MAC); err != nil {
			return nil, err
		}
		l.MAC[0] = l.MAC[0]&^1 | 2 // one interface's, and no manufacturer's
	}
	servers := l.resolvers()
	if l.dhcp, err = l.dhcpServer(mtu, servers != nil); err != nil {
		return nil, err
	}
	if !l.shared {
		if l.stack, err = netstack.New(&netstack.Config{Logger: log, Rand: random}); err != nil {
			return nil, err
		}
	}
	in := &lateSink{}
	if l.port, err = b.Attach(lanPort, in, &bridge.PortConfig{Addresses: []net.HardwareAddr{l.MAC}, Edge: true}); err != nil {
		return nil, err
	}
	if l.nic, err = l.stack.AddEthernet(l.port, l.ethernet(mtu, l.dhcp, servers != nil)); err != nil {
		return nil, err
	}
	in.is(l.nic)
	if servers == nil {
		return l, nil
	}
	d := &proxy.DNS{Servers: servers, Dialer: &net.Dialer{}, Logger: log}
	if l.Egress != nil && l.Egress.Dialer != nil {
		d.Dialer = l.Egress.Dialer
	}
	var at []netip.Addr
	for _, p := range l.addresses() {
		at = append(at, p.Addr())
	}
	l.stopDNS, err = serveDNS(d, l.stack, at, &l.running)
	return l, err
}

// resolvers are the servers that questions are forwarded to; nil: they are not.
func (l *LAN) resolvers() func() []netip.AddrPort { return resolvers(l.ForwardDNS, l.Egress, l.DNS) }

// close ends all that is open, as long as the ports of the bridge are there: a lease is
// given back. What has not been opened is nil.
func (l *lanStack) close() {
	if l.stopDNS != nil {
		l.stopDNS()
	}
	if l.Egress != nil {
		l.Egress.Close()
	}
	if l.nic != nil {
		l.nic.Close()
	}
	if l.port != nil {
		l.port.Close()
	}
	l.running.Wait()
	if l.stack != nil && !l.shared {
		l.stack.Close()
	}
}
