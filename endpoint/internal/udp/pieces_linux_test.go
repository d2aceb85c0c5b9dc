package udp

import (
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What measures the path carries DF, also while others send in pieces on the same socket:
// in pieces it would arrive whatever the path.
func TestAProbeIsWholeWhileOthersSendInPieces(t *testing.T) {
	const long, probe, rounds = 1500, 1999, 20
	in, out := New(listen(t, "udp4", "127.0.0.1:0")), mustFast(listen(t, "udp4", "127.0.0.1:0"))
	if len(out.discoveries) == 0 {
		t.Skip("SKIPPED: DF: this system's default is not to find out the path's MTU")
	}
	c := &Conn{conn: out.conn, form: out}
	path := c.Path(in.LocalAddr(), netip.Addr{})
	path.Narrow(1372, time.Hour)
	var probed atomic.Int32
	inPieces := make(chan struct{}, rounds)
	send := out.calls.send
	out.calls.send = func(fd int, m *message) (int, syscall.Errno) {
		how, _ := unix.GetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER)
		switch total(vectorsOf(m)) {
		case probe:
			if probed.Add(1); how != unix.IP_PMTUDISC_DO {
				t.Errorf("a probe is sent by %d, want %d", how, unix.IP_PMTUDISC_DO)
			}
		case long:
			if how != unix.IP_PMTUDISC_DONT {
				t.Errorf("a long one is sent by %d, want %d", how, unix.IP_PMTUDISC_DONT)
			}
			// The other one has its turn now, and many of them. It has to wait.
			was := probed.Load()
			inPieces <- struct{}{}
			for i := 0; i < 10000 && probed.Load() == was; i++ {
				runtime.Gosched()
			}
		}
		return send(fd, m)
	}
	var both sync.WaitGroup
	both.Go(func() {
		for range rounds {
			if err := c.Write(make([]byte, long), path); err != nil {
				t.Error(err)
			}
		}
	})
	both.Go(func() {
		for range rounds {
			<-inPieces
			if err := c.WriteWhole(make([]byte, probe), path); err != nil {
				t.Error(err)
			}
		}
	})
	take(t, in, 2*rounds)
	both.Wait()
	if n := probed.Load(); n != rounds {
		t.Errorf("%d probes were sent, want %d", n, rounds)
	}
}
