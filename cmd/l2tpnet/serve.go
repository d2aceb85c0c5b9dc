package main

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/l2tpnet/l2tpnet/endpoint"
	"github.com/l2tpnet/l2tpnet/endpoint/node"
)

type serveCmd struct {
	Listen      string `default:":1701" placeholder:"ADDR" help:"UDP address to answer on. Default: ${default}."`
	UsersFile   string `type:"path" placeholder:"FILE" help:"Needed but with --v3. File of name:password lines; indented lines below one fix an address, a route, a prefix, a delegate (prefix) or the number of sessions; # begins a comment. Read again on SIGHUP."`
	SecretFile  string `env:"L2TPNET_SECRET_FILE" placeholder:"FILE" help:"File with the tunnel secret alone; or set L2TPNET_SECRET to the secret itself."`
	Auth        string `default:"${auth}" placeholder:"METHODS" help:"Authentication methods to ask callers for, in this order: mschapv2, chap, eap-mschapv2, eap-md5, pap. Default: ${default}."`
	MPPE        string `name:"mppe" default:"off" placeholder:"WHEN" help:"PPP encryption, which protects little: off, allowed or required. Default: ${default}."`
	HideAVPs    bool   `name:"hide-avps" help:"Hide what may be hidden of control messages, with the tunnel secret."`
	PlacesCalls bool   `help:"Take the calls that a peer asks us to place, whatever the number."`

	Pool     prefix  `default:"10.77.0.0/24" placeholder:"PREFIX" help:"Addresses for the callers. Default: ${default}."`
	Gateway  address `placeholder:"ADDR" help:"Our address inside. Default: the pool's first."`
	Pool6    prefix  `name:"pool6" placeholder:"PREFIX" help:"IPv6 prefixes for the callers, of 64 bits each, such as fd00:77::/48. Default: none."`
	Delegate int     `placeholder:"BITS" help:"Give prefixes of so many bits, such as 56, to callers that ask for one by DHCPv6; half of --pool6 is for that."`
	NoIPv6   bool    `name:"no-ipv6" help:"Carry IPv4 alone."`

	serveV3Flags

	DNS []address `name:"dns" placeholder:"ADDR" help:"DNS server that callers are told of; at most two of IPv4. Default: the gateway, where it forwards questions."`

	egressFlags    `set:"who=callers" set:"whose=its callers'"`
	ClientToClient bool `help:"Let callers send to each other."`

	MaxTunnels  int `placeholder:"N" help:"Tunnels that stand at once. Default: 1024."`
	MaxHalfOpen int `placeholder:"N" help:"Tunnels that are being opened before a new one has to ask twice. Default: 256."`
	MaxSessions int `placeholder:"N" help:"Sessions of one tunnel. Default: 64."`

	Verbose int `short:"v" type:"counter" help:"Log to standard error what happens; -vv every control message too."`
	captureFlag
}

func (cmd *serveCmd) Run(p *program) (err error) {
	s, err := cmd.server()
	if err != nil {
		return err
	}
	s.Logger = p.logger(cmd.Verbose)
	if s.Egress != nil {
		s.Egress.Logger = s.Logger
		if s.LAN != nil {
			s.LAN.Egress.Logger = s.Logger
		}
	}
	s.Events = sessionLines(p)
	record, err := cmd.create(p)
	if err != nil {
		return err
	}
	defer func() { err = cmp.Or(err, record.end()) }() // when all has been said
	if err := s.Start(); err != nil {
		return cmd.explain(err, s)
	}
	defer s.Close()
	if err := record.begin(s.Endpoint()); err != nil {
		return err
	}
	again := make(chan os.Signal, 1)
	signal.Notify(again, syscall.SIGHUP)
	defer signal.Stop(again)
	if s.V3 != nil && s.Secret == "" && s.LAN != nil {
		fmt.Fprintf(p.stderr, "l2tpnet: without a tunnel secret the Ethernet is open to whoever reaches %v\nhint: %s\n", s.Addr(), secretHint)
	}
	p.printf("%s\n%s", cmd.describe(s), describeV3(s))
	for {
		select {
		case <-p.ctx.Done():
			return nil
		case <-s.Done():
			return s.Err()
		case <-again:
			users, err := cmd.users()
			if err == nil && users == nil {
				continue // there is no file
			}
			if err == nil {
				err = s.SetUsers(users)
			}
			if err != nil {
				fmt.Fprintf(p.stderr, "l2tpnet: the users stay as they were: %v\n", err)
				continue
			}
			p.printf("users read again: %d\n", len(users))
		}
	}
}

