package decode

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/pcapng"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

// Errors of [Print] that are no I/O errors.
var (
	// ErrFormat: it is no capture, in pcap or pcapng format.
	ErrFormat = pcapng.ErrFormat
	// ErrNothing: it is a capture, and nothing of L2TP is in it.
	ErrNothing = errors.New("expected L2TP in the capture, found none")
)

// DefaultPort is the UDP port on which L2TP is looked for (RFC 2661 §8.1).
const DefaultPort = 1701

// Config is what [Print] may need to know. Nil is the zero value.
type Config struct {
	// Ports are UDP ports with L2TP besides [DefaultPort].
	Ports []uint16
	// Secret is the tunnel secret, for AVPs that are hidden with it (RFC 2661 §4.3,
	// RFC 3931 §5.3) and for Message Digests (RFC 3931 §5.4.1). Empty: those stay
	// hidden, and these are not checked.
	Secret []byte
}

// Print reads a capture, in pcap or pcapng format, and writes what it has of
// L2TP and PPP, as the package's comment shows, with a summary at the end.
// L2TP is what comes from or goes to a port of the configuration, the
// datagrams of an endpoint's own capture, control messages from and to
// addresses that were seen to speak L2TP, IP packets of protocol 115, and, on
// whatever port, datagrams with the header of L2TPv3 in which a frame with a whole
// IP packet is found.
//
// A capture that ends in the middle of a packet, or is broken somewhere, is
// no error if there was L2TP before: the summary says so. Otherwise that is the error,
// or [ErrFormat], [ErrNothing], or what reading or writing returned.
func Print(w io.Writer, capture io.Reader, cfg *Config) error {
	r, err := pcapng.NewReader(capture)
	if err != nil {
		return err
	}
	d := &decoder{printer: printer{w: w, names: map[netip.AddrPort]string{}}, observer: newObserver()}
	if cfg != nil {
		d.cfg = *cfg
	}
	var p pcapng.Packet
	for err == nil && d.err == nil {
		if p, err = r.Next(); err == nil {
			d.count.packets++
			d.packet(p)
		}
	}
	var broken *pcapng.FormatError
	switch {
	case d.err != nil:
		return d.err
	case err == io.EOF:
		err = nil
	case err == io.ErrUnexpectedEOF:
		err = fmt.Errorf("the capture ends in the middle of packet %d", d.count.packets+1)
	case !errors.As(err, &broken):
		return err
	}
	if d.count.l2tp() == 0 {
		if err != nil {
			return err
		}
		return fmt.Errorf("%w%s", ErrNothing, list(" in: ", d.count.elsewhere()))
	}
	d.sessionsV3()
	d.summary(err)
	return d.err
}

// A decoder is at work on one capture.
type decoder struct {
	printer
	observer
	streams
	cfg   Config
	count counts
}

// counts are of messages and packets.
type counts struct {
	packets int // in the capture

	control, acks, ppp, data, headers int // of L2TP; headers are all that there was
	explicit                          int // ACKs of L2TPv3
	dataBytes                         int // of data
	v3                                int // data messages of L2TPv3
	repeated, malformed, cut          int // of those above
	wrongDigests                      int // of control and explicit

	inner, versions, fragments, links, others int             // what was passed over
	link                                      pcapng.LinkType // of the last of links
}

func (c *counts) l2tp() int {
	return c.control + c.acks + c.ppp + c.data + c.headers + c.explicit + c.v3
}

// packet takes a packet of the capture.
func (d *decoder) packet(p pcapng.Packet) {
	if d.now = p.Time; d.begin.IsZero() {
		d.begin = p.Time
	}
	ours := p.Interface.Application == pcapng.Application
	if ours {
		switch p.Interface.Name {
		case pcapng.Inner, pcapng.InnerEthernet, pcapng.InnerPPP:
			d.count.inner++
			return
		}
	}
	dgram, v := parseLink(p.Interface.Link, p.Data)
	switch v {
	case isOther:
		d.count.others++
	case isFragment:
		d.count.fragments++
	case isUnknownLink:
		d.count.links++
		d.count.link = p.Interface.Link
	case isL2TP:
		d.overIP(dgram)
	case isUDP:
		d.datagram(dgram, ours && p.Interface.Name == pcapng.Outer)
	}
}

