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
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// A nameserver is a scripted DNS server inside a stack. Its answer function gets
// each question and says what to send back, in order.
type nameserver struct {
	answer  func(q query) [][]byte
	queries atomic.Int32
}

// A query is one question as it came.
type query struct {
	network string
	id      uint16
	name    dnsmessage.Name
	typ     dnsmessage.Type
	tries   int // the how manieth query this is
}

func serveDNS(t *testing.T, s *Stack, addr netip.Addr, answer func(q query) [][]byte) *nameserver {
	n := &nameserver{answer: answer}
	pc, err := s.ListenPacket("udp", netip.AddrPortFrom(addr, 53).String())
	if err != nil {
		t.Fatal(err)
	}
	ln, err := s.Listen("tcp", netip.AddrPortFrom(addr, 53).String())
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		b := make([]byte, 512)
		for {
			size, from, err := pc.ReadFrom(b)
			if err != nil {
				return
			}
			for _, reply := range n.reply("udp", b[:size]) {
				pc.WriteTo(reply, from)
			}
		}
	})
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			b := make([]byte, 2)
			io.ReadFull(c, b)
			b = make([]byte, binary.BigEndian.Uint16(b))
			io.ReadFull(c, b)
			for _, reply := range n.reply("tcp", b) {
				c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...))
			}
			c.Close()
		}
	})
	t.Cleanup(func() {
		pc.Close()
		ln.Close()
		wg.Wait()
	})
	return n
}

func (n *nameserver) reply(network string, b []byte) [][]byte {
	var m dnsmessage.Message
	if err := m.Unpack(b); err != nil || len(m.Questions) != 1 || m.Response || !m.RecursionDesired {
		panic(fmt.Sprintf("a query that is none: %v, %v", m, err))
	}
	q := m.Questions[0]
	return n.answer(query{network, m.ID, q.Name, q.Type, int(n.queries.Add(1))})
}

// reply is an answer to q, changed by the function if there is one.
func (q query) reply(change func(*dnsmessage.Message), answers ...dnsmessage.Resource) []byte {
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: q.id, Response: true, RecursionAvailable: true},
		Questions: []dnsmessage.Question{{Name: q.name, Type: q.typ, Class: dnsmessage.ClassINET}},
		Answers:   answers,
	}
	if change != nil {
		change(&m)
	}
	b, err := m.Pack()
	if err != nil {
		panic(err)
	}
	return b
}

func a(name, addr string) dnsmessage.Resource {
	return dnsmessage.Resource{
		Header: dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName(name), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET},
		Body:   &dnsmessage.AResource{A: netip.MustParseAddr(addr).As4()},
	}
}

func aaaa(name, addr string) dnsmessage.Resource {
	return dnsmessage.Resource{
		Header: dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName(name), Type: dnsmessage.TypeAAAA, Class: dnsmessage.ClassINET},
		Body:   &dnsmessage.AAAAResource{AAAA: netip.MustParseAddr(addr).As16()},
	}
}

func cname(name, target string) dnsmessage.Resource {
	return dnsmessage.Resource{
		Header: dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName(name), Type: dnsmessage.TypeCNAME, Class: dnsmessage.ClassINET},
		Body:   &dnsmessage.CNAMEResource{CNAME: dnsmessage.MustNewName(target)},
	}
}

func rcode(r dnsmessage.RCode) func(*dnsmessage.Message) {
	return func(m *dnsmessage.Message) { m.RCode = r }
}

func one(b []byte) [][]byte { return [][]byte{b} }

const host = "www.example.net"

