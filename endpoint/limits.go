package endpoint

import (
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

// Limits are what an endpoint that answers spends on its peers, above all on those
// that it knows nothing of: anybody can send an SCCRQ in anybody's name. In each
// field zero is the default, and what is negative turns the limit off, as far as
// the protocol goes: there are 60,000 tunnel ids. What a limit refuses is counted
// in [Counters].
//
// A tunnel is half-open from its SCCRQ, which is answered and kept in a record of
// at most 512 bytes, until its SCCCN has proved that somebody is at that address,
// and knows the secret if there is one. Only then there is a [Tunnel].
type Limits struct {
	// Tunnels bounds the tunnels that stand at once. 1,024 by default. Where there is no
	// tunnel secret one without an authenticated session goes, when it is ten seconds
	// old, for another that is opened.
	Tunnels int
	// Sessions bounds the sessions of one tunnel that its peer opens, and
	// UnauthenticatedSessions those of them whose callers have not proved yet who
	// they are. 64 and 8 by default. What is above is refused by a CDN.
	Sessions, UnauthenticatedSessions int
	// HalfOpen is how many half-open tunnels there are before the endpoint is under
	// load. Then an SCCRQ that was not seen before is only remembered, in 2 MiB for
	// all of them, and gets its record when it comes again 0.5 to 16 seconds later,
	// as an honest peer's does. 256 by default.
	HalfOpen int
	// HalfOpenMax bounds the half-open tunnels under load; then the oldest goes for
	// a new one. At most so many SCCRQs are answered in a second, so that a record
	// stands for a second at least; those that have come again more often come
	// first. 4,096 by default, 32,768 at most.
	HalfOpenMax int
	// HalfOpenPerSource bounds the half-open tunnels of one source, an IPv4 address
	// or an IPv6 /64. 5 by default.
	HalfOpenPerSource int
	// RatePerSource is how many SCCRQs a second are taken of one source, and Burst
	// how many at once. 20 and 5 by default.
	RatePerSource, Burst int
	// HalfOpenLifetime is the time that a peer has for its SCCCN, and
	// HalfOpenLifetimeLoaded what it has under load. 30 and 10 seconds by default.
	HalfOpenLifetime, HalfOpenLifetimeLoaded time.Duration
	// ReplyFactor bounds what is sent to an address that nothing has been proved of:
	// so many times the bytes that came from it. 3 by default.
	ReplyFactor int
	// PeerWindow is how much of a peer's receive window is made use of, and
	// SendQueue how many control messages may wait for a peer before its tunnel is
	// given up. 64 and 64 by default, 32,767 at most.
	PeerWindow, SendQueue int
	// DuplicateAcks is how often in a second a tunnel acknowledges messages that
	// come again. 10 by default.
	DuplicateAcks int
}

const (
	halfOpenMost = 1 << 15   // records; half of the tunnel ids
	sessionsMost = 1 << 15   // of a tunnel; half of the session ids
	messagesMost = 1<<15 - 1 // half of the sequence numbers
	unlimited    = 1 << 30
)

func (l Limits) withDefaults() Limits {
	l.Tunnels = limit(l.Tunnels, 1024, tunnelIDsMax)
	l.Sessions = limit(l.Sessions, 64, sessionsMost)
	l.UnauthenticatedSessions = limit(l.UnauthenticatedSessions, 8, sessionsMost)
	l.HalfOpenMax = limit(l.HalfOpenMax, 4096, halfOpenMost)
	l.HalfOpen = limit(l.HalfOpen, 256, halfOpenMost)
	l.HalfOpenPerSource = limit(l.HalfOpenPerSource, 5, halfOpenMost)
	l.RatePerSource = limit(l.RatePerSource, 20, unlimited)
	l.Burst = limit(l.Burst, 5, unlimited)
	l.HalfOpenLifetime = limit(l.HalfOpenLifetime, 30*time.Second, time.Hour)
	l.HalfOpenLifetimeLoaded = limit(l.HalfOpenLifetimeLoaded, 10*time.Second, l.HalfOpenLifetime)
	l.ReplyFactor = limit(l.ReplyFactor, 3, unlimited)
	l.PeerWindow = limit(l.PeerWindow, 64, messagesMost)
	l.SendQueue = limit(l.SendQueue, 64, messagesMost)
	l.DuplicateAcks = limit(l.DuplicateAcks, 10, 1000)
	return l
}

// limit gives zero its default, and to what is negative, or beyond it, the most.
func limit[T int | time.Duration](v, byDefault, most T) T {
	switch {
	case v == 0:
		return min(byDefault, most)
	case v < 0:
		return most
	}
	return min(v, most)
}

// refuseSession tells why a session that the peer opens may not be, if so. On the
// loop.
func (t *Tunnel) refuseSession() (r wire.Result, refused bool) {
	l := &t.ep.cfg.Answer.Limits
	calls, strangers := 0, 0
	for _, s := range *t.sessions.Load() {
		if !s.answer {
			continue
		}
		calls++
		if s.unauthenticated() {
			strangers++
		}
	}
	r = wire.Result{Code: wire.CallNoFacilities, Error: wire.ErrorResources}
	switch {
	case calls >= l.Sessions:
		t.ep.counters.sessionLimit.Add(1)
		r.Text = "too many sessions"
	case strangers >= l.UnauthenticatedSessions:
		t.ep.counters.unauthenticatedLimit.Add(1)
		r.Text = "too many sessions that are not authenticated yet"
	default:
		return r, false
	}
	return r, true
}

// unauthenticated tells of a call whether nothing is known of its caller yet. Where PPP
// passes as it is, nothing is until the call stands; then it is its owner's to judge.
func (s *Session) unauthenticated() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ppp == nil {
		return s.state != SessionUp
	}
	return s.ppp.user == "" && s.state != SessionConfiguring && s.state != SessionUp
}
