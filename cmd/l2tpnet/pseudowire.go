package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint"
	"github.com/l2tpnet/l2tpnet/endpoint/node"
)

type pseudowireCmd struct {
	Local string `placeholder:"ADDR:PORT" help:"UDP address of this end, as the other end knows it; :PORT is all addresses of this machine."`
	wireFlags
	insideFlags
	NoIPv6      bool `name:"no-ipv6" help:"Carry IPv4 alone."`
	pppFlags    `group:"With --pw ppp:"`
	UsersFile   string `group:"With --pw ppp:" type:"path" placeholder:"FILE" help:"Be the server, for the users of this file, which is as l2tpnet serve has it. Our address is --address, and theirs another one of its network."`
	listenFlags `set:"socks=127.0.0.1:1080, or none when there is a -L"`
	Device      string `placeholder:"NAME" help:"Network interface to use. Default: as the routes say."`
	Verbose     int    `short:"v" type:"counter" help:"Log to standard error what happens, and how Linux and QEMU make the other end; -vv more."`
	captureFlag
}

// silence is how long nothing has come before a word is said of it: who has set up one
// end only, or both differently, is told nothing by the protocol.
const silence = 5 * time.Second

func (cmd *pseudowireCmd) Run(p *program) (err error) {
	wire, err := cmd.pseudowire()
	if err != nil {
		return err
	}
	wire.Logger = p.logger(cmd.Verbose)
	services, err := cmd.listenFlags.open(defaultSocks, wire.Logger)
	if err != nil {
		return err
	}
	defer services.close()
	record, err := cmd.create(p)
	if err != nil {
		return err
	}
	w := &wireEnd{p: p, cmd: cmd, greeting: services.describe()}
	wire.Events = w.tell
	if err := record.begin(wire); err != nil {
		return cmp.Or(err, record.end())
	}
	defer func() { err = cmp.Or(err, record.end()) }()
	if cmd.Verbose > 0 {
		for _, line := range cmd.otherEnd(cmd.Local) {
			fmt.Fprintln(p.stderr, line)
		}
	}
	watched := make(chan struct{})
	ctx, stop := context.WithCancel(p.ctx)
	go func() {
		defer close(watched)
		w.watch(ctx, wire)
	}()
	defer func() { stop(); <-watched }()
	if _, err := node.OpenPseudowire(p.ctx, wire); err != nil {
		return cmd.explain(err)
	}
	defer wire.Close()
	return services.serve(p.ctx, wire, func(ctx context.Context) error {
		select {
		case <-ctx.Done():
			return nil
		case <-wire.Done():
			return wire.Err()
		}
	})
}

// pseudowire makes one of the flags.
func (cmd *pseudowireCmd) pseudowire() (*node.Pseudowire, error) {
	if missing := cmd.missing(); len(missing) > 0 {
		return nil, usage(fmt.Errorf("expected %s, found none", strings.Join(missing, ", ")), pseudowireExample)
	}
	if err := cmp.Or(checkUDP("local", cmd.Local), checkUDP("remote", cmd.Remote), checkFamilies(cmd.Local, cmd.Remote)); err != nil {
		return nil, usage(err, "")
	}
	static, err := cmd.static()
	if err != nil {
		return nil, err
	}
	if err := cmd.insideFlags.check(cmd.PW.ethernet()); err != nil {
		return nil, err
	}
	ppp := cmd.PW.kind == endpoint.PseudowirePPP
	var users map[string]node.User
	switch {
	case ppp:
		if static.PPP, err = cmd.config(); err != nil {
			return nil, err
		}
		static.PPP.MRU, static.PPP.NoIPv6 = cmd.MTU, cmd.NoIPv6
		if cmd.UsersFile != "" {
			if users, err = readUsers(cmd.UsersFile); err != nil {
				return nil, err
			}
			if len(cmd.Address) == 0 {
				return nil, usage(errors.New("expected --address with --users-file, found none"), "for example: --address 10.77.0.1/24")
			}
		}
	case cmd.UsersFile != "":
		return nil, usage(errors.New("expected --pw ppp with --users-file, found another type"), "")
	case cmd.pppFlags.given() != "":
		return nil, usage(fmt.Errorf("expected --pw ppp with %s, found another type", cmd.pppFlags.given()), "only PPP has users")
	default:
		static.MTU = cmd.MTU
	}
	if !ppp && len(cmd.Address) == 0 && !cmd.DHCP && (cmd.NoIPv6 || !cmd.PW.ethernet()) {
		return nil, usage(errors.New("expected --address or --dhcp, found none"), "for example: --address 10.77.0.5/24 --gateway 10.77.0.1")
	}
	if err := static.Validate(); err != nil {
		return nil, usage(oneLine(err), "")
	}
	wire := &node.Pseudowire{Local: cmd.Local, Remote: cmd.Remote, Device: cmd.Device, Static: static, NoIPv6: cmd.NoIPv6, Users: users}
	cmd.insideFlags.apply(wire)
	return wire, nil
}

