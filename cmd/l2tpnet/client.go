package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint"
	"github.com/l2tpnet/l2tpnet/netstack"
)

// dialFlags are what every command that dials has in common.
type dialFlags struct {
	Server string `arg:"" placeholder:"SERVER[:PORT]" help:"The L2TP server's name or address; the port is 1701 when there is none."`

	User         string  `short:"u" env:"L2TPNET_USER" placeholder:"NAME" help:"User name for PPP."`
	PasswordFile string  `env:"L2TPNET_PASSWORD_FILE" placeholder:"FILE" help:"File with the password alone; or set L2TPNET_PASSWORD to the password itself."`
	SecretFile   string  `env:"L2TPNET_SECRET_FILE" placeholder:"FILE" help:"File with the tunnel secret alone; or set L2TPNET_SECRET to the secret itself."`
	Auth         string  `default:"${auth}" placeholder:"METHODS" help:"Authentication methods to use: mschapv2, chap, eap-mschapv2, eap-md5, pap. PAP shows the password to everybody on the way. Default: ${default}."`
	MPPE         string  `name:"mppe" default:"off" placeholder:"WHEN" help:"PPP encryption, which protects little: off, allowed or required. Default: ${default}."`
	NoIPv6       bool    `name:"no-ipv6" help:"Carry IPv4 alone."`
	HideAVPs     bool    `name:"hide-avps" help:"Hide what may be hidden of control messages, with the tunnel secret."`
	OutgoingCall string  `placeholder:"NUMBER" help:"Ask the server to place a call to a number, instead of telling it of one."`
	SourcePort   uint16  `placeholder:"PORT" help:"UDP port to dial from: some servers want 1701, many clients behind one NAT need different ones. Default: any."`
	Bind         address `placeholder:"ADDR" help:"Address of this machine to dial from. Default: as the routes say."`
	Device       string  `placeholder:"NAME" help:"Network interface to dial through. Default: as the routes say."`
	Verbose      int     `short:"v" type:"counter" help:"Log to standard error what happens; -vv every control message too."`
	captureFlag
}

// advertisementWait is how long a router advertisement is waited for, in a session
// that has IPv6.
const advertisementWait = 500 * time.Millisecond

// A client is a tunnel with a session in it and a stack on top.
type client struct {
	endpoint *endpoint.Endpoint
	tunnel   *endpoint.Tunnel
	session  *endpoint.Session
	stack    *netstack.Stack
	nic      *netstack.NIC

	recording *recording
}

// dial reads the secrets and dials.
func (f *dialFlags) dial(p *program) (*client, error) {
	methods, err := endpoint.ParseAuthMethods(f.Auth)
	if err != nil {
		return nil, usage(fmt.Errorf("--auth: %w", err), "")
	}
	if f.User != "" && f.PasswordFile == "" && os.Getenv("L2TPNET_PASSWORD") == "" {
		return nil, usage(fmt.Errorf("expected a password for the user %q, found none", f.User), "give it with --password-file or L2TPNET_PASSWORD")
	}
	mppe, err := endpoint.ParseMPPE(f.MPPE)
	if err != nil {
		return nil, usage(fmt.Errorf("--mppe: %w", err), "")
	}
	password, err := readSecret("password", f.PasswordFile, "L2TPNET_PASSWORD")
	if err != nil {
		return nil, err
	}
	secret, err := readSecret("tunnel secret", f.SecretFile, "L2TPNET_SECRET")
	if err != nil {
		return nil, err
	}
	if f.User == "" && password != "" {
		return nil, usage(fmt.Errorf("expected a user name for the password, found none"), "give it with --user or L2TPNET_USER")
	}
	if f.HideAVPs && secret == "" {
		return nil, usage(fmt.Errorf("expected a tunnel secret for --hide-avps, found none"), "give it with --secret-file or L2TPNET_SECRET")
	}
	pc := &endpoint.PPPConfig{User: f.User, Password: password, Methods: methods, MPPE: mppe, NoIPv6: f.NoIPv6}
	if err := pc.Validate(); err != nil {
		return nil, usage(err, "--auth names the methods, --mppe required wants mschapv2 or eap-mschapv2 among them")
	}
	if f.OutgoingCall != "" {
		pc.Outgoing = &endpoint.OutgoingCall{Number: f.OutgoingCall}
	}
	record, err := f.create(p)
	if err != nil {
		return nil, err
	}
	ep, err := f.listen(p)
	if err != nil {
		record.end()
		return nil, err
	}
	if err := record.begin(ep); err != nil {
		ep.Close()
		return nil, err
	}
	c, err := dial(p.ctx, p.logger(f.Verbose), ep, f.Server, &endpoint.TunnelConfig{Secret: secret, HideAVPs: f.HideAVPs}, pc)
	if err != nil {
		record.end()
		return nil, explainDial(err, f.Server)
	}
	c.recording = record
	return c, nil
}

