package endpoint

import (
	"slices"
	"sync"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/machine"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/pcapng"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/udp"
	"github.com/l2tpnet/l2tpnet/endpoint/link"
)

// A loop drives machines, and sends what they have to send in a round by few system calls.
//
// What others may do because of something that a machine tells must not overtake what it
// has to send first: flush is called before they are told.
type loop struct {
	*machine.Loop
	ep      *Endpoint
	outflow []*parcels // of each socket; the loop's own
}

// parcels are datagrams to send by one socket. Those of loops that have none are in a
// pool.
type parcels struct {
	conn  *udp.Conn
	batch link.Batch
	paths []*udp.Path // of each frame in the batch
}

var allParcels = sync.Pool{New: func() any { return new(parcels) }}

func newLoop(e *Endpoint) *loop {
	l := &loop{ep: e}
	l.Loop = machine.NewLoop(l.flush)
	return l
}

// add makes a frame of n octets, to be sent on a path. It is the caller's until the next
// call of the loop's methods. On the loop.
func (l *loop) add(p *udp.Path, n int) *link.Frame {
	i := slices.IndexFunc(l.outflow, func(o *parcels) bool { return o.conn == p.Conn() })
	if i < 0 {
		i = len(l.outflow)
		o := allParcels.Get().(*parcels)
		o.conn = p.Conn()
		l.outflow = append(l.outflow, o)
	}
	o := l.outflow[i]
	if len(o.paths) == link.BatchMax {
		l.send(o)
	}
	o.paths = append(o.paths, p)
	return o.batch.Add(n, nil, nil)
}

// flush sends what there is. On the loop.
func (l *loop) flush() {
	for i, o := range l.outflow {
		l.send(o)
		o.conn = nil
		allParcels.Put(o)
		l.outflow[i] = nil
	}
	l.outflow = l.outflow[:0]
}

func (l *loop) send(o *parcels) {
	frames := o.batch.Frames
	if r := l.ep.recorder.Load(); r != nil {
		for i, p := range o.paths {
			r.outer(pcapng.Outbound, &frames[i], p.Peer, p.Local)
		}
	}
	if sent, err := o.conn.SendEach(frames, o.paths); err != nil {
		l.ep.counters.socketErrors.Add(uint64(len(frames) - sent))
		l.ep.log.Debug("not sent", "datagrams", len(frames)-sent, "error", err)
	}
	o.batch.Reset()
	clear(o.paths)
	o.paths = o.paths[:0]
}