// datagram takes a UDP datagram, of which it may be certain that it is L2TP.
func (d *decoder) datagram(u datagram, certain bool) {
	if d.cfg.covers(u.src.Port()) || d.cfg.covers(u.dst.Port()) {
		certain = true
	}
	if v, ok := wire.Version(u.payload); ok && v == 3 {
		d.datagramV3(u, certain)
		return
	}
	if !certain && !d.known(u.src) && !d.known(u.dst) {
		d.count.others++
		return
	}
	if v, ok := wire.Version(u.payload); ok && v != 2 {
		if certain {
			d.count.versions++
		} else {
			d.count.others++
		}
		return
	}
	h, body, err := parseHeader(u, wire.ParseHeader)
	switch {
	case !certain && (err != nil || !h.Control && d.conversation(u.dst, h.TunnelID) == nil):
		d.count.others++
	case err != nil:
		d.count.headers++
		d.message(message{datagram: u, header: h}, line{what: "L2TP", wrong: strings.TrimPrefix(err.Error(), "wire: ")})
	case h.Control:
		d.control(message{u, h, body})
	default:
		d.frame(message{u, h, body})
	}
}

// A message is a control message, or a frame of a session.
type message struct {
	datagram
	header wire.Header
	body   []byte // AVPs or a frame, as far as the capture has them
}

// parseHeader reads a header, in which the length of the whole datagram counts,
// although the capture may have cut it.
func parseHeader(u datagram, parse func([]byte) (wire.Header, []byte, error)) (h wire.Header, body []byte, err error) {
	if u.missing == 0 {
		return parse(u.payload)
	}
	whole := make([]byte, len(u.payload)+u.missing)
	copy(whole, u.payload)
	h, body, err = parse(whole)
	header := cap(whole) - cap(body) // the body is a part of it
	return h, body[:max(0, min(len(body), len(u.payload)-header))], err
}

// message counts and writes a message.
func (d *decoder) message(m message, l line) {
	if m.missing > 0 {
		has := len(m.datagram.payload)
		l.wrong = ""
		l.add("cut to %d of %s", has, octets(has+m.missing))
		d.count.cut++
	}
	if l.wrong != "" {
		d.count.malformed++
	}
	if l.repeated {
		d.count.repeated++
	}
	ids := fmt.Sprintf("%d/%d", m.header.TunnelID, m.header.SessionID)
	if m.header.Version == 3 {
		ids = hex32(m.header.TunnelID)
	}
	d.print(m.src, m.dst, ids, l)
}

func (c *Config) covers(port uint16) bool {
	return port == DefaultPort || slices.Contains(c.Ports, port)
}

// summary is how much there was of what, what was wrong with it, and what was
// not shown.
func (d *decoder) summary(end error) {
	c := &d.count
	shown := list("", tally(c.control, "control message", "control messages"), tally(c.acks, "ZLB", "ZLBs"), tally(c.explicit, "ACK", "ACKs"),
		tally(c.ppp, "PPP message", "PPP messages"), tally(c.v3, "L2TPv3 data packet", "L2TPv3 data packets"))
	wrong := list("", tally(c.repeated, "retransmission", "retransmissions"), tally(c.malformed, "malformed", "malformed"),
		tally(c.wrongDigests, "wrong digest", "wrong digests"), tally(c.cut, "cut by the capture", "cut by the capture"))
	size := " (" + octets(c.dataBytes) + ")"
	for _, line := range []string{
		strings.Trim(shown+"; "+wrong, "; "),
		list("not shown: ", tally(c.data, "data packet"+size, "data packets"+size), c.elsewhere()),
	} {
		if line != "" {
			d.printf("%s\n", line)
		}
	}
	if end != nil {
		d.printf("%v\n", end)
	}
}

// elsewhere is what was passed over.
func (c *counts) elsewhere() string {
	link := fmt.Sprintf(" of link type %d", c.link)
	return list("", tally(c.inner, "inner packet", "inner packets"),
		tally(c.versions, "datagram of another L2TP version", "datagrams of another L2TP version"),
		tally(c.fragments, "IP fragment", "IP fragments"), tally(c.links, "packet"+link, "packets"+link),
		tally(c.others, "other packet", "other packets"))
}

// list is words that are not empty, separated by commas, behind a beginning; or nothing.
func list(begin string, words ...string) string {
	words = slices.DeleteFunc(words, func(w string) bool { return w == "" })
	if len(words) == 0 {
		return ""
	}
	return begin + strings.Join(words, ", ")
}

// tally is a number of things in words, or nothing for none.
func tally(n int, one, more string) string {
	switch n {
	case 0:
		return ""
	case 1:
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}

// octets is a number of octets in words of at most four digits.
func octets(n int) string {
	switch {
	case n == 1:
		return "1 octet"
	case n < 10_000:
		return fmt.Sprintf("%d octets", n)
	case n < 10_000_000:
		return fmt.Sprintf("%d kB", n/1000)
	default:
		return fmt.Sprintf("%d MB", n/1_000_000)
	}
}