func TestLookupHost(t *testing.T) {
	truncate := func(m *dnsmessage.Message) { m.Truncated = true }
	many := func(q query) (answers []dnsmessage.Resource) {
		for i := range 100 {
			answers = append(answers, a(q.name.String(), fmt.Sprintf("192.0.2.%d", i)))
		}
		return answers
	}
	for _, row := range []struct {
		name    string
		host    string // www.example.net, if empty
		answer  func(q query) [][]byte
		want    string // addresses, or
		err     net.DNSError
		asked   int           // queries; 0: any number
		timeout time.Duration // of one query, where it matters
	}{
		{
			name: "an address",
			answer: func(q query) [][]byte {
				if q.name.String() != "www.example.net." || q.typ != dnsmessage.TypeA || q.network != "udp" {
					return nil
				}
				return one(q.reply(nil, a("www.example.net.", "192.0.2.1")))
			},
			want: "192.0.2.1", asked: 1,
		},
		{
			name: "a name that ends with its dot", host: "www.example.net.",
			answer: func(q query) [][]byte { return one(q.reply(nil, a(q.name.String(), "192.0.2.1"))) },
			want:   "192.0.2.1", asked: 1,
		},
		{
			name: "several addresses keep their order",
			answer: func(q query) [][]byte {
				return one(q.reply(nil, a("www.example.net.", "192.0.2.9"), a("www.example.net.", "192.0.2.1")))
			},
			want: "192.0.2.9 192.0.2.1",
		},
		{
			name: "aliases are followed, whatever their order and case",
			answer: func(q query) [][]byte {
				return one(q.reply(nil,
					a("C.example.com.", "192.0.2.3"), a("unasked.example.com.", "192.0.2.66"),
					cname("b.example.com.", "c.example.com."), cname("WWW.Example.net.", "B.example.com.")))
			},
			want: "192.0.2.3", asked: 1,
		},
		{
			name: "aliases that go round in circles",
			answer: func(q query) [][]byte {
				return one(q.reply(nil, cname("www.example.net.", "b.example.net."), cname("b.example.net.", "www.example.net.")))
			},
			err: net.DNSError{Err: "no such host", IsNotFound: true, Server: "10.0.0.2"}, asked: 1,
		},
		{
			name:   "NXDOMAIN is final",
			answer: func(q query) [][]byte { return one(q.reply(rcode(dnsmessage.RCodeNameError))) },
			err:    net.DNSError{Err: "no such host", IsNotFound: true, Server: "10.0.0.2"}, asked: 1,
		},
		{
			name:   "a name without an IPv4 address",
			answer: func(q query) [][]byte { return one(q.reply(nil)) },
			err:    net.DNSError{Err: "no such host", IsNotFound: true, Server: "10.0.0.2"}, asked: 1,
		},
		{
			name: "a truncated answer is asked for over TCP",
			answer: func(q query) [][]byte {
				if q.network == "udp" {
					return one(q.reply(truncate, a("www.example.net.", "192.0.2.66")))
				}
				return one(q.reply(nil, many(q)...))
			},
			want: "192.0.2.0 192.0.2.1 192.0.2.2", asked: 2,
		},
		{
			name: "a reply with another id is not listened to",
			answer: func(q query) [][]byte {
				return [][]byte{
					q.reply(func(m *dnsmessage.Message) { m.ID++ }, a("www.example.net.", "192.0.2.66")),
					q.reply(nil, a("www.example.net.", "192.0.2.1")),
				}
			},
			want: "192.0.2.1", asked: 1,
		},
		{
			name: "nor one to another question, nor what is no reply, nor noise",
			answer: func(q query) [][]byte {
				other := q
				other.name = dnsmessage.MustNewName("w.example.net.")
				return [][]byte{
					other.reply(nil, a("www.example.net.", "192.0.2.66")),
					q.reply(func(m *dnsmessage.Message) { m.Questions[0].Type = dnsmessage.TypeAAAA }, a("www.example.net.", "192.0.2.66")),
					q.reply(func(m *dnsmessage.Message) { m.Questions = nil }, a("www.example.net.", "192.0.2.66")),
					q.reply(func(m *dnsmessage.Message) { m.Response = false }, a("www.example.net.", "192.0.2.66")),
					{}, {1, 2, 3},
					q.reply(nil, a("www.example.net.", "192.0.2.1")),
				}
			},
			want: "192.0.2.1", asked: 1,
		},
		{
			name: "a lost query is repeated",
			answer: func(q query) [][]byte {
				if q.tries == 1 {
					return nil
				}
				return one(q.reply(nil, a("www.example.net.", "192.0.2.1")))
			},
			want: "192.0.2.1", asked: 2, timeout: 500 * time.Millisecond,
		},
		{
			name:   "a server that never answers",
			answer: func(q query) [][]byte { return nil },
			err:    net.DNSError{Err: "i/o timeout", IsTimeout: true, Server: "10.0.0.2"}, asked: 2, timeout: 10 * time.Millisecond,
		},
		{
			name:   "a server that cannot",
			answer: func(q query) [][]byte { return one(q.reply(rcode(dnsmessage.RCodeServerFailure))) },
			err:    net.DNSError{Err: "server misbehaving: ServerFailure", IsTemporary: true, Server: "10.0.0.2"}, asked: 2,
		},
		{
			name: "an answer that ends too early",
			answer: func(q query) [][]byte {
				b := q.reply(nil, a("www.example.net.", "192.0.2.1"))
				return one(b[:len(b)-2])
			},
			err: net.DNSError{Err: "malformed reply: unpacking Answer: A record: insufficient data for base length type", Server: "10.0.0.2"}, asked: 2,
		},
		{
			name: "truncated over TCP, too",
			answer: func(q query) [][]byte {
				return one(q.reply(truncate, a("www.example.net.", "192.0.2.1")))
			},
			err: net.DNSError{Err: "not the reply to the question over TCP", Server: "10.0.0.2"}, asked: 4,
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			if row.timeout == 0 {
				row.timeout = 10 * time.Second
			}
			p := newPair(t, nil, &Config{DNSTimeout: row.timeout, DNSAttempts: 2}, addrB)
			server := serveDNS(t, p.b, addrB, row.answer)
			if row.host == "" {
				row.host = host
			}
			got, err := p.a.LookupHost(patience(t), row.host)
			if row.want != "" {
				if err != nil || !strings.HasPrefix(strings.Join(got, " "), row.want) {
					t.Errorf("%v, %v, want %s", got, err, row.want)
				}
			} else {
				var e *net.DNSError
				if !errors.As(err, &e) {
					t.Fatalf("%v, %v (%T), want a *net.DNSError", got, err, err)
				}
				row.err.Name, row.err.UnwrapErr = row.host, e.UnwrapErr
				if *e != row.err {
					t.Errorf("the error is\n%+v, want\n%+v", *e, row.err)
				}
			}
			if n := int(server.queries.Load()); row.asked != 0 && n != row.asked {
				t.Errorf("the server was asked %d times, want %d", n, row.asked)
			}
		})
	}
}

