package simnet

import (
	"cmp"
	"container/heap"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"
)

// late is the most that a reordered datagram is held back beyond the others.
const late = 50 * time.Millisecond

// A Link is how one direction between two hosts treats datagrams. The zero
// value delivers everything, at once and in order.
type Link struct {
	// Loss, Duplicate and Reorder are shares of all datagrams, 0 to 1. A
	// reordered datagram is held back by up to 50 ms more than others.
	Loss, Duplicate, Reorder float64

	// Delay is the time from WriteTo to the receiver's queue; up to Jitter
	// more is added to each datagram by chance, so that they overtake.
	Delay, Jitter time.Duration

	// MTU is the longest IP packet in bytes, the IP and UDP headers included
	// (28 bytes over IPv4, 48 over IPv6). What is longer is dropped without
	// a word, as on a path that neither fragments nor tells. Zero: 65,535.
	MTU int
}

// A Fate is what happened to a datagram.
type Fate uint8

// The fates that a tap is told. Every datagram is Sent; then each copy of it
// has one of the others, unless it is in flight when the test ends.
const (
	Sent        Fate = iota
	Delivered        // it is in the receiver's queue
	Lost             // the link lost it
	TooBig           // it is longer than the link's MTU
	Unreachable      // nobody listens at the address that it was sent to
	Overflow         // the receiver's queue was full
)

func (f Fate) String() string {
	switch f {
	case Sent:
		return "sent"
	case Delivered:
		return "delivered"
	case Lost:
		return "lost"
	case TooBig:
		return "too big"
	case Unreachable:
		return "unreachable"
	case Overflow:
		return "overflow"
	}
	return fmt.Sprintf("Fate(%d)", uint8(f))
}

// A Record is what a tap sees of a datagram. The payload is valid during the
// call of the tap.
type Record struct {
	Time     time.Time
	From, To netip.AddrPort
	Payload  []byte
	Fate     Fate
}

// A Net is a network of hosts, each of them one IP address.
type Net struct {
	seed uint64

	mu       sync.Mutex
	conns    map[netip.AddrPort]*Conn
	hosts    int    // how many addresses were given out
	port     uint16 // the last ephemeral port that was given out
	fallback Link
	links    map[[2]netip.Addr]Link
	streams  map[[2]netip.AddrPort]*stream
	flight   flight
	timer    *time.Timer // for the first in flight; nil: none was ever delayed
	tap      func(Record)
}

// New is a network without hosts, whose links are perfect until SetDefault or
// SetLink says otherwise.
func New(seed uint64) *Net {
	return &Net{
		seed:    seed,
		port:    49151, // the first ephemeral port is the one after it (RFC 6335 §6)
		conns:   make(map[netip.AddrPort]*Conn),
		links:   make(map[[2]netip.Addr]Link),
		streams: make(map[[2]netip.AddrPort]*stream),
	}
}

// SetDefault sets all links that SetLink has not set, from now on.
func (n *Net) SetDefault(l Link) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.fallback = l
}

// SetLink sets the direction from one host to another, from now on; what is in
// flight is not touched. The hosts are IP addresses without a port. A Loss of 1
// both ways is a partition. It panics when an address does not parse.
func (n *Net) SetLink(from, to string, l Link) {
	key := [2]netip.Addr{netip.MustParseAddr(from).Unmap(), netip.MustParseAddr(to).Unmap()}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.links[key] = l
}

// SetTap has f called with everything that happens to every datagram, in the
// order in which it happens. f must not call the network or its sockets.
func (n *Net) SetTap(f func(Record)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.tap = f
}

// Listen opens a socket at "10.0.0.1:1701" or "[fd00::1]:1701". Port 0 picks a
// free one. An empty host, as in ":0", is a new host, with an address of its
// own from 10.255.0.0/16. An address in use is [syscall.EADDRINUSE].
func (n *Net) Listen(address string) (*Conn, error) {
	fail := func(err error) (*Conn, error) {
		return nil, &net.OpError{Op: "listen", Net: "udp", Err: fmt.Errorf("simnet: %q: %w", address, err)}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(address) > 0 && address[0] == ':' {
		n.hosts++
		address = fmt.Sprintf("10.255.%d.%d%s", n.hosts>>8&0xff, n.hosts&0xff, address)
	}
	local, err := netip.ParseAddrPort(address)
	if err != nil {
		return fail(err)
	}
	local = netip.AddrPortFrom(local.Addr().Unmap(), local.Port())
	if local.Addr().IsUnspecified() {
		return fail(fmt.Errorf("a host has one address here: name it, or leave it empty: %w", syscall.EADDRNOTAVAIL))
	}
	for range 1 << 14 {
		if local.Port() != 0 {
			break
		}
		if n.port++; n.port < 49152 {
			n.port = 49152 // wrapped
		}
		if free := netip.AddrPortFrom(local.Addr(), n.port); n.conns[free] == nil {
			local = free
		}
	}
	if local.Port() == 0 || n.conns[local] != nil {
		return fail(syscall.EADDRINUSE)
	}
	c := &Conn{net: n, local: local, queue: make(chan datagram, QueueMax), closed: make(chan struct{})}
	n.conns[local] = c
	return c, nil
}

// close frees the address of c; it reports false when it was free already.
func (n *Net) close(c *Conn) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.conns[c.local] != c {
		return false
	}
	delete(n.conns, c.local)
	close(c.closed)
	return true
}

