package endpoint

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/decode"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/pcapng"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/simnet"
	"github.com/l2tpnet/l2tpnet/endpoint/link"
)

// calling is a session of alice's between two endpoints, and its end at the other.
func calling(t *testing.T, lac *Endpoint, lns *Endpoint, address string) (client, server *Session) {
	t.Helper()
	tun, err := lac.Dial(t.Context(), address, &TunnelConfig{Secret: "tunsecret"})
	if err != nil {
		t.Fatal(err)
	}
	if client, err = tun.OpenPPP(t.Context(), &PPPConfig{User: "alice", Password: "s3cret"}); err != nil {
		t.Fatal(err)
	}
	if server, err = lns.Accept(t.Context()); err != nil {
		t.Fatal(err)
	}
	return client, server
}

// ping is an ICMP echo, well-formed in every way.
func ping(from, to netip.Addr, kind byte) []byte {
	b := []byte{0x45, 0, 0, 28, 0, 0, 0, 0, 64, 1, 0, 0}
	b = append(append(b, from.AsSlice()...), to.AsSlice()...)
	b = append(b, kind, 0, 0, 0, 0, 7, 0, 1)
	binary.BigEndian.PutUint16(b[10:], sumOf(b[:20]))
	binary.BigEndian.PutUint16(b[22:], sumOf(b[20:]))
	return b
}

func sumOf(b []byte) uint16 {
	sum := uint32(0)
	for ; len(b) > 0; b = b[2:] {
		sum += uint32(b[0])<<8 | uint32(b[1])
	}
	return ^uint16(sum + sum>>16)
}

