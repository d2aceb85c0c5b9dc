//go:build linux

// Package throughput measures bulk TCP through a tunnel, with the two ends in
// processes of their own, so that they do not share a scheduler:
//
//	go test -run '^$' -bench Bulk -benchtime 3s ./integration/throughput
package throughput

import (
	"fmt"
	"io"
	"net/netip"
	"os"
	"sync/atomic"
	"testing"

	"github.com/l2tpnet/l2tpnet/endpoint"
	"github.com/l2tpnet/l2tpnet/endpoint/link"
	"github.com/l2tpnet/l2tpnet/integration/internal/roles"
	"github.com/l2tpnet/l2tpnet/netstack"
)

func TestMain(m *testing.M) {
	if roles.Main(map[string]func() roles.Role{"server": roles.NewServer}) {
		return
	}
	os.Exit(m.Run())
}

// far is the other process, and its address.
type far struct {
	*roles.Child
	address netip.AddrPort
}

func startFar(b *testing.B) (f far) {
	var err error
	if f.Child, err = roles.StartChild("server"); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(f.End)
	if err := f.Ask("start", roles.ServerConfig{}, &f.address); err != nil {
		b.Fatal(err)
	}
	return f
}

func (f far) used(b *testing.B) (u roles.Usage) {
	if err := f.Ask("brief", false, &u); err != nil {
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
	n.stack.SetReceiveWindow(ep.Status().ReceiveBuffer)
	tun, err := ep.Dial(b.Context(), server, nil)
	if err != nil {
		b.Fatal(err)
	}
	if n.session, err = tun.OpenPPP(b.Context(), &endpoint.PPPConfig{User: roles.User, Password: roles.Password}); err != nil {
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
	for name, port := range map[string]int{"send": roles.SinkPort, "receive": roles.SourcePort} {
		b.Run(name, func(b *testing.B) {
			f := startFar(b)
			n := dial(b, f.address.String())
			c, err := n.stack.DialContext(b.Context(), "tcp", fmt.Sprintf("%v:%d", n.session.PeerAddress(), port))
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			move := c.Write
			if port == roles.SourcePort {
				move = func(p []byte) (int, error) { return io.ReadFull(c, p) }
			}
			buf := make([]byte, roles.Chunk)
			for range 64 { // past slow start
				if _, err := move(buf); err != nil {
					b.Fatal(err)
				}
			}
			b.SetBytes(roles.Chunk)
			farBefore, before := f.used(b), roles.Used(false)
			traffic, puts := n.session.Status().Traffic, n.puts.Load()
			b.ResetTimer()
			for range b.N {
				if _, err := move(buf); err != nil {
					b.Fatal(err)
				}
			}
			b.StopTimer()
			after, farAfter := roles.Used(false), f.used(b)
			t := n.session.Status().Traffic
			gigabytes := float64(b.N) * roles.Chunk / 1e9
			b.ReportMetric(gigabytes*8/b.Elapsed().Seconds(), "Gbit/s")
			b.ReportMetric((after.CPU-before.CPU+farAfter.CPU-farBefore.CPU).Seconds()/gigabytes, "cpu-s/GB")
			allocs := float64(after.Mallocs - before.Mallocs)
			if port == roles.SinkPort {
				b.ReportMetric(allocs/float64(n.puts.Load()-puts), "allocs/super-packet")
				b.ReportMetric(allocs/float64(t.PacketsOut-traffic.PacketsOut), "allocs/datagram")
			} else {
				b.ReportMetric(allocs/float64(t.PacketsIn-traffic.PacketsIn), "allocs/datagram")
			}
		})
	}
}
