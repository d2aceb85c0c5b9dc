package endpoint

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/pcapng"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/udp"
	"github.com/l2tpnet/l2tpnet/endpoint/link"
)

const (
	// captureRoom is how many bytes of packets wait for the writer at most,
	// and captureBatch after how many it does not wait for its next turn.
	captureRoom  = 8 << 20
	captureBatch = 256 << 10
	// captureInterval is how long a packet waits at most to be written.
	captureInterval = time.Second
	// captureGrace is how long Close waits for the writer.
	captureGrace = 200 * time.Millisecond

	captureLocalsMax = 1024
)

// ErrCapturing is the error of [Endpoint.Capture] while another capture runs.
var ErrCapturing = errors.New("a capture is running already")

// A CaptureLossError tells that a capture lacks packets, since its writer was too
// slow for them.
type CaptureLossError struct{ Lost, Total uint64 }

func (e *CaptureLossError) Error() string {
	return fmt.Sprintf("the capture lacks %d of %d packets: writing it was too slow", e.Lost, e.Total)
}

// Capture writes what the endpoint sends and receives to w, in pcapng format, as
// interfaces: "outer" has the UDP datagrams, "inner" the IP packets of all sessions,
// "inner ethernet" and "inner ppp", if there are any, Ethernet frames (of a VLAN
// pseudowire without its tag) and PPP frames that pass as they are. Frames of other
// types are in the datagrams only. It ends with stop or with the endpoint, or when w fails, and there is one
// at a time ([ErrCapturing]).
//
// Whole blocks are written by one goroutine, a second after a packet at the
// latest. Packets never wait for w: when it falls behind by 8 MiB they are left
// out of the capture and counted there. Stop returns when all is written, with w's
// error or a [CaptureLossError]; Close ends the capture too, but does not wait
// long for w, so call stop afterwards and close w then.
//
// IP and UDP headers are made up, as they would be without options. Where the
// system does not say which of our addresses a datagram has, it is the one that
// the routes name, or 192.0.2.1 or 2001:db8::1 if they name none.
//
// A capture contains what is on the wire: the passwords of PAP, from which others
// may be guessed off line, and all that the tunnels carry.
func (e *Endpoint) Capture(w io.Writer) (stop func() error, err error) {
	r := &recorder{
		endpoint: e, w: w, addr: e.Addr(), locals: map[netip.AddrPort]netip.Addr{},
		wake: make(chan struct{}, 1), stopping: make(chan struct{}), done: make(chan struct{}),
	}
	e.mu.Lock()
	closing := e.closing
	ok := !closing && e.recorder.CompareAndSwap(nil, r)
	e.mu.Unlock()
	switch {
	case closing:
		return nil, net.ErrClosed
	case !ok:
		return nil, ErrCapturing
	}
	b := pcapng.AppendSection(nil, pcapng.Application)
	for _, kind := range [...]recordKind{outer, inner} {
		b = r.describe(b, kind)
	}
	if _, err := w.Write(b); err != nil {
		e.recorder.CompareAndSwap(r, nil)
		close(r.done)
		return nil, err
	}
	go r.run()
	return r.stop, nil
}

// endCapture ends a capture that runs, with the endpoint.
func (e *Endpoint) endCapture() {
	r := e.recorder.Load()
	if r == nil {
		return
	}
	r.end()
	grace := time.NewTimer(captureGrace)
	defer grace.Stop()
	select {
	case <-r.done:
	case <-grace.C:
	}
}

// send sends frames, each as a datagram, and has them captured.
func (e *Endpoint) send(frames []link.Frame, p *udp.Path) (sent int, err error) {
	if r := e.recorder.Load(); r != nil {
		for i := range frames {
			r.outer(pcapng.Outbound, &frames[i], p.Peer, p.Local)
		}
	}
	return p.Conn().Send(frames, p)
}

