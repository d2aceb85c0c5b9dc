package order

import (
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// An arrival is a frame that came. Its number is what the sender has counted, without
// an end of the numbers; so is all that these tests reckon with.
type arrival struct {
	at     time.Time
	number uint64
}

// A path draws what becomes of a sender's frames on their way.
type path struct {
	start     uint64
	bits      int
	frames    int
	loss, dup int // of 100
	jitter    time.Duration
}

func drawPath(t *rapid.T, maxJitter time.Duration) path {
	p := path{
		bits:   rapid.SampledFrom([]int{16, 24}).Draw(t, "bits"),
		frames: rapid.IntRange(1, 60).Draw(t, "frames"),
		loss:   rapid.SampledFrom([]int{0, 10, 50}).Draw(t, "loss"),
		dup:    rapid.SampledFrom([]int{0, 10, 50}).Draw(t, "duplication"),
		jitter: time.Duration(rapid.Int64Range(0, int64(maxJitter)).Draw(t, "jitter")),
	}
	// Far from the end of the numbers, or so that they go around.
	p.start = 1<<p.bits - rapid.SampledFrom([]uint64{1 << (p.bits - 1), 5, 40}).Draw(t, "start")
	return p
}

// travel is what comes of one frame each millisecond.
func (p path) travel(t *rapid.T) (came []arrival) {
	some := rapid.IntRange(0, 99)
	late := rapid.Int64Range(0, int64(p.jitter))
	for i := range p.frames {
		if some.Draw(t, "lost") < p.loss {
			continue
		}
		for copies := 1; copies > 0; copies-- {
			if some.Draw(t, "twice") < p.dup {
				copies++
			}
			if copies > 3 {
				copies = 1
			}
			sent := t0.Add(time.Duration(i) * time.Millisecond)
			came = append(came, arrival{at: sent.Add(time.Duration(late.Draw(t, "late"))), number: p.start + uint64(i)})
		}
	}
	slices.SortStableFunc(came, func(a, b arrival) int { return a.at.Compare(b.at) })
	return came
}

// A delivery is a frame that a queue has let go.
type delivery = arrival

// run drives a queue by what comes and by its deadlines, and checks what holds always.
func run(t *rapid.T, cfg Config, came []arrival) (got []delivery, q *Queue) {
	q = New(cfg)
	take := func(at time.Time, frames [][]byte) {
		for _, f := range frames {
			got = append(got, delivery{at: at, number: binary.BigEndian.Uint64(f)})
		}
		if len(q.held) > q.cfg.Frames || q.bytes > q.cfg.Bytes || q.bytes != 8*len(q.held) {
			t.Fatalf("%d frames and %d bytes wait", len(q.held), q.bytes)
		}
		if q.Deadline().IsZero() != (len(q.held) == 0) {
			t.Fatalf("%d frames wait, the deadline is %v", len(q.held), q.Deadline())
		}
	}
	expire := func(until time.Time) {
		for at := q.Deadline(); !at.IsZero() && at.Before(until); at = q.Deadline() {
			take(at, q.Expire(at, nil))
		}
	}
	for _, a := range came {
		expire(a.at)
		take(a.at, q.Add(a.at, uint32(a.number), binary.BigEndian.AppendUint64(nil, a.number), nil))
	}
	expire(t0.Add(time.Hour))
	return got, q
}

func numbers(all []arrival) (list []uint64) {
	for _, a := range all {
		list = append(list, a.number)
	}
	return list
}

// different are all numbers that came, from the first one on, each once and in order.
func different(came []arrival) (list []uint64) {
	for _, n := range numbers(came) {
		if n >= came[0].number {
			list = append(list, n)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

const never = 1 << 30 // for Resync

// Without a timeout, what is delivered is each frame that is greater than all before it.
func TestDiscardingIsTheRisingOnes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawPath(t, 30*time.Millisecond)
		came := p.travel(t)
		var want []arrival
		for _, a := range came {
			if len(want) == 0 || a.number > want[len(want)-1].number {
				want = append(want, a)
			}
		}
		got, q := run(t, Config{Bits: p.bits, Resync: never}, came)
		if !slices.Equal(got, want) {
			t.Fatalf("delivered %v, want %v, came %v", numbers(got), numbers(want), numbers(came))
		}
		c := q.Counters()
		if int(c.Discarded) != len(came)-len(want) || c.OutOfOrder != 0 || c.Resyncs != 0 {
			t.Fatalf("counted %+v, %d of %d were delivered", c, len(want), len(came))
		}
		if len(want) > 0 && c.Missing != want[len(want)-1].number-want[0].number+1-uint64(len(want)) {
			t.Fatalf("missing %d of %v", c.Missing, numbers(want))
		}
	})
}

// "one lost packet never costs another": whatever is lost and doubled, and however frames
// overtake one another within the timeout, all that comes is delivered, once and in order.
func TestReorderingDeliversAllThatComes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const timeout = 40 * time.Millisecond
		p := drawPath(t, timeout-2*time.Millisecond)
		came := p.travel(t)
		if len(came) == 0 {
			return
		}
		got, q := run(t, Config{Bits: p.bits, Timeout: timeout, Resync: never}, came)
		want := different(came)
		if !slices.Equal(numbers(got), want) {
			t.Fatalf("delivered %v, want %v, came %v", numbers(got), want, numbers(came))
		}
		c := q.Counters()
		if int(c.Discarded) != len(came)-len(want) || c.Missing != want[len(want)-1]-want[0]+1-uint64(len(want)) {
			t.Fatalf("counted %+v, delivered %v, came %v", c, want, numbers(came))
		}
	})
}

