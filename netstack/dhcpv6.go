package netstack

import (
	"encoding/binary"
	"net/netip"
	"time"
)

// DHCPv6 as a server needs it (RFC 8415 §7.3, §21). A library for it brings a
// client for DHCPv4 with raw sockets and a compressor along, for these few
// options.
type (
	dhcpType   uint8
	dhcpOption uint16
	dhcpStatus uint16
)

const (
	dhcpSolicit            dhcpType = 1
	dhcpAdvertise          dhcpType = 2
	dhcpRequest            dhcpType = 3
	dhcpConfirm            dhcpType = 4
	dhcpRenew              dhcpType = 5
	dhcpRebind             dhcpType = 6
	dhcpReply              dhcpType = 7
	dhcpRelease            dhcpType = 8
	dhcpDecline            dhcpType = 9
	dhcpInformationRequest dhcpType = 11

	optionClientID    dhcpOption = 1
	optionServerID    dhcpOption = 2
	optionIANA        dhcpOption = 3
	optionIATA        dhcpOption = 4
	optionIAAddr      dhcpOption = 5
	optionPreference  dhcpOption = 7
	optionStatusCode  dhcpOption = 13
	optionRapidCommit dhcpOption = 14
	optionDNSServers  dhcpOption = 23 // RFC 3646 §3
	optionIAPD        dhcpOption = 25
	optionIAPrefix    dhcpOption = 26

	statusSuccess       dhcpStatus = 0
	statusNoAddrsAvail  dhcpStatus = 2
	statusNoBinding     dhcpStatus = 3
	statusNotOnLink     dhcpStatus = 4
	statusNoPrefixAvail dhcpStatus = 6

	dhcpHeaderLen  = 4   // type and transaction
	duidMin        = 3   // a type and something
	duidMax        = 130 // RFC 8415 §11.1: 128 octets, and the type
	maxIAs         = 8   // in one message; clients have one or two
	maxIAContents  = 8   // addresses and prefixes in one of them
	dhcpServerPort = 547
	dhcpClientPort = 546
)

// A dhcpMessage is one that a client sent.
type dhcpMessage struct {
	kind           dhcpType
	transaction    [3]byte
	client, server []byte // DUIDs; nil: none
	rapidCommit    bool
	ias            []dhcpIA
}

// A dhcpIA is an identity association (RFC 8415 §21.4, §21.5, §21.21).
type dhcpIA struct {
	kind     dhcpOption // IA_NA, IA_TA or IA_PD
	id       [4]byte
	prefixes []netip.Prefix // that the client has or wants; its addresses, with all their bits
}

// eachOption calls f for each option of b, until one is not as it should be.
func eachOption(b []byte, f func(code dhcpOption, value []byte) bool) bool {
	for len(b) > 0 {
		if len(b) < 4 || len(b)-4 < int(binary.BigEndian.Uint16(b[2:])) {
			return false
		}
		code, n := dhcpOption(binary.BigEndian.Uint16(b)), int(binary.BigEndian.Uint16(b[2:]))
		if !f(code, b[4:4+n]) {
			return false
		}
		b = b[4+n:]
	}
	return true
}

// parseDHCP takes a message of a client apart. It reports false unless all that the
// server looks at is as RFC 8415 has it. What it does not know it skips.
func parseDHCP(b []byte) (m dhcpMessage, ok bool) {
	if len(b) < dhcpHeaderLen {
		return m, false
	}
	m.kind, m.transaction = dhcpType(b[0]), [3]byte(b[1:])
	ok = eachOption(b[dhcpHeaderLen:], func(code dhcpOption, value []byte) bool {
		switch code {
		case optionClientID:
			return setDUID(&m.client, value)
		case optionServerID:
			return setDUID(&m.server, value)
		case optionRapidCommit:
			m.rapidCommit = true
			return len(value) == 0
		case optionIANA, optionIATA, optionIAPD:
			ia, ok := parseIA(code, value)
			m.ias = append(m.ias, ia)
			return ok && len(m.ias) <= maxIAs
		}
		return true
	})
	return m, ok
}

func setDUID(to *[]byte, value []byte) bool {
	if *to != nil || len(value) < duidMin || len(value) > duidMax {
		return false
	}
	*to = value
	return true
}

func parseIA(kind dhcpOption, value []byte) (ia dhcpIA, ok bool) {
	fixed := 12 // IAID, T1 and T2
	if kind == optionIATA {
		fixed = 4
	}
	if len(value) < fixed {
		return ia, false
	}
	ia.kind, ia.id = kind, [4]byte(value)
	ok = eachOption(value[fixed:], func(code dhcpOption, value []byte) bool {
		switch {
		case code == optionIAAddr && kind != optionIAPD:
			if len(value) < 24 {
				return false
			}
			ia.prefixes = append(ia.prefixes, netip.PrefixFrom(netip.AddrFrom16([16]byte(value)), 128))
		case code == optionIAPrefix && kind == optionIAPD:
			if len(value) < 25 || value[8] > 128 {
				return false
			}
			ia.prefixes = append(ia.prefixes, netip.PrefixFrom(netip.AddrFrom16([16]byte(value[9:])), int(value[8])))
		}
		return len(ia.prefixes) <= maxIAContents
	})
	return ia, ok
}

// A dhcpWriter is a message, or an option, in the making.
type dhcpWriter []byte

// option adds an option, whose value is what f adds.
func (w *dhcpWriter) option(code dhcpOption, f func(w *dhcpWriter)) {
	*w = binary.BigEndian.AppendUint16(*w, uint16(code))
	*w = append(*w, 0, 0)
	at := len(*w)
	f(w)
	binary.BigEndian.PutUint16((*w)[at-2:], uint16(len(*w)-at))
}

func (w *dhcpWriter) bytes(code dhcpOption, value ...byte) {
	w.option(code, func(w *dhcpWriter) { *w = append(*w, value...) })
}

func (w *dhcpWriter) seconds(d time.Duration) {
	*w = binary.BigEndian.AppendUint32(*w, wireSeconds[uint32](d))
}

// status adds a Status Code option (RFC 8415 §21.13).
func (w *dhcpWriter) status(s dhcpStatus, text string) {
	w.option(optionStatusCode, func(w *dhcpWriter) {
		*w = append(binary.BigEndian.AppendUint16(*w, uint16(s)), text...)
	})
}

// ia adds an identity association, with what f adds in it.
func (w *dhcpWriter) ia(ia dhcpIA, t1, t2 time.Duration, f func(w *dhcpWriter)) {
	w.option(ia.kind, func(w *dhcpWriter) {
		*w = append(*w, ia.id[:]...)
		if ia.kind != optionIATA {
			w.seconds(t1)
			w.seconds(t2)
		}
		f(w)
	})
}

// prefix adds an IA Prefix option (RFC 8415 §21.22).
func (w *dhcpWriter) prefix(p netip.Prefix, preferred, valid time.Duration) {
	w.option(optionIAPrefix, func(w *dhcpWriter) {
		w.seconds(preferred)
		w.seconds(valid)
		*w = append(append(*w, byte(p.Bits())), p.Addr().AsSlice()...)
	})
}