// write sends a datagram, and has it captured.
func (e *Endpoint) write(b []byte, p *udp.Path) error {
	if r := e.recorder.Load(); r != nil {
		r.outer(pcapng.Outbound, &link.Frame{Body: b}, p.Peer, p.Local)
	}
	return p.Conn().Write(b, p)
}

// writeWhole is write for a datagram that must not be fragmented.
func (e *Endpoint) writeWhole(b []byte, p *udp.Path) error {
	if r := e.recorder.Load(); r != nil {
		r.outer(pcapng.Outbound, &link.Frame{Body: b}, p.Peer, p.Local)
	}
	return p.Conn().WriteWhole(b, p)
}

// received has a datagram captured.
func (e *Endpoint) received(b []byte, from netip.AddrPort, to netip.Addr) {
	if r := e.recorder.Load(); r != nil {
		r.outer(pcapng.Inbound, &link.Frame{Body: b}, from, to)
	}
}

// captured has frames of the session captured.
func (s *Session) captured(d pcapng.Direction, frames []link.Frame) {
	r := s.tunnel.ep.recorder.Load()
	if r == nil {
		return
	}
	kind := inner
	switch {
	case s.ppp != nil || s.kind == PseudowireIP:
	case s.ethernet():
		kind = innerEthernet
	case s.kind == PseudowirePPP:
		kind = innerPPP
	default:
		return
	}
	for i := range frames {
		r.take(record{kind: kind, direction: d}, &frames[i])
	}
}

// outer takes a datagram.
func (r *recorder) outer(d pcapng.Direction, f *link.Frame, peer netip.AddrPort, local netip.Addr) {
	r.take(record{kind: outer, direction: d, peer: peer, local: local}, f)
}

// A recordKind is what a packet of a capture is.
type recordKind uint8

const (
	outer recordKind = iota
	inner
	innerEthernet
	innerPPP
	recordKinds
)

// recordInterfaces are the interfaces that kinds of packets are of.
var recordInterfaces = [recordKinds]struct {
	link pcapng.LinkType
	name string
}{
	outer:         {pcapng.LinkRaw, pcapng.Outer},
	inner:         {pcapng.LinkRaw, pcapng.Inner},
	innerEthernet: {pcapng.LinkEthernet, pcapng.InnerEthernet},
	innerPPP:      {pcapng.LinkPPP, pcapng.InnerPPP},
}

// A record is a packet on its way into a capture.
type record struct {
	at        time.Time
	kind      recordKind
	direction pcapng.Direction
	n         int            // bytes
	peer      netip.AddrPort // of a datagram
	local     netip.Addr     // the zero value: not known
}

// A recorder is a capture that runs: whoever sends or receives leaves packets
// here, and one goroutine writes them.
type recorder struct {
	endpoint *Endpoint
	w        io.Writer
	addr     netip.AddrPort // the socket's

	mu       sync.Mutex
	records  []record
	packets  []byte // of the records, one after the other
	received [recordKinds]uint64
	lost     [recordKinds]uint64
	ended    bool

	wake     chan struct{} // there is enough for a turn
	stopping chan struct{}
	done     chan struct{}
	err      error // w's, when done

	locals     map[netip.AddrPort]netip.Addr // the writer's: our addresses, as peers know us
	interfaces []recordKind                  // the writer's: as they are numbered
	spare      []record                      // the writer's: what it swaps with
	written    []byte
	headers    []byte
	blocks     []byte
}

// take takes a packet, or counts that it could not.
func (r *recorder) take(rec record, f *link.Frame) {
	rec.n = f.Len()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return
	}
	r.received[rec.kind]++
	if len(r.packets)+rec.n > captureRoom || len(r.records) >= captureRoom/128 {
		r.lost[rec.kind]++
		return
	}
	rec.at = time.Now() // here, so that times are in order
	r.records = append(r.records, rec)
	r.packets = f.AppendTo(r.packets)
	if len(r.packets) >= captureBatch {
		select {
		case r.wake <- struct{}{}:
		default:
		}
	}
}

