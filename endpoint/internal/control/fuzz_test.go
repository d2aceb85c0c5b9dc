package control

import (
	"container/heap"
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

// tape is a fuzzer's bytes, of which every decision takes some; at its end it
// is all zeros.
type tape []byte

func (t *tape) next() byte {
	if len(*t) == 0 {
		return 0
	}
	b := (*t)[0]
	*t = (*t)[1:]
	return b
}

func (t *tape) take(n int) []byte {
	n = min(n, len(*t))
	b := (*t)[:n:n]
	*t = (*t)[n:]
	return b
}

// FuzzReliable has the bytes decide which messages one end sends, and what is
// lost, doubled, overtaken and delayed on their way. RFC 2661 §5.8: "control
// messages are delivered in order and without duplication to the upper level."
func FuzzReliable(f *testing.F) {
	f.Add(uint16(0), []byte{0, 0, 0, 4, 3, 0, 2, 6, 6, 6, 6, 6, 5, 1, 1, 1})
	f.Add(uint16(65530), []byte{0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 6, 6, 6, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, first uint16, decisions []byte) {
		tape, now := tape(decisions), time.Unix(1e9, 0)
		cfg := Config{Rand: zeros{}, LocalID: 1}.withDefaults()
		var ends [2]reliable
		var transit [2][][]byte // to the end of that index
		var pushed, delivered uint16
		for i := range ends {
			ends[i] = newReliable(&cfg, new(Counters), func(p []byte) { transit[1-i] = append(transit[1-i], p) },
				func(ns, nr uint16) []byte { return wire.AppendControlHeader(nil, 0, 0, ns, nr) })
			ends[i].setWindow(16)
		}
		ends[0].una, ends[1].nr = first, first
		receive := func(to int, datagram []byte) {
			r := &ends[to]
			h, avps, err := wire.ParseHeader(slices.Clone(datagram))
			if err != nil {
				t.Fatal(err)
			}
			if _, ok := r.acknowledge(now, h.Nr); !ok {
				t.Fatalf("Nr %d is beyond what was sent, %d", h.Nr, r.una+uint16(r.high))
			}
			if len(avps) > 0 {
				in := incoming{0, avps}
				for ok := r.receive(now, h.Ns, in); ok; in, ok = r.pop(now) {
					if got := binary.BigEndian.Uint16(in.avps); got != delivered {
						t.Fatalf("message %d was delivered, expected %d", got, delivered)
					}
					delivered++
				}
			}
			r.flush(now)
		}
		for range 2000 {
			op := tape.next()
			to := int(op>>3) & 1
			switch op & 7 {
			case 0: // send
				p := wire.AppendControlHeader(nil, 1, 0, 0, 0)
				p = binary.BigEndian.AppendUint16(p, pushed)
				wire.SetLength(p)
				if ends[0].push(now, outgoing{packet: p, message: wire.HELLO}) {
					pushed++
				}
			case 1, 2: // deliver the oldest
				if q := transit[to]; len(q) > 0 {
					transit[to] = q[1:]
					receive(to, q[0])
				}
			case 3: // deliver the newest
				if q := transit[to]; len(q) > 0 {
					transit[to] = q[:len(q)-1]
					receive(to, q[len(q)-1])
				}
			case 4: // deliver the oldest, and keep it
				if q := transit[to]; len(q) > 0 {
					receive(to, q[0])
				}
			case 5: // lose the oldest
				if q := transit[to]; len(q) > 0 {
					transit[to] = q[1:]
				}
			case 6, 7: // time passes
				now = now.Add(time.Duration(tape.next()) * 20 * time.Millisecond)
				for i := range ends {
					if r := &ends[i]; !r.expireRetry(now, r.cfg.Retries) {
						r.tries = 0 // nobody gives up here
					} else {
						r.expireAck(now)
					}
				}
			}
			for i := range ends {
				mustBeBounded(t, &ends[i])
			}
			if len(tape) == 0 {
				break
			}
		}
		// Now the link is perfect, and all that was pushed arrives.
		for n := 0; n < 1000 && (delivered != pushed || len(ends[0].queue) > 0); n++ {
			for to := range transit {
				q := transit[to]
				transit[to] = nil
				for _, p := range q {
					receive(to, p)
				}
			}
			now = now.Add(8 * time.Second)
			for i := range ends {
				ends[i].tries = 0
				ends[i].expireRetry(now, ends[i].cfg.Retries)
				ends[i].expireAck(now)
			}
		}
		if delivered != pushed || len(ends[0].queue) > 0 {
			t.Fatalf("%d messages were delivered and %d still wait, expected %d and 0", delivered, len(ends[0].queue), pushed)
		}
	})
}

// mustBeBounded checks what a reliable may look like.
func mustBeBounded(t *testing.T, r *reliable) {
	t.Helper()
	octets := 0
	for ns, in := range r.buffer {
		if ahead := ns - r.nr; ahead == 0 || int(ahead) >= r.cfg.ReceiveWindow {
			t.Fatalf("a message waits that is %d ahead", ahead)
		}
		octets += len(in.avps)
	}
	for _, o := range r.queue[:max(len(r.queue)-1, 0)] {
		if o.message == wire.StopCCN {
			t.Fatalf("a message waits behind a StopCCN")
		}
	}
	switch {
	case len(r.queue) > r.cfg.SendQueue+1, r.next > r.high, r.high > len(r.queue), r.high > r.window,
		r.cwnd < 1, r.cwnd > r.window, r.ssthresh < 1, octets != r.buffered, r.buffered > bufferMax,
		r.next > 0 && r.retryAt.IsZero():
		t.Fatalf("not as it may be: %+v", r)
	}
}

// FuzzMessages has the bytes decide which control messages a peer sends, all of
// them well-formed and in sequence, in any order, about any session, to one that
// has dialled or to one that has answered; and what the owner answers. What is told
// is in order, whatever the peer says, and nothing is left in the end.
func FuzzMessages(f *testing.F) {
	f.Add(true, byte(0), []byte{1, 0, 10, 0, 9, 0x40, 1, 12, 1, 0, 14, 1, 9})
	f.Add(false, byte(0), []byte{2, 0, 7, 0, 9, 0x40, 1, 12, 1, 0, 9, 1, 0, 15, 1, 0, 4, 0, 0})
	f.Add(false, byte(0), []byte{2, 0, 0x80, 0xa0, 11, 1, 9, 8, 2, 10, 9, 2, 10, 16, 1, 0, 14, 1, 9, 14, 2, 10})
	f.Add(false, byte(1), []byte{0, 0, 2, 9, 0, 2, 11, 1, 9, 0x40, 1, 15, 1, 2, 0xa0, 0x80, 10, 1, 3, 11, 1, 3})
	f.Add(true, byte(2), []byte{1, 0, 2, 9, 0, 2, 0x80, 0xa0, 10, 1, 3, 11, 1, 3, 15, 1, 3})
	f.Fuzz(func(t *testing.T, answer bool, version byte, decisions []byte) {
		tape := tape(decisions)
		cfg := fuzzed(version, Config{PlacesCalls: true})
		p := newPair(t, 1, cfg, cfg)
		p.byHand, p.loss = true, 1 // nothing comes from the other end but what is written here
		e := p.ends[0]
		if answer {
			e = p.ends[1]
		}
		p.drain()
		ns := uint16(0)
		for len(tape) > 0 {
			op := tape.next()
			switch {
			case op < 0x40: // a message, what it is about, and what it assigns
				m := &wire.Message{
					Type: wire.MessageType(op%16 + 1), ProtocolVersion: wire.ProtocolVersion, HostName: "peer",
					FramingCapabilities: 3, BearerCapabilities: 3, AssignedTunnelID: 7,
					Result: wire.Result{Code: 1}, TxConnectSpeed: 1, FramingType: 1,
				}
				header := uint32(0)
				if which := tape.next(); which > 0 && len(e.order) > 0 {
					header = e.order[int(which)%len(e.order)]
				}
				m.AssignedSessionID = uint32(tape.next()%8) + 1
				if !e.m.known(m.Type) {
					continue
				}
				if e.m.version == 3 {
					m.V3 = wire.V3{Pseudowires: []uint16{5}, PseudowireType: 5, RemoteSessionID: header, RemoteEndID: []byte("end"), CircuitStatus: uint16(tape.next())}
					m.Set(wire.AVPCircuitStatus)
					header = 0
				}
				r := &e.m.reliable
				p.do(e, func(t *Tunnel) {
					t.Handle(p.now, packetOf(t, header, ns, r.una+uint16(r.high), m))
				})
				ns++
			case op < 0x60:
				if which := tape.next(); len(e.order) > 0 {
					id := e.order[int(which)%len(e.order)]
					switch op & 3 {
					case 0:
						p.do(e, func(*Tunnel) { e.accept(p.now, id) })
					case 1:
						p.do(e, func(m *Tunnel) { e.acceptOutgoing(p.now, id); m.SetStatus(p.now, id, uint16(op)) })
					case 2:
						p.do(e, func(m *Tunnel) { m.Hangup(p.now, id, wire.Result{}) })
					}
				}
			case op < 0x80:
				p.now = p.now.Add(time.Duration(op&0x1f) * time.Second)
				for _, e := range p.ends {
					p.do(e, func(m *Tunnel) { m.Expire(p.now) })
				}
			case op < 0xa0:
				p.call(e)
			case op < 0xc0:
				p.place(e)
			}
			e.mustBeBounded(t)
		}
		for _, e := range p.ends {
			p.do(e, func(m *Tunnel) { m.Close(p.now, wire.Result{}) })
		}
		p.run(lossLimit + outLimit)
		p.mustBeGone(0)
	})
}

// FuzzTunnel has the bytes decide what two owners do, what happens to the
// datagrams between their machines, and what others send to either. Nothing
// panics, nothing grows without bound, what is told is in order (pair checks
// it), and in the end both are gone.
func FuzzTunnel(f *testing.F) {
	up := []byte{1, 1, 9, 9, 1, 1, 9, 9, 1, 1, 9, 9} // deliver to and fro
	call := append([]byte{5, 0}, up...)
	place := append([]byte{0x15, 0}, up...)
	f.Add(true, byte(0), slices.Concat(up, call, call, []byte{6, 0}, up, []byte{7, 1, 1}))
	f.Add(false, byte(0), slices.Concat([]byte{7, 185, 1}, up, place, []byte{14, 0}, up, []byte{14, 1}, up))
	f.Add(true, byte(0), slices.Concat(up, place, []byte{14, 0}, up, []byte{7, 199}, up))
	f.Add(false, byte(0), slices.Concat(up, call, []byte{3, 200, 3, 200, 2, 4, 1, 1}, call, []byte{15}))
	raw := append([]byte{0x80, 8, 0, 0, 0, 0, 0, 10, 0x80, 8, 0, 0, 0, 14, 0, 5}, 0x80, 10, 0, 0, 0, 15, 0, 0, 0, 1)
	f.Add(true, byte(0), slices.Concat(up, []byte{12, 1, 0, 0, byte(len(raw))}, raw, up))
	f.Add(true, byte(1), slices.Concat(up, call, call, []byte{6, 0}, up, []byte{14, 0}, up, []byte{7, 1, 1}))
	f.Add(false, byte(1), slices.Concat(up, call, []byte{13, 0}, up, place, []byte{14, 0}, up))
	f.Add(true, byte(2), slices.Concat(up, place, []byte{14, 0}, up, []byte{12, 1, 0, 0, byte(len(raw))}, raw, up))
	f.Fuzz(func(t *testing.T, authenticate bool, version byte, decisions []byte) {
		tape := tape(decisions)
		cfg := fuzzed(version, Config{PlacesCalls: true, TieBreaker: true})
		if authenticate {
			cfg.Secret, cfg.HideAVPs = []byte("secret"), true
		}
		p := newPair(t, 1, cfg, cfg)
		p.byHand = true
		p.drain()
		for len(tape) > 0 {
			op := tape.next()
			e := p.ends[op>>3&1]
			switch op & 7 {
			case 0: // lose what comes next
				if len(p.transit) > 0 {
					heap.Pop(&p.transit)
				}
			case 1: // deliver it
				p.deliver(0, false)
			case 2: // deliver another before it, and keep that
				p.deliver(int(tape.next()), true)
			case 3: // time passes
				p.now = p.now.Add(time.Duration(tape.next()) * 20 * time.Millisecond)
				for _, e := range p.ends {
					p.do(e, func(m *Tunnel) { m.Expire(p.now) })
				}
			case 4: // somebody else sends something, or changes what is under way
				if kind := tape.next(); kind&1 == 0 && len(p.transit) > 0 {
					packet := p.transit[0].packet
					packet[int(tape.next())%len(packet)] ^= tape.next()
				} else {
					ns := e.m.reliable.nr + uint16(int8(tape.next()))
					nr := e.m.reliable.una + uint16(int8(tape.next()))
					session := uint32(0)
					if kind&2 != 0 && len(e.order) > 0 {
						session = e.order[len(e.order)-1]
					}
					avps := tape.take(int(tape.next()))
					p.do(e, func(m *Tunnel) { m.Handle(p.now, anyPacket(e.m, session, ns, nr, slices.Clone(avps))) })
				}
			case 5:
				if op&0x10 == 0 {
					p.call(e)
				} else {
					p.place(e)
				}
			case 6: // about a session: accept, as one or the other, or hang up
				if which := tape.next(); len(e.order) > 0 {
					id := e.order[int(which>>1)%len(e.order)]
					if which&1 == 0 {
						p.do(e, func(*Tunnel) { e.accept(p.now, id); e.acceptOutgoing(p.now, id) })
					} else {
						p.do(e, func(m *Tunnel) { m.Hangup(p.now, id, wire.Result{}) })
					}
				}
			case 7:
				switch what := tape.next(); {
				case what > 200:
					p.do(e, func(m *Tunnel) { m.Close(p.now, wire.Result{}) })
				case what > 196:
					p.do(e, func(m *Tunnel) { m.Superseded(p.now) })
				case what > 190:
					p.do(e, func(m *Tunnel) { m.LoseTie(p.now) })
				case what > 180:
					p.do(e, func(m *Tunnel) { m.Yield(p.now) })
				}
			}
			for _, e := range p.ends {
				e.mustBeBounded(t)
			}
		}
		p.cut = p.now
		p.run(lossLimit + callLimit)
		for _, e := range p.ends {
			p.do(e, func(m *Tunnel) { m.Close(p.now, wire.Result{}) })
		}
		p.run(cycle)
		p.mustBeGone(0)
	})
}

// deliver delivers a datagram that is under way.
func (p *pair) deliver(which int, keep bool) {
	if len(p.transit) == 0 {
		return
	}
	which %= len(p.transit)
	d := p.transit[which]
	if !keep {
		heap.Remove(&p.transit, which)
	}
	p.do(p.ends[d.to], func(m *Tunnel) { m.Handle(p.now, slices.Clone(d.packet)) })
}

func (e *end) mustBeBounded(t *testing.T) {
	t.Helper()
	mustBeBounded(t, &e.m.reliable)
	c := &e.m.calls
	if len(c.byID) > e.m.cfg.MaxSessions || len(c.byPeer) > len(c.byID) || len(c.waiting) > len(c.byID) || len(c.lingering) > lingeringMax {
		t.Fatalf("%s has %d sessions, %d by the peer's id, %d waiting, %d lingering", e.name, len(c.byID), len(c.byPeer), len(c.waiting), len(c.lingering))
	}
	for id, s := range c.byID {
		if s.id != id || s.state == callGone || s.peer != 0 && c.byPeer[s.peer] != s {
			t.Fatalf("%s has the session %+v under %d", e.name, s, id)
		}
	}
}

// fuzzed is a configuration of L2TPv2, of L2TPv3, or of L2TPv3 by fall-back.
func fuzzed(version byte, cfg Config) Config {
	if version %= 3; version != 0 {
		cfg.V3 = &V3{Pseudowires: []uint16{5}, Fallback: version == 2}
	}
	return cfg
}

// packetOf is a message of the peer's, in the version that the tunnel has.
func packetOf(t *Tunnel, session uint32, ns, nr uint16, m *wire.Message) []byte {
	if t.version == 3 {
		return anyPacket(t, 0, ns, nr, m.AppendV3(nil))
	}
	return anyPacket(t, session, ns, nr, m.Append(nil))
}

// anyPacket has any AVPs, and is signed as the peer would if it has a digest.
func anyPacket(t *Tunnel, session uint32, ns, nr uint16, avps []byte) []byte {
	if t.version != 3 {
		return packet(t.cfg.LocalID, session, ns, nr, avps)
	}
	p := append(wire.AppendV3ControlHeader(nil, t.cfg.LocalID, ns, nr), avps...)
	wire.SetLength(p)
	wire.Sign(p, t.v3.peerNonce, t.v3.nonce, append(t.v3.keys, nil)[0])
	return p
}
