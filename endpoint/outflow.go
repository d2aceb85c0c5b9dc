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
// has to send first: flush is called before they are told, or they are told by then.
type loop struct {
	*machine.Loop
	out  outflow  // the loop's own
	tell []func() // to be called when that has been sent
}

func newLoop(e *Endpoint) *loop {
	l := &loop{out: outflow{ep: e}}
	l.Loop = machine.NewLoop(l.flush)
	return l
}

// then has f called, on the loop, when all has been sent that there is to send by now.
func (l *loop) then(f func()) { l.tell = append(l.tell, f) }

// flush sends what there is. On the loop.
func (l *loop) flush() {
	l.out.flush()
	for tell := l.tell; len(tell) > 0; tell = l.tell {
		l.tell = nil
		for _, f := range tell {
			f()
		}
	}
}

// An outflow collects datagrams, to be sent together.
type outflow struct {
	ep  *Endpoint
	all []*parcels // of each socket
}

// parcels are datagrams to send by one socket. Those of outflows that have none are in a
// pool.
type parcels struct {
	conn  *udp.Conn
	batch link.Batch
	paths []*udp.Path // of each frame in the batch
}

var allParcels = sync.Pool{New: func() any { return new(parcels) }}

// add makes a frame of n octets, to be sent on a path. It is the caller's to write until
// the outflow's next call.
func (o *outflow) add(p *udp.Path, n int) *link.Frame {
	i := slices.IndexFunc(o.all, func(ps *parcels) bool { return ps.conn == p.Conn() })
	if i < 0 {
		i = len(o.all)
		ps := allParcels.Get().(*parcels)
		ps.conn = p.Conn()
		o.all = append(o.all, ps)
	}
	ps := o.all[i]
	if len(ps.paths) == link.BatchMax {
		o.send(ps)
	}
	ps.paths = append(ps.paths, p)
	return ps.batch.Add(n, nil, nil)
}

func (o *outflow) flush() {
	for i, ps := range o.all {
		o.send(ps)
		ps.conn = nil
		allParcels.Put(ps)
		o.all[i] = nil
	}
	o.all = o.all[:0]
}

func (o *outflow) send(ps *parcels) {
	frames := ps.batch.Frames
	if r := o.ep.recorder.Load(); r != nil {
		for i, p := range ps.paths {
			r.outer(pcapng.Outbound, &frames[i], p.Peer, p.Local)
		}
	}
	if sent, err := ps.conn.SendEach(frames, ps.paths); err != nil {
		o.ep.counters.socketErrors.Add(uint64(len(frames) - sent))
		o.ep.log.Debug("not sent", "datagrams", len(frames)-sent, "error", err)
	}
	ps.batch.Reset()
	clear(ps.paths)
	ps.paths = ps.paths[:0]
}
