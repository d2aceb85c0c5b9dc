package ppp

import (
	"encoding/binary"
	"slices"
	"time"
)

// A Proxy is what a LAC has negotiated with our peer in the place of us, the
// server, and passes on in its ICCN (Proxy LCP and Authentication AVPs, RFC 2661
// §4.4.5). The zero Proxy is nothing. It is the LAC's word that is taken for
// it: "this implies a direct trust relationship of the LAC on behalf of the LNS"
// (RFC 2661 §9.5); whoever does not have it calls [Link.Open].
//
// LCP is opened with these options if we would have agreed to them; otherwise it
// is negotiated from scratch, which takes the peer back there. The response, if
// it is one to the method that was agreed on, becomes an [AuthQuestion] as if it
// had come to us, and the reply goes to the peer; otherwise the authentication
// begins anew. The Initial Received LCP CONFREQ says nothing that matters then.
type Proxy struct {
	LastSent     []byte // Last Sent LCP CONFREQ: the LAC's options, for us
	LastReceived []byte // Last Received LCP CONFREQ: the peer's

	AuthenType uint16 // 2: CHAP, 3: PAP; what has others is not used
	Name       string
	Challenge  []byte // CHAP
	ID         uint8
	Response   []byte // CHAP: the Value; PAP: the password
}

// Values of Proxy Authen Type.
const (
	proxyCHAP = 2
	proxyPAP  = 3
)

// resume opens LCP with what the LAC has negotiated. It reports false when that
// is nothing, or not for us.
func (l *Link) resume(now time.Time, p Proxy) bool {
	if !l.cfg.Server || !l.lcp.adopt(p.LastSent, p.LastReceived) {
		return false
	}
	l.proxy = &p
	l.lcp.setState(opened)
	l.lcp.up(now)
	return true
}

// adopt puts the options of a proxy in force.
func (l *lcp) adopt(sent, received []byte) bool {
	ours, ok := parseOptions(sent)
	theirs, also := parseOptions(received)
	if !ok || !also {
		return false
	}
	magic, demands := l.magic, l.demands
	if l.agree(ours) {
		if answer, err := l.judge(theirs); err == nil && answer.code == configureAck {
			l.granted(theirs)
			return true
		}
	}
	l.magic, l.demands = magic, demands
	return false
}

// agree takes the options that a LAC has asked for as our own. It must have asked
// for authentication, by a method of ours, and for nothing that we do not do.
func (l *lcp) agree(list []option) bool {
	l.magic = 0
	var method Method
	for _, o := range list {
		switch {
		case o.kind == lcpMRU && len(o.data) == 2:
			if v := int(binary.BigEndian.Uint16(o.data)); v < minMRU || v > max(fullMRU, l.link.cfg.MRU) {
				return false
			}
		case o.kind == lcpMagic && len(o.data) == 4:
			l.magic = binary.BigEndian.Uint32(o.data)
		case o.kind == lcpAuth:
			if method = byOption(l.demands, o.data); method == 0 {
				return false
			}
			l.demands = append([]Method{method}, withoutOption(l.demands, o.data)...)
		case o.kind == lcpACCM, o.kind == lcpPFC, o.kind == lcpACFC:
			// The first is the line's between the LAC and the peer; frames that the
			// others allow are taken whether or not.
		default:
			return false
		}
	}
	return method != 0
}

// startExchange begins the authentication, or goes on with what the LAC has begun.
func (l *Link) startExchange(now time.Time) {
	l.exchange = l.newExchange()
	p := l.proxy
	l.proxy = nil
	if x, ok := l.exchange.(resumer); p == nil || !ok || !x.resume(now, p) {
		l.exchange.start(now)
	}
}

// A resumer is an exchange that can begin with the response of a peer.
type resumer interface {
	// resume reports false when there is none that could be judged.
	resume(now time.Time, p *Proxy) bool
}

func (x *papServer) resume(now time.Time, p *Proxy) bool {
	if p.AuthenType == proxyPAP && max(len(p.Name), len(p.Response)) <= 0xff {
		x.handle(now, packet{papRequest, p.ID, append(withLength(p.Name), withLength(string(p.Response))...)})
	}
	return x.asking
}

func (x *chapServer) resume(now time.Time, p *Proxy) bool {
	if p.AuthenType != proxyCHAP || len(p.Challenge) == 0 || len(p.Response) > 0xff || len(p.Name) > maxName {
		return false
	}
	x.challenge, x.id = slices.Clone(p.Challenge), p.ID
	x.link.authID = p.ID // the next Challenge has another
	x.handle(now, packet{chapResponse, p.ID, appendValue(nil, p.Response, p.Name)})
	return x.asking
}
