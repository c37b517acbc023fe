// Package schedule computes when backups are due and which are still wanted. It is pure: it reads
// neither a clock nor a database.
package schedule

import (
	"errors"
	"fmt"
	"hash/fnv"
	"strings"
	"time"
	_ "time/tzdata" // for machines without a time zone database

	"github.com/netresearch/go-cron"
)

// Schedule is a cron expression in a time zone. The zero value never is due.
type Schedule struct {
	times cron.Schedule
	zone  *time.Location
}

// Zone returns a time zone of the IANA database by its name, such as Europe/Berlin; empty is
// UTC.
func Zone(name string) (*time.Location, error) {
	if name == "Local" { // another one on each replica
		return nil, errors.New("must be a time zone such as Europe/Berlin or UTC")
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("%q is not a time zone; write one such as Europe/Berlin or UTC", name)
	}
	return zone, nil
}

// Parse reads a cron expression of five fields: minute, hour, day of the month, month and day
// of the week, as crontab(5) has them.
func Parse(expression string, zone *time.Location) (Schedule, error) {
	fault := errors.New(`must be five fields (minute, hour, day of the month, month, day of the week), such as "15 3 * * *" for a quarter past three each day`)
	if len(strings.Fields(expression)) != 5 || strings.Contains(expression, "=") {
		return Schedule{}, fault
	}
	parser, err := cron.TryNewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.DowOrDom)
	if err != nil {
		return Schedule{}, err
	}
	times, err := parser.Parse(expression)
	if err != nil {
		return Schedule{}, fault
	}
	s := Schedule{times, zone}
	if s.next(time.Unix(0, 0)).IsZero() {
		return Schedule{}, errors.New("is never due: no such date exists")
	}
	return s, nil
}

// IsZero reports whether there is no schedule.
func (s Schedule) IsZero() bool { return s.times == nil }

// spread is the time over which the instances' backups begin, so that not all of them begin
// together.
const spread = time.Hour

// offset is how much later than the schedule an instance's backups begin: always the same for
// an instance.
func offset(instance string) time.Duration {
	hash := fnv.New64a()
	_, _ = hash.Write([]byte(instance)) // never fails
	return time.Duration(hash.Sum64()%uint64(spread/time.Second)) * time.Second
}

// Next returns when the instance of that name is due next after a time, up to an hour later than
// the expression says; the zero time if never. Who was late makes one backup for all
// that were missed, and then asks for the next after now.
func (s Schedule) Next(after time.Time, instance string) time.Time {
	if s.IsZero() {
		return time.Time{}
	}
	late := offset(instance)
	next := s.next(after.Add(-late))
	if next.IsZero() {
		return next
	}
	return next.Add(late).UTC()
}

// next is the first time after t at which the zone's clocks show what the expression says. Where
// they show it twice, only the first time counts; where they skip it, as many minutes after the
// gap as it is after the gap's begin.
func (s Schedule) next(t time.Time) time.Time {
	wall := onClock(t, s.zone)
	for {
		wall = s.times.Next(wall)
		if wall.IsZero() {
			return wall
		}
		if next := instant(wall, s.zone); next.After(t) {
			return next
		}
	}
}

// onClock is what clocks in the zone show at t, as a time in UTC.
func onClock(t time.Time, zone *time.Location) time.Time {
	t = t.In(zone)
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.UTC)
}

// instant is when clocks in the zone show wall.
func instant(wall time.Time, zone *time.Location) time.Time {
	_, before := wall.Add(-24 * time.Hour).In(zone).Zone()
	_, after := wall.Add(24 * time.Hour).In(zone).Zone()
	// If the clocks are set back, both are right and this one is earlier. If they are set
	// forward over wall, neither is, and this one counts from before the gap.
	early := wall.Add(-time.Duration(before) * time.Second)
	late := wall.Add(-time.Duration(after) * time.Second)
	if !onClock(early, zone).Equal(wall) && onClock(late, zone).Equal(wall) {
		return late
	}
	return early
}
