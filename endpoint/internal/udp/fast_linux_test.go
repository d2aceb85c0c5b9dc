package udp

import (
	"encoding/binary"
	"errors"
	"math"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/l2tpnet/l2tpnet/endpoint/link"
)

func init() {
	forms["one message a call"] = func(c net.PacketConn) *Conn {
		f := mustFast(c)
		f.noMany.Store(true)
		f.noManyIn = true
		return &Conn{conn: c, form: f}
	}
	forms["no segments"] = func(c net.PacketConn) *Conn {
		f := mustFast(c)
		f.segments = false
		return &Conn{conn: c, form: f}
	}
}

func mustFast(c net.PacketConn) *fast {
	f, err := newFast(c)
	if err != nil {
		panic(err)
	}
	return f.(*fast)
}

func TestWhichSocketsAreFast(t *testing.T) {
	type named struct{ *net.UDPConn }
	c := listen(t, "udp4", "127.0.0.1:0")
	for name, conn := range map[string]net.PacketConn{"*net.UDPConn": c, "a type that embeds one": named{c}} {
		if _, ok := New(conn).form.(*fast); !ok {
			t.Errorf("%s: the form is a %T, want the fast one", name, New(conn).form)
		}
	}
	u, err := net.ListenPacket("unixgram", t.TempDir()+"/socket")
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	if _, ok := New(u).form.(*portable); !ok {
		t.Errorf("a socket that is not UDP: the form is a %T, want the portable one", New(u).form)
	}
}

// spied has the system calls of a Conn counted, and refused as the test wants it.
type spied struct {
	*Conn
	f       *fast
	frames  [][]int // of calls and messages that went: how many datagrams
	refuse  func(m *message, segments int) syscall.Errno
	refused int // how many messages
}

func spy(c net.PacketConn) *spied {
	f := mustFast(c)
	s := &spied{Conn: &Conn{conn: c, form: f}, f: f, refuse: func(*message, int) syscall.Errno { return 0 }}
	real := f.calls
	check := func(m *message) (n int, err syscall.Errno) {
		total := 0
		for _, v := range vectorsOf(m) {
			total += int(v.Len)
		}
		n = 1
		if size := segmentSize(m); size > 0 {
			n = (total + size - 1) / size
		}
		if err = s.refuse(m, n); err != 0 {
			s.refused++
		}
		return n, err
	}
	f.calls.send = func(fd int, m *message) (int, syscall.Errno) {
		n, err := check(m)
		if err != 0 {
			return -1, err
		}
		bytes, err := real.send(fd, m)
		if err == 0 {
			s.frames = append(s.frames, []int{n})
		}
		return bytes, err
	}
	f.calls.sendMany = func(fd int, ms []message) (int, syscall.Errno) {
		var call []int
		for i := range ms {
			n, err := check(&ms[i])
			if err != 0 {
				if ms = ms[:i]; i == 0 {
					return -1, err
				}
				break
			}
			call = append(call, n)
		}
		n, err := real.sendMany(fd, ms)
		if err == 0 {
			s.frames = append(s.frames, call[:n])
		}
		return n, err
	}
	return s
}

func vectorsOf(m *message) []unix.Iovec {
	o := make([]unix.Iovec, 0)
	for i := range int(m.Iovlen) {
		o = append(o, *(*unix.Iovec)(add(m.Iov, i)))
	}
	return o
}

func segmentSize(m *message) int {
	if m.Control == nil {
		return 0
	}
	oob := bytesAt(m.Control, int(m.Controllen))
	ms, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		panic(err)
	}
	for _, c := range ms {
		if c.Header.Level == unix.IPPROTO_UDP && c.Header.Type == unix.UDP_SEGMENT {
			return int(binary.NativeEndian.Uint16(c.Data))
		}
	}
	return 0
}

// pair is a receiver and a spied sender.
func pair(t *testing.T) (*Conn, *spied, *Path) {
	in := New(listen(t, "udp4", "127.0.0.1:0"))
	out := spy(listen(t, "udp4", "127.0.0.1:0"))
	if !out.f.segments {
		t.Skip("SKIPPED: UDP_SEGMENT: the kernel does not know it")
	}
	return in, out, out.Path(in.LocalAddr(), netip.Addr{})
}

