// Package throughput measures bulk TCP through a tunnel, with the two ends in
// processes of their own, so that they do not share a scheduler:
//
//	go test -run '^$' -bench Bulk -benchtime 3s ./integration/throughput
package throughput

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint"
	"github.com/l2tpnet/l2tpnet/endpoint/link"
	"github.com/l2tpnet/l2tpnet/netstack"
)

// farEnd, in the environment, makes the test binary the server.
const farEnd = "L2TPNET_BENCH_FAR_END"

func TestMain(m *testing.M) {
	if os.Getenv(farEnd) == "" {
		os.Exit(m.Run())
	}
	if err := serve(); err != nil {
		fmt.Fprintln(os.Stderr, "far end:", err)
		os.Exit(1)
	}
}

// usage is what a process has used so far.
type usage struct {
	CPU    time.Duration
	Allocs uint64
}

func used() usage {
	var r syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return usage{time.Duration(r.Utime.Nano() + r.Stime.Nano()), m.Mallocs}
}

const (
	chunk = 256 << 10 // bytes of a write and a read

	portSink   = 1 // takes everything
	portSource = 2 // sends for ever
)

// serve is the far end: an LNS with a sink and a source in its stack. It prints
// its address, and its usage for every line of standard input.
func serve() error {
	pool, err := endpoint.NewPool(netip.MustParsePrefix("10.77.0.0/24"), netip.Addr{}, nil)
	if err != nil {
		return err
	}
	stack, err := netstack.New(nil)
	if err != nil {
		return err
	}
	router, err := stack.AddRouted(&netstack.RoutedConfig{Addresses: []netip.Addr{pool.Gateway()}})
	if err != nil {
		return err
	}
	for port, handle := range map[int]func(net.Conn){portSink: drain, portSource: fill} {
		ln, err := stack.Listen("tcp", fmt.Sprintf(":%d", port))
		if err != nil {
			return err
		}
		go func() {
			for {
				c, err := ln.Accept()
				if err != nil {
					return
				}
				go handle(c)
			}
		}()
	}
	ep, err := endpoint.Listen("udp", "127.0.0.1:0", &endpoint.Config{Answer: &endpoint.AnswerConfig{
		Pool: pool,
		Authenticate: func(context.Context, endpoint.AuthRequest) (endpoint.Credential, error) {
			return endpoint.Credential{Password: "bench"}, nil
		},
	}})
	if err != nil {
		return err
	}
	stack.SetReceiveWindow(ep.Status().ReceiveBuffer / 2)
	go func() {
		for {
			s, err := ep.Accept(context.Background())
			if err != nil {
				return
			}
			port, err := router.Attach(&netstack.PortConfig{Prefixes: []netip.Prefix{netip.PrefixFrom(s.PeerAddress(), 32)}}, s)
			if err == nil {
				s.Attach(port)
			}
		}
	}()
	fmt.Println(ep.Addr())
	answer := json.NewEncoder(os.Stdout)
	var line string
	for {
		if _, err := fmt.Scanln(&line); err != nil {
			return nil
		}
		answer.Encode(used())
	}
}

func drain(c net.Conn) {
	defer c.Close()
	io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{c}, make([]byte, chunk))
}

func fill(c net.Conn) {
	defer c.Close()
	for b := make([]byte, chunk); ; {
		if _, err := c.Write(b); err != nil {
			return
		}
	}
}

// far is the other process.
type far struct {
	address string
	ask     io.Writer
	answers *json.Decoder
}

func startFar(b *testing.B) *far {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), farEnd+"=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		in.Close()
		cmd.Wait()
	})
	f := &far{ask: in, answers: json.NewDecoder(out)}
	if _, err := fmt.Fscanln(out, &f.address); err != nil {
		b.Fatal(err)
	}
	return f
}

func (f *far) used(b *testing.B) (u usage) {
	fmt.Fprintln(f.ask, "used")
	if err := f.answers.Decode(&u); err != nil {
		b.Fatal(err)
	}
	return u
}

// near is our end of the tunnel.
type near struct {
	stack   *netstack.Stack
	session *endpoint.Session
	puts    atomic.Uint64 // batches that the stack sent: one a super-packet or ACK
}

func dial(b *testing.B, server string) *near {
	ep, err := endpoint.Listen("udp", "127.0.0.1:0", nil)
	if err != nil {
		b.Fatal(err)
	}
	n := &near{}
	if n.stack, err = netstack.New(nil); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		ep.Close()
		n.stack.Close()
	})
	n.stack.SetReceiveWindow(ep.Status().ReceiveBuffer / 2)
	tun, err := ep.Dial(b.Context(), server, nil)
	if err != nil {
		b.Fatal(err)
	}
	if n.session, err = tun.OpenPPP(b.Context(), &endpoint.PPPConfig{User: "bench", Password: "bench"}); err != nil {
		b.Fatal(err)
	}
	out := link.SinkFunc(func(f *link.Batch) {
		n.puts.Add(1)
		n.session.Put(f)
	})
	nic, err := n.stack.AddIP(out, &netstack.IPConfig{Addresses: n.session.Addresses(), MTU: n.session.MTU()})
	if err != nil {
		b.Fatal(err)
	}
	n.session.Attach(nic)
	return n
}

// BenchmarkBulk sends and receives 256 KiB an iteration over one TCP connection.
// CPU seconds are of both processes, allocations of ours.
func BenchmarkBulk(b *testing.B) {
	for name, port := range map[string]int{"send": portSink, "receive": portSource} {
		b.Run(name, func(b *testing.B) {
			f := startFar(b)
			n := dial(b, f.address)
			c, err := n.stack.DialContext(b.Context(), "tcp", fmt.Sprintf("%v:%d", n.session.PeerAddress(), port))
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			move := c.Write
			if port == portSource {
				move = func(p []byte) (int, error) { return io.ReadFull(c, p) }
			}
			buf := make([]byte, chunk)
			for range 64 { // past slow start
				if _, err := move(buf); err != nil {
					b.Fatal(err)
				}
			}
			b.SetBytes(chunk)
			farBefore, before := f.used(b), used()
			traffic, puts := n.session.Status().Traffic, n.puts.Load()
			b.ResetTimer()
			for range b.N {
				if _, err := move(buf); err != nil {
					b.Fatal(err)
				}
			}
			b.StopTimer()
			after, farAfter := used(), f.used(b)
			t := n.session.Status().Traffic
			gigabytes := float64(b.N) * chunk / 1e9
			b.ReportMetric(gigabytes*8/b.Elapsed().Seconds(), "Gbit/s")
			b.ReportMetric((after.CPU-before.CPU+farAfter.CPU-farBefore.CPU).Seconds()/gigabytes, "cpu-s/GB")
			allocs := float64(after.Allocs - before.Allocs)
			if port == portSink {
				b.ReportMetric(allocs/float64(n.puts.Load()-puts), "allocs/super-packet")
				b.ReportMetric(allocs/float64(t.PacketsOut-traffic.PacketsOut), "allocs/datagram")
			} else {
				b.ReportMetric(allocs/float64(t.PacketsIn-traffic.PacketsIn), "allocs/datagram")
			}
		})
	}
}
