package ppp

// This file is RFC 1661 §4.1 to §4.4 as data: states, events, actions and the
// transition table, in the RFC's names and order.

// A state of the option negotiation automaton (RFC 1661 §4.2).
type state uint8

const (
	initial state = iota
	starting
	closed
	stopped
	closing
	stopping
	reqSent
	ackRcvd
	ackSent
	opened
)

func (s state) String() string {
	return [...]string{"Initial", "Starting", "Closed", "Stopped", "Closing", "Stopping",
		"Req-Sent", "Ack-Rcvd", "Ack-Sent", "Opened"}[s]
}

// timed reports whether the restart timer runs in the state: "the states in
// which the Restart timer is running are identifiable by the presence of TO
// events" (RFC 1661 §4.1).
func (s state) timed() bool { return s >= closing && s <= ackSent }

// A trigger is an event of the automaton (RFC 1661 §4.3).
type trigger uint8

const (
	evUp      trigger = iota // lower layer is Up
	evDown                   // lower layer is Down
	evOpen                   // administrative Open
	evClose                  // administrative Close
	evTOgood                 // TO+: Timeout with counter > 0
	evTObad                  // TO-: Timeout with counter expired
	evRCRgood                // RCR+: Receive-Configure-Request (Good)
	evRCRbad                 // RCR-: Receive-Configure-Request (Bad)
	evRCA                    // Receive-Configure-Ack
	evRCN                    // Receive-Configure-Nak/Rej
	evRTR                    // Receive-Terminate-Request
	evRTA                    // Receive-Terminate-Ack
	evRUC                    // Receive-Unknown-Code
	evRXJgood                // RXJ+: Receive-Code-Reject (permitted) or Receive-Protocol-Reject
	evRXJbad                 // RXJ-: Receive-Code-Reject (catastrophic) or Receive-Protocol-Reject
	evRXR                    // Receive-Echo-Request, -Reply or Discard-Request
)

func (e trigger) String() string {
	return [...]string{"Up", "Down", "Open", "Close", "TO+", "TO-", "RCR+", "RCR-", "RCA", "RCN",
		"RTR", "RTA", "RUC", "RXJ+", "RXJ-", "RXR"}[e]
}

// A transition is a cell of the table: a new state in the low four bits, and
// actions.
type transition uint32

// The actions (RFC 1661 §4.4), in the order in which those of a cell are taken:
// the layers above hear of the end of the old configuration before anything
// is sent, and of the new one when all has been sent.
const (
	tld transition = 1 << (iota + 4) // This-Layer-Down
	irc                              // Initialize-Restart-Count
	zrc                              // Zero-Restart-Count
	scr                              // Send-Configure-Request
	sca                              // Send-Configure-Ack
	scn                              // Send-Configure-Nak/Rej
	str                              // Send-Terminate-Request
	sta                              // Send-Terminate-Ack
	scj                              // Send-Code-Reject
	ser                              // Send-Echo-Reply
	tlu                              // This-Layer-Up
	tls                              // This-Layer-Started
	tlf                              // This-Layer-Finished

	no transition = 1 << 31 // an illegal event, the RFC's dash
)

func (t transition) state() state { return state(t & 0xf) }

// below are the states of a layer that is not being configured:
//
//	0       1        2      3       4       5
//	Initial Starting Closed Stopped Closing Stopping
//
// The RFC's footnote r, the restart option, is not taken: a link is opened once.
var below = [...][6]transition{
	evUp:    {2, irc | scr | 6, no, no, no, no},
	evDown:  {no, no, 0, tls | 1, 0, 1},
	evOpen:  {tls | 1, 1, irc | scr | 6, 3, 5, 5},
	evClose: {0, tlf | 0, 2, 2, 4, 4},

	evTOgood: {no, no, no, no, str | 4, str | 5},
	evTObad:  {no, no, no, no, tlf | 2, tlf | 3},

	evRCRgood: {no, no, sta | 2, irc | scr | sca | 8, 4, 5},
	evRCRbad:  {no, no, sta | 2, irc | scr | scn | 6, 4, 5},
	evRCA:     {no, no, sta | 2, sta | 3, 4, 5},
	evRCN:     {no, no, sta | 2, sta | 3, 4, 5},

	evRTR: {no, no, sta | 2, sta | 3, sta | 4, sta | 5},
	evRTA: {no, no, 2, 3, tlf | 2, tlf | 3},

	evRUC:     {no, no, scj | 2, scj | 3, scj | 4, scj | 5},
	evRXJgood: {no, no, 2, 3, 4, 5},
	evRXJbad:  {no, no, tlf | 2, tlf | 3, tlf | 2, tlf | 3},

	evRXR: {no, no, 2, 3, 4, 5},
}

// above are the others:
//
//	6        7        8        9
//	Req-Sent Ack-Rcvd Ack-Sent Opened
//
// The footnote p, the passive option, is not taken; x, the crossed connection,
// is in the table, but see the package's comment.
var above = [...][4]transition{
	evUp:    {no, no, no, no},
	evDown:  {1, 1, 1, tld | 1},
	evOpen:  {6, 7, 8, 9},
	evClose: {irc | str | 4, irc | str | 4, irc | str | 4, tld | irc | str | 4},

	evTOgood: {scr | 6, scr | 6, scr | 8, no},
	evTObad:  {tlf | 3, tlf | 3, tlf | 3, no},

	evRCRgood: {sca | 8, sca | tlu | 9, sca | 8, tld | scr | sca | 8},
	evRCRbad:  {scn | 6, scn | 7, scn | 6, tld | scr | scn | 6},
	evRCA:     {irc | 7, scr | 6, irc | tlu | 9, tld | scr | 6},
	evRCN:     {irc | scr | 6, scr | 6, irc | scr | 8, tld | scr | 6},

	evRTR: {sta | 6, sta | 6, sta | 6, tld | zrc | sta | 5},
	evRTA: {6, 6, 8, tld | scr | 6},

	evRUC:     {scj | 6, scj | 7, scj | 8, scj | 9},
	evRXJgood: {6, 6, 8, 9},
	evRXJbad:  {tlf | 3, tlf | 3, tlf | 3, tld | irc | str | 5},

	evRXR: {6, 7, 8, ser | 9},
}

// next is the table's cell.
func next(e trigger, s state) transition {
	if s < reqSent {
		return below[e][s]
	}
	return above[e][s-reqSent]
}
