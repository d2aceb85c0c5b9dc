package ppp

import "crypto/md5"

// chapMD5 is the digest of RFC 1994 §4.1: "the one-way hash calculated over a
// stream of octets consisting of the Identifier, followed by (concatenated with)
// the 'secret', followed by (concatenated with) the Challenge Value."
type chapMD5 struct{}

func md5Response(id uint8, secret, challenge []byte) []byte {
	h := md5.New()
	h.Write([]byte{id})
	h.Write(secret)
	h.Write(challenge)
	return h.Sum(nil)
}

func (*chapMD5) respond(l *Link, id uint8, challenge []byte) []byte {
	return md5Response(id, l.cfg.Password, challenge)
}

func (*chapMD5) proves([]byte) bool { return true } // nothing: the server just agrees

func (*chapMD5) explain(message []byte) (reason, words string) {
	return refusesProof, string(message)
}

func (*chapMD5) challengeLen() int { return 16 }

func (*chapMD5) verify(c Credential, id uint8, challenge, value, _ []byte) ([]byte, error) {
	if len(c.Password) == 0 {
		if c.NTHash != nil {
			return nil, errOnlyNTHash
		}
		return nil, errNoCredential
	}
	return []byte(saysYes), same(md5Response(id, c.Password, challenge), value)
}

func (*chapMD5) failure([]byte) []byte { return []byte(saysNo) }
