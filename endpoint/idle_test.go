package endpoint

import (
	"io"
	"log/slog"
	"net/netip"
	"runtime"
	"testing"
	"testing/synctest"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/simnet"
)

// idleMax is what an idle session with its tunnel may cost at one end, in octets:
// half of the 16 KiB of "10,000 idle sessions in one process at ≤ 16 KiB each
// (tunnel, session, PPP; heap and stacks)", since what a stack has for it is not in it.
const idleMax = 8 << 10

// inUse is the heap and the stacks after a collection.
func inUse() int {
	var m runtime.MemStats
	for range 3 { // what the first finds unreachable may hold other things
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc + m.StackInuse)
}

func TestWhatAnIdleSessionCosts(t *testing.T) {
	const first, tunnels = 30, 120
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		p, err := NewPool(netip.MustParsePrefix("10.0.0.0/16"), netip.Addr{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		log := slog.New(slog.NewTextHandler(io.Discard, nil))
		lns := host(t, n, lnsAddr, &Config{Rand: random(1, 's'), Logger: log, Answer: &AnswerConfig{Secret: "tunsecret", Authenticate: users, Pool: p}})
		lac := host(t, n, lacAddr, &Config{Rand: random(1, 'c'), Logger: log})
		defer lns.Close()
		defer lac.Close()
		sessions := make([]*Session, 0, 2*tunnels)
		open := func() {
			client, server := calling(t, lac, lns, lnsAddr)
			client.Attach(nothing)
			server.Attach(nothing)
			sessions = append(sessions, client, server)
		}
		for row := range uint32(256) {
			lac.tunnels.set(row<<8, nil)
			lns.tunnels.set(row<<8, nil)
		}
		for range first { // what there is once: rows of tables, buffers
			open()
		}
		before, goroutines := inUse(), runtime.NumGoroutine()
		for range tunnels - first {
			open()
		}
		after := inUse()
		each := (after - before) / (tunnels - first) / 2
		t.Logf("%d octets for a tunnel with a session at one end", each)
		if each > idleMax {
			t.Errorf("%d octets for a tunnel with a session at one end, want %d at most", each, idleMax)
		}
		if g := runtime.NumGoroutine(); g > goroutines {
			t.Errorf("%d more goroutines for %d tunnels", g-goroutines, tunnels)
		}
		for _, s := range sessions {
			if s.Err() != nil {
				t.Fatalf("a session ended: %v", s.Err())
			}
		}
	})
}
