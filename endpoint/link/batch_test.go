package link

import (
	"bytes"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// whole is a frame in one piece.
func whole(f *Frame) string { return string(f.AppendTo(nil)) }

func TestLayersPushInFrontAndLeaveNoTrace(t *testing.T) {
	var b Batch
	copy(b.Add(2, []byte("body"), []byte("tail")).Head(), "ip")
	b.Add(0, []byte("received"), nil)

	var wire []string
	bottom := SinkFunc(func(b *Batch) {
		for i := range b.Frames {
			wire = append(wire, whole(&b.Frames[i]))
		}
	})
	layer := func(header string, next Sink) Sink {
		return SinkFunc(func(b *Batch) {
			m := b.Mark()
			defer b.Restore(m)
			for i := range b.Frames {
				copy(b.Frames[i].Push(len(header)), header)
			}
			next.Put(b)
		})
	}
	stack := layer("ppp|", layer("l2tp|", bottom))
	stack.Put(&b)
	stack.Put(&b) // the next sink finds the batch as it was

	want := []string{"l2tp|ppp|ipbodytail", "l2tp|ppp|received"}
	if want = append(want, want...); !slices.Equal(wire, want) {
		t.Errorf("on the wire %q, want %q", wire, want)
	}
	if got := whole(&b.Frames[0]); got != "ipbodytail" {
		t.Errorf("left as %q", got)
	}
}

func TestALayerMayDropAndTheNextSinkStillSeesAll(t *testing.T) {
	var b Batch
	for _, body := range []string{"one", "two", "three"} {
		b.Add(0, []byte(body), nil)
	}
	m := b.Mark()
	b.Frames = slices.DeleteFunc(b.Frames, func(f Frame) bool { return whole(&f) == "two" })
	inner := b.Mark()
	for i := range b.Frames {
		b.Frames[i].Strip(2)
	}
	if got := whole(&b.Frames[1]); got != "ree" {
		t.Errorf("stripped to %q", got)
	}
	b.Restore(inner)
	if len(b.Frames) != 2 || whole(&b.Frames[1]) != "three" {
		t.Error("the inner bracket did not bring back what it found")
	}
	b.Restore(m)
	if len(b.Frames) != 3 || whole(&b.Frames[1]) != "two" {
		t.Error("the outer bracket did not bring back what it found")
	}
}

func TestFrameAsBytes(t *testing.T) {
	// Whatever is pushed, popped and stripped, a frame is its bytes.
	rapid.Check(t, func(t *rapid.T) {
		piece := rapid.SliceOfN(rapid.Byte(), 0, 20)
		head, body, tail := piece.Draw(t, "head"), piece.Draw(t, "body"), piece.Draw(t, "tail")
		var b Batch
		f := b.Add(len(head), body, tail)
		copy(f.Head(), head)
		model := slices.Concat(head, body, tail)
		inHead, room := len(head), Headroom
		for range rapid.IntRange(0, 12).Draw(t, "steps") {
			n := rapid.IntRange(0, 24).Draw(t, "n")
			switch rapid.SampledFrom([]string{"push", "pop", "strip"}).Draw(t, "step") {
			case "push":
				if n > room {
					continue
				}
				p := f.Push(n)
				for i := range p {
					p[i] = byte(i)
				}
				model = slices.Concat(p, model)
				inHead, room = inHead+n, room-n
			case "pop":
				if n > inHead {
					continue
				}
				f.Pop(n)
				model, inHead, room = model[n:], inHead-n, room+n
			case "strip":
				if ok := f.Strip(n); ok != (n <= len(model)) {
					t.Fatalf("Strip(%d) of %d bytes: %v", n, len(model), ok)
				} else if ok {
					k := min(n, inHead)
					model, inHead, room = model[n:], inHead-k, room+k
				}
			}
			if f.Len() != len(model) || !bytes.Equal(f.AppendTo(nil), model) {
				t.Fatalf("frame %x, want %x", f.AppendTo(nil), model)
			}
			if p := f.Peek(1); p != nil && p[0] != model[0] {
				t.Fatalf("Peek: %x, want %x", p[0], model[0])
			}
		}
	})
}

func TestHeadsSurviveTheGrowthOfABatch(t *testing.T) {
	var b Batch
	for i := range 500 {
		copy(b.Add(4, nil, nil).Head(), []byte{byte(i), byte(i >> 8), 3, 4})
	}
	for i := range b.Frames {
		if h := b.Frames[i].Head(); h[0] != byte(i) || h[1] != byte(i>>8) {
			t.Fatalf("head %d is %x", i, h)
		}
	}
}

func TestAWarmBatchDoesNotAllocate(t *testing.T) {
	b := NewBatch()
	defer b.Free()
	fill := func() {
		for range BatchMax {
			b.Add(60, nil, nil)
		}
		m := b.Mark()
		b.Restore(m)
		b.Reset()
	}
	fill()
	if n := testing.AllocsPerRun(100, fill); n > 0 {
		t.Errorf("%v allocations a batch, want none", n)
	}
}
