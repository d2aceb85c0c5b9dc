package control

import (
	"io"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

// Config is a tunnel's configuration. Zero values are the documented defaults.
type Config struct {
	// Rand is where challenges, session ids and serial numbers come from.
	// Required. A source that fails is a bug of the owner's.
	Rand io.Reader
	// LocalID is our Assigned Tunnel ID, and Assigned Control Connection ID: 1 to 65535,
	// or in a tunnel that can only be one of L2TPv3 to 4,294,967,295; unique in the
	// endpoint. Required.
	LocalID uint32
	// HostName and VendorName are what the peer is told about us (RFC 2661
	// §4.4.3). An empty HostName becomes "l2tpnet", since the AVP must not be
	// empty; an empty VendorName is not sent.
	HostName, VendorName string
	// Secret is what both ends prove to each other that they know (§5.1.1).
	// Empty: no tunnel authentication; a peer that asks for it is refused.
	Secret []byte
	// Outstanding tells whether a challenge is one of ours that waits for its
	// response, in another tunnel. An SCCRQ with it comes from somebody who does not
	// know the secret, and would take our response for theirs. Nil: none is.
	Outstanding func(challenge []byte) bool
	// Refusal, unless it is zero, is what an acceptable SCCRQ is answered by: the
	// owner has no room for another tunnel.
	Refusal wire.Result
	// V3 makes the tunnel one of L2TPv3 (RFC 3931), or lets the peer have it so. Nil: it
	// is one of L2TPv2.
	V3 *V3
	// HideAVPs has the values of all AVPs hidden that may be (§4.3), except in
	// SCCRQ and SCCRP, in which xl2tpd cannot read it, and in StopCCN, which a peer
	// without the secret must understand. It needs a Secret. What a peer hides is taken
	// whenever there is one.
	HideAVPs bool
	// TieBreaker has SCCRQ carry a random Tie Breaker: the wish that a single
	// tunnel exist between the two ends (§4.4.3). See [Collide].
	TieBreaker bool
	// PlacesCalls tells the peer that we place calls for it, as LAC (Bearer
	// Capabilities, §4.4.3). Without it, those that it asks for are refused.
	PlacesCalls bool
	// ReceiveWindow is how many control messages the peer may send ahead.
	// Zero: 16.
	ReceiveWindow int
	// PeerWindow is how much of the peer's receive window is made use of, and
	// SendQueue how many messages may wait to be sent or acknowledged before the
	// tunnel is given up. Zero: 64.
	PeerWindow, SendQueue int
	// DuplicateAckDelay is the time in which all messages that come again are
	// acknowledged once. Zero: 100 ms.
	DuplicateAckDelay time.Duration
	// RetryInterval is when a message is sent again for the first time;
	// each further interval doubles, up to RetryCap. Zero: 1 s and 8 s.
	RetryInterval, RetryCap time.Duration
	// Retries is how often a message is sent again before the tunnel is lost.
	// Zero: 5, or 10 in L2TPv3 and as long as that is open; negative: never.
	Retries     int
	retriesOfV3 bool // Retries is the default
	// HelloInterval is the peer's silence after which a HELLO probes it, less
	// up to a tenth. Zero: 60 s; negative: never, and what Traffic tells does not
	// either.
	HelloInterval time.Duration
	// Traffic is how many data messages of the tunnel's sessions have been sent
	// and received: those are signs of life too, and when they go one way for 5 s
	// a HELLO probes the peer. It is called every 2.5 s, which costs the data
	// nothing; the numbers may be any that change with each message. Nil: none are.
	Traffic func() (sent, received uint64)
	// Sent is how many octets of data have been sent in sessions for whose sake
	// [Tunnel.Measure] is called. It is called every 20 s. Nil: none have.
	Sent func() uint64
	// AckDelay is how long an acknowledgement waits for a message that carries
	// it. Zero: 100 ms; negative: not at all.
	AckDelay time.Duration
	// SetupTimeout bounds the wait for an answer that was acknowledged but does
	// not come, the time that someone who dials us has, and the time that a LAC
	// has to connect an outgoing call that it has accepted. Zero: 30 s.
	SetupTimeout time.Duration
	// SessionTaken tells whether a session id is in use elsewhere: those of L2TPv3 are
	// not of one tunnel. Nil: none is.
	SessionTaken func(id uint32) bool
	// MaxSessions bounds the sessions at once, of both directions together.
	// Zero: 64; at most 32,768.
	MaxSessions int
}

func (c Config) withDefaults() Config {
	if c.Rand == nil || c.LocalID == 0 || c.LocalID > 0xffff && (c.V3 == nil || c.V3.Fallback) {
		panic("BUG: control: a tunnel needs a random source and an id of 1 to 65535")
	}
	if c.HostName == "" {
		c.HostName = "l2tpnet"
	}
	if len(c.Secret) == 0 {
		c.Secret = nil
	}
	if c.HideAVPs && c.Secret == nil {
		panic("BUG: control: AVPs are hidden with a secret")
	}
	c.ReceiveWindow = orDefault(c.ReceiveWindow, 16)
	c.PeerWindow, c.SendQueue = max(orDefault(c.PeerWindow, 64), 1), max(orDefault(c.SendQueue, 64), 2)
	c.DuplicateAckDelay = orDefault(c.DuplicateAckDelay, 100*time.Millisecond)
	c.RetryInterval = orDefault(c.RetryInterval, time.Second)
	c.RetryCap = orDefault(c.RetryCap, 8*time.Second)
	if c.V3 != nil {
		c.retriesOfV3 = c.Retries == 0
		c.Retries = orDefault(c.Retries, 10) // RFC 3931 §4.2
	} else {
		c.Retries = orDefault(c.Retries, defaultRetries)
	}
	if c.Sent == nil {
		c.Sent = func() uint64 { return 0 }
	}
	c.HelloInterval = orDefault(c.HelloInterval, 60*time.Second)
	c.AckDelay = orDefault(c.AckDelay, 100*time.Millisecond)
	c.SetupTimeout = orDefault(c.SetupTimeout, 30*time.Second)
	c.MaxSessions = min(orDefault(c.MaxSessions, 64), 32768)
	return c
}

const defaultRetries = 5 // RFC 2661 §5.8

// orDefault gives zero its default, and what is negative the value zero.
func orDefault[T int | time.Duration](v, d T) T {
	if v == 0 {
		return d
	}
	return max(v, 0)
}

// retryInterval is the wait after a message has been sent again n times.
//
// RFC 2661 §5.8: "Each subsequent retransmission of a message MUST employ an
// exponential backoff interval. […] An implementation MAY place a cap upon the
// maximum interval between retransmissions."
func (c *Config) retryInterval(n int) time.Duration {
	d := c.RetryInterval
	for ; n > 0 && d < c.RetryCap; n-- {
		d *= 2
	}
	return min(d, c.RetryCap)
}

// cycle is a full retransmission cycle: from the first sending of a message
// until it is given up; 31 s by default (RFC 2661 §5.7).
func (c *Config) cycle() time.Duration { return c.waits(c.Retries) }

// waits is how long the acknowledgement of a message has been waited for when the
// wait after it was sent again for that many times is over.
func (c *Config) waits(retries int) (d time.Duration) {
	for n := range retries + 1 {
		d += c.retryInterval(n)
	}
	return d
}
