package netstack

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// A forwardTest is a client behind a Router that forwards.
type forwardTest struct {
	server *Stack
	router *Router
	*client
}

func newForwardTest(t *testing.T, f *Forwarder) *forwardTest {
	x := &forwardTest{server: newStack(t, nil)}
	var err error
	if x.router, err = x.server.AddRouted(&RoutedConfig{Addresses: []netip.Addr{gateway}, Forwarder: f}); err != nil {
		t.Fatal(err)
	}
	x.client = newClient(t, x.router, "10.77.0.2")
	return x
}

// outside is where clients want to go.
const outside = "203.0.113.5"

// A connection goes to the Forwarder with the addresses that the client knows,
// and each direction ends by itself.
func TestForwardTCP(t *testing.T) {
	const up, down = 1 << 20, 300 << 10
	sum := make(chan [32]byte, 1)
	x := newForwardTest(t, &Forwarder{TCP: func(f *TCPFlow) {
		if f.Destination().String() != outside+":80" || f.Source().Addr().String() != "10.77.0.2" {
			t.Errorf("a flow from %v to %v", f.Source(), f.Destination())
		}
		c, err := f.Accept()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		if c.LocalAddr().String() != outside+":80" || c.RemoteAddr().String() != f.Source().String() {
			t.Errorf("a conn of %v with %v", c.LocalAddr(), c.RemoteAddr())
		}
		h := sha256.New()
		if n, err := io.Copy(h, c); n != up || err != nil {
			t.Errorf("%d bytes came, %v", n, err)
		}
		sum <- [32]byte(h.Sum(nil))
		// The client has ended its direction; ours goes on.
		if _, err := c.Write(bytes.Repeat([]byte{'d'}, down)); err != nil {
			t.Error(err)
		}
	}})
	c, err := x.stack.DialContext(patience(t), "tcp", outside+":80")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	data := bytes.Repeat([]byte("0123456789abcdef"), up/16)
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := c.Write(data); err != nil {
			t.Error(err)
		}
		c.(*tcpConn).CloseWrite()
	})
	got, err := io.ReadAll(c)
	if len(got) != down || err != nil {
		t.Errorf("%d bytes came back, %v", len(got), err)
	}
	wg.Wait()
	if <-sum != sha256.Sum256(data) {
		t.Error("other bytes came than were sent")
	}
}

// The Router's own addresses stay its own, and a listener at any address has only
// those.
func TestForwardNotToTheStackItself(t *testing.T) {
	flows := make(chan netip.AddrPort, 10)
	x := newForwardTest(t, &Forwarder{TCP: func(f *TCPFlow) {
		flows <- f.Destination()
		f.Refuse(syscall.ECONNREFUSED)
	}})
	ln, err := x.server.Listen("tcp", ":80")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c, err := x.stack.DialContext(patience(t), "tcp", "10.77.0.1:80")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, err = x.stack.DialContext(patience(t), "tcp", "10.77.0.1:81")
	want(t, "a port of the gateway's where nobody listens", err, syscall.ECONNREFUSED)
	_, err = x.stack.DialContext(patience(t), "tcp", outside+":80")
	want(t, "the same port of another address", err, syscall.ECONNREFUSED)
	if got := (<-flows).String(); got != outside+":80" || len(flows) != 0 {
		t.Errorf("a flow to %v, and %d more", got, len(flows))
	}
	// Another client's addresses are not the Forwarder's.
	newClient(t, x.router, "10.77.0.3")
	before := x.port.Counters().ClientToClient
	put(x.port, ipv4Packet(as4("10.77.0.2"), as4("10.77.0.3"), 6, make([]byte, 20)))
	if got := x.port.Counters().ClientToClient - before; got != 1 || len(flows) != 0 {
		t.Errorf("%d packets from client to client were dropped, %d flows begun", got, len(flows))
	}
}

