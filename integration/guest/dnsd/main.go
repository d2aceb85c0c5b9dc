// Command dnsd is the guest's DNS server, for tests of names that only exist behind a tunnel. It answers every name under
// "inside.test" with the address that it is given, IPv4 or IPv6, and everything else with NXDOMAIN.
package main

import (
	"log"
	"net"
	"net/netip"
	"os"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: dnsd LISTEN-ADDR ANSWER-ADDR")
	}
	answer := netip.MustParseAddr(os.Args[2])
	conn, err := net.ListenPacket("udp", os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	buf := make([]byte, 1500)
	for {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			log.Fatal(err)
		}
		if reply, err := reply(buf[:n], answer); err != nil {
			log.Printf("a query of %v: %v", from, err)
		} else {
			conn.WriteTo(reply, from)
		}
	}
}

func reply(query []byte, answer netip.Addr) ([]byte, error) {
	var p dnsmessage.Parser
	header, err := p.Start(query)
	if err != nil {
		return nil, err
	}
	question, err := p.Question()
	if err != nil {
		return nil, err
	}
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: header.ID, Response: true, Authoritative: true, RecursionDesired: header.RecursionDesired},
		Questions: []dnsmessage.Question{question},
	}
	switch inside := strings.HasSuffix(strings.ToLower(question.Name.String()), ".inside.test."); {
	case !inside:
		m.RCode = dnsmessage.RCodeNameError
	case question.Type == dnsmessage.TypeA && answer.Is4():
		m.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: question.Name, Class: dnsmessage.ClassINET, TTL: 60},
			Body:   &dnsmessage.AResource{A: answer.As4()},
		}}
	case question.Type == dnsmessage.TypeAAAA && answer.Is6():
		m.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: question.Name, Class: dnsmessage.ClassINET, TTL: 60},
			Body:   &dnsmessage.AAAAResource{AAAA: answer.As16()},
		}}
	}
	log.Printf("%s %s: %v, %d answers", question.Type, question.Name, m.RCode, len(m.Answers))
	return m.Pack()
}
