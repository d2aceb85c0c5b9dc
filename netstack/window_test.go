package netstack

import (
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// Issue: "TCP windows bounded by the socket buffer that was really granted and by
// the number of flows". What connections may have is theirs together; those that are
// idle take nothing from the others, and who has been cut back grows again.
func TestWindowsAreShared(t *testing.T) {
	const total = 1 << 20
	var w windows
	w.total.Store(total)
	now := time.Unix(1_000_000, 0)
	conns := make([]windowShare, 100)
	for i := range conns {
		conns[i].most = 4 << 20
	}
	near := func() time.Duration { return time.Millisecond }
	sizes := make([]int64, len(conns))
	// period has the first busy connections receive much, and all others little.
	period := func(busy int) {
		now = now.Add(busyPeriod)
		for range 4 {
			for i := range conns {
				if sizes[i] == 0 {
					sizes[i] = 4 << 20
				}
				n := 100
				if i < busy {
					n = busyBytes / 2
				}
				sizes[i] = w.received(&conns[i], n, sizes[i], now, near)
			}
		}
	}
	for _, row := range []struct {
		busy int
		want int64 // bytes of each buffer, half of which is the window
	}{
		{0, 2 * total}, {1, 2 * total}, {2, total}, {8, total / 4}, {4, total / 2}, {1, 2 * total}, {100, windowLeast}, {0, 2 * total},
	} {
		period(row.busy)
		period(row.busy)
		period(row.busy)
		for i, size := range sizes {
			if size != row.want {
				t.Errorf("with %d busy connections number %d has %d bytes, want %d", row.busy, i, size, row.want)
			}
		}
	}
	// A pause ends all business.
	period(50)
	now = now.Add(time.Minute)
	var one windowShare
	if got := w.received(&one, 1000, 4<<20, now, near); got != 2*total {
		t.Errorf("after a pause a connection gets %d bytes, want %d", got, 2*total)
	}
}

// A buffer grows while the connection uses half of its window in a round trip, to
// what it may have and no further.
func TestWindowGrows(t *testing.T) {
	const most = 4 << 20
	for _, row := range []struct {
		name string
		rate int // bytes a second
		trip time.Duration
		want int64
	}{
		{"idle", 1000, time.Millisecond, 100_000},
		{"slow", 200_000, time.Millisecond, 100_000},
		{"slow and far", 200_000, 2 * time.Second, 800_000 * 2}, // a quarter of which is less than 400,000 bytes a trip
		{"fast", 1_000_000, time.Millisecond, 400_000},
		{"fast and far", 10_000_000, 2 * time.Second, most},
	} {
		var w windows
		w.total.Store(64 << 20)
		c := windowShare{most: most}
		size, now := int64(100_000), time.Unix(1_000_000, 0)
		for range 10_000 {
			now = now.Add(10 * time.Millisecond)
			// No more than a window comes in a round trip.
			n := min(row.rate/100, int(float64(size)/2*0.01/max(0.01, row.trip.Seconds())))
			size = w.received(&c, n, size, now, func() time.Duration { return row.trip })
		}
		if size < row.want || size > 2*row.want && row.want != most || size > most {
			t.Errorf("%s: a buffer of %d bytes, want %d", row.name, size, row.want)
		}
	}
}

// The peer is never invited to send more than the path below holds.
func TestWindowIsBounded(t *testing.T) {
	const bound = 200_000
	p := newPair(t, nil, nil)
	p.b.SetReceiveWindow(bound)
	var mu sync.Mutex
	scale, most := 0, 0
	p.ba.setTamper(func(f []byte) []byte { // what the receiver says
		h := header.TCP(f[20:])
		mu.Lock()
		defer mu.Unlock()
		if h.Flags().Contains(header.TCPFlagSyn) {
			scale = header.ParseSynOptions(h[20:h.DataOffset()], true).WS
		} else {
			most = max(most, int(h.WindowSize())<<scale)
		}
		return f
	})
	client, server := p.connect(t)
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { io.Copy(io.Discard, server) })
	defer client.Close()
	client.SetDeadline(time.Now().Add(30 * time.Second))
	largest := func() int {
		mu.Lock()
		defer mu.Unlock()
		return most
	}
	chunk := make([]byte, 64<<10)
	for more := 100; more > 0; {
		if _, err := client.Write(chunk); err != nil {
			t.Fatalf("the largest window was %d bytes, by a scale of %d: %v", largest(), scale, err)
		}
		if largest() > bound/2 { // it has grown
			more--
		}
	}
	if most := largest(); most > bound {
		t.Errorf("the largest window was %d bytes, and the bound is %d", most, bound)
	}
}

// Connections of the Stack and of its Forwarder begin with less where there is less,
// and may grow as they could.
func TestWindowsBeginSmall(t *testing.T) {
	x := newForwardTest(t, &Forwarder{})
	for _, row := range []struct{ bound, stack, forward int }{
		{0, 1 << 20, 256 << 10},
		{4 << 20, 1 << 20, 256 << 10},
		{212_992, 106_496, 106_496},
		{1, 64 << 10, 64 << 10},
	} {
		t.Run(fmt.Sprint(row.bound), func(t *testing.T) {
			x.server.SetReceiveWindow(row.bound)
			var own, forward tcpip.TCPReceiveBufferSizeRangeOption
			x.server.gv.TransportProtocolOption(tcp.ProtocolNumber, &own)
			x.router.forward.gv.TransportProtocolOption(tcp.ProtocolNumber, &forward)
			if own.Default != row.stack || own.Max != tcpBufferMax || forward.Default != row.forward || forward.Max != forwardBufferMax {
				t.Errorf("they begin with %d and %d bytes, and may have %d and %d", own.Default, forward.Default, own.Max, forward.Max)
			}
		})
	}
}
