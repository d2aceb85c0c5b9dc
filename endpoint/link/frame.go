package link

// Headroom is what every frame of a [Batch] has in front of its head, in
// bytes, for the headers of the layers below: UDP pseudowires need at most 32
// (L2TPv3 16, an 802.1Q tag 4, PPP 4), and some stay for a frame that is
// switched from one session into another.
const Headroom = 64

// A Frame is a packet in up to three pieces: a head that is ours to write and
// to grow forwards, and at most two borrowed pieces after it. A frame that
// was received has an empty head and all of it in Body; a frame on its way
// out has its headers in the head and its payload, unmoved, in Body and Tail.
type Frame struct {
	buf  []byte // the room in front, then the head
	off  int    // where the head begins
	Body []byte
	Tail []byte
}

// Head is the piece that is ours: what [Frame.Push] has put in front.
func (f *Frame) Head() []byte { return f.buf[f.off:] }

// Len is the frame's whole length in bytes.
func (f *Frame) Len() int { return len(f.buf) - f.off + len(f.Body) + len(f.Tail) }

// Push grows the head forwards by n bytes and returns them, to be written.
// It panics when the room ([Headroom]) is used up: that is a bug of the
// layers, and nothing that a peer sends can cause it.
func (f *Frame) Push(n int) []byte {
	if n > f.off {
		panic("BUG: link: a frame's headroom is used up")
	}
	f.off -= n
	return f.buf[f.off : f.off+n]
}

// Pop takes the first n bytes of the head away and gives their space back.
func (f *Frame) Pop(n int) {
	if n > len(f.buf)-f.off {
		panic("BUG: link: more popped than pushed")
	}
	f.off += n
}

// Strip takes the frame's first n bytes away, wherever they lie, and reports
// whether there were as many. [Batch.Restore] brings them back.
func (f *Frame) Strip(n int) bool {
	if n > f.Len() {
		return false
	}
	k := min(n, len(f.buf)-f.off)
	f.off, n = f.off+k, n-k
	k = min(n, len(f.Body))
	f.Body, n = f.Body[k:], n-k
	f.Tail = f.Tail[n:]
	return true
}

// Peek is the first n bytes in one piece, valid until the frame changes, or
// nil when the frame is shorter or they straddle two pieces.
func (f *Frame) Peek(n int) []byte {
	switch h := f.buf[f.off:]; {
	case len(h) >= n:
		return h[:n]
	case len(h) == 0 && len(f.Body) >= n:
		return f.Body[:n]
	case len(h) == 0 && len(f.Body) == 0 && len(f.Tail) >= n:
		return f.Tail[:n]
	}
	return nil
}

// AppendTo appends the whole frame to b, in one piece.
func (f *Frame) AppendTo(b []byte) []byte {
	b = append(b, f.buf[f.off:]...)
	b = append(b, f.Body...)
	return append(b, f.Tail...)
}
