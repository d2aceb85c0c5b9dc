package proxy

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// nameservers are DNS servers in the test's own world: what answers says to a message.
type nameservers struct {
	answers func(network, server string, m []byte) [][]byte

	mu    sync.Mutex
	asked []string
	ids   []uint16
}

func (n *nameservers) DialContext(_ context.Context, network, address string) (net.Conn, error) {
	near, far := net.Pipe()
	go func() {
		defer far.Close()
		var m []byte
		if network == "tcp" {
			var err error
			if m, err = readMessage(far, 1<<16); err != nil {
				return
			}
		} else {
			b := make([]byte, 1<<16)
			k, err := far.Read(b)
			if err != nil {
				return
			}
			m = b[:k]
		}
		n.mu.Lock()
		n.asked = append(n.asked, network+" "+address)
		n.ids = append(n.ids, binary.BigEndian.Uint16(m))
		n.mu.Unlock()
		for _, a := range n.answers(network, address, m) {
			if network == "tcp" {
				writeMessage(far, a)
			} else {
				far.Write(a)
			}
		}
		far.Read(make([]byte, 1)) // until the one who asked hangs up
	}()
	return near, nil
}

func (n *nameservers) wantAsked(t *testing.T, want ...string) {
	t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	if got := strings.Join(n.asked, ", "); got != strings.Join(want, ", ") {
		t.Errorf("asked %q, want %q", got, want)
	}
}

// packets is a UDP socket that the test holds the other end of.
type packets struct {
	in, out chan packet
	closed  chan struct{}
	once    sync.Once
}

type packet struct {
	bytes []byte
	peer  netip.AddrPort
}

func newPackets() *packets {
	return &packets{in: make(chan packet, 100), out: make(chan packet, 100), closed: make(chan struct{})}
}

func (p *packets) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case m := <-p.in:
		return copy(b, m.bytes), net.UDPAddrFromAddrPort(m.peer), nil
	case <-p.closed:
		return 0, nil, net.ErrClosed
	}
}

func (p *packets) WriteTo(b []byte, to net.Addr) (int, error) {
	p.out <- packet{bytes.Clone(b), to.(*net.UDPAddr).AddrPort()}
	return len(b), nil
}

func (p *packets) Close() error                     { p.once.Do(func() { close(p.closed) }); return nil }
func (p *packets) LocalAddr() net.Addr              { return &net.UDPAddr{Port: 53} }
func (p *packets) SetDeadline(time.Time) error      { return nil }
func (p *packets) SetReadDeadline(time.Time) error  { return nil }
func (p *packets) SetWriteDeadline(time.Time) error { return nil }

var (
	dnsClient = netip.MustParseAddrPort("10.77.0.2:4000")
	dnsOther  = netip.MustParseAddrPort("10.77.0.3:4000")
	dnsFirst  = netip.MustParseAddrPort("192.0.2.1:53")
	dnsSecond = netip.MustParseAddrPort("192.0.2.2:53")
)

// query is a question; a size puts an OPT record behind it.
func query(t testing.TB, id uint16, name string, typ dnsmessage.Type, size int) []byte {
	t.Helper()
	b := dnsmessage.NewBuilder(nil, dnsmessage.Header{ID: id, RecursionDesired: true})
	try(t, b.StartQuestions())
	try(t, b.Question(dnsmessage.Question{Name: dnsmessage.MustNewName(name), Type: typ, Class: dnsmessage.ClassINET}))
	if size > 0 {
		var h dnsmessage.ResourceHeader
		try(t, h.SetEDNS0(size, dnsmessage.RCodeSuccess, false))
		try(t, b.StartAdditionals())
		try(t, b.OPTResource(h, dnsmessage.OPTResource{}))
	}
	m, err := b.Finish()
	try(t, err)
	return m
}