// packetsOf are a capture's packets, as "inner > 45…": the interface, which way,
// and hexadecimal digits.
func packetsOf(t *testing.T, file []byte) (packets []string) {
	t.Helper()
	r, err := pcapng.NewReader(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	last := time.Time{}
	for {
		p, err := r.Next()
		if err == io.EOF {
			return packets
		}
		if err != nil {
			t.Fatal(err)
		}
		if p.Time.Before(last) {
			t.Errorf("a packet of %v comes after one of %v", p.Time, last)
		}
		last = p.Time
		packets = append(packets, fmt.Sprintf("%s %s %x", p.Interface.Name, [...]string{"?", "<", ">"}[p.Direction], p.Data))
	}
}

// statisticsOf are what the capture says at its end of each interface: packets
// received, and lost.
func statisticsOf(file []byte) (received, lost [2]uint64) {
	le := binary.LittleEndian
	for len(file) >= 12 {
		n := le.Uint32(file[4:])
		if le.Uint32(file) == 5 {
			number := le.Uint32(file[8:])
			received[number] = le.Uint64(file[36:])
			lost[number] = le.Uint64(file[48:])
		}
		file = file[n:]
	}
	return received, lost
}

// A session over loopback, seen by both ends, and by tshark and l2tpnet decode.
func TestCaptureOfASession(t *testing.T) {
	for _, address := range []string{"127.0.0.1", "::1"} {
		t.Run(address, func(t *testing.T) {
			lns, err := Listen("udp", net.JoinHostPort(address, "0"), &Config{HostName: "lns", Answer: &AnswerConfig{
				Secret: "tunsecret", Methods: []AuthMethod{MSCHAPv2}, Authenticate: users, Pool: pool(t)}})
			if err != nil {
				t.Skipf("SKIPPED: %s: %v", t.Name(), err)
			}
			defer lns.Close()
			lac, err := Listen("udp", ":0", &Config{HostName: "lac"}) // it does not know its address
			if err != nil {
				t.Fatal(err)
			}
			defer lac.Close()
			var files [2]bytes.Buffer
			var stops [2]func() error
			for i, e := range []*Endpoint{lac, lns} {
				if stops[i], err = e.Capture(&files[i]); err != nil {
					t.Fatal(err)
				}
			}

			client, server := calling(t, lac, lns, lns.Addr().String())
			toServer, atServer := collect()
			toClient, atClient := collect()
			server.Attach(toServer)
			client.Attach(toClient)
			request := ping(client.Addresses()[0].Addr(), client.PeerAddress(), 8)
			reply := ping(client.PeerAddress(), client.Addresses()[0].Addr(), 0)
			put(client, request)
			wantPacket(t, atServer, request)
			put(server, reply)
			wantPacket(t, atClient, reply)
			lac.Close()
			<-server.Done()
			lns.Close()

			for i, who := range []string{"lac", "lns"} {
				if err := stops[i](); err != nil {
					t.Errorf("%s: %v", who, err)
				}
				file := files[i].Bytes()
				sent, received := ">", "<"
				if who == "lns" {
					sent, received = received, sent
				}
				var inner []string
				for _, p := range packetsOf(t, file) {
					if strings.HasPrefix(p, "inner") {
						inner = append(inner, p)
					}
				}
				want := []string{fmt.Sprintf("inner %s %x", sent, request), fmt.Sprintf("inner %s %x", received, reply)}
				if strings.Join(inner, "\n") != strings.Join(want, "\n") {
					t.Errorf("%s: the inner packets are\n%s\nwant\n%s", who, strings.Join(inner, "\n"), strings.Join(want, "\n"))
				}
				wantDecoded(t, file, lac, lns)
				askTshark(t, file, lac.Addr().Port(), lns.Addr().Port())
			}
		})
	}
}

// wantDecoded wants the capture to have the whole story.
func wantDecoded(t *testing.T, file []byte, lac, lns *Endpoint) {
	t.Helper()
	var out bytes.Buffer
	if err := decode.Print(&out, bytes.NewReader(file), nil); err != nil {
		t.Fatal(err)
	}
	text := strings.Join(strings.Fields(out.String()), " ")
	// In the capture both have the address that they use.
	want := fmt.Sprintf("A is %v, B is %v ", netip.AddrPortFrom(lns.Addr().Addr(), lac.Addr().Port()), lns.Addr())
	if !strings.HasPrefix(text, want) {
		t.Errorf("expected %q at the beginning, found\n%s", want, &out)
	}
	for _, want := range []string{
		`A > B 0/0 SCCRQ "lac",`, "wait-ctl-reply", `SCCRP "lns",`, "SCCCN challenge response tunnel established",
		"session established", "CHAP Response 1 \"alice\"", "auth ok", "opened, 10.77.0.1 and 10.77.0.2",
		"LCP Term-Req", "CDN session", "StopCCN tunnel", "2 inner packets",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("expected %q in\n%s", want, &out)
		}
	}
	if strings.Contains(text, "malformed") {
		t.Errorf("something is malformed in\n%s", &out)
	}
}

// askTshark wants tshark to find nothing wrong.
func askTshark(t *testing.T, file []byte, ports ...uint16) {
	t.Helper()
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		t.Logf("SKIPPED: %s: what tshark says; missing: tshark, install with: apt-get install tshark", t.Name())
		return
	}
	name := filepath.Join(t.TempDir(), "capture.pcapng")
	if err := os.WriteFile(name, file, 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"-n", "-r", name, "-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE",
		"-T", "fields", "-E", "separator=|", "-e", "frame.interface_name", "-e", "frame.protocols", "-e", "_ws.malformed",
		"-e", "ip.checksum.status", "-e", "udp.checksum.status", "-e", "_ws.expert.message"}
	for _, port := range ports {
		args = append(args, "-d", fmt.Sprintf("udp.port==%d,l2tp", port))
	}
	var stderr bytes.Buffer
	cmd := exec.Command(tshark, args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("tshark: %v: %s", err, &stderr)
	}
	packets := 0
	for line := range strings.Lines(string(out)) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), "|")
		packets++
		outerFrame, innerFrame := f[0] == "outer" && strings.Contains(f[1], "udp:l2tp"), f[0] == "inner" && strings.HasSuffix(f[1], "ip:icmp")
		// 1 is a good checksum, 0 a bad one.
		if !outerFrame && !innerFrame || f[2] != "" || strings.Contains(f[3]+f[4], "0") || strings.Contains(f[5], "hecksum") {
			t.Errorf("tshark finds fault with %s", line)
		}
	}
	if packets < 20 {
		t.Errorf("tshark finds %d packets", packets)
	}
}

func TestOneCaptureAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		lns, lac := answering(t, n, 1, nil), dialling(t, n, 1)
		var first, second, third bytes.Buffer
		stop, err := lac.Capture(&first)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := lac.Capture(&second); !errors.Is(err, ErrCapturing) {
			t.Errorf("a second capture: %v, want ErrCapturing", err)
		}
		client, _ := calling(t, lac, lns, lnsAddr)
		for range 2 { // as often as one likes
			if err := stop(); err != nil {
				t.Error(err)
			}
		}
		before := first.Len()
		if len(packetsOf(t, first.Bytes())) == 0 || second.Len() != 0 {
			t.Errorf("the first capture has %d bytes, the second %d", first.Len(), second.Len())
		}

		if _, err = lac.Capture(&third); err != nil {
			t.Fatal(err)
		}
		put(client, packet("one"))
		lac.Close() // ends it, and what is said at the end is in it
		if got := strings.Join(packetsOf(t, third.Bytes()), "\n"); !strings.Contains(got, fmt.Sprintf("inner > %x", packet("one"))) || !strings.HasPrefix(got[strings.LastIndex(got, "\n")+1:], "outer <") {
			t.Errorf("the capture that Close has ended has\n%s", got)
		}
		if first.Len() != before {
			t.Error("a capture that has ended goes on")
		}
		if received, _ := statisticsOf(third.Bytes()); received[outer] == 0 || received[inner] != 1 {
			t.Errorf("its statistics are %d packets outside, %d inside", received[outer], received[inner])
		}
		if _, err := lac.Capture(&second); !errors.Is(err, net.ErrClosed) {
			t.Errorf("after Close: %v, want net.ErrClosed", err)
		}
		lns.Close()
	})
}

// A capture is written within a second, so that it can be watched.
func TestACaptureIsWrittenAsItGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		lns, lac := answering(t, n, 1, nil), dialling(t, n, 1)
		defer lns.Close()
		defer lac.Close()
		var file bytes.Buffer
		stop, err := lac.Capture(&file)
		if err != nil {
			t.Fatal(err)
		}
		client, _ := calling(t, lac, lns, lnsAddr)
		put(client, packet("soon"))
		time.Sleep(captureInterval)
		synctest.Wait()
		if got := strings.Join(packetsOf(t, file.Bytes()), "\n"); !strings.Contains(got, fmt.Sprintf("inner > %x", packet("soon"))) {
			t.Errorf("after %v it has\n%s", captureInterval, got)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// A gate is a writer that takes its time: until it is opened.
type gate struct {
	bytes.Buffer
	open chan struct{}
	n    int // writes
}

func (g *gate) Write(b []byte) (int, error) {
	if g.n++; g.n > 1 { // not the first, which Capture waits for
		<-g.open
	}
	return g.Buffer.Write(b)
}

// "Never block on the data path but in the socket itself; drop and count."
func TestASlowWriterCostsPacketsOfTheCaptureOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		lns, lac := answering(t, n, 1, nil), dialling(t, n, 1)
		defer lns.Close()
		defer lac.Close()
		client, _ := calling(t, lac, lns, lnsAddr)
		slow := &gate{open: make(chan struct{})}
		stop, err := lac.Capture(slow)
		if err != nil {
			t.Fatal(err)
		}
		const packets = 20000
		big := packet(strings.Repeat("x", 1000))
		begin := time.Now()
		for range packets {
			put(client, big)
		}
		if d := time.Since(begin); d != 0 { // in a bubble only waiting takes time
			t.Errorf("%d packets had to wait for %v", packets, d)
		}
		time.Sleep(2 * captureInterval)
		close(slow.open)
		err = stop()
		loss, ok := errors.AsType[*CaptureLossError](err)
		if !ok || loss.Lost == 0 || loss.Total < 2*packets {
			t.Fatalf("got %v, want a *CaptureLossError of some of %d packets", err, 2*packets)
		}
		t.Log(err)
		received, lost := statisticsOf(slow.Bytes())
		if received[outer]+received[inner] != loss.Total || lost[outer]+lost[inner] != loss.Lost {
			t.Errorf("the file says %d lost of %d, and the error %d of %d", lost, received, loss.Lost, loss.Total)
		}
		if got := len(packetsOf(t, slow.Bytes())); uint64(got) != loss.Total-loss.Lost {
			t.Errorf("the file has %d packets, want %d", got, loss.Total-loss.Lost)
		}
		if slow.Len() > 3*captureRoom {
			t.Errorf("%d bytes were kept", slow.Len())
		}
	})
}

