package pcapng

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/bits"
	"time"
)

// nextBlock reads blocks until one has a packet.
func (d *Reader) nextBlock() (Packet, error) {
	for {
		at := d.offset
		head, err := d.read(4)
		if err != nil {
			return Packet{}, err
		}
		kind := d.order.Uint32(head)
		if kind == blockSection { // in either byte order: it is a palindrome
			if err := d.section(); err != nil {
				return Packet{}, unexpected(err)
			}
			continue
		}
		body, err := d.body(at)
		if err != nil {
			return Packet{}, unexpected(err)
		}
		var p Packet
		ok := true
		switch kind {
		case blockInterface:
			if !d.addInterface(body) {
				return p, &FormatError{at, "an interface description that is none"}
			}
			continue
		case blockPacket:
			p, ok = d.enhanced(body)
		case blockObsolete:
			p, ok = d.obsolete(body)
		case blockSimple:
			p, ok = d.simple(body)
		default:
			continue
		}
		if !ok {
			return Packet{}, &FormatError{at, "a packet block that is none, or whose interface is not described"}
		}
		return p, nil
	}
}

// body reads what a block has between Type and the second Total Length.
func (d *Reader) body(at int64) ([]byte, error) {
	b, err := d.read(4)
	if err != nil {
		return nil, err
	}
	n := d.order.Uint32(b)
	if n < blockOverhead || n > blockMax || n%4 != 0 {
		return nil, &FormatError{at, fmt.Sprintf("a block of impossible length: %d octets", n)}
	}
	b, err = d.read(int(n) - 8)
	if err != nil {
		return nil, err
	}
	if again := d.order.Uint32(b[len(b)-4:]); again != n {
		return nil, &FormatError{at, fmt.Sprintf("a block of %d octets ends with the length of one of %d", n, again)}
	}
	return b[:len(b)-4], nil
}

// section reads a Section Header Block after its Type. What was said of
// interfaces before holds no longer.
func (d *Reader) section() error {
	at := d.offset - 4
	b, err := d.read(8)
	if err != nil {
		return err
	}
	switch {
	case binary.LittleEndian.Uint32(b[4:]) == byteOrderMagic:
		d.order = binary.LittleEndian
	case binary.BigEndian.Uint32(b[4:]) == byteOrderMagic:
		d.order = binary.BigEndian
	default:
		return &FormatError{at, "a section header without its magic number"}
	}
	n := d.order.Uint32(b)
	if n < blockOverhead+16 || n > blockMax || n%4 != 0 {
		return &FormatError{at, fmt.Sprintf("a section header of impossible length: %d octets", n)}
	}
	b, err = d.read(int(n) - 12)
	if err != nil {
		return err
	}
	if major := d.order.Uint16(b); major != 1 {
		return &FormatError{at, fmt.Sprintf("expected pcapng version 1, found %d", major)}
	}
	d.interfaces, d.application = nil, ""
	d.options(b[12:len(b)-4], func(code uint16, value []byte) {
		if code == shbUserApplication {
			d.application = text(value)
		}
	})
	return nil
}

func (d *Reader) addInterface(b []byte) bool {
	if len(b) < 8 || len(d.interfaces) == interfacesMax {
		return false
	}
	i := &Interface{
		Link: linkType(uint32(d.order.Uint16(b))), Application: d.application,
		snap: d.order.Uint32(b[4:]), clock: clock{units: 1e6},
	}
	d.options(b[8:], func(code uint16, value []byte) {
		switch {
		case code == ifName:
			i.Name = text(value)
		case code == ifResolution && len(value) == 1:
			i.clock.units = unitsOf(value[0])
		case code == ifTimeOffset && len(value) == 8:
			i.clock.seconds = int64(d.order.Uint64(value))
		}
	})
	d.interfaces = append(d.interfaces, i)
	return true
}

