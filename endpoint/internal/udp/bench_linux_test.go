package udp

import (
	"errors"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/link"
)

// BenchmarkLoopback sends batches of 45 datagrams of 1,400 bytes from one socket
// to another, and as many back, in every form by turns. It reports what arrived,
// and the CPU seconds of both ends.
func BenchmarkLoopback(b *testing.B) {
	fastWith := func(segments bool) func(net.PacketConn) *Conn {
		return func(c net.PacketConn) *Conn {
			f := mustFast(c)
			f.segments = segments
			return &Conn{conn: c, form: f}
		}
	}
	for range 3 {
		for _, form := range []struct {
			name string
			make func(net.PacketConn) *Conn
		}{
			{"single calls", forms["portable"]},
			{"recvmmsg and sendmmsg", fastWith(false)},
			{"GSO and GRO", fastWith(true)},
		} {
			b.Run(form.name, func(b *testing.B) { benchmarkPair(b, form.make) })
		}
	}
}

const (
	benchFrames = 45
	benchSize   = 1400

	// benchWindow is how many bytes a sender is ahead of its receiver, so that
	// what is measured arrives. What is lost it gives up after benchPatience.
	benchWindow   = 1 << 20
	benchPatience = 20 * time.Millisecond
)

func benchmarkPair(b *testing.B, newConn func(net.PacketConn) *Conn) {
	one, two := listen(b, "udp4", "127.0.0.1:0"), listen(b, "udp4", "127.0.0.1:0")
	ends := [2]*Conn{newConn(one), newConn(two)}
	for _, c := range []*net.UDPConn{one, two} {
		c.SetDeadline(time.Time{})
	}
	var received [2]atomic.Int64 // bytes
	more := [2]chan struct{}{make(chan struct{}, 1), make(chan struct{}, 1)}
	var readers sync.WaitGroup
	for i, c := range ends {
		readers.Go(func() {
			for {
				runs, err := c.Read()
				if err != nil {
					if !errors.Is(err, net.ErrClosed) {
						b.Error(err)
					}
					return
				}
				n := 0
				for k := range runs {
					for d := range runs[k].Datagrams() {
						n += len(d)
					}
				}
				received[i].Add(int64(n))
				select {
				case more[i] <- struct{}{}:
				default:
				}
			}
		})
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	cpu := cpuUsed()
	b.SetBytes(2 * benchFrames * benchSize)
	b.ResetTimer()
	var writers sync.WaitGroup
	for i, c := range ends {
		writers.Go(func() {
			var batch link.Batch
			for range benchFrames {
				batch.Add(60, make([]byte, benchSize-60), nil)
			}
			path := c.Path(ends[1-i].LocalAddr(), netip.Addr{})
			patience := time.NewTimer(benchPatience)
			ahead := func(sent int64) bool { return sent-received[1-i].Load() > benchWindow }
			for sent, lost := int64(0), int64(0); sent < int64(b.N)*benchFrames*benchSize; sent += benchFrames * benchSize {
				for ahead(sent - lost) {
					patience.Reset(benchPatience)
					select {
					case <-more[1-i]:
					case <-patience.C:
						lost = sent - received[1-i].Load()
					}
				}
				if _, err := c.Send(batch.Frames, path); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	writers.Wait()
	elapsed := b.Elapsed()
	cpu = cpuUsed() - cpu
	runtime.ReadMemStats(&after)
	ends[0].Close()
	ends[1].Close()
	readers.Wait()
	got := float64(received[0].Load() + received[1].Load())
	b.ReportMetric(got*8/1e9/elapsed.Seconds(), "Gbit/s")
	b.ReportMetric(cpu.Seconds()/(got/1e9), "cpu-s/GB")
	b.ReportMetric(float64(after.Mallocs-before.Mallocs)/(got/benchSize), "allocs/datagram")
	b.ReportMetric(100*(1-got/float64(2*benchFrames*benchSize*b.N)), "%lost")
}

func cpuUsed() time.Duration {
	var r syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