// "refusals passed on as refusals": what a client's system makes of each reason,
// and the ICMP code that it is told by.
func TestForwardRefusals(t *testing.T) {
	rows := []struct {
		name string
		err  error
		tcp  error // of a client's dial
		code header.ICMPv4Code
	}{
		{"refused", &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}, syscall.ECONNREFUSED, header.ICMPv4PortUnreachable},
		{"no route to the host", os.NewSyscallError("connect", syscall.EHOSTUNREACH), syscall.EHOSTUNREACH, header.ICMPv4HostUnreachable},
		{"no answer", os.ErrDeadlineExceeded, syscall.EHOSTUNREACH, header.ICMPv4HostUnreachable},
		{"no answer of the context's", context.DeadlineExceeded, syscall.EHOSTUNREACH, header.ICMPv4HostUnreachable},
		{"no route to the network", os.NewSyscallError("connect", syscall.ENETUNREACH), syscall.ENETUNREACH, header.ICMPv4NetUnreachable},
		{"no IPv6 here", os.NewSyscallError("socket", syscall.EAFNOSUPPORT), syscall.ENETUNREACH, header.ICMPv4NetUnreachable},
		{"forbidden by us", ErrProhibited, syscall.EHOSTUNREACH, header.ICMPv4AdminProhibited},
		{"forbidden by the host", os.NewSyscallError("connect", syscall.EACCES), syscall.EHOSTUNREACH, header.ICMPv4AdminProhibited},
	}
	x := newForwardTest(t, &Forwarder{
		TCP:  func(f *TCPFlow) { f.Refuse(rows[f.Destination().Port()-1].err) },
		UDP:  func(f *UDPFlow) { f.Refuse(rows[f.Destination().Port()-1].err) },
		Echo: func(e *EchoRequest) { e.Refuse(rows[e.Seq-1].err) },
	})
	var told basket
	port := attach(t, x.router, &told, "10.77.0.3/32")
	for i, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			to := uint16(i + 1)
			_, err := x.stack.DialContext(patience(t), "tcp", netip.AddrPortFrom(netip.MustParseAddr(outside), to).String())
			want(t, "a dial", err, row.tcp)
			for _, request := range [][]byte{
				udpPacket("10.77.0.3", outside, 4000, to, []byte("x")),
				echoPacket("10.77.0.3", outside, 77, to, nil),
			} {
				put(port, request)
				p := told.wait(t)
				from := gateway.String()
				if row.code == header.ICMPv4PortUnreachable {
					from = outside // says so itself
				}
				m := header.ICMPv4(p[20:])
				if src := netip.AddrFrom4([4]byte(p[12:])).String(); m.Type() != header.ICMPv4DstUnreachable || m.Code() != row.code || src != from || !bytes.Equal(m[8:], request) {
					t.Errorf("from %v: % x, want code %d from %v, about % x", src, m, row.code, from, request)
				}
			}
		})
	}
}

