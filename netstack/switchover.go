package netstack

import (
	"encoding/binary"

	"github.com/l2tpnet/l2tpnet/endpoint/link"
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// A switchover takes those packets of a batch that go from one session to another,
// and hands each run that is for the same one on as a batch. The zero one is
// ready to use.
type switchover struct {
	to       *Port
	b        *link.Batch
	views    [link.BatchMax]*buffer.View // where the packets lie
	n        int
	out      int // packets in b, or gone already
	outBytes int
}

// add takes packet, which lies in view, or says that it is dropped. It does what
// a router does (RFC 1812 §5.2, §5.3; RFC 8200).
func (s *switchover) add(packet []byte, view *buffer.View, v verdict) verdict {
	from, to := v.from, v.to
	if s.to != to || s.n == len(s.views) || len(s.b.Frames) >= link.BatchMax {
		s.flush()
	}
	mtu := to.mtu()
	var tooLong bool
	if packet[0]>>4 == 4 {
		h := header.IPv4(packet)
		if !h.IsChecksumValid() {
			return verdict{drop: &from.counters.malformed}
		}
		if h.TTL() <= 1 {
			from.timeExceeded(packet)
			return verdict{drop: &from.counters.expired}
		}
		tooLong = len(h) > mtu
		if tooLong && (h.Flags()&header.IPv4FlagDontFragment != 0 || !canFragment4(h)) {
			from.tooBig(packet, mtu)
			return verdict{drop: &from.counters.tooLong}
		}
		was := binary.BigEndian.Uint16(h[8:])
		h.SetTTL(h.TTL() - 1)
		h.SetChecksum(adjustChecksum(h.Checksum(), was, binary.BigEndian.Uint16(h[8:]), false))
	} else {
		h := header.IPv6(packet)
		if h.HopLimit() <= 1 {
			from.timeExceeded(packet)
			return verdict{drop: &from.counters.expired}
		}
		// RFC 8200 §4.5: "unlike IPv4, fragmentation in IPv6 is performed only by source
		// nodes, not by routers".
		if len(h) > mtu {
			from.tooBig(packet, mtu)
			return verdict{drop: &from.counters.tooLong}
		}
		h.SetHopLimit(h.HopLimit() - 1)
	}
	clampMSS(packet, min(from.mtu(), mtu))

	if s.b == nil {
		s.b = link.NewBatch()
	}
	s.to, s.views[s.n] = to, view
	s.n++
	from.counters.switched.Add(1)
	if !tooLong {
		s.b.Add(0, packet, nil)
		s.out, s.outBytes = s.out+1, s.outBytes+len(packet)
		return v
	}
	pieces := fragment4(packet, mtu)
	packets, bytes := pieces.addTo(s.b, to.out)
	to.counters.fragmented.Add(1)
	s.out, s.outBytes = s.out+packets, s.outBytes+bytes
	return v
}

// flush hands on what has been added.
func (s *switchover) flush() {
	if s.b == nil {
		return
	}
	if len(s.b.Frames) > 0 {
		s.to.out.Put(s.b)
	}
	s.to.counters.sent(s.out, s.outBytes)
	s.b.Free()
	for _, v := range s.views[:s.n] {
		v.Release()
	}
	*s = switchover{}
}