// listen opens the endpoint's socket as the flags want it.
func (f *dialFlags) listen(p *program) (*endpoint.Endpoint, error) {
	host := ""
	if bind := netip.Addr(f.Bind); bind.IsValid() {
		host = bind.String()
	}
	address := net.JoinHostPort(host, strconv.Itoa(int(f.SourcePort)))
	ep, err := endpoint.Listen("udp", address, &endpoint.Config{Logger: p.logger(f.Verbose), Device: f.Device})
	if err != nil {
		return nil, explainListen(err, address, "--bind, --source-port or --device")
	}
	return ep, nil
}

// dial opens a tunnel and a session, and puts a stack on top. The endpoint is the
// client's, also when that fails.
func dial(ctx context.Context, log *slog.Logger, ep *endpoint.Endpoint, server string, tc *endpoint.TunnelConfig, pc *endpoint.PPPConfig) (_ *client, err error) {
	c := &client{endpoint: ep}
	defer func() {
		if err != nil {
			c.close()
		}
	}()
	if c.tunnel, err = c.endpoint.Dial(ctx, server, tc); err != nil {
		return nil, err
	}
	if c.session, err = c.tunnel.OpenPPP(ctx, pc); err != nil {
		return nil, err
	}
	if c.stack, err = netstack.New(&netstack.Config{Logger: log}); err != nil {
		return nil, err
	}
	id, _ := c.session.InterfaceIDs()
	c.nic, err = c.stack.AddIP(c.session, &netstack.IPConfig{
		Addresses: c.session.Addresses(), DNS: c.session.DNS(), MTU: c.session.MTU(), InterfaceID: id,
	})
	if err != nil {
		return nil, err
	}
	c.session.Attach(c.nic)
	if id != [8]byte{} {
		// A router that is there answers our solicitation at once, and whoever
		// reads the first line wants to see its prefix.
		wait, cancel := context.WithTimeout(ctx, advertisementWait)
		c.nic.WaitIPv6(wait)
		cancel()
	}
	// Without its tunnel a stack has nowhere to go: what is open in it fails.
	go func() {
		<-c.session.Done()
		c.stack.Fail(c.session.Err())
	}()
	return c, nil
}

// wait returns when the user ends the program, with nil, or the session has ended.
func (c *client) wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-c.session.Done():
		return fmt.Errorf("the tunnel is down: %w", c.session.Err())
	}
}

// close says goodbye to the server, for two seconds at most. The error is that of
// the capture, if there was one.
func (c *client) close() error {
	if c.endpoint != nil {
		c.endpoint.Close()
	}
	if c.stack != nil {
		c.stack.Close()
	}
	return c.recording.end()
}

// describe is what a user wants to know of a connection, in half a line.
func (c *client) describe() string {
	var b strings.Builder
	fmt.Fprintf(&b, "connected to %v", c.tunnel.Peer())
	if name := c.tunnel.PeerName(); name != "" {
		fmt.Fprintf(&b, " (%s)", printable(name))
	}
	for _, a := range c.addresses() {
		fmt.Fprintf(&b, ", address %v", a)
	}
	if a := c.session.PeerAddress(); a.IsValid() {
		fmt.Fprintf(&b, ", gateway %v", a)
	}
	fmt.Fprintf(&b, ", DNS %s", addressList(c.nic.DNS()))
	return b.String()
}

// addresses are the inner ones that others can reach, or if there are none the
// link-local one.
func (c *client) addresses() []netip.Addr {
	all := c.nic.Addresses()
	global := slices.DeleteFunc(slices.Clone(all), netip.Addr.IsLinkLocalUnicast)
	if len(global) == 0 {
		return all
	}
	return global
}

// watch prints what router advertisements have changed since the first line, until
// the session ends.
func (c *client) watch(p *program) {
	shown := fmt.Sprint(c.addresses(), c.nic.DNS())
	for {
		select {
		case <-c.nic.Changed():
		case <-c.session.Done():
			return
		}
		if now := fmt.Sprint(c.addresses(), c.nic.DNS()); now != shown {
			shown = now
			p.printf("now address %s, DNS %s\n", addressList(c.addresses()), addressList(c.nic.DNS()))
			select { // a router that changes its mind all the time gets a line now and then
			case <-time.After(5 * time.Second):
			case <-c.session.Done():
				return
			}
		}
	}
}

func addressList(addrs []netip.Addr) string {
	if len(addrs) == 0 {
		return "none"
	}
	words := make([]string, len(addrs))
	for i, a := range addrs {
		words[i] = a.String()
	}
	return strings.Join(words, " ")
}

// printable is a peer's word for a terminal: short, and without control characters.
func printable(s string) string {
	s = strings.ToValidUTF8(s, "?")
	s = strings.Map(func(r rune) rune {
		if !strconv.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
	if r := []rune(s); len(r) > 64 {
		s = string(r[:64]) + "…"
	}
	return s
}