// Close does not wait for a writer that never comes back.
func TestAWriterThatBlocksDoesNotBlockClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lac := dialling(t, simnet.New(1), 1)
		stuck := &gate{open: make(chan struct{})}
		if _, err := lac.Capture(stuck); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		lac.Close()
		if d := time.Since(begin); d > 2*time.Second {
			t.Errorf("Close took %v, want at most 2 s", d)
		}
		close(stuck.open)
	})
}

// A broken is a writer that fails after so many writes.
type broken struct{ left int }

func (b *broken) Write(p []byte) (int, error) {
	if b.left--; b.left < 0 {
		return 0, errors.New("no space left")
	}
	return len(p), nil
}

func TestAWriterThatFailsEndsTheCapture(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		lns, lac := answering(t, n, 1, nil), dialling(t, n, 1)
		defer lns.Close()
		defer lac.Close()
		if _, err := lac.Capture(&broken{}); err == nil || err.Error() != "no space left" {
			t.Errorf("a writer that fails at once: %v, want its error", err)
		}
		stop, err := lac.Capture(&broken{left: 1})
		if err != nil {
			t.Fatal(err)
		}
		calling(t, lac, lns, lnsAddr) // which works all the same
		time.Sleep(captureInterval)
		synctest.Wait()
		if lac.recorder.Load() != nil {
			t.Error("the capture goes on")
		}
		if err := stop(); err == nil || err.Error() != "no space left" {
			t.Errorf("stop: %v, want the writer's error", err)
		}
	})
}

// Sessions that all send, while captures begin and end: for the race detector.
func TestCapturesWhileSessionsSend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		lns, lac := answering(t, n, 1, nil), dialling(t, n, 1)
		defer lns.Close()
		defer lac.Close()
		var sending sync.WaitGroup
		finished := make(chan struct{})
		for range 4 {
			client, server := calling(t, lac, lns, lnsAddr)
			server.Attach(link.SinkFunc(func(b *link.Batch) { server.Put(b) })) // sends it back
			client.Attach(link.SinkFunc(func(*link.Batch) {}))
			sending.Go(func() {
				for range 500 {
					put(client, packet("to and fro"))
					time.Sleep(10 * time.Millisecond)
				}
			})
		}
		go func() {
			sending.Wait()
			close(finished)
		}()
		total := 0
		for going := true; going; {
			var files [2]bytes.Buffer
			var stops [2]func() error
			for i, e := range []*Endpoint{lac, lns} {
				var err error
				if stops[i], err = e.Capture(&files[i]); err != nil {
					t.Fatal(err)
				}
			}
			select {
			case <-finished:
				going = false
			case <-time.After(700 * time.Millisecond):
			}
			for i := range stops {
				if err := stops[i](); err != nil {
					t.Error(err)
				}
				for _, p := range packetsOf(t, files[i].Bytes()) {
					if strings.HasPrefix(p, "inner") && !strings.HasSuffix(p, fmt.Sprintf("%x", packet("to and fro"))) {
						t.Errorf("a packet is %s", p)
					}
					total++
				}
			}
		}
		if total < 8000 { // 4 sessions, 500 packets, there and back, inside and outside, at two ends: 32000
			t.Errorf("%d packets in all captures", total)
		}
	})
}

