package udp

import (
	"errors"
	"net"
	"net/netip"
	"runtime"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/l2tpnet/l2tpnet/endpoint/link"
)

// inNamespace runs f in a network of its own, whose loopback interface has an MTU.
func inNamespace(t *testing.T, mtu uint32, f func() error) {
	t.Helper()
	done := make(chan error)
	go func() {
		// The thread ends with the goroutine, and the network with the thread.
		runtime.LockOSThread()
		err := func() error {
			if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
				return err
			}
			s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
			if err != nil {
				return err
			}
			defer unix.Close(s)
			ifr, err := unix.NewIfreq("lo")
			if err != nil {
				return err
			}
			ifr.SetUint32(mtu)
			if err := unix.IoctlIfreq(s, unix.SIOCSIFMTU, ifr); err != nil {
				return err
			}
			ifr.SetUint16(unix.IFF_UP)
			return unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, ifr)
		}()
		if err == nil {
			err = f()
		}
		done <- err
	}()
	if err := <-done; errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSYS) {
		t.Skip("SKIPPED: a network of its own: ", err)
	} else if err != nil {
		t.Fatal(err)
	}
}

// open opens a socket in the network of the calling thread.
func open(t *testing.T, c **net.UDPConn) (err error) {
	if *c, err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}); err != nil {
		return err
	}
	t.Cleanup(func() { (*c).Close() })
	return (*c).SetDeadline(time.Now().Add(patience))
}

func TestDatagramsThatAreLongerThanThePathsMTU(t *testing.T) {
	// They carry DF and are refused, which is how the path's MTU is learnt; then they
	// are fragmented, so that nothing is lost.
	a, b := &net.UDPConn{}, &net.UDPConn{}
	inNamespace(t, 1500, func() error { return errors.Join(open(t, &a), open(t, &b)) })
	in, out := New(a), spy(b)
	if !out.f.segments {
		t.Skip("SKIPPED: UDP_SEGMENT: the kernel does not know it")
	}
	path := out.Path(in.LocalAddr(), netip.Addr{})
	send := func(lengths ...int) {
		t.Helper()
		sendAndTake(t, "longer", out.Conn, path, in, out.LocalAddr(), lengths)
	}
	send(repeat(1472, 20)...)
	expectFrames(t, out, "as long as the MTU lets them be", []int{20})
	if n := path.MaxDatagram(); n != 0 {
		t.Errorf("nothing has been refused: datagrams have at most %d bytes, want 0", n)
	}
	send(repeat(1473, 3)...)
	expectFrames(t, out, "longer", []int{1}, []int{1}, []int{1})
	// This thread has another network, where nothing is known of the path.
	if n := path.MaxDatagram(); n != 1492-28 && n != 1472 {
		t.Errorf("datagrams have at most %d bytes, want those of the next plateau, 1464, or 1472", n)
	}
	for i := range 3 {
		send(1473 + 500*i)
		expectFrames(t, out, "still longer", []int{1})
	}
	send(repeat(1400, 20)...)
	expectFrames(t, out, "shorter", []int{20})
}

func TestTheSystemSaysThePathsMTU(t *testing.T) {
	a, b := &net.UDPConn{}, &net.UDPConn{}
	inNamespace(t, 1420, func() error {
		if err := errors.Join(open(t, &a), open(t, &b)); err != nil {
			return err
		}
		in, out := New(a), New(b)
		path := out.Path(in.LocalAddr(), netip.Addr{})
		if err := out.Write(make([]byte, 1450), path); err != nil {
			return err
		}
		if n := path.MaxDatagram(); n != 1420-28 {
			t.Errorf("datagrams have at most %d bytes, want 1392", n)
		}
		return nil
	})
}

// Kernels before 2025 answer EINVAL to a run of datagrams that are longer than the path's
// MTU. It is that which is learnt of the path, not that it has no runs.
func TestRunsThatAreTooLongAreInvalid(t *testing.T) {
	a, b := &net.UDPConn{}, &net.UDPConn{}
	inNamespace(t, 1420, func() error {
		if err := errors.Join(open(t, &a), open(t, &b)); err != nil {
			return err
		}
		in, out := New(a), spy(b)
		if !out.f.segments {
			return unix.ENOSYS
		}
		out.refuse = func(m *message, segments int) syscall.Errno {
			if segments > 1 && segmentSize(m) > 1420-28 {
				return unix.EINVAL
			}
			return 0
		}
		path := out.Path(in.LocalAddr(), netip.Addr{})
		for _, c := range []struct {
			name    string
			lengths []int
			want    [][]int
		}{
			{"longer than the path's MTU", repeat(1393, 3), [][]int{{1}, {1}, {1}}},
			{"as long as it", repeat(1392, 3), [][]int{{3}}},
			{"longer once more", repeat(1400, 2), [][]int{{1}, {1}}},
			{"shorter", repeat(1000, 3), [][]int{{3}}},
		} {
			var batch link.Batch
			fill(&batch, c.lengths...)
			if sent, err := out.Send(batch.Frames, path); sent != len(c.lengths) || err != nil {
				t.Errorf("%s: %d of %d sent, error %v", c.name, sent, len(c.lengths), err)
			}
			expectFrames(t, out, c.name, c.want...)
		}
		if n := path.MaxDatagram(); n != 1420-28 {
			t.Errorf("datagrams have at most %d bytes, want 1392", n)
		}
		if out.refused != 1 {
			t.Errorf("%d messages were refused, want only the first", out.refused)
		}
		return nil
	})
}

func TestWhoWantsFragmentsGetsThem(t *testing.T) {
	// A choice of the socket's maker is not undone.
	a := &net.UDPConn{}
	inNamespace(t, 1500, func() error { return open(t, &a) })
	raw, err := a.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DONT)
	})
	if err != nil {
		t.Fatal(err)
	}
	c := New(a)
	path := c.Path(c.LocalAddr(), netip.Addr{})
	if err := c.Write(make([]byte, 2000), path); err != nil || path.MaxDatagram() != 0 {
		t.Errorf("error %v, datagrams of at most %d bytes; want none, and no limit", err, path.MaxDatagram())
	}
}

func TestAPeerWithoutARoute(t *testing.T) {
	a := &net.UDPConn{}
	inNamespace(t, 1500, func() error { return open(t, &a) })
	c := New(a)
	var b link.Batch
	fill(&b, repeat(100, 5)...)
	sent, err := c.Send(b.Frames, c.Path(netip.MustParseAddrPort("192.0.2.1:1701"), netip.Addr{}))
	if sent != 0 || !errors.Is(err, unix.ENETUNREACH) && !errors.Is(err, unix.EINVAL) {
		t.Errorf("%d sent, error %v", sent, err)
	}
}

func TestWhatIsToGoWholeIsRefused(t *testing.T) {
	a := &net.UDPConn{}
	inNamespace(t, 1500, func() error { return open(t, &a) })
	c := New(a)
	path := c.Path(c.LocalAddr(), netip.Addr{})
	if err := c.WriteWhole(make([]byte, 1473), path); !errors.Is(err, unix.EMSGSIZE) {
		t.Errorf("1473 bytes: error %v, want %v", err, unix.EMSGSIZE)
	}
	if n := path.MaxDatagram(); n == 0 || n > 1472 {
		t.Errorf("datagrams have at most %d bytes, want at most 1472", n)
	}
	if err := c.WriteWhole(make([]byte, 1472), path); err != nil {
		t.Errorf("1472 bytes: %v", err)
	}
	if d := take(t, c, 1)[0]; len(d.bytes) != 1472 {
		t.Errorf("%d bytes came, want 1472", len(d.bytes))
	}
}