func try(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// answered is an answer of TXT records, as long as they make it.
func answered(m []byte, texts ...string) []byte {
	var p dnsmessage.Parser
	h, err := p.Start(m)
	if err != nil {
		panic(err)
	}
	q, err := p.Question()
	if err != nil {
		panic(err)
	}
	h.Response, h.RecursionAvailable = true, true
	b := dnsmessage.NewBuilder(nil, h)
	b.StartQuestions()
	b.Question(q)
	b.StartAnswers()
	for _, s := range texts {
		b.TXTResource(dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 60}, dnsmessage.TXTResource{TXT: []string{s}})
	}
	out, err := b.Finish()
	if err != nil {
		panic(err)
	}
	return out
}

// failed is an answer with an error.
func failed(m []byte, code dnsmessage.RCode) []byte {
	_, end, _ := askedIn(m)
	return reply(m[:end], code)
}

func flagged(m []byte, flag uint16) []byte {
	m = bytes.Clone(m)
	binary.BigEndian.PutUint16(m[2:], binary.BigEndian.Uint16(m[2:])|flag)
	return m
}

// texts are the answer's records.
func texts(t *testing.T, m []byte) (list []string) {
	t.Helper()
	var all dnsmessage.Message
	if err := all.Unpack(m); err != nil {
		t.Fatalf("%v in %x", err, m)
	}
	for _, r := range all.Answers {
		list = append(list, r.Body.(*dnsmessage.TXTResource).TXT...)
	}
	return list
}