// However late frames are and however few may wait: what is delivered rises, is delivered
// once, waits no longer than the timeout, and no frame is dropped for another reason than
// that one after it was delivered before.
func TestReorderingAnyway(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawPath(t, 50*time.Millisecond)
		came := p.travel(t)
		cfg := Config{
			Bits: p.bits, Resync: never,
			Timeout: time.Duration(rapid.IntRange(1, 20).Draw(t, "timeout")) * time.Millisecond,
			Frames:  rapid.IntRange(1, 8).Draw(t, "frames that wait"),
			Bytes:   rapid.IntRange(1, 64).Draw(t, "bytes that wait"),
		}
		got, q := run(t, cfg, came)
		for i := range got {
			if i > 0 && got[i].number <= got[i-1].number {
				t.Fatalf("delivered %v, came %v", numbers(got), numbers(came))
			}
		}
		done := map[uint64]time.Time{}
		for _, d := range got {
			done[d.number] = d.at
		}
		seen := map[uint64]bool{}
		for _, a := range came {
			at, ok := done[a.number]
			switch {
			case seen[a.number]:
			case ok && at.Sub(a.at) > cfg.Timeout:
				t.Fatalf("%d waited %v, the timeout is %v", a.number, at.Sub(a.at), cfg.Timeout)
			case !ok && !slices.ContainsFunc(got, func(d delivery) bool { return d.number > a.number && !d.at.After(a.at) }):
				t.Fatalf("%d was dropped though nothing after it had been delivered; delivered %v, came %v", a.number, numbers(got), numbers(came))
			}
			seen[a.number] = true
		}
		if c := q.Counters(); int(c.Discarded) != len(came)-len(got) {
			t.Fatalf("counted %+v, delivered %d of %d", c, len(got), len(came))
		}
	})
}

// It recovers from any state: wherever the sender starts again, with whatever losses, after
// a few frames all that comes is delivered.
func TestRecoversFromAnyState(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bits := rapid.SampledFrom([]int{16, 24}).Draw(t, "bits")
		cfg := Config{Bits: bits, Resync: rapid.IntRange(1, 9).Draw(t, "resync")}
		if rapid.Bool().Draw(t, "reordering") {
			cfg.Timeout = 10 * time.Millisecond
		}
		from := rapid.Uint64Range(1<<bits, 2<<bits-1)
		at := t0
		sends := func(name string, count int) (came []arrival) {
			number := from.Draw(t, name)
			for range count {
				number += rapid.SampledFrom([]uint64{1, 1, 1, 2, 5}).Draw(t, name+" goes on by")
				at = at.Add(time.Millisecond)
				came = append(came, arrival{at, number})
			}
			return came
		}
		before := sends("before", rapid.IntRange(0, 30).Draw(t, "before the break"))
		at = at.Add(cfg.Timeout)
		after := sends("after", 30)
		if len(before) > 0 && cfg.Timeout > 0 {
			// What follows a frame that waits at the very end of what is new is old.
			last := before[len(before)-1].number
			if ahead := (after[0].number - last) & (1<<bits - 1); ahead <= 1<<(bits-1) && ahead+200 > 1<<(bits-1) {
				return
			}
		}
		got, _ := run(t, cfg, append(before, after...))
		delivered := map[uint64]bool{}
		for _, d := range got {
			delivered[d.number] = true
		}
		if n := cfg.Resync; slices.ContainsFunc(after[n:], func(a arrival) bool { return !delivered[a.number] }) {
			t.Fatalf("after %d frames some are still dropped: delivered %v, came %v, then %v", n, numbers(got), numbers(before), numbers(after))
		}
	})
}
