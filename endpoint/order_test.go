package endpoint

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/simnet"
	"github.com/l2tpnet/l2tpnet/endpoint/link"
)

// received is all that a sink has got by now.
func received(got <-chan string) (frames []string) {
	for len(got) > 0 {
		frames = append(frames, (<-got)[ethernetHeaderLen:])
	}
	return frames
}

func TestFramesAreKeptInOrder(t *testing.T) {
	// Issue: "RFC 3931 appendix C for order (one lost packet never costs another), a
	// reorder queue with timeout, or discard".
	const none = -1 // a frame without a number
	for _, c := range []struct {
		name    string
		cfg     StaticConfig
		numbers []int
		at      []string // at once
		later   []string // when nothing waits any more
		discard uint64
		oos     uint64
	}{
		{"in order", StaticConfig{Sequencing: SequencingRecv}, []int{7, 8, 9}, []string{"7", "8", "9"}, nil, 0, 0},
		{"discard what is late", StaticConfig{Sequencing: SequencingRecv}, []int{0, 2, 1}, []string{"0", "2"}, nil, 1, 0},
		{"one lost costs no other", StaticConfig{Sequencing: SequencingRecv}, []int{0, 2, 3, 4, 5, 6, 7, 8}, []string{"0", "2", "3", "4", "5", "6", "7", "8"}, nil, 0, 0},
		{"duplicates", StaticConfig{Sequencing: SequencingBoth}, []int{3, 3, 4, 3, 4}, []string{"3", "4"}, nil, 3, 0},
		{"around the end", StaticConfig{Sequencing: SequencingRecv}, []int{0xfffffe, 0xffffff, 0, 1}, []string{"16777214", "16777215", "0", "1"}, nil, 0, 0},
		{"a queue", StaticConfig{Sequencing: SequencingRecv, ReorderTimeout: 100 * time.Millisecond}, []int{0, 2, 1}, []string{"0", "1", "2"}, nil, 0, 1},
		{"a queue, and one is lost", StaticConfig{Sequencing: SequencingRecv, ReorderTimeout: 100 * time.Millisecond}, []int{0, 2, 4, 3}, []string{"0"}, []string{"2", "3", "4"}, 0, 1},
		{"a short queue", StaticConfig{Sequencing: SequencingRecv, ReorderTimeout: time.Minute, ReorderMax: 2}, []int{0, 2, 3, 4}, []string{"0", "2", "3", "4"}, nil, 0, 0},
		{"without a number", StaticConfig{Sequencing: SequencingBoth}, []int{none, 5, none, 6}, []string{"5", "6"}, nil, 2, 0},
		{"none looks at no numbers", StaticConfig{Sequencing: SequencingNone, Sublayer: SublayerDefault}, []int{2, none, 1, 1}, []string{"2", "-1", "1", "1"}, nil, 0, 0},
		{"send looks at no numbers", StaticConfig{Sequencing: SequencingSend}, []int{2, none, 1, 1}, []string{"2", "-1", "1", "1"}, nil, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := simnet.New(1)
				e := host(t, n, westAddr, nil)
				defer e.Close()
				peer := tapped(t, n, eastAddr, westAddr)
				c.cfg.SessionID, c.cfg.PeerSessionID, c.cfg.PeerCookie = 5, 7, []byte{1, 2, 3, 4}
				s := static(t, e, eastAddr, &c.cfg)
				sink, got := collect()
				s.Attach(sink)
				for _, k := range c.numbers {
					word := "00000000"
					if k != none {
						word = fmt.Sprintf("40%06x", k)
					}
					peer.send("00030000 00000005 01020305"+word, frame("another cookie"))
					peer.send("00030000 00000005 01020304"+word, frame(strconv.Itoa(k)))
					synctest.Wait()
				}
				if now := received(got); !slices.Equal(now, c.at) {
					t.Errorf("received %v at once, want %v", now, c.at)
				}
				time.Sleep(101 * time.Millisecond)
				synctest.Wait()
				if later := received(got); !slices.Equal(later, c.later) {
					t.Errorf("received %v later, want %v", later, c.later)
				}
				st := s.Status().Traffic
				if st.SequenceDiscards != c.discard || st.OutOfSequence != c.oos || st.CookieDiscards != uint64(len(c.numbers)) {
					t.Errorf("counted %+v, want %d discarded and %d out of sequence", st, c.discard, c.oos)
				}
				if st.PacketsIn != uint64(len(c.at)+len(c.later)) || st.DroppedIn != st.SequenceDiscards+st.CookieDiscards {
					t.Errorf("counted %+v", st)
				}
			})
		})
	}
}

// Issue: "cookies and sequence checked before anything is learnt or delivered", as by which
// of our addresses the peer knows us.
func TestNothingIsLearntFromAFrameThatIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		e := host(t, n, westAddr, nil)
		defer e.Close()
		s := static(t, e, eastAddr, &StaticConfig{SessionID: 5, PeerSessionID: 7, PeerCookie: []byte("good"), Sequencing: SequencingBoth})
		in := newInflow()
		defer in.batch.Free()
		learnt := func(to, cookie, sublayer string) bool {
			local := netip.MustParseAddr(to)
			e.receive(netip.MustParseAddrPort(eastAddr), local, slices.Concat([]byte("\x00\x03\x00\x00\x00\x00\x00\x05"+cookie+sublayer), frame("x")), &in)
			in.flush()
			return s.tunnel.path.Load().Local == local
		}
		if !learnt("192.0.2.11", "good", "\x40\x00\x00\x05") {
			t.Error("the peer knows us by another address than we send from")
		}
		for what, sublayer := range map[string]string{"late": "\x40\x00\x00\x04", "a duplicate": "\x40\x00\x00\x05", "without a number": "\x00\x00\x00\x06"} {
			if learnt("192.0.2.12", "good", sublayer) {
				t.Errorf("an address is learnt from a frame that is %s", what)
			}
		}
		if learnt("192.0.2.12", "evil", "\x40\x00\x00\x06") {
			t.Error("an address is learnt from a frame with another cookie")
		}
		if st := s.Status().Traffic; st.PacketsIn+st.DroppedIn != 5 || st.CookieDiscards != 1 || st.SequenceDiscards != 3 {
			t.Errorf("counted %+v", st)
		}
	})
}