// forwarding serves UDP in a bubble of virtual time, with two servers.
func forwarding(t *testing.T, d *DNS, answers func(network, server string, m []byte) [][]byte, f func(*nameservers, *packets)) {
	synctest.Test(t, func(t *testing.T) {
		n := &nameservers{answers: answers}
		d.Servers, d.Dialer = FixedServers(dnsFirst, dnsSecond), n
		conn := newPackets()
		ctx, cancel := context.WithCancel(t.Context())
		served := make(chan error, 1)
		go func() { served <- d.Serve(ctx, conn) }()
		f(n, conn)
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
}

func once(f func(m []byte) []byte) func(string, string, []byte) [][]byte {
	return func(_, _ string, m []byte) [][]byte { return [][]byte{f(m)} }
}

func TestDNSForwardsAQuestion(t *testing.T) {
	forwarding(t, &DNS{}, once(func(m []byte) []byte { return answered(m, "hello") }), func(n *nameservers, c *packets) {
		for id := range uint16(4) {
			c.in <- packet{query(t, id, "www.example.", dnsmessage.TypeTXT, 0), dnsClient}
			a := <-c.out
			if got := texts(t, a.bytes); a.peer != dnsClient || binary.BigEndian.Uint16(a.bytes) != id || len(got) != 1 || got[0] != "hello" {
				t.Errorf("%v got %x %q", a.peer, a.bytes[:2], got)
			}
		}
		n.wantAsked(t, "udp 192.0.2.1:53", "udp 192.0.2.1:53", "udp 192.0.2.1:53", "udp 192.0.2.1:53")
		// RFC 5452 §9.2: "Use an unpredictable query ID for outgoing queries". Four
		// that were passed on would be these.
		if n.ids[0] == 0 && n.ids[1] == 1 && n.ids[2] == 2 && n.ids[3] == 3 {
			t.Error("the client's ids go out")
		}
	})
}

// RFC 5452 §9.1: "A resolver implementation MUST match responses to all of the
// following attributes of the query: … Query ID … Query name, Query class and type".
func TestDNSTakesTheAnswerToItsQuestionOnly(t *testing.T) {
	lies := func(_, _ string, m []byte) [][]byte {
		otherID := answered(m, "another id")
		otherID[0] ^= 1
		_, end, _ := askedIn(m)
		otherType := bytes.Clone(m)
		otherType[end-3] = byte(dnsmessage.TypeA)
		otherName := bytes.Clone(m)
		otherName[dnsHeader+1] = 'x'
		loud := bytes.Clone(m)
		copy(loud[dnsHeader+1:], "WWW")
		return [][]byte{otherID, m, m[:5], {}, answered(otherType, "another type"), answered(otherName, "another name"), answered(loud, "true")}
	}
	forwarding(t, &DNS{}, lies, func(n *nameservers, c *packets) {
		c.in <- packet{query(t, 7, "www.example.", dnsmessage.TypeTXT, 0), dnsClient}
		if got := texts(t, (<-c.out).bytes); len(got) != 1 || got[0] != "true" {
			t.Errorf("got %q", got)
		}
	})
}

func TestDNSAsksTheNextServer(t *testing.T) {
	for name, first := range map[string][][]byte{"silent": nil, "failing": {{2}}, "refusing": {{5}}, "failing without a word": {{0x82}}} {
		t.Run(name, func(t *testing.T) {
			forwarding(t, &DNS{}, func(_, server string, m []byte) [][]byte {
				switch {
				case server != dnsFirst.String():
					return [][]byte{answered(m, "second")}
				case first == nil:
					return nil
				case first[0][0]&0x80 != 0: // the header alone
					return [][]byte{reply(m[:dnsHeader], dnsmessage.RCode(first[0][0]&0xf))}
				}
				return [][]byte{failed(m, dnsmessage.RCode(first[0][0]))}
			}, func(n *nameservers, c *packets) {
				c.in <- packet{query(t, 7, "www.example.", dnsmessage.TypeTXT, 0), dnsClient}
				if got := texts(t, (<-c.out).bytes); len(got) != 1 || got[0] != "second" {
					t.Errorf("got %q", got)
				}
				n.wantAsked(t, "udp 192.0.2.1:53", "udp 192.0.2.2:53")
			})
		})
	}
}

func TestDNSOfServersThatAllFail(t *testing.T) {
	forwarding(t, &DNS{}, func(string, string, []byte) [][]byte { return nil }, func(n *nameservers, c *packets) {
		begin := time.Now()
		c.in <- packet{query(t, 7, "www.example.", dnsmessage.TypeTXT, 1232), dnsClient}
		a := <-c.out
		var m dnsmessage.Message
		if err := m.Unpack(a.bytes); err != nil || m.ID != 7 || m.RCode != dnsmessage.RCodeServerFailure || len(m.Questions) != 1 || len(m.Additionals) != 1 {
			t.Errorf("got %+v, %v, want a server failure with the question and an OPT record", m, err)
		}
		if d := time.Since(begin); d != 8*time.Second { // two rounds of two servers
			t.Errorf("it took %v", d)
		}
	})
	// A server's own error is passed on: there is no such name.
	forwarding(t, &DNS{}, once(func(m []byte) []byte { return failed(m, dnsmessage.RCodeNameError) }), func(n *nameservers, c *packets) {
		c.in <- packet{query(t, 7, "www.example.", dnsmessage.TypeTXT, 0), dnsClient}
		if a := <-c.out; rcode(a.bytes) != dnsmessage.RCodeNameError {
			t.Errorf("got %v", rcode(a.bytes))
		}
		n.wantAsked(t, "udp 192.0.2.1:53")
	})
}

func TestDNSAnswersFitTheClient(t *testing.T) {
	long := []string{strings.Repeat("x", 250), strings.Repeat("y", 250), strings.Repeat("z", 250), strings.Repeat("w", 250)}
	for _, c := range []struct {
		name  string
		size  int // the client's; 0: no OPT record
		texts int
		cut   bool
	}{
		{"RFC 1035 §4.2.1: limited to 512 bytes", 0, 2, true},
		{"a short one", 0, 1, false},
		{"RFC 6891 §6.2.5: values lower than 512 are treated as equal to 512", 100, 1, false},
		{"a client that takes more", 1232, 4, false},
		{"a client that takes less than there is", 700, 4, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			forwarding(t, &DNS{}, once(func(m []byte) []byte { return answered(m, long[:c.texts]...) }), func(n *nameservers, conn *packets) {
				conn.in <- packet{query(t, 7, "www.example.", dnsmessage.TypeTXT, c.size), dnsClient}
				m := (<-conn.out).bytes
				if truncated(m) != c.cut || c.cut && len(texts(t, m)) != 0 || !c.cut && len(texts(t, m)) != c.texts {
					t.Errorf("%d bytes, truncated: %v", len(m), truncated(m))
				}
			})
		})
	}
}

func TestDNSOfWhatIsNoQuestion(t *testing.T) {
	ok := query(t, 7, "www.example.", dnsmessage.TypeTXT, 0)
	two := bytes.Clone(ok)
	two[5] = 2
	many := bytes.Clone(ok)
	many[11] = 200
	notify := flagged(ok, 4<<11)
	opts := query(t, 7, "www.example.", dnsmessage.TypeTXT, 1232)
	opts = append(opts, opts[len(opts)-11:]...)
	opts[11] = 2
	pointer := append(bytes.Clone(ok[:dnsHeader]), 0xc0, 12, 0, 16, 0, 1)
	long := append(bytes.Clone(ok), make([]byte, dnsQuestionMax)...)
	for _, c := range []struct {
		name string
		m    []byte
		want int // an RCode; -1: nothing
	}{
		{"nothing", nil, -1},
		{"half a header", ok[:11], -1},
		{"an answer", flagged(ok, dnsResponse), -1},
		{"no question", reply(ok[:dnsHeader], 0)[:dnsHeader], -1},
		{"two questions", two, 1},
		{"half a question", ok[:len(ok)-3], 1},
		{"records that are not there", many, 1},
		{"a name that points to itself", pointer, 1},
		{"two OPT records", opts, 1},
		{"too long", long, 1},
		{"another opcode", notify, 4},
		{"a zone transfer", query(t, 7, "example.", dnsmessage.TypeAXFR, 0), 5},
	} {
		t.Run(c.name, func(t *testing.T) {
			forwarding(t, &DNS{}, once(func(m []byte) []byte { return answered(m) }), func(n *nameservers, conn *packets) {
				conn.in <- packet{c.m, dnsClient}
				synctest.Wait()
				n.wantAsked(t)
				select {
				case a := <-conn.out:
					if int(rcode(a.bytes)) != c.want || binary.BigEndian.Uint16(a.bytes) != 7 {
						t.Errorf("answered %x, want the code %d", a.bytes, c.want)
					}
				default:
					if c.want >= 0 {
						t.Errorf("not answered, want the code %d", c.want)
					}
				}
			})
		})
	}
}

func TestDNSBoundsQuestions(t *testing.T) {
	silent := func(string, string, []byte) [][]byte { return nil }
	forwarding(t, &DNS{QuestionsPerClient: 2, Questions: 3}, silent, func(n *nameservers, c *packets) {
		for i := range uint16(4) {
			c.in <- packet{query(t, i, "www.example.", dnsmessage.TypeTXT, 0), dnsClient}
		}
		synctest.Wait()
		n.wantAsked(t, "udp 192.0.2.1:53", "udp 192.0.2.1:53")
		c.in <- packet{query(t, 5, "www.example.", dnsmessage.TypeTXT, 0), dnsOther}
		c.in <- packet{query(t, 6, "www.example.", dnsmessage.TypeTXT, 0), dnsOther}
		synctest.Wait()
		if len(n.asked) != 3 {
			t.Errorf("%d questions are under way, want another client's first one and no more", len(n.asked))
		}
		time.Sleep(time.Minute) // given up
		for range 3 {
			<-c.out
		}
		c.in <- packet{query(t, 7, "www.example.", dnsmessage.TypeTXT, 0), dnsClient}
		if a := <-c.out; binary.BigEndian.Uint16(a.bytes) != 7 {
			t.Errorf("answered %x", a.bytes)
		}
	})
}

// A client with many addresses has no more questions than one with one.
func TestDNSBoundsQuestionsOfOneSource(t *testing.T) {
	silent := func(string, string, []byte) [][]byte { return nil }
	one := func(netip.Addr) netip.Prefix { return netip.MustParsePrefix("192.0.2.0/24") }
	forwarding(t, &DNS{QuestionsPerClient: 1, Source: one}, silent, func(n *nameservers, c *packets) {
		c.in <- packet{query(t, 1, "www.example.", dnsmessage.TypeTXT, 0), dnsClient}
		c.in <- packet{query(t, 2, "www.example.", dnsmessage.TypeTXT, 0), dnsOther}
		synctest.Wait()
		n.wantAsked(t, "udp 192.0.2.1:53")
		time.Sleep(time.Minute)
		<-c.out
	})
}

// stream is DNS as start takes it.
type dnsStream struct{ *DNS }

func (d dnsStream) Serve(ctx context.Context, ln net.Listener) error { return d.ServeTCP(ctx, ln) }

// RFC 7766 §5: "a DNS client SHOULD retry with TCP": what is truncated by UDP is asked
// for by TCP, for one who asked by TCP.
func TestDNSByTCP(t *testing.T) {
	long := strings.Repeat("x", 250)
	n := &nameservers{answers: func(network, _ string, m []byte) [][]byte {
		if network == "udp" {
			return [][]byte{flagged(answered(m), dnsTruncated)}
		}
		return [][]byte{answered(m, long, long, long, long, long, long)}
	}}
	address, _ := start(t, dnsStream{&DNS{Servers: FixedServers(dnsFirst), Dialer: n}})
	c := dial(t, address)
	for id := range uint16(40) { // more than are handled at once
		try(t, writeMessage(c, query(t, id, "www.example.", dnsmessage.TypeTXT, 0)))
	}
	seen := map[uint16]bool{}
	for range 40 {
		m, err := readMessage(c, 1<<16)
		try(t, err)
		seen[binary.BigEndian.Uint16(m)] = true
		if got := texts(t, m); len(got) != 6 || got[5] != long {
			t.Errorf("got %d records", len(got))
		}
	}
	if len(seen) != 40 {
		t.Errorf("%d of 40 questions were answered", len(seen))
	}
	// No question at all ends the connection.
	c.Write([]byte{0, 1, 0})
	if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("after nonsense: %v, want the end", err)
	}
}

