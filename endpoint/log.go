package endpoint

import (
	"context"
	"log/slog"
	"runtime"
	"sync/atomic"
	"time"
)

// An occasion is something to be logged that a peer may bring about as often as it likes: it
// is as loud as it should be once a second, else for debugging only.
type occasion struct{ last atomic.Pointer[time.Time] }

func (o *occasion) level(loud slog.Level) slog.Level {
	now, last := time.Now(), o.last.Load()
	if last != nil && now.Sub(*last) < warningInterval || !o.last.CompareAndSwap(last, &now) {
		return slog.LevelDebug
	}
	return loud
}

// A tagged logger is the endpoint's, with the ids of a tunnel, or of one of its
// sessions. slog's With would keep them in print for each, though most tunnels
// are idle, and have nothing to say.
type tagged struct {
	tunnel  *Tunnel
	session uint32 // 0: the tunnel's own
}

func (l tagged) Debug(msg string, args ...any) { l.write(slog.LevelDebug, msg, args) }
func (l tagged) Info(msg string, args ...any)  { l.write(slog.LevelInfo, msg, args) }
func (l tagged) Warn(msg string, args ...any)  { l.write(slog.LevelWarn, msg, args) }

// Log logs at a level.
func (l tagged) Log(_ context.Context, level slog.Level, msg string, args ...any) {
	l.write(level, msg, args)
}

// Enabled tells whether anybody wants to know.
func (l tagged) Enabled(ctx context.Context, level slog.Level) bool {
	return l.tunnel.ep.log.Enabled(ctx, level)
}

// write is called by the methods above alone: the line that is logged is their
// caller's.
func (l tagged) write(level slog.Level, msg string, args []any) {
	e := l.tunnel.ep
	if !e.log.Enabled(e.ctx, level) {
		return
	}
	var caller [1]uintptr
	runtime.Callers(3, caller[:])
	r := slog.NewRecord(time.Now(), level, msg, caller[0])
	if !l.tunnel.static() {
		r.AddAttrs(slog.Any("tunnel", l.tunnel.id))
	}
	r.AddAttrs(slog.Any("peer", l.tunnel.Peer()))
	if l.session != 0 {
		r.AddAttrs(slog.Any("session", l.session))
	}
	r.Add(args...)
	e.log.Handler().Handle(e.ctx, r) // its error is nobody's business
}
