// Package link is what the layers of a pseudowire's data path have in common:
// a [Frame] in borrowed pieces, a [Batch] of frames, and the [Sink] that takes
// them. It needs the standard library only, so that anything can be joined to
// anything: a session to a network stack, a TAP device, a bridge or another
// session (a.Attach(b); b.Attach(a)).
//
// A frame travels as
//
//	 room   head              body            tail
//	├──────┼─────────────────┼───────────────┼──────────────┤
//	        ours: headers     borrowed         borrowed
//
// A layer on the way out pushes its header in front and pops it after the
// call; a layer on the way in strips a header. Neither copies a payload.
//
// # Ownership
//
// The producer of a batch owns it and everything that it refers to. A sink may
// read the bytes, and change the head, during Put; it keeps nothing. Whoever
// needs a frame for longer copies it ([Frame.AppendTo]).
package link