func expectFrames(t *testing.T, s *spied, what string, want ...[]int) {
	t.Helper()
	if !slices.EqualFunc(s.frames, want, slices.Equal) {
		t.Errorf("%s: by call and message %v datagrams were sent, want %v", what, s.frames, want)
	}
	s.frames = nil
}

func TestARunIsOneMessage(t *testing.T) {
	in, out, path := pair(t)
	send := func(lengths ...int) {
		t.Helper()
		sendAndTake(t, "runs", out.Conn, path, in, out.LocalAddr(), lengths)
	}
	send(100)
	expectFrames(t, out, "one", []int{1})
	send(repeat(1400, 40)...)
	expectFrames(t, out, "equal ones", []int{40})
	send(join(repeat(1400, 40), []int{7})...)
	expectFrames(t, out, "and a shorter one", []int{41})
	send(join(repeat(100, 5), []int{200, 200, 50, 50})...)
	expectFrames(t, out, "three runs", []int{5, 3, 1})
	send(10, 20, 30)
	expectFrames(t, out, "each longer than the one before", []int{1, 1, 1})
}

func TestRunsOfLoopbackComeWhole(t *testing.T) {
	in, out, path := pair(t)
	send := func(path *Path) {
		t.Helper()
		var b link.Batch
		fill(&b, repeat(1000, 30)...)
		if _, err := out.Send(b.Frames, path); err != nil {
			t.Fatal(err)
		}
	}
	// What this kernel can is seen by a socket of the test's own.
	own := listen(t, "udp4", "127.0.0.1:0")
	raw, err := own.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_GRO, 1) })
	if err != nil {
		t.Skip("SKIPPED: UDP_GRO: ", err)
	}
	send(out.Path(own.LocalAddr().(*net.UDPAddr).AddrPort(), netip.Addr{}))
	if n, err := own.Read(make([]byte, DatagramMax)); err != nil {
		t.Fatal(err)
	} else if n != 30000 {
		t.Skipf("SKIPPED: UDP_GRO: the kernel cuts 30 datagrams of one message, %d bytes come first", n)
	}
	send(path)
	runs, err := in.Read()
	if err != nil {
		t.Fatal(err)
	}
	if len(runs) != 1 || runs[0].size != 1000 || len(runs[0].bytes) != 30000 {
		t.Errorf("30 datagrams of one message came as %d runs, the first of %d bytes in datagrams of %d; want one, 30000 and 1000",
			len(runs), len(runs[0].bytes), runs[0].size)
	}
}

func TestAPeerThatRefusesSegments(t *testing.T) {
	for _, refusal := range []syscall.Errno{unix.EIO, unix.EINVAL, unix.EOPNOTSUPP} {
		t.Run(refusal.Error(), func(t *testing.T) {
			in, out, path := pair(t)
			other := out.Path(in.LocalAddr(), netip.Addr{})
			out.refuse = func(m *message, segments int) syscall.Errno {
				if segments > 1 && m.Name == &path.name[0] {
					return refusal
				}
				return 0
			}
			send := func(p *Path, lengths ...int) {
				t.Helper()
				sendAndTake(t, "refused", out.Conn, p, in, out.LocalAddr(), lengths)
			}
			send(path, join([]int{10}, repeat(500, 3))...)
			expectFrames(t, out, "the first time", []int{1}, []int{1, 1, 1})
			first := out.refused
			send(path, repeat(500, 3)...)
			expectFrames(t, out, "and remembered", []int{1, 1, 1})
			if out.refused != first {
				t.Errorf("%d messages more were refused, want none", out.refused-first)
			}
			send(other, repeat(500, 3)...)
			expectFrames(t, out, "of this peer only", []int{3})
			if n := path.MaxDatagram(); n != 0 {
				t.Errorf("datagrams have at most %d bytes, want 0: nothing was said of their length", n)
			}
			out.refuse = func(*message, int) syscall.Errno { return 0 }
			path.learnt.Store(&lessons{singlyUntil: time.Now()}) // a minute later
			send(path, repeat(500, 3)...)
			expectFrames(t, out, "and tried again", []int{3})
		})
	}
}

