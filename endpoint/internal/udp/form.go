//go:build !portable

package udp

// fastForm is whether sockets get the fast form where the system has it. With the build
// tag "portable" they do not: everything has to work without, too.
const fastForm = true
