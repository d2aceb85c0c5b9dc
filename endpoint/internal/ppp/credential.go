package ppp

import (
	"bytes"
	"crypto/subtle"
	"errors"
)

// A Credential answers an [AuthQuestion]: a password, or the MD4 hash of a
// password in UTF-16LE (RFC 2759 §8.3), which serves MS-CHAPv2 (in EAP too) and PAP. A
// Credential without either fits nobody.
type Credential struct {
	Password []byte
	NTHash   *[16]byte
}

// Why a credential is of no use.
var (
	errNoCredential = errors.New("there is neither a password nor an NT hash of the user")
	errOnlyNTHash   = errors.New("an MD5 challenge needs the password itself, and only its NT hash is known")
)

// errWrong is a proof that does not fit.
var errWrong = errors.New("wrong password")

// String keeps secrets out of logs.
func (c Credential) String() string { return "(credential)" }

// GoString keeps secrets out of logs.
func (c Credential) GoString() string { return c.String() }

// ntHash is the user's NT hash, whichever of the two is known.
func (c Credential) ntHash() ([16]byte, error) {
	switch {
	case len(c.Password) > 0:
		return ntPasswordHash(c.Password), nil
	case c.NTHash != nil:
		return *c.NTHash, nil
	}
	return [16]byte{}, errNoCredential
}

// equals says whether the credential is that password's.
func (c Credential) equals(password []byte) error {
	if len(c.Password) > 0 {
		return same(c.Password, password)
	}
	want, err := c.ntHash()
	if err != nil {
		return err
	}
	got := ntPasswordHash(password)
	return same(want[:], got[:])
}

// same compares in constant time.
func same(want, got []byte) error {
	if subtle.ConstantTimeCompare(want, got) != 1 {
		return errWrong
	}
	return nil
}

// withoutDomain is a user name without its "DOMAIN\": "only the user name is
// used, without any associated Windows NT domain name" (RFC 2759 §4).
func withoutDomain(user []byte) []byte {
	return user[bytes.LastIndexByte(user, '\\')+1:]
}
