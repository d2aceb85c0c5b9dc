package endpoint

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/control"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
	"github.com/l2tpnet/l2tpnet/endpoint/link"
)

// A Session is one pseudowire (RFC 2661 §5.2, RFC 3931 §2.1). It is a [link.Sink] for
// frames on their way out, and has one attached for those that come in. What a frame
// is its [Session.Type] says: an IP packet where PPP ends here or the pseudowire is
// IP's, an Ethernet frame without its FCS (untagged where the pseudowire is a VLAN's),
// else whatever the pseudowire carries, as it is.
type Session struct {
	tunnel *Tunnel
	log    tagged
	answer bool // the peer called
	kind   PseudowireType

	id       uint32        // ours; set on the loop before anybody can see it
	outgoing *OutgoingCall // what we ask the peer to place; nil: we tell it of a call
	wants    bool          // our call asks for sequence numbers
	hungUp   bool          // the call is over; the loop's

	encap   encapsulation // of what goes out; set before the first frame does
	arrival arrival       // what has to be in front of what comes in, in version 3
	tag     uint16        // of a VLAN pseudowire's frames
	mtuMax  int           // bytes, by the configuration; 0: what the path lets through
	ppp     *pppEnd       // nil: no PPP ends here
	circuit *circuit      // nil: it is not negotiated by L2TPv3

	carries atomic.Pointer[carriage] // never nil
	sending sync.Mutex               // of numbers and of the Sealer, with what they are for
	pathMax atomic.Int32             // of which the MTUs are made: the path's MaxDatagram
	sink    atomic.Pointer[link.Sink]
	partner atomic.Pointer[Session] // whom it is switched to, or nil
	waiting waitingRoom
	mute    atomic.Bool // the peer's circuit is inactive: nothing is sent to it
	flow    flow

	ready chan struct{} // closed when all that is wanted has come up, or will not
	done  chan struct{} // closed when the session is over

	mu      sync.Mutex // what others may ask for
	state   SessionState
	peerID  uint32   // the peer's session id, as in encap
	raw     *rawCall // of a call whose PPP passes as it is
	err     error    // why it is over, or is going to be
	after   func()   // of AfterDone
	created time.Time
}

// SessionState is how far a session has come.
type SessionState string

const (
	SessionCalling        SessionState = "calling"        // ICRQ, ICRP, ICCN
	SessionNegotiating    SessionState = "negotiating"    // LCP
	SessionAuthenticating SessionState = "authenticating" // a caller has said who it is
	SessionConfiguring    SessionState = "configuring"    // IPCP
	SessionUp             SessionState = "up"
	SessionClosing        SessionState = "closing"
	SessionDown           SessionState = "down"
)

func newSession(t *Tunnel, answer bool, kind PseudowireType) *Session {
	s := &Session{
		tunnel: t, answer: answer, kind: kind, log: tagged{tunnel: t},
		ready: make(chan struct{}), done: make(chan struct{}),
		state: SessionCalling, created: time.Now(),
	}
	s.carries.Store(&carriage{})
	return s
}

func (s *Session) named(id uint32) {
	s.id = id
	s.log.session = id
}

// call places the call, on the loop.
func (s *Session) call(now time.Time) {
	if s.circuit != nil {
		s.named(s.circuit.ask(now, s.tunnel))
		s.setNegotiated()
		return
	}
	if c := s.outgoing; c != nil {
		s.named(s.tunnel.machine.PlaceCall(now, control.OutgoingCall{
			CalledNumber: c.Number, SubAddress: c.SubAddress, MinimumBPS: c.MinimumBPS, MaximumBPS: c.MaximumBPS,
		}))
	} else {
		s.named(s.tunnel.machine.Call(now, s.callConfig()))
	}
	s.tunnel.setSession(s.id, s)
}