// RFC 4443 §3.1, in the same order: the codes, and the source that says so.
func TestForwardRefusals6(t *testing.T) {
	const client, outside = "2001:db8:77:3::2", "2001:db8:5::5"
	rows := []struct {
		err  error
		code header.ICMPv6Code
		from string
	}{
		{syscall.ECONNREFUSED, header.ICMPv6PortUnreachable, outside},
		{syscall.EHOSTUNREACH, header.ICMPv6AddressUnreachable, "2001:db8:77::1"},
		{syscall.ENETUNREACH, header.ICMPv6NetworkUnreachable, "2001:db8:77::1"},
		{ErrProhibited, header.ICMPv6Prohibited, "2001:db8:77::1"},
	}
	r, err := newStack(t, nil).AddRouted(&RoutedConfig{
		Addresses: []netip.Addr{gateway, netip.MustParseAddr("2001:db8:77::1")},
		Forwarder: &Forwarder{UDP: func(f *UDPFlow) { f.Refuse(rows[f.Destination().Port()-1].err) }},
	})
	if err != nil {
		t.Fatal(err)
	}
	var told basket
	port := attachWith(t, r, &told, PortConfig{InterfaceID: [8]byte{7: 1}}, "2001:db8:77:3::/64")
	for i, row := range rows {
		data := make([]byte, 1200) // with the headers more than an error has room for
		request := newIPv6(netip.MustParseAddr(client), netip.MustParseAddr(outside), 64, header.UDPProtocolNumber, header.UDPMinimumSize+len(data))
		u := header.UDP(request.Payload())
		u.Encode(&header.UDPFields{SrcPort: 4000, DstPort: uint16(i + 1), Length: uint16(len(u))})
		u.SetChecksum(udpChecksum(request))
		put(port, request)
		p := header.IPv6(told.wait(t))
		for header.ICMPv6(p.Payload()).Type() == header.ICMPv6RouterAdvert {
			p = told.wait(t)
		}
		m := header.ICMPv6(p.Payload())
		if src := fromAddress(p.SourceAddress()).String(); m.Type() != header.ICMPv6DstUnreachable || m.Code() != row.code || src != row.from || !checksumOK(p) {
			t.Errorf("from %v: % x, want code %d from %v", src, m[:8], row.code, row.from)
		}
		if len(p) != minMTU6 || !bytes.Equal(m[8:], request[:len(m)-8]) {
			t.Errorf("%d bytes, which quote % x…", len(p), m[8:60])
		}
		// And as a client of ours has it, so that its stack takes notice.
		actOnUnreachable(p)
		if c := m.Code(); !checksumOK(p) || c != header.ICMPv6NetworkUnreachable && c != header.ICMPv6PortUnreachable {
			t.Errorf("made into code %d", c)
		}
	}
}

// wait is the next packet that comes into the basket.
func (k *basket) wait(t *testing.T) []byte {
	t.Helper()
	ctx := patience(t)
	for {
		k.mu.Lock()
		if len(k.packets) > 0 {
			defer k.mu.Unlock()
			p := k.packets[0]
			k.packets = k.packets[1:]
			return p
		}
		k.mu.Unlock()
		select {
		case <-ctx.Done():
			t.Fatal("no packet came")
		case <-time.After(time.Millisecond):
		}
	}
}

// RFC 1812 §5.2.7.1: "Code 13 … Communication Administratively Prohibited"; and
// §4.3.2.3: as much of the packet as fits into 576 bytes.
func TestForwardProhibitedPacket(t *testing.T) {
	x := newForwardTest(t, &Forwarder{})
	var told basket
	port := attach(t, x.router, &told, "10.77.0.3/32")
	request := echoPacket("10.77.0.3", outside, 1, 1, make([]byte, 1000))
	put(port, request)
	p := told.wait(t)
	ip, m := header.IPv4(p), header.ICMPv4(p[20:])
	if len(p) != 576 || netip.AddrFrom4(ip.SourceAddress().As4()) != gateway || m.Type() != header.ICMPv4DstUnreachable || m.Code() != header.ICMPv4AdminProhibited {
		t.Errorf("%d bytes from %v, type %d code %d", len(p), ip.SourceAddress(), m.Type(), m.Code())
	}
	if !bytes.Equal(m[8:], request[:548]) {
		t.Errorf("quoted % x…, want % x…", m[8:36], request[:28])
	}
}

// Datagrams keep their bounds in both directions, those that take several packets
// as well, and the one that began the flow is not lost.
func TestForwardUDP(t *testing.T) {
	x := newForwardTest(t, &Forwarder{UDP: func(f *UDPFlow) {
		c, err := f.Accept()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		b := make([]byte, 65536)
		for {
			n, err := c.Read(b)
			if err != nil {
				want(t, "the flow's Read", err, net.ErrClosed)
				return
			}
			if n == 4 {
				f.Refuse(syscall.ECONNREFUSED) // after some have gone through
				return
			}
			c.Write(b[:n])
		}
	}})
	c, err := x.stack.DialContext(patience(t), "udp", outside+":53")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	got := make([]byte, 65536)
	for _, n := range []int{1, 1000, 0, 9000, 60_000} {
		sent := bytes.Repeat([]byte{byte(n)}, n)
		if _, err := c.Write(sent); err != nil {
			t.Fatal(err)
		}
		k, err := c.Read(got)
		if err != nil || !bytes.Equal(got[:k], sent) {
			t.Fatalf("%d bytes came back for %d, %v", k, n, err)
		}
	}
	c.Write([]byte("stop"))
	_, err = c.Read(got)
	want(t, "a Read when the far end refuses", err, syscall.ECONNREFUSED)
	// What is sent next begins a new flow.
	c.Write([]byte("again"))
	if k, err := c.Read(got); string(got[:k]) != "again" || err != nil {
		t.Errorf("%q, %v", got[:k], err)
	}
	x.port.Close()
}