// run writes until the capture ends.
func (r *recorder) run() {
	defer close(r.done)
	turn := time.NewTicker(captureInterval)
	defer turn.Stop()
	for ended := false; !ended; {
		select {
		case <-turn.C:
		case <-r.wake:
		case <-r.stopping:
			ended = true
		}
		if r.err = r.flush(ended); r.err != nil {
			r.endpoint.recorder.CompareAndSwap(r, nil)
			r.endpoint.log.Warn("the capture has ended", "error", r.err)
			return
		}
	}
}

// flush writes what has come since the last turn, and at the end the statistics.
func (r *recorder) flush(end bool) error {
	r.mu.Lock()
	r.ended = end
	records, packets := r.records, r.packets
	r.records, r.packets = r.spare[:0], r.written[:0]
	received, lost := r.received, r.lost
	r.mu.Unlock()

	b := r.blocks[:0]
	rest := packets
	for _, rec := range records {
		packet := rest[:rec.n]
		rest = rest[rec.n:]
		headers := r.headers[:0]
		if rec.kind == outer {
			src, dst := netip.AddrPortFrom(r.local(rec.peer, rec.local), r.addr.Port()), rec.peer
			if rec.direction == pcapng.Inbound {
				src, dst = dst, src
			}
			headers = pcapng.AppendHeaders(headers, src, dst, packet)
			r.headers = headers
		}
		b = r.describe(b, rec.kind)
		b = pcapng.AppendPacket(b, r.number(rec.kind), rec.at, rec.direction, headers, packet)
	}
	r.spare, r.written = records, packets
	if end {
		for n, kind := range r.interfaces {
			b = pcapng.AppendStatistics(b, n, time.Now(), received[kind], lost[kind])
		}
	}
	r.blocks = b
	if len(b) == 0 {
		return nil
	}
	_, err := r.w.Write(b)
	return err
}

// number is that of a kind's interface, -1 if it has none yet.
func (r *recorder) number(kind recordKind) int { return slices.Index(r.interfaces, kind) }

// describe appends the description of a kind's interface, if it has none yet.
func (r *recorder) describe(b []byte, kind recordKind) []byte {
	if r.number(kind) >= 0 {
		return b
	}
	r.interfaces = append(r.interfaces, kind)
	return pcapng.AppendInterface(b, recordInterfaces[kind].link, recordInterfaces[kind].name)
}

// end takes no more packets. It may be called often.
func (r *recorder) end() {
	if r.endpoint.recorder.CompareAndSwap(r, nil) {
		close(r.stopping)
	}
}

func (r *recorder) stop() error {
	r.end()
	<-r.done
	if r.err != nil {
		return r.err
	}
	var lost, total uint64
	for kind := range recordKinds {
		lost, total = lost+r.lost[kind], total+r.received[kind]
	}
	if lost > 0 {
		return &CaptureLossError{Lost: lost, Total: total}
	}
	return nil
}

// local is our address as a peer knows it.
func (r *recorder) local(peer netip.AddrPort, known netip.Addr) netip.Addr {
	if known.IsValid() {
		return known
	}
	if a := r.addr.Addr(); a.IsValid() && !a.IsUnspecified() && a.Is4() == peer.Addr().Is4() {
		return a
	}
	a, ok := r.locals[peer]
	if !ok {
		if len(r.locals) >= captureLocalsMax {
			clear(r.locals)
		}
		a = routed(peer)
		r.locals[peer] = a
	}
	return a
}

// routed is the address from which the routes lead to a peer, or one that is for
// examples only (RFC 5737, RFC 3849).
func routed(peer netip.AddrPort) netip.Addr {
	// Nothing is sent by this.
	if conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(peer)); err == nil {
		defer conn.Close()
		if a := conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap(); a.Is4() == peer.Addr().Is4() {
			return a
		}
	}
	if peer.Addr().Is4() {
		return netip.AddrFrom4([4]byte{192, 0, 2, 1})
	}
	return netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 15: 1})
}
