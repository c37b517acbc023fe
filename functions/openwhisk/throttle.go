package openwhisk

import (
	"net/http"
	"sync"
	"time"

	"github.com/chandler-broker/chandler/functions/state"
)

// throttle holds namespaces to their limits. What this runtime admits it counts
// itself; what the others admitted it learns once a second through the database,
// so that several runtimes together may pass a limit by what they admit within
// that second, and one alone never does. Only namespaces that were called in the
// minute are in memory.
type throttle struct {
	all int64 // how many may run at a time, of all namespaces

	mu         sync.Mutex
	running    int64
	namespaces map[string]*usage
}

type usage struct {
	minute             int64
	invocations, fires int64
	running            int64
	others             state.OthersUsageRow
	othersMinute       int64
}

func newThrottle(all int64) *throttle {
	return &throttle{all: all, namespaces: map[string]*usage{}}
}

func minuteOf(t time.Time) int64 { return t.Unix() / 60 }

// at is the namespace's usage in the minute of now. t.mu is held.
func (t *throttle) at(namespace string, now time.Time) *usage {
	u := t.namespaces[namespace]
	if u == nil {
		u = &usage{}
		t.namespaces[namespace] = u
	}
	minute := minuteOf(now)
	if u.minute != minute {
		u.minute, u.invocations, u.fires = minute, 0, 0
	}
	if u.othersMinute != minute {
		u.othersMinute, u.others.Invocations, u.others.Fires = minute, 0, 0
	}
	return u
}

// invoke admits one activation of an action, which lasts until done is called.
func (t *throttle) invoke(who identity, now time.Time) (done func(), err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.running >= t.all {
		return nil, errOverload
	}
	u := t.at(who.namespace, now)
	if n := u.running + int64(u.others.Running); n >= who.limits.Concurrency {
		return nil, refuse(http.StatusTooManyRequests, "Too many concurrent requests in flight (count: %d, allowed: %d).", n+1, who.limits.Concurrency)
	}
	if n := u.invocations + int64(u.others.Invocations); n >= who.limits.InvocationsPerMinute {
		return nil, tooMany(n, who.limits.InvocationsPerMinute)
	}
	u.invocations++
	u.running++
	t.running++
	var once sync.Once
	return func() { once.Do(func() { t.ended(u) }) }, nil
}

func (t *throttle) ended(u *usage) {
	t.mu.Lock()
	defer t.mu.Unlock()
	u.running--
	t.running--
}

// fire admits one fire of a trigger.
func (t *throttle) fire(who identity, now time.Time) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	u := t.at(who.namespace, now)
	if n := u.fires + int64(u.others.Fires); n >= who.limits.FiresPerMinute {
		return tooMany(n, who.limits.FiresPerMinute)
	}
	u.fires++
	return nil
}

func tooMany(n, allowed int64) error {
	return refuse(http.StatusTooManyRequests, "Too many requests in the last minute (count: %d, allowed: %d).", n+1, allowed)
}

// report is what this runtime admitted; namespaces that are at rest are forgotten
// after it was told once.
func (t *throttle) report(now time.Time) state.ShareUsageParams {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := state.ShareUsageParams{Minute: minuteOf(now)}
	for namespace, u := range t.namespaces {
		if u.running == 0 && u.minute < r.Minute {
			delete(t.namespaces, namespace)
		}
		u := t.current(u, r.Minute)
		r.Namespaces = append(r.Namespaces, namespace)
		r.Invocations = append(r.Invocations, clamp(u.invocations))
		r.Fires = append(r.Fires, clamp(u.fires))
		r.Running = append(r.Running, clamp(u.running))
	}
	return r
}

func (t *throttle) current(u *usage, minute int64) usage {
	if u.minute != minute {
		return usage{running: u.running}
	}
	return *u
}

// learn takes what the other runtimes admitted in a minute; namespaces they say
// nothing of are at rest there.
func (t *throttle) learn(minute int64, asked []string, others []state.OthersUsageRow) {
	t.mu.Lock()
	defer t.mu.Unlock()
	rows := make(map[string]state.OthersUsageRow, len(others))
	for _, row := range others {
		rows[row.Namespace] = row
	}
	for _, namespace := range asked {
		if u := t.namespaces[namespace]; u != nil {
			u.others, u.othersMinute = rows[namespace], minute
		}
	}
}

// clamp keeps a count within the column's range.
func clamp(n int64) int32 { return int32(min(max(n, 0), 1<<31-1)) }
