package ppp

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The example of RFC 2759 §9.2.
func TestMSCHAPv2Vectors(t *testing.T) {
	user, password := []byte("User"), []byte("clientPass")
	authenticator := unhex(t, "5B 5D 7C 7D 7B 3F 2F 3E 3C 2C 60 21 32 26 26 28")
	peer := unhex(t, "21 40 23 24 25 5E 26 2A 28 29 5F 2B 3A 33 7C 7E")

	challenge := challengeHash(peer, authenticator, user)
	if want := unhex(t, "D0 2E 43 86 BC E9 12 26"); !bytes.Equal(challenge[:], want) {
		t.Errorf("Challenge %X, want %X", challenge, want)
	}
	hash := ntPasswordHash(password)
	if want := unhex(t, "44 EB BA 8D 53 12 B8 D6 11 47 44 11 F5 69 89 AE"); !bytes.Equal(hash[:], want) {
		t.Errorf("PasswordHash %X, want %X", hash, want)
	}
	response := challengeResponse(challenge, hash)
	if want := unhex(t, "82 30 9E CD 8D 70 8B 5E A0 8F AA 39 81 CD 83 54 42 33 11 4A 3D 85 D6 DF"); !bytes.Equal(response, want) {
		t.Errorf("NT-Response %X, want %X", response, want)
	}
	proof := authenticatorResponse(hash, response, challenge)
	if got, want := fmt.Sprintf("S=%X", proof), "S=407A5589115FD0D6209F510FE9C04566932CDA56"; got != want {
		t.Errorf("AuthenticatorResponse %s, want %s", got, want)
	}
}

// The example of RFC 2759 §9.3, whose keys have odd parity: the other seven
// bits of each octet are ours.
func TestDESKey(t *testing.T) {
	for raw, want := range map[string]string{
		"FC 15 6A F7 ED CD 6C": "FD 0B 5B 5E 7F 6E 34 D9",
		"0E DD E3 33 7D 42 7F": "0E 6E 79 67 37 EA 08 FE",
	} {
		wanted := unhex(t, want)
		for i := range wanted {
			wanted[i] &^= 1
		}
		if got := desKey([7]byte(unhex(t, raw))); !bytes.Equal(got, wanted) {
			t.Errorf("key of %s: %X, want %X", raw, got, wanted)
		}
	}
}

// The client's side of MS-CHAPv2: "If the authenticator response is either
// missing or incorrect, the peer MUST end the session."
func TestMSCHAPv2Client(t *testing.T) {
	challenge := strings.Repeat("c", 16)
	start := func(t *testing.T) (x *tester, proof string) {
		x = open(t, clientConfig())
		x.openLCP(auth(MSCHAPv2))
		x.chap(chapChallenge, 1, "\x0f", challenge[1:], "lns")
		x.want("a challenge of another length than 16 octets cannot be answered")
		x.chap(chapChallenge, 1, "\x10", challenge, "lns")
		p := x.last()
		value, name, _ := parseValue(p)
		x.want("a Response", `CHAP Response 1 49 octets "alice"`)
		if !bytes.Equal(value[16:24], make([]byte, 8)) || value[48] != 0 || string(name) != "alice" {
			t.Errorf("Response % x %s", value, name)
		}
		message, err := (&mschapv2{}).verify(Credential{Password: []byte("s3cret")}, 1, []byte(challenge), value, name)
		if err != nil {
			t.Fatal(err)
		}
		return x, string(message[:42])
	}
	for name, message := range map[string]func(proof string) string{
		"as the RFC has it":           func(s string) string { return s + " M=Welcome" },
		"without a message":           func(s string) string { return s },
		"an octet before it":          func(s string) string { return "\x01" + s + " M=Welcome" }, // MikroTik
		"hexadecimal digits in lower": func(s string) string { return "S=" + strings.ToLower(s[2:]) },
	} {
		t.Run(name, func(t *testing.T) {
			x, proof := start(t)
			x.chap(chapSuccess, 1, message(proof))
			if x.link.phase != network {
				t.Errorf("phase %v", x.link.phase)
			}
		})
	}
	for name, message := range map[string]func(proof string) string{
		"missing":            func(string) string { return "M=Welcome" },
		"empty":              func(string) string { return "" },
		"wrong":              func(s string) string { return "S=00" + s[4:] + " M=Welcome" },
		"short":              func(s string) string { return s[:41] },
		"no digits":          func(s string) string { return s[:41] + "G" },
		"of another message": func(s string) string { return "S=" + strings.Repeat("0", 40) },
	} {
		t.Run(name, func(t *testing.T) {
			x, proof := start(t)
			x.chap(chapSuccess, 1, message(proof))
			x.lcp(terminateAck, 2)
			x.want("the server is an impostor", `LCP Terminate-Request 2 "Authentication failed"`,
				`Down: mschapv2 authentication of user "alice" failed: the server accepts the user but does not prove that it knows the password`)
			var auth *AuthError
			if !errors.As(x.link.err, &auth) || !auth.Ours {
				t.Errorf("error %#v", x.link.err)
			}
		})
	}
}

