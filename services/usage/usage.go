// Package usage compares what instances use with their plans' limits, and counts contents.
package usage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/chandler-broker/chandler/services"
)

// Exceeds says whether used is above a limit; 0 is no limit.
func Exceeds[N services.Size | int](used, limit N) bool { return limit != 0 && used > limit }

// ResumeBelow is where a locked instance is unlocked: well below the limit, to avoid flapping.
func ResumeBelow[N services.Size | int](limit N) N { return limit - limit/20 }

// MayResume says whether a locked instance may be written to again.
func MayResume[N services.Size | int](used, limit N) bool {
	return limit == 0 || used < ResumeBelow(limit)
}

// WritesRefused tells the user of a locked instance how much storage it uses.
func WritesRefused(used, limit services.Size) string {
	return fmt.Sprintf("storage: %s of %s used; writes are refused until less than %s is used", used, limit, ResumeBelow(limit))
}

// NearLimit tells the user of an instance with a hard limit that it is at the limit, if it is.
// contents are what to delete.
func NearLimit(used, limit services.Size, contents string) string {
	if MayResume(used, limit) {
		return ""
	}
	return fmt.Sprintf("storage: %s of %s used; writes that need more space are refused: delete %s, or choose a larger plan", used, limit, contents)
}

// Join joins the notes that are not empty.
func Join(notes ...string) string {
	return strings.Join(slices.DeleteFunc(notes, func(note string) bool { return note == "" }), "; ")
}

// CheckChange refuses a plan with less storage than is used. A locked instance within its plan was
// locked by an update that failed: the undo may return it to the smaller plan.
func CheckChange(used, prev, next services.Size, locked bool) error {
	smaller := next != 0 && (prev == 0 || next < prev)
	if !smaller || used <= next || locked && !Exceeds(used, prev) {
		return nil
	}
	return services.Rejected("the plan allows %s and the database uses %s; free space first, or choose a larger plan", next, used)
}

// Amount is what an instance holds.
type Amount struct {
	Bytes services.Size
	Items int // files or objects
	// Uncountable says that the server does not list all that there is.
	Uncountable bool
}

// Limits are a plan's; 0 is no limit.
type Limits struct {
	Storage services.Size
	Items   int
}

// Any says whether there is a limit.
func (l Limits) Any() bool { return l != Limits{} }

// exceeded says whether an instance has more than the limits allow.
func (l Limits) exceeded(a Amount) bool {
	return a.Uncountable && l.Any() || Exceeds(a.Bytes, l.Storage) || Exceeds(a.Items, l.Items)
}

// mayResume says whether a locked instance may be written to again.
func (l Limits) mayResume(a Amount) bool {
	return !(a.Uncountable && l.Any()) && MayResume(a.Bytes, l.Storage) && MayResume(a.Items, l.Items)
}

// Counter counts the contents of one instance in several calls.
type Counter interface {
	// Advance counts until the end; done says that all is counted. An error ends the count.
	Advance(ctx context.Context, end time.Time) (done bool, err error)
	// Amount is what was counted so far.
	Amount() Amount
}

const (
	// roundTime is how long one round works, instanceTime how long it counts one instance.
	roundTime    = 10 * time.Second
	instanceTime = time.Second
	// rest times as long as a count took, no other begins: counting takes 1/20 of the time.
	rest = 20
)

// Scans are the counts of a server's instances. The zero value is ready for use.
type Scans struct {
	round sync.Mutex // one round at a time uses the scans
	next  int        // where in its batch the next round begins
	mu    sync.Mutex // of scans
	scans map[string]*scan
}

// scan is the count of one instance.
type scan struct {
	last    Amount // of the last whole count
	due     time.Time
	counter Counter // nil: no count is in progress
	spent   time.Duration
}

// ErrAbsent says that an instance is being made or removed.
var ErrAbsent = errors.New("the instance is being made or removed")

// Reconcile visits instances until the time is over, and next time begins with the others. visit
// returns what the user should know, or ErrAbsent. kind is what an instance is, such as "bucket".
func Reconcile[P, I any](s *Scans, kind string, instances []services.Instance[P, I],
	visit func(inst services.Instance[P, I], end time.Time) (note string, err error),
) services.ReconcileResult {
	s.round.Lock()
	defer s.round.Unlock()
	var result services.ReconcileResult
	end, late := time.Now().Add(roundTime), len(instances)
	for i := range instances {
		inst := instances[(s.next+i)%len(instances)]
		if late > i && time.Now().After(end) {
			late = i
		}
		note, err := visit(inst, end)
		condition := services.Condition{Reason: services.OverQuota, Message: note}
		switch {
		case errors.Is(err, ErrAbsent):
			s.Forget(inst.Name)
			condition, err = services.Condition{}, nil
		case err != nil:
			condition, err = services.LimitsNotEnforced(), fmt.Errorf("%s of instance %s: %w", kind, inst.ID, err)
		}
		result.Record(inst.ID, condition, err)
	}
	s.next = (s.next + late) % max(len(instances), 1)
	return result
}

// Forget makes the next round count an instance anew.
func (s *Scans) Forget(instance string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.scans, instance)
}

// scan is an instance's scan, for the round that asks.
func (s *Scans) scan(instance string) *scan {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.scans == nil {
		s.scans = map[string]*scan{}
	}
	if s.scans[instance] == nil {
		s.scans[instance] = &scan{}
	}
	return s.scans[instance]
}

// Measure returns what is known of an instance's contents, and whether to lock it; locked is
// whether it is now. Only what Reconcile calls may call it.
func (s *Scans) Measure(ctx context.Context, instance string, limits Limits, locked bool, end time.Time, begin func() Counter) (Amount, bool, error) {
	if !limits.Any() {
		return Amount{}, false, nil
	}
	c, now := s.scan(instance), time.Now()
	if !now.After(c.due) || !now.Before(end) {
		return c.last, locked, nil
	}
	if one := now.Add(instanceTime); one.Before(end) {
		end = one
	}
	used, done, err := c.advance(ctx, end, begin)
	if err != nil {
		return used, locked, err
	}
	if !done && !limits.exceeded(used) { // there may be more to come
		return c.last, locked, nil
	}
	return used, limits.exceeded(used) || locked && !limits.mayResume(used), nil
}

// advance goes on with the count, and returns what it has counted so far.
func (c *scan) advance(ctx context.Context, end time.Time, begin func() Counter) (used Amount, done bool, err error) {
	if c.counter == nil {
		c.counter = begin()
	}
	began := time.Now()
	done, err = c.counter.Advance(ctx, end)
	used, c.spent = c.counter.Amount(), c.spent+time.Since(began)
	switch {
	case err != nil:
		*c = scan{last: c.last}
	case done:
		*c = scan{last: used, due: time.Now().Add(rest * c.spent)}
	}
	return used, done, err
}
