package node

import (
	"cmp"
	"context"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/l2tpnet/l2tpnet/endpoint"
	"github.com/l2tpnet/l2tpnet/endpoint/bridge"
	"github.com/l2tpnet/l2tpnet/endpoint/link"
	"github.com/l2tpnet/l2tpnet/netstack"
)

// A caller is a session that is routed, or a port of the LAN.
type caller struct {
	server  *Server
	session *endpoint.Session
	grant   *grant         // of PPP
	port    *netstack.Port // of PPP and IP
	circuit *Circuit       // of L2TPv3 without PPP
	plug    *bridge.Port   // of Ethernet and VLAN
	guard   *guard         // in front of it
	key     callerKey
	shows   ServerSession // but what changes
	leaving sync.Once
	first   atomic.Pointer[ServerHost] // that has been leased an address, in the LAN
	told    bool                       // that it is over; under Server.telling

	up, over chan struct{} // closed when Events has been told that it is
}

// A callerKey is what callers are counted by: a user, or a circuit.
type callerKey struct {
	user    string
	circuit *Circuit
}

// accept joins every session to the stack until the endpoint closes.
func (s *Server) accept() {
	for {
		session, err := s.endpoint.Accept(context.Background())
		if err != nil {
			s.stack.Fail(s.endpoint.Err()) // whoever waits inside waits in vain
			return
		}
		s.running.Go(func() { s.join(session) })
	}
}

// join takes a session in, in the place of those that have to give way.
func (s *Server) join(session *endpoint.Session) {
	c := s.newCaller(session)
	if c == nil {
		return // it is over already
	}
	before, err := c.enter()
	if err != nil {
		c.release()
		s.log.Error("a session cannot be taken in", "who", c.who(), "error", err)
		session.Close()
		return
	}
	session.Attach(c.sink())
	// No goroutine waits for the end: it would cost as much as what it waits for.
	session.AfterDone(func() { c.leave(session.Err()) })
	if c.grant != nil && !s.mayCall(c.shows.User) { // by what SetUsers, which did not see the session yet, has set
		s.running.Go(func() { session.Close() })
	}
	// Whoever is told, and takes his time, keeps no packet waiting.
	for _, old := range before {
		<-old.over
	}
	s.tell(c, ServerEvent{Up: true, Session: c.shows})
	close(c.up)
}

// mayCall tells whether there is a user who goes by the name.
func (s *Server) mayCall(name string) bool {
	if s.Authenticate != nil {
		return true // nobody else knows
	}
	users := *s.users.Load()
	if u, ok := users[name]; ok && (u.Name == "" || u.Name == name) {
		return true
	}
	for _, u := range users {
		if u.Name == name {
			return true
		}
	}
	return false
}

// newCaller is nil for a session that is over.
func (s *Server) newCaller(session *endpoint.Session) *caller {
	c := &caller{server: s, session: session, up: make(chan struct{}), over: make(chan struct{})}
	status, tunnel := session.Status(), session.Tunnel()
	c.shows = ServerSession{
		Type: session.Type(), RemoteEndID: status.RemoteEndID, PeerName: tunnel.PeerName(), Peer: tunnel.Peer(),
		MTU: status.MTU, Encryption: status.Encryption, Since: time.Now(),
	}
	if session.Type() != endpoint.PseudowirePPP {
		return c.ofCircuit()
	}
	lease, ok := session.Lease()
	g, _ := lease.Owner.(*grant)
	if !ok || !s.addresses.keep(g) {
		return nil
	}
	c.grant, c.key = g, callerKey{user: g.user.Name}
	c.shows.User, c.shows.Address, c.shows.Routes = g.user.Name, session.PeerAddress(), g.user.Routes
	if status.LinkLocal.IsValid() {
		c.shows.Prefix, c.shows.Delegated = g.prefix, g.delegated
	}
	return c
}

// release gives back what the caller has been given.
func (c *caller) release() {
	if c.grant != nil {
		c.server.addresses.drop(c.grant)
	}
}

// sink is where its frames go.
func (c *caller) sink() link.Sink {
	switch {
	case c.guard != nil:
		return c.guard
	case c.plug != nil:
		return c.plug
	}
	return c.port
}

// who is the caller, for the log.
func (c *caller) who() string {
	return shown(cmp.Or(c.shows.User, c.shows.RemoteEndID, c.shows.PeerName, c.shows.Peer.String()))
}

const shownMost = 128 // octets

// shown is a peer's text for the log: as it is when that does no harm, else quoted and cut.
func shown(text string) string {
	rest := ""
	if len(text) > shownMost {
		n := shownMost
		for n > shownMost-utf8.UTFMax && !utf8.RuneStart(text[n]) {
			n--
		}
		text, rest = text[:n], "…"
	}
	if q := strconv.Quote(text); rest != "" || q != `"`+text+`"` {
		return q + rest
	}
	return text
}

