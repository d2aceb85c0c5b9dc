package netstack

import (
	"sync/atomic"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/link"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// A narrow is the way from a stack to a session whose MTU may be smaller than what the
// stack has reckoned with: that of the Router, which is all that it knows of, or what
// the session had when a connection began. TCP is told by the maximum segment size,
// and connections that stand by an ICMP error, as from a router. Whatever is too long
// all the same is fragmented, even where the stack would rather be told: it is the
// host's own packet, and the host knows that this link needs it.
type narrow struct {
	out      link.Sink
	back     link.Sink // of what comes in from the session
	counters *counters
	most     uint32        // what the stack reckons with, at most
	mtu      atomic.Uint32 // the session's; never 0
	hints    pacer
}

// ICMP errors to the stack: each connection needs one.
const (
	hintInterval = 10 * time.Millisecond
	hintBurst    = 10
)

// synMax is the most that a packet with a SYN has in front of its data.
const synMax = header.IPv6MinimumSize + header.TCPHeaderMaximumSize

func (n *narrow) Put(b *link.Batch) {
	mtu := n.mtu.Load()
	if mtu >= n.most {
		n.out.Put(b)
		return
	}
	for i := range b.Frames {
		if size := b.Frames[i].Len(); size > int(mtu) || size <= synMax {
			n.fit(b, int(mtu))
			return
		}
	}
	n.out.Put(b)
}

// fit is Put where there may be something to be changed.
func (n *narrow) fit(b *link.Batch, mtu int) {
	fitting := link.NewBatch()
	defer fitting.Free()
	for i := range b.Frames {
		f := &b.Frames[i]
		if len(fitting.Frames) >= link.BatchMax {
			n.out.Put(fitting)
			fitting.Reset()
		}
		switch size := f.Len(); {
		case size > mtu:
			n.cut(fitting, f, mtu)
		case size <= synMax:
			head := fitting.Add(size, nil, nil).Head()
			f.AppendTo(head[:0])
			clampMSS(head, mtu)
		default:
			head := fitting.Add(len(f.Head()), f.Body, f.Tail).Head()
			copy(head, f.Head())
		}
	}
	if len(fitting.Frames) > 0 {
		n.out.Put(fitting)
	}
}

// cut adds the fragments of f to b, and counts what they are more than f.
func (n *narrow) cut(b *link.Batch, f *link.Frame, mtu int) {
	c := n.counters
	whole := f.AppendTo(nil)
	n.hint(whole, mtu)
	var pieces fragments
	switch {
	case whole[0]>>4 == 6:
		pieces = fragment6(whole, mtu)
	case canFragment4(whole):
		pieces = fragment4(whole, mtu)
	default:
		// The stack has counted it as sent.
		c.packetsOut.Add(^uint64(0))
		c.bytesOut.Add(-uint64(len(whole)))
		c.tooLong.Add(1)
		return
	}
	packets, bytes := pieces.addTo(b, n.out)
	c.fragmented.Add(1)
	c.sent(packets-1, bytes-len(whole))
}

// hint tells the stack that a TCP segment of its own was too long, so that the next
// ones are not: by the ICMP error that a router would send (RFC 1191 §4, RFC 4443
// §3.2), in the name of the far end. Who sends holds the connection's lock, which who
// takes the error wants: it comes in on a goroutine of its own.
func (n *narrow) hint(packet []byte, mtu int) {
	if segment, _ := tcpOf(packet, mtu); segment == nil || !n.hints.allow(time.Now(), hintInterval, hintBurst) {
		return
	}
	var message []byte
	if packet[0]>>4 == 4 {
		h := header.IPv4(packet)
		message = icmpError4(h.DestinationAddress(), h, header.ICMPv4DstUnreachable, header.ICMPv4FragmentationNeeded, uint32(mtu), complaintMax4)
	} else {
		h := header.IPv6(packet)
		message = icmpError6(h.DestinationAddress(), h, header.ICMPv6PacketTooBig, uint32(mtu))
	}
	go putWhole(n.back, [][]byte{message}, len(message))
}
