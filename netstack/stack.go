package netstack

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
)

const (
	defaultDNSTimeout  = 2 * time.Second
	defaultDNSAttempts = 3

	addressKeyLen = 16 // RFC 7217 §5: "The secret_key SHOULD be at least 128 bits."

	// A connection begins with buffers of 1 MiB in each direction, which is
	// what it may use, not what it has, and they grow with its throughput.
	tcpBuffer    = 1 << 20
	tcpBufferMax = 4 << 20
)

// Config is what a [Stack] can be told. The zero value is ready to use.
type Config struct {
	Logger *slog.Logger // nil: silent
	Rand   io.Reader    // for ports, sequence numbers and DNS; safe for concurrent use. nil: crypto/rand

	DNSTimeout  time.Duration // for one answer of one server; a quarter of it the first time. 0: 2 s
	DNSAttempts int           // how often each server is asked. 0: 3

	// AddressKey is the secret that IPv6 addresses are made with (RFC 7217): in
	// the same prefix the same key makes the same address, and nobody can tell
	// that addresses in two prefixes are one host's. nil: a new one
	AddressKey []byte
}

// A Stack is a host inside the process. Its methods may be called from many
// goroutines.
type Stack struct {
	gv          *stack.Stack
	log         *slog.Logger
	rand        io.Reader
	dnsTimeout  time.Duration
	dnsAttempts int
	addressKey  []byte

	life    context.Context // ends with the stack; its cause is why
	end     context.CancelCauseFunc
	closing sync.Once

	echoes  echoes
	windows windows

	mu         sync.Mutex
	interfaces map[tcpip.NICID]netInterface
	dns        []netip.Addr // of all NICs, in their order
}

// A netInterface is a NIC or a Router.
type netInterface interface {
	exit
	// carrier is the life of what carries packets to remote: of the NIC, or of
	// one session behind a Router. It is nil when nothing does.
	carrier(remote netip.Addr) context.Context
	has(local netip.Addr) bool
	hasIPv6() bool
	// shut ends the interface's life and returns when the last Put has left.
	shut()
}

// New makes a stack without interfaces. A nil cfg means the zero Config.
func New(cfg *Config) (*Stack, error) {
	if cfg == nil {
		cfg = &Config{}
	}
	if cfg.DNSTimeout < 0 || cfg.DNSAttempts < 0 {
		return nil, fmt.Errorf("netstack: DNSTimeout %v and DNSAttempts %d must not be negative", cfg.DNSTimeout, cfg.DNSAttempts)
	}
	s := &Stack{
		log:         cfg.Logger,
		rand:        cfg.Rand,
		dnsTimeout:  cfg.DNSTimeout,
		dnsAttempts: cfg.DNSAttempts,
		addressKey:  slices.Clone(cfg.AddressKey),
		interfaces:  make(map[tcpip.NICID]netInterface),
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.rand == nil {
		s.rand = rand.Reader
	}
	if s.dnsTimeout == 0 {
		s.dnsTimeout = defaultDNSTimeout
	}
	if s.dnsAttempts == 0 {
		s.dnsAttempts = defaultDNSAttempts
	}
	if n := len(s.addressKey); n != 0 && n < addressKeyLen {
		return nil, fmt.Errorf("netstack: an AddressKey of %d bytes is shorter than %d", n, addressKeyLen)
	}
	if len(s.addressKey) == 0 {
		s.addressKey = make([]byte, addressKeyLen)
		if _, err := io.ReadFull(s.rand, s.addressKey); err != nil {
			return nil, fmt.Errorf("netstack: %w", err)
		}
	}
	s.windows.total.Store(windowDefault)
	s.life, s.end = context.WithCancelCause(context.Background())
	s.gv = stack.New(stack.Options{
		// Without options IPv6 does neither look at Router Advertisements nor send
		// anything of its own accord: autoconf does.
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, ipv6.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocolCUBIC, udp.NewProtocol, icmp.NewProtocol4, icmp.NewProtocol6},
		HandleLocal:        true, // the stack's own addresses can be dialled
		SecureRNG:          s.rand,
		Clock:              newClock(),
	})
	if err := tuneTCP(s.gv, tcpBuffer, tcpBufferMax); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// tuneTCP says what TCP is to do, also where gVisor's defaults agree today.
// Connections begin with buffers of some bytes, which grow to the most: those that
// receive by windows, but gVisor has to think that it did it, since only then it
// announces a scale that is enough for that (RFC 7323 §2.2).
func tuneTCP(gv *stack.Stack, buffer, most int) error {
	sack := tcpip.TCPSACKEnabled(true)
	recovery := tcpip.TCPRACKLossDetection // RFC 8985
	autotune := tcpip.TCPModerateReceiveBufferOption(true)
	receive := tcpip.TCPReceiveBufferSizeRangeOption{Min: tcp.MinBufferSize, Default: buffer, Max: most}
	send := tcpip.TCPSendBufferSizeRangeOption{Min: tcp.MinBufferSize, Default: buffer, Max: most}
	for _, option := range []tcpip.SettableTransportProtocolOption{&sack, &recovery, &autotune, &receive, &send} {
		if err := gv.SetTransportProtocolOption(tcp.ProtocolNumber, option); err != nil {
			return fmt.Errorf("netstack: TCP option %T: %s", option, err)
		}
	}
	return nil
}

// Done is closed when the stack has been closed or has failed.
func (s *Stack) Done() <-chan struct{} { return s.life.Done() }

// Err is why the stack is done: the error given to Fail, or net.ErrClosed. It
// is nil before that.
func (s *Stack) Err() error { return context.Cause(s.life) }

// because is err, or why the stack is over if it is: whatever goes wrong then goes
// wrong because of that.
func (s *Stack) because(err error) error {
	if cause := s.Err(); cause != nil {
		return cause
	}
	return err
}

// Fail ends everything on the stack at once, because what carried it is gone:
// conns and listeners fail with err (nil: net.ErrClosed), and so does
// whatever is begun later. The first Fail or Close says why. Close must follow.
func (s *Stack) Fail(err error) {
	if err == nil {
		err = net.ErrClosed
	}
	s.end(err)
}

// Close ends everything on the stack, resets its connections and frees what it
// has. It returns when the stack's goroutines have ended; a second Close does
// nothing. The error is nil.
func (s *Stack) Close() error {
	s.end(net.ErrClosed)
	s.closing.Do(func() {
		// Nothing may be injected into a gVisor stack that has been closed.
		for _, n := range s.snapshot() {
			n.shut()
		}
		s.gv.Close()
		s.gv.Wait()
	})
	return nil
}

func (s *Stack) snapshot() []netInterface {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]netInterface, 0, len(s.interfaces))
	for _, n := range s.interfaces {
		all = append(all, n)
	}
	return all
}