func TestSegmentsThatAreTooLong(t *testing.T) {
	in, out, path := pair(t)
	out.refuse = func(m *message, segments int) syscall.Errno {
		if segments > 1 && segmentSize(m) > 1472 {
			return unix.EMSGSIZE
		}
		return 0
	}
	send := func(lengths ...int) {
		t.Helper()
		sendAndTake(t, "too long", out.Conn, path, in, out.LocalAddr(), lengths)
	}
	send(1473, 1473, 1473)
	expectFrames(t, out, "longer than the path's MTU", []int{1, 1, 1})
	if n := path.MaxDatagram(); n != 1472 {
		t.Errorf("datagrams have at most %d bytes, want 1472", n)
	}
	send(join(repeat(1472, 3), repeat(2000, 2))...)
	expectFrames(t, out, "and some that are not", []int{3, 1, 1})
	if out.refused != 1 {
		t.Errorf("%d messages were refused, want only the first", out.refused)
	}
}

func TestOnlyWhatIsRefusedIsLost(t *testing.T) {
	in, out, path := pair(t)
	for _, c := range []struct {
		err            syscall.Errno
		lengths, taken []int
	}{
		{unix.ENOBUFS, join(repeat(300, 3), []int{666}, repeat(900, 4)), join(repeat(300, 3), repeat(900, 4))},
		{unix.ENOBUFS, join(repeat(666, 3), repeat(200, 4)), repeat(200, 3)}, // one was the run's last
		{unix.EPERM, join(repeat(666, 3), repeat(700, 4)), repeat(700, 4)},
		{unix.EMSGSIZE, []int{100, 666, 700}, []int{100, 700}},
		{unix.ENETUNREACH, []int{666}, nil},
	} {
		path.learnt.Store(nil)
		out.refuse = func(m *message, segments int) syscall.Errno {
			if v := vectorsOf(m); segmentSize(m) == 666 || segments == 1 && total(v) == 666 {
				return c.err
			}
			return 0
		}
		var b link.Batch
		fill(&b, c.lengths...)
		sent, err := out.Send(b.Frames, path)
		if sent != len(c.taken) || !errors.Is(err, c.err) {
			t.Errorf("%v of %v: %d sent, error %v; want %d", c.err, c.lengths, sent, err, len(c.taken))
		}
		var got []int
		for _, d := range take(t, in, len(c.taken)) {
			got = append(got, len(d.bytes))
		}
		if !slices.Equal(got, c.taken) {
			t.Errorf("%v of %v: arrived %v, want %v", c.err, c.lengths, got, c.taken)
		}
	}
}

func TestAFullBufferIsWaitedFor(t *testing.T) {
	in, out, path := pair(t)
	socket := out.conn.(*net.UDPConn)
	nowhere := listen(t, "udp4", "127.0.0.1:0").LocalAddr()
	refused := 0
	out.refuse = func(*message, int) syscall.Errno {
		if refused++; refused == 2 || refused == 4 {
			return unix.EAGAIN
		}
		return 0
	}
	// Buffers get room when something leaves them.
	done, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-done:
				return
			case <-time.After(time.Millisecond):
				poke(t, socket, nowhere)
			}
		}
	}()
	sendAndTake(t, "in three parts", out.Conn, path, in, out.LocalAddr(), join(repeat(100, 3), repeat(200, 3), repeat(300, 3)))
	close(done)
	<-stopped
	if refused != 5 {
		t.Errorf("%d messages were tried, want 5", refused)
	}
	expectFrames(t, out, "before, between and after", []int{3}, []int{3}, []int{3})
}

// poke sends a datagram past the writers that wait.
func poke(t *testing.T, c *net.UDPConn, to net.Addr) {
	raw, err := c.SyscallConn()
	if err != nil {
		t.Error(err)
		return
	}
	sa := &unix.SockaddrInet4{Port: to.(*net.UDPAddr).Port, Addr: [4]byte{127, 0, 0, 1}}
	raw.Control(func(fd uintptr) { unix.Sendto(int(fd), []byte("poke"), 0, sa) })
}

