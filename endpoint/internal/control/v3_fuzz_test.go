package control

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

// What an end of the fuzz targets has: bits.
const (
	fuzzSecret    = 1 << iota
	fuzzFallback  // its SCCRQ is for L2TPv2 as well
	fuzzIntegrity // digests without a secret
	fuzzOldSecret // the peer has the old secret alone
)

// FuzzV3Answering has the bytes decide what a peer of L2TPv3 sends to who answers, and what
// its owner does: messages as they should be and of any AVPs, with a right digest where there
// is a secret, in and out of sequence, and any datagrams. FuzzV3Dialling is the other role.
//
// Nothing panics or grows without bound; what is told is in order (pair checks it); a
// datagram without the right digest does nothing at all; and in the end nothing is left.
func FuzzV3Answering(f *testing.F) {
	seedV3(f, wire.SCCRQ, wire.SCCCN)
	f.Fuzz(func(t *testing.T, has byte, input []byte) { fuzzV3(t, 1, has, input) })
}

// FuzzV3Dialling is described at FuzzV3Answering.
func FuzzV3Dialling(f *testing.F) {
	seedV3(f, wire.SCCRP)
	f.Fuzz(func(t *testing.T, has byte, input []byte) { fuzzV3(t, 0, has, input) })
}

// What the bytes of fuzzV3 may ask for.
const (
	fuzzMessage  = iota // one as it should be: type, about which session, its id
	fuzzAVPs            // of a type, with AVPs behind it: type, length, octets
	fuzzEarly           // the same, but for the number after the next
	fuzzDatagram        // length, octets
	fuzzTime            // quarters of a second
	fuzzCall
	fuzzPlace
	fuzzAccept // which session
	fuzzStatus // which session, status
	fuzzHangup // which session
	fuzzClose
	fuzzOps
)

func seedV3(f *testing.F, begin ...wire.MessageType) {
	var up []byte
	for _, m := range begin {
		up = append(up, fuzzMessage, byte(m), 0, 1)
	}
	for _, life := range [][]byte{
		{},
		{fuzzMessage, byte(wire.ICRQ), 0, 9, fuzzAccept, 0, fuzzMessage, byte(wire.ICCN), 1, 9, fuzzMessage, byte(wire.SLI), 1, 9, fuzzStatus, 0, 0, fuzzMessage, byte(wire.CDN), 1, 9},
		{fuzzMessage, byte(wire.OCRQ), 0, 9, fuzzAccept, 0, fuzzMessage, byte(wire.WEN), 1, 9, fuzzHangup, 0, fuzzTime, 255},
		{fuzzCall, fuzzMessage, byte(wire.ICRP), 1, 8, fuzzMessage, byte(wire.HELLO), 0, 0, fuzzMessage, byte(wire.ACK), 0, 0, fuzzClose},
		{fuzzPlace, fuzzMessage, byte(wire.OCRP), 1, 8, fuzzMessage, byte(wire.OCCN), 1, 8, fuzzMessage, byte(wire.StopCCN), 0, 0},
		{fuzzCall, fuzzMessage, byte(wire.ICRQ), 0, 8, fuzzTime, 130, fuzzTime, 255}, // a tie
		{fuzzAVPs, byte(wire.ICRQ), 8, 0x80, 8, 0, 0, 0, 120, 1, 2, fuzzEarly, byte(wire.HELLO), 0, fuzzDatagram, 12, 0xc8, 3, 0, 12, 0, 0, 0, 0, 0, 1, 0, 1},
	} {
		for _, has := range []byte{0, fuzzSecret, fuzzFallback, fuzzFallback | fuzzSecret, fuzzIntegrity, fuzzSecret | fuzzOldSecret} {
			f.Add(has, slices.Concat(up, life))
		}
	}
	for _, has := range []byte{0, fuzzFallback, fuzzFallback | fuzzSecret} {
		f.Add(has, slices.Concat([]byte{fuzzMessage, byte(wire.ACK), 0, 0}, up)) // before all else
	}
	f.Add(byte(fuzzSecret), slices.Concat([]byte{fuzzDatagram, 20, 0xc8, 3, 0, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0x80, 8, 0, 0, 0, 0, 0, 1}, up))
}

var fuzzNonce = []byte("the peer's nonce")

