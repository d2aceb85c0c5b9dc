package decode

import (
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"maps"
	"strings"

	pppframe "github.com/l2tpnet/l2tpnet/endpoint/internal/ppp"
)

// ppp is what an observer remembers of PPP in a session.
type ppp struct {
	layers map[uint16]*layer
	last   [2]map[lastKey]uint64 // the sum of the last packet of its kind
	asked  [2]bool               // a PAP Authenticate-Request of the end had no answer yet
}

type lastKey struct {
	protocol uint16
	code     uint8
}

// layersMax and lastMax are more than there are protocols and codes.
const (
	layersMax = 32
	lastMax   = 256
)

func (p *ppp) layer(protocol uint16) *layer {
	l := p.layers[protocol]
	if l == nil {
		l = &layer{protocol: protocol}
		if p.layers == nil {
			p.layers = map[uint16]*layer{}
		}
		if len(p.layers) < layersMax {
			p.layers[protocol] = l
		}
	}
	return l
}

// repeated notes a packet, and reports whether the same was the end's last of its kind.
func (p *ppp) repeated(from int, key lastKey, sum uint64) bool {
	if p.last[from][key] == sum {
		return true
	}
	if p.last[from] == nil || len(p.last[from]) >= lastMax {
		p.last[from] = map[lastKey]uint64{}
	}
	p.last[from][key] = sum
	return false
}

// A packet is what LCP, the others that negotiate, PAP, CHAP and EAP have in
// common (RFC 1661 §5).
type packet struct {
	code, id uint8
	data     []byte
}

// parsePacket says why it is none.
func parsePacket(b []byte) (p packet, reason string) {
	if len(b) < 4 {
		return p, fmt.Sprintf("%s, a packet has 4 or more", octets(len(b)))
	}
	n := int(binary.BigEndian.Uint16(b[2:]))
	p = packet{code: b[0], id: b[1]}
	switch {
	case n < 4:
		return p, fmt.Sprintf("Length is %d, less than 4", n)
	case n > len(b):
		return p, fmt.Sprintf("Length is %d, the frame ends after %d", n, len(b))
	}
	p.data = b[4:n]
	return p, ""
}

// frame takes a data message.
func (d *decoder) frame(m message) {
	protocol, information, ok := pppframe.ParseFrame(m.body)
	if !ok {
		d.count.ppp++
		d.message(m, line{what: "PPP", wrong: "the frame ends before its protocol does"})
		return
	}
	if protocol < 0x8000 { // of the network layer (RFC 1661 §2), or has no control protocol
		d.count.data++
		d.count.dataBytes += len(information)
		return
	}
	e := d.tunnelOf(m.src, m.dst, m.header.TunnelID, 0)
	var s *session
	if e.tunnel != nil {
		s = d.sessionOf(e, m.header.SessionID, 0)
	}
	if s == nil {
		s = new(session) // that nobody remembers
	}
	d.controlFrame(m, &s.ppp, 1-e.end, protocol, information)
}

// controlFrame takes a frame of PPP's own protocols, which an end of a session sends.
func (d *decoder) controlFrame(m message, s *ppp, from int, protocol uint16, information []byte) {
	l := line{what: protocolName(protocol)}
	if protocol < 0xc000 || protocol == protoLCP || protocol == protoPAP || protocol == protoCHAP || protocol == protoEAP {
		p, reason := parsePacket(information)
		switch {
		case reason == "":
			reason = d.packetOf(s, from, protocol, p, &l)
		case m.missing > 0 && p.code != 0:
			l.what += fmt.Sprintf(" %s %d", codeName(p.code), p.id)
		}
		l.wrong = reason
	} else { // of other formats, as LQR (RFC 1989 §2.6)
		l.add("%s", octets(len(information)))
	}
	d.count.ppp++
	d.message(m, l)
}

// packetOf fills in the line of a packet, or says what is wrong with it.
func (d *decoder) packetOf(s *ppp, from int, protocol uint16, p packet, l *line) (reason string) {
	if protocol == protoPAP {
		return d.pap(s, from, p, l)
	}
	var h maphash.Hash
	h.SetSeed(d.seed)
	h.Write([]byte{p.code, p.id})
	h.Write(p.data)
	sum := h.Sum64() | 1
	l.repeated = s.repeated(from, lastKey{protocol, p.code}, sum)

	switch protocol {
	case protoCHAP:
		return chap(p, l)
	case protoEAP:
		return eap(p, l)
	}
	l.what += fmt.Sprintf(" %s %d", codeName(p.code), p.id)
	switch {
	case p.code == termReq: // some change its identifier each time
		l.repeated = s.layer(protocol).end[from].state == closing
	case p.code >= codeRej: // no end waits for an answer to these
		l.repeated = false
	}
	if reason = configure(protocol, p, l); reason == "" {
		s.follow(from, protocol, p, sum, l)
	}
	return reason
}

// configure describes a packet of a protocol that negotiates options.
func configure(protocol uint16, p packet, l *line) (reason string) {
	switch p.code {
	case confReq, confNak, confRej:
		list, reason := parseOptions(p.data)
		for _, o := range list {
			l.items = append(l.items, o.describe(protocol))
		}
		return reason
	case confAck: // the same options as in the Conf-Req
		_, reason := parseOptions(p.data)
		return reason
	case termReq, termAck:
		l.quote(p.data)
	case codeRej:
		if len(p.data) == 0 {
			return "no packet is rejected"
		}
		l.add("%s", codeName(p.data[0]))
	case protoRej:
		if len(p.data) < 2 {
			return "no protocol is rejected"
		}
		l.add("%s", protocolName(number16(p.data)))
	case identification:
		if len(p.data) < 4 {
			return "no Magic-Number"
		}
		l.quote(p.data[4:])
	}
	return ""
}

// follow lets the layer's automatons see the packet.
func (s *ppp) follow(from int, protocol uint16, p packet, sum uint64, l *line) {
	both := s.layer(protocol)
	was := both.end[from].state
	state, ok := both.follow(from, p, sum)
	if !ok {
		return
	}
	l.state = state.String()
	if protocol == protoLCP && was == opened && (state == reqSent || state == closing) {
		// This-Layer-Down: what LCP carries begins again.
		maps.DeleteFunc(s.layers, func(number uint16, _ *layer) bool { return number != protoLCP })
		for i := range s.last {
			maps.DeleteFunc(s.last[i], func(key lastKey, _ uint64) bool { return key.protocol != protoLCP })
		}
		s.asked = [2]bool{}
	}
	if state == opened && was != opened {
		l.state += both.agreement(from)
	}
}

// agreement is what two ends have agreed on, as far as one would like to know
// it: the sender's first.
func (l *layer) agreement(from int) string {
	var words []string
	for _, e := range []layerEnd{l.end[from], l.end[1-from]} {
		switch {
		case e.agreed.address.IsValid():
			words = append(words, e.agreed.address.String())
		case e.agreed.mppe != "" && len(words) == 0:
			words = append(words, e.agreed.mppe)
		}
	}
	if len(words) == 0 {
		return ""
	}
	return ", " + strings.Join(words, " and ")
}