// unitsOf reads if_tsresol: a negative power of 10, or of 2 with the highest
// bit. Zero when there is no number for it.
func unitsOf(resolution byte) uint64 {
	switch n := resolution & 0x7f; {
	case resolution&0x80 != 0:
		return 1 << n // which is 0 from 64 on
	case n > 19:
		return 0
	default:
		units := uint64(1)
		for range n {
			units *= 10
		}
		return units
	}
}

// time is a time stamp as a time; zero when it lies beyond what a time.Time has
// nanoseconds for.
func (c clock) time(high, low uint32) time.Time {
	if c.units == 0 {
		return time.Time{}
	}
	n := uint64(high)<<32 | uint64(low)
	seconds, rest := n/c.units, n%c.units
	hi, lo := bits.Mul64(rest, 1e9)
	nanoseconds, _ := bits.Div64(hi, lo, c.units) // rest < units, so it fits
	const latest = 1 << 40                        // seconds: some 35,000 years
	if seconds > latest || c.seconds > latest || c.seconds < -latest {
		return time.Time{}
	}
	return time.Unix(int64(seconds)+c.seconds, int64(nanoseconds))
}

// enhanced reads an Enhanced Packet Block.
func (d *Reader) enhanced(b []byte) (p Packet, ok bool) {
	if len(b) < 20 || !d.at(&p, d.order.Uint32(b), b[4:]) {
		return p, false
	}
	rest, ok := d.data(&p, b[12:])
	d.options(rest, func(code uint16, value []byte) {
		if code == epbFlags && len(value) == 4 {
			p.Direction = Direction(d.order.Uint32(value) & 3)
		}
	})
	return p, ok
}

// obsolete reads a Packet Block, which has a number of drops beside the
// interface's number.
func (d *Reader) obsolete(b []byte) (p Packet, ok bool) {
	if len(b) < 20 || !d.at(&p, uint32(d.order.Uint16(b)), b[4:]) {
		return p, false
	}
	_, ok = d.data(&p, b[12:])
	return p, ok
}

// simple reads a Simple Packet Block: of the first interface, without a time,
// and its captured length is not said.
func (d *Reader) simple(b []byte) (p Packet, ok bool) {
	if len(b) < 4 || len(d.interfaces) == 0 {
		return p, false
	}
	p.Interface = d.interfaces[0]
	length := d.order.Uint32(b)
	n := length
	if snap := p.Interface.snap; snap != 0 {
		n = min(n, snap)
	}
	b = b[4:]
	if uint64(n) > uint64(len(b)) || length > blockMax {
		return p, false
	}
	p.Data, p.Length = b[:n], int(length)
	return p, true
}

// at fills in a packet's interface and time.
func (d *Reader) at(p *Packet, number uint32, stamp []byte) bool {
	if uint64(number) >= uint64(len(d.interfaces)) {
		return false
	}
	p.Interface = d.interfaces[number]
	p.Time = p.Interface.clock.time(d.order.Uint32(stamp), d.order.Uint32(stamp[4:]))
	return true
}

// data reads | Captured Length 4 | Original Length 4 | Data, padded |, and gives
// what follows: options.
func (d *Reader) data(p *Packet, b []byte) (rest []byte, ok bool) {
	n, length := d.order.Uint32(b), d.order.Uint32(b[4:])
	b = b[8:]
	if uint64(n) > uint64(len(b)) || length > blockMax {
		return nil, false
	}
	p.Data, p.Length = b[:n], max(int(length), int(n))
	return b[n+min(-n&3, uint32(len(b))-n):], true
}

// options calls do for each option. What is no option ends them.
func (d *Reader) options(b []byte, do func(code uint16, value []byte)) {
	for len(b) >= 4 {
		code, n := d.order.Uint16(b), int(d.order.Uint16(b[2:]))
		b = b[4:]
		if code == optEnd || n > len(b) {
			return
		}
		do(code, b[:n])
		b = b[n+min(-n&3, len(b)-n):]
	}
}

// textMax is how many octets are kept of a text that an interface has.
const textMax = 128

// text is an option's text, which is not to be terminated, but sometimes is.
func text(b []byte) string { return string(bytes.TrimRight(b[:min(len(b), textMax)], "\x00")) }
