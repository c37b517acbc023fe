package feed

import (
	"errors"
	"strings"
	"time"
	_ "time/tzdata" // for machines without a database of time zones

	"github.com/netresearch/go-cron"
)

// cronTimes are the times of a cron expression in a time zone. Where clocks are
// put forward, what falls in the gap fires as much later as the gap is long. Where
// they are put back, an expression whose hours and minutes are given fires in the
// first of the two hours, one with a * there in both (as Vixie's cron).
type cronTimes struct {
	schedule cron.Schedule
	zone     *time.Location
	fixed    bool
}

var (
	errCron     = errors.New("is no cron expression of five or six fields that ever comes true")
	errTimezone = errors.New("is no time zone of the IANA database")
)

// parseCron reads five fields (minute, hour, day, month, day of the week) or six
// (a second before them).
func parseCron(expression, timezone string) (cronTimes, error) {
	zone, err := time.LoadLocation(timezone)
	if err != nil || timezone == "Local" {
		return cronTimes{}, errTimezone
	}
	fields := strings.Fields(expression)
	if len(fields) == 5 {
		fields = append([]string{"0"}, fields...)
	}
	if len(fields) != 6 {
		return cronTimes{}, errCron
	}
	parser, err := cron.TryNewParser(cron.Second | cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.DowOrDom)
	if err != nil {
		return cronTimes{}, err
	}
	schedule, err := parser.Parse(strings.Join(fields, " "))
	if err != nil {
		return cronTimes{}, errCron
	}
	c := cronTimes{schedule: schedule, zone: zone, fixed: !strings.Contains(fields[1]+fields[2], "*")}
	if c.next(time.Now()).IsZero() {
		return cronTimes{}, errCron
	}
	return c, nil
}

// next is the first time after t; zero: there is none.
func (c cronTimes) next(t time.Time) time.Time {
	next := c.schedule.Next(t.In(c.zone))
	for c.fixed && !next.IsZero() && repeated(next) {
		next = c.schedule.Next(next)
	}
	return next
}

// repeated says whether the same reading of the clock was there before, because
// clocks were put back in between.
func repeated(t time.Time) bool {
	start, _ := t.ZoneBounds()
	if start.IsZero() {
		return false
	}
	_, before := start.Add(-time.Second).Zone()
	_, now := t.Zone()
	return t.Before(start.Add(time.Duration(before-now) * time.Second))
}
