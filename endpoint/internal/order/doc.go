// Package order puts the data messages of a session back into their order by
// their sequence numbers, or drops those that come too late (RFC 3931 §4.6.1 and
// appendix C, RFC 2661 §5.4). A [Queue] is the receiver's side of one session; it
// does no I/O and reads no clock.
//
//	out = q.Add(now, number, frame, out[:0])   for every numbered frame that comes
//	q.Deadline()                               when to call Expire; zero: never
//	out = q.Expire(now, out[:0])               the wait for a missing frame is over
//
// A number that is at or after the expected one is new: there are as many of them
// as half of all numbers, counted around the end of the numbers. All others are
// old, that is late or duplicates, and dropped. The first number that is seen is
// the start.
//
// Without a timeout a new frame is delivered at once, and what was missing before
// it is given up. With one, a frame after a gap waits for what is missing, at most
// so long, and at most so many frames and bytes wait; then the gap is given up and
// what has waited is delivered. So a lost frame costs no other one, in either mode.
//
// A sender that has lost its state, or was away for longer than the numbers last,
// goes on with numbers that are old. After a few of them that are in sequence among
// themselves, with nothing new in between, the queue follows.
package order
