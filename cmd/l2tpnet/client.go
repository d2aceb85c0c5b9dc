package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint"
	"github.com/l2tpnet/l2tpnet/endpoint/node"
)

// dialFlags are what every command that dials has in common.
type dialFlags struct {
	pppFlags     `group:"PPP:"`
	SecretFile   string  `env:"L2TPNET_SECRET_FILE" placeholder:"FILE" help:"File with the tunnel secret alone; or set L2TPNET_SECRET to the secret itself."`
	HideAVPs     bool    `name:"hide-avps" help:"Hide what may be hidden of control messages, with the tunnel secret."`
	OutgoingCall string  `placeholder:"NUMBER" help:"Ask the server to place a call to a number, instead of telling it of one."`
	SourcePort   uint16  `placeholder:"PORT" help:"UDP port to dial from: some servers want 1701, many clients behind one NAT need different ones. Default: any."`
	Bind         address `placeholder:"ADDR" help:"Address of this machine to dial from. Default: as the routes say."`
	Device       string  `placeholder:"NAME" help:"Network interface to dial through. Default: as the routes say."`
	NoIPv6       bool    `name:"no-ipv6" help:"Carry IPv4 alone."`
	Verbose      int     `short:"v" type:"counter" help:"Log to standard error what happens; -vv every control message too."`
	Once         bool    `xor:"redial" help:"Do not dial again: exit when the tunnel is down."`
	Retry        bool    `xor:"redial" help:"Go on dialling also when no server could be reached at first. Default: exit then, and dial again only what was up."`
	captureFlag
	v3DialFlags `group:"L2TPv3:"`
	insideFlags `group:"Inside the tunnel (PPP has an address and DNS servers negotiated):"`
}

// A client is a node.Client and what the user is told of it.
type client struct {
	node.Client
	p         *program
	recording *recording
	greeting  string // what the first line that tells of a connection ends with
	greeted   bool   // the events' goroutine's
	unwatch   func() // ends what watches it; nil: nothing does
}

// client reads the secrets, and prepares what does not need the network.
func (f *dialFlags) client(p *program, servers ...string) (*client, error) {
	ppp := &endpoint.PPPConfig{}
	if f.kind().kind == endpoint.PseudowirePPP {
		var err error
		if ppp, err = f.config(); err != nil {
			return nil, err
		}
	}
	secret, err := readSecret("tunnel secret", f.SecretFile, "L2TPNET_SECRET")
	if err != nil {
		return nil, err
	}
	if f.HideAVPs && secret == "" {
		return nil, usage(fmt.Errorf("expected a tunnel secret for --hide-avps, found none"), secretHint)
	}
	c := &client{p: p, Client: node.Client{
		Servers: servers, User: ppp.User, Password: ppp.Password, Secret: secret,
		Methods: ppp.Methods, MPPE: ppp.MPPE, NoIPv6: f.NoIPv6, HideAVPs: f.HideAVPs,
		Bind: netip.Addr(f.Bind), SourcePort: f.SourcePort, Device: f.Device,
		Once: f.Once, Logger: p.logger(f.Verbose),
	}}
	if err := f.negotiate(&c.Client); err != nil {
		return nil, err
	}
	c.Events = c.tell
	if f.OutgoingCall != "" {
		c.Outgoing = &endpoint.OutgoingCall{Number: f.OutgoingCall}
	}
	if c.recording, err = f.create(p); err != nil {
		return nil, err
	}
	if err := c.recording.begin(&c.Client); err != nil {
		c.recording.end()
		return nil, err
	}
	return c, nil
}

// dial returns when the tunnel is up, or with an error that explains why it is not.
func (c *client) dial(ctx context.Context) error {
	c.watch()
	if _, err := node.Dial(ctx, &c.Client); err != nil {
		return c.explain(err)
	}
	return nil
}

// start does not wait for the tunnel.
func (c *client) start() error {
	if err := c.Start(); err != nil {
		return c.explain(err)
	}
	c.watch()
	return nil
}

// tell prints what happens to the tunnel.
func (c *client) tell(e node.Event) {
	switch e := e.(type) {
	case node.Connected:
		switch {
		case !c.greeted:
			c.greeted = true
			if c.greeting != "" {
				c.p.printf("connected to %s%s", describe(&e, c.how(&e)), c.greeting)
			}
		default:
			c.p.printf("connected again to %s\n", describe(&e, c.how(&e)))
		}
	case node.Changed:
		c.p.printf("now address %s, DNS %s\n", addressList(reachable(e.Addresses)), addressList(e.DNS))
	case node.Disconnected:
		if !e.Next.IsZero() {
			c.complain("the tunnel is down: %v; dialling again in %s", e.Err, inSeconds(e.Next))
		}
	case node.Failed:
		if !e.Next.IsZero() {
			c.complain("no tunnel: %v; dialling again in %s", e.Err, inSeconds(e.Next))
		}
	}
}

func (c *client) complain(format string, args ...any) {
	fmt.Fprintf(c.p.stderr, "l2tpnet: "+format+"\n", args...)
}

// inSeconds is how long it is until t, for people.
func inSeconds(t time.Time) string {
	return strconv.Itoa(int(max(1, time.Until(t).Round(time.Second)/time.Second))) + " s"
}

// wait returns when the user ends the program, with nil, or the client has ended.
func (c *client) wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-c.Done():
		return c.ended()
	}
}

// ended is why the client has ended, for the user.
func (c *client) ended() error {
	if c.Status().Connects == 0 {
		return c.explain(c.Err())
	}
	return fmt.Errorf("the tunnel is down: %w", c.Err())
}

// explain is explainDial for those, too, who have named no user.
func (c *client) explain(err error) error {
	if _, attempted := errors.AsType[*node.AttemptError](err); !attempted && !errors.Is(err, endpoint.ErrAddress) && !errors.Is(err, context.Canceled) {
		return usage(oneLine(err), "") // before anybody was called
	}
	explained := explainDial(err)
	var ended *endpoint.PPPError
	if _, told := explained.(*failure); !told && c.User == "" && errors.As(err, &ended) {
		return &failure{err, "no user was named, and the server may want one: --user and --password-file", 1}
	}
	if _, told := explained.(*failure); !told && c.V3 != nil {
		return c.explainV3(err)
	}
	return explained
}

// close says goodbye to the server, for two seconds at most. The error is that of
// the capture, if there was one.
func (c *client) close() error {
	c.Close()
	if c.unwatch != nil {
		c.unwatch()
	}
	return c.recording.end()
}

// describe is what a user wants to know of a connection, in half a line. How says by which
// means, if there is a choice.
func describe(c *node.Connected, how string) string {
	var b strings.Builder
	fmt.Fprint(&b, c.Peer)
	if c.PeerName != "" {
		fmt.Fprintf(&b, " (%s)", printable(c.PeerName))
	}
	b.WriteString(how)
	for _, a := range reachable(c.Addresses) {
		fmt.Fprintf(&b, ", address %v", a)
	}
	if c.Gateway.IsValid() {
		fmt.Fprintf(&b, ", gateway %v", c.Gateway)
	}
	fmt.Fprintf(&b, ", DNS %s", addressList(c.DNS))
	return b.String()
}

// reachable are the inner addresses that others can reach, or if there are none the
// link-local one.
func reachable(all []netip.Addr) []netip.Addr {
	global := slices.DeleteFunc(slices.Clone(all), netip.Addr.IsLinkLocalUnicast)
	if len(global) == 0 {
		return all
	}
	return global
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
