package node

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"maps"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/l2tpnet/l2tpnet/netstack"
	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

const (
	echoFor       = 10 * time.Second // an echo request waits for its reply
	echoPerClient = 64               // requests that wait
	echoTotal     = 4096
)

// echoes are the echo requests of all clients. There is one socket for each
// version of IP, opened when the first request comes; requests have our identifier
// and a number of ours on it, and those of the client in the reply.
type echoes struct {
	listen func(v6 bool) (*echoSocket, error)

	reading sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	sockets [2]*echoSocket // IPv4, IPv6; nil: not opened yet
	lacking [2]error       // why there is none, for good
}

// An echoSocket is an ICMP socket.
type echoSocket struct {
	conn echoConn
	v6   bool
	raw  bool   // has everybody's replies: those with our identifier are ours
	id   uint16 // where raw; otherwise the system chooses one

	mu      sync.Mutex
	closed  bool
	next    uint16
	waiting map[uint16]*echoWait // by our number
}

type echoConn interface {
	ReadFrom(b []byte) (int, net.Addr, error)
	WriteTo(b []byte, to net.Addr) (int, error)
	Close() error
}

// An echoWait is a request that has been sent.
type echoWait struct {
	request *netstack.EchoRequest
	leave   func()
	timer   *time.Timer
}

// listenEcho opens a socket that needs no privilege, where the system allows it
// (on Linux: net.ipv4.ping_group_range), or one that does.
func listenEcho(v6 bool) (*echoSocket, error) {
	unprivileged, privileged, local := "udp4", "ip4:icmp", "0.0.0.0"
	if v6 {
		unprivileged, privileged, local = "udp6", "ip6:ipv6-icmp", "::"
	}
	conn, err := icmp.ListenPacket(unprivileged, local)
	if err == nil {
		return &echoSocket{conn: conn, v6: v6}, nil
	}
	conn, rawErr := icmp.ListenPacket(privileged, local)
	if rawErr != nil {
		return nil, errors.Join(err, rawErr)
	}
	// The filters only save work.
	if v6 {
		var f ipv6.ICMPFilter
		f.SetAll(true)
		f.Accept(ipv6.ICMPTypeEchoReply)
		conn.IPv6PacketConn().SetICMPFilter(&f)
	} else {
		var f ipv4.ICMPFilter
		f.SetAll(true)
		f.Accept(ipv4.ICMPTypeEchoReply)
		conn.IPv4PacketConn().SetICMPFilter(&f)
	}
	var id [2]byte
	rand.Read(id[:])
	return &echoSocket{conn: conn, v6: v6, raw: true, id: binary.BigEndian.Uint16(id[:])}, nil
}

// echo sends one request on. Nothing is said to the client when no reply comes, nor
// when it has too many requests under way.
func (e *Egress) ping(r *netstack.EchoRequest) {
	from, to := r.Source().Addr(), r.Destination()
	if e.prohibits(egressEcho, from, to) || e.Dialer != nil {
		r.Refuse(netstack.ErrProhibited)
		return
	}
	owner := e.state.owner(r.Port(), from)
	if err := e.enterEcho(owner); err != nil {
		e.limits(egressEcho, from, err)
		return
	}
	s, err := e.echoSocket(to.Addr().Is6())
	if err == nil {
		// Counted first: the reply may be there before send returns, which leaves.
		e.state.counts[egressEcho].opened.Add(1)
		if err = s.send(&echoWait{request: r, leave: func() { e.leaveEcho(owner) }}); err != nil {
			e.state.counts[egressEcho].opened.Add(^uint64(0))
		}
	} else {
		e.leaveEcho(owner)
	}
	if err != nil {
		e.fails(egressEcho, from, to, err)
		r.Refuse(err)
	}
}

func (e *Egress) enterEcho(owner egressOwner) error {
	s := &e.state
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.clients[owner]
	switch {
	case s.closed:
		return net.ErrClosed
	case c != nil && c.echoes >= echoPerClient || s.counts[egressEcho].open.Load() >= echoTotal:
		return errors.New("too many echo requests wait for their replies")
	case c == nil:
		c = newEgressClient()
		s.clients[owner] = c
	}
	c.echoes++
	s.counts[egressEcho].open.Add(1)
	return nil
}

func (e *Egress) leaveEcho(owner egressOwner) {
	s := &e.state
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts[egressEcho].open.Add(-1)
	c := s.clients[owner]
	if c.echoes--; c.idle() {
		delete(s.clients, owner)
	}
}

