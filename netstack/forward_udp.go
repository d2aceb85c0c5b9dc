package netstack

import (
	"io"
	"net"
	"sync"

	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// A UDPFlow is what a client sends from one address and port to another, and what
// is sent back.
type UDPFlow struct {
	Flow
	conn *udpConn
}

// handleUDP has the datagrams that belong to no flow.
func (w *forwarding) handleUDP(id stack.TransportEndpointID, pkt *stack.PacketBuffer) bool {
	w.mu.Lock()
	f := w.newFlow(udpFlow, id, pkt)
	w.mu.Unlock()
	if f == nil {
		return true
	}
	// The flow's endpoint has the datagrams that follow meanwhile.
	wq := new(waiter.Queue)
	ep, terr := udp.NewForwarderRequest(w.gv, id, pkt).CreateEndpoint(wq)
	if terr != nil {
		w.decide(f)
		return true // two of them, at once: the other one has it
	}
	c := &udpConn{socket: newSocket(ep, wq, f.port.life, "udp")}
	c.local, c.remote = udpAddr(f.dst), udpAddr(f.src)
	u := &UDPFlow{Flow: *f, conn: c}
	go func() {
		if w.UDP == nil {
			u.Refuse(ErrProhibited)
			return
		}
		w.UDP(u)
		if w.decide(&u.Flow) {
			c.Close()
		}
	}()
	return true
}

// Accept gives the flow's conn, from which the client's datagrams are read one by
// one, the first one included. It fails when the session ends. The conn is an
// [io.WriterTo], too, which makes a Write of each datagram.
func (u *UDPFlow) Accept() (net.Conn, error) {
	if !u.w.decide(&u.Flow) {
		panic("BUG: netstack: a UDPFlow was accepted that had been decided on")
	}
	return forwardedUDP{u.conn}, nil
}

// A forwardedUDP is the conn of a flow.
type forwardedUDP struct{ *udpConn }

// datagrams are what UDP is read into: the largest fits.
var datagrams = sync.Pool{New: func() any { return new([65535]byte) }}

// WriteTo writes each datagram to w until either fails. It has a buffer only while
// there is a datagram: flows are many, and mostly idle.
func (c forwardedUDP) WriteTo(w io.Writer) (n int64, err error) {
	for {
		if err := c.waitReadable(); err != nil {
			return n, err
		}
		b := datagrams.Get().(*[65535]byte)
		k, err := c.Read(b[:])
		if err == nil {
			k, err = w.Write(b[:k])
		}
		datagrams.Put(b)
		n += int64(k)
		if err != nil {
			return n, err
		}
	}
}

// waitReadable returns when Read has something to say.
func (c forwardedUDP) waitReadable() error {
	d := &c.rd
	d.mu.Lock()
	defer d.mu.Unlock()
	for c.ep.Readiness(waiter.ReadableEvents|waiter.EventErr|waiter.EventHUp) == 0 {
		if err := c.check(d); err != nil {
			return c.opError("read", err)
		}
		c.wait(d, nil)
	}
	return nil
}

// Refuse tells the client by an ICMP error that its datagram has not arrived: that
// the port is unreachable where err is that the far end has refused
// (ECONNREFUSED), that host or network are, or that it is prohibited
// ([ErrProhibited]). A flow that has been accepted is closed by that.
func (u *UDPFlow) Refuse(err error) {
	u.w.decide(&u.Flow)
	u.conn.Close()
	u.unreachable(refusalOf(err))
}
