//go:build linux

// Bench compares the data path with what else there is, and prints one table:
//
//	go run ./integration/bench                        everything; it says first how long that takes
//	go run ./integration/bench --only slirp --flows 1 what has that in its name
//	go run ./integration/bench --markdown             the same table for a page
//	go run ./integration/bench --plot plot.svg        and a plot of throughput by flows and by MTU, beside raw UDP's
//	go run ./integration/bench --plot p.svg --only plot
//
// Each line is a ratio of what was measured in turns (A B A B), the median and the spread of all rounds, beside what either
// had: Gbit/s of goodput in the direction in which iperf3 sends, or "back" as with its option -R, and the CPU seconds that
// the processes between client and server have used for a GB (getrusage). All is measured with the buffers that sockets get,
// and again with those of a machine whose rmem_max and wmem_max nobody has raised (212,992 bytes).
//
// The parts are processes of their own (package roles), in network namespaces of their own where TCP's congestion control
// is CUBIC. What is forwarded goes
//
//	client ─► l2tpnet connect -L ─► UDP, L2TP, PPP ─► l2tpnet serve --egress ─► server
//	client ─► slirp4netns, hostfwd ─────────────────► TAP ─► server behind it
//	client ─► gvproxy ─► unix socket ─► gvforwarder ─► TAP ─► server behind it
//	client ─► wireguard-go's netstack ─► UDP ─► wireguard-go's netstack ─► server
//	client ─► ssh -L ─► TCP ─► sshd ────────────────► server
//
// where client and server are always the same. With small buffers the first one is what these commands are made of
// (node.Client, proxy.Forward, node.Server) on as many processors as they choose, since the commands have no flag for that.
//
// Nothing is installed, nor fetched: what is missing is said, with the way to get it. The exit status is 1 if a goal is
// missed, and 2 if something fails.
package main
