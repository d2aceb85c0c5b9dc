// Package integration tests l2tpnet against peers that other people wrote: Debian's xl2tpd and pppd on a Debian kernel, that
// kernel's own static L2TPv3, and QEMU's, in the emulated machine of package guest. Nothing here needs privileges, and l2tpnet itself never has any: where the
// tests are run by root, it runs as nobody.
//
// The tests say what is missing where they cannot run, and fail there if L2TPNET_REQUIRE_GUEST=1. One that needs addresses
// of its own runs in a network namespace (namespace_test.go). What takes minutes is done with L2TPNET_FULL=1 only.
//
// Below are the guest (package guest), what connecting leaves behind (package leak), and a program that shows what a server
// withstands (package adversity).
package integration