// The second server is asked when the first one refuses, is not there, or says
// nothing; a reply that another host sends to our port is nobody's answer.
func TestLookupNextServer(t *testing.T) {
	first := netip.MustParseAddr("10.0.0.3")
	second := netip.MustParseAddr("10.0.0.4")
	for _, row := range []struct {
		name  string
		setUp func(t *testing.T, p *pair)
	}{
		{"it refuses", func(t *testing.T, p *pair) {
			serveDNS(t, p.b, first, func(q query) [][]byte { return one(q.reply(rcode(dnsmessage.RCodeRefused))) })
		}},
		{"it is not there", func(*testing.T, *pair) {}},
		{"it says nothing", func(t *testing.T, p *pair) {
			serveDNS(t, p.b, first, func(q query) [][]byte { return nil })
		}},
		{"somebody else answers", func(t *testing.T, p *pair) {
			pc, err := p.b.ListenPacket("udp", netip.AddrPortFrom(first, 53).String())
			if err != nil {
				t.Fatal(err)
			}
			forger, err := p.b.ListenPacket("udp", "10.0.0.2:53")
			if err != nil {
				t.Fatal(err)
			}
			var wg sync.WaitGroup
			wg.Go(func() {
				b := make([]byte, 512)
				for {
					n, from, err := pc.ReadFrom(b)
					if err != nil {
						return
					}
					var m dnsmessage.Message
					m.Unpack(b[:n])
					q := query{id: m.ID, name: m.Questions[0].Name, typ: m.Questions[0].Type}
					forger.WriteTo(q.reply(nil, a(q.name.String(), "192.0.2.66")), from)
				}
			})
			t.Cleanup(func() {
				pc.Close()
				forger.Close()
				wg.Wait()
			})
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := newPair(t, nil, &Config{DNSTimeout: 200 * time.Millisecond}, first, second)
			p.nicB.Close() // another with the servers' addresses, too
			n, err := p.b.AddIP(p.ba, &IPConfig{Addresses: []netip.Prefix{
				netip.PrefixFrom(addrB, 32), netip.PrefixFrom(first, 32), netip.PrefixFrom(second, 32),
			}})
			if err != nil {
				t.Fatal(err)
			}
			p.ab.deliverTo(n)
			row.setUp(t, p)
			serveDNS(t, p.b, second, func(q query) [][]byte { return one(q.reply(nil, a(q.name.String(), "192.0.2.1"))) })
			got, err := p.a.LookupHost(patience(t), host)
			if err != nil || !slices.Equal(got, []string{"192.0.2.1"}) {
				t.Errorf("%v, %v", got, err)
			}
		})
	}
}

