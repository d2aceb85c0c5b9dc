//go:build unix

package endpoint

import (
	"bufio"
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"
)

// setUpsInFlight is how many set-ups the goal has at once: "set-ups of tunnel, session and MS-CHAPv2 on loopback,
// limits raised, 64 in flight, both ends on two cores". Of one endpoint there are at most
// setUpsMost, lest it run out of tunnel ids.
const (
	setUpsInFlight = 64
	setUpsMost     = 20000
)

// BenchmarkSetUp sets up tunnels with a session each, whose user MS-CHAPv2 asks for his
// password. The far end is a process of its own. CPU seconds say more than set-ups a
// second where the machine has other things to do as well.
func BenchmarkSetUp(b *testing.B) {
	var ours, theirs spent
	for left := b.N; left > 0; left -= setUpsMost {
		b.StopTimer()
		far := startFarEnd(b)
		ep, err := Listen("udp", "127.0.0.1:0", nil)
		if err != nil {
			b.Fatal(err)
		}
		from, farFrom := spentSoFar(), far.spent(b)
		b.StartTimer()
		setUp(b, ep, far.address, min(left, setUpsMost))
		b.StopTimer()
		ours.add(from, spentSoFar())
		theirs.add(farFrom, far.spent(b))
		far.end(b)
		ep.Close()
		b.StartTimer()
	}
	n := float64(b.N)
	b.ReportMetric(n/b.Elapsed().Seconds(), "set-ups/s")
	b.ReportMetric((ours.cpu+theirs.cpu).Seconds()/n*1e6, "CPU-µs/op")
	b.ReportMetric(ours.cpu.Seconds()/n*1e6, "caller-CPU-µs/op")
	b.ReportMetric(float64(ours.mallocs)/n, "caller-allocs/op")
	b.ReportMetric(float64(theirs.mallocs)/n, "far-allocs/op")
	b.ReportMetric(float64(ours.bytes)/n, "caller-B/op")
	b.ReportMetric(float64(theirs.bytes)/n, "far-B/op")
}

// BenchmarkIdle is what idle sessions cost, each in a tunnel of its own: an op is a second
// in which 10,000 of them stand.
func BenchmarkIdle(b *testing.B) {
	const sessions = 10000
	far := startFarEnd(b)
	ep, err := Listen("udp", "127.0.0.1:0", nil)
	if err != nil {
		b.Fatal(err)
	}
	setUp(b, ep, far.address, sessions)
	time.Sleep(time.Second) // what follows a set-up
	var ours, theirs spent
	from, farFrom := spentSoFar(), far.spent(b)
	b.ResetTimer()
	for range b.N {
		time.Sleep(time.Second)
	}
	ours.add(from, spentSoFar())
	theirs.add(farFrom, far.spent(b))
	b.StopTimer()
	seconds := b.Elapsed().Seconds()
	b.ReportMetric(ours.cpu.Seconds()/seconds*1e3, "caller-CPU-ms/s")
	b.ReportMetric(theirs.cpu.Seconds()/seconds*1e3, "far-CPU-ms/s")
	far.end(b)
	ep.Close()
}

func setUp(b *testing.B, ep *Endpoint, address string, n int) {
	var wg sync.WaitGroup
	work := make(chan struct{}, n)
	for range n {
		work <- struct{}{}
	}
	close(work)
	for range min(n, setUpsInFlight) {
		wg.Go(func() {
			for range work {
				t, err := ep.Dial(b.Context(), address, nil)
				if err == nil {
					_, err = t.OpenPPP(b.Context(), &PPPConfig{User: "alice", Password: "s3cret"})
				}
				if err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// spent is what a process has used.
type spent struct {
	cpu            time.Duration
	mallocs, bytes uint64
}

func spentSoFar() spent {
	var r syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return spent{time.Duration(r.Utime.Nano() + r.Stime.Nano()), m.Mallocs, m.TotalAlloc}
}

func (s *spent) add(from, until spent) {
	s.cpu += until.cpu - from.cpu
	s.mallocs += until.mallocs - from.mallocs
	s.bytes += until.bytes - from.bytes
}

const (
	// farEndVariable, in the environment, has TestFarEnd be the far end of a benchmark.
	farEndVariable = "L2TPNET_FAR_END"
	// farProfileVariable is the file where it leaves a profile of its CPU time, if any.
	farProfileVariable = "L2TPNET_FAR_PROFILE"
)

// A farEnd answers in a process of its own.
type farEnd struct {
	address string
	ask     *os.File
	cmd     *exec.Cmd
	out     *bufio.Reader
}

func startFarEnd(b *testing.B) *farEnd {
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	in, ask, err := os.Pipe()
	if err != nil {
		b.Fatal(err)
	}
	f := &farEnd{ask: ask, cmd: exec.Command(self, "-test.run", "^TestFarEnd$", "-test.cpuprofile", os.Getenv(farProfileVariable))}
	f.cmd.Env = append(os.Environ(), farEndVariable+"=1")
	f.cmd.Stdin, f.cmd.Stderr = in, os.Stderr
	out, err := f.cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	f.out = bufio.NewReader(out)
	if err := f.cmd.Start(); err != nil {
		b.Fatal(err)
	}
	in.Close()
	if _, err := fmt.Fscanln(f.out, &f.address); err != nil {
		b.Fatal(err)
	}
	return f
}

func (f *farEnd) spent(b *testing.B) (s spent) {
	fmt.Fprintln(f.ask)
	if _, err := fmt.Fscanln(f.out, &s.cpu, &s.mallocs, &s.bytes); err != nil {
		b.Fatal(err)
	}
	return s
}

func (f *farEnd) end(b *testing.B) {
	f.ask.Close()
	if err := f.cmd.Wait(); err != nil {
		b.Error(err)
	}
}

// TestFarEnd is no test, but the far end of [BenchmarkSetUp]: it answers, and tells what
// it has used for each line that it reads, until there are no more.
func TestFarEnd(t *testing.T) {
	if os.Getenv(farEndVariable) == "" {
		t.Skip("it is for benchmarks")
	}
	p, err := NewPool(netip.MustParsePrefix("10.64.0.0/12"), netip.Addr{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ep, err := Listen("udp", "127.0.0.1:0", &Config{Answer: &AnswerConfig{
		Methods: []AuthMethod{MSCHAPv2}, Authenticate: users, Pool: p,
		Limits: Limits{Tunnels: -1, HalfOpenPerSource: -1, RatePerSource: -1},
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer ep.Close()
	go func() {
		for {
			s, err := ep.Accept(context.Background())
			if err != nil {
				return
			}
			s.Attach(nothing)
		}
	}()
	fmt.Println(ep.Addr())
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		s := spentSoFar()
		fmt.Println(int64(s.cpu), s.mallocs, s.bytes)
	}
}
