package netstack

import (
	"net"
	"net/netip"
	"time"
)

// How neighbors are looked for, by ARP (RFC 826, RFC 1122 §2.3.2) as by Neighbor
// Discovery: RFC 4861 §10 has the constants.
const (
	retransTimer       = time.Second      // RETRANS_TIMER
	maxSolicitations   = 3                // MAX_MULTICAST_SOLICIT, MAX_UNICAST_SOLICIT
	reachableTime      = 30 * time.Second // REACHABLE_TIME
	delayFirstProbe    = 5 * time.Second  // DELAY_FIRST_PROBE_TIME
	maxNeighbors       = 1024             // addresses of a link that are known, or looked for
	maxNeighborWaiting = 32               // packets for one that is looked for; RFC 4861 §7.2.2 wants one at least
	maxWaiting         = 512              // packets for all of those
	neighborsSampled   = 64               // of whom one is forgotten when there are too many
)

// A mac is the address of an Ethernet interface.
type mac [6]byte

var broadcastMAC = mac{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

func (m mac) String() string { return net.HardwareAddr(m[:]).String() }

// isUnicast reports whether one interface can have it.
func (m mac) isUnicast() bool { return m[0]&1 == 0 && m != mac{} }

type neighborState int

// The states of RFC 4861 §7.3.2.
const (
	incomplete neighborState = iota
	reachable
	stale
	delay
	probe
)

// A neighbor is one address of the link.
type neighbor struct {
	addr    netip.Addr
	mac     mac // unless incomplete
	way     *hop
	state   neighborState
	until   time.Time // when the state ends; zero: when it is used
	asked   int
	waiting [][]byte // packets, while incomplete
}

// neighbors are what a host knows of the other hosts of its link: a machine that owns
// neither clock nor packets to ask with. After each call its owner takes what next
// gives, and calls advance when the time of deadline has come.
type neighbors struct {
	way     func(addr netip.Addr, at mac) *hop // what packets to a neighbor go through
	entries map[netip.Addr]*neighbor
	waiting int
	due     time.Time // no state ends before; zero: none ends
	events  []neighborEvent
}

// A neighborEvent is something to do.
type neighborEvent struct {
	addr    netip.Addr
	what    neighborTask
	at      mac // of the neighbor; zero: not known
	way     *hop
	packets [][]byte
}

type neighborTask int

const (
	askNeighbor neighborTask = iota // everybody, or the one at
	sendWaiting                     // packets, by way
	giveUp                          // packets cannot be sent: nobody has the address
	drop                            // packets cannot be sent: there is no room for them any more
)

// find is the way to an address, if it is known, and whether it has to be told that it
// is used.
func (t *neighbors) find(addr netip.Addr) (way *hop, touch bool) {
	n := t.entries[addr]
	if n == nil || n.state == incomplete {
		return nil, false
	}
	return n.way, n.state == stale
}

// touch says that a stale neighbor is sent to (RFC 4861 §7.3.3).
func (t *neighbors) touch(now time.Time, addr netip.Addr) {
	if n := t.entries[addr]; n != nil && n.state == stale {
		t.enter(n, delay, now.Add(delayFirstProbe))
	}
}

// wait keeps a packet, which is the machine's then, until the address is found. It is
// false when there is no room.
func (t *neighbors) wait(now time.Time, addr netip.Addr, packet []byte) bool {
	n := t.entries[addr]
	if n == nil {
		n = t.add(addr)
		t.ask(n, now)
	}
	if n.state != incomplete {
		t.emit(neighborEvent{addr: addr, what: sendWaiting, at: n.mac, way: n.way, packets: [][]byte{packet}})
		return true
	}
	if len(n.waiting) >= maxNeighborWaiting || t.waiting >= maxWaiting {
		return false
	}
	n.waiting = append(n.waiting, packet)
	t.waiting++
	return true
}

// add makes an entry. When there are too many, another one is forgotten.
func (t *neighbors) add(addr netip.Addr) *neighbor {
	if len(t.entries) >= maxNeighbors {
		t.makeRoom()
	}
	if t.entries == nil {
		t.entries = make(map[netip.Addr]*neighbor)
	}
	n := &neighbor{addr: addr}
	t.entries[addr] = n
	return n
}

// makeRoom forgets a neighbor that is not in use, or else one that is looked for, as those
// are who somebody invents (RFC 6583 §7.1): who is there answers before it is his turn.
// Where there are neither, because one host answers for all, it is whoever it hits: others
// could not be found at all.
func (t *neighbors) makeRoom() {
	var victim *neighbor
	seen := 0
	for _, n := range t.entries { // in no order: nobody can say who is next
		if victim == nil || n.state == stale || n.state == incomplete && victim.state != incomplete {
			victim = n
		}
		if seen++; victim.state == stale || seen == neighborsSampled {
			break
		}
	}
	delete(t.entries, victim.addr)
	if victim.state == incomplete {
		t.waiting -= len(victim.waiting)
		t.emit(neighborEvent{addr: victim.addr, what: drop, packets: victim.waiting})
	}
}

// A hearsay is how a neighbor's address has come to be known.
type hearsay struct {
	solicited bool // it answers
	override  bool // it counts more than what is known
	create    bool // it counts though nobody has asked
}

// heard takes in where a neighbor is, as RFC 4861 §7.2.5 and §7.2.3 have it.
func (t *neighbors) heard(now time.Time, addr netip.Addr, at mac, h hearsay) {
	n := t.entries[addr]
	if n == nil {
		if !h.create {
			return
		}
		n = t.add(addr)
	}
	switch {
	case n.state == incomplete:
		t.found(n, at)
		t.enter(n, stale, time.Time{})
		if h.solicited {
			t.enter(n, reachable, now.Add(reachableTime))
		}
		if len(n.waiting) > 0 {
			t.emit(neighborEvent{addr: addr, what: sendWaiting, at: at, way: n.way, packets: n.waiting})
			t.waiting -= len(n.waiting)
			n.waiting = nil
			t.touch(now, addr)
		}
	case n.mac != at && !h.override:
		if n.state == reachable {
			t.enter(n, stale, time.Time{})
		}
	case h.solicited:
		t.found(n, at)
		t.enter(n, reachable, now.Add(reachableTime))
	case n.mac != at:
		t.found(n, at)
		t.enter(n, stale, time.Time{})
	}
}

func (t *neighbors) found(n *neighbor, at mac) {
	if n.way == nil || n.mac != at {
		n.mac, n.way = at, t.way(n.addr, at)
	}
}

func (t *neighbors) enter(n *neighbor, s neighborState, until time.Time) {
	n.state, n.until, n.asked = s, until, 0
	t.arm(until)
}

func (t *neighbors) arm(until time.Time) {
	if !until.IsZero() && (t.due.IsZero() || until.Before(t.due)) {
		t.due = until
	}
}

func (t *neighbors) ask(n *neighbor, now time.Time) {
	n.asked++
	n.until = now.Add(retransTimer)
	t.arm(n.until)
	t.emit(neighborEvent{addr: n.addr, what: askNeighbor, at: n.mac})
}

func (t *neighbors) emit(e neighborEvent) { t.events = append(t.events, e) }

// next is what there is to be done.
func (t *neighbors) next() (e neighborEvent, ok bool) {
	if len(t.events) == 0 {
		return e, false
	}
	e, t.events = t.events[0], t.events[1:]
	return e, true
}

// advance ends the states whose time has come.
func (t *neighbors) advance(now time.Time) {
	if t.due.IsZero() || t.due.After(now) {
		return
	}
	t.due = time.Time{}
	for _, n := range t.entries {
		if n.until.IsZero() {
			continue
		}
		if n.until.After(now) {
			t.arm(n.until)
			continue
		}
		switch {
		case n.state == reachable:
			t.enter(n, stale, time.Time{})
		case n.state == delay:
			t.enter(n, probe, time.Time{})
			t.ask(n, now)
		case n.asked < maxSolicitations: // incomplete, or probe
			t.ask(n, now)
		default:
			delete(t.entries, n.addr)
			t.waiting -= len(n.waiting)
			t.emit(neighborEvent{addr: n.addr, what: giveUp, packets: n.waiting})
		}
	}
}

// deadline is when to call advance, or zero: never.
func (t *neighbors) deadline() time.Time { return t.due }
