package endpoint

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/capture"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/simnet"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

// What QEMU, user-mode Linux and "ip l2tp" have sent comes to a session that has been told
// what they had been told: each frame, and what is wrong is counted as what it is.
func TestRecordedPseudowires(t *testing.T) {
	for _, w := range capture.V3() {
		if w.IP {
			continue // there is no socket for it
		}
		for _, sequencing := range []Sequencing{SequencingNone, SequencingBoth} {
			if !w.Sublayer && sequencing != SequencingNone {
				continue
			}
			t.Run(fmt.Sprintf("%s from %v, %s", w.Capture, w.Src, sequencing), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { replay(t, w, sequencing) })
			})
		}
	}
}

func replay(t *testing.T, w capture.V3Way, sequencing Sequencing) {
	packets := slices.DeleteFunc(capture.Load(t, w.Capture), func(p capture.Packet) bool { return p.Src.Addr() != w.Src })
	first := packets[0]
	n := simnet.New(1)
	e := host(t, n, first.Dst.String(), nil)
	defer e.Close()
	peer := tapped(t, n, first.Src.String(), first.Dst.String())
	cfg := StaticConfig{SessionID: w.Session, PeerSessionID: 1, PeerCookie: w.Cookie, Sequencing: sequencing, Sublayer: SublayerNone}
	if w.Sublayer {
		cfg.Sublayer = SublayerDefault
	}
	if sequencing == SequencingBoth {
		cfg.ReorderTimeout = 100 * time.Millisecond
	}
	s := static(t, e, first.Src.String(), &cfg)
	sink, got := collect()
	s.Attach(sink)

	var want []string
	var cookies, unnumbered uint64
	for i, p := range packets {
		if i > 0 {
			time.Sleep(p.Time.Sub(packets[i-1].Time))
		}
		peer.send("", p.Payload)
		synctest.Wait()
		frame, ok := wire.CutCookie(p.Payload[wire.V3DataHeaderLen:], w.Cookie)
		switch {
		case !ok:
			cookies++
			continue
		case w.Sublayer:
			// The S bit is the second of the sublayer (RFC 3931 §4.6).
			numbered := frame[0]&0x40 != 0
			if frame = frame[wire.SublayerLen:]; !numbered && sequencing == SequencingBoth {
				unnumbered++
				continue
			}
		}
		want = append(want, string(frame))
	}
	var frames []string
	for len(got) > 0 {
		frames = append(frames, <-got)
	}
	if !slices.Equal(frames, want) {
		t.Errorf("%d frames have come, want %d of %d:\n%x\n%x", len(frames), len(want), len(packets), frames, want)
	}
	st := s.Status().Traffic
	if st.PacketsIn != uint64(len(want)) || st.CookieDiscards != cookies || st.SequenceDiscards != unnumbered || st.DroppedIn != cookies+unnumbered || st.OutOfSequence != 0 {
		t.Errorf("counted %+v, want %d frames, %d cookies discarded and %d for their sequence", st, len(want), cookies, unnumbered)
	}
	// By their captures' names.
	bad := w.Capture == "v3/uml-v3-badcookie" && w.Dst == netip.MustParseAddr("10.99.0.2")
	if cookies != 0 && !bad || bad && len(want) != 0 {
		t.Errorf("%d frames with another cookie", cookies)
	}
}
