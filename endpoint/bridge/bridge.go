package bridge

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/link"
)

const (
	defaultAgeing     = 300 * time.Second // IEEE 802.1Q table 8-11
	defaultMoveAfter  = time.Second
	defaultAddresses  = 8192
	defaultOfPort     = 1024
	defaultFlood      = 1000
	defaultProbe      = time.Second
	defaultHold       = 30 * time.Second
	rememberedWithout = time.Second // how often the table is looked through at least without probes
)

// Config is how a [Bridge] is set up. The zero value is ready to use.
type Config struct {
	// Ageing is for how long an address is remembered after its station was heard last.
	// 0: 300 s; negative: as long as its port is there.
	Ageing time.Duration
	// MoveAfter is for how long after a station was heard on one port its frames are
	// dropped on others, where they are looped, or forged. 0: 1 s; negative: not at all.
	MoveAfter time.Duration
	// Addresses is how many the table has, of all ports. 0: 8,192; negative: no limit.
	Addresses int

	// ProbeInterval is how often each port sends a frame to find loops by. 0: 1 s;
	// negative: never.
	ProbeInterval time.Duration
	// HoldTime is for how long a port is held after the last probe that came back to it.
	// 0: 30 s; negative: for good.
	HoldTime time.Duration
	// Events, if set, is told when a port is held because of a loop, and when it is
	// released, one event at a time. It must not block.
	Events func(Event)

	Logger *slog.Logger // told of loops at Warn, of ports at Debug. nil: silent
	Rand   io.Reader    // for probes. nil: crypto/rand
}

// PortConfig is how a [Port] is set up. The zero value is ready to use.
type PortConfig struct {
	// MTU is the longest payload of a frame that goes out, in bytes, without the 14 of
	// the Ethernet header, and without a tag; what is longer is dropped. 0: no limit.
	MTU int

	// Addresses are known to be behind this port, without a tag: they are not forgotten, and
	// frames from them are dropped elsewhere.
	Addresses []net.HardwareAddr
	// Learned is how many addresses the port has beside those. 0: 1,024; negative: no
	// limit but the table's.
	Learned int

	// Unknown, Broadcast and Multicast are how many frames a second that come in at the
	// port are flooded to the others: those for addresses that are not known, for all,
	// and for groups. Unlearned is how many are forwarded from stations that the table
	// has no room for. 0: 1,000; negative: no limit.
	Unknown, Broadcast, Multicast, Unlearned int

	// LearnedOnly drops frames from stations that there is no room for, instead of so many
	// a second: the port has no more than Learned of them.
	LearnedOnly bool

	// Isolated ports do not reach each other, only those that are not isolated.
	Isolated bool
	// Edge says that there can be no loop behind the port, such as that of a stack of our
	// own: it sends no probes.
	Edge bool
}

// An Event is what becomes of a port.
type Event struct {
	Port *Port
	Held bool  // or released
	From *Port // whose probe came back; nil when Held is false
}

// A Bridge joins Ethernet links. Its methods may be called from many goroutines.
type Bridge struct {
	ageing, moveAfter, hold int64 // nanoseconds
	most                    int
	log                     *slog.Logger
	events                  func(Event)
	rand                    io.Reader
	self                    mac // from which probes come
	start                   time.Time
	table                   table
	ports                   atomic.Pointer[[]*Port] // never changed, only replaced
	lower                   atomic.Int64            // when a probe of a bridge with a lower address came in last

	mu     sync.Mutex // of what is entered, forgotten and held; never while a frame is sent
	closed bool
	last   int // the port's number
	probe  time.Duration
	timer  *time.Timer
	tick   int // how many times the timer has been

	telling sync.Mutex // of Events
}