func TestDNSServersOfTheHost(t *testing.T) {
	file := filepath.Join(t.TempDir(), "resolv.conf")
	servers := HostServers(file)
	if got := servers(); got != nil {
		t.Errorf("%v of no file", got)
	}
	want := func(content string, want ...string) {
		t.Helper()
		try(t, os.WriteFile(file, []byte(content), 0o600))
		got := servers()
		if len(got) != len(want) {
			t.Fatalf("%v, want %v", got, want)
		}
		for i := range got {
			if got[i].String() != want[i] {
				t.Errorf("%v, want %v", got[i], want[i])
			}
		}
	}
	want("# made by hand\nsearch example.net\nnameserver 127.0.0.53\n", "127.0.0.53:53")
	want("nameserver 127.0.0.54\n", "127.0.0.54:53") // changed at once, and as long
	want("nameserver\t2001:db8::1 # first\nnameserver fe80::1%eth0\nnameserver dns.example\noptions edns0\n", "[2001:db8::1]:53", "[fe80::1%eth0]:53")
	want("")
}

func FuzzDNSQuestion(f *testing.F) {
	f.Add(query(f, 7, "www.example.", dnsmessage.TypeTXT, 0))
	f.Add(query(f, 7, ".", dnsmessage.TypeA, 1232))
	f.Add([]byte{0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xc0, 12, 0, 1, 0, 1})
	f.Fuzz(func(t *testing.T, m []byte) {
		q, refusal := parseQuestion(m)
		if q == nil {
			if again, r := parseQuestion(refusal); refusal != nil && (again != nil || r != nil) {
				t.Fatalf("the refusal %x is a question itself", refusal)
			}
			return
		}
		a := q.reply(dnsmessage.RCodeServerFailure)
		if !q.answers(a, q.id) || len(q.fit(a)) > max(q.size, len(a)) {
			t.Fatalf("%x does not answer %x", a, m)
		}
		if again, r := parseQuestion(a); again != nil || r != nil {
			t.Fatal("an answer is a question")
		}
		q.answers(m, q.id)
	})
}
