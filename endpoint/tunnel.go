package endpoint

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/control"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/machine"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/udp"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

// A Tunnel is one control connection with its sessions (RFC 2661 §5), or what stands in
// its place for static sessions with a peer ([Endpoint.Static]): that is up from the
// first of them to the last, and only they open in it.
type Tunnel struct {
	ep       *Endpoint
	id       uint32 // ours: peers put it into their headers
	path     atomic.Pointer[udp.Path]
	caller   peerID                    // of a tunnel that the peer opened
	replaces *Tunnel                   // what goes when this one is established; then the loop's
	winner   atomic.Pointer[Tunnel]    // the peer's tunnel that this one has lost to
	upAt     atomic.Pointer[time.Time] // nil: not established yet
	adopted  atomic.Bool               // the peer's port is settled
	adopting atomic.Bool               // an SCCRP from another port is being looked at
	leaving  bool                      // it makes room for another; under the endpoint's lock
	contest  uint8                     // ofV2, ofV3 or ofEither: what it was dialled for
	listed   listed                    // among those of its peer; under the endpoint's lock
	log      tagged

	loop    *loop
	machine *control.Tunnel // the loop's; nil: static
	runner  *machine.Runner[control.Event]
	// sessions in the order of our ids. The loop replaces them, or who holds the
	// endpoint's lock if they are static; the reader only looks.
	sessions atomic.Pointer[[]*Session]
	standing int // static sessions that are not over; under the endpoint's lock

	up   chan struct{} // closed when established
	done chan struct{} // closed when down, after all its sessions
	gone chan struct{} // closed when nothing of it is left

	badDigest atomic.Uint64 // messages that were dropped for their Message Digest

	mu       sync.Mutex // what others may ask for
	version  uint8      // of L2TP: 2 or 3; 0: not known yet
	peerID   uint32
	peerName string
	err      error
	buried   traffic // of sessions that have ended
	past     Traffic // the same
}

func newTunnel(e *Endpoint, id uint32, way *udp.Path, caller peerID, loop *loop, m *control.Tunnel) *Tunnel {
	t := &Tunnel{
		ep: e, id: id, caller: caller, loop: loop, machine: m,
		up: make(chan struct{}), done: make(chan struct{}), gone: make(chan struct{}),
	}
	t.log.tunnel = t
	if m != nil {
		t.contest = contestOf(m.DialledFor())
	}
	t.path.Store(way)
	t.sessions.Store(&noSessions)
	t.runner = machine.Drive(loop.Loop, t.metered(), t.output)
	return t
}

// Peer is the address that the tunnel's datagrams come from.
func (t *Tunnel) Peer() netip.AddrPort { return t.path.Load().Peer }

// adopt takes the port that the LNS answers from as its own, once: with the SCCRP
// that answers our SCCRQ. All else that comes from another port or address is
// dropped. On the reader.
//
// RFC 2661 §8.1: "The recipient picks a free port on its own system (which may or
// may not be 1701), and sends its reply to the initiator's UDP port and address,
// setting its own source port to the free port it found. Once the source and
// destination ports and addresses are established, they MUST remain static".
func (t *Tunnel) adopt(from netip.AddrPort, avps []byte) bool {
	way := t.path.Load()
	if !t.dialed() || t.adopted.Load() || t.upAt.Load() != nil || from.Addr() != way.Peer.Addr() {
		return false
	}
	if m, _ := wire.ParseMessage(avps, nil); m.Type != wire.SCCRP || t.adopted.Swap(true) {
		return false
	}
	t.log.Info("the peer answers from another port", "port", from.Port())
	t.ep.move(t, t.ep.pathTo(from, way.Local))
	return true
}

// PeerID is the peer's Assigned Tunnel ID; 0 until the tunnel is established, and of
// static sessions.
func (t *Tunnel) PeerID() uint32 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.peerID
}

// PeerName is the peer's Host Name AVP, as it sent it.
func (t *Tunnel) PeerName() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.peerName
}

// Done is closed when the tunnel is down.
func (t *Tunnel) Done() <-chan struct{} { return t.done }

