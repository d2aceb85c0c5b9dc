package node

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint"
)

// A hubSocket is what some ports of a hub have in common: a UDP socket, which is opened
// again when it fails, and the control connections through it.
type hubSocket struct {
	hub   *Hub
	local string         // as it was configured, but with the port that was chosen
	conn  net.PacketConn // the user's, who alone can open another one; nil: the hub's
	ports []*hubPort

	mu     sync.Mutex
	ep     *endpoint.Endpoint // that is open, or was last
	trunks map[netip.AddrPort]*hubTrunk
}

func (s *hubSocket) endpoint() *endpoint.Endpoint {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ep
}

// open opens the socket.
func (s *hubSocket) open() (err error) {
	h := s.hub
	cfg := &endpoint.Config{Logger: h.log, Rand: h.Rand, HostName: h.HostName, Answer: s.answer()}
	conn := s.conn
	if conn == nil && h.Socket != nil {
		if conn, err = h.Socket(s.local); err != nil {
			return err
		}
	}
	var ep *endpoint.Endpoint
	if conn == nil {
		ep, err = endpoint.Listen("udp", s.local, cfg)
	} else if ep, err = endpoint.New(conn, cfg); err != nil {
		conn.Close()
	}
	if err != nil {
		return err
	}
	if _, port, err := net.SplitHostPort(s.local); err == nil && port == "0" {
		s.local = ep.Addr().String() // where the others will look for us
	}
	s.mu.Lock()
	s.ep, s.trunks = ep, map[netip.AddrPort]*hubTrunk{}
	s.mu.Unlock()
	return nil
}

// run has the socket opened again whenever it fails, until the hub ends.
func (s *hubSocket) run() {
	h := s.hub
	for {
		ep := s.endpoint()
		if s.answers() {
			h.running.Go(func() { s.accept(ep) })
		}
		select {
		case <-ep.Done():
		case <-h.life.Done():
			return
		}
		if s.conn != nil {
			go h.end(ep.Err())
			return
		}
		if r := h.recording.Load(); r != nil {
			r.closed(ep)
		}
		h.log.Warn("a socket has failed, and is opened again", "local", s.local, "error", ep.Err())
		if !h.retry(s.open, func(err error, next time.Time) {
			h.log.Warn("the socket cannot be opened", "local", s.local, "error", err, "next", until(next))
			s.static(func(p *hubPort) { p.lacks(PortFailed, err, next) })
		}) {
			return
		}
		if err := h.record(s.endpoint()); err != nil {
			h.log.Warn("the socket is not captured", "local", s.local, "error", err)
		}
		s.static(func(p *hubPort) {
			h.running.Go(func() {
				h.retry(func() error {
					_, err := p.openStatic(h.life)
					return err
				}, func(err error, next time.Time) { p.lacks(PortFailed, err, next) })
			})
		})
	}
}

// static calls f for the ports that are.
func (s *hubSocket) static(f func(*hubPort)) {
	for _, p := range s.ports {
		if p.pseudowire == nil {
			f(p)
		}
	}
}

// retry calls f until it does not fail, which it reports, or the hub ends. After a failure,
// which failed is told, it waits longer each time.
func (h *Hub) retry(f func() error, failed func(err error, next time.Time)) bool {
	for pause := backoffMin; ; pause = min(2*pause, backoffMax) {
		err := f()
		if err == nil {
			return true
		}
		wait := pause/2 + rand.N(pause/2)
		failed(err, time.Now().Add(wait))
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-h.life.Done():
			timer.Stop()
			return false
		}
	}
}

// hubSockets are those that the ports want, by their addresses.
func (h *Hub) hubSockets() (all []*hubSocket, err error) {
	at := map[string]*hubSocket{}
	add := func(local string, conn net.PacketConn) *hubSocket {
		s := at[local]
		if s == nil {
			s = &hubSocket{hub: h, local: local, conn: conn}
			at[local] = s
			all = append(all, s)
		}
		return s
	}
	if h.Conn != nil {
		add(h.local(""), h.Conn)
	}
	for i := range h.Ports {
		p, err := newHubPort(h, i)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", h.name(i), err)
		}
		p.socket = add(h.local(p.Local), nil)
		p.socket.ports = append(p.socket.ports, p)
		h.ports = append(h.ports, p)
	}
	return all, nil
}

// local is the address of a port's socket.
func (h *Hub) local(of string) string {
	return cmp.Or(of, h.Local, fmt.Sprintf(":%d", endpoint.DefaultPort))
}
