package order

import (
	"testing"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/capture"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

// What Linux numbers runs as it is recorded: from 0 on, one after the other.
func TestReplay(t *testing.T) {
	replayed := 0
	for _, w := range capture.V3() {
		if !w.Sublayer {
			continue
		}
		for _, timeout := range []time.Duration{0, 100 * time.Millisecond} {
			q, numbered := New(Config{Bits: wire.SequenceBits, Timeout: timeout}), 0
			for _, p := range capture.Load(t, w.Capture) {
				if p.Src.Addr() != w.Src {
					continue
				}
				_, _, rest, err := wire.ParseV3(p.Payload)
				if err != nil {
					t.Fatal(err)
				}
				rest, ok := wire.CutCookie(rest, w.Cookie)
				if !ok {
					continue // of a run before
				}
				sequenced, number, frame, ok := wire.ParseSublayer(rest)
				if !ok || !sequenced {
					continue
				}
				numbered++
				if out := q.Add(p.Time, number, frame, nil); len(out) != 1 || &out[0][0] != &frame[0] {
					t.Errorf("%s from %v, number %d: %d frames are delivered", w.Capture, w.Src, number, len(out))
				}
			}
			if c := q.Counters(); c != (Counters{}) || !q.Deadline().IsZero() {
				t.Errorf("%s from %v: counted %+v, deadline %v", w.Capture, w.Src, c, q.Deadline())
			}
			replayed += numbered
		}
	}
	// 10 each way between two Linux, 5 and 7 of a Linux that numbers alone.
	if replayed != 2*(10+10+5+7) {
		t.Errorf("%d numbered packets were replayed", replayed)
	}
}