// nics are those of the interfaces that are NICs, in the order in which they were
// added.
func (s *Stack) nics() (list []*NIC) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.interfaces {
		if n, ok := n.(*NIC); ok {
			list = append(list, n)
		}
	}
	slices.SortFunc(list, func(a, b *NIC) int { return cmp.Compare(a.id, b.id) })
	return list
}

func (s *Stack) hasIPv6() bool {
	return slices.ContainsFunc(s.snapshot(), netInterface.hasIPv6)
}

// carrier is the life of what carries packets to remote, and remote as gVisor
// has it.
func (s *Stack) carrier(remote netip.AddrPort) (context.Context, tcpip.FullAddress, error) {
	fail := func(err error) (context.Context, tcpip.FullAddress, error) {
		return nil, tcpip.FullAddress{}, err
	}
	if err := s.Err(); err != nil {
		return fail(err)
	}
	addr := remote.Addr()
	if !addr.Is4() && !s.hasIPv6() {
		return fail(errNoIPv6)
	}
	// "This host on this network" and loopback addresses must not leave a host
	// (RFC 1122 §3.2.1.3, RFC 4291 §2.5), and the host that they would mean is not
	// this one.
	if addr.IsUnspecified() || addr.IsLoopback() {
		return fail(syscall.ENETUNREACH)
	}
	full, err := s.toFullAddress(remote)
	if err != nil {
		return fail(err)
	}
	r, terr := s.gv.FindRoute(full.NIC, tcpip.Address{}, full.Addr, protocolOf(addr), false)
	if terr != nil {
		return fail(toError(terr))
	}
	id := r.NICID()
	r.Release()
	s.mu.Lock()
	n := s.interfaces[id]
	s.mu.Unlock()
	if n == nil {
		return fail(syscall.ENETUNREACH)
	}
	if life := n.carrier(addr); life != nil {
		return life, full, nil
	}
	return fail(syscall.EHOSTUNREACH)
}

// protocolOf is the version of IP that a belongs to.
func protocolOf(a netip.Addr) tcpip.NetworkProtocolNumber {
	if a.Is4() {
		return ipv4.ProtocolNumber
	}
	return ipv6.ProtocolNumber
}

// owner is the life of what carries packets from a local address to a remote
// one: the whole stack's, if local is unspecified. With remote being local, too,
// it is that of what the address belongs to.
func (s *Stack) owner(local, remote netip.Addr) (context.Context, error) {
	if err := s.Err(); err != nil {
		return nil, err
	}
	if local.IsUnspecified() {
		return s.life, nil
	}
	for _, n := range s.snapshot() {
		if !n.has(local) {
			continue
		}
		if life := n.carrier(remote); life != nil {
			return life, nil
		}
		return nil, syscall.EHOSTUNREACH
	}
	return nil, syscall.EADDRNOTAVAIL
}

// abort resets the TCP connections between such addresses, also those that
// their users have closed or not accepted yet. What has not been sent is
// never sent then, so that it cannot reach whoever has the address next.
func (s *Stack) abort(match func(local, remote netip.Addr) bool) { abortTCP(s.gv, match) }

func abortTCP(gv *stack.Stack, match func(local, remote netip.Addr) bool) {
	for _, e := range gv.RegisteredEndpoints() {
		ep, ok := e.(*tcp.Endpoint)
		if !ok {
			continue
		}
		id := ep.Info().(*stack.TransportEndpointInfo).ID
		if match(fromAddress(id.LocalAddress), fromAddress(id.RemoteAddress)) {
			ep.Abort()
		}
	}
}
