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
// A host's stack that works by the packet is spared most of them: [Split] cuts what
// it sends, all at once, and a [Merger] joins what it gets, of which [Verify] has
// seen that it arrived as it was sent.
//
// # Ownership
//
// The producer of a batch owns it and everything that it refers to. A sink may
// read the bytes, and change the head, during Put; it keeps nothing. Whoever
// needs a frame for longer copies it ([Frame.AppendTo]).
package link
