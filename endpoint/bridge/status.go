package bridge

import (
	"cmp"
	"net"
	"slices"
	"sync/atomic"
	"time"
)

// Counters are what a port has seen so far. Each frame that came in and was not
// forwarded is counted in one of the drops.
type Counters struct {
	FramesIn, BytesIn   uint64 // all that came in
	FramesOut, BytesOut uint64 // all that went out, without probes

	// Drops of frames that came in.
	Malformed uint64 // shorter than a header, or not from a station's address, or no probe in spite of its source
	Reserved  uint64 // for 01:80:c2:00:00:00 to 0f, which no bridge forwards
	Filtered  uint64 // for a station behind the same port, or behind another isolated one
	Elsewhere uint64 // from a station that was heard on another port just now, or is fixed there
	Limited   Limited

	// Drops of frames that were to go out.
	TooLong uint64 // longer than the MTU

	Held uint64 // frames in or out while the port was held
	Down uint64 // frames in or out while the port's link was down
	Late uint64 // frames in after it was closed

	Moved     uint64 // stations that have moved here
	Displaced uint64 // addresses that were forgotten because other ports needed room
	Loops     uint64 // probes that came back
	Holds     uint64 // how often the port was held
}

// Limited are frames above the limits of [PortConfig].
type Limited struct{ Unknown, Broadcast, Multicast, Unlearned uint64 }

type counters struct {
	framesIn, bytesIn, framesOut, bytesOut   atomic.Uint64
	malformed, reserved, filtered, elsewhere atomic.Uint64
	limited                                  [floods]atomic.Uint64
	tooLong, held, down, late                atomic.Uint64
	moved, displaced, loops, holds           atomic.Uint64
}

// Counters are the port's counters so far.
func (p *Port) Counters() Counters {
	c := &p.counters
	return Counters{
		FramesIn: c.framesIn.Load(), BytesIn: c.bytesIn.Load(),
		FramesOut: c.framesOut.Load(), BytesOut: c.bytesOut.Load(),
		Malformed: c.malformed.Load(), Reserved: c.reserved.Load(),
		Filtered: c.filtered.Load(), Elsewhere: c.elsewhere.Load(),
		Limited: Limited{
			Unknown: c.limited[unknown].Load(), Broadcast: c.limited[toAll].Load(),
			Multicast: c.limited[toGroup].Load(), Unlearned: c.limited[unlearned].Load(),
		},
		TooLong: c.tooLong.Load(), Held: c.held.Load(), Down: c.down.Load(), Late: c.late.Load(),
		Moved: c.moved.Load(), Displaced: c.displaced.Load(), Loops: c.loops.Load(), Holds: c.holds.Load(),
	}
}

// A PortStatus says how a port is.
type PortStatus struct {
	Name      string
	Number    int  // of the port, from 1 on
	MTU       int  // 0: no limit
	Held      bool // because of a loop
	Down      bool // its link is
	Addresses int  // behind it, as far as known
	Counters  Counters
}

// Status is how the port is.
func (p *Port) Status() PortStatus {
	s := PortStatus{Name: p.name, Number: p.number, Held: p.held.Load(), Down: p.out.Load() == nil, Counters: p.Counters()}
	if longest := p.longest.Load(); longest <= 1<<31 {
		s.MTU = int(longest) - headerLen
	}
	p.bridge.mu.Lock()
	s.Addresses = len(p.entries)
	p.bridge.mu.Unlock()
	return s
}

// Status is how all ports are, in their order.
func (b *Bridge) Status() []PortStatus {
	var all []PortStatus
	for _, p := range *b.ports.Load() {
		all = append(all, p.Status())
	}
	return all
}

// A Station is an address in the table.
type Station struct {
	Address net.HardwareAddr
	VLAN    uint16 // of its frames' tags; 0: none
	Port    *Port
	Static  bool
	Heard   time.Duration // ago, on that port; 0 for a static one
}

// Stations are the addresses in the table, those of a port together and in order.
func (b *Bridge) Stations() []Station {
	var all []Station
	b.mu.Lock()
	for _, p := range *b.ports.Load() {
		all = append(all, p.stations()...)
	}
	b.mu.Unlock()
	sortStations(all)
	return all
}

// Stations are the addresses behind the port, in order.
func (p *Port) Stations() []Station {
	p.bridge.mu.Lock()
	all := p.stations()
	p.bridge.mu.Unlock()
	sortStations(all)
	return all
}

// stations is Stations in no order, under the bridge's lock.
func (p *Port) stations() (all []Station) {
	now := p.bridge.now()
	for m, e := range p.entries {
		s := Station{Address: m.mac().hardware(), VLAN: m.vlan(), Port: p, Static: e.static}
		if !e.static {
			s.Heard = time.Duration(max(now-e.heard.Load(), 0))
		}
		all = append(all, s)
	}
	return all
}

func sortStations(all []Station) {
	slices.SortFunc(all, func(a, b Station) int {
		return cmp.Or(cmp.Compare(a.Port.number, b.Port.number), slices.Compare(a.Address, b.Address), cmp.Compare(a.VLAN, b.VLAN))
	})
}
