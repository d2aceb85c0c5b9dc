package ppp

import (
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/machine"
)

// A Link is one PPP link: a machine.Machine[Event]. Its packets are PPP frames,
// from the address octet FF on.
type Link struct {
	machine.Output[Event]
	cfg Config
}

var _ machine.Machine[Event] = (*Link)(nil)

// New is a link in the Dead phase.
func New(cfg Config) *Link { return &Link{cfg: cfg.withDefaults()} }

// Open says that the lower layer is up: LCP starts.
func (l *Link) Open(now time.Time) {}

// Close takes the link down; reason goes to the peer. [Down] follows when the
// peer has acknowledged it, or does not in time.
func (l *Link) Close(now time.Time, reason string) {}

// Credential answers the [AuthQuestion]. An error refuses the user, and is
// what the link's [AuthError] says; the peer is told the same as of a wrong
// password. An answer that nobody waits for any longer is ignored.
func (l *Link) Credential(now time.Time, c Credential, err error) {}

// Assign answers the [AddressQuestion]. An error takes the link down. An
// answer that nobody waits for any longer is ignored.
func (l *Link) Assign(now time.Time, a Assignment, err error) {}

// Handle takes a frame from the peer, with or without FF 03, with a protocol
// of one octet or two. IPv4 datagrams are the owner's and ignored here.
func (l *Link) Handle(now time.Time, frame []byte) {}

// Expire tells that the deadline has passed.
func (l *Link) Expire(now time.Time) {}

// Deadline is when Expire is to be called.
func (l *Link) Deadline() time.Time { return time.Time{} }