// New makes a bridge without ports. A nil cfg means the zero Config.
func New(cfg *Config) (*Bridge, error) {
	if cfg == nil {
		cfg = &Config{}
	}
	b := &Bridge{
		ageing: longest(cfg.Ageing, defaultAgeing),
		hold:   longest(cfg.HoldTime, defaultHold),
		most:   most(cfg.Addresses, defaultAddresses),
		log:    cfg.Logger,
		events: cfg.Events,
		rand:   cfg.Rand,
		start:  time.Now(),
		probe:  cfg.ProbeInterval,
	}
	if b.moveAfter = int64(cfg.MoveAfter); cfg.MoveAfter == 0 {
		b.moveAfter = int64(defaultMoveAfter)
	}
	if b.log == nil {
		b.log = slog.New(slog.DiscardHandler)
	}
	if b.rand == nil {
		b.rand = rand.Reader
	}
	if b.probe == 0 {
		b.probe = defaultProbe
	}
	var self [6]byte
	if _, err := io.ReadFull(b.rand, self[:]); err != nil {
		return nil, fmt.Errorf("bridge: %w", err)
	}
	self[0] = self[0]&^1 | 2 // of one station, locally administered
	b.self = toMAC(self[:])
	b.ports.Store(new([]*Port))
	b.table.make()
	return b, nil
}

// now is the time since the bridge was made, in nanoseconds: what everything is
// reckoned in.
func (b *Bridge) now() int64 { return int64(time.Since(b.start)) }

// Attach adds a port, of a name for people, whose frames go to out. What comes in is
// given to the Port. Nil for out: the link is down ([Port.SetLink]). A nil cfg means the
// zero PortConfig.
func (b *Bridge) Attach(name string, out link.Sink, cfg *PortConfig) (*Port, error) {
	if cfg == nil {
		cfg = &PortConfig{}
	}
	if cfg.MTU < 0 {
		return nil, fmt.Errorf("bridge: port %q: expected an MTU of 1 or more, or 0 for no limit, found %d", name, cfg.MTU)
	}
	p := &Port{bridge: b, name: name, most: most(cfg.Learned, defaultOfPort), isolated: cfg.Isolated, edge: cfg.Edge, learnedOnly: cfg.LearnedOnly, entries: map[place]*entry{}}
	if out != nil {
		p.out.Store(&out)
	}
	p.ChangeMTU(cfg.MTU)
	for kind, limit := range [...]int{unknown: cfg.Unknown, toAll: cfg.Broadcast, toGroup: cfg.Multicast, unlearned: cfg.Unlearned} {
		p.rates[kind].set(limit)
	}

	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, fmt.Errorf("bridge: port %q: %w", name, net.ErrClosed)
	}
	for _, a := range cfg.Addresses {
		m := toMAC(a)
		if len(a) != 6 || !m.isStation() {
			return nil, fmt.Errorf("bridge: port %q: expected the MAC address of a station, found %v", name, a)
		}
		if e := b.table.look(m.in(0)); e != nil && e.static {
			return nil, fmt.Errorf("bridge: port %q: the address %v is fixed for port %q", name, a, e.port.Load().name)
		}
	}
	b.last++
	p.number = b.last
	for _, a := range cfg.Addresses {
		b.fix(p, toMAC(a).in(0))
	}
	ports := append(slices.Clone(*b.ports.Load()), p)
	b.ports.Store(&ports)
	if b.timer == nil {
		b.timer = time.AfterFunc(b.interval(), b.beat)
	}
	b.log.Debug("bridge port attached", "port", name, "number", p.number)
	return p, nil
}

// interval is how often the timer comes.
func (b *Bridge) interval() time.Duration {
	if b.probe < 0 {
		return rememberedWithout
	}
	return b.probe
}

// beat is what is done now and then.
func (b *Bridge) beat() {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return
	}
	b.tick++
	now := b.now()
	b.forgetOld(now)
	released := b.release(now)
	b.timer.Reset(b.interval())
	b.mu.Unlock()
	for _, p := range released {
		b.tell(Event{Port: p})
	}
	if b.probe > 0 {
		b.sendProbes()
	}
}

// Ports are those that are attached, in their order.
func (b *Bridge) Ports() []*Port { return slices.Clone(*b.ports.Load()) }

// PortOf is the port behind which an address is, whose frames have no tag; nil: it is not
// known.
func (b *Bridge) PortOf(a net.HardwareAddr) *Port {
	if len(a) != 6 {
		return nil
	}
	if e := b.table.look(toMAC(a).in(0)); e != nil {
		return e.port.Load()
	}
	return nil
}

// Close closes all ports. The error is nil.
func (b *Bridge) Close() error {
	b.mu.Lock()
	b.closed = true
	if b.timer != nil {
		b.timer.Stop()
	}
	b.mu.Unlock()
	var errs []error
	for _, p := range b.Ports() {
		errs = append(errs, p.Close())
	}
	return errors.Join(errs...)
}
