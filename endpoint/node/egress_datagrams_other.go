//go:build !unix

package node

import "net"

// readDatagrams reads datagrams until use fails, which it calls with each of them,
// and with the error that ends reading.
func readDatagrams(c net.Conn, use func(b []byte, err error) error) error {
	return readHolding(c, use)
}
