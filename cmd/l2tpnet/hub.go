package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint"
	"github.com/l2tpnet/l2tpnet/endpoint/node"
)

type hubCmd struct {
	Local     string   `default:":1701" placeholder:"ADDR:PORT" help:"UDP address of this end, for the ports that name none of their own. Default: ${default}."`
	Port      []string `placeholder:"NAME,KEY=VALUE,..." sep:"none" help:"A pseudowire: a name, and then, separated by commas, remote=ADDR:PORT, session-id=N, peer-session-id=N and what else has to be said with the words of l2tpnet pseudowire's flags (local, cookie, peer-cookie, l2spec, seq, reorder-timeout, pw, mtu), or isolated: such ports do not reach each other. May be repeated."`
	PortsFile string   `type:"path" placeholder:"FILE" help:"File of ports: a line with the name of each, and indented lines below it such as: remote 192.0.2.7:1701."`
	insideFlags
	NoIPv6 bool `name:"no-ipv6" help:"Our own stack has IPv4 alone. What the ports carry is their business."`

	ServeDHCP   string `name:"serve-dhcp" placeholder:"RANGE" help:"Lease these addresses to the machines at the ports, such as 10.77.0.100-10.77.0.199."`
	Advertise   prefix `placeholder:"PREFIX" help:"IPv6 prefix of 64 bits that the machines at the ports make their addresses from, such as fd00:77::/64."`
	egressFlags `set:"who=the machines at the ports" set:"whose=their"`

	listenFlags `set:"socks=none"`
	Verbose     int `short:"v" type:"counter" help:"Log to standard error what happens, and how Linux and QEMU make the other ends; -vv more."`
	captureFlag
}

func (cmd *hubCmd) Run(p *program) (err error) {
	ports, h, err := cmd.hub()
	if err != nil {
		return err
	}
	h.Logger = p.logger(cmd.Verbose)
	if h.LAN != nil && h.LAN.Egress != nil {
		h.LAN.Egress.Logger = h.Logger
	}
	h.Events = func(e node.HubEvent) {
		switch e.What {
		case node.PortHeld:
			fmt.Fprintf(p.stderr, "l2tpnet: the port %s is held: what goes out of the hub comes back to it, a loop\n", e.Port)
		case node.PortReleased:
			fmt.Fprintf(p.stderr, "l2tpnet: the port %s is released\n", e.Port)
		}
	}
	services, err := cmd.listenFlags.open("", h.Logger)
	if err != nil {
		return err
	}
	defer services.close()
	record, err := cmd.create(p)
	if err != nil {
		return err
	}
	defer func() { err = cmp.Or(err, record.end()) }()
	if cmd.Verbose > 0 {
		for _, port := range ports {
			for _, line := range port.otherEnd(cmp.Or(port.local, cmd.Local)) {
				fmt.Fprintln(p.stderr, strings.Replace(line, "the other end", "the other end of "+port.name, 1))
			}
		}
	}
	if cmd.DHCP {
		note := time.AfterFunc(silence, func() {
			fmt.Fprintln(p.stderr, "l2tpnet: no address has come by DHCP yet; the ports are joined meanwhile")
		})
		defer note.Stop()
	}
	if _, err := node.StartHub(p.ctx, h); err != nil {
		return cmd.explain(err)
	}
	defer h.Close()
	if cmd.Pcap != "" {
		if err := record.begin(h.Endpoints()[0]); err != nil {
			return err
		}
	}
	p.printf("%s%s", cmd.describe(h), services.describe())
	return services.serve(p.ctx, h, func(ctx context.Context) error { return watchHub(ctx, p, h) })
}

// watchHub says what is wrong with ports that nothing comes out of, each thing once, until
// ctx is done or the hub has ended, which is its error. A port that is silent is no news.
func watchHub(ctx context.Context, p *program, h *node.Hub) error {
	look := time.NewTicker(silence)
	defer look.Stop()
	told := map[string]string{} // by port
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-h.Done():
			return h.Err()
		case <-look.C:
		}
		for _, port := range h.Status().Ports {
			name, in := port.Bridge.Name, port.Session.Traffic
			if in.CookieDiscards+in.SequenceDiscards+in.Invalid == 0 {
				continue
			}
			if words, hint := diagnose(in, endpoint.Counters{}); words != "" && words != told[name] {
				told[name] = words
				fmt.Fprintf(p.stderr, "l2tpnet: port %s: %s\nhint: %s\n", name, words, hint)
			}
		}
	}
}