// send decides a datagram's fate and puts its copies into flight.
func (n *Net) send(from, to netip.AddrPort, payload []byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := time.Now()
	l, ok := n.links[[2]netip.Addr{from.Addr(), to.Addr()}]
	if !ok {
		l = n.fallback
	}
	s := n.stream(from, to)
	f := s.next()
	d := datagram{from: from, to: to, payload: payload, number: 2 * s.sent}
	n.tell(now, d, Sent)

	if l.MTU > 0 && len(payload)+headers(to.Addr()) > l.MTU {
		n.tell(now, d, TooBig)
		return
	}
	if f.loss < l.Loss {
		n.tell(now, d, Lost)
		return
	}
	n.launch(now, d, f.copies[0].delay(l))
	if f.duplicate < l.Duplicate {
		d.number++
		n.launch(now, d, f.copies[1].delay(l))
	}
}

// headers is the length of the IP and UDP headers in bytes.
func headers(to netip.Addr) int {
	if to.Is6() {
		return 40 + 8
	}
	return 20 + 8
}

func (n *Net) launch(now time.Time, d datagram, delay time.Duration) {
	if delay <= 0 {
		n.deliver(now, d)
		return
	}
	d.at = now.Add(delay)
	heap.Push(&n.flight, d)
	n.arm(now)
}

// arm sets the timer for the first datagram in flight.
func (n *Net) arm(now time.Time) {
	if len(n.flight) == 0 {
		return
	}
	// A timer of a bubble that is due at once runs in the goroutine that sets it, and the race detector of Go 1.26 does
	// not survive that.
	wait := max(n.flight[0].at.Sub(now), 1)
	if n.timer == nil {
		n.timer = time.AfterFunc(wait, n.land)
		return
	}
	n.timer.Reset(wait)
}

// land delivers all whose time has come, in one piece: what arrives at the
// same instant must not race.
func (n *Net) land() {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := time.Now()
	for len(n.flight) > 0 && !n.flight[0].at.After(now) {
		n.deliver(now, heap.Pop(&n.flight).(datagram))
	}
	n.arm(now)
}

func (n *Net) deliver(now time.Time, d datagram) {
	c := n.conns[d.to]
	switch {
	case c == nil:
		n.tell(now, d, Unreachable)
	case len(c.queue) == cap(c.queue): // only we fill it
		n.tell(now, d, Overflow)
	default:
		// The tap knows of it before the receiver can answer.
		n.tell(now, d, Delivered)
		c.queue <- d
	}
}

func (n *Net) tell(now time.Time, d datagram, f Fate) {
	if n.tap != nil {
		n.tap(Record{Time: now, From: d.from, To: d.to, Payload: d.payload, Fate: f})
	}
}

// A datagram on its way.
type datagram struct {
	from, to netip.AddrPort
	payload  []byte
	at       time.Time // when it arrives
	number   uint64    // its place among all copies of its direction
}

// flight is the heap of what is under way, by time of arrival.
type flight []datagram

func (f flight) Len() int      { return len(f) }
func (f flight) Swap(i, j int) { f[i], f[j] = f[j], f[i] }
func (f flight) Less(i, j int) bool {
	a, b := &f[i], &f[j]
	return cmp.Or(a.at.Compare(b.at), a.to.Compare(b.to), a.from.Compare(b.from), cmp.Compare(a.number, b.number)) < 0
}
func (f *flight) Push(x any) { *f = append(*f, x.(datagram)) }
func (f *flight) Pop() any {
	old := *f
	d := old[len(old)-1]
	old[len(old)-1] = datagram{}
	*f = old[:len(old)-1]
	return d
}

// A stream is the chance of one direction between two addresses.
type stream struct {
	rand *rand.Rand
	sent uint64
}

func (n *Net) stream(from, to netip.AddrPort) *stream {
	key := [2]netip.AddrPort{from, to}
	s := n.streams[key]
	if s == nil {
		// FNV-1a: all that is needed is that directions differ.
		h := uint64(14695981039346656037)
		for _, b := range []byte(from.String() + ">" + to.String()) {
			h = (h ^ uint64(b)) * 1099511628211
		}
		s = &stream{rand: rand.New(rand.NewPCG(n.seed, h))}
		n.streams[key] = s
	}
	return s
}

// The dice for one datagram, each in [0, 1). All are thrown for each datagram
// whatever its link is, so that a link's settings do not move the stream.
type dice struct {
	loss, duplicate float64
	copies          [2]copyDice
}

type copyDice struct{ jitter, reorder, late float64 }

func (s *stream) next() (d dice) {
	s.sent++
	d.loss, d.duplicate = s.rand.Float64(), s.rand.Float64()
	for i := range d.copies {
		d.copies[i] = copyDice{s.rand.Float64(), s.rand.Float64(), s.rand.Float64()}
	}
	return d
}

func (c copyDice) delay(l Link) time.Duration {
	d := l.Delay + time.Duration(c.jitter*float64(l.Jitter))
	if c.reorder < l.Reorder {
		d += time.Duration(c.late * float64(late))
	}
	return d
}
