package netstack

import (
	"github.com/l2tpnet/l2tpnet/endpoint/link"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// A narrow is the way from the stack to a session whose MTU is smaller than that of
// the Router, which is all that the stack knows of. TCP is told by the maximum
// segment size; whatever is too long all the same is fragmented, even where the
// stack would rather be told: it is the host's own packet, and the host knows that
// this link needs it.
type narrow struct{ port *Port }

// synMax is the most that a packet with a SYN has in front of its data.
const synMax = header.IPv6MinimumSize + header.TCPHeaderMaximumSize

func (n narrow) Put(b *link.Batch) {
	p := n.port
	for i := range b.Frames {
		if size := b.Frames[i].Len(); size > p.mtu || size <= synMax {
			n.fit(b)
			return
		}
	}
	p.out.Put(b)
}

// fit is Put where there may be something to be changed.
func (n narrow) fit(b *link.Batch) {
	p := n.port
	fitting := link.NewBatch()
	defer fitting.Free()
	for i := range b.Frames {
		f := &b.Frames[i]
		if len(fitting.Frames) >= link.BatchMax {
			p.out.Put(fitting)
			fitting.Reset()
		}
		switch size := f.Len(); {
		case size > p.mtu:
			n.cut(fitting, f)
		case size <= synMax:
			head := fitting.Add(size, nil, nil).Head()
			f.AppendTo(head[:0])
			clampMSS(head, p.mtu)
		default:
			head := fitting.Add(len(f.Head()), f.Body, f.Tail).Head()
			copy(head, f.Head())
		}
	}
	if len(fitting.Frames) > 0 {
		p.out.Put(fitting)
	}
}

// cut adds the fragments of f to b, and counts what they are more than f.
func (n narrow) cut(b *link.Batch, f *link.Frame) {
	p, c := n.port, &n.port.counters
	whole := f.AppendTo(nil)
	var pieces fragments
	switch {
	case whole[0]>>4 == 6:
		pieces = fragment6(whole, p.mtu)
	case canFragment4(whole):
		pieces = fragment4(whole, p.mtu)
	default:
		// The stack has counted it as sent.
		c.packetsOut.Add(^uint64(0))
		c.bytesOut.Add(-uint64(len(whole)))
		c.tooLong.Add(1)
		return
	}
	packets, bytes := pieces.addTo(b, p.out)
	c.fragmented.Add(1)
	c.sent(packets-1, bytes-len(whole))
}