// Packets of several goroutines, while others are being written: each is whole.
func TestPacketsThatComeWhileOthersAreWritten(t *testing.T) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e, err := New(conn, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	var file bytes.Buffer
	stop, err := e.Capture(&file)
	if err != nil {
		t.Fatal(err)
	}
	const each = 2000
	peer := netip.MustParseAddrPort(lnsAddr)
	var wg sync.WaitGroup
	for who := range byte(3) {
		wg.Go(func() {
			for i := range each {
				e.received(bytes.Repeat([]byte{who}, 100+i%1000), peer, netip.Addr{})
			}
		})
	}
	wg.Wait()
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	var count, length [3]int
	for _, p := range packetsOf(t, file.Bytes()) {
		data := p[len("outer < "):][2*28:]
		who := data[1] - '0'
		if int(who) >= len(count) || strings.Trim(data, "0"+string(data[1])) != "" {
			t.Fatalf("a packet has %s", data)
		}
		count[who]++
		length[who] += len(data) / 2
	}
	want := 0
	for i := range each {
		want += 100 + i%1000
	}
	for who := range count {
		if count[who] != each || length[who] != want {
			t.Errorf("%d packets of %d bytes are of number %d, want %d of %d", count[who], length[who], who, each, want)
		}
	}
}

func TestWithoutACaptureNothingIsAllocated(t *testing.T) {
	e := &Endpoint{}
	s := &Session{tunnel: &Tunnel{ep: e}, kind: PseudowireIP}
	var b link.Batch
	b.Add(0, packet("frame"), nil)
	peer := netip.MustParseAddrPort(lnsAddr)
	if n := testing.AllocsPerRun(100, func() {
		s.captured(pcapng.Outbound, b.Frames)
		e.received(b.Frames[0].Body, peer, netip.Addr{})
	}); n != 0 {
		t.Errorf("%v allocations for each packet", n)
	}
}

// What it costs when it is on is a copy.
func BenchmarkCapture(b *testing.B) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	e, err := New(conn, nil)
	if err != nil {
		b.Fatal(err)
	}
	defer e.Close()
	stop, err := e.Capture(io.Discard)
	if err != nil {
		b.Fatal(err)
	}
	defer stop()
	datagram, peer := make([]byte, 1400), netip.MustParseAddrPort(lnsAddr)
	b.SetBytes(int64(len(datagram)))
	b.ReportAllocs()
	for b.Loop() {
		e.received(datagram, peer, netip.Addr{})
	}
}

func TestAddressesOfACapture(t *testing.T) {
	peer, local := netip.MustParseAddrPort("127.0.0.1:1701"), netip.MustParseAddr("198.51.100.1")
	conn, err := net.ListenPacket("udp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	e, err := New(conn, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	r := &recorder{addr: e.Addr(), locals: map[netip.AddrPort]netip.Addr{}}
	if got := r.local(peer, local); got != local {
		t.Errorf("the address that the system tells is %v, want %v", got, local)
	}
	if got := r.local(peer, netip.Addr{}); got != peer.Addr() {
		t.Errorf("the address by the routes is %v, want %v", got, peer.Addr())
	}
	for i := range 2 * captureLocalsMax {
		r.local(netip.AddrPortFrom(peer.Addr(), uint16(i+1)), netip.Addr{})
	}
	if len(r.locals) > captureLocalsMax {
		t.Errorf("%d addresses are remembered", len(r.locals))
	}
	// A link-local address without its link leads nowhere.
	if got := routed(netip.MustParseAddrPort("[fe80::1]:1701")); got.String() != "2001:db8::1" {
		t.Errorf("our address where no route leads is %v, want one for examples", got)
	}
}