func TestAReaderThatWaitsHoldsNoBuffers(t *testing.T) {
	f := mustFast(listen(t, "udp4", "127.0.0.1:0"))
	f.raw.Control(func(fd uintptr) {
		if f.tryRead(fd) {
			t.Error("there was something to read")
		}
	})
	if f.in != nil {
		t.Error("it holds an inbox")
	}
}

func TestTheSteadyStateDoesNotAllocate(t *testing.T) {
	if raceDetector {
		t.Skip("SKIPPED: allocations: the race detector has pools lose things")
	}
	in, out := New(listen(t, "udp", "[::]:0")), New(listen(t, "udp", "[::]:0"))
	path := out.Path(netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), in.LocalAddr().Port()), netip.MustParseAddr("127.0.0.1"))
	var b link.Batch
	fill(&b, join(repeat(1000, 20), []int{10, 20}, repeat(30, 5))...)
	if n := testing.AllocsPerRun(200, func() {
		if sent, err := out.Send(b.Frames, path); sent != 27 || err != nil {
			t.Errorf("%d sent, error %v", sent, err)
		}
		for n := 0; n < 27; {
			runs, err := in.Read()
			if err != nil {
				t.Fatal(err)
			}
			for i := range runs {
				for range runs[i].Datagrams() {
					n++
				}
			}
		}
	}); n > 0 {
		t.Errorf("%v allocations for 27 datagrams, want none", n)
	}
}

func TestWhatTheBuffersAreIsTold(t *testing.T) {
	for name, newConn := range forms {
		t.Run(name, func(t *testing.T) {
			c := listen(t, "udp4", "127.0.0.1:0")
			before, _ := mustBuffers(t, c)
			conn := newConn(c)
			receive, send := conn.Buffers()
			r, s := mustBuffers(t, c)
			if receive != r || send != s || r == 0 || s == 0 {
				t.Errorf("buffers of %d and %d bytes, want %d and %d", receive, send, r, s)
			}
			if receive < before || receive > max(before, 2*socketBuffer) {
				t.Errorf("a buffer of %d bytes became one of %d", before, receive)
			}
			c.Close()
			if receive, send := conn.Buffers(); receive != 0 || send != 0 {
				t.Errorf("when it is closed buffers of %d and %d bytes, want 0", receive, send)
			}
		})
	}
}

func mustBuffers(t *testing.T, c *net.UDPConn) (receive, send int) {
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) {
		receive, _ = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF)
		send, _ = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF)
	})
	return receive, send
}

func TestControlMessages(t *testing.T) {
	four, six := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	gro := appendControl(nil, unix.IPPROTO_UDP, unix.UDP_GRO, binary.NativeEndian.AppendUint32(nil, 1400))
	other := appendControl(nil, unix.SOL_SOCKET, unix.SO_TIMESTAMP, make([]byte, 16))
	received4 := appendControl(nil, unix.IPPROTO_IP, unix.IP_PKTINFO, []byte{1, 0, 0, 0, 9, 9, 9, 9, 192, 0, 2, 1})
	group := appendControl(nil, unix.IPPROTO_IP, unix.IP_PKTINFO, []byte{1, 0, 0, 0, 9, 9, 9, 9, 224, 0, 0, 1})
	for _, c := range []struct {
		name string
		oob  []byte
		to   netip.Addr
		size int
	}{
		{"none", nil, netip.Addr{}, 0},
		{"an IPv4 address", received4, four, 0},
		{"an IPv6 address", source(six, true), six, 0},
		{"a mapped one", source(four, true), four, 0},
		{"a group", group, netip.Addr{}, 0},
		{"a length", gro, netip.Addr{}, 1400},
		{"all, and more", slices.Concat(other, gro, other, received4), four, 1400},
		{"in another order", slices.Concat(received4, gro), four, 1400},
	} {
		if to, size := parseControl(c.oob); to != c.to || size != c.size {
			t.Errorf("%s: %v and %d, want %v and %d", c.name, to, size, c.to, c.size)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		oob := slices.Concat(received4, gro)
		copy(oob[rapid.IntRange(0, len(oob)-1).Draw(t, "at"):], rapid.SliceOfN(rapid.Byte(), 0, 12).Draw(t, "bytes"))
		if _, size := parseControl(oob[:rapid.IntRange(0, len(oob)).Draw(t, "length")]); size < 0 {
			t.Fatalf("a length of %d", size)
		}
	})
}

