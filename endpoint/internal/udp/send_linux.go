package udp

import (
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/l2tpnet/l2tpnet/endpoint/link"
)

func ptr[T any](p *T) unsafe.Pointer { return unsafe.Pointer(p) }

// outgoingMax is how many frames are sent by one call.
const outgoingMax = 2 * link.BatchMax

// An outbox is what one call of send needs: messages, each of a run of frames.
type outbox struct {
	messages [outgoingMax]message
	vectors  [3 * outgoingMax]unix.Iovec // head, body and tail of each frame
	controls [outgoingMax][64]byte
	frames   [outgoingMax]int // how many a message has

	built, next int // messages; those from next on are to be sent
	room, used  int // frames that fit in yet, and vectors of those that are in
	most, dirty int // messages and vectors that have been used
	refused     syscall.Errno
	f           *fast
	full        bool // the socket's buffer is
	try         func(fd uintptr)
	retry       func(fd uintptr) bool
}

var outboxes = sync.Pool{New: func() any {
	o := &outbox{}
	o.try = func(fd uintptr) { o.full = !o.tryWrite(fd) }
	o.retry = o.tryWrite
	return o
}}

func (f *fast) send(frames []link.Frame, p *Path) (sent int, err error) {
	longest := 0
	if f.segments {
		longest = p.segmentMax()
	}
	o := outboxes.Get().(*outbox)
	o.f = f
	defer o.free()
	whole := p.wholeMax()
	for len(frames) > 0 {
		if frames[0].Len() > whole {
			e := f.sendLong(o, frames[0:1], p)
			if frames = frames[1:]; e == nil {
				sent++
			} else {
				err = e
			}
			continue
		}
		next := 1
		for next < len(frames) && frames[next].Len() <= whole {
			next++
		}
		o.build(frames[:next], p, longest)
		for o.next < o.built {
			first := o.next
			if e := o.write(); e != nil {
				return sent, e
			}
			for _, n := range o.frames[first:o.next] {
				sent += n
				frames = frames[n:]
			}
			if o.refused == 0 {
				continue
			}
			n := o.frames[o.next]
			if n > 1 {
				if retry, max := f.refuse(p, o.refused, frames[0].Len(), longest); retry {
					longest = max
					break
				}
			} else if o.refused == unix.EMSGSIZE {
				f.tooLong(p, frames[0].Len())
				if f.sendInPieces(&o.messages[o.next], 0) {
					sent++
					frames = frames[1:]
					o.next++
					continue
				}
			}
			err = f.opError("write", "sendmmsg", p, o.refused)
			frames = frames[n:]
			o.next++
		}
	}
	return sent, err
}

// sendLong sends a frame that would get lost in one piece.
func (f *fast) sendLong(o *outbox, frame []link.Frame, p *Path) error {
	o.build(frame, p, 0)
	if f.sendInPieces(&o.messages[0], p.wholeMax()) {
		return nil
	}
	if err := o.write(); err != nil {
		return err
	}
	if o.refused != 0 {
		return f.opError("write", "sendmsg", p, o.refused)
	}
	return nil
}

// sendWhole waits for who sends in pieces: what tells how long a datagram may be has to
// carry DF.
func (f *fast) sendWhole(b []byte, p *Path) error {
	batch := link.NewBatch()
	defer batch.Free()
	batch.Add(0, b, nil)
	o := outboxes.Get().(*outbox)
	o.f = f
	defer o.free()
	o.build(batch.Frames, p, 0)
	if err := f.raw.Write(o.retry); err != nil {
		return err
	}
	if o.refused == unix.EMSGSIZE {
		f.tooLong(p, len(b))
	}
	if o.refused != 0 {
		return f.opError("write", "sendmsg", p, o.refused)
	}
	return nil
}

