package endpoint

import (
	"net/netip"
	"time"
)

// A halfOpenRecord is a half-open tunnel: all that it takes to make its machine again, as it
// was when it answered the SCCRQ.
type halfOpenRecord struct {
	peer  netip.AddrPort
	local netip.Addr
	seed  [32]byte      // of the machine's random source
	came  time.Duration // by the clock of halfOpen
	key   uint64        // of peer and peerID: see hasher
	long  []byte        // the SCCRQ, if it does not fit below

	received, sent uint32 // bytes from and to the peer
	peerID, id     uint32 // the peer's id of the tunnel, and ours
	older, newer   uint16 // records; none: 0
	length         uint16 // of the SCCRQ below
	v3             bool   // it is to be a tunnel of L2TPv3
	messages       uint8  // that were looked into
	refused        bool   // its SCCCN was answered by a StopCCN
	sccrq          [263]byte
}

const (
	recordMessagesMax = 64   // of a record that are looked into
	sccrqMax          = 2048 // bytes of an SCCRQ that is taken, or sizeof(sccrq) under load
	recordChunk       = 64   // records that are made at once
)

func (r *halfOpenRecord) datagram() []byte {
	if r.long != nil {
		return r.long
	}
	return r.sccrq[:r.length]
}

// same tells whether an SCCRQ is the one of the record: a repetition is it octet by
// octet.
func (r *halfOpenRecord) same(datagram []byte) bool {
	h, mine, _ := parseControl(r.datagram())
	other, avps, err := parseControl(datagram)
	return err == nil && h.Version == other.Version && string(mine) == string(avps)
}

func (r *halfOpenRecord) caller() peerID { return peerID{r.peer, r.peerID, r.v3} }

// is tells whether the record is a peer's tunnel: keys are not proof against chance.
func (r *halfOpenRecord) is(p peerID) bool { return r != nil && r.caller() == p }

// credit counts a reply, if it may be sent.
func (r *halfOpenRecord) credit(reply []byte, factor int) bool {
	if uint64(r.sent)+uint64(len(reply)) > uint64(r.received)*uint64(factor) {
		return false
	}
	r.sent += uint32(len(reply))
	return true
}

// A halfOpenTable has the half-open tunnels in order of their age. A record is
// referred to by its number; 0 is the list's head and tail.
type halfOpenTable struct {
	chunks  [][]halfOpenRecord
	made    int
	free    []uint16
	byKey   map[uint64]uint16
	byID    map[uint16]uint16 // by the low 16 bits of our tunnel id
	sources map[uint64]uint16 // records of each, by its key
}

func newHalfOpenTable() halfOpenTable {
	t := halfOpenTable{byKey: map[uint64]uint16{}, byID: map[uint16]uint16{}, sources: map[uint64]uint16{}}
	t.made, t.chunks = 1, [][]halfOpenRecord{make([]halfOpenRecord, recordChunk)}
	return t
}

func (t *halfOpenTable) at(n uint16) *halfOpenRecord { return &t.chunks[n/recordChunk][n%recordChunk] }

func (t *halfOpenTable) len() int { return len(t.byID) }

// oldest is nil when there is none.
func (t *halfOpenTable) oldest() *halfOpenRecord {
	if n := t.at(0).newer; n != 0 {
		return t.at(n)
	}
	return nil
}

func (t *halfOpenTable) ofKey(key uint64) *halfOpenRecord {
	if n, ok := t.byKey[key]; ok {
		return t.at(n)
	}
	return nil
}

func (t *halfOpenTable) ofID(id uint32) *halfOpenRecord {
	if n, ok := t.byID[uint16(id)]; ok && t.at(n).id == id {
		return t.at(n)
	}
	return nil
}

// add takes a copy of a record, whose key no other has, as the newest of a source.
func (t *halfOpenTable) add(r *halfOpenRecord, source uint64) *halfOpenRecord {
	var n uint16
	if k := len(t.free); k > 0 {
		n, t.free = t.free[k-1], t.free[:k-1]
	} else {
		if t.made == len(t.chunks)*recordChunk {
			t.chunks = append(t.chunks, make([]halfOpenRecord, recordChunk))
		}
		n = uint16(t.made)
		t.made++
	}
	head, to := t.at(0), t.at(n)
	*to = *r
	to.older, to.newer = head.older, 0
	t.at(head.older).newer, head.older = n, n
	t.byKey[to.key], t.byID[uint16(to.id)] = n, n
	t.sources[source]++
	return to
}

// remove takes a record of a source out; what it points to is not valid any more.
func (t *halfOpenTable) remove(r *halfOpenRecord, source uint64) {
	n := t.byID[uint16(r.id)]
	t.at(r.older).newer, t.at(r.newer).older = r.newer, r.older
	delete(t.byKey, r.key)
	delete(t.byID, uint16(r.id))
	if t.sources[source]--; t.sources[source] == 0 {
		delete(t.sources, source)
	}
	*r = halfOpenRecord{}
	t.free = append(t.free, n)
}
