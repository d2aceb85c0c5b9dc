package main

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"

	"github.com/l2tpnet/l2tpnet/endpoint"
)

type serveCmd struct {
	Listen      string    `default:":1701" placeholder:"ADDR" help:"UDP address to answer on. Default: ${default}."`
	UsersFile   string    `required:"" type:"path" placeholder:"FILE" help:"File of name:password lines; lines that begin with # are comments."`
	SecretFile  string    `env:"L2TPNET_SECRET_FILE" placeholder:"FILE" help:"File with the tunnel secret alone; or set L2TPNET_SECRET to the secret itself."`
	Auth        string    `default:"${auth}" placeholder:"METHODS" help:"Authentication methods to ask callers for, in this order: mschapv2, chap, eap-mschapv2, eap-md5, pap. Default: ${default}."`
	Pool        prefix    `default:"10.77.0.0/24" placeholder:"PREFIX" help:"Addresses for the callers. Default: ${default}."`
	Gateway     address   `placeholder:"ADDR" help:"Our address inside. Default: the pool's first."`
	DNS         []address `name:"dns" placeholder:"ADDR" help:"DNS server that callers are told of; at most two."`
	MPPE        string    `name:"mppe" default:"off" placeholder:"WHEN" help:"PPP encryption, which protects little: off, allowed or required. Default: ${default}."`
	NoIPv6      bool      `name:"no-ipv6" help:"Carry IPv4 alone."`
	HideAVPs    bool      `name:"hide-avps" help:"Hide what may be hidden of control messages, with the tunnel secret."`
	PlacesCalls bool      `help:"Take the calls that a peer asks us to place, whatever the number."`
	Verbose     int       `short:"v" type:"counter" help:"Log to standard error what happens; -vv every control message too."`
	captureFlag
}

func (cmd *serveCmd) Run(p *program) (err error) {
	answer, pool, err := cmd.answer()
	if err != nil {
		return err
	}
	log := p.logger(cmd.Verbose)
	address := cmd.Listen
	if !strings.Contains(address, ":") { // a host or a port alone
		if _, err := strconv.ParseUint(address, 10, 16); err == nil {
			address = ":" + address
		} else {
			address = net.JoinHostPort(address, strconv.Itoa(endpoint.DefaultPort))
		}
	}
	record, err := cmd.create(p)
	if err != nil {
		return err
	}
	defer func() { err = cmp.Or(err, record.end()) }() // when all has been said
	mtu := 1400                                        // the MRU that we ask callers for
	if answer.MPPE != endpoint.MPPEOff {
		mtu -= 4 // its header, and the protocol in it
	}
	s, err := newServer(log, address, answer, pool.Gateway(), mtu)
	if err != nil {
		return explainListen(err, address, "--listen")
	}
	defer s.close()
	if err := record.begin(s.endpoint); err != nil {
		return err
	}

	var mu sync.Mutex // of standard output: one line at a time
	s.notify = func(session *endpoint.Session, up bool) {
		mu.Lock()
		defer mu.Unlock()
		if up {
			p.printf("%s connected: %v from %v\n", printable(session.User()), session.PeerAddress(), session.Tunnel().Peer())
		} else {
			p.printf("%s disconnected: %v\n", printable(session.User()), session.PeerAddress())
		}
	}
	p.printf("answering on %v, gateway %v, pool %v, DNS %s\n", s.endpoint.Addr(), pool.Gateway(), netip.Prefix(cmd.Pool).Masked(), addressList(plain(cmd.DNS)))
	return s.run(p.ctx)
}

// answer makes the endpoint's configuration of the flags.
func (cmd *serveCmd) answer() (*endpoint.AnswerConfig, *endpoint.Pool, error) {
	methods, err := endpoint.ParseAuthMethods(cmd.Auth)
	if err != nil {
		return nil, nil, usage(fmt.Errorf("--auth: %w", err), "")
	}
	if len(cmd.DNS) > 2 {
		return nil, nil, usage(fmt.Errorf("--dns: expected at most two servers, since IPCP has room for two, found %d", len(cmd.DNS)), "")
	}
	pool, err := endpoint.NewPool(netip.Prefix(cmd.Pool), netip.Addr(cmd.Gateway), plain(cmd.DNS))
	if err != nil {
		return nil, nil, usage(fmt.Errorf("--pool, --gateway: %w", err), "")
	}
	mppe, err := endpoint.ParseMPPE(cmd.MPPE)
	if err != nil {
		return nil, nil, usage(fmt.Errorf("--mppe: %w", err), "")
	}
	users, err := readUsers(cmd.UsersFile)
	if err != nil {
		return nil, nil, err
	}
	secret, err := readSecret("tunnel secret", cmd.SecretFile, "L2TPNET_SECRET")
	if err != nil {
		return nil, nil, err
	}
	if cmd.HideAVPs && secret == "" {
		return nil, nil, usage(fmt.Errorf("expected a tunnel secret for --hide-avps, found none"), "give it with --secret-file or L2TPNET_SECRET")
	}
	return &endpoint.AnswerConfig{
		Secret: secret, Methods: methods, Authenticate: usersOf(users), Pool: pool,
		MPPE: mppe, NoIPv6: cmd.NoIPv6, HideAVPs: cmd.HideAVPs, PlacesCalls: cmd.PlacesCalls,
	}, pool, nil
}
