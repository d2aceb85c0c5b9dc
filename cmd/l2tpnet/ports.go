package main

import (
	"cmp"
	"encoding"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/l2tpnet/l2tpnet/endpoint"
	"github.com/l2tpnet/l2tpnet/endpoint/node"
)

// A port is a pseudowire of a hub, as the command line or a file has it: with the words
// of the flags of l2tpnet pseudowire, or of l2tpnet connect --v3 if it is negotiated.
type port struct {
	name     string
	local    string // empty: the hub's
	isolated bool
	mtu      int
	wireFlags

	// Of a port that is negotiated by L2TPv3: we dial (v3), or the other end does (answer).
	v3, answer  bool
	remoteEndID string
	cookieLen   cookieLen
}

func (p *port) negotiated() bool { return p.v3 || p.answer }

func newPort() *port {
	return &port{wireFlags: wireFlags{PW: pseudowire{kind: endpoint.PseudowireEthernet}}}
}

// parsePort reads "NAME,KEY=VALUE,…".
func parsePort(spec string) (*port, error) {
	p := newPort()
	for i, word := range strings.Split(spec, ",") {
		key, value, found := strings.Cut(strings.TrimSpace(word), "=")
		if i == 0 && !found {
			key, value = "name", key
		}
		if err := p.set(strings.TrimSpace(key), strings.TrimSpace(value)); err != nil {
			return nil, err
		}
	}
	return p, p.complete()
}

// portWords are what may be said of a port.
const portWords = "name, local, remote, session-id, peer-session-id, cookie, peer-cookie, l2spec, seq, reorder-timeout, pw, mtu, isolated, v3, answer, remote-end-id or cookie-len"

// set takes one word.
func (p *port) set(key, value string) error {
	parse := func(to encoding.TextUnmarshaler) error { return to.UnmarshalText([]byte(value)) }
	var err error
	switch key {
	case "name":
		p.name = value
	case "local":
		p.local, err = value, checkUDP("local", value)
	case "remote":
		if p.Remote, err = value, checkUDP("remote", value); err != nil && isAddress(value) {
			err = nil // which will do for a port that is answered: see complete
		}
	case "remote-end-id":
		if p.remoteEndID = value; value == "" {
			err = errors.New("expected the name of a circuit, found none")
		}
	case "cookie-len":
		err = parse(&p.cookieLen)
	case "session-id":
		err = parse(&p.SessionID)
	case "peer-session-id":
		err = parse(&p.PeerSessionID)
	case "cookie":
		err = parse(&p.Cookie)
	case "peer-cookie":
		err = parse(&p.PeerCookie)
	case "l2spec":
		err = parse(&p.L2spec)
	case "seq":
		err = parse(&p.Seq)
	case "reorder-timeout":
		err = parse(&p.ReorderTimeout)
	case "pw":
		err = parse(&p.PW)
	case "mtu":
		if p.mtu, err = strconv.Atoi(value); err != nil {
			err = fmt.Errorf("expected a number of bytes, found %q", value)
		}
	case "isolated", "v3", "answer":
		*map[string]*bool{"isolated": &p.isolated, "v3": &p.v3, "answer": &p.answer}[key] = true
		if value != "" {
			err = fmt.Errorf("expected it alone, found %q", value)
		}
	default:
		return fmt.Errorf("expected %s, found %q", portWords, key)
	}
	if err != nil && key != "local" && key != "remote" { // which say it themselves
		err = fmt.Errorf("%s: %w", key, err)
	}
	return err
}

// isAddress tells whether there is an IP address alone.
func isAddress(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil
}

