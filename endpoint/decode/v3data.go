package decode

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/order"
	pppframe "github.com/l2tpnet/l2tpnet/endpoint/internal/ppp"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

// streams are the directions of L2TPv3's sessions, as far as data messages tell of
// them. Which header a session has is not in its messages (RFC 3931 §4.1): what is said
// of it is what most of its messages agree on.
type streams struct {
	byKey map[streamKey]*stream
	list  []*stream       // the first seen first
	alone map[pair][]*ppp // of the streams from to to, those whose other direction was not seen yet
}

type streamKey struct {
	to netip.AddrPort
	id uint32
}

// A stream is what one end of a session sends.
type stream struct {
	src, dst    netip.AddrPort
	id          uint32
	first, last time.Time
	packets     int
	octets      int // behind the Session ID
	guesses     [wordsMax + 1]guess

	ppp   *ppp // what the session's PPP has said, in both directions if it is known which belong together; nil: nothing yet
	from  int  // the end of it that sends this
	words int  // before its frames
}

// wordsMax is how many words of 32 bits stand between the Session ID and the frame at
// most: two of a cookie, and a sublayer.
const wordsMax = 3

// A guess is what there is if a frame stands behind so many words.
type guess struct {
	frames  [lastFrame + 1]int // of which kind, how many
	words   [wordsMax]word     // of those messages
	numbers *order.Queue       // of the last of the words, if it is a sublayer; nil: none was seen
}

func (g *guess) total() (n int) {
	for _, k := range g.frames {
		n += k
	}
	return n
}

// number takes a sublayer.
func (g *guess) number(b []byte) {
	sequenced, number, _, ok := wire.ParseSublayer(b)
	if !ok || !sequenced {
		return
	}
	if g.numbers == nil {
		g.numbers = order.New(order.Config{Bits: wire.SequenceBits})
	}
	g.numbers.Add(time.Time{}, number, nil, nil)
}

// A word is what is known of one of the words before the frames.
type word struct {
	n           int
	first, last uint32
	varies      bool
	rose        bool // each was greater than the one before, by not much
	other       bool // some are neither zero nor a number with S bit
	numbered    bool // some are a number with S bit
}

func (w *word) see(v uint32) {
	switch {
	case w.n == 0:
		w.first, w.rose = v, true
	case v-w.last == 0 || v-w.last > 1000:
		w.rose = false
	}
	w.varies = w.varies || v != w.first
	switch {
	case v>>24 == 0x40:
		w.numbered = true
	case v != 0:
		w.other = true
	}
	w.last = v
	w.n++
}

const withNumbers = "sublayer with numbers"

// sublayer is what the word is if it is no cookie; "" if it is one, or may be.
func (w *word) sublayer() string {
	switch {
	case w.n > 2 && w.rose && w.other:
		return "counter"
	case w.other || w.numbered && w.n > 1 && !w.varies:
		return ""
	case w.numbered:
		return withNumbers
	}
	return "sublayer without numbers"
}

// header is what a session's words are.
func header(words []word) []string {
	cookie, sublayer := 4*len(words), "no sublayer"
	if cookie > 0 {
		last := &words[len(words)-1]
		if s := last.sublayer(); s != "" {
			cookie, sublayer = cookie-4, s
		} else if len(words) == wordsMax || last.n == 1 || last.varies {
			return []string{octets(cookie) + " of cookie and sublayer"} // one cannot tell which
		}
	}
	if cookie == 0 {
		return []string{"no cookie", sublayer}
	}
	return []string{"cookie of " + octets(cookie), sublayer}
}

// dataV3 takes a data message; the rest is what follows its Session ID.
func (d *decoder) dataV3(u datagram, id uint32, rest []byte, certain bool) {
	key := streamKey{u.dst, id}
	s, found := d.byKey[key], findFrames(rest, u.missing)
	switch {
	case s != nil:
	case id == 0:
		d.brokenV3(u, certain, "a data message with Session ID 0")
		return
	case !certain && (found == [wordsMax + 1]frameKind{} || !bytes.HasPrefix(u.payload, []byte{0, 3, 0, 0})):
		d.count.others++
		return
	case len(d.list) < sessionsMax:
		s = &stream{src: u.src, dst: u.dst, id: id, first: d.now}
		if d.byKey == nil {
			d.byKey = make(map[streamKey]*stream)
		}
		d.byKey[key] = s
		d.list = append(d.list, s)
	}
	d.count.v3++
	if s == nil {
		return // counted only
	}
	s.last = d.now
	s.packets++
	s.octets += len(rest) + u.missing
	for i, kind := range found {
		if kind == pppFrame || s.ppp != nil && i == s.words && len(rest) > 4*i+1 && rest[4*i] == 0xff && rest[4*i+1] == 3 {
			d.pppV3(u, s, i, rest)
		}
		if kind == noFrame {
			continue
		}
		g := &s.guesses[i]
		g.frames[kind]++
		for j := range i {
			g.words[j].see(binary.BigEndian.Uint32(rest[4*j:]))
		}
		if i > 0 {
			g.number(rest[4*(i-1):])
		}
	}
}

// pppV3 takes a PPP frame, which stands behind so many words.
func (d *decoder) pppV3(u datagram, s *stream, words int, rest []byte) {
	protocol, information, ok := pppframe.ParseFrame(rest[4*words:])
	if !ok || protocol < 0x8000 {
		return // counted with the others
	}
	if s.ppp == nil {
		d.join(s)
		s.words = words
	}
	m := message{datagram: u, header: wire.Header{Version: 3, TunnelID: s.id}}
	d.controlFrame(m, s.ppp, s.from, protocol, information)
}

// join finds the session that a stream is one direction of: it is the other one of a
// stream between the same two ends, if there is no choice.
func (d *decoder) join(s *stream) {
	there, back := pair{s.dst, s.src}, pair{s.src, s.dst}
	if other := d.alone[back]; len(other) == 1 {
		s.ppp, s.from = other[0], 1
		delete(d.alone, back)
		return
	}
	s.ppp = new(ppp)
	if d.alone == nil {
		d.alone = make(map[pair][]*ppp)
	}
	d.alone[there] = append(d.alone[there], s.ppp)
}

// sessionsV3 writes a line for each stream.
func (d *decoder) sessionsV3() {
	for _, s := range d.list {
		l := line{what: "data"}
		if i := s.best(); i < 0 {
			l.add("of frames that are not recognized")
		} else {
			g := &s.guesses[i]
			kind := noFrame
			for k, n := range g.frames {
				if n > g.frames[kind] {
					kind = frameKind(k)
				}
			}
			l.add("%v", kind)
			l.items = append(l.items, header(g.words[:i])...)
			if i > 0 && g.words[i-1].sublayer() == withNumbers {
				if c := g.numbers.Counters(); c != (order.Counters{}) {
					l.add("%d missing", c.Missing)
					l.add("%d late or twice", c.Discarded)
				}
			}
		}
		many := tally(s.packets, "packet", "packets") + " (" + octets(s.octets) + ")"
		if took := s.last.Sub(s.first); took > 0 {
			many += fmt.Sprintf(" in %.3f s", took.Seconds())
		}
		l.add("%s", many)
		d.now = s.first
		d.print(s.src, s.dst, hex32(s.id), l)
	}
}

// best is behind how many words most messages have a frame, the least number of words if
// there are several; -1 if those are less than half of all.
func (s *stream) best() (words int) {
	words, most := -1, (s.packets-1)/2
	for i := range s.guesses {
		if n := s.guesses[i].total(); n > most {
			words, most = i, n
		}
	}
	return words
}
