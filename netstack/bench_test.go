package netstack

import (
	"io"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/l2tpnet/l2tpnet/endpoint/link"
)

// A meter is a link straight into another NIC, that counts.
type meter struct {
	to              *NIC
	batches, frames atomic.Int64
}

func (m *meter) Put(b *link.Batch) {
	m.batches.Add(1)
	m.frames.Add(int64(len(b.Frames)))
	m.to.Put(b)
}

// joined are two stacks that are one another's link: nothing is between them
// but function calls.
func joined(b *testing.B) (s1, s2 *Stack, up, down *meter) {
	up, down = new(meter), new(meter)
	s1, s2 = newStack(b, nil), newStack(b, nil)
	down.to = addIP(b, s1, up, addrA)
	up.to = addIP(b, s2, down, addrB)
	return s1, s2, up, down
}

func cpuSeconds(b *testing.B) float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	seconds := func(t syscall.Timeval) float64 { return float64(t.Sec) + float64(t.Usec)/1e6 }
	return seconds(u.Utime) + seconds(u.Stime)
}

// joined6 are the same with IPv6, and the address of the second one.
func joined6(b *testing.B) (s1, s2 *Stack, up, down *meter, addr netip.Addr) {
	up, down = new(meter), new(meter)
	s1, s2 = newStack(b, nil), newStack(b, nil)
	add := func(s *Stack, out *meter, id [8]byte) *NIC {
		n, err := s.AddIP(link.SinkFunc(func(b *link.Batch) {
			if out.to != nil {
				out.Put(b)
			}
		}), &IPConfig{InterfaceID: id})
		if err != nil {
			b.Fatal(err)
		}
		put(n, newAdvert().auto(prefixA).packet())
		return n
	}
	n1, n2 := add(s1, up, idA), add(s2, down, idB)
	down.to, up.to = n1, n2
	return s1, s2, up, down, n2.Addresses()[0]
}

// BenchmarkBulkTCP sends with writes of 256 KiB from one stack to another,
// both in this process.
func BenchmarkBulkTCP(b *testing.B) {
	s1, s2, up, down := joined(b)
	benchmarkBulk(b, s1, s2, up, down, addrB)
}

// BenchmarkBulkTCP6 does the same over IPv6.
func BenchmarkBulkTCP6(b *testing.B) {
	s1, s2, up, down, addr := joined6(b)
	benchmarkBulk(b, s1, s2, up, down, addr)
}

func benchmarkBulk(b *testing.B, s1, s2 *Stack, up, down *meter, addr netip.Addr) {
	ln, err := s2.Listen("tcp", ":80")
	if err != nil {
		b.Fatal(err)
	}
	defer ln.Close()
	client, err := s1.Dial("tcp", netip.AddrPortFrom(addr, 80).String())
	if err != nil {
		b.Fatal(err)
	}
	server, err := ln.Accept()
	if err != nil {
		b.Fatal(err)
	}
	defer server.Close()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer client.Close()
	received := make(chan struct{})
	chunk := make([]byte, 256<<10)
	wg.Go(func() {
		io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{server}, make([]byte, len(chunk)))
		close(received)
	})
	for range 400 { // until the windows have grown
		client.Write(chunk)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	batches, frames, acks := up.batches.Load(), up.frames.Load(), down.frames.Load()
	cpu := cpuSeconds(b)
	b.SetBytes(int64(len(chunk)))
	b.ResetTimer()
	for range b.N {
		if _, err := client.Write(chunk); err != nil {
			b.Fatal(err)
		}
	}
	client.(interface{ CloseWrite() error }).CloseWrite()
	<-received
	b.StopTimer()
	cpu = cpuSeconds(b) - cpu
	runtime.ReadMemStats(&after)

	batches, frames, acks = up.batches.Load()-batches, up.frames.Load()-frames, down.frames.Load()-acks
	allocs := float64(after.Mallocs - before.Mallocs)
	b.ReportMetric(cpu/(float64(b.N*len(chunk))/1e9), "cpu-s/GB")
	b.ReportMetric(allocs/float64(batches), "allocs/super-packet")
	b.ReportMetric(allocs/float64(frames+acks), "allocs/datagram")
	b.ReportMetric(float64(frames)/float64(batches), "segments/super-packet")
}

// BenchmarkDatagrams sends datagrams of 1,200 bytes the same way.
func BenchmarkDatagrams(b *testing.B) {
	s1, s2, up, _ := joined(b)
	server, err := s2.ListenPacket("udp", ":53")
	if err != nil {
		b.Fatal(err)
	}
	defer server.Close()
	client, err := s1.Dial("udp", "10.0.0.2:53")
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	out, in := make([]byte, 1200), make([]byte, 1500)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := client.Write(out); err != nil {
			b.Fatal(err)
		}
		if _, err := server.(net.Conn).Read(in); err != nil {
			b.Fatal(err)
		}
	}
	if int64(b.N) > up.frames.Load() {
		b.Fatal("lost some")
	}
}

// BenchmarkRoundTrip bounces one byte over TCP.
func BenchmarkRoundTrip(b *testing.B) {
	s1, s2, _, _ := joined(b)
	ln, err := s2.Listen("tcp", ":80")
	if err != nil {
		b.Fatal(err)
	}
	defer ln.Close()
	client, err := s1.Dial("tcp", "10.0.0.2:80")
	if err != nil {
		b.Fatal(err)
	}
	server, err := ln.Accept()
	if err != nil {
		b.Fatal(err)
	}
	defer server.Close()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer client.Close()
	wg.Go(func() {
		one := make([]byte, 1)
		for {
			if _, err := server.Read(one); err != nil {
				return
			}
			server.Write(one)
		}
	})
	one := make([]byte, 1)
	b.ReportAllocs()
	for b.Loop() {
		client.Write(one)
		if _, err := client.Read(one); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkStack makes a stack with a NIC and closes it.
func BenchmarkStack(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		s, err := New(nil)
		if err != nil {
			b.Fatal(err)
		}
		addIP(b, s, discard, addrA)
		s.Close()
	}
}
