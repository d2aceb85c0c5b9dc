package control

import (
	"container/heap"
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

// A collision is two owners, each with a tunnel that it dials and one that it
// answers, if it does, in virtual time:
//
//	dialling[0] ──► answering[1]
//	answering[0] ◄── dialling[1]
type collision struct {
	*testing.T
	rng                 *rand.Rand
	start, now          time.Time
	transit             transit // to owner 0 or 1
	sequence            int
	firstWins           bool
	dialling, answering [2]*end
}

func newCollision(t *testing.T, seed uint64) *collision {
	c := &collision{T: t, rng: rand.New(rand.NewPCG(seed, 0)), start: time.Unix(1e9, 0)}
	c.now = c.start
	for i := range c.dialling {
		c.dialling[i] = &end{name: "the dialling one", m: Dial(c.now, c.config(i, 100))}
	}
	c.firstWins = Collide(c.dialling[0].m.TieBreaker(), c.dialling[1].m.TieBreaker()) == OursWins
	c.drain()
	return c
}

// config is the owner's; 100 is the id of what it dials, 200 of what it answers.
func (c *collision) config(i int, id uint32) Config {
	var seed [32]byte
	binary.BigEndian.PutUint64(seed[:], c.rng.Uint64())
	return Config{Rand: rand.NewChaCha8(seed), LocalID: id + uint32(i), TieBreaker: true, HelloInterval: -1}
}

func (c *collision) ends() (found []*end) {
	for i := range 2 {
		if found = append(found, c.dialling[i]); c.answering[i] != nil {
			found = append(found, c.answering[i])
		}
	}
	return found
}

func (c *collision) run(d time.Duration) {
	for end := c.now.Add(d); c.now.Before(end); {
		next := end
		for _, e := range c.ends() {
			if at := e.m.Deadline(); !at.IsZero() && at.Before(next) {
				next = at
			}
		}
		if len(c.transit) > 0 && c.transit[0].at.Before(next) {
			next = c.transit[0].at
		}
		c.now = next
		if len(c.transit) > 0 && !c.transit[0].at.After(c.now) {
			d := heap.Pop(&c.transit).(delivery)
			c.receive(d.to, d.packet)
			c.drain()
		}
		for _, e := range c.ends() {
			e.m.Expire(c.now)
			c.drain()
		}
	}
}

// receive is an owner's demultiplexer, and what it does at a collision.
func (c *collision) receive(i int, datagram []byte) {
	h, avps, err := wire.ParseHeader(datagram)
	if err != nil {
		c.Fatal(err)
	}
	dialling, answering := c.dialling[i], c.answering[i]
	switch {
	case h.TunnelID == dialling.m.cfg.LocalID:
		dialling.m.Handle(c.now, datagram)
	case answering != nil: // by its id, or by the peer's
		answering.m.Handle(c.now, datagram)
	case h.TunnelID == 0 && len(avps) > 0:
		m, err := wire.ParseMessage(avps, nil)
		if err != nil || m.Type != wire.SCCRQ {
			return
		}
		switch Collide(dialling.m.TieBreaker(), PeerTieBreaker(m)) {
		case OursWins:
			if !dialling.up && !dialling.down || dialling.up && c.now.Sub(dialling.upAt) < cycle {
				return
			}
		case TheirsWins:
			dialling.m.Yield(c.now)
		}
		c.answering[i] = &end{name: "the answering one", m: Answer(c.now, c.config(i, 200))}
		c.answering[i].m.Handle(c.now, datagram)
	}
}

func (c *collision) drain() {
	for i := range 2 {
		for _, e := range []*end{c.dialling[i], c.answering[i]} {
			for e != nil {
				packet, event, ok := e.m.Next()
				if !ok {
					break
				}
				switch ev := event.(type) {
				case nil:
					if c.rng.Float64() >= 0.2 {
						c.sequence++
						delay := time.Millisecond + time.Duration(c.rng.Int64N(int64(80*time.Millisecond)))
						heap.Push(&c.transit, delivery{c.now.Add(delay), c.sequence, 1 - i, packet})
					}
				case TunnelUp:
					e.up, e.upAt = true, c.now
					if e == c.answering[i] {
						c.dialling[i].m.LoseTie(c.now)
						c.drain()
					}
				case TunnelDown:
					e.down, e.err = true, ev.Err
				}
			}
		}
	}
}
