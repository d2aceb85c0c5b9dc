package ppp

// rc4 is the cipher, as crypto/rc4 has it. That one allocates a new table for
// every key, and MPPE changes keys twice with every packet.
type rc4 struct {
	s    [256]byte
	i, j byte
}

// setKey initializes the table, with a key of 8 or 16 octets.
func (c *rc4) setKey(key []byte) {
	for i := range c.s {
		c.s[i] = byte(i)
	}
	mask := byte(len(key) - 1)
	j := byte(0)
	for i := range c.s {
		j += c.s[i] + key[byte(i)&mask]
		c.s[i], c.s[j] = c.s[j], c.s[i]
	}
	c.i, c.j = 0, 0
}

// xor encrypts or decrypts src to dst, which may be the same memory.
func (c *rc4) xor(dst, src []byte) {
	dst = dst[:len(src)]
	i, j := c.i, c.j
	for n, b := range src {
		i++
		x := c.s[i]
		j += x
		y := c.s[j]
		c.s[i], c.s[j] = y, x
		dst[n] = b ^ c.s[x+y]
	}
	c.i, c.j = i, j
}
