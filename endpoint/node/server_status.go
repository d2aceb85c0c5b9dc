package node

import (
	"net/netip"
	"slices"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint"
	"github.com/l2tpnet/l2tpnet/endpoint/bridge"
	"github.com/l2tpnet/l2tpnet/netstack"
)

// A ServerSession is one caller's session.
type ServerSession struct {
	Type        endpoint.PseudowireType // PPP in all of L2TPv2
	RemoteEndID string                  // the circuit that was asked for in L2TPv3: it may hold anything
	PeerName    string                  // how the peer calls itself: it may hold anything
	User        string                  // with PPP, as it was authenticated: it may hold anything that a caller can send
	Hosts       []ServerHost            // that have been heard, with Ethernet and VLAN
	Forged      uint64                  // frames with addresses of other clients, or ours, which were dropped, with Ethernet and VLAN and without ClientToClient

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

// A ServerEvent is a session that is up, or over, or whose client is better known.
type ServerEvent struct {
	Up      bool
	Session ServerSession
	// Host is the first one of an Ethernet or VLAN client's that has been leased an
	// address, some time after the session has come up; nil in all other events.
	Host *ServerHost
	// Err is why the session is over: net.ErrClosed when it was closed here,
	// [ErrReplaced], or as of [endpoint.Session.Err]. Nil when it is up.
	Err error
}

// now is the session with its traffic so far.
func (c *caller) now() ServerSession {
	v := c.shows
	v.Traffic = c.session.Status().Traffic
	if c.guard != nil {
		v.Forged = c.guard.forged.Load()
	}
	return v
}

// tell tells of a caller, until it has been told that it is over.
func (s *Server) tell(c *caller, e ServerEvent) {
	if s.Events == nil {
		return
	}
	s.telling.Lock()
	defer s.telling.Unlock()
	if c.told {
		return
	}
	c.told = !e.Up
	s.Events(e)
}

// ServerStatus is what a server is doing. It holds no secrets.
type ServerStatus struct {
	Endpoint endpoint.Status
	Sessions []ServerSession   // the oldest first
	Inside   netstack.Counters // of all sessions, those that are over as well
	PoolFree int               // IPv4 addresses
	DNS      []netip.Addr      // servers that sessions are told of
	LAN      *LANStatus        // nil: none
}

// Status is the server's; the zero value before Start.
func (s *Server) Status() (st ServerStatus) {
	if s.started() != nil {
		return st
	}
	var hosts map[*bridge.Port][]ServerHost
	if s.segment != nil {
		hosts = s.segment.hosts(s.segment.bridge.Stations())
	}
	for _, c := range s.callers() {
		v := c.now()
		v.Hosts = hosts[c.plug]
		st.Sessions = append(st.Sessions, v)
	}
	slices.SortFunc(st.Sessions, func(a, b ServerSession) int { return a.Since.Compare(b.Since) })
	st.Endpoint, st.Inside = s.endpoint.Status(), s.router.Counters()
	st.PoolFree, st.DNS = s.addresses.free(), s.addresses.dns
	if s.segment != nil {
		st.LAN = new(s.segment.lan.status())
	}
	return st
}

func (s *Server) callers() (list []*caller) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, of := range s.byKey {
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