func fuzzV3(t *testing.T, role int, has byte, input []byte) {
	tape, secret := tape(input), has&fuzzSecret != 0
	cfg := ofV3("", func(c *Config) { c.PlacesCalls, c.MaxSessions = true, 8 })
	cfg.V3.Fallback, cfg.V3.Integrity = has&fuzzFallback != 0, has&fuzzIntegrity != 0
	key := wire.DigestKey([]byte("secret"))
	if secret {
		cfg.Secret = []byte("secret")
		if has&fuzzOldSecret != 0 {
			cfg.V3.OldSecret = []byte("old")
			key = wire.DigestKey(cfg.V3.OldSecret)
		}
	}
	p := newPair(t, 1, cfg, cfg)
	p.byHand, p.loss = true, 1 // nothing comes from the other end but what is written here
	p.drain()
	e := p.ends[role]
	ns := uint16(0)
	// A message of any AVPs, with a right digest if there is to be one.
	send := func(ns uint16, kind wire.MessageType, avps []byte) {
		b := wire.AppendV3ControlHeader(nil, e.m.cfg.LocalID, ns, e.m.reliable.una+uint16(e.m.reliable.high))
		b = append(b, 0x80, 8, 0, 0, 0, 0, byte(kind>>8), byte(kind))
		if secret {
			b = append(append(b, 0x80, 23, 0, 0, 0, 59, 0), make([]byte, 16)...)
		}
		b = append(b, avps...)
		wire.SetLength(b)
		switch {
		case !secret:
		case kind == wire.SCCRQ:
			wire.Sign(b, nil, nil, key)
		default:
			wire.Sign(b, fuzzNonce, e.m.v3.nonce, key)
		}
		p.do(e, func(m *Tunnel) { m.Handle(p.now, b) })
	}
	session := func(which byte) uint32 {
		if which == 0 || len(e.order) == 0 {
			return 0
		}
		return e.order[int(which-1)%len(e.order)]
	}
	for len(tape) > 0 {
		switch tape.next() % fuzzOps {
		case fuzzMessage:
			m := &wire.Message{Type: wire.MessageType(tape.next() % 21), HostName: "peer", AssignedTunnelID: 0x77777777, Result: wire.Result{Code: 1}}
			m.V3 = wire.V3{Pseudowires: []uint16{5}, PseudowireType: 5, RemoteEndID: []byte("0"), CircuitStatus: 1, Nonce: fuzzNonce, RemoteSessionID: session(tape.next())}
			m.AssignedSessionID = uint32(tape.next()) + 1
			if !m.Type.KnownV3() {
				continue
			}
			send(ns, m.Type, m.AppendV3(nil)[8:])
			if m.Type != wire.ACK {
				ns++
			}
		case fuzzAVPs:
			kind := wire.MessageType(tape.next())
			send(ns, kind, tape.take(int(tape.next())))
			ns++
		case fuzzEarly:
			kind := wire.MessageType(tape.next())
			send(ns+1, kind, tape.take(int(tape.next())))
		case fuzzDatagram:
			datagram := bytes.Clone(tape.take(int(tape.next())))
			before, deadline := e.m.Counters(), e.m.Deadline()
			version, _ := wire.Version(datagram)
			ofV2 := version == 2 && (e.m.open || e.m.version == 2) // where nothing is signed
			e.m.Handle(p.now, datagram)
			after := e.m.Counters()
			if !secret || ofV2 {
				p.drain()
				break
			}
			packet, event, ok := e.m.Next()
			before.Malformed, before.BadDigest, after.Malformed, after.BadDigest = 0, 0, 0, 0
			if ok || after != before || e.m.Deadline() != deadline {
				t.Fatalf("%x, which is not signed, led to %x, %v; counted %+v, %+v before", datagram, packet, event, after, before)
			}
		case fuzzTime:
			p.now = p.now.Add(time.Duration(tape.next()) * 250 * time.Millisecond)
			for _, e := range p.ends {
				p.do(e, func(m *Tunnel) { m.Expire(p.now) })
			}
		case fuzzCall:
			p.call(e)
		case fuzzPlace:
			p.place(e)
		case fuzzAccept:
			if id := session(tape.next() + 1); id != 0 {
				p.do(e, func(m *Tunnel) { m.AcceptPseudowire(p.now, id, *aPseudowire()) })
			}
		case fuzzStatus:
			id := session(tape.next() + 1)
			status := uint16(tape.next())
			p.do(e, func(m *Tunnel) { m.SetStatus(p.now, id, status) })
		case fuzzHangup:
			id := session(tape.next() + 1)
			p.do(e, func(m *Tunnel) { m.Hangup(p.now, id, wire.Result{}) })
		case fuzzClose:
			p.do(e, func(m *Tunnel) { m.Close(p.now, wire.Result{}) })
		}
		e.mustBeBounded(t)
	}
	for _, e := range p.ends {
		p.do(e, func(m *Tunnel) { m.Close(p.now, wire.Result{}) })
	}
	p.run(10 * time.Minute)
	p.mustBeGone(0)
}
