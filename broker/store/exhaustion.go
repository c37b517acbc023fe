package store

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/tracelog"
)

// exhaustionTime is how long a server that ran out of something counts as
// exhausted: a probe cannot tell that a disk is full, only a write that needs it.
const exhaustionTime = 30 * time.Second

// exhaustion is the latest error of a server that has no memory, locks, connections
// or disk left.
type exhaustion struct {
	latest atomic.Pointer[exhaustedError]
}

type exhaustedError struct {
	at  time.Time
	err error
}

// Exhausted returns what the state database's server ran out of a moment ago, or nil.
func (s *Store) Exhausted() error {
	e := s.exhaustion.latest.Load()
	if e == nil || time.Since(e.at) > exhaustionTime {
		return nil
	}
	return e.err
}

// IsExhausted reports whether err says that the server has run out of memory, locks,
// connections or disk: class 53 (PostgreSQL manual, appendix A).
func IsExhausted(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && strings.HasPrefix(pg.Code, "53")
}

// tracer watches the errors of all connections and statements.
func (e *exhaustion) tracer() *tracelog.TraceLog {
	watch := func(_ context.Context, _ tracelog.LogLevel, _ string, data map[string]any) {
		if err, ok := data["err"].(error); ok && IsExhausted(err) {
			e.latest.Store(&exhaustedError{time.Now(), err})
		}
	}
	return &tracelog.TraceLog{Logger: tracelog.LoggerFunc(watch), LogLevel: tracelog.LogLevelError}
}