func TestAddressesOfInterfaces(t *testing.T) {
	f := mustFast(listen(t, "udp", "[::]:0"))
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Skip("SKIPPED: zones: no interface lo")
	}
	sa := unix.RawSockaddrInet6{Family: unix.AF_INET6, Addr: netip.MustParseAddr("fe80::1").As16(), Scope_id: uint32(lo.Index)}
	putPort(&sa.Port, 1701)
	if got, want := f.sender(&sa), netip.MustParseAddrPort("[fe80::1%lo]:1701"); got != want {
		t.Errorf("the sender is %v, want %v", got, want)
	}
	sa.Scope_id = math.MaxInt32
	if got, want := f.sender(&sa), netip.MustParseAddrPort("[fe80::1%2147483647]:1701"); got != want {
		t.Errorf("of an interface that is gone the sender is %v, want %v", got, want)
	}
	for _, s := range []string{"[fe80::1%lo]:1701", "[fe80::1%2147483647]:1701"} {
		a := netip.MustParseAddrPort(s)
		back := *(*unix.RawSockaddrInet6)(add(&sockaddr(a, true)[0], 0))
		if got := f.sender(&back); got != a {
			t.Errorf("%v became %v", a, got)
		}
	}
	for i := range uint32(3 * zonesMax) {
		sa.Scope_id = math.MaxInt32 - i
		f.sender(&sa)
	}
	if len(f.zones) > zonesMax {
		t.Errorf("%d names are remembered, want at most %d", len(f.zones), zonesMax)
	}
}

// Datagrams that get lost in one piece go without DF, and those alone; over IPv6, in
// pieces that are short enough. One that is to go whole does so all the same.
func TestOnAPathThatIsNarrowLongDatagramsGoInPieces(t *testing.T) {
	for _, s := range []struct {
		network, listen string
		level, option   int
		do, pieces      int
	}{
		{"udp4", "127.0.0.1:0", unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO, unix.IP_PMTUDISC_DONT},
		{"udp6", "[::1]:0", unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_DO, unix.IPV6_PMTUDISC_WANT},
	} {
		t.Run(s.network, func(t *testing.T) {
			in, out := New(listen(t, s.network, s.listen)), spy(listen(t, s.network, s.listen))
			if !out.f.segments {
				t.Skip("SKIPPED: UDP_SEGMENT: the kernel does not know it")
			}
			if len(out.f.discoveries) == 0 {
				t.Skip("SKIPPED: DF: this system's default is not to find out the path's MTU")
			}
			path := out.Path(in.LocalAddr(), netip.Addr{})
			path.Narrow(1372, time.Hour)
			get := func() (how int) {
				out.f.raw.Control(func(fd uintptr) { how, _ = unix.GetsockoptInt(int(fd), s.level, s.option) })
				return how
			}
			send := out.f.calls.send
			out.f.calls.send = func(fd int, m *message) (int, syscall.Errno) {
				how, _ := unix.GetsockoptInt(fd, s.level, s.option)
				n, want := total(vectorsOf(m)), s.do
				if n > 1372 && n != 1999 && segmentSize(m) == 0 {
					want = s.pieces
				}
				if how != want {
					t.Errorf("%d bytes are sent by %d, want %d", n, how, want)
				}
				return send(fd, m)
			}
			from := out.LocalAddr()
			sendAndTake(t, "narrow", out.Conn, path, in, from, join(repeat(1372, 20), []int{1373, 1500}, repeat(1000, 3), []int{60000}, repeat(1372, 3)))
			expectFrames(t, out, "the long ones alone", []int{20}, []int{1}, []int{1}, []int{3}, []int{1}, []int{3})
			if how := get(); how != s.do {
				t.Errorf("afterwards they are sent by %d, want %d", how, s.do)
			}
			if err := out.WriteWhole(make([]byte, 1999), path); err != nil {
				t.Error(err)
			}
			if d := take(t, in, 1)[0]; len(d.bytes) != 1999 {
				t.Errorf("%d bytes came, want 1999", len(d.bytes))
			}
		})
	}
}
