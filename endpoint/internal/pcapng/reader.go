package pcapng

import (
	"encoding/binary"
	"errors"
	"io"
	"time"
)

// ErrFormat is the error of [NewReader] for what is no capture.
var ErrFormat = errors.New("expected a capture in pcap or pcapng format, found something else")

const (
	// blockMax bounds a block, and a packet of pcap: none that anybody writes
	// comes near it.
	blockMax = 16 << 20
	// interfacesMax bounds what a section may make us remember.
	interfacesMax = 4096
)

// A Packet is a packet of a capture.
type Packet struct {
	Time      time.Time // zero: the capture does not say
	Interface *Interface
	Direction Direction
	Data      []byte // valid until the next packet is read
	Length    int    // octets that it had; more than in Data if the capture cut it
}

// An Interface is where packets were captured.
type Interface struct {
	Link        LinkType
	Name        string // "" if the capture does not say
	Application string // which wrote the section; "" if the capture does not say
	snap        uint32 // octets of a packet that are captured; 0: all
	clock       clock
}

// A clock is the meaning of an interface's time stamps.
type clock struct {
	units   uint64 // in a second; 0: nobody can tell
	seconds int64  // to be added
}

// A Reader reads a capture packet by packet.
type Reader struct {
	r      io.Reader
	buf    []byte
	offset int64 // of what is read next
	order  binary.ByteOrder
	pcapng bool

	pcap        Interface // the one that a pcap file has
	application string    // of the section
	interfaces  []*Interface
}

// NewReader reads the beginning of a capture. The error is [ErrFormat], or what
// r returned.
func NewReader(r io.Reader) (*Reader, error) {
	d := &Reader{r: r, order: binary.LittleEndian}
	magic, err := d.read(4)
	if err != nil {
		return nil, notACapture(err)
	}
	if d.order.Uint32(magic) == blockSection {
		d.pcapng = true
		if err := d.section(); err != nil {
			return nil, notACapture(err)
		}
		return d, nil
	}
	for _, d.order = range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		switch d.order.Uint32(magic) {
		case 0xa1b2c3d4:
			d.pcap.clock.units = 1e6
		case 0xa1b23c4d:
			d.pcap.clock.units = 1e9
		default:
			continue
		}
		header, err := d.read(20)
		if err != nil {
			return nil, notACapture(err)
		}
		d.pcap.Link = linkType(d.order.Uint32(header[16:]))
		return d, nil
	}
	return nil, ErrFormat
}

// notACapture is the error of a file that ends, or makes no sense, before its
// first packet could come.
func notACapture(err error) error {
	var broken *FormatError
	if err == io.EOF || err == io.ErrUnexpectedEOF || errors.As(err, &broken) {
		return ErrFormat
	}
	return err
}

// linkType is a pcap file's: the higher bits say whether a frame check sequence
// follows each frame. Raw IP has had other numbers in some systems.
func linkType(n uint32) LinkType {
	switch l := LinkType(n); l {
	case 12, 14:
		return LinkRaw
	default:
		return l
	}
}

// Next is the next packet. The error is io.EOF at the end, io.ErrUnexpectedEOF
// when the capture ends within a packet, a [FormatError], or what the reader
// below returned. There is no packet after an error.
func (d *Reader) Next() (Packet, error) {
	if d.pcapng {
		return d.nextBlock()
	}
	at := d.offset
	header, err := d.read(16)
	if err != nil {
		return Packet{}, err
	}
	seconds, fraction := d.order.Uint32(header), d.order.Uint32(header[4:])
	n, length := d.order.Uint32(header[8:]), d.order.Uint32(header[12:])
	if n > blockMax || length > blockMax {
		return Packet{}, &FormatError{at, "a packet of impossible length"}
	}
	data, err := d.read(int(n))
	if err != nil {
		return Packet{}, unexpected(err)
	}
	p := Packet{Interface: &d.pcap, Data: data, Length: max(int(length), int(n))}
	p.Time = time.Unix(int64(seconds), int64(fraction)*int64(1e9/d.pcap.clock.units))
	return p, nil
}

// read reads n octets, valid until the next read. Memory grows with what
// comes, not with what a file claims. The error is io.EOF if nothing came.
func (d *Reader) read(n int) ([]byte, error) {
	const step = 64 << 10
	d.buf = d.buf[:0]
	for len(d.buf) < n {
		at := len(d.buf)
		more := min(n-at, max(step, at))
		if cap(d.buf)-at < more {
			d.buf = append(make([]byte, 0, at+more), d.buf...)
		}
		d.buf = d.buf[:at+more]
		got, err := io.ReadFull(d.r, d.buf[at:])
		d.offset += int64(got)
		if err != nil {
			if at > 0 {
				err = unexpected(err)
			}
			return nil, err
		}
	}
	return d.buf, nil
}

// unexpected is the error of a read in the middle of something.
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
