package decode

import (
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

const (
	columns = 80
	indent  = 26 // columns of time, direction and identifiers
)

// A line is a message in words.
type line struct {
	what     string   // the message's name, and its identifier
	items    []string // its AVPs or options
	wrong    string   // what is wrong with it; "": nothing
	repeated bool     // it was seen before
	state    string   // that it led to; "": none
}

func (l *line) add(format string, args ...any) {
	l.items = append(l.items, fmt.Sprintf(format, args...))
}

// quote adds a peer's text, if it is not empty.
func (l *line) quote(text []byte) {
	if len(text) > 0 {
		l.add("%s", wire.Quote(string(text)))
	}
}

// A printer writes lines, and says who is who.
type printer struct {
	w      io.Writer
	err    error // the first of w's
	begin  time.Time
	now    time.Time
	names  map[netip.AddrPort]string
	naming int // names given so far
}

// namesMax bounds the addresses that are remembered. Above it all are forgotten
// and named anew.
const namesMax = 1 << 14

// known reports whether an address has a name, because of messages before.
func (p *printer) known(a netip.AddrPort) bool { return p.names[a] != "" }

// introduce gives names to addresses that have none, and says so.
func (p *printer) introduce(addrs ...netip.AddrPort) {
	if len(p.names)+len(addrs) > namesMax {
		clear(p.names)
	}
	var said []string
	for _, a := range addrs {
		if p.known(a) {
			continue
		}
		p.names[a] = name(p.naming)
		p.naming++
		if a.Port() == 0 { // over IP
			said = append(said, fmt.Sprintf("%s is %v", p.names[a], a.Addr()))
		} else {
			said = append(said, fmt.Sprintf("%s is %v", p.names[a], a))
		}
	}
	if len(said) > 0 {
		p.printf("%s\n", strings.Join(said, ", "))
	}
}

// name is A, B, …, Z, AA, AB, …
func name(n int) string {
	s := string(rune('A' + n%26))
	for n = n/26 - 1; n >= 0; n = n/26 - 1 {
		s = string(rune('A'+n%26)) + s
	}
	return s
}

// print writes the line of a message from one address to another, with what its
// header has to name the tunnel and the session.
func (p *printer) print(from, to netip.AddrPort, ids string, l line) {
	p.introduce(from, to)
	begin := ""
	if !p.now.IsZero() {
		begin = fmt.Sprintf("%7.3f", p.now.Sub(p.begin).Seconds())
	}
	begin = fmt.Sprintf("%7s %s > %s %-11s", begin, p.names[from], p.names[to], ids)
	p.printf("%s", l.fold(begin))
}

func (p *printer) printf(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, args...)
	}
}

// fold puts the line behind its beginning, and breaks it where it would be too
// long for the columns: between items, or within one that is too long by
// itself. The state ends at the last column, behind the last item if it can.
func (l *line) fold(begin string) string {
	words := slices.Concat([]string{l.what}, l.items)
	if l.wrong != "" {
		words[0] = "malformed " + words[0]
		words[len(words)-1] += ":"
		words = append(words, l.wrong)
	}
	if l.repeated {
		words = append(words, "retransmitted")
	}
	f := folder{at: utf8.RuneCountInString(begin)}
	f.WriteString(begin)
	state := 0
	if l.state != "" {
		state = 2 + utf8.RuneCountInString(l.state)
	}
	for i, w := range words {
		room := 0
		switch {
		case i == len(words)-1:
			room = state
		case i > 0 && !strings.HasSuffix(w, ":"):
			w += ","
		}
		f.add(w, room)
	}
	if state > 0 {
		if f.at+state > columns {
			f.breakLine()
		}
		f.WriteString(strings.Repeat(" ", max(2, columns-f.at-state+2)) + l.state)
	}
	f.WriteByte('\n')
	return f.String()
}

// A folder is a text and the column at which it ends.
type folder struct {
	strings.Builder
	at int
}

func (f *folder) breakLine() {
	f.WriteString("\n" + strings.Repeat(" ", indent-1))
	f.at = indent - 1
}

// add adds words on this line if they have room, and so many columns after
// them, else on the next. What no line has room for is broken between words.
func (f *folder) add(words string, room int) {
	n := 1 + utf8.RuneCountInString(words)
	if f.at+n+room > columns && f.at > indent {
		f.breakLine()
	}
	if first, rest, ok := strings.Cut(words, " "); ok && f.at+n > columns {
		for ok {
			f.add(first, 0)
			first, rest, ok = strings.Cut(rest, " ")
		}
		f.add(first, room)
		return
	}
	f.WriteString(" " + words)
	f.at += n
}
