package udp

import "github.com/l2tpnet/l2tpnet/endpoint/link"

// sendEach sends frames that each have a path of their own. What is refused, or would get
// lost in one piece, goes as send has it.
func (f *fast) sendEach(frames []link.Frame, paths []*Path) (sent int, err error) {
	o := outboxes.Get().(*outbox)
	o.f = f
	defer o.free()
	take := func(n int) { frames, paths = frames[n:], paths[n:] }
	for len(frames) > 0 {
		o.buildEach(frames, paths)
		if o.built > 0 {
			if e := o.write(); e != nil {
				return sent, e
			}
		}
		for _, n := range o.frames[:o.next] {
			sent += n
			take(n)
		}
		if o.built > 0 && o.refused == 0 {
			continue
		}
		n := 1
		if o.built > 0 {
			n = o.frames[o.next]
		}
		did, e := f.send(frames[:n], paths[0])
		if sent += did; e != nil {
			err = e
		}
		take(n)
	}
	return sent, err
}

// buildEach makes messages of the first frames, as many as there is room for, until one
// would get lost in one piece. There may be none.
func (o *outbox) buildEach(frames []link.Frame, paths []*Path) {
	o.begin()
	for len(frames) > 0 {
		p, whole := paths[0], paths[0].wholeMax()
		same := 0
		for same < len(frames) && paths[same].like(p) && frames[same].Len() <= whole {
			same++
		}
		if same == 0 {
			return
		}
		longest := 0
		if o.f.segments {
			longest = p.segmentMax()
		}
		n := runLength(frames[:same], longest)
		if !o.add(frames[:n], p) {
			return
		}
		frames, paths = frames[n:], paths[n:]
	}
}

// like tells whether two paths have the same ends.
func (p *Path) like(o *Path) bool { return p == o || p.Peer == o.Peer && p.Local == o.Local }
