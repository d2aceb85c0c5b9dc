package endpoint

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/l2tpnet/l2tpnet/endpoint/link"
)

// batches is a sink that keeps each batch it gets, as one line.
type batches []string

func (l *batches) Put(b *link.Batch) {
	var packets []string
	for i := range b.Frames {
		packets = append(packets, string(b.Frames[i].AppendTo(nil)[1:]))
	}
	*l = append(*l, strings.Join(packets, " "))
}

func (l *batches) expect(t *testing.T, what string, want ...string) {
	t.Helper()
	if !slices.Equal(*l, want) {
		t.Errorf("%s: the batches are %q, want %q", what, *l, want)
	}
	*l = nil
}

func TestPacketsInARowComeInOneBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, _, done := joined(t, nil, PPPConfig{})
		defer done()
		in := inflow{batch: link.NewBatch()}
		defer in.batch.Free()
		var atA, atB batches

		// Nothing is attached to b: the first packets wait for it.
		was := b.Status().Traffic
		for i := range waitingMax + 3 {
			in.add(b, packet(fmt.Sprint(i)))
		}
		in.flush()
		if now := b.Status().Traffic; now.PacketsIn-was.PacketsIn != waitingMax || now.DroppedIn-was.DroppedIn != 3 {
			t.Errorf("%d packets came and %d were dropped, want %d and 3", now.PacketsIn-was.PacketsIn, now.DroppedIn-was.DroppedIn, waitingMax)
		}
		a.Attach(&atA)
		b.Attach(&atB)
		atB.expect(t, "those that waited", "0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15")

		was = a.Status().Traffic
		for _, text := range []string{"one", "two", "three"} {
			in.add(a, packet(text))
		}
		in.add(b, packet("four"))
		atA.expect(t, "before another session's", "one two three")
		in.add(a, packet("five"))
		atB.expect(t, "and so on", "four")
		in.flush()
		in.flush()
		atA.expect(t, "at the end", "five")
		atB.expect(t, "which had no more")
		if now := a.Status().Traffic; now.PacketsIn-was.PacketsIn != 4 || now.BytesIn-was.BytesIn != 19 {
			t.Errorf("%d packets of %d bytes came, want 4 of 19", now.PacketsIn-was.PacketsIn, now.BytesIn-was.BytesIn)
		}

		many := func(n int) string {
			for range n {
				in.add(a, packet("x"))
			}
			return strings.TrimSuffix(strings.Repeat("x ", n), " ")
		}
		some := many(inflowMax - 1)
		in.runEnds()
		atA.expect(t, "a run that ends before there are enough")
		some += " " + many(link.BatchMax)
		in.runEnds()
		atA.expect(t, "the run that begins there, and is not torn apart", some)
		in.runEnds()
		atA.expect(t, "a run that had nothing of that session")
		some = many(inflowMax + link.BatchMax)
		atA.expect(t, "a run that does not end, yet")
		in.add(a, packet("y"))
		in.flush()
		atA.expect(t, "and then", some, "y")

		a.Attach(nil)
		was = a.Status().Traffic
		in.add(a, packet("late"))
		in.flush()
		if now := a.Status().Traffic; now.DroppedIn-was.DroppedIn != 1 {
			t.Errorf("%d packets were dropped after the sink had gone, want 1", now.DroppedIn-was.DroppedIn)
		}
	})
}
