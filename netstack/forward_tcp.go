package netstack

import (
	"context"
	"net"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// A TCPFlow is a connection that a client opens. Its SYN is not answered until
// the flow is accepted or refused, so that the client learns what became of it.
type TCPFlow struct {
	Flow
	request *tcp.ForwarderRequest
}

// handleTCP has the segments that belong to no connection. False: gVisor answers
// with a reset, where that is due.
func (w *forwarding) handleTCP(id stack.TransportEndpointID, pkt *stack.PacketBuffer) bool {
	if header.TCP(pkt.TransportHeader().Slice()).Flags()&(header.TCPFlagSyn|header.TCPFlagAck|header.TCPFlagRst) != header.TCPFlagSyn {
		return false
	}
	w.mu.Lock()
	if w.syns[id] != nil {
		w.mu.Unlock()
		return true // again, while we are at it
	}
	f := w.newFlow(tcpFlow, id, pkt)
	if f == nil {
		w.mu.Unlock()
		return true
	}
	t := &TCPFlow{Flow: *f}
	w.syns[id] = t
	w.mu.Unlock()
	if !w.tcp.HandlePacket(id, pkt) { // which calls opened, or finds the segment wanting
		w.decide(&t.Flow)
		w.forget(id)
		return false
	}
	return true
}

// opened is called on a goroutine of its own.
func (w *forwarding) opened(r *tcp.ForwarderRequest) {
	id := r.ID()
	w.mu.Lock()
	t := w.syns[id]
	w.mu.Unlock()
	if t == nil {
		panic("BUG: netstack: a SYN that nobody knows of")
	}
	t.request = r
	if w.TCP == nil {
		t.Refuse(ErrProhibited)
		return
	}
	w.TCP(t)
	w.finish(t, false)
}

// finish is the decision on a flow, with a reset or without. It is false when that has
// been made.
func (w *forwarding) finish(t *TCPFlow, reset bool) bool {
	if !w.decide(&t.Flow) {
		return false
	}
	// gVisor forgets the SYN before we do: one that came in between would be new to us
	// and old to it, and wait for ever.
	id := t.request.ID()
	t.request.Complete(reset)
	w.forget(id)
	return true
}

func (w *forwarding) forget(id stack.TransportEndpointID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.syns, id)
}

// Accept completes the client's handshake, once the far end has been connected.
// The conn is like those of [Stack.DialContext], and fails when the session ends.
// Accept fails when the client does not want the connection any more.
func (t *TCPFlow) Accept() (net.Conn, error) {
	c, err := t.accept()
	if err != nil {
		return nil, &net.OpError{Op: "accept", Net: "tcp", Source: tcpAddr(t.dst), Addr: tcpAddr(t.src), Err: t.because(err)}
	}
	return c, nil
}

func (t *TCPFlow) accept() (net.Conn, error) {
	wq := new(waiter.Queue)
	// gVisor waits for the handshake's end and for nothing else; but any event
	// makes it look whether the connection stands, and give up if it does not.
	over := make(chan struct{})
	defer close(over)
	ctx, cancel := context.WithTimeout(t.port.life, forwardHandshake)
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		tick := time.NewTicker(100 * time.Millisecond) // it may not have begun to wait
		defer tick.Stop()
		for {
			wq.Notify(waiter.WritableEvents)
			select {
			case <-over:
				return
			case <-tick.C:
			}
		}
	})
	defer stop()
	ep, terr := t.request.CreateEndpoint(wq)
	if !t.w.finish(t, false) {
		panic("BUG: netstack: a TCPFlow was accepted that had been decided on")
	}
	if terr != nil {
		if ctx.Err() != nil {
			return nil, contextError(ctx)
		}
		return nil, toError(terr)
	}
	if t.port.life.Err() != nil {
		ep.Abort()
		return nil, net.ErrClosed
	}
	c := newTCPConn(newSocket(ep, wq, t.port.life, "tcp"), &t.w.router.stack.windows, forwardBufferMax)
	c.local, c.remote = tcpAddr(t.dst), tcpAddr(t.src)
	return &forwardedTCP{c}, nil
}

// Refuse tells the client why it is not connected: by a reset where err is that
// the far end has refused (ECONNREFUSED), else by the ICMP error that fits: host
// or network unreachable, or prohibited ([ErrProhibited]).
func (t *TCPFlow) Refuse(err error) {
	why := refusalOf(err)
	reset := why == refused || !t.unreachable(why)
	t.w.finish(t, reset && t.port.life.Err() == nil)
}

// A forwardedTCP is a connection whose client may be hostile.
type forwardedTCP struct{ *tcpConn }

// Close is tcpConn's. What the client does not take is given up after a while: it
// counts as nobody's any more, and must not pile up.
func (c *forwardedTCP) Close() error {
	linger := tcpip.TCPUserTimeoutOption(forwardLinger)
	c.ep.SetSockOpt(&linger)
	return c.tcpConn.Close()
}
