package control

import (
	"slices"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/machine"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

const (
	peerWindow = 4        // until the peer has told its own (RFC 2661 §4.4.3)
	bufferMax  = 32 << 10 // octets of messages that wait for an earlier one
)

// reliable is the reliable delivery of control messages: RFC 2661 §5.8 and
// appendix A. Sequence numbers are modulo 65536 everywhere.
//
//	           una          una+next     una+high          una+len(queue)
//	────────────┼───────────────┼────────────┼──────────────────┼──► Ns
//	acknowledged│   in flight   │  sent, to  │   not yet sent   │
//	            │               │ be resent  │                  │
//
// A time-out makes next go back to una, as in TCP: the peer may have discarded
// what came after the message that was lost (§5.8 lets it).
type reliable struct {
	cfg      *Config
	counters *Counters
	send     func(packet []byte)                 // the packet is the callee's
	empty    func(ns, nr uint16) (packet []byte) // a message that only acknowledges
	sounding *sounding                           // how queue[0] is filled up; nil: it is not

	una   uint16     // the Ns of queue[0]
	queue []outgoing // at most SendQueue, and a StopCCN
	next  int
	high  int

	window   int       // the peer's
	cwnd     int       // CWND, SSTHRESH: appendix A
	ssthresh int       //
	acks     int       // since cwnd grew, in congestion avoidance
	tries    int       // how often queue[0] was sent again
	retryAt  time.Time // zero: nothing is in flight

	nr       uint16              // the Ns that we expect next
	buffer   map[uint16]incoming // by Ns: came before their turn; nil: none ever did
	buffered int                 // octets in buffer
	ackAt    time.Time           // zero: nothing to acknowledge
}

// outgoing is a message on its way to the peer.
type outgoing struct {
	packet  []byte
	message wire.MessageType
	session uint32 // ours, 0: none
}

// incoming is a message of the peer's.
type incoming struct {
	session uint32 // of its header
	avps    []byte
}

// Counters are what a tunnel has counted.
type Counters struct {
	Malformed      uint64 // datagrams whose header was in error
	InvalidNr      uint64 // acknowledged what was never sent
	Duplicates     uint64 // came again
	OutOfOrder     uint64 // came before their turn, and were kept
	OutOfWindow    uint64 // came too long before their turn, and were dropped
	Retransmitted  uint64
	IgnoredMessage uint64 // unknown without the M bit, or of no meaning in the state
	RefusedCall    uint64 // ICRQ and OCRQ that were refused without asking
	BadDigest      uint64 // L2TPv3: dropped, since the Message Digest is wrong or missing
}

func newReliable(cfg *Config, counters *Counters, send func([]byte), empty func(ns, nr uint16) []byte) reliable {
	r := reliable{cfg: cfg, counters: counters, send: send, empty: empty, cwnd: 1}
	r.setWindow(peerWindow)
	return r
}

// setWindow takes the peer's Receive Window Size.
//
// RFC 2661 §5.8: "A value of 0 for the Receive Window Size AVP is invalid." It
// is taken for the least that works.
//
// Appendix A: "CWND is initialized to one packet, and SSHTRESH is initialized
// to the advertised window (obtained from the Receive Window AVP)."
func (r *reliable) setWindow(n int) {
	r.window = min(max(n, 1), r.cfg.PeerWindow)
	r.ssthresh = r.window
	r.cwnd = min(r.cwnd, r.window)
}

// push queues a complete message. It reports false, and the message is not
// queued, when as many wait as may. A StopCCN always finds a place, before what
// has not been sent: it makes that void.
func (r *reliable) push(now time.Time, o outgoing) bool {
	if o.message == wire.StopCCN {
		r.queue = r.queue[:r.high]
	} else if len(r.queue) >= r.cfg.SendQueue {
		return false
	}
	r.clearTheWay()
	r.queue = append(r.queue, o)
	r.flush(now)
	return true
}

// flush sends what the windows allow. A StopCCN does not wait for slow start:
// it goes as soon as the peer's window allows it, while nothing seems lost.
func (r *reliable) flush(now time.Time) {
	limit := min(r.cwnd, r.window)
	if n := len(r.queue); n > 0 && r.queue[n-1].message == wire.StopCCN && r.tries == 0 {
		limit = r.window
	}
	for ; r.next < min(len(r.queue), limit); r.next++ {
		r.transmit(r.next)
	}
	if r.next > 0 && r.retryAt.IsZero() {
		r.retryAt = now.Add(r.interval())
	}
}

// transmit sends a message of the queue, which carries our acknowledgement.
//
// RFC 2661 §5.8: "The retransmitted message contains the same Ns value, but
// the Nr value MUST be updated with the sequence number of the next expected
// message."
func (r *reliable) transmit(i int) {
	send := r.send
	if i < r.high && !(i == 0 && r.filled()) {
		r.counters.Retransmitted++
	}
	r.high = max(r.high, i+1)
	packet := slices.Clone(r.queue[i].packet)
	if i == 0 && r.sounding != nil {
		if packet = r.sounding.fill(packet); r.filled() {
			send = r.sounding.send
		}
	}
	wire.SetSequence(packet, r.una+uint16(i), r.nr)
	r.ackAt = time.Time{}
	send(packet)
}

// acknowledge takes the Nr of a message of the peer's, and returns the messages
// that it acknowledges for the first time. It reports false when the Nr lies
// beyond what was sent: the message is then invalid. An old Nr is that of a
// message that was overtaken.
func (r *reliable) acknowledge(now time.Time, nr uint16) (acked []outgoing, ok bool) {
	n := int(nr - r.una)
	if n > r.high {
		return nil, nr-r.una >= 0x8000
	}
	if n == 0 {
		return nil, true
	}
	acked = slices.Clone(r.queue[:n])
	if r.queue = slices.Delete(r.queue, 0, n); len(r.queue) == 0 {
		r.queue = nil // most tunnels are idle most of the time
	}
	r.una += uint16(n)
	r.next = max(r.next-n, 0)
	r.high -= n
	r.tries = 0
	r.retryAt = time.Time{}
	if r.next > 0 {
		r.retryAt = now.Add(r.interval())
	}
	r.grow()
	if s := r.sounding; s != nil {
		r.sounding = nil
		s.acknowledged(now, s)
	}
	return acked, true
}

// grow widens the congestion window at an acknowledgement.
//
// RFC 2661 appendix A: "During slow start, CWND is increased by one packet each
// time an ACK (explicit ZLB or piggybacked) is received. […] During congestion
// avoidance, […] CWND is increased by one packet after CWND new ACKs have been
// received."
func (r *reliable) grow() {
	if r.acks++; r.cwnd < r.ssthresh || r.acks >= r.cwnd {
		r.cwnd, r.acks = min(r.cwnd+1, r.window), 0
	}
}

// receive takes the place in the sequence of a message, not a ZLB, and reports
// whether it is the next one, to be delivered now; more may follow from pop.
//
// RFC 2661 §5.8: "The sequence number in the header of a received message is
// considered less than or equal to the last received number if its value lies
// in the range of the last received number and the preceding 32767 values,
// inclusive."
func (r *reliable) receive(now time.Time, ns uint16, in incoming) bool {
	switch ahead := ns - r.nr; {
	case ahead == 0:
		r.advance(now)
		return true
	case ahead >= 0x8000:
		// "receipt of duplicate messages MUST be acknowledged": once for
		// all that come within 100 ms.
		r.counters.Duplicates++
		r.ackWithin(now, r.cfg.DuplicateAckDelay)
	case int(ahead) >= r.cfg.ReceiveWindow:
		r.counters.OutOfWindow++
	default:
		if _, kept := r.buffer[ns]; kept {
			r.counters.Duplicates++
		} else if r.buffered+len(in.avps) > bufferMax {
			r.counters.OutOfWindow++
		} else {
			r.counters.OutOfOrder++
			in.avps = slices.Clone(in.avps)
			if r.buffer == nil {
				r.buffer = make(map[uint16]incoming)
			}
			r.buffer[ns] = in
			r.buffered += len(in.avps)
		}
	}
	return false
}

// pop is the next message in sequence, if it had come before its turn.
func (r *reliable) pop(now time.Time) (in incoming, ok bool) {
	if in, ok = r.buffer[r.nr]; ok {
		delete(r.buffer, r.nr)
		r.buffered -= len(in.avps)
		r.advance(now)
	}
	return in, ok
}

func (r *reliable) advance(now time.Time) {
	r.nr++
	r.ackWithin(now, r.cfg.AckDelay)
}

func (r *reliable) ackWithin(now time.Time, delay time.Duration) {
	if at := now.Add(delay); r.ackAt.IsZero() || at.Before(r.ackAt) {
		r.ackAt = at
	}
}

// ack sends what is to be acknowledged in a ZLB, or in L2TPv3 an ACK, unless a message
// has carried it.
//
// RFC 2661 §5.8: "All control messages take up one slot in the control message
// sequence number space, except the ZLB acknowledgement."
func (r *reliable) ack() {
	if !r.ackAt.IsZero() {
		r.ackAt = time.Time{}
		r.send(r.empty(r.una+uint16(r.high), r.nr))
	}
}

// clear drops all that was to be sent; acknowledging goes on.
func (r *reliable) clear() {
	r.una += uint16(r.high)
	r.queue, r.next, r.high, r.sounding = nil, 0, 0, nil
	r.retryAt = time.Time{}
}

func (r *reliable) deadline() time.Time { return machine.Earliest(r.retryAt, r.ackAt) }

// expireRetry sends the oldest message again when it is time. It reports false
// when that was done as often as it may be.
//
// RFC 2661 appendix A: "When congestion occurs (indicated by the triggering of
// a retransmission) one half of the CWND is saved in SSTHRESH, and CWND is set
// to one. The sender then reenters the slow start phase."
func (r *reliable) expireRetry(now time.Time, most int) bool {
	if r.retryAt.IsZero() || now.Before(r.retryAt) {
		return true
	}
	if r.filled() { // which says nothing about the peer
		r.next, r.retryAt = 0, time.Time{}
		r.flush(now)
		return true
	}
	if r.tries >= most {
		return false
	}
	r.tries++
	r.ssthresh, r.cwnd, r.acks = max(r.cwnd/2, 1), 1, 0
	r.next = 0
	r.retryAt = now.Add(r.cfg.retryInterval(r.tries))
	r.flush(now)
	return true
}

// hurry makes the next retransmission one of this moment, unless it was the last
// one that is being waited for.
func (r *reliable) hurry(now time.Time) {
	if !r.retryAt.IsZero() && r.tries < r.cfg.Retries {
		r.retryAt = now
	}
}

// pause puts off the next retransmission; the count of tries begins anew.
func (r *reliable) pause(now time.Time, d time.Duration) {
	if !r.retryAt.IsZero() {
		r.tries, r.retryAt = 0, now.Add(d)
	}
}

// expireAck acknowledges when it is time.
func (r *reliable) expireAck(now time.Time) {
	if !r.ackAt.IsZero() && !now.Before(r.ackAt) {
		r.ack()
	}
}
