// Package pcapng writes captures in the pcapng format, and reads them in that
// and in the older pcap format (draft-ietf-opsawg-pcapng, draft-ietf-opsawg-pcap).
//
//	pcapng   ┌─────────────────┬───────────┬───────────┬────────┬────────┬─ ─ ┬────────────┐
//	         │ section header  │ interface │ interface │ packet │ packet │    │ statistics │
//	         └─────────────────┴───────────┴───────────┴────────┴────────┴─ ─ ┴────────────┘
//	block    | Type 4 | Total Length 4 | body | options | Total Length 4 |
//	option   | Code 2 | Length 2 | value, to a multiple of four octets |
//
//	pcap     ┌─────────────┬────────┬────────┬─ ─
//	         │ file header │ packet │ packet │
//	         └─────────────┴────────┴────────┴─ ─
//
// Written are blocks, each appended to bytes of the caller's: [AppendSection],
// then [AppendInterface] for each interface, [AppendPacket], and at the end
// [AppendStatistics]. They are little-endian, with time stamps in nanoseconds.
// [Reader] takes every byte order, resolution and kind of packet block, and
// what else is in a file it passes over.
package pcapng
