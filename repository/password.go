package repository

import (
	"fmt"
	"log/slog"
)

// Password opens a key. It redacts itself when printed, logged or encoded.
type Password string

const redacted = "[redacted]"

// String redacts.
func (Password) String() string { return redacted }

// GoString redacts.
func (Password) GoString() string { return redacted }

// Format redacts, whatever the verb.
func (Password) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// LogValue redacts.
func (Password) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON redacts.
func (Password) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// MarshalText redacts.
func (Password) MarshalText() ([]byte, error) { return []byte(redacted), nil }