// Err is nil until Done is closed. Then it is net.ErrClosed when Close was called,
// else why the tunnel went down.
func (t *Tunnel) Err() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}

// Close closes the tunnel's sessions, then itself by a StopCCN if it has a control
// connection, and waits until the peer has acknowledged that, for at most two seconds.
func (t *Tunnel) Close() error {
	grace := time.NewTimer(closeGrace)
	defer grace.Stop()
	var wg sync.WaitGroup
	for _, s := range *t.sessions.Load() {
		wg.Go(s.terminate)
	}
	wg.Wait()
	if !t.static() {
		t.stop()
	}
	select {
	case <-t.done:
	case <-grace.C:
		return nil
	}
	// A tunnel that the peer has ended stays for the peer's sake only.
	if !errors.Is(t.Err(), net.ErrClosed) {
		return nil
	}
	select {
	case <-t.gone:
	case <-grace.C:
	}
	return nil
}

// stop closes without waiting.
func (t *Tunnel) stop() {
	t.runner.Do(func(now time.Time) {
		t.machine.Close(now, wire.Result{Code: wire.StopClear})
	})
}

// OpenPPP opens a session and brings PPP up in it. It returns when IPv4 or IPv6 may
// flow, and the other one too unless the peer does not want it, when that failed ([PeerError], [AuthError], …), or when ctx is done, which
// abandons it.
func (t *Tunnel) OpenPPP(ctx context.Context, cfg *PPPConfig) (*Session, error) {
	if t.static() {
		return nil, ErrStatic
	}
	if t.isV3() {
		return t.Open(ctx, ofPPP(cfg))
	}
	s, err := newCaller(t, cfg)
	if err != nil {
		return nil, err
	}
	if !t.runner.Do(func(now time.Time) { s.call(now) }) {
		return nil, net.ErrClosed
	}
	return s.established(ctx)
}

// ErrStatic is the error of what needs a control connection, which the tunnel of static
// sessions does not have.
var ErrStatic = errors.New("a tunnel of static sessions has no control connection")

// noSessions are those of many tunnels.
var noSessions []*Session

func byID(s *Session, id uint32) int { return cmp.Compare(s.id, id) }

func (t *Tunnel) session(id uint32) *Session {
	sessions := *t.sessions.Load()
	if i, ok := slices.BinarySearchFunc(sessions, id, byID); ok {
		return sessions[i]
	}
	return nil
}

// setSession puts a session among the others, or takes it out with nil. A tunnel has
// few sessions (64 by default), and the reader must not wait for a lock.
func (t *Tunnel) setSession(id uint32, s *Session) {
	next := slices.Clone(*t.sessions.Load())
	i, found := slices.BinarySearchFunc(next, id, byID)
	switch {
	case s == nil && !found:
		return
	case s == nil:
		next = slices.Delete(next, i, i+1)
	case found:
		next[i] = s
	default:
		next = slices.Insert(next, i, s)
	}
	t.sessions.Store(&next)
}