// With IPv6 both kinds of addresses are asked for, at the same time; those of
// IPv6 come first.
func TestLookupBothFamilies(t *testing.T) {
	six := func(q query) []byte { return q.reply(nil, aaaa(q.name.String(), "2001:db8::1")) }
	four := func(q query) []byte { return q.reply(nil, a(q.name.String(), "192.0.2.1")) }
	none := func(q query) []byte { return q.reply(nil) }
	unknown := func(q query) []byte { return q.reply(rcode(dnsmessage.RCodeNameError)) }
	refused := func(q query) []byte { return q.reply(rcode(dnsmessage.RCodeRefused)) }
	silent := func(q query) []byte { return nil }
	for _, row := range []struct {
		name    string
		aaaa, a func(q query) []byte
		want    string // addresses, or
		err     string
		asked   int
		timeout time.Duration
	}{
		{name: "both", aaaa: six, a: four, want: "2001:db8::1 192.0.2.1", asked: 2},
		{name: "only IPv6", aaaa: six, a: none, want: "2001:db8::1", asked: 2},
		{name: "only IPv4", aaaa: none, a: four, want: "192.0.2.1", asked: 2},
		{name: "neither", aaaa: none, a: none, err: "no such host", asked: 2},
		{name: "no such name", aaaa: unknown, a: unknown, err: "no such host", asked: 2},
		{name: "a server that knows no AAAA", aaaa: refused, a: four, want: "192.0.2.1", asked: 2},
		{name: "a server that does not answer AAAA", aaaa: silent, a: four, want: "192.0.2.1", asked: 2, timeout: 100 * time.Millisecond},
		{name: "one none, one refused", aaaa: refused, a: none, err: "server misbehaving: Refused", asked: 4},
		{name: "an alias, and an A in the answer to AAAA", a: none, aaaa: func(q query) []byte {
			return q.reply(nil, cname(q.name.String(), "b.example."), a("b.example.", "192.0.2.66"), aaaa("b.example.", "2001:db8::2"))
		}, want: "2001:db8::2", asked: 2},
		{name: "an IPv4 address in IPv6's clothes", a: none, aaaa: func(q query) []byte {
			return q.reply(nil, aaaa(q.name.String(), "::ffff:127.0.0.1"))
		}, err: "no such host", asked: 2},
	} {
		t.Run(row.name, func(t *testing.T) {
			if row.timeout == 0 {
				row.timeout = 10 * time.Second
			}
			// The server is one that a router advertises.
			p := newPair6(t, nil, &Config{DNSTimeout: row.timeout, DNSAttempts: 2}, false)
			p.advertise(t, newAdvert().rdnss(60, linkLocal(idB).String()))
			server := serveDNS(t, p.b, linkLocal(idB), func(q query) [][]byte {
				answer := row.a
				if q.typ == dnsmessage.TypeAAAA {
					answer = row.aaaa
				}
				if b := answer(q); b != nil {
					return one(b)
				}
				return nil
			})
			got, err := p.a.LookupHost(patience(t), host)
			if row.err == "" && (err != nil || strings.Join(got, " ") != row.want) {
				t.Errorf("%v, %v, want %s", got, err, row.want)
			}
			if row.err != "" && (err == nil || !strings.Contains(err.Error(), row.err)) {
				t.Errorf("%v, %v, want %s", got, err, row.err)
			}
			if n := int(server.queries.Load()); n != row.asked {
				t.Errorf("the server was asked %d times, want %d", n, row.asked)
			}
		})
	}
}