// hub makes one of the flags.
func (cmd *hubCmd) hub() (ports []*port, h *node.Hub, err error) {
	fail := func(err error, hint string) ([]*port, *node.Hub, error) { return nil, nil, usage(err, hint) }
	if cmd.PortsFile != "" {
		if ports, err = readPorts(cmd.PortsFile); err != nil {
			return nil, nil, err
		}
	}
	for _, spec := range cmd.Port {
		p, err := parsePort(spec)
		if err != nil {
			return fail(fmt.Errorf("--port %s: %w", cmp.Or(strings.Split(spec, ",")[0], `""`), err), portHint)
		}
		ports = append(ports, p)
	}
	if len(ports) == 0 {
		return fail(errors.New("expected --port or --ports-file, found none"), portHint)
	}
	if err := checkUDP("local", cmd.Local); err != nil {
		return fail(err, "")
	}
	h = &node.Hub{Local: cmd.Local}
	for i, p := range ports {
		p.name = cmp.Or(p.name, fmt.Sprintf("port%d", i+1))
		hp, err := p.hubPort()
		if err = cmp.Or(err, checkFamilies(cmp.Or(p.local, cmd.Local), p.Remote)); err != nil {
			return fail(fmt.Errorf("port %s: %w", p.name, err), "")
		}
		h.Ports = append(h.Ports, hp)
	}
	if n := sockets(ports, cmd.Local); n > 1 && cmd.Pcap != "" {
		return fail(fmt.Errorf("--pcap: expected ports with one local address, since a capture is one socket's, found %d", n), "")
	}
	if h.LAN, err = cmd.lan(); err != nil {
		return nil, nil, err
	}
	return ports, h, nil
}

// lan makes our own stack, if anything is said of it.
func (cmd *hubCmd) lan() (*node.LAN, error) {
	egress, err := cmd.egress()
	if err != nil {
		return nil, err
	}
	if err := cmd.insideFlags.check(true); err != nil {
		return nil, err
	}
	l := &node.LAN{
		DNS: plain(cmd.DNS), DHCP: cmd.DHCP, MAC: net.HardwareAddr(cmd.MAC), MTU: cmd.MTU, NoIPv6: cmd.NoIPv6,
		Advertise: netip.Prefix(cmd.Advertise), ForwardDNS: cmd.forwards(), Egress: egress,
	}
	for _, a := range cmd.Address {
		l.Addresses = append(l.Addresses, netip.Prefix(a))
	}
	if l.Gateway, l.Gateway6, err = cmd.gateways(); err != nil {
		return nil, err
	}
	if cmd.ServeDHCP != "" {
		if l.ServeDHCP, err = node.ParseDHCPRange(cmd.ServeDHCP); err != nil {
			return nil, usage(fmt.Errorf("--serve-dhcp: %w", err), "")
		}
	}
	if len(l.Addresses) > 0 || l.DHCP || l.Advertise.IsValid() {
		return l, nil
	}
	for flag, given := range map[string]bool{
		"--egress": cmd.Egress, "--serve-dhcp": cmd.ServeDHCP != "", "--dns-forward": len(cmd.DNSForward) > 0,
		"--socks": cmd.Socks != "", "-L": len(cmd.Forward) > 0, "--gateway": len(cmd.Gateway) > 0, "--mac": cmd.MAC != nil,
	} {
		if given {
			return nil, usage(fmt.Errorf("expected an address of our own for %s, found none", flag), "--address 10.77.0.1/24 gives one, or --dhcp has one leased")
		}
	}
	return nil, nil
}

// explain says what has kept a hub from being started.
func (cmd *hubCmd) explain(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "listen" {
		return explainListen(err, cmp.Or(fmt.Sprint(op.Addr), cmd.Local), "--local")
	}
	if errors.Is(err, context.Canceled) {
		return err
	}
	return usage(ofNetstack(oneLine(err)), "")
}

// describe is what a user wants to know of a hub that has started, in a line.
func (cmd *hubCmd) describe(h *node.Hub) string {
	var b strings.Builder
	st := h.Status()
	names := make([]string, len(st.Ports))
	for i, port := range st.Ports {
		names[i] = fmt.Sprintf("%s (%v)", port.Bridge.Name, port.Remote)
	}
	fmt.Fprintf(&b, "hub of %s", strings.Join(names, ", "))
	if st.LAN == nil {
		return b.String()
	}
	for _, a := range reachable(st.LAN.Addresses) {
		fmt.Fprintf(&b, ", address %v", a)
	}
	if cmd.ServeDHCP != "" {
		fmt.Fprintf(&b, ", DHCP %v", h.LAN.ServeDHCP)
	}
	if h.LAN.Advertise.IsValid() {
		fmt.Fprintf(&b, ", IPv6 %v", h.LAN.Advertise)
	}
	if len(st.LAN.DNS) > 0 {
		fmt.Fprintf(&b, ", DNS %s", addressList(st.LAN.DNS))
	}
	if h.LAN.Egress != nil {
		b.WriteString(", egress through this machine")
	}
	return b.String()
}
