package udp

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/simnet"
	"github.com/l2tpnet/l2tpnet/endpoint/link"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// forms are the ways to use a socket, which all behave alike. Systems add theirs.
var forms = map[string]func(net.PacketConn) *Conn{
	"the system's best": New,
	"portable":          func(c net.PacketConn) *Conn { return &Conn{conn: c, form: newPortable(c)} },
}

// patience is for what has to happen.
const patience = 30 * time.Second

// listen opens a socket that does not outlive the test, and waits with patience.
func listen(t testing.TB, network, address string) *net.UDPConn {
	t.Helper()
	c, err := net.ListenPacket(network, address)
	if err != nil {
		t.Skipf("SKIPPED: no %s %s on this machine: %v", network, address, err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return c.(*net.UDPConn)
}

// A datagram is one that was read, copied.
type datagram struct {
	bytes []byte
	from  netip.AddrPort
	to    netip.Addr
}

// take reads n datagrams.
func take(t testing.TB, c *Conn, n int) (got []datagram) {
	t.Helper()
	for len(got) < n {
		runs, err := c.Read()
		if err != nil {
			t.Fatalf("after %d datagrams of %d: %v", len(got), n, err)
		}
		for i := range runs {
			for b := range runs[i].Datagrams() {
				got = append(got, datagram{bytes.Clone(b), runs[i].From, runs[i].To})
			}
		}
	}
	return got
}

// fill makes frames of these lengths, each of up to three pieces, whose bytes tell
// their place.
func fill(b *link.Batch, lengths ...int) (want [][]byte) {
	for i, n := range lengths {
		whole := make([]byte, n)
		for k := range whole {
			whole[k] = byte(i + 7*k + k>>8)
		}
		head := min(n, 12*(i%3))
		body := head + (n-head)*(i%4)/3
		copy(b.Add(head, whole[head:max(head, min(body, n))], whole[max(head, min(body, n)):]).Head(), whole)
		want = append(want, whole)
	}
	return want
}

func repeat(n, times int) []int {
	lengths := make([]int, times)
	for i := range lengths {
		lengths[i] = n
	}
	return lengths
}

func join(lists ...[]int) (all []int) {
	for _, l := range lists {
		all = append(all, l...)
	}
	return all
}

var batches = map[string][]int{
	"one":                           {100},
	"one byte":                      {1},
	"the longest":                   {65507},
	"an empty one":                  {0},
	"equal":                         repeat(1000, 20),
	"the last is shorter":           join(repeat(1000, 20), []int{3}),
	"the last is longer":            join(repeat(1000, 20), []int{1001}),
	"as many as a message has":      repeat(100, 64),
	"more than a message has":       repeat(100, 150),
	"more than 65507 bytes of them": repeat(1400, 60),
	"exactly 65507 bytes of them":   join(repeat(1471, 44), []int{783}),
	"all different":                 {10, 20, 30, 25, 500, 400, 300, 1, 2},
	"runs and others":               join(repeat(700, 7), []int{80, 1400}, repeat(90, 30), []int{0, 0, 5}, repeat(900, 3)),
	"an empty one in a run":         {50, 50, 0, 50, 50},
	"long ones":                     {30000, 30000, 30000, 20000},
	"single bytes":                  repeat(1, 64),
}

func TestWhatIsSentArrives(t *testing.T) {
	for sender, newSender := range forms {
		for receiver, newReceiver := range forms {
			for _, s := range []struct{ network, listen, client, to string }{
				{"udp4", "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1"},
				{"udp4", "0.0.0.0:0", "0.0.0.0:0", "127.0.0.1"},
				{"udp6", "[::1]:0", "[::1]:0", "::1"},
				{"udp", "[::]:0", "127.0.0.1:0", "127.0.0.1"},
				{"udp", "[::]:0", "[::]:0", "127.0.0.1"},
				{"udp", "[::]:0", "[::]:0", "::1"},
			} {
				t.Run(fmt.Sprintf("from %s to %s/%s %s to %s", sender, receiver, s.network, s.client, s.to), func(t *testing.T) {
					in := newReceiver(listen(t, s.network, s.listen))
					out := newSender(listen(t, s.network, s.client))
					path := out.Path(netip.AddrPortFrom(netip.MustParseAddr(s.to), in.LocalAddr().Port()), netip.Addr{})
					from := netip.AddrPortFrom(path.Peer.Addr(), out.LocalAddr().Port())
					for name, lengths := range batches {
						sendAndTake(t, name, out, path, in, from, lengths)
					}
				})
			}
		}
	}
}

// sendAndTake sends datagrams of these lengths and has them arrive.
func sendAndTake(t *testing.T, name string, out *Conn, path *Path, in *Conn, from netip.AddrPort, lengths []int) {
	t.Helper()
	var b link.Batch
	want := fill(&b, lengths...)
	if sent, err := out.Send(b.Frames, path); sent != len(want) || err != nil {
		t.Fatalf("%s: %d of %d sent, error %v", name, sent, len(want), err)
	}
	got := take(t, in, len(want))
	if len(got) != len(want) {
		t.Fatalf("%s: %d datagrams arrived, want %d", name, len(got), len(want))
	}
	for i, d := range got {
		if !bytes.Equal(d.bytes, want[i]) {
			t.Fatalf("%s: datagram %d has %d bytes, want the %d that were sent", name, i, len(d.bytes), len(want[i]))
		}
		if d.from != from {
			t.Fatalf("%s: datagram %d comes from %v, want %v", name, i, d.from, from)
		}
	}
}

func TestAnAnswerComesFromTheAddressThatWasAsked(t *testing.T) {
	// 127.0.0.2 is one of ours, and not the one that the system would choose.
	if runtime.GOOS != "linux" {
		t.Skip("SKIPPED: 127.0.0.2: Linux only")
	}
	asked := netip.MustParseAddr("127.0.0.2")
	for name, newConn := range forms {
		for _, s := range []struct{ network, listen string }{{"udp4", "0.0.0.0:0"}, {"udp", "[::]:0"}} {
			t.Run(name+" "+s.listen, func(t *testing.T) {
				server := newConn(listen(t, s.network, s.listen))
				client := newConn(listen(t, "udp4", "127.0.0.1:0"))
				var b link.Batch
				fill(&b, repeat(200, 5)...)
				if _, err := client.Send(b.Frames, client.Path(netip.AddrPortFrom(asked, server.LocalAddr().Port()), netip.Addr{})); err != nil {
					t.Fatal(err)
				}
				got := take(t, server, 5)
				for i, d := range got {
					if d.to != asked {
						t.Fatalf("datagram %d was sent to %v, want %v", i, d.to, asked)
					}
				}
				from := netip.AddrPortFrom(asked, server.LocalAddr().Port())
				for name, lengths := range batches {
					sendAndTake(t, name, server, server.Path(got[0].from, got[0].to), client, from, lengths)
				}
				if err := server.Write([]byte("one"), server.Path(got[0].from, got[0].to)); err != nil {
					t.Fatal(err)
				}
				if d := take(t, client, 1)[0]; d.from != from || string(d.bytes) != "one" {
					t.Errorf("%q from %v, want %q from %v", d.bytes, d.from, "one", from)
				}
			})
		}
	}
}

func TestWhatIsTooLongIsRefusedAlone(t *testing.T) {
	for name, newConn := range forms {
		t.Run(name, func(t *testing.T) {
			in, out := newConn(listen(t, "udp4", "127.0.0.1:0")), newConn(listen(t, "udp4", "127.0.0.1:0"))
			path := out.Path(in.LocalAddr(), netip.Addr{})
			if n := path.MaxDatagram(); n != 0 {
				t.Errorf("at first datagrams have at most %d bytes, want 0, as nothing is known", n)
			}
			var b link.Batch
			fill(&b, 500, 500, 66000, 500, 500)
			sent, err := out.Send(b.Frames, path)
			if sent != 4 || !errors.Is(err, syscall.EMSGSIZE) {
				t.Errorf("%d sent, error %v; want 4 and %v", sent, err, syscall.EMSGSIZE)
			}
			if n := path.MaxDatagram(); n != 65507 {
				t.Errorf("datagrams have at most %d bytes, want 65507", n)
			}
			for i, d := range take(t, in, 4) {
				if len(d.bytes) != 500 {
					t.Errorf("datagram %d has %d bytes", i, len(d.bytes))
				}
			}
		})
	}
}

func TestCloseEndsARead(t *testing.T) {
	for name, newConn := range forms {
		t.Run(name, func(t *testing.T) {
			c := newConn(listen(t, "udp4", "127.0.0.1:0"))
			read := make(chan error)
			go func() {
				_, err := c.Read()
				read <- err
			}()
			c.Close()
			if err := <-read; !errors.Is(err, net.ErrClosed) {
				t.Errorf("the read ended with %v, want %v", err, net.ErrClosed)
			}
			if _, err := c.Read(); !errors.Is(err, net.ErrClosed) {
				t.Errorf("the next read ended with %v, want %v", err, net.ErrClosed)
			}
			if err := c.Write([]byte("late"), c.Path(netip.MustParseAddrPort("127.0.0.1:9"), netip.Addr{})); !errors.Is(err, net.ErrClosed) {
				t.Errorf("a write ended with %v, want %v", err, net.ErrClosed)
			}
		})
	}
}

func TestARefusalIsAnErrorOfOneRead(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("SKIPPED: which errors of ICMP a socket gets: Linux only")
	}
	for name, newConn := range forms {
		t.Run(name, func(t *testing.T) {
			peer := listen(t, "udp4", "127.0.0.1:0")
			address := peer.LocalAddr().(*net.UDPAddr)
			// Only a connected socket hears of it unasked.
			socket, err := net.DialUDP("udp4", nil, address)
			if err != nil {
				t.Fatal(err)
			}
			defer socket.Close()
			socket.SetDeadline(time.Now().Add(patience))
			c := newConn(socket)
			peer.Close()
			if _, err := socket.Write([]byte("anybody?")); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Read(); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Fatalf("the read ended with %v, want %v", err, syscall.ECONNREFUSED)
			}
			peer, err = net.ListenUDP("udp4", address)
			if err != nil {
				t.Skip("SKIPPED: the port is taken: ", err)
			}
			defer peer.Close()
			if _, err := peer.WriteTo([]byte("here"), socket.LocalAddr()); err != nil {
				t.Fatal(err)
			}
			if d := take(t, c, 1)[0]; string(d.bytes) != "here" {
				t.Errorf("read %q", d.bytes)
			}
		})
	}
}

