package proxy

import (
	"encoding/binary"
	"errors"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

var errTooLong = errors.New("a message that is too long")

// A question is a query of a client's.
type question struct {
	message []byte // a copy, with the client's id
	id      uint16
	asked   dnsmessage.Question
	end     int  // of the question section in message
	edns    bool // it has an OPT record (RFC 6891)
	size    int  // bytes of an answer by UDP that the client takes
}

// dnsHeader is the length of a message's header, and so where the question begins.
const dnsHeader = 12

// Bits of a header's second word (RFC 1035 §4.1.1, RFC 4035 §3).
const (
	dnsResponse  = 1 << 15
	dnsTruncated = 1 << 9
	dnsDesired   = 1 << 8 // recursion is
	dnsAvailable = 1 << 7 // recursion is
	dnsNoCheck   = 1 << 4
	dnsOpcode    = 0xf << 11
)

// parseQuestion reads a client's message. What is no query is to be dropped: an answer
// to an answer could go on for ever. What is one that cannot be forwarded has a
// refusal.
func parseQuestion(m []byte) (q *question, refusal []byte) {
	if len(m) < dnsHeader {
		return nil, nil
	}
	flags := binary.BigEndian.Uint16(m[2:])
	if flags&dnsResponse != 0 {
		return nil, nil
	}
	if flags&dnsOpcode != 0 {
		return nil, reply(m[:dnsHeader], dnsmessage.RCodeNotImplemented)
	}
	q = &question{id: binary.BigEndian.Uint16(m), size: dnsUDPLeast}
	var ok bool
	if q.asked, q.end, ok = askedIn(m); !ok || len(m) > dnsQuestionMax || !q.parseRest(m) {
		return nil, reply(m[:dnsHeader], dnsmessage.RCodeFormatError)
	}
	if q.asked.Type == dnsmessage.TypeAXFR || q.asked.Type == typeIXFR {
		return nil, reply(m[:q.end], dnsmessage.RCodeRefused) // answers of many messages, for servers only
	}
	q.message = append([]byte(nil), m...)
	return q, nil
}

const typeIXFR = 251 // RFC 1995

// parseRest finds the client's OPT record. It is false when the message is malformed.
func (q *question) parseRest(m []byte) bool {
	var p dnsmessage.Parser
	if _, err := p.Start(m); err != nil {
		return false
	}
	if p.SkipAllQuestions() != nil || p.SkipAllAnswers() != nil || p.SkipAllAuthorities() != nil {
		return false
	}
	for {
		h, err := p.AdditionalHeader()
		if err == dnsmessage.ErrSectionDone {
			return true
		}
		if err != nil {
			return false
		}
		if h.Type == dnsmessage.TypeOPT {
			if q.edns { // RFC 6891 §6.1.1: "If a query message with more than one OPT RR is received, a FORMERR (RCODE=1) MUST be returned."
				return false
			}
			q.edns, q.size = true, min(max(int(h.Class), dnsUDPLeast), dnsUDPMax)
		}
		if p.SkipAdditional() != nil {
			return false
		}
	}
}

// askedIn is a message's only question and where it ends.
func askedIn(m []byte) (asked dnsmessage.Question, end int, ok bool) {
	var p dnsmessage.Parser
	if _, err := p.Start(m); err != nil || binary.BigEndian.Uint16(m[4:]) != 1 {
		return asked, 0, false
	}
	asked, err := p.Question()
	if err != nil {
		return asked, 0, false
	}
	// A name before which there is none is not compressed: labels, a zero, type, class.
	for end = dnsHeader; end < len(m) && m[end] != 0; end += int(m[end]) + 1 {
		if m[end] > 63 {
			return asked, 0, false
		}
	}
	end += 1 + 4
	return asked, end, end <= len(m)
}

// answers tells whether a message is an answer to the question that was asked with an
// id: "the question section … equivalent to that of the query" (RFC 5452 §9.1). Case
// does not count. An error may leave the question out.
func (q *question) answers(m []byte, id uint16) bool {
	if len(m) < dnsHeader || binary.BigEndian.Uint16(m) != id {
		return false
	}
	flags := binary.BigEndian.Uint16(m[2:])
	if flags&dnsResponse == 0 || flags&dnsOpcode != 0 {
		return false
	}
	if len(m) == dnsHeader && rcode(m) != dnsmessage.RCodeSuccess && binary.BigEndian.Uint16(m[4:]) == 0 {
		return true
	}
	asked, _, ok := askedIn(m)
	return ok && asked.Type == q.asked.Type && asked.Class == q.asked.Class &&
		strings.EqualFold(asked.Name.String(), q.asked.Name.String())
}

func rcode(m []byte) dnsmessage.RCode { return dnsmessage.RCode(m[3] & 0xf) }

func truncated(m []byte) bool { return binary.BigEndian.Uint16(m[2:])&dnsTruncated != 0 }

// withID is a message with another id.
func withID(m []byte, id uint16) []byte {
	m = append([]byte(nil), m...)
	binary.BigEndian.PutUint16(m, id)
	return m
}

// reply is an answer without records to the header, and perhaps the question behind
// it, of a query.
func reply(head []byte, code dnsmessage.RCode) []byte {
	m := append([]byte(nil), head...)
	flags := binary.BigEndian.Uint16(m[2:])
	flags = flags&(dnsOpcode|dnsDesired|dnsNoCheck) | dnsResponse | dnsAvailable | uint16(code)
	binary.BigEndian.PutUint16(m[2:], flags)
	clear(m[4:dnsHeader])
	if len(m) > dnsHeader {
		m[5] = 1
	}
	return m
}

// reply is an answer without records to the question.
func (q *question) reply(code dnsmessage.RCode) []byte {
	m := reply(q.message[:q.end], code)
	if q.edns { // RFC 6891 §6.1.1: "an OPT record MUST be included in the respond"
		m = append(m, 0, 0, byte(dnsmessage.TypeOPT), dnsUDPMax>>8, dnsUDPMax&0xff, 0, 0, 0, 0, 0, 0)
		m[11] = 1
	}
	return m
}

// fit is an answer as the client takes it by UDP: one that is longer is to be asked
// for again by TCP (RFC 2181 §9).
func (q *question) fit(answer []byte) []byte {
	if len(answer) <= q.size {
		return answer
	}
	m := q.reply(rcode(answer))
	m[2] |= dnsTruncated >> 8
	return m
}