// routes are what it has without being told, and owns are all that is routed to it.
func (c *caller) routes() (list []netip.Prefix) {
	list = slices.Clone(c.shows.Routes)
	if c.shows.Address.IsValid() {
		list = append(list, netip.PrefixFrom(c.shows.Address, 32))
	}
	return list
}

func (c *caller) owns() []netip.Prefix {
	list := c.routes()
	for _, p := range []netip.Prefix{c.shows.Prefix, c.shows.Delegated} {
		if p.IsValid() {
			list = append(list, p)
		}
	}
	return list
}

// enter makes the place free and takes it. It returns those who had to leave.
func (c *caller) enter() (before []*caller, err error) {
	s := c.server
	s.joining.Lock()
	defer s.joining.Unlock()
	before = s.inTheWay(c)
	if c.grant != nil && c.grant.before != nil {
		before, c.grant.before = append(before, c.grant.before), nil
	}
	for _, old := range before {
		old.leave(ErrReplaced)
		s.running.Go(func() { old.session.Close() })
	}
	if err := c.connect(); err != nil {
		return before, err
	}
	s.running.Add(1) // until it has left, which it may from here on
	s.mu.Lock()
	for _, p := range c.owns() {
		s.owners[p] = c
	}
	s.byKey[c.key] = append(s.byKey[c.key], c)
	s.mu.Unlock()
	return before, nil
}

// connect joins the session to the router, or to the LAN.
func (c *caller) connect() (err error) {
	s := c.server
	if c.shows.ethernet() {
		return s.segment.plug(c)
	}
	id, _ := c.session.InterfaceIDs()
	if c.circuit != nil && !s.NoIPv6 && c.shows.MTU >= leastIPv6MTU {
		if _, err := io.ReadFull(s.random, id[:]); err != nil {
			return err
		}
	}
	c.port, err = s.router.Attach(&netstack.PortConfig{
		Prefixes: c.routes(), MTU: c.shows.MTU, InterfaceID: id,
		Prefix: c.shows.Prefix, Delegated: c.shows.Delegated, DNS: s.addresses.dns6(),
	}, c.session)
	return err
}

// bounds are what one caller alone can have, and how many there may be of its user or its
// circuit; 0: any number.
func (c *caller) bounds() (fixed []netip.Prefix, most int) {
	if c.circuit != nil {
		return c.circuit.user().fixed(), max(0, c.circuit.Sessions)
	}
	return c.grant.fixedParts, c.grant.user.sessions()
}

// inTheWay are the callers that have what is fixed for c, or of whom its user or circuit has
// too many.
func (s *Server) inTheWay(c *caller) (list []*caller) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fixed, n := c.bounds()
	for _, p := range fixed {
		if old := s.owners[p]; old != nil && !slices.Contains(list, old) {
			list = append(list, old)
		}
	}
	if n > 0 {
		all := s.byKey[c.key]
		for _, old := range all[:max(0, len(all)-n+1)] {
			if !slices.Contains(list, old) {
				list = append(list, old)
			}
		}
	}
	return list
}

// makeRoom ends the oldest session of a user who has as many as he may have, and who
// calls again while no address is free. It takes as long as the session's goodbye.
func (s *Server) makeRoom(u *User) *caller {
	s.mu.Lock()
	var oldest *caller
	if all, n := s.byKey[callerKey{user: u.Name}], u.sessions(); n > 0 && len(all) >= n {
		oldest = all[0]
	}
	s.mu.Unlock()
	if oldest == nil {
		return nil
	}
	oldest.leave(ErrReplaced)
	oldest.session.Close()
	return oldest
}

// leave takes the session out of the routes, or out of the LAN, once.
func (c *caller) leave(why error) {
	c.leaving.Do(func() {
		s := c.server
		c.session.Attach(nil)
		var hosts []ServerHost
		if c.plug != nil {
			hosts = s.segment.unplug(c)
		} else {
			c.port.Close()
		}
		s.mu.Lock()
		for _, p := range c.owns() {
			if s.owners[p] == c {
				delete(s.owners, p)
			}
		}
		rest := slices.DeleteFunc(s.byKey[c.key], func(o *caller) bool { return o == c })
		if s.byKey[c.key] = rest; len(rest) == 0 {
			delete(s.byKey, c.key)
		}
		s.mu.Unlock()
		c.release()
		s.log.Info("session ended", "who", c.who(), "address", c.shows.Address, "reason", why)
		gone := c.now()
		gone.Hosts = hosts
		go func() {
			defer s.running.Done()
			<-c.up
			s.tell(c, ServerEvent{Session: gone, Err: why})
			close(c.over)
		}()
	})
}
