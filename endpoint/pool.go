package endpoint

import (
	"context"
	"fmt"
	"net/netip"
	"sync"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/ppp"
)

// A Lease is what an address pool gives to one caller: its address, ours at
// the other end of the link, and the DNS servers that it is told of (at most
// two go into IPCP, RFC 1877).
type Lease struct {
	Peer  netip.Addr
	Local netip.Addr
	DNS   []netip.Addr
	Owner any // the pool's own note, for Release and for whoever asks [Session.Lease]
}

// An AddressRequest is a caller who has proved to be somebody and wants an address.
type AddressRequest struct {
	User    string         // as the peer sent it
	Account any            // of the [Credential]
	Peer    netip.AddrPort // where the tunnel comes from
}

// An AddressPool gives addresses to those who call. Assign may take its time,
// until ctx ends with the call; Release gets every lease that Assign gave.
type AddressPool interface {
	Assign(ctx context.Context, r AddressRequest) (Lease, error)
	Release(Lease)
}

// ErrPoolEmpty is [Pool.Assign]'s error when all addresses are in use. The caller
// is told so; other errors of an [AddressPool] are for the log alone.
var ErrPoolEmpty = ppp.ErrNoAddress

// A Pool is an [AddressPool] of one IPv4 prefix: the lowest free address after
// the one given last, so that an address rests before it is used again.
type Pool struct {
	prefix  netip.Prefix
	gateway netip.Addr
	dns     []netip.Addr

	mu   sync.Mutex
	used map[netip.Addr]bool
	last netip.Addr
	free int
}

// NewPool makes a pool of the prefix's addresses. gateway is our end of every
// link, in the prefix or not, and is not given away; the zero value means the
// prefix's first address. The prefix's own address and its broadcast address are
// not given either, unless it is a /31 or /32.
func NewPool(prefix netip.Prefix, gateway netip.Addr, dns []netip.Addr) (*Pool, error) {
	if !prefix.IsValid() || !prefix.Addr().Is4() {
		return nil, fmt.Errorf("expected an IPv4 prefix such as 10.77.0.0/24 for the pool, found %v", prefix)
	}
	prefix = prefix.Masked()
	p := &Pool{prefix: prefix, gateway: gateway, dns: dns, used: map[netip.Addr]bool{}, last: prefix.Addr()}
	size := 1 << (32 - prefix.Bits())
	if prefix.Bits() < 31 {
		p.used[prefix.Addr()] = true
		p.used[lastAddress(prefix)] = true
	}
	if !gateway.IsValid() {
		p.gateway = prefix.Addr()
		if prefix.Bits() < 31 {
			p.gateway = prefix.Addr().Next()
		}
	}
	if !p.gateway.Is4() {
		return nil, fmt.Errorf("expected an IPv4 address for the gateway, found %v", gateway)
	}
	if prefix.Contains(p.gateway) {
		p.used[p.gateway] = true
	}
	if p.free = size - len(p.used); p.free == 0 {
		return nil, fmt.Errorf("expected a pool with room for a client, found %v with gateway %v", prefix, p.gateway)
	}
	return p, nil
}

// Gateway is our end of every link.
func (p *Pool) Gateway() netip.Addr { return p.gateway }

// Assign gives the next free address, or [ErrPoolEmpty].
func (p *Pool) Assign(context.Context, AddressRequest) (Lease, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.free == 0 {
		return Lease{}, ErrPoolEmpty
	}
	for p.used[p.last] || !p.prefix.Contains(p.last) {
		if p.last = p.last.Next(); !p.prefix.Contains(p.last) {
			p.last = p.prefix.Addr()
		}
	}
	a := p.last
	p.used[a] = true
	p.free--
	p.last = a.Next()
	return Lease{Peer: a, Local: p.gateway, DNS: p.dns}, nil
}

// Release takes an address back.
func (p *Pool) Release(l Lease) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.used[l.Peer] && l.Peer != p.gateway {
		delete(p.used, l.Peer)
		p.free++
	}
}

func lastAddress(p netip.Prefix) netip.Addr {
	b := p.Addr().As4()
	for i := p.Bits(); i < 32; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	return netip.AddrFrom4(b)
}