// output takes what the machine has to send and to tell, on the loop.
func (t *Tunnel) output(now time.Time, packet []byte, event control.Event) {
	switch ev := event.(type) {
	case nil:
		t.send(packet)
	case control.TunnelUp:
		t.mu.Lock()
		t.peerID, t.peerName, t.version = ev.PeerID, ev.HostName, ev.Version
		t.mu.Unlock()
		t.log.Info("tunnel up", "version", ev.Version, "host", shown(ev.HostName), "vendor", shown(ev.VendorName))
		t.upAt.Store(&now)
		t.loop.then(func() { close(t.up) }) // or the next tunnel's SCCRQ would overtake its SCCCN
		t.prevail(ev.SingleTunnel)
	case control.Whole:
		t.sendWhole(ev.Packet)
	case control.PathMax:
		t.narrowed(ev)
	case control.PeerRestarted:
		t.log.Info("the peer has restarted")
		t.ep.reopen(t, ev.Datagram)
	case control.TunnelDown:
		t.loop.flush() // whoever waits for the end may close the socket
		t.mu.Lock()
		t.err = publicError(ev.Err)
		t.mu.Unlock()
		if _, ok := errors.AsType[*control.OverrunError](ev.Err); ok {
			t.ep.counters.queueLimit.Add(1)
		}
		level := slog.LevelInfo
		if e, ok := errors.AsType[*AuthError](t.err); ok && e.Tunnel && !t.dialed() {
			level = slog.LevelWarn // somebody does not know the secret
		}
		t.log.Log(t.ep.ctx, level, "tunnel down", "reason", reason(t.err), "counters", t.machine.Counters())
		close(t.done)
	case control.Gone:
		t.loop.flush()
		t.runner.Stop()
		t.ep.forget(t)
		close(t.gone)
	case control.IncomingCall:
		if ev.Pseudowire != nil {
			t.calledV3(ev.Session, Call{}, ev.Pseudowire)
			break
		}
		if s := t.called(ev.Session, Call{CalledNumber: ev.CalledNumber, CallingNumber: ev.CallingNumber, SubAddress: ev.SubAddress}); s != nil {
			s.log.Info("call", "from", shown(ev.CallingNumber), "to", shown(ev.CalledNumber))
			t.runner.Do(func(now time.Time) { t.machine.AcceptCall(now, ev.Session) })
		}
	case control.OutgoingCallRequest:
		if ev.Pseudowire != nil {
			t.calledV3(ev.Session, Call{}, ev.Pseudowire)
			break
		}
		if s := t.called(ev.Session, Call{CalledNumber: ev.CalledNumber, SubAddress: ev.SubAddress}); s != nil {
			s.log.Info("call to be placed", "to", shown(ev.CalledNumber))
			t.runner.Do(func(now time.Time) { t.machine.AcceptOutgoing(now, ev.Session) })
		}
	case control.WANError:
		t.log.Info("errors on a caller's line", "session", ev.Session, "counters", ev.CallErrors)
		if s := t.session(ev.Session); s != nil {
			s.passOn(lineErrors, func(now time.Time, p *Session) { p.tunnel.machine.ReportErrors(now, p.id, ev.CallErrors) })
		}
	case control.LinkInfo:
		t.log.Debug("SLI", "session", ev.Session, "send ACCM", ev.ACCM.Send, "receive ACCM", ev.ACCM.Receive)
		if s := t.session(ev.Session); s != nil {
			s.passOn(lineFraming, func(now time.Time, p *Session) { p.tunnel.machine.SetLink(now, p.id, ev.ACCM) })
		}
	case control.CircuitStatus:
		if s := t.session(ev.Session); s != nil {
			s.heedCircuit(now, CircuitStatus(ev.Status))
		}
	case control.SessionUp:
		if s := t.session(ev.Session); s != nil {
			s.connected(now, ev)
		}
	case control.SessionDown:
		if s := t.session(ev.Session); s != nil {
			s.disconnected(now, ev.Err)
		}
	}
}

func (t *Tunnel) send(packet []byte) {
	if t.log.Enabled(t.ep.ctx, slog.LevelDebug) {
		if h, avps, err := parseControl(packet); err == nil {
			t.log.Debug("sent", "message", describe(avps), "ns", h.Ns, "nr", h.Nr, "session", h.SessionID)
		}
	}
	copy(t.loop.out.add(t.path.Load(), len(packet)).Head(), packet)
}

// called is a session for a peer that wants to open one with us; nil when we answer
// none, and it is refused.
func (t *Tunnel) called(id uint32, c Call) *Session {
	a := t.ep.cfg.Answer
	c.Peer, c.PeerName = t.Peer(), t.PeerName()
	raw := a != nil && a.RawPPP != nil && a.RawPPP(c)
	if !raw && !a.endsPPP() {
		t.runner.Do(func(now time.Time) {
			t.machine.Hangup(now, id, wire.Result{Code: wire.CallNoFacilitiesEver})
		})
		return nil
	}
	if r, refused := t.refuseSession(); refused {
		t.runner.Do(func(now time.Time) { t.machine.Hangup(now, id, r) })
		return nil
	}
	var s *Session
	if raw {
		s = newRawAnswerer(t, c)
	} else {
		s = newAnswerer(t)
	}
	s.named(id)
	t.setSession(id, s)
	return s
}