// complete finds what is missing, and what is too much.
func (p *port) complete() error {
	ids := []flagGiven{{"session-id", p.SessionID != 0}, {"peer-session-id", p.PeerSessionID != 0}}
	remote := flagGiven{"remote", p.Remote != "" || p.answer}
	needed, excluded := append([]flagGiven{remote}, ids...), []flagGiven{{"remote-end-id", p.remoteEndID != ""}, {"cookie-len", p.cookieLen != 0}}
	if p.negotiated() {
		needed, excluded = []flagGiven{remote}, append(ids, flagGiven{"cookie", p.Cookie != nil}, flagGiven{"peer-cookie", p.PeerCookie != nil})
	}
	var missing []string
	for _, f := range needed {
		if !f.given {
			missing = append(missing, f.name)
		}
	}
	extra := firstGiven(excluded)
	switch {
	case p.v3 && p.answer:
		return errors.New("expected v3, by which we dial, or answer, by which the other end does, found both")
	case extra != "" && p.negotiated():
		return fmt.Errorf("expected no %s, which v3 and answer negotiate, found one", extra)
	case extra != "":
		return fmt.Errorf("expected v3 or answer with %s, which a static session does not have, found neither", extra)
	case len(missing) > 0:
		return fmt.Errorf("expected %s, found none", strings.Join(missing, ", "))
	case !p.PW.ethernet():
		return fmt.Errorf("pw: expected ethernet or vlan:ID in a hub, found %s", strings.ToLower(p.PW.String()))
	case p.answer && p.Remote != "" && !isAddress(p.Remote) && !isAddressPort(p.Remote):
		return fmt.Errorf("remote: expected the address of who may ask for the port, with a UDP port or without, such as 192.0.2.7, found %q", p.Remote)
	case p.answer:
		return nil
	}
	return checkUDP("remote", p.Remote)
}

func isAddressPort(s string) bool {
	_, err := netip.ParseAddrPort(s)
	return err == nil
}

// hubPort makes what the hub wants to know.
func (p *port) hubPort() (node.HubPort, error) {
	h := node.HubPort{Name: p.name, Local: p.local, Remote: p.Remote, Isolated: p.isolated, Answer: p.answer}
	if p.negotiated() {
		c := circuitFlags{RemoteEndID: p.remoteEndID, CookieLen: p.cookieLen, L2spec: p.L2spec, Seq: p.Seq, ReorderTimeout: p.ReorderTimeout}
		pw, err := c.pseudowire(p.PW)
		if err != nil {
			return h, err
		}
		pw.MTU, h.Pseudowire = p.mtu, pw
		return h, oneLine(pw.Validate())
	}
	static, err := p.static()
	if err != nil {
		return h, err
	}
	static.MTU, h.Static = p.mtu, static
	return h, oneLine(static.Validate())
}

// readPorts reads a file of ports: a line with the name of each, and indented ones below
// that say the rest.
//
//	north
//		remote 192.0.2.7:1701
//		session-id 1
//		peer-session-id 11
//	south
//		answer
//
// Lines that are empty or begin with # are comments.
func readPorts(file string) (ports []*port, err error) {
	last := func() *port { return ports[len(ports)-1] }
	r := stanzaReader{
		kind: "port", head: "the name of a port", hint: portsFileHint,
		begin: func(line string) error {
			p := newPort()
			p.name = strings.TrimSpace(line)
			ports = append(ports, p)
			if strings.ContainsAny(p.name, " \t") {
				return fmt.Errorf("expected the name of a port, found %q", p.name)
			}
			return nil
		},
		set:      func(key, value string) error { return last().set(key, value) },
		complete: func() error { return last().complete() },
	}
	err = r.read(file)
	return ports, err
}

const (
	portsFileHint = "a port is a line with its name, and below it indented lines such as: remote 192.0.2.7:1701"
	portHint      = "for example: --port north,remote=192.0.2.7:1701,v3 or --port south,answer, which are negotiated; or --port east,remote=192.0.2.9:1701,session-id=1,peer-session-id=11"
)

// sockets is how many sockets a hub's ports have, where local is that of those which say
// none.
func sockets(ports []*port, local string) int {
	var all []string
	for _, p := range ports {
		all = append(all, cmp.Or(p.local, local))
	}
	slices.Sort(all)
	return len(slices.Compact(all))
}
