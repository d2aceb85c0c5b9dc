// Package wire turns the bytes of L2TPv2 (RFC 2661) into values and back: the
// header of every datagram ([ParseHeader]), and the AVPs of a control message
// ([ParseMessage], [Message.Append]). It also does so for the headers of L2TPv3 over
// UDP (RFC 3931): [ParseV3], and for data [CutCookie], [ParseSublayer] and
// [PutV3DataHeader].
//
//	datagram  ┌────────┬──────────────────────────────────────────────┐
//	          │ Header │ payload: a PPP frame (T=0) or AVPs (T=1)      │
//	          └────────┴──────────────────────────────────────────────┘
//	AVPs      ┌──────────────┬─────┬─────┬─ ─ ─┐
//	          │ Message Type │ AVP │ AVP │     │   no AVP at all: a ZLB
//	          └──────────────┴─────┴─────┴─ ─ ─┘
//	AVP       M H rsvd Length(10) │ Vendor ID │ Attribute Type │ Value
//
// Three tables carry all that is known. attributes.go has one row for each
// attribute of RFC 2661 §4.4 and of some younger RFCs: its name, its bits and
// the field of [Message] that holds its value; accessline.go has the same for
// the attributes of the Broadband Forum. messages.go has one listing for each
// message of RFC 2661 §6: which AVPs must and which may be in it. The listing is
// the order of encoding, says what is decoded, and is the check for missing
// ones.
//
// Values may be hidden with the secret of the tunnel ([Message.AppendHidden],
// hide.go); ParseMessage unhides them.
//
// Everything here may come from anybody. No input makes this package panic or
// keep more than a small multiple of the datagram; what is not understood is
// kept raw ([Message.Skipped]) or refused with an [Error] that can be sent
// back as it is. Nothing returned by ParseMessage refers to its input.
package wire
