//go:build portable

package udp

const fastForm = false
