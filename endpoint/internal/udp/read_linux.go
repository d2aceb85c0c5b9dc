package udp

import (
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	// messagesMax is how many messages one call receives. UDP_GRO makes one of
	// up to 64 datagrams; where a wire or a sender does not let it, many messages
	// save the calls.
	messagesMax = 32

	// messageRoom is more than a message has: datagrams that UDP_GRO joins fit
	// into one IP packet together. The system maps what is used of it.
	messageRoom = 64 << 10
)

// An inbox is where messages are received. A reader that waits has none, so that
// many idle endpoints share few.
type inbox struct {
	messages [messagesMax]message
	vectors  [messagesMax]unix.Iovec
	controls [messagesMax][controlMax]byte
	names    [messagesMax]unix.RawSockaddrInet6
	runs     [messagesMax]Run
	room     []byte // messageRoom for each
}

func newInbox() *inbox {
	in := &inbox{room: make([]byte, messagesMax*messageRoom)}
	for i := range in.messages {
		v, m := &in.vectors[i], &in.messages[i]
		v.Base = &in.room[i*messageRoom]
		v.SetLen(messageRoom)
		m.Iov = v
		m.SetIovlen(1)
		m.Name = (*byte)(ptr(&in.names[i]))
		m.Control = &in.controls[i][0]
		m.prepare()
	}
	return in
}

// prepare resets what the kernel writes into a message's header.
func (m *message) prepare() {
	m.Namelen = unix.SizeofSockaddrInet6
	m.SetControllen(controlMax)
	m.Flags = 0
}

func (f *fast) read() ([]Run, error) {
	f.refused = 0
	if err := f.raw.Read(f.readable); err != nil {
		return nil, err
	}
	if f.refused != 0 {
		return nil, f.opError("read", "recvmmsg", nil, f.refused)
	}
	in := f.in
	for i := range in.runs[:f.got] {
		m, r := &in.messages[i], &in.runs[i]
		r.bytes = in.room[i*messageRoom:][:m.bytes:m.bytes]
		r.From = f.sender(&in.names[i])
		r.To, r.size = parseControl(in.controls[i][:m.Controllen])
		m.prepare()
	}
	return in.runs[:f.got], nil
}

// tryRead receives what is there; false: nothing is.
func (f *fast) tryRead(fd uintptr) bool {
	if f.in == nil {
		f.in = inboxes.Get().(*inbox)
	}
	for {
		var err syscall.Errno
		if f.noManyIn {
			var n int
			m := &f.in.messages[0]
			n, err = f.calls.receive(int(fd), m)
			f.got, m.bytes = 1, uint32(n)
		} else {
			f.got, err = f.calls.receiveMany(int(fd), f.in.messages[:])
		}
		switch {
		case err == 0:
			return true
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			inboxes.Put(f.in)
			f.in = nil
			return false
		case !f.noManyIn && manyRefused(f.calls.receiveMany, int(fd), err):
			f.noManyIn = true
		default:
			f.refused = err
			return true
		}
	}
}
