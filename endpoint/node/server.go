package node

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/l2tpnet/l2tpnet/endpoint"
	"github.com/l2tpnet/l2tpnet/netstack"
)

// A Server answers calls and routes all its sessions to one stack inside the process,
// which is their gateway. Set the fields, then Start it; the zero value of each field
// is its default. Fields must not change after Start.
//
//	s := &node.Server{Users: map[string]node.User{"alice": {Password: password}}}
//	err := s.Start()
//	web, err := s.Listen("tcp", ":80") // for those who have called
type Server struct {
	// Address is the UDP address to answer on. Empty: ":1701".
	Address string
	// Conn is a socket to answer on instead; it is the server's from Start on.
	Conn net.PacketConn

	// Secret is the tunnel secret. Empty: no tunnel authentication.
	Secret endpoint.Secret
	// Methods, MPPE, MRU, NoIPv6, HideAVPs and PlacesCalls are those of
	// [endpoint.AnswerConfig].
	Methods     []endpoint.AuthMethod
	MPPE        endpoint.MPPE
	MRU         int // bytes of a PPP packet. 0: 1400
	NoIPv6      bool
	HideAVPs    bool
	PlacesCalls bool

	// V3 answers those who call by L2TPv3, too, on the same port. Nil: L2TPv2 alone.
	V3 *endpoint.V3Config
	// LAN is the Ethernet of clients of L2TPv3: a switch inside the process, and we on it,
	// as their gateway, if it says so. Its MTU is 1400 by default; its Egress is another
	// one than that of the other sessions. Nil: there is no Ethernet.
	LAN *LAN
	// Circuits are what clients of L2TPv3 may ask for, by Remote End IDs. Nil: whatever
	// they name, Ethernet for as many as like, if there is a LAN, and PPP, if there are
	// users. PPP without a Remote End ID needs none in any case.
	Circuits []Circuit

	// Users are those who may call by PPP, by their names. A Windows domain in front of a
	// name (CORP\alice) does not matter unless it stands here too. With V3 there may be
	// neither Users nor Authenticate: PPP is refused then, and with it all of L2TPv2.
	Users map[string]User
	// Authenticate finds a user instead; it may take its time, until ctx ends with
	// the call. Its error refuses the user, who cannot tell it from a wrong password.
	Authenticate func(ctx context.Context, r endpoint.AuthRequest) (User, error)

	// Pool has the IPv4 addresses of sessions without a fixed one. Zero:
	// 10.77.0.0/24.
	Pool netip.Prefix
	// Gateway is our own address inside, in the pool or not. Zero: the pool's first.
	Gateway netip.Addr
	// Pool6 has the IPv6 prefixes, of 64 bits each, that are advertised to sessions
	// without a fixed one. Zero: none; their IPv6 is link-local then.
	Pool6 netip.Prefix
	// Gateway6 is our own IPv6 address inside. Zero: the first of Pool6.
	Gateway6 netip.Addr
	// DelegateBits is the length of the prefixes, 56 for example, that sessions get by
	// DHCPv6 prefix delegation if they ask for one: out of the upper half of Pool6.
	// 0: none but the fixed ones.
	DelegateBits int

	// DNS are the servers that sessions are told of: by IPCP, which has room for two
	// IPv4 ones, and by router advertisements. Nil: the gateway, if it forwards
	// questions; otherwise none.
	DNS []netip.Addr
	// ForwardDNS are the servers that the gateway forwards its callers' questions to,
	// from the host. Nil: with Egress, and without DNS, those of the host's
	// /etc/resolv.conf; otherwise questions are not forwarded.
	ForwardDNS []netip.AddrPort

	// ClientToClient lets sessions send to each other: those that are routed, and those of
	// the LAN. From one of these to the other nothing goes.
	ClientToClient bool
	// Egress carries what sessions send elsewhere, through the host's sockets. It is
	// the server's from Start on. Nil: nothing goes anywhere but to the gateway.
	Egress *Egress

	// Limits are what is spent on callers.
	Limits endpoint.Limits

	// Events, if set, is told when a session is up and when it is over, one event at
	// a time. It should not take long, and must not close the server.
	Events func(ServerEvent)
	// Logger gets changes of state at Info, messages at Debug. Nil: nobody.
	Logger *slog.Logger
	// Rand is where identifiers and challenges come from. Nil: crypto/rand.
	Rand io.Reader

	users     atomic.Pointer[map[string]User]
	circuits  *circuits
	random    io.Reader
	addresses *addresses
	endpoint  *endpoint.Endpoint
	stack     *netstack.Stack
	router    *netstack.Router
	segment   *segment // nil: no LAN
	log       *slog.Logger
	stopDNS   context.CancelFunc
	running   sync.WaitGroup

	joining sync.Mutex // of those who come and take over
	telling sync.Mutex // of Events

	mu     sync.Mutex
	state  serverState
	owners map[netip.Prefix]*caller // by all that is routed
	byKey  map[callerKey][]*caller  // the oldest first
}

type serverState uint8

const (
	serverNew serverState = iota
	serverUp
	serverClosed
)