// refuse learns from the refusal of a message of several datagrams of size bytes,
// and tells whether they are to be sent again with another bound for sharing one.
func (f *fast) refuse(p *Path, err syscall.Errno, size, longest int) (again bool, max int) {
	if err == unix.EINVAL && f.beyondPath(p, size) {
		return true, min(longest, size-1) // kernels before 2025 say of these what others do by EMSGSIZE
	}
	switch err {
	case unix.EMSGSIZE:
		// They would have to be fragmented, which is for single ones only.
		f.tooLong(p, size)
		return true, min(longest, size-1)
	case unix.EIO, unix.EINVAL, unix.EOPNOTSUPP:
		// No checksums by the device, IPsec on the route, and alike.
		p.segmentsRefused()
		return true, 0
	}
	return false, longest
}

// build makes messages of the first frames, as many as there is room for and a run of
// them is not torn apart.
func (o *outbox) build(frames []link.Frame, p *Path, longest int) {
	o.begin()
	for len(frames) > 0 {
		n := runLength(frames, longest)
		if !o.add(frames[:n], p) {
			return
		}
		frames = frames[n:]
	}
}

func (o *outbox) begin() { o.built, o.next, o.room, o.used = 0, 0, outgoingMax, 0 }

// add makes a message of a run of frames, if there is room for it.
func (o *outbox) add(run []link.Frame, p *Path) bool {
	if o.room -= len(run); o.room < 0 {
		return false
	}
	vectors := o.vectors[:o.used]
	for i := range run {
		vectors = appendVector(vectors, run[i].Head())
		vectors = appendVector(vectors, run[i].Body)
		vectors = appendVector(vectors, run[i].Tail)
	}
	m := &o.messages[o.built]
	*m = message{}
	m.Name, m.Namelen = unsafe.SliceData(p.name), uint32(len(p.name))
	if k := len(vectors) - o.used; k > 0 {
		m.Iov = &o.vectors[o.used]
		m.SetIovlen(k)
	}
	control := p.oob
	if len(run) > 1 {
		control = appendSegment(append(o.controls[o.built][:0], p.oob...), run[0].Len())
	}
	if len(control) > 0 {
		m.Control = &control[0]
		m.SetControllen(len(control))
	}
	o.frames[o.built] = len(run)
	o.built++
	o.used = len(vectors)
	o.most, o.dirty = max(o.most, o.built), max(o.dirty, o.used)
	return true
}

func appendVector(vectors []unix.Iovec, b []byte) []unix.Iovec {
	if len(b) == 0 {
		return vectors
	}
	v := unix.Iovec{Base: &b[0]}
	v.SetLen(len(b))
	return append(vectors, v)
}

// free gives the outbox back; borrowed bytes must not be kept alive by it.
func (o *outbox) free() {
	clear(o.messages[:o.most])
	clear(o.vectors[:o.dirty])
	o.most, o.dirty = 0, 0
	o.f = nil
	outboxes.Put(o)
}

// write sends the messages until one is refused. Many send at the same time, as the
// system allows: raw.Write would let in one at a time, and have the others wait for each
// other with locks of their connections held. So it is only where to wait for room.
func (o *outbox) write() error {
	if err := o.f.raw.Control(o.try); err != nil || !o.full {
		return err
	}
	return o.f.raw.Write(o.retry)
}

// tryWrite sends the messages until one is refused; false: the buffer is full.
func (o *outbox) tryWrite(fd uintptr) bool {
	o.refused = 0
	for o.next < o.built {
		n, err := 1, syscall.Errno(0)
		many := o.built-o.next > 1 && !o.f.noMany.Load()
		if many {
			n, err = o.f.calls.sendMany(int(fd), o.messages[o.next:o.built])
		} else {
			_, err = o.f.calls.send(int(fd), &o.messages[o.next])
		}
		switch {
		case err == 0:
			o.next += n
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			return false
		case many && manyRefused(o.f.calls.sendMany, int(fd), err):
			o.f.noMany.Store(true)
		default:
			o.refused = err
			return true
		}
	}
	return true
}
