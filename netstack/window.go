package netstack

import (
	"sync/atomic"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

const (
	// windowDefault is what the sockets of package endpoint ask for.
	windowDefault = 4 << 20

	// windowLeast is the buffer of a connection however many there are: half of it
	// is the window, about twenty segments.
	windowLeast = 64 << 10

	// A connection is busy that has received busyBytes in a busyPeriod: 5 Mbit/s. One
	// that has not needs no window to speak of, and takes none from the others.
	busyPeriod = 100 * time.Millisecond
	busyBytes  = 64 << 10
)

// windows shares out what the socket below holds among the TCP connections of a
// Stack, and of its Forwarder: what all of them invite their peers to send at once
// must not overrun the socket, or most of it is sent again. It takes the place of
// gVisor's own tuning of receive buffers, which knows one connection only, and no
// bound but the one from which the scale of a window follows for good (RFC 7323
// §2.2).
//
// There is no list of connections: each counts itself when it turns out to be busy,
// and looks what its share is, whenever it is read from.
type windows struct {
	total  atomic.Int64 // of all windows, in bytes
	period atomic.Int64 // the present one's number
	busy   atomic.Int64 // connections that are, in the present period
	before atomic.Int64 // and that were in the last one
}

// A windowShare is what one connection knows of its part. It belongs to who reads.
type windowShare struct {
	most int64 // that the buffer may ever have, in bytes

	period int64 // the last one in which there was something to read
	bytes  int   // of that

	since  time.Time // the buffer has been looked at, and
	got    int       // so many bytes have been read
	wanted int64     // what the buffer would be if it were alone
}

// SetReceiveWindow bounds how many bytes all TCP connections of the stack, and of
// its Router's Forwarder, together invite their peers to have on the way: what the
// socket holds that they are read from (endpoint.Status.ReceiveBuffer). The system's
// overhead is in there too, but that of datagrams which come as one is small, and to
// read goes on meanwhile: with half of it, small sockets were half as fast. It counts for
// connections that there are as well; those receive buffers shrink that are
// larger, and grow again when there are fewer busy connections. Without it, with 0,
// and with more it is 4 MiB.
func (s *Stack) SetReceiveWindow(bytes int) {
	if bytes <= 0 || bytes > windowDefault {
		bytes = windowDefault
	}
	s.windows.total.Store(int64(bytes))
	s.beginWith(s.gv, tcpBuffer, tcpBufferMax)
	for _, x := range s.snapshot() {
		if r, ok := x.(*Router); ok && r.forward != nil {
			s.beginWith(r.forward.gv, forwardBuffer, forwardBufferMax)
		}
	}
}

// beginWith has the connections of a gVisor stack begin with a quarter of what one
// alone may have, and no more than buffer: some may begin at once.
func (s *Stack) beginWith(gv *stack.Stack, buffer, most int) {
	first := min(buffer, max(windowLeast, int(s.windows.total.Load()/2)))
	receive := tcpip.TCPReceiveBufferSizeRangeOption{Min: tcp.MinBufferSize, Default: first, Max: most}
	if terr := gv.SetTransportProtocolOption(tcp.ProtocolNumber, &receive); terr != nil {
		panic("BUG: netstack: " + terr.String())
	}
}

// limit is the receive buffer that each connection may have. gVisor advertises half
// of it.
func (w *windows) limit() int64 {
	busy := max(1, w.busy.Load(), w.before.Load())
	return max(windowLeast, 2*w.total.Load()/busy)
}

// turn begins the period that now is in, unless it has begun.
func (w *windows) turn(now time.Time) (period int64) {
	period = now.UnixNano() / int64(busyPeriod)
	was := w.period.Load()
	if period > was && w.period.CompareAndSwap(was, period) {
		busy := w.busy.Swap(0)
		if period > was+1 {
			busy = 0 // that was long ago
		}
		w.before.Store(busy)
	}
	return period
}

// received accounts for n bytes that have been read, and returns what the size of
// the buffer has to be. A connection that could use up half of its window between a
// byte and its acknowledgement gets twice as much.
func (w *windows) received(c *windowShare, n int, size int64, now time.Time, roundTrip func() time.Duration) int64 {
	if period := w.turn(now); period != c.period {
		c.period, c.bytes = period, 0
	}
	if c.bytes < busyBytes && c.bytes+n >= busyBytes {
		w.busy.Add(1)
	}
	c.bytes += n
	c.got += n
	c.wanted = max(c.wanted, size)
	if took := now.Sub(c.since); took >= busyPeriod {
		// Shorter ones are not worth while to tell apart, and grow under load.
		trip := max(busyPeriod, roundTrip())
		if took >= trip {
			if float64(c.got)*float64(trip)/float64(took) >= float64(size/2/2) {
				c.wanted = max(c.wanted, min(2*size, c.most))
			}
			c.since, c.got = now, 0
		}
	}
	return min(c.wanted, w.limit())
}

// moderate adapts the receive buffer to n bytes having been read. A buffer that
// shrinks takes no window back that the peer has been promised: that ends where it
// did, and does not move on for a while.
func (c *tcpConn) moderate(n int) {
	o := c.ep.SocketOptions()
	size := o.GetReceiveBufferSize()
	if is := c.windows.received(&c.share, n, size, time.Now(), c.roundTrip); is != size {
		o.SetReceiveBufferSize(is, true) // a peer that waits for a window is told of it
	}
}

// roundTrip is what gVisor has measured, when there was something to measure: for one
// who only receives, that is the handshake.
func (c *tcpConn) roundTrip() time.Duration {
	var info tcpip.TCPInfoOption
	if c.ep.GetSockOpt(&info) != nil {
		return 0
	}
	return info.RTT
}
