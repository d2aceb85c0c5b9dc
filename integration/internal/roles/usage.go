//go:build linux

package roles

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// A Usage is what a process has used of the machine.
type Usage struct {
	CPU     time.Duration // so far
	Live    uint64        // bytes: live objects on the heap, and stacks; after a garbage collection where one was asked for
	RSS     uint64        // bytes of memory that are resident now
	Mallocs uint64        // objects so far
	PeakRSS uint64        // the most that were since somebody asked last, looked at four times a second
}

// peakRSS is kept by WatchMemory.
var peakRSS atomic.Uint64

// WatchMemory keeps PeakRSS; it does not return.
func WatchMemory() {
	for {
		peakRSS.Store(max(peakRSS.Load(), residentBytes()))
		time.Sleep(250 * time.Millisecond)
	}
}

// Used tells what this process has used. With collect, what nobody refers to is freed first, and does not count.
func Used(collect bool) Usage {
	if collect {
		runtime.GC()
		runtime.GC() // what has a finalizer, and the pools' victims
	}
	var r syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	rss := residentBytes()
	return Usage{
		Mallocs: m.Mallocs,
		CPU:     time.Duration(r.Utime.Nano() + r.Stime.Nano()),
		Live:    m.HeapAlloc + m.StackInuse, RSS: rss, PeakRSS: max(peakRSS.Swap(0), rss),
	}
}

// Dropped is how many datagrams the kernel has dropped because a socket of this port was full (/proc/net/udp).
func Dropped(port uint16) (n uint64) {
	table, _ := os.ReadFile("/proc/net/udp")
	for line := range strings.Lines(string(table)) {
		f := strings.Fields(line)
		if len(f) > 2 && strings.HasSuffix(f[1], fmt.Sprintf(":%04X", port)) {
			d, _ := strconv.ParseUint(f[len(f)-1], 10, 64)
			n += d
		}
	}
	return n
}

// FillHeap makes garbage until it is collected, as a process does by itself that runs for long enough: only then its heap has
// the size that it has for good, which is about twice what lives in it.
func FillHeap() {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	for cycles := m.NumGC; m.NumGC == cycles; runtime.ReadMemStats(&m) {
		for range 16 {
			garbage = make([]byte, 64<<10)
			for i := 0; i < len(garbage); i += 4096 {
				garbage[i] = 1 // or it is not resident
			}
		}
	}
	garbage = nil
}

var garbage []byte

// residentBytes is VmRSS of /proc/self/status, which has it in KiB; 0 where it has not.
func residentBytes() uint64 {
	status, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, _ := strconv.ParseUint(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			return n << 10
		}
	}
	return 0
}