// callConfig is what the peer is told of a call.
func (s *Session) callConfig() control.CallConfig {
	r := s.raw
	if r == nil {
		return control.CallConfig{Line: control.Line{SequencingRequired: s.wants}}
	}
	return control.CallConfig{CalledNumber: r.CalledNumber, CallingNumber: r.CallingNumber, SubAddress: r.SubAddress, Line: r.line}
}

// Tunnel is the tunnel that the session runs in. That of a static session
// ([Endpoint.Static]) has no control connection; all static sessions with a peer are
// in one.
func (s *Session) Tunnel() *Tunnel { return s.tunnel }

// Type is what the session's frames are. Sessions of L2TPv2 are PPP's.
func (s *Session) Type() PseudowireType { return s.kind }

// Done is closed when the session is over.
func (s *Session) Done() <-chan struct{} { return s.done }

// AfterDone has f called on a goroutine of its own when the session is over, or at
// once if it is: for those with so many sessions that goroutines which wait would cost
// more than these do. There is one such f, the one given last.
func (s *Session) AfterDone(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == SessionDown {
		go func() { <-s.done; f() }()
		return
	}
	s.after = f
}

// Err is nil while the session stands. Then it is net.ErrClosed when Close was
// called, else why it ended.
func (s *Session) Err() error {
	select {
	case <-s.done:
	default:
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Close terminates PPP, ends the session by a CDN where there is a control connection,
// and returns when it is over.
func (s *Session) Close() error {
	s.terminate()
	return nil
}

// terminate gives PPP a moment to say goodbye; the CDN does not wait for more.
func (s *Session) terminate() {
	s.setErr(net.ErrClosed)
	if s.ppp != nil {
		s.ppp.runner.Do(func(now time.Time) { s.ppp.link.Close(now, "") })
		grace := time.NewTimer(terminateGrace)
		defer grace.Stop()
		select {
		case <-s.done:
			return
		case <-grace.C:
		}
	}
	s.hangup(wire.Result{Code: wire.CallAdministrative})
	select {
	case <-s.done:
	case <-s.tunnel.done:
	}
}

// setErr notes why the session ends; the first reason counts.
func (s *Session) setErr(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
		s.state = SessionClosing
	}
}

func (s *Session) setState(state SessionState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.state = state
	}
}

// hangup ends the call: the peer is told r where there is a control connection.
func (s *Session) hangup(r wire.Result) {
	if s.tunnel.static() {
		s.tunnel.loop.Do(func(now time.Time) { s.disconnected(now, nil) })
		return
	}
	s.tunnel.runner.Do(func(now time.Time) {
		if s.id != 0 {
			s.tunnel.machine.Hangup(now, s.id, r)
		}
	})
}

// connected begins what the session is for: the call stands. On the loop, and at once:
// the peer's first frame may be right behind its ICCN.
func (s *Session) connected(now time.Time, ev control.SessionUp) {
	if s.circuit != nil {
		s.connectedV3(now, ev)
	} else {
		s.encap.v2(s.tunnel.machine.PeerID(), ev.PeerSession, ev.SequencingRequired)
	}
	s.mu.Lock()
	s.peerID = ev.PeerSession
	s.mu.Unlock()
	s.log.Info("session connected", "peer session", ev.PeerSession)
	if s.ppp == nil {
		s.connectedRaw(ev)
		return
	}
	s.setState(SessionNegotiating)
	s.ppp.open(now, ev.Proxy)
}

// disconnected takes that the call is over, and why: the id has been let go, or is
// here. PPP may know better. On the loop.
func (s *Session) disconnected(now time.Time, err error) {
	if s.hungUp {
		return
	}
	s.hungUp = true
	if s.circuit != nil {
		s.removeNegotiated()
	}
	if s.tunnel.static() {
		s.tunnel.ep.removeStatic(s)
	} else {
		s.tunnel.bury(s)
		if s.ppp == nil {
			s.tunnel.loop.Do(s.tunnel.measure)
		}
	}
	if s.ppp == nil {
		s.carries.Store(&carriage{})
		s.setErr(publicError(err))
	}
	if s.ppp == nil || s.ppp.down {
		s.finish()
		return
	}
	s.ppp.runner.DoNow(now, func(now time.Time) { s.ppp.link.Lost(now, err) })
}