// server makes a server of the flags.
func (cmd *serveCmd) server() (*node.Server, error) {
	methods, err := endpoint.ParseAuthMethods(cmd.Auth)
	if err != nil {
		return nil, usage(fmt.Errorf("--auth: %w", err), "")
	}
	four := 0
	for _, a := range cmd.DNS {
		if netip.Addr(a).Is4() {
			four++
		}
	}
	if four > 2 {
		return nil, usage(fmt.Errorf("--dns: expected at most two servers of IPv4, since IPCP has room for two, found %d", four), "")
	}
	mppe, err := endpoint.ParseMPPE(cmd.MPPE)
	if err != nil {
		return nil, usage(fmt.Errorf("--mppe: %w", err), "")
	}
	if cmd.NoIPv6 && netip.Prefix(cmd.Pool6).IsValid() {
		return nil, usage(fmt.Errorf("expected --pool6 or --no-ipv6, found both"), "")
	}
	users, err := cmd.users()
	if err != nil {
		return nil, err
	}
	secret, err := readSecret("tunnel secret", cmd.SecretFile, "L2TPNET_SECRET")
	if err != nil {
		return nil, err
	}
	if cmd.HideAVPs && secret == "" {
		return nil, usage(fmt.Errorf("expected a tunnel secret for --hide-avps, found none"), "give it with --secret-file or L2TPNET_SECRET")
	}
	s := &node.Server{
		Address: withPort(cmd.Listen), Secret: secret, Methods: methods, Users: users,
		MPPE: mppe, NoIPv6: cmd.NoIPv6, HideAVPs: cmd.HideAVPs, PlacesCalls: cmd.PlacesCalls,
		Pool: netip.Prefix(cmd.Pool), Gateway: netip.Addr(cmd.Gateway), Pool6: netip.Prefix(cmd.Pool6), DelegateBits: cmd.Delegate,
		DNS: plain(cmd.DNS), ForwardDNS: cmd.forwards(), ClientToClient: cmd.ClientToClient,
		Limits: endpoint.Limits{Tunnels: cmd.MaxTunnels, HalfOpen: cmd.MaxHalfOpen, Sessions: cmd.MaxSessions},
	}
	if s.Egress, err = cmd.egress(); err != nil {
		return nil, err
	}
	return s, cmd.set(s, cmd)
}

// users are those of the file; nil: there is none, and need not be.
func (cmd *serveCmd) users() (map[string]node.User, error) {
	if cmd.UsersFile != "" {
		return readUsers(cmd.UsersFile)
	}
	if cmd.V3 {
		return nil, nil
	}
	return nil, usage(errNoUsers, "--users-file names a file of name:password lines")
}

// explain says what has kept a server from being started.
func (cmd *serveCmd) explain(err error, s *node.Server) error {
	if op := (*net.OpError)(nil); errors.As(err, &op) {
		return explainListen(err, s.Address, "--listen")
	}
	hint := ""
	if _, ok := errors.AsType[*node.OverlapError](err); ok {
		hint = "--lan is the network of Ethernet clients, --pool and --pool6 are those of PPP's"
	}
	return usage(ofNetstack(oneLine(err)), hint)
}

// withPort completes an address that is a host or a port alone.
func withPort(address string) string {
	if strings.Contains(address, ":") {
		return address
	}
	if _, err := strconv.ParseUint(address, 10, 16); err == nil {
		return ":" + address
	}
	return net.JoinHostPort(address, strconv.Itoa(endpoint.DefaultPort))
}

// describe is what a user wants to know of a server that has started, in a line.
func (cmd *serveCmd) describe(s *node.Server) string {
	own := s.Gateways()
	var b strings.Builder
	routes := func(c node.Circuit) bool { return c.Type == endpoint.PseudowireIP }
	switch {
	case s.Users == nil && !slices.ContainsFunc(s.Circuits, routes):
		return fmt.Sprintf("answering on %v, no PPP, since there are no users, and so no L2TPv2", s.Addr())
	case s.Users == nil:
		return fmt.Sprintf("answering on %v, gateway %v, no PPP, since there are no users, and so no L2TPv2", s.Addr(), own[0])
	}
	fmt.Fprintf(&b, "answering on %v, gateway %v, pool %v, DNS %s", s.Addr(), own[0], s.Pool.Masked(), addressList(s.Status().DNS))
	if len(own) > 1 {
		fmt.Fprintf(&b, ", IPv6 gateway %v, pool %v", own[1], s.Pool6.Masked())
	}
	if s.Egress != nil {
		b.WriteString(", egress through this machine")
	}
	return b.String()
}

// sessionLines prints a line for each session that is up or over.
func sessionLines(p *program) func(node.ServerEvent) {
	var mu sync.Mutex // of standard output: one line at a time
	return func(e node.ServerEvent) {
		mu.Lock()
		defer mu.Unlock()
		v := e.Session
		name, which := sessionName(v), sessionAddresses(v)
		switch {
		case e.Host != nil:
			p.printf("%s has %v, %v\n", name, e.Host.Address, e.Host.MAC)
		case e.Up:
			if !strings.HasSuffix(name, v.Peer.String()) {
				which += " from " + v.Peer.String()
			}
			p.printf("%s connected: %s\n", name, which)
		case errors.Is(e.Err, node.ErrReplaced) && v.Type == endpoint.PseudowirePPP:
			p.printf("%s disconnected: %s, for another session of the same user\n", name, which)
		case errors.Is(e.Err, node.ErrReplaced):
			p.printf("%s disconnected: %s, for another session of the same circuit\n", name, which)
		default:
			p.printf("%s disconnected: %s\n", name, which)
		}
	}
}
