package netstack

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// A message over UDP without EDNS has at most 512 bytes (RFC 1035 §4.2.1);
// what is longer comes truncated, and is asked for again over TCP.
const maxUDPAnswer = 512

var (
	errNoSuchName  = errors.New("no such name")
	errNotTheReply = errors.New("not the reply to the question")
	errTruncated   = errors.New("truncated")
)

// An rcodeError is an answer that is none (RFC 1035 §4.1.1).
type rcodeError dnsmessage.RCode

func (e rcodeError) Error() string {
	return strings.TrimPrefix(dnsmessage.RCode(e).String(), "RCode")
}

// askAll asks one server for the records of name of several types at once. What
// one question brought is returned, though another failed.
func (s *Stack) askAll(ctx context.Context, patience time.Duration, server netip.AddrPort, name dnsmessage.Name, types []dnsmessage.Type) ([]netip.Addr, error) {
	answers, errs := make([][]netip.Addr, len(types)), make([]error, len(types))
	var wg sync.WaitGroup
	for i, t := range types[1:] {
		wg.Go(func() { answers[i+1], errs[i+1] = s.ask(ctx, patience, server, name, t) })
	}
	answers[0], errs[0] = s.ask(ctx, patience, server, name, types[0])
	wg.Wait()
	all := slices.Concat(answers...)
	if len(all) > 0 {
		return all, nil
	}
	// That there is no such record is known only if no question has failed.
	for _, err := range errs {
		if err != nil && !errors.Is(err, errNoSuchName) {
			return nil, err
		}
	}
	return nil, errs[0]
}

// ask asks one server once for the addresses of name: over UDP, for as long as
// patience, and over TCP if the answer was truncated, for s.dnsTimeout. No
// addresses and no error: the name has none.
func (s *Stack) ask(ctx context.Context, patience time.Duration, server netip.AddrPort, name dnsmessage.Name, t dnsmessage.Type) ([]netip.Addr, error) {
	q := dnsmessage.Question{Name: name, Type: t, Class: dnsmessage.ClassINET}
	addrs, err := s.exchange(ctx, patience, server, q, "udp", exchangeUDP)
	if errors.Is(err, errTruncated) {
		addrs, err = s.exchange(ctx, s.dnsTimeout, server, q, "tcp", exchangeTCP)
	}
	return addrs, err
}

func (s *Stack) exchange(ctx context.Context, patience time.Duration, server netip.AddrPort, q dnsmessage.Question, network string,
	talk func(net.Conn, []byte, dnsmessage.Question) ([]netip.Addr, error)) ([]netip.Addr, error) {
	var id [2]byte
	if _, err := io.ReadFull(s.rand, id[:]); err != nil {
		return nil, err
	}
	query, err := (&dnsmessage.Message{
		Header:    dnsmessage.Header{ID: binary.BigEndian.Uint16(id[:]), RecursionDesired: true},
		Questions: []dnsmessage.Question{q},
	}).Pack()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	// Each exchange has a socket of its own: a random port, and connected, so
	// that nobody but the server is listened to.
	c, err := s.DialContext(ctx, network, server.String())
	if err != nil {
		return nil, err
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	return talk(c, query, q)
}

func exchangeUDP(c net.Conn, query []byte, q dnsmessage.Question) ([]netip.Addr, error) {
	if _, err := c.Write(query); err != nil {
		return nil, err
	}
	b := make([]byte, maxUDPAnswer)
	for {
		n, err := c.Read(b)
		if err != nil {
			return nil, err
		}
		// Something else that reached our port, by mistake or by design, must
		// not keep the reply from us.
		if addrs, err := parseReply(b[:n], query, q); !errors.Is(err, errNotTheReply) {
			return addrs, err
		}
	}
}

// exchangeTCP talks as RFC 1035 §4.2.2 says: messages begin with their length.
func exchangeTCP(c net.Conn, query []byte, q dnsmessage.Question) ([]netip.Addr, error) {
	if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(query))), query...)); err != nil {
		return nil, err
	}
	var length [2]byte
	if _, err := io.ReadFull(c, length[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.BigEndian.Uint16(length[:]))
	if _, err := io.ReadFull(c, b); err != nil {
		return nil, err
	}
	addrs, err := parseReply(b, query, q)
	if errors.Is(err, errTruncated) {
		return nil, fmt.Errorf("%w over TCP", errNotTheReply)
	}
	return addrs, err
}

// parseReply is the addresses in the reply b to query, which asked q.
func parseReply(b, query []byte, q dnsmessage.Question) ([]netip.Addr, error) {
	var p dnsmessage.Parser
	h, err := p.Start(b)
	if err != nil || !h.Response || h.ID != binary.BigEndian.Uint16(query) {
		return nil, errNotTheReply
	}
	asked, err := p.AllQuestions()
	if err != nil || len(asked) != 1 || asked[0].Type != q.Type || asked[0].Class != q.Class || !sameName(asked[0].Name, q.Name) {
		return nil, errNotTheReply
	}
	switch {
	case h.Truncated:
		return nil, errTruncated
	case h.RCode == dnsmessage.RCodeNameError:
		return nil, errNoSuchName
	case h.RCode != dnsmessage.RCodeSuccess:
		return nil, rcodeError(h.RCode)
	}
	answers, err := p.AllAnswers()
	if err != nil {
		return nil, fmt.Errorf("malformed reply: %w", err)
	}
	return addressesOf(q, answers), nil
}

// addressesOf is the addresses of q's name among the answers, of its type, to
// which aliases may lead (RFC 1034 §3.6.2).
func addressesOf(q dnsmessage.Question, answers []dnsmessage.Resource) []netip.Addr {
	name := q.Name
	for range len(answers) + 1 { // each alias once: they may go round in circles
		var addrs []netip.Addr
		alias := name
		for _, a := range answers {
			if a.Header.Class != dnsmessage.ClassINET || !sameName(a.Header.Name, name) {
				continue
			}
			switch r := a.Body.(type) {
			case *dnsmessage.AResource:
				if q.Type == dnsmessage.TypeA {
					addrs = append(addrs, netip.AddrFrom4(r.A))
				}
			case *dnsmessage.AAAAResource:
				if a := netip.AddrFrom16(r.AAAA); q.Type == dnsmessage.TypeAAAA && !a.Is4In6() {
					addrs = append(addrs, a)
				}
			case *dnsmessage.CNAMEResource:
				alias = r.CNAME
			}
		}
		if len(addrs) > 0 || alias == name {
			return addrs
		}
		name = alias
	}
	return nil
}

// sameName compares without regard to case (RFC 1035 §2.3.3).
func sameName(a, b dnsmessage.Name) bool {
	return strings.EqualFold(a.String(), b.String())
}