func TestManyMaySend(t *testing.T) {
	for name, newConn := range forms {
		t.Run(name, func(t *testing.T) {
			const writers, rounds, frames = 8, 20, 6
			in, out := newConn(listen(t, "udp4", "127.0.0.1:0")), newConn(listen(t, "udp4", "127.0.0.1:0"))
			path := out.Path(in.LocalAddr(), netip.Addr{})
			var wg sync.WaitGroup
			for w := range writers {
				wg.Go(func() {
					for round := range rounds {
						var b link.Batch
						for i := range frames {
							copy(b.Add(3, bytes.Repeat([]byte{byte(w)}, 60+i/4), nil).Head(), []byte{byte(w), byte(round), byte(i)})
						}
						if sent, err := out.Send(b.Frames, path); sent != frames || err != nil {
							t.Errorf("%d of %d sent, error %v", sent, frames, err)
						}
					}
				})
			}
			next := [writers]int{} // of each writer's, which are in order
			for _, d := range take(t, in, writers*rounds*frames) {
				w, at := int(d.bytes[0]), int(d.bytes[1])*frames+int(d.bytes[2])
				if at != next[w] {
					t.Fatalf("of writer %d datagram %d came, want %d", w, at, next[w])
				}
				next[w]++
				if i := int(d.bytes[2]); !bytes.Equal(d.bytes[3:], bytes.Repeat([]byte{byte(w)}, 60+i/4)) {
					t.Fatalf("datagram %x of writer %d", d.bytes, w)
				}
			}
			wg.Wait()
		})
	}
}

