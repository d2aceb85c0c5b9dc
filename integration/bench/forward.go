//go:build linux

package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/node"
	"github.com/l2tpnet/l2tpnet/integration/internal/roles"
	"github.com/l2tpnet/l2tpnet/proxy"
)

// A forward is the way from a listener on this machine to a host's services.
type forward struct {
	sink, echo string // where the client connects to; echo may be empty
	path       []meter
	host       *roles.Child // where it ends
}

// A scaffold is what each forward may need.
type scaffold struct {
	h      *hall
	target *roles.Child // the host in this namespace
	ports  hostPorts
	small  bool
}

// forwards has all that forward a port, between the same client and the same server (doc.go).
var forwards = &scene{name: "forward", open: func(h *hall, small bool, wanted func(string) bool) (lanes []lane, err error) {
	s := &scaffold{h: h, small: small}
	if s.target, err = h.child("host", nil); err != nil {
		return nil, err
	}
	if err := s.target.Ask("start", nil, &s.ports); err != nil {
		return nil, err
	}
	client, err := h.child("client", nil)
	if err != nil {
		return nil, err
	}
	for _, way := range []struct {
		lane string
		open func(*scaffold) (forward, error)
	}{{ours, openOurs}, {slirp, openSlirp}, {gvisorTap, openGVisorTap}, {wireguard, openWireGuard}, {ssh, openSSH}} {
		if !wanted(way.lane) {
			continue
		}
		f, err := way.open(s)
		if err != nil && way.lane != ours {
			h.missing(way.lane, strings.TrimSpace(err.Error()))
			continue
		}
		if err != nil {
			return nil, err
		}
		b := bulk{client: client, taker: f.host, target: f.sink, echo: f.echo, path: f.path}
		lanes = append(lanes, b.lane(h, way.lane))
	}
	return lanes, nil
}}

// outward is a port of this machine's services as others outside of loopback see it.
func outward(port string) string { return net.JoinHostPort(ownAddress, port) }

// openOurs is l2tpnet connect and l2tpnet serve or, where buffers are to be small, what they are made of.
func openOurs(s *scaffold) (f forward, err error) {
	if s.small {
		return openOursSmall(s)
	}
	program, err := s.h.built("l2tpnet")
	if err != nil {
		return f, err
	}
	users, password := filepath.Join(s.h.dir, "users"), filepath.Join(s.h.dir, "password")
	for file, content := range map[string]string{users: roles.User + ":" + roles.Password, password: roles.Password} {
		if err := os.WriteFile(file, []byte(content+"\n"), 0o600); err != nil {
			return f, err
		}
	}
	serve, err := s.h.start(nil, nil, program, "serve", "--listen", "127.0.0.1:0", "--users-file", users, "--egress", "--allow-host", ownAddress)
	if err != nil {
		return f, err
	}
	server, err := serve.find(`answering on (\S+),`)
	if err != nil {
		return f, err
	}
	sink, echo := outward(s.ports.Sink), outward(s.ports.Echo)
	connect, err := s.h.start(nil, nil, program, "connect", server, "--user", roles.User, "--password-file", password, "-L", "0:"+sink, "-L", "0:"+echo)
	if err != nil {
		return f, err
	}
	f = forward{path: []meter{serve.meter, connect.meter}, host: s.target}
	if f.sink, err = connect.find(`(127\.0\.0\.1:\d+) to ` + regexp.QuoteMeta(sink)); err != nil {
		return f, err
	}
	f.echo, err = connect.find(`(127\.0\.0\.1:\d+) to ` + regexp.QuoteMeta(echo))
	return f, err
}

// find waits for a line of standard output, and returns what the parentheses have.
func (p *process) find(pattern string) (string, error) {
	line, err := p.line()
	if err != nil {
		return "", err
	}
	m := regexp.MustCompile(pattern).FindStringSubmatch(line)
	if m == nil {
		return "", p.fail("expected a line with %s, found %q", pattern, line)
	}
	return m[1], nil
}

func openOursSmall(s *scaffold) (f forward, err error) {
	server, err := s.h.child("server", nil)
	if err != nil {
		return f, err
	}
	var address netip.AddrPort
	if err := server.Ask("start", roles.ServerConfig{SmallSocket: true, Processors: processors(), AllowHost: []string{ownAddress}}, &address); err != nil {
		return f, err
	}
	forwarder, err := s.h.child("forwarder", nil)
	if err != nil {
		return f, err
	}
	order := forwardOrder{Server: address.String(), Processors: processors(), Targets: []string{outward(s.ports.Sink), outward(s.ports.Echo)}}
	var listen []string
	if err := forwarder.Ask("start", order, &listen); err != nil {
		return f, err
	}
	return forward{sink: listen[0], echo: listen[1], path: []meter{meterOf(server), meterOf(forwarder)}, host: s.target}, nil
}

// A forwardOrder is what a forwarder is to forward to, by a server.
type forwardOrder struct {
	Server     string
	Processors int // of Go's; 0: as it likes
	Targets    []string
}

// processors is what l2tpnet itself does: one where there are two.
func processors() int {
	if os.Getenv("GOMAXPROCS") == "" && runtime.GOMAXPROCS(0) <= 2 {
		return 1
	}
	return 0
}

// newForwarder is what "l2tpnet connect -L" is made of, on a small socket.
func newForwarder() roles.Role {
	return roles.Role{
		"start": roles.Asks(func(order forwardOrder) (listen []string, err error) {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			if order.Processors > 0 {
				runtime.GOMAXPROCS(order.Processors)
			}
			c, err := node.Dial(ctx, &node.Client{
				Server: order.Server, User: roles.User, Password: roles.Password,
				Socket: func(string) (net.PacketConn, error) { return roles.ListenUDP("127.0.0.1:0", true) },
			})
			if err != nil {
				return nil, err
			}
			for _, target := range order.Targets {
				ln, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					return nil, err
				}
				listen = append(listen, ln.Addr().String())
				go (&proxy.Forward{Dialer: c, Target: target}).Serve(context.Background(), ln)
			}
			return listen, nil
		}),
		"report": roles.Asks(func(collect bool) (report, error) { return report{Usage: roles.Used(collect)}, nil }),
	}
}

// freePort is one on loopback that nobody has at the moment.
func freePort() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer ln.Close()
	return portOf(ln.Addr()), nil
}

// freePorts are several.
func freePorts(n int) (ports []string, err error) {
	for range n {
		port, err := freePort()
		if err != nil {
			return nil, fmt.Errorf("a free port: %w", err)
		}
		ports = append(ports, port)
	}
	return ports, nil
}

// local is a port on loopback.
func local(port string) string { return net.JoinHostPort("127.0.0.1", port) }

// reachable waits until a process listens.
func (p *process) reachable(address string) error {
	return p.ready(func() error {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
		}
		return err
	})
}
