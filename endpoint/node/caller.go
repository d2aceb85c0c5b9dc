package node

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint"
	"github.com/l2tpnet/l2tpnet/netstack"
)

// A caller is a session that is routed.
type caller struct {
	server  *Server
	session *endpoint.Session
	grant   *grant
	port    *netstack.Port
	shows   ServerSession // but its traffic
	leaving sync.Once

	up, over chan struct{} // closed when Events has been told that it is
}

// A ServerSession is one caller's session.
type ServerSession struct {
	User       string         // as it was authenticated: it may hold anything that a caller can send
	Peer       netip.AddrPort // where its tunnel comes from
	Address    netip.Addr     // IPv4. The zero value: the caller has none
	Prefix     netip.Prefix   // IPv6, that is advertised to it. Zero: none
	Delegated  netip.Prefix   // IPv6, that it gets if it asks. Zero: none
	Routes     []netip.Prefix // networks behind it
	MTU        int            // bytes of an IP packet
	Encryption string         // "none", "MPPE 128 bit"
	Since      time.Time      // when it was routed
	Traffic    endpoint.Traffic
}

// A ServerEvent is a session that is up, or over.
type ServerEvent struct {
	Up      bool
	Session ServerSession
	// Err is why the session is over: net.ErrClosed when it was closed here,
	// [ErrReplaced], or as of [endpoint.Session.Err]. Nil when it is up.
	Err error
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

// join routes a session, in the place of those that have to give way.
func (s *Server) join(session *endpoint.Session) {
	lease, ok := session.Lease()
	g, _ := lease.Owner.(*grant)
	if !ok || !s.addresses.keep(g) {
		return // it is over already
	}
	c := s.newCaller(session, g)
	before, err := c.enter()
	if err != nil {
		s.addresses.drop(g)
		s.log.Error("a session cannot be routed", "user", c.shows.User, "error", err)
		session.Close()
		return
	}
	session.Attach(c.port)
	// No goroutine waits for the end: it would cost as much as what it waits for.
	session.AfterDone(func() { c.leave(session.Err()) })
	if !s.mayCall(c.shows.User) { // by what SetUsers, which did not see the session yet, has set
		s.running.Go(func() { session.Close() })
	}
	// Whoever is told, and takes his time, keeps no packet waiting.
	for _, old := range before {
		<-old.over
	}
	s.tell(ServerEvent{Up: true, Session: c.shows})
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

func (s *Server) newCaller(session *endpoint.Session, g *grant) *caller {
	c := &caller{server: s, session: session, grant: g, up: make(chan struct{}), over: make(chan struct{})}
	status := session.Status()
	c.shows = ServerSession{
		User: g.user.Name, Peer: session.Tunnel().Peer(), Address: session.PeerAddress(), Routes: g.user.Routes,
		MTU: status.MTU, Encryption: status.Encryption, Since: time.Now(),
	}
	if status.LinkLocal.IsValid() {
		c.shows.Prefix, c.shows.Delegated = g.prefix, g.delegated
	}
	return c
}

// owns are all that is routed to the caller.
func (c *caller) owns() []netip.Prefix {
	list := c.grant.routes(c.shows.Address.IsValid())
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
	if old := c.grant.before; old != nil {
		before, c.grant.before = append(before, old), nil
	}
	for _, old := range before {
		old.leave(ErrReplaced)
		s.running.Go(func() { old.session.Close() })
	}
	id, _ := c.session.InterfaceIDs()
	port, err := s.router.Attach(&netstack.PortConfig{
		Prefixes: c.grant.routes(c.shows.Address.IsValid()), MTU: c.shows.MTU, InterfaceID: id,
		Prefix: c.shows.Prefix, Delegated: c.shows.Delegated, DNS: s.addresses.dns6(),
	}, c.session)
	if err != nil {
		return before, err
	}
	c.port = port
	s.running.Add(1) // until it has left, which it may from here on
	s.mu.Lock()
	for _, p := range c.owns() {
		s.owners[p] = c
	}
	s.byUser[c.shows.User] = append(s.byUser[c.shows.User], c)
	s.mu.Unlock()
	return before, nil
}

// inTheWay are the callers that have what is fixed for the user of c, or of whom it
// has too many.
func (s *Server) inTheWay(c *caller) (list []*caller) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range c.grant.fixedParts {
		if old := s.owners[p]; old != nil && !slices.Contains(list, old) {
			list = append(list, old)
		}
	}
	if n := c.grant.user.sessions(); n > 0 {
		all := s.byUser[c.shows.User]
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
	if all, n := s.byUser[u.Name], u.sessions(); n > 0 && len(all) >= n {
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

// leave takes the session out of the routes, once.
func (c *caller) leave(why error) {
	c.leaving.Do(func() {
		s := c.server
		c.session.Attach(nil)
		c.port.Close()
		s.mu.Lock()
		for _, p := range c.owns() {
			if s.owners[p] == c {
				delete(s.owners, p)
			}
		}
		rest := slices.DeleteFunc(s.byUser[c.shows.User], func(o *caller) bool { return o == c })
		if s.byUser[c.shows.User] = rest; len(rest) == 0 {
			delete(s.byUser, c.shows.User)
		}
		s.mu.Unlock()
		s.addresses.drop(c.grant)
		s.log.Info("session ended", "user", c.shows.User, "address", c.shows.Address, "reason", why)
		gone := c.now()
		go func() {
			defer s.running.Done()
			<-c.up
			s.tell(ServerEvent{Session: gone, Err: why})
			close(c.over)
		}()
	})
}

// now is the session with its traffic so far.
func (c *caller) now() ServerSession {
	v := c.shows
	v.Traffic = c.session.Status().Traffic
	return v
}

func (s *Server) tell(e ServerEvent) {
	if s.Events == nil {
		return
	}
	s.telling.Lock()
	defer s.telling.Unlock()
	s.Events(e)
}

// ServerStatus is what a server is doing. It holds no secrets.
type ServerStatus struct {
	Endpoint endpoint.Status
	Sessions []ServerSession   // the oldest first
	Inside   netstack.Counters // of all sessions, those that are over as well
	PoolFree int               // IPv4 addresses
	DNS      []netip.Addr      // servers that sessions are told of
}

// Status is the server's; the zero value before Start.
func (s *Server) Status() (st ServerStatus) {
	if s.started() != nil {
		return st
	}
	for _, c := range s.callers() {
		st.Sessions = append(st.Sessions, c.now())
	}
	slices.SortFunc(st.Sessions, func(a, b ServerSession) int { return a.Since.Compare(b.Since) })
	st.Endpoint, st.Inside = s.endpoint.Status(), s.router.Counters()
	st.PoolFree, st.DNS = s.addresses.free(), s.addresses.dns
	return st
}

func (s *Server) callers() (list []*caller) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, of := range s.byUser {
		list = append(list, of...)
	}
	return list
}

// Disconnect closes the sessions that match says true of, and tells how many these
// are. It does not wait for their peers.
func (s *Server) Disconnect(match func(ServerSession) bool) (n int) {
	if s.started() != nil {
		return 0
	}
	for _, c := range s.callers() {
		if !match(c.now()) {
			continue
		}
		n++
		s.background(func() { c.session.Close() })
	}
	return n
}

// background runs something that Close waits for.
func (s *Server) background(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == serverUp {
		s.running.Go(f)
	}
}
