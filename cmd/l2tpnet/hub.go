package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/node"
)

type hubCmd struct {
	Local      string   `default:":1701" placeholder:"ADDR:PORT" help:"UDP address of this end, for the ports that name none of their own. Default: ${default}."`
	Port       []string `placeholder:"NAME,KEY=VALUE,..." sep:"none" help:"A pseudowire: a name, and then, separated by commas, what has to be said. v3 has us dial remote=ADDR:PORT by L2TPv3, and dial again when that is lost; answer has the other end dial, from remote=ADDRESS if that is said. Both have remote-end-id=ID (default: the name), cookie-len, l2spec, seq, reorder-timeout, pw and mtu as l2tpnet connect --v3 has them. Without either the session is static: remote, session-id=N, peer-session-id=N and the words of l2tpnet pseudowire's flags. With isolated ports do not reach each other; local=ADDR:PORT is an address of our own. May be repeated."`
	PortsFile  string   `type:"path" placeholder:"FILE" help:"File of ports: a line with the name of each, and indented lines below it such as: remote 192.0.2.7:1701."`
	SecretFile string   `env:"L2TPNET_SECRET_FILE" placeholder:"FILE" help:"File with the tunnel secret of ports with v3 and answer alone; or set L2TPNET_SECRET to the secret itself."`
	v3Flags
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
	told := &hubTelling{p: p, hub: h, said: map[string]string{}}
	h.Events = told.event
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
			if port.negotiated() {
				continue
			}
			for _, line := range port.otherEnd(cmp.Or(port.local, cmd.Local)) {
				fmt.Fprintln(p.stderr, strings.Replace(line, "the other end", "the other end of "+port.name, 1))
			}
		}
	}
	if err := record.begin(h); err != nil {
		return err
	}
	note := time.AfterFunc(silence, func() {
		if cmd.DHCP {
			fmt.Fprintln(p.stderr, "l2tpnet: no address has come by DHCP yet; the ports are joined meanwhile")
		}
	})
	_, err = node.StartHub(p.ctx, h)
	note.Stop()
	if err != nil {
		return cmd.explain(err)
	}
	defer h.Close()
	told.open(ports)
	p.printf("%s%s", cmd.describe(h), services.describe())
	return services.serve(p.ctx, h, func(ctx context.Context) error { return told.watch(ctx) })
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
	if err := cmd.negotiates(h, ports); err != nil {
		return nil, nil, err
	}
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

// negotiates sets up the control connections of ports that have one.
func (cmd *hubCmd) negotiates(h *node.Hub, ports []*port) (err error) {
	if !slices.ContainsFunc(ports, (*port).negotiated) {
		name := cmd.v3Flags.given()
		if cmd.SecretFile != "" && os.Getenv("L2TPNET_SECRET_FILE") == "" { // which is there for others too
			name = cmp.Or(name, "--secret-file")
		}
		if name != "" {
			return usage(fmt.Errorf("expected a port with v3 or answer with %s, found none", name), "static sessions have no control connection, and no secret")
		}
		return nil
	}
	if h.Secret, err = readSecret("tunnel secret", cmd.SecretFile, "L2TPNET_SECRET"); err != nil {
		return err
	}
	h.V3, err = cmd.v3(h.Secret)
	return err
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
	if capture, ok := errors.AsType[*node.CaptureError](err); ok {
		return cannotCapture(capture.Err)
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
		what := "not up yet"
		switch {
		case port.Remote.IsValid():
			what = port.Remote.String()
		case h.Ports[i].Answer:
			what = "open to be asked for"
		}
		names[i] = fmt.Sprintf("%s (%s)", port.Bridge.Name, what)
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