// echoSocket is the socket for a version of IP. Its error is for the client.
func (e *Egress) echoSocket(v6 bool) (*echoSocket, error) {
	es, which := &e.state.echo, 0
	if v6 {
		which = 1
	}
	es.mu.Lock()
	defer es.mu.Unlock()
	switch {
	case es.closed:
		return nil, net.ErrClosed
	case es.sockets[which] != nil:
		return es.sockets[which], nil
	case es.lacking[which] != nil:
		return nil, es.lacking[which]
	}
	s, err := es.listen(v6)
	switch {
	case err == nil:
		s.waiting = make(map[uint16]*echoWait)
		es.sockets[which] = s
		es.reading.Go(s.read)
		return s, nil
	case isScarce(err):
		return nil, err // perhaps not the next time
	case errors.Is(err, syscall.EAFNOSUPPORT) || errors.Is(err, syscall.EADDRNOTAVAIL):
		es.lacking[which] = syscall.ENETUNREACH
		return nil, es.lacking[which]
	case es.lacking[1-which] != netstack.ErrProhibited: // told once
		e.state.log.Warn("the system gives no ICMP sockets: clients' echo requests are refused as prohibited (on Linux net.ipv4.ping_group_range allows them)", "error", err)
	}
	es.lacking[which] = netstack.ErrProhibited
	return nil, es.lacking[which]
}

func (e *Egress) closeEcho() {
	es := &e.state.echo
	es.mu.Lock()
	es.closed = true
	for _, s := range es.sockets {
		if s != nil {
			s.conn.Close()
		}
	}
	es.mu.Unlock()
	es.reading.Wait()
}

// send sends a request, which waits for its reply from then on.
func (s *echoSocket) send(w *echoWait) error {
	r := w.request
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		w.leave()
		return net.ErrClosed
	}
	for s.next++; s.waiting[s.next] != nil; s.next++ {
	}
	number := s.next
	s.waiting[number] = w
	w.timer = time.AfterFunc(echoFor, func() { s.take(number, w) })
	s.mu.Unlock()

	m := icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{ID: int(s.id), Seq: int(number), Data: r.Payload}}
	if s.v6 {
		m.Type = ipv6.ICMPTypeEchoRequest // whose checksum is the system's
	}
	b, err := m.Marshal(nil)
	if err != nil {
		panic("BUG: node: an echo request that cannot be written: " + err.Error())
	}
	r.Payload = nil // may be long, and is not needed
	ip := r.Destination().Addr().AsSlice()
	var to net.Addr = &net.UDPAddr{IP: ip}
	if s.raw {
		to = &net.IPAddr{IP: ip}
	}
	if _, err = s.conn.WriteTo(b, to); err != nil && s.take(number, w) {
		return err
	}
	return nil
}

// take ends a wait. It is false when that has been done.
func (s *echoSocket) take(number uint16, w *echoWait) bool {
	s.mu.Lock()
	there := s.waiting[number] == w
	if there {
		delete(s.waiting, number)
	}
	s.mu.Unlock()
	if there {
		w.timer.Stop()
		w.leave()
	}
	return there
}

// read gives the replies to those who wait for them, until the socket is closed.
func (s *echoSocket) read() {
	b := make([]byte, 65535)
	for {
		n, from, err := s.conn.ReadFrom(b)
		switch {
		case errors.Is(err, net.ErrClosed):
			s.end()
			return
		case err != nil:
			time.Sleep(echoPause)
		default:
			s.reply(b[:n], from)
		}
	}
}

// echoPause is between reads that fail.
const echoPause = 100 * time.Millisecond

// reply gives a message to whom it is for, if anybody: only the host that was asked
// can answer.
func (s *echoSocket) reply(m []byte, from net.Addr) {
	const headerLen = 8
	want := byte(0) // RFC 792
	if s.v6 {
		want = 129 // RFC 4443 §4.2
	}
	if len(m) < headerLen || m[0] != want || m[1] != 0 || s.raw && binary.BigEndian.Uint16(m[4:]) != s.id {
		return
	}
	number := binary.BigEndian.Uint16(m[6:])
	s.mu.Lock()
	w := s.waiting[number]
	s.mu.Unlock()
	if w == nil || ipOf(from) != w.request.Destination().Addr() || !s.take(number, w) {
		return
	}
	w.request.Reply(m[headerLen:])
}

func (s *echoSocket) end() {
	s.mu.Lock()
	s.closed = true
	waiting := maps.Clone(s.waiting)
	s.mu.Unlock()
	for number, w := range waiting {
		s.take(number, w)
	}
}

func ipOf(a net.Addr) netip.Addr {
	var ip net.IP
	switch a := a.(type) {
	case *net.UDPAddr:
		ip = a.IP
	case *net.IPAddr:
		ip = a.IP
	}
	addr, _ := netip.AddrFromSlice(ip)
	return addr.Unmap()
}
