package proxy

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// A Forward joins each connection that it accepts to a fixed target, as ssh -L
// does.
type Forward struct {
	// Dialer is where all connections go, and who resolves the target's name.
	// Required.
	Dialer Dialer
	// Target is host:port; an IPv6 address has brackets. Required.
	Target string
	// Logger gets what is wrong with the listener or its clients at Warn,
	// targets that cannot be dialled at Info, flows at Debug. Nil: nobody.
	Logger *slog.Logger
	// Limits bound the clients of each Serve. There is no handshake.
	Limits Limits
}

// Serve accepts clients until ctx is done, and then returns nil, or until the
// listener fails, and then returns its error. In either case the listener and
// all connections are closed, and all goroutines have ended, when it returns. A
// client whose target cannot be dialled is reset.
func (f *Forward) Serve(ctx context.Context, ln net.Listener) error {
	return newServer(f.Limits, f.Logger, f.flow).serve(ctx, ln)
}

func (f *Forward) flow(ctx context.Context, srv *server, client net.Conn) {
	dialing, cancel := srv.dialContext(ctx)
	conn, err := f.Dialer.DialContext(dialing, "tcp", f.Target)
	cancel()
	if err != nil {
		srv.log.Info("dialling failed", "client", client.RemoteAddr(), "target", f.Target, "error", err)
		abort(client)
		return
	}
	srv.carry(ctx, client, conn, nil, f.Target)
}

// ParseForward reads a forward as ssh's option -L writes it,
//
//	[bind:]port:host:hostport
//
// into the address to listen on and the target. Without bind it is 127.0.0.1;
// an empty bind or * means all of the host's addresses. IPv6 addresses have
// brackets. The port 0 to listen on means any free one.
func ParseForward(s string) (listen, target string, err error) {
	fail := func(format string, args ...any) (string, string, error) {
		return "", "", fmt.Errorf("forward %q: %s", s, fmt.Sprintf(format, args...))
	}
	fields, err := splitFields(s)
	if err != nil {
		return fail("%v", err)
	}
	bind := "127.0.0.1"
	switch len(fields) {
	case 3:
	case 4:
		bind, fields = fields[0], fields[1:]
	default:
		return fail("expected [bind:]port:host:hostport, found %d fields (IPv6 addresses need brackets)", len(fields))
	}
	if bind == "*" {
		bind = ""
	}
	if bind != "" {
		if err := checkHost(bind); err != nil {
			return fail("bind: %v", err)
		}
	}
	port, err := parsePort(fields[0], 0)
	if err != nil {
		return fail("port: %v", err)
	}
	if err := checkHost(fields[1]); err != nil {
		return fail("host: %v", err)
	}
	hostport, err := parsePort(fields[2], 1)
	if err != nil {
		return fail("hostport: %v", err)
	}
	return net.JoinHostPort(bind, port), net.JoinHostPort(fields[1], hostport), nil
}

// splitFields splits s at its colons, but those in brackets, and takes the
// brackets away.
func splitFields(s string) (fields []string, err error) {
	for {
		var field string
		if rest, ok := strings.CutPrefix(s, "["); ok {
			if field, s, ok = strings.Cut(rest, "]"); !ok {
				return nil, fmt.Errorf("expected ] after [%s", field)
			}
			if addr, err := netip.ParseAddr(field); err != nil || !addr.Is6() {
				return nil, fmt.Errorf("expected an IPv6 address in brackets, found %q", field)
			}
			if s != "" && s[0] != ':' {
				return nil, fmt.Errorf("expected a colon after [%s], found %q", field, s)
			}
		} else if i := strings.IndexByte(s, ':'); i >= 0 {
			field, s = s[:i], s[i:]
		} else {
			field, s = s, ""
		}
		fields = append(fields, field)
		if s == "" {
			return fields, nil
		}
		s = s[1:]
	}
}

// parsePort is the canonical form of a port number.
func parsePort(s string, least int) (string, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || int(n) < least {
		return "", fmt.Errorf("expected a number from %d to 65535, found %q", least, s)
	}
	return strconv.FormatUint(n, 10), nil
}