func TestWhichFramesHaveNumbers(t *testing.T) {
	// Linux as the peer: "seq send stops numbering once the peer sends a frame without S,
	// and seq none starts once the peer numbers; seq recv and both drop frames without S".
	for _, c := range []struct {
		seq           Sequencing
		before, after bool // our frames have numbers before the peer's have come, and after
	}{{SequencingNone, false, true}, {SequencingSend, true, true}, {SequencingRecv, true, true}, {SequencingBoth, true, true}} {
		synctest.Test(t, func(t *testing.T) {
			n := simnet.New(1)
			e := host(t, n, westAddr, nil)
			defer e.Close()
			peer := tapped(t, n, eastAddr, westAddr)
			s := static(t, e, eastAddr, &StaticConfig{SessionID: 5, PeerSessionID: 7, Sublayer: SublayerDefault, Sequencing: c.seq})
			next := 0
			word := func(numbered bool) string {
				if !numbered {
					return "00000000"
				}
				next++
				return fmt.Sprintf("40%06x", next-1)
			}
			put(s, frame("before"))
			peer.want("00030000 00000007"+word(c.before), frame("before"))
			peer.send("00030000 00000005 40000009", frame("numbered"))
			synctest.Wait()
			for range 3 {
				put(s, frame("after"))
				peer.want("00030000 00000007"+word(c.after), frame("after"))
			}
			peer.send("00030000 00000005 00000000", frame("not numbered"))
			synctest.Wait()
			put(s, frame("still"))
			peer.want("00030000 00000007"+word(c.after), frame("still"))
		})
	}
}

// A line that loses, doubles, delays and overtakes: what is lost is lost, the rest comes
// once and in order.
func TestOrderOverABadLine(t *testing.T) {
	for _, timeout := range []time.Duration{0, 50 * time.Millisecond} {
		for seed := range uint64(8) {
			synctest.Test(t, func(t *testing.T) {
				n := simnet.New(seed)
				west, east, done := staticPair(t, n, StaticConfig{
					SessionID: 1, PeerSessionID: 2, Sequencing: SequencingBoth, ReorderTimeout: timeout, Cookie: []byte("12345678"),
				})
				defer done()
				n.SetDefault(simnet.Link{Delay: 10 * time.Millisecond, Jitter: 5 * time.Millisecond, Loss: .1, Duplicate: .1})
				arrived := map[string]bool{}
				n.SetTap(func(r simnet.Record) {
					if r.Fate == simnet.Delivered {
						arrived[string(r.Payload[20+ethernetHeaderLen:])] = true
					}
				})
				var got []int
				east.Attach(link.SinkFunc(func(b *link.Batch) {
					for i := range b.Frames {
						k, _ := strconv.Atoi(string(b.Frames[i].AppendTo(nil)[ethernetHeaderLen:]))
						got = append(got, k)
					}
				}))
				const frames = 300
				for i := range frames {
					put(west, frame(strconv.Itoa(i)))
					time.Sleep(2 * time.Millisecond)
				}
				time.Sleep(time.Second)
				synctest.Wait()
				for i := range got[0] { // "The first number seen is the start"
					delete(arrived, strconv.Itoa(i))
				}
				if !slices.IsSorted(got) || len(slices.Compact(slices.Clone(got))) != len(got) {
					t.Errorf("seed %d: out of order or doubled: %v", seed, got)
				}
				if st := east.Status().Traffic; timeout > 0 && len(got) != len(arrived) || st.PacketsIn != uint64(len(got)) || timeout == 0 && st.SequenceDiscards == 0 {
					t.Errorf("seed %d, timeout %v: %d frames of %d that arrived came through, counted %+v", seed, timeout, len(got), len(arrived), st)
				}
			})
		}
	}
}

// A socket that notes the numbers of what is sent, as it is sent.
type numbering struct {
	*simnet.Conn
	mu      sync.Mutex
	numbers []uint32
}

func (c *numbering) WriteTo(p []byte, _ net.Addr) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.numbers = append(c.numbers, binary.BigEndian.Uint32(p[8:])&0xffffff)
	return len(p), nil
}

// Whoever sends at the same time, numbers go out in order: frames that a peer takes for
// late would be lost.
func TestNumbersGoOutInOrder(t *testing.T) {
	conn, err := simnet.New(1).Listen(westAddr)
	if err != nil {
		t.Fatal(err)
	}
	socket := &numbering{Conn: conn}
	e, err := New(socket, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	s := static(t, e, eastAddr, &StaticConfig{SessionID: 5, PeerSessionID: 7, Sequencing: SequencingSend})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 500 {
				put(s, frame("x"))
			}
		})
	}
	wg.Wait()
	for i, n := range socket.numbers {
		if n != uint32(i) {
			t.Fatalf("frame %d has the number %d", i, n)
		}
	}
	if len(socket.numbers) != 4000 {
		t.Errorf("%d frames went out, want 4000", len(socket.numbers))
	}
}
