package node

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"

	"github.com/l2tpnet/l2tpnet/netstack"
	"github.com/l2tpnet/l2tpnet/proxy"
)

// tcp carries one connection. It is opened to the far end before the client is
// answered.
func (e *Egress) tcp(t *netstack.TCPFlow) {
	from, to := t.Source().Addr(), t.Destination()
	if e.prohibits(egressTCP, from, to) {
		t.Refuse(netstack.ErrProhibited)
		return
	}
	f, err := e.enter(egressTCP, t.Context(), e.state.owner(t.Port(), t.Source().Addr()))
	if err != nil {
		e.limits(egressTCP, from, err)
		t.Refuse(netstack.ErrProhibited)
		return
	}
	defer f.leave()
	far, err := f.dial(from, to)
	f.dialled()
	if err != nil {
		t.Refuse(err)
		return
	}
	client, err := t.Accept()
	if err != nil {
		reset(far)
		return
	}
	log := e.state.log.With("client", t.Source(), "protocol", "tcp", "destination", to)
	log.Debug("egress opened", "local", far.LocalAddr())
	f.expires(longest(e.TCPIdle, defaultEgressTCPIdle))
	bytes := &e.state.bytes
	up, down, err := proxy.Splice(f.ctx, client, far, func(up, down int) {
		bytes.up.Add(uint64(up))
		bytes.down.Add(uint64(down))
		f.idle.touch()
	})
	log.Debug("egress ended", "up", up, "down", down, "error", err)
}

// dial connects a socket to the far end. Its errors have been counted.
func (f *egressFlow) dial(from netip.Addr, to netip.AddrPort) (net.Conn, error) {
	e := f.egress
	ctx, cancel := context.WithTimeout(f.ctx, longest(e.DialTimeout, defaultEgressDialTimeout))
	defer cancel()
	c, err := e.state.dialer.DialContext(ctx, f.kind.String(), to.String())
	if err != nil {
		e.fails(f.kind, from, to, err)
		return nil, err
	}
	// A host may have more addresses than its interfaces show. With whom it is
	// connected by the same address is itself.
	if e.Dialer == nil && sameAddress(c.LocalAddr(), c.RemoteAddr()) && !e.state.policy.listed(to) {
		reset(c)
		e.state.counts[f.kind].prohibited.Add(1)
		e.prohibited(f.kind, from, to, "is the host's own address")
		return nil, netstack.ErrProhibited
	}
	e.state.counts[f.kind].opened.Add(1)
	return c, nil
}

func sameAddress(a, b net.Addr) bool {
	x, err := netip.ParseAddrPort(a.String())
	y, err2 := netip.ParseAddrPort(b.String())
	return err == nil && err2 == nil && x.Addr() == y.Addr()
}

// reset closes a connection in a way that its far end can tell from an end in
// order.
func reset(c net.Conn) {
	if l, ok := c.(interface{ SetLinger(seconds int) error }); ok {
		l.SetLinger(0)
	}
	c.Close()
}

// udp carries one flow, until it has been idle, an error has come back or the
// session has ended.
func (e *Egress) udp(u *netstack.UDPFlow) {
	from, to := u.Source().Addr(), u.Destination()
	if e.prohibits(egressUDP, from, to) {
		u.Refuse(netstack.ErrProhibited)
		return
	}
	f, err := e.enter(egressUDP, u.Context(), e.state.owner(u.Port(), u.Source().Addr()))
	if err != nil {
		e.limits(egressUDP, from, err)
		u.Refuse(netstack.ErrProhibited)
		return
	}
	defer f.leave()
	far, err := f.dial(from, to)
	if err != nil {
		u.Refuse(err)
		return
	}
	client, err := u.Accept()
	if err != nil {
		far.Close()
		return
	}
	f.asksDNS = to.Port() == egressDNSPort
	f.expires(longest(e.UDPIdle, defaultEgressUDPIdle))
	log := e.state.log.With("client", u.Source(), "protocol", "udp", "destination", to)
	log.Debug("egress opened", "local", far.LocalAddr())
	stop := context.AfterFunc(f.ctx, func() {
		far.Close()
		client.Close()
	})
	defer stop()
	var up sync.WaitGroup
	up.Go(func() { // the first one says why
		_, err := client.(io.WriterTo).WriteTo(&farDatagrams{far, f})
		f.cancel(err)
	})
	f.cancel(f.answers(client, far))
	up.Wait()
	err = context.Cause(f.ctx)
	log.Debug("egress ended", "error", err)
	if unreachable(err) {
		e.fails(egressUDP, from, to, err)
		u.Refuse(err)
	}
}

// A farDatagrams sends datagrams to the far end. One that is too long for the way, or
// finds no room, is lost, as datagrams are.
type farDatagrams struct {
	net.Conn
	flow *egressFlow
}

func (d *farDatagrams) Write(b []byte) (int, error) {
	n, err := d.Conn.Write(b)
	switch {
	case errors.Is(err, syscall.EMSGSIZE) || errors.Is(err, syscall.ENOBUFS):
		return 0, nil
	case err != nil:
		return n, farError{err}
	}
	d.flow.moved(&d.flow.egress.state.bytes.up, n)
	return n, nil
}

// answers copies datagrams of the far end's to the client until something fails.
func (f *egressFlow) answers(client, far net.Conn) error {
	return readDatagrams(far, func(b []byte, err error) error {
		if err != nil {
			return farError{err}
		}
		f.moved(&f.egress.state.bytes.down, len(b))
		if f.asksDNS {
			f.idle.shorten(egressDNSIdle)
		}
		_, err = client.Write(b)
		return err
	})
}

// readHolding reads datagrams until use fails, with a buffer that it keeps.
func readHolding(c net.Conn, use func(b []byte, err error) error) error {
	b := datagrams.Get().(*[65535]byte)
	defer datagrams.Put(b)
	for {
		n, err := c.Read(b[:])
		if err = use(b[:n], err); err != nil {
			return err
		}
	}
}

// datagrams are what UDP is read into: the largest fits.
var datagrams = sync.Pool{New: func() any { return new([65535]byte) }}

// A farError is what the far end's socket failed with. (The client's own may
// fail, too, when the client refuses an answer.)
type farError struct{ error }

func (e farError) Unwrap() error { return e.error }

// unreachable tells whether a datagram did not reach the far end, which is for the
// client to know.
func unreachable(err error) bool {
	var far farError
	if !errors.As(err, &far) {
		return false
	}
	for _, e := range []error{syscall.ECONNREFUSED, syscall.EHOSTUNREACH, syscall.ENETUNREACH, os.ErrPermission} {
		if errors.Is(far, e) {
			return true
		}
	}
	return false
}
