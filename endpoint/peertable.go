package endpoint

import (
	"iter"
	"net/netip"
	"slices"
	"time"
)

// peerTunnels are the tunnels with one address that have a control connection; there is at
// least one. However many they are, none of what strangers may ask for looks at all of
// them. The endpoint's lock is held for all of it.
type peerTunnels struct {
	// Dialled, by the version of L2TP that they are of: an SCCRQ of the peer's may be meant to
	// be in their place, if its tunnel would be of the same version.
	contending [versions]tunnelList
	others     tunnelList
	nameless   []*Tunnel             // dialled, and the peer has not told its id yet
	dialled    map[givenName]*Tunnel // dialled, by the peer's id
}

// What contends with what: a tunnel that has been dialled with a fall-back may come to be of
// either version, until the peer has replied.
const (
	ofV2 uint8 = iota
	ofV3
	ofEither
	versions
)

// A givenName is the id that the peer has given to a tunnel.
type givenName struct {
	id uint32
	v3 bool // ids of L2TPv3 are others than those of L2TPv2
}

// A tunnelList has tunnels in the order in which they came.
type tunnelList struct{ first, last *Tunnel }

// A listed tunnel's neighbours in the tunnelList of its peer.
type listed struct {
	in             *tunnelList
	before, behind *Tunnel
}

func (l *tunnelList) add(t *Tunnel) {
	t.listed = listed{in: l, before: l.last}
	if l.last == nil {
		l.first = t
	} else {
		l.last.listed.behind = t
	}
	l.last = t
}

func (l *tunnelList) remove(t *Tunnel) {
	at := t.listed
	if at.before == nil {
		l.first = at.behind
	} else {
		at.before.listed.behind = at.behind
	}
	if at.behind == nil {
		l.last = at.before
	} else {
		at.behind.listed.before = at.before
	}
	t.listed = listed{}
}

func (l *tunnelList) each(yield func(*Tunnel) bool) bool {
	for t := l.first; t != nil; t = t.listed.behind {
		if !yield(t) {
			return false
		}
	}
	return true
}

// all are the tunnels of all lists; p may be nil.
func (p *peerTunnels) all() iter.Seq[*Tunnel] {
	return func(yield func(*Tunnel) bool) {
		if p == nil {
			return
		}
		for i := range p.contending {
			if !p.contending[i].each(yield) {
				return
			}
		}
		p.others.each(yield)
	}
}

// index and unindex keep the tunnels of each address; mu is held.
func (e *Endpoint) index(t *Tunnel) {
	peer := t.Peer()
	p := e.byAddr[peer]
	if p == nil {
		p = &peerTunnels{}
		e.byAddr[peer] = p
	}
	if t.dialed() {
		p.contending[t.contestNow()].add(t)
	} else {
		p.others.add(t)
	}
	p.named(t)
}

func (e *Endpoint) unindex(t *Tunnel) {
	peer := t.Peer()
	p := e.byAddr[peer]
	t.listed.in.remove(t)
	p.nameless = slices.DeleteFunc(p.nameless, func(o *Tunnel) bool { return o == t })
	if name := t.givenName(); p.dialled[name] == t {
		delete(p.dialled, name)
	}
	for range p.all() {
		return // there are others
	}
	delete(e.byAddr, peer)
}

// settled moves a tunnel that was dialled, and is established, to those of its version.
func (p *peerTunnels) settled(t *Tunnel) {
	if t.listed.in == &p.contending[ofEither] {
		p.contending[ofEither].remove(t)
		p.contending[t.contestNow()].add(t)
	}
}

// contestOf is what contends with a tunnel that was dialled for these versions.
func contestOf(v2, v3 bool) uint8 {
	switch {
	case v2 && v3:
		return ofEither
	case v3:
		return ofV3
	}
	return ofV2
}

// contestNow is that of a tunnel whose version may be known by now.
func (t *Tunnel) contestNow() uint8 {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.version != 0 {
		return contestOf(t.version == 2, t.version == 3)
	}
	return t.contest
}

// named notes the peer's id of a tunnel that was dialled, once it is known.
func (p *peerTunnels) named(t *Tunnel) {
	switch name := t.givenName(); {
	case !t.dialed():
	case name.id == 0:
		p.nameless = append(p.nameless, t)
	default:
		p.nameless = slices.DeleteFunc(p.nameless, func(o *Tunnel) bool { return o == t })
		if p.dialled == nil {
			p.dialled = map[givenName]*Tunnel{}
		}
		p.dialled[name] = t
	}
}

func (t *Tunnel) givenName() givenName {
	t.mu.Lock()
	defer t.mu.Unlock()
	return givenName{t.peerID, t.version == 3}
}

// find is the first tunnel of an address that is wanted, or nil. It may look at all of
// them: it is not for what a peer sends.
func (e *Endpoint) find(peer netip.AddrPort, want func(*Tunnel) bool) *Tunnel {
	e.mu.Lock()
	defer e.mu.Unlock()
	for t := range e.byAddr[peer].all() {
		if want(t) {
			return t
		}
	}
	return nil
}

// only is the tunnel of an address that has no other; nil when it has none or more.
func (e *Endpoint) only(peer netip.AddrPort) (t *Tunnel) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for o := range e.byAddr[peer].all() {
		if t != nil {
			return nil
		}
		t = o
	}
	return t
}

// stopped is the tunnel that we have dialled and an LNS ends by a StopCCN without our id:
// the one to which it gave that id, or else the first that it has not given any.
func (e *Endpoint) stopped(by peerID) *Tunnel {
	e.mu.Lock()
	defer e.mu.Unlock()
	p := e.byAddr[by.addr]
	if p == nil {
		return nil
	}
	if t := p.dialled[givenName{by.id, by.v3}]; t != nil {
		return t
	}
	if len(p.nameless) > 0 {
		return p.nameless[0]
	}
	return nil
}

// rival is our tunnel to the address that an SCCRQ came from, if it is being dialled or
// was until just now, and is, or may come to be, of the version of what the SCCRQ asks for.
// In another version the two have nothing to do with each other: one is not what the other
// was dialled for.
func (e *Endpoint) rival(caller peerID) *Tunnel {
	e.mu.Lock()
	defer e.mu.Unlock()
	p := e.byAddr[caller.addr]
	if p == nil {
		return nil
	}
	same := ofV2
	if caller.v3 {
		same = ofV3
	}
	for _, l := range []*tunnelList{&p.contending[same], &p.contending[ofEither]} {
		for t := l.first; t != nil; t = l.first {
			if t.contends() {
				return t
			}
			l.remove(t) // it never will again
			p.others.add(t)
		}
	}
	return nil
}

// contends tells whether a tunnel that we have dialled may still meet one that its peer
// has dialled at the same time.
func (t *Tunnel) contends() bool {
	up := t.upAt.Load()
	return !t.isDown() && (up == nil || time.Since(*up) <= rivalTime)
}
