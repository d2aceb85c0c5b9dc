package netstack

import (
	"sync/atomic"
	"testing"

	"github.com/l2tpnet/l2tpnet/endpoint/link"
)

// BenchmarkBulkTCPEthernet is BenchmarkBulkTCP over Ethernet frames.
func BenchmarkBulkTCPEthernet(b *testing.B) {
	up, down := new(meter), new(meter)
	var toA, toB atomic.Pointer[EthernetNIC]
	cable := func(m *meter, to *atomic.Pointer[EthernetNIC]) link.Sink {
		return link.SinkFunc(func(b *link.Batch) {
			m.batches.Add(1)
			m.frames.Add(int64(len(b.Frames)))
			if n := to.Load(); n != nil {
				n.Put(b)
			}
		})
	}
	s1, s2 := newStack(b, nil), newStack(b, nil)
	toA.Store(addEthernet(b, s1, cable(up, &toB), &EthernetConfig{Addresses: prefixes("10.0.0.1/24"), NoIPv6: true}))
	toB.Store(addEthernet(b, s2, cable(down, &toA), &EthernetConfig{Addresses: prefixes("10.0.0.2/24"), NoIPv6: true}))
	benchmarkBulk(b, s1, s2, up, down, addrB)
}
