package ppp

// A Method is a way for a client to prove who it is.
type Method uint8

// The methods, the strongest last.
const (
	PAP      Method = iota + 1 // Password Authentication Protocol, RFC 1334: the password in the clear
	CHAPMD5                    // Challenge Handshake, RFC 1994
	MSCHAPv2                   // Microsoft's CHAP, RFC 2759: the server proves itself too
)

func (m Method) String() string {
	switch m {
	case PAP:
		return "pap"
	case CHAPMD5:
		return "chap"
	case MSCHAPv2:
		return "mschapv2"
	}
	return "none"
}
