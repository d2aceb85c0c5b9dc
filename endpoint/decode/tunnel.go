package decode

import (
	"hash/maphash"
	"net/netip"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

const (
	tunnelsMax  = 4096
	sessionsMax = 16384
)

// An observer knows the tunnels and sessions that a capture has shown so far.
// The two ends of each are 0 and 1; 0 is the one that was seen first.
type observer struct {
	tunnels map[tunnelKey]tunnelEnd // by what is in a header
	// halves are the ends whose id was not seen yet, the one of to in its
	// conversation with from.
	halves   map[pair]map[tunnelEnd]struct{}
	order    []*tunnel // the oldest first
	sessions []*session
	seed     maphash.Seed
}

func newObserver() observer {
	return observer{tunnels: map[tunnelKey]tunnelEnd{}, halves: map[pair]map[tunnelEnd]struct{}{}, seed: maphash.MakeSeed()}
}

// tunnelKey is what names a tunnel to its receiver.
type tunnelKey struct {
	to netip.AddrPort
	id uint32
}

type pair struct{ to, from netip.AddrPort }

// A tunnelEnd is one end of a tunnel.
type tunnelEnd struct {
	*tunnel
	end int
}

// A tunnel is a control connection as an observer knows it.
type tunnel struct {
	addr [2]netip.AddrPort
	id   [2]uint32 // what the end has assigned; 0: not seen
	sent [2]history
	byID [2]map[uint32]*session   // by what the end has assigned
	half [2]map[*session]struct{} // those of which the end's id was not seen
	over bool                     // StopCCN was seen

	nonces [2][]byte // of L2TPv3's digests; nil: none was seen
}

// A session is a call as an observer knows it.
type session struct {
	tunnel *tunnel
	id     [2]uint32
	ppp    ppp
}

// A history is which messages an end has sent lately: Ns, and what it carried.
type history [64]struct {
	sum  uint64
	ns   uint16
	kind wire.MessageType
	ok   bool
}

// repeated notes a message, and reports whether it had been sent before.
func (h *history) repeated(ns uint16, kind wire.MessageType, sum uint64) bool {
	if h.has(ns, sum) {
		return true
	}
	e := &h[int(ns)%len(h)]
	e.ok, e.ns, e.sum, e.kind = true, ns, sum, kind
	return false
}

func (h *history) has(ns uint16, sum uint64) bool {
	e := h[int(ns)%len(h)]
	return e.ok && e.ns == ns && e.sum == sum
}

// at is the type of the message with this Ns.
func (h *history) at(ns uint16) (wire.MessageType, bool) {
	e := h[int(ns)%len(h)]
	return e.kind, e.ok && e.ns == ns
}

// conversation is the tunnel of a header's Tunnel ID, if it was seen before.
func (o *observer) conversation(to netip.AddrPort, id uint32) *tunnel {
	return o.tunnels[tunnelKey{to, id}].tunnel
}

// tunnelOf finds, or begins to know, the tunnel of a message; the end is the
// receiver's. Assigned is the sender's own id if the message tells it, else 0.
// There is no tunnel if nobody can tell which.
func (o *observer) tunnelOf(from, to netip.AddrPort, id, assigned uint32) tunnelEnd {
	if id == 0 {
		if e, ok := o.tunnels[tunnelKey{from, assigned}]; ok {
			return tunnelEnd{e.tunnel, 1 - e.end}
		}
		return o.half(to, from)
	}
	e, ok := o.tunnels[tunnelKey{to, id}]
	if !ok {
		if e = o.half(to, from); e.tunnel == nil {
			e = tunnelEnd{o.newTunnel(to, from), 0}
		}
		o.assign(e, to, id)
	}
	if sender := (tunnelEnd{e.tunnel, 1 - e.end}); assigned != 0 && e.id[sender.end] != assigned {
		o.assign(sender, from, assigned)
	}
	return e
}

// half is the end of to that nothing but its id is missing of, if it is the only one.
func (o *observer) half(to, from netip.AddrPort) tunnelEnd {
	return only(o.halves[pair{to, from}])
}

// only is a set's member if it has only one, else zero.
func only[T comparable](set map[T]struct{}) (member T) {
	if len(set) == 1 {
		for member = range set {
		}
	}
	return member
}

func (o *observer) addHalf(e tunnelEnd) {
	key := pair{e.addr[e.end], e.addr[1-e.end]}
	if o.halves[key] == nil {
		o.halves[key] = map[tunnelEnd]struct{}{}
	}
	o.halves[key][e] = struct{}{}
}

func (o *observer) deleteHalf(e tunnelEnd) {
	key := pair{e.addr[e.end], e.addr[1-e.end]}
	if delete(o.halves[key], e); len(o.halves[key]) == 0 {
		delete(o.halves, key)
	}
}

// newTunnel begins to know a tunnel, of whose ids nothing was seen.
func (o *observer) newTunnel(addr0, addr1 netip.AddrPort) *tunnel {
	if len(o.order) >= tunnelsMax {
		o.forget(o.order[0])
		o.order = o.order[1:]
	}
	t := &tunnel{
		addr: [2]netip.AddrPort{addr0, addr1},
		byID: [2]map[uint32]*session{{}, {}}, half: [2]map[*session]struct{}{{}, {}},
	}
	o.order = append(o.order, t)
	o.addHalf(tunnelEnd{t, 0})
	o.addHalf(tunnelEnd{t, 1})
	return t
}

// assign notes an end's id, and where the end is: it may answer from another
// port than it was asked at (RFC 2661 §8.1). Who has had that id before has no
// use for it any more.
func (o *observer) assign(e tunnelEnd, at netip.AddrPort, id uint32) {
	o.unassign(e)
	if other := (tunnelEnd{e.tunnel, 1 - e.end}); other.id[other.end] == 0 && at != e.addr[e.end] {
		o.deleteHalf(other)
		defer o.addHalf(other)
	}
	e.addr[e.end], e.id[e.end] = at, id
	o.tunnels[tunnelKey{at, id}] = e
}

func (o *observer) unassign(e tunnelEnd) {
	if e.id[e.end] == 0 {
		o.deleteHalf(e)
	} else if key := (tunnelKey{e.addr[e.end], e.id[e.end]}); o.tunnels[key] == e {
		delete(o.tunnels, key)
	}
}

// end notes that a tunnel is over. Its ids still name it, until another has them.
func (o *observer) end(t *tunnel) {
	t.over = true
	for i, id := range t.id {
		if id == 0 {
			o.deleteHalf(tunnelEnd{t, i})
		}
	}
}

// forget takes a tunnel out of the tables.
func (o *observer) forget(t *tunnel) {
	o.unassign(tunnelEnd{t, 0})
	o.unassign(tunnelEnd{t, 1})
}

// sessionOf finds, or begins to know, the session of a message to an end of the
// tunnel. As in tunnelOf, id is the header's and assigned the sender's own. Nil:
// the message does not tell.
func (o *observer) sessionOf(e tunnelEnd, id, assigned uint32) *session {
	sender := 1 - e.end
	s := e.byID[e.end][id]
	if s == nil {
		s = e.byID[sender][assigned]
	}
	if id == 0 && assigned == 0 {
		return nil
	}
	if s == nil && id != 0 {
		s = only(e.half[e.end])
	}
	if s == nil {
		s = o.newSession(e.tunnel)
	}
	s.assign(e.end, id)
	s.assign(sender, assigned)
	return s
}

// newSession begins to know a session, of whose ids nothing was seen.
func (o *observer) newSession(t *tunnel) *session {
	if len(o.sessions) >= sessionsMax {
		o.sessions[0].forget()
		o.sessions = o.sessions[1:]
	}
	s := &session{tunnel: t}
	o.sessions = append(o.sessions, s)
	t.half[0][s], t.half[1][s] = struct{}{}, struct{}{}
	return s
}

// assign notes which id an end has assigned to the session; 0 says nothing.
func (s *session) assign(end int, id uint32) {
	if id != 0 && id != s.id[end] {
		s.unassign(end)
		s.id[end] = id
		s.tunnel.byID[end][id] = s
	}
}

func (s *session) unassign(end int) {
	t := s.tunnel
	if t.byID[end][s.id[end]] == s {
		delete(t.byID[end], s.id[end])
	}
	delete(t.half[end], s)
}

// forget takes a session out of its tunnel: it is over, or was seen too long ago.
func (s *session) forget() {
	s.unassign(0)
	s.unassign(1)
}