// finish ends it all, when both the call and PPP are over. On the loop.
func (s *Session) finish() {
	s.tunnel.loop.flush()
	if s.ppp != nil {
		s.ppp.runner.Stop()
	}
	if c := s.circuit; c != nil && c.beginning != nil {
		c.beginning.Stop()
	}
	if o := s.arrival.order; o != nil && o.waits {
		o.runner.Stop()
	}
	s.mu.Lock()
	s.state = SessionDown
	err, after := s.err, s.after
	s.after = nil
	s.mu.Unlock()
	if s.ppp != nil {
		s.ppp.release()
	}
	level := slog.LevelInfo
	if _, ok := errors.AsType[*AuthError](err); ok && s.answer {
		level = slog.LevelWarn // somebody was refused
	}
	s.log.Log(s.tunnel.ep.ctx, level, "session down", "reason", reason(err))
	close(s.done)
	s.endPartner()
	if after != nil {
		go after()
	}
	if s.tunnel.static() {
		s.tunnel.ep.leaveStatic(s.tunnel)
	}
}

// established waits until the session is complete. When ctx is done before, the
// session is abandoned.
func (s *Session) established(ctx context.Context) (*Session, error) {
	select {
	case <-s.ready:
		return s, nil
	case <-s.done:
		return nil, s.Err()
	case <-s.tunnel.done: // perhaps before the session was begun
		if err := s.Err(); err != nil {
			return nil, err
		}
		return nil, s.tunnel.Err()
	case <-ctx.Done():
		if s.tunnel.static() {
			s.Close() // soon, and its identifier may be wanted again
		} else {
			go s.Close()
		}
		return nil, ctx.Err()
	}
}

// complete tells whether the session has been handed out.
func (s *Session) complete() bool {
	select {
	case <-s.ready:
		return true
	default:
		return false
	}
}

// settled tells those who wait that the session is complete. On the loop, once.
func (s *Session) settled() {
	s.tunnel.loop.then(s.handOut) // or their frames would overtake what lets the peer take them
}

func (s *Session) handOut() {
	close(s.ready)
	if !s.answer || s.tunnel.static() { // or its owner waits for this very session
		return
	}
	select {
	case s.tunnel.ep.accepted <- s:
	default:
		s.tunnel.ep.counters.notAccepted.Add(1)
		s.setErr(fmt.Errorf("%d sessions wait to be accepted", acceptBacklog))
		s.hangup(wire.Result{Code: wire.CallNoFacilities})
	}
}

// LinkLocal is the link-local address with an interface identifier.
func LinkLocal(id [8]byte) netip.Addr {
	a := [16]byte{0xfe, 0x80}
	copy(a[8:], id[:])
	return netip.AddrFrom16(a)
}

// Attach gives the session the sink for what comes in. Up to 16 frames that came
// before the first one was attached are handed to it at once. Nil takes the sink
// away: frames are dropped and counted then. An [MTUSetter] is told the MTU, a
// [CircuitSetter] the peer's Circuit Status.
func (s *Session) Attach(sink link.Sink) {
	s.part()
	if sink == nil {
		s.sink.Store(nil)
		return
	}
	s.attach(sink)
}

func (s *Session) attach(sink link.Sink) {
	s.waiting.leave(sink, func() { s.sink.Store(&sink) })
	if _, ok := sink.(MTUSetter); ok {
		s.tunnel.loop.Do(func(time.Time) { s.tellMTU(s.MTU()) })
	}
	if _, ok := sink.(CircuitSetter); ok {
		s.tunnel.loop.Do(func(time.Time) { s.tellCircuit() })
	}
}
