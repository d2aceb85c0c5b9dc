package endpoint

import (
	"net/netip"
	"slices"
	"sync/atomic"
)

// A sessionTable finds sessions of L2TPv3 by our identifier (32 bits) and the peer's
// address, for readers without a lock. Two peers may have been given the same
// identifier: those of static sessions are people's choice. Writers take turns under a
// lock of the owner's.
type sessionTable struct {
	rows [256]atomic.Pointer[[]*Session] // in the order of the identifiers
}

func (t *sessionTable) row(id uint32) *atomic.Pointer[[]*Session] {
	return &t.rows[byte(id^id>>8^id>>16^id>>24)]
}

// get is the session; known tells whether there is one with that identifier at all.
func (t *sessionTable) get(id uint32, peer netip.AddrPort) (s *Session, known bool) {
	row := t.row(id).Load()
	if row == nil {
		return nil, false
	}
	i, known := slices.BinarySearchFunc(*row, id, byID)
	for ; i < len(*row) && (*row)[i].id == id; i++ {
		if s := (*row)[i]; s.tunnel.Peer() == peer {
			return s, true
		}
	}
	return nil, known
}

// add puts a session in.
func (t *sessionTable) add(s *Session) {
	at := t.row(s.id)
	var row []*Session
	if r := at.Load(); r != nil {
		row = slices.Clone(*r)
	}
	i, _ := slices.BinarySearchFunc(row, s.id, byID)
	row = slices.Insert(row, i, s)
	at.Store(&row)
}

// remove takes a session out.
func (t *sessionTable) remove(s *Session) {
	at := t.row(s.id)
	r := at.Load()
	if r == nil {
		return
	}
	row := slices.DeleteFunc(slices.Clone(*r), func(o *Session) bool { return o == s })
	at.Store(&row)
}