// pseudowireExample has the least that both ends have to agree on.
const pseudowireExample = "for example: l2tpnet pseudowire --local 192.0.2.1:1701 --remote 192.0.2.7:1701 --session-id 1 --peer-session-id 2 --address 10.77.0.5/24"

// missing are the flags without which there is no pseudowire.
func (cmd *pseudowireCmd) missing() (flags []string) {
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"--local", cmd.Local != ""}, {"--remote", cmd.Remote != ""},
		{"--session-id", cmd.SessionID != 0}, {"--peer-session-id", cmd.PeerSessionID != 0},
	} {
		if !f.set {
			flags = append(flags, f.name)
		}
	}
	return flags
}

// explain says what has kept a pseudowire from being opened.
func (cmd *pseudowireCmd) explain(err error) error {
	if socket, ok := errors.AsType[*node.SocketError](err); ok {
		if cmd.Device == "" {
			return explainListen(socket.Err, socket.Local, "--local")
		}
		return explainListen(socket.Err, socket.Local, flagsOfWire)
	}
	if auth, ok := errors.AsType[*endpoint.AuthError](err); ok && !auth.Tunnel {
		return explainDial(err)
	}
	if capture, ok := errors.AsType[*node.CaptureError](err); ok {
		return cannotCapture(capture.Err)
	}
	if errors.Is(err, context.Canceled) {
		return err
	}
	if inside, ok := errors.AsType[*node.InsideError](err); ok {
		return usage(ofNetstack(inside), insideHint)
	}
	if attempt, ok := errors.AsType[*node.AttemptError](err); ok && attempt.Address.IsValid() {
		return err
	}
	return usage(oneLine(err), "")
}

// flagsOfWire say which socket a pseudowire with a device has.
const flagsOfWire = "--local or --device"

// A wireEnd is what the user is told of a pseudowire.
type wireEnd struct {
	p        *program
	cmd      *pseudowireCmd
	greeting string
	greeted  bool // the events' goroutine's
}

func (w *wireEnd) tell(e node.Event) {
	switch e := e.(type) {
	case node.Connected:
		if !w.greeted {
			w.greeted = true
			w.p.printf("%v pseudowire to %s%s", w.cmd.PW, describe(&e, ""), w.greeting)
			return
		}
		w.p.printf("again: %v pseudowire to %s\n", w.cmd.PW, describe(&e, ""))
	case node.Changed:
		w.p.printf("now address %s, DNS %s\n", addressList(reachable(e.Addresses)), addressList(e.DNS))
	case node.Disconnected:
		if !e.Next.IsZero() {
			fmt.Fprintf(w.p.stderr, "l2tpnet: the pseudowire is down: %v; opening it again in %s\n", e.Err, inSeconds(e.Next))
		}
	}
}

// watch says what is wrong as long as nothing comes that belongs to the pseudowire, each
// thing once.
func (w *wireEnd) watch(ctx context.Context, wire *node.Pseudowire) {
	look := time.NewTicker(silence)
	defer look.Stop()
	for told := ""; ; {
		select {
		case <-look.C:
		case <-ctx.Done():
			return
		}
		st := wire.Status()
		var in endpoint.Traffic
		for _, t := range st.Endpoint.Tunnels {
			in = t.Traffic // there is one
		}
		words, hint := diagnose(in, st.Endpoint.Counters)
		if words == "" && st.Connects == 0 {
			words, hint = "frames come from the other end, but no address has come with them yet", sublayerHint+"; or there is no server there"
		}
		switch words {
		case "":
			return
		case told:
		default:
			told = words
			fmt.Fprintf(w.p.stderr, "l2tpnet: %s\nhint: %s\n", words, hint)
		}
	}
}

const sublayerHint = "--pw and --l2spec have to be the other end's: Linux has l2spec_type default when it is not set, most others none; the cookies have to fit, too"

// diagnose says what is wrong with a pseudowire that nothing has come out of; "":
// something has. others are datagrams that belong to no session.
func diagnose(in endpoint.Traffic, others endpoint.Counters) (words, hint string) {
	switch {
	case in.PacketsIn > 0:
		return "", ""
	case in.CookieDiscards > 0:
		return "frames come with another cookie than --peer-cookie, and are dropped", "--peer-cookie is the other end's cookie, --cookie its peer_cookie"
	case in.SequenceDiscards > 0:
		return "frames come without the numbers that --seq expects, and are dropped", "the other end has to number them: seq send or both, and l2spec_type default"
	case in.Invalid > 0:
		return "what comes are no frames of this pseudowire's type", sublayerHint
	case others.UnknownSession > 0:
		return "frames come for another session id, and are dropped", "--session-id is the other end's peer_session_id, --peer-session-id its session_id"
	case others.WrongPeer > 0:
		return "frames come from another address or port than --remote, and are dropped", "--remote is the address and the port that the other end sends from"
	}
	return "nothing has come from the other end yet", "do UDP datagrams come through? -v shows how Linux and QEMU make the other end"
}
