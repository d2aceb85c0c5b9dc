package control

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

// spoil leaves an AVP out of the message that is under way, and signs it again.
func (p *pair) spoil(missing wire.AVPType, own, other []byte) {
	p.Helper()
	d := &p.transit[0]
	avps := avpsOf(d.packet[wire.V3ControlHeaderLen:])
	for i, a := range avps {
		if a.Type == missing {
			d.packet = append(d.packet[:wire.V3ControlHeaderLen:wire.V3ControlHeaderLen], without(avps, i, false)...)
			wire.SetLength(d.packet)
			wire.Sign(d.packet, own, other, wire.DigestKey([]byte("s")))
			return
		}
	}
	p.Fatalf("there is no %v in %x", missing, d.packet)
}

// RFC 3931 §5.4.1: "the Message Digest […] MUST be present in all messages", and "If the
// calculation fails, the message MUST be dropped." Who refuses an SCCRQ has told no nonce of
// its own: its StopCCN is signed with what the other end can know, and is heard at once.
func TestV3RefusalsAreHeard(t *testing.T) {
	for name, c := range map[string]struct {
		refusal wire.Result
		refuses int // which end
		words   string
		spoil   func(p *pair)
	}{
		"no room":  {wire.Result{Code: wire.StopError, Error: wire.ErrorResources, Text: "too many tunnels"}, 1, "too many tunnels", func(*pair) {}},
		"lost tie": {wire.Result{Code: wire.StopExists}, 1, "result 3", func(*pair) {}},
		"a malformed SCCRQ": {wire.Result{}, 1, wire.AVPPseudowires.String(), func(p *pair) {
			p.drain()
			p.spoil(wire.AVPPseudowires, nil, nil)
		}},
		"a malformed SCCRP": {wire.Result{}, 0, wire.AVPPseudowires.String(), func(p *pair) {
			p.run(time.Millisecond)
			p.spoil(wire.AVPPseudowires, p.ends[1].m.Nonce(), p.ends[0].m.Nonce())
		}},
	} {
		for _, fallback := range []bool{false, true} {
			if fallback && name == "a malformed SCCRQ" {
				continue // it has another form
			}
			p := newPair(t, 1, ofV3("s", func(c *Config) { c.V3.Fallback = fallback }), ofV3("s", nil))
			p.ends[1].m.cfg.Refusal = c.refusal
			c.spoil(p)
			p.run(5 * time.Minute)
			for i, e := range p.ends {
				if e.up || !e.gone || e.m.Counters().BadDigest != 0 || e.downAt.Sub(p.start) > time.Second {
					t.Errorf("%s: %s: %+v, counted %+v", name, e.name, e, e.m.Counters())
				}
				if refused, ok := errors.AsType[*RefusedError](e.err); i == c.refuses && (!ok || refused.Sent != wire.StopCCN) {
					t.Errorf("%s: %s has %v", name, e.name, e.err)
				}
				if told, ok := errors.AsType[*PeerError](e.err); i != c.refuses && (!ok || !strings.Contains(told.Error(), c.words)) {
					t.Errorf("%s: %s has %v", name, e.name, e.err)
				}
			}
		}
	}
}

// A refusal of an SCCRQ is believed if it is signed with the secret for the nonce of that
// SCCRQ, and nothing else is: it would end what somebody else dials. When the peer's nonce is
// known, it takes that too.
func TestV3RefusalsCannotBeForged(t *testing.T) {
	key, another := wire.DigestKey([]byte("s")), wire.DigestKey([]byte("t"))
	theirs := bytes.Repeat([]byte{7}, 16)
	for name, c := range map[string]struct {
		own   []byte
		nonce func(ours []byte) []byte
		key   []byte
		up    bool
		heard bool
	}{
		"right":                           {key: key, heard: true},
		"another secret":                  {key: another},
		"of another attempt":              {key: key, nonce: func([]byte) []byte { return bytes.Repeat([]byte{8}, 16) }},
		"of none":                         {key: key, nonce: func([]byte) []byte { return nil }},
		"a nonce that nobody has told":    {key: key, own: theirs},
		"when the peer's nonce is known":  {key: key, up: true},
		"with both when they are known":   {key: key, own: theirs, up: true, heard: true},
		"with the other way round":        {key: key, own: theirs, nonce: func([]byte) []byte { return nil }, up: true},
		"a secret that is not used, late": {key: another, own: theirs, up: true},
	} {
		now := time.Unix(1e9, 0)
		m := Dial(now, ofV3("s", func(c *Config) { c.Rand, c.LocalID = chacha(1), 100 }))
		down := false
		send := func(ns uint16, msg *wire.Message, own, other, key []byte) {
			msg.Digests = []wire.DigestType{wire.DigestMD5}
			b := msg.AppendV3(wire.AppendV3ControlHeader(nil, 100, ns, 1))
			wire.SetLength(b)
			wire.Sign(b, own, other, key)
			m.Handle(now, b)
			for {
				_, event, ok := m.Next()
				if !ok {
					return
				}
				if _, is := event.(TunnelDown); is {
					down = true
				}
			}
		}
		ns, nonce := uint16(0), m.Nonce()
		if c.up {
			send(0, &wire.Message{Type: wire.SCCRP, HostName: "peer", AssignedTunnelID: 5, V3: wire.V3{Pseudowires: []uint16{5}, Nonce: theirs}}, theirs, nonce, key)
			ns = 1
		}
		if m.Established() != c.up {
			t.Fatalf("%s: established %v", name, m.Established())
		}
		if c.nonce != nil {
			nonce = c.nonce(nonce)
		}
		send(ns, &wire.Message{Type: wire.StopCCN, AssignedTunnelID: 5, Result: wire.Result{Code: 1}}, c.own, nonce, c.key)
		if down != c.heard || (m.Counters().BadDigest == 0) != c.heard {
			t.Errorf("%s: down %v, counted %+v", name, down, m.Counters())
		}
	}
}
