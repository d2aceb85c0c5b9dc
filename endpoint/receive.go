package endpoint

import (
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/udp"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

// counters are what an endpoint counts: see [Counters].
type counters struct {
	received, malformed, unknownVersion, unknownTunnel, unknownSession                  atomic.Uint64
	wrongPeer, lostTie, overrun, socketErrors                                           atomic.Uint64
	sccrqs, answered, refused, remembered, unanswered                                   atomic.Uint64
	evicted, expired, rateLimit, sourceLimit, lengthLimit, creditLimit                  atomic.Uint64
	tunnelLimit, sessionLimit, unauthenticatedLimit, notAccepted, queueLimit, strangers atomic.Uint64
	badDigest                                                                           atomic.Uint64
}

// receiveAll is the reader of one of the endpoint's sockets. What it hands on is valid
// during the call only, and the next read writes over it.
func (e *Endpoint) receiveAll(sock *udp.Conn) {
	in := newInflow()
	defer in.batch.Free()
	for failures := 0; ; {
		runs, err := sock.Read()
		if err == nil {
			failures = 0
			for i := range runs {
				r := &runs[i]
				for datagram := range r.Datagrams() {
					e.received(datagram, r.From, r.To)
					e.receive(r.From, r.To, datagram, &in)
				}
				in.runEnds()
			}
			in.flush()
			continue
		}
		if errors.Is(err, net.ErrClosed) {
			e.shut(err)
			return
		}
		// An ICMP error of one peer (ECONNREFUSED, EHOSTUNREACH) comes up here
		// and says nothing for sure about any: the machines' timers decide. It
		// must not become a busy loop either.
		e.counters.socketErrors.Add(1)
		if failures++; failures > 16 {
			e.log.Warn("the socket keeps failing", "error", err)
			select {
			case <-time.After(time.Second):
			case <-e.ctx.Done():
			}
		}
	}
}

func (e *Endpoint) receive(from netip.AddrPort, to netip.Addr, datagram []byte, in *inflow) {
	e.counters.received.Add(1)
	switch v, ok := wire.Version(datagram); {
	case ok && v == 3:
		e.receiveV3(from, to, datagram, in)
		return
	case !ok || v != 2:
		e.counters.unknownVersion.Add(1)
		return
	}
	h, payload, err := wire.ParseHeader(datagram)
	if err != nil {
		e.counters.malformed.Add(1)
		e.log.Debug("malformed datagram", "peer", from, "error", err)
		return
	}
	var t *Tunnel
	switch {
	case h.TunnelID != 0:
		t = e.tunnel(h.TunnelID)
		if t == nil && h.Control && e.complete(peerID{addr: from}, h.TunnelID, h, datagram, payload) {
			return
		}
	case h.Control && len(payload) > 0:
		if t = e.answer(from, to, h, datagram, payload); t == nil {
			return
		}
	case h.Control:
		t = e.only(from) // some peers put no tunnel id into their ZLBs
	}
	switch {
	case t == nil:
		e.counters.unknownTunnel.Add(1)
	case t.Peer() != from && !(h.Control && t.adopt(from, payload)):
		// Nothing is learnt from a datagram that merely knows the right ids.
		e.counters.wrongPeer.Add(1)
	case h.Control:
		if e.log.Enabled(e.ctx, slog.LevelDebug) {
			t.log.Debug("received", "message", describe(payload), "ns", h.Ns, "nr", h.Nr, "session", h.SessionID)
		}
		if !t.runner.Handle(datagram) {
			e.counters.overrun.Add(1)
		}
	default:
		s := t.session(h.SessionID)
		if s == nil {
			e.counters.unknownSession.Add(1)
			return
		}
		s.receive(payload, in)
	}
}

// receiveV3 takes a datagram of L2TPv3.
func (e *Endpoint) receiveV3(from netip.AddrPort, to netip.Addr, datagram []byte, in *inflow) {
	control, id, rest, err := wire.ParseV3(datagram)
	switch {
	case control:
		e.receiveControlV3(from, to, datagram)
		return
	case err != nil:
		e.counters.malformed.Add(1)
		e.log.Debug("malformed datagram", "peer", from, "error", err)
		return
	}
	s, known := e.sessions.get(id, from)
	switch {
	case s != nil:
		if s.receiveV3(rest, in) && to.IsValid() {
			s.tunnel.answerFrom(to)
		}
	case known:
		e.counters.wrongPeer.Add(1)
	default:
		e.counters.unknownSession.Add(1)
	}
}

// describe names a control message for the log.
func describe(avps []byte) string {
	if len(avps) == 0 {
		return "ZLB"
	}
	m, _ := wire.ParseMessage(avps, nil)
	return m.Type.String()
}