// "When computing the NT-Response field contents, only the user name is used,
// without any associated Windows NT domain name": the client tells its whole name,
// and hashes the user's.
func TestDomain(t *testing.T) {
	for user, hashed := range map[string]string{"User": "User", `BIGCO\User`: "User", `A\B\User`: "User", "User@example.com": "User@example.com", `BIGCO\`: ""} {
		cfg := clientConfig()
		cfg.User = user
		x := open(t, cfg)
		x.openLCP(auth(MSCHAPv2))
		x.chap(chapChallenge, 1, "\x10"+sixteen, "lns")
		value, name, _ := parseValue(x.last())
		want := challengeResponse(challengeHash(value[:16], []byte(sixteen), []byte(hashed)), ntPasswordHash(cfg.Password))
		if string(name) != user || !bytes.Equal(value[msResponseAt:][:msResponseLen], want) {
			t.Errorf("%s: Name %s, NT-Response %x, want %x", user, name, value[msResponseAt:], want)
		}
	}
}

// "The 'eeeeeeeeee' is the ASCII representation of a decimal error code …
// implementations should deal with codes not on this list gracefully."
func TestMSCHAPv2Failure(t *testing.T) {
	c := " C=" + strings.Repeat("0", 32)
	for message, want := range map[string][2]string{
		"E=646 R=0" + c + " V=3 M=later":         {"the account may not log on at this hour (error 646)", "later"},
		"E=647 R=0" + c + " V=3 M=off":           {"the account is disabled (error 647)", "off"},
		"E=648 R=0" + c + " V=3 M=old":           {"the password has expired (error 648)", "old"},
		"E=649 R=0" + c + " V=3 M=no":            {"the account may not dial in (error 649)", "no"},
		"E=691 R=1" + c + " V=0 M=Access denied": {"the server refuses user name or password (error 691)", "Access denied"},
		"E=0000000647 R=0" + c + " V=3":          {"the account is disabled (error 647)", "E=0000000647 R=0" + c + " V=3"},
		"E=709":                                  {"the password could not be changed (error 709)", "E=709"},
		"E=42 R=0 M=":                            {"the server refuses user name or password (error 42)", ""},
		"E=x":                                    {"the server refuses user name or password", "E=x"},
		"Access denied":                          {"the server refuses user name or password", "Access denied"},
		"":                                       {"the server refuses user name or password", ""},
		"E=691 R=1 C=0 V=3 M=try E=647 M=instead": {"the server refuses user name or password (error 691)", "try E=647 M=instead"},
	} {
		reason, words := (&mschapv2{}).explain([]byte(message))
		if reason != want[0] || words != want[1] {
			t.Errorf("%q: %q, %q, want %q", message, reason, words, want)
		}
	}
	x := open(t, clientConfig())
	x.openLCP(auth(MSCHAPv2))
	x.chap(chapChallenge, 1, "\x10", strings.Repeat("c", 16))
	x.forget()
	x.chap(chapFailure, 1, "E=691 R=1"+c+" V=0 M=Access denied")
	x.lcp(terminateRequest, 9, "Authentication failed") // as pppd does at once
	x.lcp(terminateAck, 2)
	x.want("the authentication error wins", `LCP Terminate-Request 2 "authentication refused"`, "LCP Terminate-Ack 9",
		`Down: mschapv2 authentication of user "alice" failed: the server refuses user name or password (error 691) (the peer says "Access denied")`)
}
