package netstack

import (
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// How a lease is asked for (RFC 2131 §4.1, §4.4.5).
const (
	firstRetransmission = 4 * time.Second // "a 4-second wait … randomized by the value of a uniform random number chosen from the range -1 to +1"
	lastRetransmission  = 64 * time.Second
	maxRequests         = 4 // after which another server is looked for: a minute
	leastRenewal        = time.Minute
	declinePause        = 10 * time.Second // §3.1: "a minimum of ten seconds before restarting"
	refusedPause        = time.Second      // after a first NAK; twice as long after each that follows

	// RFC 5227 §1.1 asks for three probes, a second or two apart, when nobody is in a
	// hurry. On a tunnel somebody is, and there are few hosts.
	arpProbes     = 2
	arpProbeDelay = 300 * time.Millisecond

	defendInterval = 10 * time.Second // RFC 5227 §1.1

	// infiniteLease is a lease that does not end (RFC 2131 §3.3).
	infiniteLease = time.Duration(0xffffffff) * time.Second
	leastLease    = 10 * time.Second // of one that is worth having: shorter ones keep us asking
)

type leaseClientState int

// The states of RFC 2131 §4.4, figure 5.
const (
	leaseInit leaseClientState = iota
	leaseSelecting
	leaseRequesting
	leaseChecking // whether somebody else has the address
	leaseHeld     // BOUND
	leaseRenewing
	leaseRebinding
	leaseReleased
)

func (s leaseClientState) String() string {
	return [...]string{"INIT", "SELECTING", "REQUESTING", "CHECKING", "BOUND", "RENEWING", "REBINDING", "RELEASED"}[s]
}

// A leaseClient is a client of DHCPv4 (RFC 2131 §4.4): a machine without clock and I/O. Its
// owner calls start once, handle with what came, and expire when deadline has come;
// then it does what next gives.
type leaseClient struct {
	mac    mac
	random io.Reader

	state   leaseClientState
	xid     dhcpv4.TransactionID
	began   time.Time // the first message of this attempt
	asked   time.Time // the first request of it: when the lease begins
	due     time.Time // when expire has something to do; zero: never
	tries   int       // messages of the state, or probes
	refused int       // NAKs since there was a lease
	pause   time.Duration

	defended      time.Time // against the last conflict
	offered, held lease
	trouble       string // why there is no lease yet
	todo          []leaseEvent
}

// A lease is what a server has promised, from when on.
type lease struct {
	addr   netip.Prefix
	server netip.Addr
	at     mac // of the server, or of the relay agent on the way to it
	dns    []netip.Addr
	routes []Route
	mtu    int // 0: not said

	renew, rebind, end time.Time // T1, T2; zero: never
}

// A leaseEvent is something to do: one of them.
type leaseEvent struct {
	send  *dhcp4Datagram
	probe netip.Addr // look whether somebody has it
	claim netip.Addr // tell all that it is ours
	bound *lease     // have this one, instead of what there was
	lost  string     // have none, and why
}

// start begins. RFC 2131 §4.4.1 has a client wait for some seconds first, so that a
// thousand that are switched on at once do not ask at once; a tunnel has one.
func (c *leaseClient) start(now time.Time) { c.discover(now) }

// next is what there is to be done.
func (c *leaseClient) next() (e leaseEvent, ok bool) {
	if len(c.todo) == 0 {
		return e, false
	}
	e, c.todo = c.todo[0], c.todo[1:]
	return e, true
}

func (c *leaseClient) deadline() time.Time { return c.due }

func (c *leaseClient) emit(e leaseEvent) { c.todo = append(c.todo, e) }

// draw is a random number below n.
func (c *leaseClient) draw(n time.Duration) time.Duration {
	var b [8]byte
	if _, err := io.ReadFull(c.random, b[:]); err != nil {
		return n / 2
	}
	return time.Duration(binary.BigEndian.Uint64(b[:]) % uint64(n))
}

// backoff is how long to wait after the n-th message: RFC 2131 §4.1.
func (c *leaseClient) backoff(n int) time.Duration {
	d := lastRetransmission
	if n < 5 {
		d = firstRetransmission << (n - 1)
	}
	return d - time.Second + c.draw(2*time.Second)
}

func (c *leaseClient) enter(s leaseClientState, due time.Time) { c.state, c.due, c.tries = s, due, 0 }

// discover looks for servers.
func (c *leaseClient) discover(now time.Time) {
	c.enter(leaseSelecting, now)
	c.began = now
	c.newTransaction()
	c.offered = lease{}
	c.expire(now)
}

func (c *leaseClient) newTransaction() {
	var b [4]byte
	if _, err := io.ReadFull(c.random, b[:]); err == nil {
		c.xid = b
	}
}

// expire does what is due.
func (c *leaseClient) expire(now time.Time) {
	if c.due.IsZero() || now.Before(c.due) {
		return
	}
	switch c.state {
	case leaseInit:
		c.discover(now)
	case leaseSelecting:
		c.tries++
		c.broadcast(now, dhcpv4.MessageTypeDiscover)
		if c.tries > 1 {
			c.trouble = fmt.Sprintf("no DHCP server has made an offer in reply to %d DHCPDISCOVERs", c.tries-1)
		}
		c.due = now.Add(c.backoff(c.tries))
	case leaseRequesting:
		if c.tries >= maxRequests {
			c.trouble = fmt.Sprintf("the DHCP server %v, which has offered %v, does not answer requests for it", c.offered.server, c.offered.addr)
			c.discover(now)
			return
		}
		c.tries++
		c.broadcast(now, dhcpv4.MessageTypeRequest)
		c.due = now.Add(c.backoff(c.tries))
	case leaseChecking:
		if c.tries >= arpProbes {
			c.hold()
			return
		}
		c.tries++
		c.emit(leaseEvent{probe: c.offered.addr.Addr()})
		c.due = now.Add(arpProbeDelay)
	case leaseHeld, leaseRenewing, leaseRebinding:
		c.extend(now)
	}
}

// extend asks for more time: the server, from T1 on, and all, from T2 on. RFC 2131
// §4.4.5: "the client SHOULD wait one-half of the remaining time until T2 … and one-half
// of the remaining lease time …, down to a minimum of 60 seconds, before retransmitting".
func (c *leaseClient) extend(now time.Time) {
	until := c.held.rebind
	switch {
	case !now.Before(c.held.end):
		c.lose("the lease of " + c.held.addr.Addr().String() + " has run out, and no DHCP server has extended it")
		c.discover(now)
		return
	case !now.Before(c.held.rebind):
		if c.state != leaseRebinding {
			c.begin(now, leaseRebinding)
		}
		until = c.held.end
		c.broadcast(now, dhcpv4.MessageTypeRequest)
	default:
		if c.state != leaseRenewing {
			c.begin(now, leaseRenewing)
		}
		c.unicast(now, dhcpv4.MessageTypeRequest)
	}
	c.due = now.Add(max(until.Sub(now)/2, leastRenewal))
	if c.due.After(until) {
		c.due = until
	}
}

func (c *leaseClient) begin(now time.Time, s leaseClientState) {
	c.enter(s, now)
	c.began, c.asked = now, now
	c.newTransaction()
}

func (c *leaseClient) lose(why string) {
	c.held, c.trouble = lease{}, why
	c.emit(leaseEvent{lost: why})
}

// hold is when the address is ours.
func (c *leaseClient) hold() {
	c.held, c.refused, c.trouble = c.offered, 0, ""
	c.enter(leaseHeld, c.held.renew)
	l := c.held
	c.emit(leaseEvent{bound: &l})
}

// conflict says that another host has an address. If that matters, the lease is
// given back (RFC 2131 §3.1 step 5).
func (c *leaseClient) conflict(now time.Time, addr netip.Addr, by mac) {
	l := c.held
	switch c.state {
	case leaseChecking:
		l = c.offered
	case leaseHeld, leaseRenewing, leaseRebinding:
	default:
		return
	}
	if l.addr.Addr() != addr {
		return
	}
	// RFC 5227 §2.4 (b): who has connections "MAY elect to attempt to defend its address",
	// and gives up when there is another conflict within DEFEND_INTERVAL.
	if defended := c.defended; c.state != leaseChecking && (defended.IsZero() || now.Sub(defended) >= defendInterval) {
		c.defended = now
		c.emit(leaseEvent{claim: addr})
		return
	}
	c.offered = l
	c.newTransaction()
	c.broadcast(now, dhcpv4.MessageTypeDecline)
	why := fmt.Sprintf("%v, which the DHCP server %v has leased, is in use by %v", addr, l.server, by)
	if c.state != leaseChecking {
		c.lose(why)
	}
	c.trouble = why
	c.enter(leaseInit, now.Add(declinePause))
}

// release gives the lease back (RFC 2131 §4.4.6). It is the end.
func (c *leaseClient) release(now time.Time) {
	switch c.state {
	case leaseHeld, leaseRenewing, leaseRebinding:
		c.newTransaction()
		c.unicast(now, dhcpv4.MessageTypeRelease)
		c.lose("the lease has been given back")
	}
	c.enter(leaseReleased, time.Time{})
}

// handle takes in what a server has sent.
func (c *leaseClient) handle(now time.Time, message []byte, from mac) {
	m, ok := c.parse(message)
	if !ok {
		return
	}
	switch kind := m.MessageType(); {
	case kind == dhcpv4.MessageTypeOffer && c.state == leaseSelecting:
		l, err := leaseOf(m, from, now)
		if err != nil {
			c.trouble = "a DHCP server's offer is of no use: " + err.Error()
			return
		}
		c.offered, c.asked = l, now
		c.enter(leaseRequesting, now)
		c.expire(now)
	case kind == dhcpv4.MessageTypeAck && slices.Contains([]leaseClientState{leaseRequesting, leaseRenewing, leaseRebinding}, c.state):
		c.acknowledged(now, m, from)
	case kind == dhcpv4.MessageTypeNak && slices.Contains([]leaseClientState{leaseRequesting, leaseRenewing, leaseRebinding}, c.state):
		if c.state != leaseRebinding && !c.isFromOurs(m) {
			return
		}
		why := fmt.Sprintf("the DHCP server %v refuses the address", ip4(m.ServerIdentifier()))
		if c.state != leaseRequesting {
			c.lose(why)
		}
		c.trouble = why
		c.pause = min(refusedPause<<min(c.refused, 6), lastRetransmission)
		c.refused++
		c.enter(leaseInit, now.Add(c.pause))
	}
}

// acknowledged is when a server has given the address, or more time. RFC 2131 §4.4.1:
// the lease begins when we asked for it, not when the answer comes.
func (c *leaseClient) acknowledged(now time.Time, m *dhcpv4.DHCPv4, from mac) {
	if c.state == leaseRequesting && !c.isFromOurs(m) {
		return
	}
	if !m.Options.Has(dhcpv4.OptionServerIdentifier) {
		return
	}
	l, err := leaseOf(m, from, c.asked)
	if err != nil || !l.end.IsZero() && !now.Before(l.renew) {
		return
	}
	known := c.state != leaseRequesting && l.addr.Addr() == c.held.addr.Addr()
	if c.state != leaseRequesting && !known {
		c.lose("the DHCP server gives another address than the one that was to be extended")
	}
	c.offered = l
	if known {
		c.hold()
		return
	}
	c.enter(leaseChecking, now)
	c.expire(now)
}

// isFromOurs reports whether m is from the server that we have an offer or a lease of.
func (c *leaseClient) isFromOurs(m *dhcpv4.DHCPv4) bool {
	l := c.held
	if c.state == leaseRequesting {
		l = c.offered
	}
	return ip4(m.ServerIdentifier()) == l.server
}