func TestAnyPacketConnServes(t *testing.T) {
	in, out := listen(t, "udp", "[::]:0"), listen(t, "udp", "127.0.0.1:0")
	// Methods of the type itself, which must not be passed by.
	a, b := New(struct{ net.PacketConn }{in}), New(struct{ net.PacketConn }{out})
	for _, c := range []*Conn{a, b} {
		if _, ok := c.form.(*portable); !ok {
			t.Errorf("the form is a %T, want the portable one", c.form)
		}
	}
	path := b.Path(netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), a.LocalAddr().Port()), netip.Addr{})
	for name, lengths := range batches {
		sendAndTake(t, name, b, path, a, b.LocalAddr(), lengths)
	}
}

func TestASimulatedSocketServes(t *testing.T) {
	n := simnet.New(1)
	open := func(address string) *Conn {
		c, err := n.Listen(address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return New(c)
	}
	a, b := open("192.0.2.1:1701"), open("192.0.2.2:1701")
	for name, lengths := range batches {
		sendAndTake(t, name, a, a.Path(b.LocalAddr(), netip.Addr{}), b, a.LocalAddr(), lengths)
	}
	if receive, send := a.Buffers(); receive != 0 || send != 0 {
		t.Errorf("buffers of %d and %d bytes, want 0: nobody knows", receive, send)
	}
}
