package udp

import (
	"net/netip"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/l2tpnet/l2tpnet/endpoint/link"
)

// What goes to one peer goes as runs of equal length, whichever path it has; what is
// refused goes again as if it had been alone.
func TestRunsOfManyPaths(t *testing.T) {
	in, out, path := pair(t)
	same := out.Path(in.LocalAddr(), netip.Addr{})
	elsewhere := New(listen(t, "udp4", "127.0.0.1:0"))
	other := out.Path(elsewhere.LocalAddr(), netip.Addr{})
	send := func(n int, ways ...*Path) {
		t.Helper()
		var b link.Batch
		fill(&b, repeat(n, len(ways))...)
		if sent, err := out.SendEach(b.Frames, ways); sent != len(ways) || err != nil {
			t.Errorf("%d of %d sent, error %v", sent, len(ways), err)
		}
		there := 0
		for _, p := range ways {
			if p == other {
				there++
			}
		}
		take(t, in, len(ways)-there)
		take(t, elsewhere, there)
	}
	send(100, path, same, path, other, other, path)
	expectFrames(t, out, "runs", []int{3, 2, 1})
	out.refuse = func(m *message, segments int) syscall.Errno {
		if segments > 1 && m.Name == &path.name[0] {
			return unix.EIO
		}
		return 0
	}
	send(100, other, other, path, path, other, other)
	expectFrames(t, out, "a run that is refused", []int{2}, []int{1, 1}, []int{2})
	send(100, path, path, other, other)
	expectFrames(t, out, "and remembered", []int{1, 1, 2})
	other.Narrow(150, time.Minute)
	send(200, path, other, path)
	expectFrames(t, out, "one that would get lost in one piece", []int{1}, []int{1}, []int{1})
}
