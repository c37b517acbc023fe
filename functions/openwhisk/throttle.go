package openwhisk

import (
	"net/http"
	"sync"
	"time"

	"github.com/chandler-broker/chandler/functions/state"
)

// throttle enforces the limits of namespaces. It counts what this runtime admits, and
// learns once a second from the database what the others admitted. Several runtimes can
// therefore exceed a limit by what they admit within a second; one alone never does. Only
// namespaces that were called in the last minute are in memory.
type throttle struct {
	all int64 // the limit of running activations of all namespaces

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

// usage is the namespace's usage in the minute of now. t.mu is held.
func (t *throttle) usage(namespace string, now time.Time) *usage {
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

// invoke admits an activation, which lasts until done is called.
func (t *throttle) invoke(who identity, now time.Time) (done func(), err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.running >= t.all {
		return nil, errOverload
	}
	u := t.usage(who.namespace, now)
	if n := u.running + int64(u.others.Running); n >= who.limits.Concurrency {
		return nil, refuse(http.StatusTooManyRequests, "Too many concurrent requests in flight (count: %d, allowed: %d).", n+1, who.limits.Concurrency)
	}
	if n := u.invocations + int64(u.others.Invocations); n >= who.limits.InvocationsPerMinute {
		return nil, tooMany(n, who.limits.InvocationsPerMinute)
	}
	u.invocations++
	u.running++
	t.running++
	return sync.OnceFunc(func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		u.running--
		t.running--
	}), nil
}

// fire admits a fire of a trigger.
func (t *throttle) fire(who identity, now time.Time) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	u := t.usage(who.namespace, now)
	if n := u.fires + int64(u.others.Fires); n >= who.limits.FiresPerMinute {
		return tooMany(n, who.limits.FiresPerMinute)
	}
	u.fires++
	return nil
}

func tooMany(n, allowed int64) error {
	return refuse(http.StatusTooManyRequests, "Too many requests in the last minute (count: %d, allowed: %d).", n+1, allowed)
}

// report is what this runtime admitted. Idle namespaces are forgotten after it.
func (t *throttle) report(now time.Time) state.ShareUsageParams {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := state.ShareUsageParams{Minute: minuteOf(now)}
	for namespace, u := range t.namespaces {
		if u.running == 0 && u.minute < r.Minute {
			delete(t.namespaces, namespace)
		}
		invocations, fires := u.invocations, u.fires
		if u.minute != r.Minute {
			invocations, fires = 0, 0
		}
		r.Namespaces = append(r.Namespaces, namespace)
		r.Invocations = append(r.Invocations, clamp(invocations))
		r.Fires = append(r.Fires, clamp(fires))
		r.Running = append(r.Running, clamp(u.running))
	}
	return r
}

// learn stores what the other runtimes admitted in a minute.
func (t *throttle) learn(minute int64, asked []string, others []state.OthersUsageRow) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, namespace := range asked {
		if u := t.namespaces[namespace]; u != nil {
			u.others, u.othersMinute = state.OthersUsageRow{}, minute
		}
	}
	for _, row := range others {
		if u := t.namespaces[row.Namespace]; u != nil {
			u.others = row
		}
	}
}

// clamp limits a count to the column's range.
func clamp(n int64) int32 { return int32(min(max(n, 0), 1<<31-1)) }
