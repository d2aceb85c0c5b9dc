package endpoint

import (
	"fmt"
	"log/slog"
)

// A Secret is a password or a tunnel secret. However it is printed, logged or
// marshalled, it does not show itself.
type Secret string

const redacted = "[secret]"

func (Secret) Format(f fmt.State, _ rune)   { fmt.Fprint(f, redacted) }
func (Secret) LogValue() slog.Value         { return slog.StringValue(redacted) }
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// bytes is nil for the empty secret, which means none.
func (s Secret) bytes() []byte {
	if s == "" {
		return nil
	}
	return []byte(s)
}