// A name is dialled over the family that works, whichever is first.
func TestDialFallsBack(t *testing.T) {
	p := newPair6(t, nil, nil, true, addrB)
	_, b6 := p.advertise(t, newAdvert())
	serveDNS(t, p.b, addrB, func(q query) [][]byte {
		if q.typ == dnsmessage.TypeAAAA {
			return one(q.reply(nil, aaaa(q.name.String(), b6.String())))
		}
		return one(q.reply(nil, a(q.name.String(), addrB.String())))
	})
	for _, row := range []struct{ listen, dial, want string }{
		{"tcp", "tcp", b6.String()}, {"tcp4", "tcp", addrB.String()}, {"tcp6", "tcp", b6.String()},
		{"tcp", "tcp4", addrB.String()}, {"tcp", "tcp6", b6.String()},
	} {
		ln, err := p.b.Listen(row.listen, ":80")
		if err != nil {
			t.Fatal(err)
		}
		c, err := p.a.DialContext(patience(t), row.dial, host+":80")
		if err != nil {
			t.Fatal(err)
		}
		if got := c.RemoteAddr().(*net.TCPAddr).IP.String(); got != row.want {
			t.Errorf("%+v: dialled %v", row, got)
		}
		c.Close()
		ln.Close()
	}
}

func TestLookupWithoutAsking(t *testing.T) {
	s := newStack(t, nil)
	for _, literal := range []string{"192.0.2.1", "2001:db8::1"} {
		if got, err := s.LookupHost(patience(t), literal); err != nil || !slices.Equal(got, []string{literal}) {
			t.Errorf("%s is looked up as %v, %v", literal, got, err)
		}
	}
	_, err := s.LookupHost(patience(t), host)
	if err == nil || err.Error() != "lookup www.example.net: no DNS server in the tunnel" {
		t.Errorf("without a server: %v", err)
	}
	_, err = s.Dial("tcp", host+":80")
	if err == nil || err.Error() != "dial tcp: lookup www.example.net: no DNS server in the tunnel" {
		t.Errorf("without a server: %v", err)
	}
	p := newPair(t, nil, nil, addrB)
	for _, name := range []string{"", ".", "a..b", "localhost", "a.localhost.", "a b", "ünder", strings.Repeat("a", 64), strings.Repeat("a.", 127) + "a"} {
		_, err := p.a.LookupHost(patience(t), name)
		var e *net.DNSError
		if !errors.As(err, &e) || !e.IsNotFound {
			t.Errorf("%q: %v, want not found", name, err)
		}
	}
	if out := p.nicA.Counters().PacketsOut; out != 0 {
		t.Errorf("%d packets went out", out)
	}
}

func TestLookupIsCancelled(t *testing.T) {
	p := newPair(t, nil, nil, addrB)
	ctx, cancel := context.WithCancel(context.Background())
	serveDNS(t, p.b, addrB, func(q query) [][]byte {
		cancel()
		return nil
	})
	_, err := p.a.LookupHost(ctx, host)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want context.Canceled", err)
	}
	ctx, cancel = context.WithTimeout(context.Background(), 5*time.Millisecond)
	defer cancel()
	_, err = p.a.LookupHost(ctx, host)
	var e *net.DNSError
	if !errors.As(err, &e) || !e.IsTimeout {
		t.Errorf("%v, want a timeout", err)
	}
}

// The addresses of a name are tried in their order.
func TestDialTriesAllAddresses(t *testing.T) {
	p := newPair(t, nil, nil, addrB)
	serveDNS(t, p.b, addrB, func(q query) [][]byte {
		return one(q.reply(nil, a(q.name.String(), "127.0.0.1"), a(q.name.String(), "10.0.0.2")))
	})
	ln, err := p.b.Listen("tcp", ":80")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c, err := p.a.DialContext(patience(t), "tcp", host+":80")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if c.RemoteAddr().String() != "10.0.0.2:80" {
		t.Errorf("dialled %v", c.RemoteAddr())
	}
}

func FuzzParseReply(f *testing.F) {
	q := query{id: 0x1234, name: dnsmessage.MustNewName("www.example.net."), typ: dnsmessage.TypeA}
	question := dnsmessage.Question{Name: q.name, Type: q.typ, Class: dnsmessage.ClassINET}
	f.Add(q.reply(nil, a("www.example.net.", "192.0.2.1")))
	f.Add(q.reply(nil, cname("www.example.net.", "b.example."), a("b.example.", "192.0.2.1")))
	f.Add(q.reply(rcode(dnsmessage.RCodeNameError)))
	f.Fuzz(func(t *testing.T, b []byte) {
		addrs, err := parseReply(b, []byte{0x12, 0x34}, question)
		if err != nil && addrs != nil {
			t.Errorf("both %v and %v", addrs, err)
		}
	})
}
