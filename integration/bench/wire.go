//go:build linux

package main

import (
	"net"
	"os"
	"sync"
	"time"
)

const (
	oneWay    = 20 * time.Millisecond
	lossEach  = 1000 // of so many full datagrams one is lost
	full      = 600  // bytes from which on a datagram is not an ACK
	queueMost = 1 << 16
	inboxMost = 1 << 12
)

// A wire is one direction of the lossy network: datagrams come out in their order, each when it is due.
type wire struct {
	seed    uint64
	deliver func([]byte)
	wake    chan struct{} // that the queue is not empty any more
	done    chan struct{}
	ended   chan struct{}

	mu     sync.Mutex
	queue  []due
	number uint64 // of full datagrams so far
}

type due struct {
	at       time.Time
	datagram []byte
}

func newWire(seed uint64, deliver func([]byte)) *wire {
	w := &wire{seed: seed, deliver: deliver, wake: make(chan struct{}, 1), done: make(chan struct{}), ended: make(chan struct{})}
	go w.run()
	return w
}

// send keeps b.
func (w *wire) send(b []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(b) >= full {
		w.number++
		if mixed(w.seed, w.number)%lossEach == 0 {
			return
		}
	}
	if len(w.queue) == queueMost {
		return
	}
	w.queue = append(w.queue, due{time.Now().Add(oneWay), b})
	if len(w.queue) == 1 {
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}

// mixed makes a number of two, by which nothing can be told of them (the finalizer of SplitMix64).
func mixed(seed, n uint64) uint64 {
	z := seed*0x9e3779b97f4a7c15 + n*0xd1342543de82ef95
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

func (w *wire) run() {
	defer close(w.ended)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-w.wake:
		case <-w.done:
			return
		}
		now := time.Now()
		w.mu.Lock()
		n := 0
		for n < len(w.queue) && !w.queue[n].at.After(now) {
			n++
		}
		ready := w.queue[:n:n]
		if w.queue = w.queue[n:]; len(w.queue) > 0 {
			timer.Reset(w.queue[0].at.Sub(now))
		}
		w.mu.Unlock()
		for _, d := range ready {
			w.deliver(d.datagram)
		}
	}
}

func (w *wire) close() error {
	close(w.done)
	<-w.ended
	return nil
}

// A socket is a net.PacketConn at one end of two wires.
type socket struct {
	address *net.UDPAddr
	out     *wire
	in      chan received
	closed  chan struct{}
	closing sync.Once
}

type received struct {
	datagram []byte
	from     *net.UDPAddr
}

func newSocket(address string) *socket {
	a, err := net.ResolveUDPAddr("udp", address)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return &socket{address: a, in: make(chan received, inboxMost), closed: make(chan struct{})}
}

// take puts a datagram where it is read from.
func (s *socket) take(b []byte, from *net.UDPAddr) {
	select {
	case s.in <- received{b, from}:
	case <-s.closed:
	}
}

func (s *socket) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case r := <-s.in:
		return copy(b, r.datagram), r.from, nil
	case <-s.closed:
		return 0, nil, net.ErrClosed
	}
}

func (s *socket) WriteTo(b []byte, _ net.Addr) (int, error) {
	s.out.send(append([]byte(nil), b...))
	return len(b), nil
}

func (s *socket) Close() error {
	s.closing.Do(func() { close(s.closed) })
	return nil
}

func (s *socket) LocalAddr() net.Addr              { return s.address }
func (s *socket) SetDeadline(time.Time) error      { return os.ErrNoDeadline }
func (s *socket) SetReadDeadline(time.Time) error  { return os.ErrNoDeadline }
func (s *socket) SetWriteDeadline(time.Time) error { return os.ErrNoDeadline }