// An echo request has its identifier, number and payload, however long.
func TestForwardEcho(t *testing.T) {
	x := newForwardTest(t, &Forwarder{Echo: func(e *EchoRequest) {
		if e.Destination().Addr().String() != outside || e.Source().Addr().String() != "10.77.0.2" || e.ID != 77 {
			t.Errorf("%+v", e)
		}
		e.Reply(e.Payload)
	}})
	for seq, size := range []int{-1, 1000, 1500, 60_000} {
		reply, err := x.stack.Ping(patience(t), netip.MustParseAddr(outside), &PingOptions{ID: 77, Seq: uint16(seq), Size: size})
		if err != nil {
			t.Fatal(err)
		}
		if reply.Seq != uint16(seq) || reply.Size != max(size, 0)+8 {
			t.Errorf("%+v for %d bytes", reply, size)
		}
	}
	// The gateway's own is gVisor's.
	if _, err := x.stack.Ping(patience(t), gateway, nil); err != nil {
		t.Error(err)
	}
}

// "Tunnel down means errors": whatever a flow is at, the session's end ends it.
func TestForwardEndsWithTheSession(t *testing.T) {
	for _, how := range []string{"port", "router", "stack"} {
		t.Run(how, func(t *testing.T) {
			at := make(chan string, 10)
			var running sync.WaitGroup
			x := newForwardTest(t, &Forwarder{
				TCP: func(f *TCPFlow) {
					running.Add(1)
					defer running.Done()
					switch f.Destination().Port() {
					case 1: // the far end is being dialled
						at <- "dial"
						<-f.Context().Done()
						f.Refuse(f.Context().Err())
					case 2: // the client does not acknowledge
						at <- "handshake"
						_, err := f.Accept()
						want(t, "Accept", err, net.ErrClosed)
					case 3:
						c, err := f.Accept()
						if err != nil {
							t.Error(err)
							return
						}
						defer c.Close()
						at <- "read"
						_, err = c.Read(make([]byte, 1))
						want(t, "Read", err, net.ErrClosed)
					}
				},
				UDP: func(f *UDPFlow) {
					running.Add(1)
					defer running.Done()
					c, err := f.Accept()
					if err != nil {
						t.Error(err)
						return
					}
					defer c.Close()
					c.Read(make([]byte, 1))
					at <- "udp"
					_, err = c.Read(make([]byte, 1))
					want(t, "Read", err, net.ErrClosed)
				},
			})
			syn := func(port uint16) {
				h := make(header.TCP, header.TCPMinimumSize)
				h.Encode(&header.TCPFields{SrcPort: 4000, DstPort: port, SeqNum: 1, DataOffset: header.TCPMinimumSize, Flags: header.TCPFlagSyn, WindowSize: 1000})
				src, dst := toAddress(netip.MustParseAddr("10.77.0.2")), toAddress(netip.MustParseAddr(outside))
				h.SetChecksum(^h.CalculateChecksum(header.PseudoHeaderChecksum(header.TCPProtocolNumber, src, dst, uint16(len(h)))))
				put(x.port, ipv4Packet(as4("10.77.0.2"), as4(outside), 6, h))
			}
			// Nobody answers for the client.
			x.nic.Close()
			syn(1)
			syn(2)
			put(x.port, udpPacket("10.77.0.2", outside, 4000, 9, []byte("x")))
			for range 3 {
				<-at
			}
			switch how {
			case "port":
				x.port.Close()
			case "router":
				x.router.Close()
			case "stack":
				x.server.Close()
			}
			running.Wait()
		})
	}
}

