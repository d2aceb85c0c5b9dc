package machine

import "time"

// A timer is one machine's place in the heap.
type timer struct {
	of interface{ expire(now time.Time) }
	// due is when the machine's deadline is, which may be later than the heap says; 0: it
	// has none.
	due   time.Duration
	place int // in the heap, from 1; 0: it is not there
}

// timers are a heap of what is to expire. Most deadlines are put off before they come, so
// the heap is left as it is then, and looks again when it thinks that one has come.
type timers struct {
	began time.Time // of the clock of all times here, which begins at 1 ns
	heap  []entry
}

type entry struct {
	at time.Duration
	t  *timer
}

func (h *timers) clock(at time.Time) time.Duration { return max(1, at.Sub(h.began)+1) }

// set has a timer expire at that time; zero: never.
func (h *timers) set(t *timer, at time.Time) {
	if at.IsZero() {
		t.due = 0
		return
	}
	t.due = h.clock(at)
	switch {
	case t.place == 0:
		h.heap = append(h.heap, entry{})
		h.up(len(h.heap), entry{t.due, t})
	case t.due < h.heap[t.place-1].at:
		h.up(t.place, entry{t.due, t})
	}
}

// remove takes a timer out of the heap.
func (h *timers) remove(t *timer) {
	t.due = 0
	if t.place == 0 {
		return
	}
	hole, last := t.place, len(h.heap)
	t.place = 0
	moved := h.heap[last-1]
	h.heap[last-1] = entry{}
	h.heap = h.heap[:last-1]
	if hole == last {
		return
	}
	if hole > 1 && moved.at < h.heap[hole/2-1].at {
		h.up(hole, moved)
	} else {
		h.down(hole, moved)
	}
}

// expire has those expire that are due, and tells whether there were any. What is due
// again at once may have to wait for the next call.
func (h *timers) expire(now time.Time) (any bool) {
	at := h.clock(now)
	for n := len(h.heap); n > 0 && len(h.heap) > 0 && h.heap[0].at <= at; n-- {
		switch t := h.heap[0].t; {
		case t.due == 0:
			h.remove(t)
		case t.due > at:
			h.down(1, entry{t.due, t})
		default:
			any = true
			h.remove(t)
			t.of.expire(now)
		}
	}
	return any
}

// wait is how long nothing is due: some time, and an hour at most.
func (h *timers) wait(now time.Time) time.Duration {
	if len(h.heap) == 0 {
		return time.Hour
	}
	return min(time.Hour, max(1, h.heap[0].at-h.clock(now)))
}

// up puts an entry into the place of one that is above it, or was.
func (h *timers) up(place int, e entry) {
	for place > 1 && e.at < h.heap[place/2-1].at {
		h.put(place, h.heap[place/2-1])
		place /= 2
	}
	h.put(place, e)
}

// down is the other way.
func (h *timers) down(place int, e entry) {
	for 2*place <= len(h.heap) {
		child := 2 * place
		if child < len(h.heap) && h.heap[child].at < h.heap[child-1].at {
			child++
		}
		if e.at <= h.heap[child-1].at {
			break
		}
		h.put(place, h.heap[child-1])
		place = child
	}
	h.put(place, e)
}

func (h *timers) put(place int, e entry) {
	h.heap[place-1] = e
	e.t.place = place
}
