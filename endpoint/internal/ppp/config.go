package ppp

import (
	"io"
	"net/netip"
	"time"
)

// Config says how a [Link] behaves. Zero values are the defaults.
type Config struct {
	// Rand gives magic numbers and challenges. It is required and never fails.
	Rand io.Reader

	// Server is the role: a server demands that its peer proves who it is,
	// and gives it an address; a client does the one and asks for the other.
	Server bool
	// Name is the server's name in CHAP Challenges. Default: l2tpnet.
	Name string
	// Methods are the authentication methods, in order of preference: the
	// server demands them in this order, the client accepts no others.
	// Default: MSCHAPv2, CHAPMD5, EAPMSCHAPv2. The last is there for a peer that
	// has nothing but EAP: it proves what MSCHAPv2 does, in more packets, so it is
	// not asked for before that. EAPMD5 gives such a peer less, and PAP shows the
	// password to whoever listens: they must be listed to be used.
	Methods []Method

	// User and Password are what a client proves. Without a password it
	// refuses to authenticate.
	User     string
	Password []byte
	// Address is the IPv4 address that a client asks for. Default, and instead
	// of one that no host may have: whatever the server gives.
	Address netip.Addr

	// NoIPv6 turns IPv6 off: IPV6CP is rejected. Otherwise a link carries what the
	// peer agrees to, IPv4, IPv6 or both.
	NoIPv6 bool
	// MPPE is encryption: off, allowed or required. Only MSCHAPv2, within EAP too,
	// gives keys for it; Methods must have it when MPPE is required, and others are
	// then not used.
	MPPE MPPEMode

	// MRU is the Maximum-Receive-Unit that we ask for, in octets of a PPP
	// frame's information, and the most that [Up] allows to send. Default:
	// 1400; values are cut to 576 … 65535.
	MRU int

	// Restart is the longest period of the restart timer, and of the repetition of
	// authentication packets. The first is FirstRestart, and each further one
	// twice as long as the one before. Default: 3 s and 1 s, not more than Restart.
	Restart, FirstRestart time.Duration
	// MaxConfigure is how often a Configure-Request, a Challenge, a Response
	// or an Authenticate-Request is sent in vain. Default: 10.
	MaxConfigure int
	// MaxTerminate is the same for a Terminate-Request. Default: 2.
	MaxTerminate int
	// MaxFailure is the number of Configure-Naks after which an option is
	// rejected instead. Default: 5.
	MaxFailure int

	// AuthTimeout bounds each wait of the authentication in which we repeat
	// nothing: for the peer to begin, and for [Link.Credential]. Default: 30 s.
	AuthTimeout time.Duration
	// SetupTimeout bounds the way to the network phase as a whole. Default: 2
	// min. Negative: nothing does.
	SetupTimeout time.Duration
	// EchoInterval is the silence of the peer after which an Echo-Request is sent,
	// and EchoRetry the interval of further ones. Default: 5 s and 1 s. Negative
	// EchoInterval: none are sent.
	EchoInterval, EchoRetry time.Duration
	// EchoFailures is how many unanswered ones mean that the peer is gone.
	// Default: 15, so that it is found gone after 20 s of silence.
	EchoFailures int
	// Traffic is how many frames from the peer have not come to [Link.Handle],
	// because they are the owner's own: datagrams are signs of life too. It is
	// called when the peer seems to have been silent for an EchoInterval, which
	// costs datagrams nothing; so after the last of them it may take two of those
	// until the first Echo-Request. Nil: there are none.
	Traffic func() uint64
	// Sent is how many bytes of the owner's datagrams have been sent to the peer, for
	// [Link.Measure]. Nil: none are.
	Sent func() uint64
}

// An MPPEMode is how much a link insists on MPPE (RFC 3078): stateless, 128 bit, or
// less when the peer asks for less.
type MPPEMode uint8

const (
	MPPEOff      MPPEMode = iota // CCP is rejected
	MPPEAllowed                  // if the peer agrees
	MPPERequired                 // without it the link ends
)

// The implementation's defaults, and those of RFC 1661 §4.6.
const (
	defaultName         = "l2tpnet"
	defaultMRU          = 1400
	defaultRestart      = 3 * time.Second
	defaultFirstRestart = time.Second
	defaultMaxConfigure = 10
	defaultMaxTerminate = 2
	defaultMaxFailure   = 5
	defaultAuthTimeout  = 30 * time.Second
	defaultSetupTimeout = 2 * time.Minute
	defaultEchoInterval = 5 * time.Second
	defaultEchoRetry    = time.Second
	defaultEchoFailures = 15
)

func (c Config) withDefaults() Config {
	if c.Rand == nil {
		panic("BUG: ppp: a Config without Rand")
	}
	or(&c.Name, defaultName)
	if c.Methods == nil {
		c.Methods = []Method{MSCHAPv2, CHAPMD5, EAPMSCHAPv2}
	}
	if c.MPPE == MPPERequired {
		c.Methods = withKeys(c.Methods)
	}
	for _, m := range c.Methods {
		if m == 0 || int(m) >= len(methods) {
			panic("BUG: ppp: a Config with " + m.String())
		}
	}
	or(&c.MRU, defaultMRU)
	c.MRU = min(max(c.MRU, minMRU), 0xffff)
	if c.Address = c.Address.Unmap(); !c.Address.Is4() || !usable(c.Address) {
		c.Address = netip.Addr{}
	}
	or(&c.Restart, defaultRestart)
	or(&c.FirstRestart, defaultFirstRestart)
	c.FirstRestart = min(c.FirstRestart, c.Restart)
	or(&c.MaxConfigure, defaultMaxConfigure)
	or(&c.MaxTerminate, defaultMaxTerminate)
	or(&c.MaxFailure, defaultMaxFailure)
	or(&c.AuthTimeout, defaultAuthTimeout)
	or(&c.SetupTimeout, defaultSetupTimeout)
	or(&c.EchoInterval, defaultEchoInterval)
	or(&c.EchoRetry, defaultEchoRetry)
	or(&c.EchoFailures, defaultEchoFailures)
	if c.Traffic == nil {
		c.Traffic = func() uint64 { return 0 }
	}
	if c.Sent == nil {
		c.Sent = func() uint64 { return 0 }
	}
	if min(c.Restart, c.FirstRestart, c.EchoRetry, c.AuthTimeout) < 0 || min(c.MaxConfigure, c.MaxTerminate, c.MaxFailure, c.EchoFailures) < 0 {
		panic("BUG: ppp: a negative timer or counter in a Config")
	}
	return c
}

func or[T comparable](v *T, fallback T) {
	var zero T
	if *v == zero {
		*v = fallback
	}
}

// restart is the period of the restart timer after a packet that has been sent
// again n times.
//
// RFC 1661 §4.6: "Instead of a constant value, the Restart timer MAY begin at an
// initial small value and increase to the configured final value. Each successive
// value less than the final value SHOULD be at least twice the previous value."
func (c *Config) restart(n int) time.Duration {
	d := c.FirstRestart
	for ; n > 0 && d < c.Restart; n-- {
		d *= 2
	}
	return min(d, c.Restart)
}