// What a session was not sent in time is sent to nobody: who has its address next has
// nothing of its connections.
func TestForwardLeavesNothingToTheNextSession(t *testing.T) {
	accepted := make(chan net.Conn)
	server := newStack(t, nil)
	r, err := server.AddRouted(&RoutedConfig{Addresses: []netip.Addr{gateway}, Forwarder: &Forwarder{TCP: func(f *TCPFlow) {
		c, err := f.Accept()
		if err != nil {
			t.Error(err)
		}
		accepted <- c
	}}})
	if err != nil {
		t.Fatal(err)
	}
	up, down := newWire(t, &wire{}), newWire(t, &wire{})
	there := newStack(t, nil)
	down.deliverTo(addIP(t, there, up, netip.MustParseAddr("10.77.0.2")))
	port := attach(t, r, down, "10.77.0.2/32")
	up.deliverTo(port)
	c, err := there.DialContext(patience(t), "tcp", outside+":80")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	here := <-accepted
	down.setTamper(func([]byte) []byte { return nil })
	if _, err := here.Write(make([]byte, 100_000)); err != nil {
		t.Fatal(err)
	}
	here.Close()
	left := func() (n int) {
		abortTCP(r.forward.gv, func(netip.Addr, netip.Addr) bool {
			n++
			return false
		})
		return n
	}
	if left() == 0 {
		t.Error("nothing waits to be acknowledged, which is what this test is about")
	}
	port.Close()
	if n := left(); n != 0 {
		t.Errorf("%d connections of the session's are left", n)
	}
}

// A session has so many undecided flows and no more, and another one has its own.
func TestForwardPendingPerSession(t *testing.T) {
	release := make(chan struct{})
	var mu sync.Mutex
	begun := map[netip.Addr]int{}
	arrived := make(chan struct{}, 10_000)
	x := newForwardTest(t, &Forwarder{UDP: func(f *UDPFlow) {
		mu.Lock()
		begun[f.Source().Addr()]++
		mu.Unlock()
		arrived <- struct{}{}
		<-release
	}})
	var other basket
	two := attach(t, x.router, &other, "10.77.0.3/32")
	for i := range 2 * forwardPending {
		put(x.port, udpPacket("10.77.0.2", outside, 4000, uint16(i+1), nil))
	}
	put(two, udpPacket("10.77.0.3", outside, 4000, 1, nil))
	for range forwardPending + 1 {
		<-arrived
	}
	mu.Lock()
	if len(arrived) != 0 || begun[netip.MustParseAddr("10.77.0.3")] != 1 {
		t.Errorf("%d flows more than %d and 1: %v", len(arrived), forwardPending, begun)
	}
	mu.Unlock()
	close(release)
}

// udpPacket is a datagram, without a checksum.
func udpPacket(src, dst string, sport, dport uint16, data []byte) []byte {
	h := make(header.UDP, header.UDPMinimumSize)
	h.Encode(&header.UDPFields{SrcPort: sport, DstPort: dport, Length: uint16(len(h) + len(data))})
	return ipv4Packet(as4(src), as4(dst), 17, append(h, data...))
}

// echoPacket is an echo request.
func echoPacket(src, dst string, id, seq uint16, payload []byte) []byte {
	m := make(header.ICMPv4, header.ICMPv4MinimumSize, header.ICMPv4MinimumSize+len(payload))
	m.SetType(header.ICMPv4Echo)
	m.SetIdent(id)
	m.SetSequence(seq)
	m = append(m, payload...)
	m.SetChecksum(header.ICMPv4Checksum(m, 0))
	return ipv4Packet(as4(src), as4(dst), 1, m)
}