// ErrReplaced ends a session whose user has called again.
var ErrReplaced = errors.New("the user has called again")

var (
	errServerStarted    = errors.New("node: the server has been started already")
	errServerNotStarted = errors.New("node: the server has not been started")
)

const defaultMRU = 1400 // as package endpoint's

// Start begins to answer. Nothing is left behind when it fails. A server is started
// once.
func (s *Server) Start() (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != serverNew {
		return errServerStarted
	}
	defer func() {
		if err != nil {
			s.tearDown()
			s.state, s.endpoint = serverClosed, nil
		}
	}()
	if s.log = s.Logger; s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.random = s.Rand; s.random == nil {
		s.random = rand.Reader
	}
	if s.Users == nil && s.Authenticate == nil && s.V3 == nil {
		return errors.New("expected Users or Authenticate to answer calls with, found none")
	}
	if err := checkUsers(s.Users); err != nil {
		return err
	}
	if s.addresses, err = newAddresses(s); err != nil {
		return err
	}
	if s.circuits, err = newCircuits(s); err != nil {
		return err
	}
	if err := s.addresses.fixCircuits(s.circuits); err != nil {
		return err
	}
	if err := s.addresses.checkAll(s.Users); err != nil {
		return err
	}
	s.addresses.reserve(s.Users)
	s.users.Store(&s.Users)
	if s.DNS == nil && s.resolvers() != nil {
		s.addresses.dns = s.addresses.gateways()
	}
	s.owners, s.byKey = map[netip.Prefix]*caller{}, map[callerKey][]*caller{}

	if err := s.openInside(); err != nil {
		return err
	}
	if err := s.openSegment(); err != nil {
		return err
	}
	if err := s.openDNS(); err != nil {
		return err
	}
	if err := s.openOutside(); err != nil {
		return err
	}
	s.stack.SetReceiveWindow(s.endpoint.Status().ReceiveBuffer)
	s.state = serverUp
	s.running.Go(s.accept)
	return nil
}

// openInside makes the stack that the sessions are routed to.
func (s *Server) openInside() (err error) {
	if s.stack, err = netstack.New(&netstack.Config{Logger: s.log, Rand: s.Rand}); err != nil {
		return err
	}
	mtu := s.MRU
	if mtu == 0 {
		mtu = defaultMRU
	}
	cfg := &netstack.RoutedConfig{Addresses: s.addresses.gateways(), MTU: mtu, ClientToClient: s.ClientToClient}
	if s.Egress != nil {
		cfg.Forwarder = s.Egress.forwarder(func(a netip.Addr) bool {
			return s.addresses.owns(a) || s.LAN != nil && s.LAN.owns(a)
		})
	}
	s.router, err = s.stack.AddRouted(cfg)
	return err
}

// openOutside makes the endpoint that is called.
func (s *Server) openOutside() (err error) {
	cfg := &endpoint.Config{Logger: s.log, Rand: s.Rand, Answer: &endpoint.AnswerConfig{
		Secret: s.Secret, Methods: s.Methods,
		PlacesCalls: s.PlacesCalls, NoIPv6: s.NoIPv6, MPPE: s.MPPE, MRU: s.MRU, HideAVPs: s.HideAVPs, Limits: s.Limits,
	}}
	if s.circuits.ppp {
		cfg.Answer.Authenticate, cfg.Answer.Pool = s.authenticate, s.addresses
	}
	if s.V3 != nil {
		v3 := *s.V3
		if v3.Pseudowires == nil {
			v3.Pseudowires = s.circuits.types()
		}
		cfg.Answer.V3, cfg.Answer.Pseudowire = &v3, s.pseudowire
	}
	if s.Conn != nil {
		s.endpoint, err = endpoint.New(s.Conn, cfg)
		return err
	}
	address := s.Address
	if address == "" {
		address = ":" + strconv.Itoa(endpoint.DefaultPort)
	}
	s.endpoint, err = endpoint.Listen("udp", address, cfg)
	return err
}

// tearDown closes what is open: the sessions hear a goodbye before their stack goes.
func (s *Server) tearDown() {
	if s.endpoint != nil {
		s.endpoint.Close()
	} else if s.Conn != nil {
		s.Conn.Close()
	}
	if s.stopDNS != nil {
		s.stopDNS()
	}
	if s.Egress != nil {
		s.Egress.Close()
	}
	s.running.Wait()
	s.segment.close() // when nobody is there any more
	if s.stack != nil {
		s.stack.Close()
	}
}

// Close says goodbye to all callers, for two seconds at most, and ends everything that
// the server has: connections and listeners inside fail with net.ErrClosed. A
// second Close does nothing. The error is nil.
func (s *Server) Close() error {
	s.mu.Lock()
	was := s.state
	s.state = serverClosed
	s.mu.Unlock()
	if was == serverUp {
		s.tearDown()
	}
	return nil
}

// started is nil when the server may be used.
func (s *Server) started() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == serverNew {
		return errServerNotStarted
	}
	if s.endpoint == nil {
		return net.ErrClosed
	}
	return nil
}
