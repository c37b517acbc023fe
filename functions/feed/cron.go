package feed

import (
	"errors"
	"strings"
	"time"
	_ "time/tzdata" // for machines without a time zone database

	"github.com/netresearch/go-cron"
)

// cronTimes are the times of a cron expression in a time zone. When clocks are put forward,
// times in the gap fire later by the length of the gap. When they are put back, an
// expression with fixed hours and minutes fires in the first of the two hours, and one
// with a * there in both, as in Vixie's cron.
type cronTimes struct {
	schedule cron.Schedule
	zone     *time.Location
	fixed    bool
}

var (
	errCron     = errors.New("is not a cron expression of five or six fields, or never fires")
	errTimezone = errors.New("is not a time zone of the IANA database")
)

// parseCron reads five fields (minute, hour, day, month, day of the week) or six, with the
// second first.
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

// next is the first time after t; zero if there are no more.
func (c cronTimes) next(t time.Time) time.Time {
	next := c.schedule.Next(t.In(c.zone))
	for c.fixed && !next.IsZero() && repeated(next) {
		next = c.schedule.Next(next)
	}
	return next
}

// repeated says whether the clock showed the same time before it was put back.
func repeated(t time.Time) bool {
	start, _ := t.ZoneBounds()
	if start.IsZero() {
		return false
	}
	_, before := start.Add(-time.Second).Zone()
	_, now := t.Zone()
	return t.Before(start.Add(time.Duration(before-now) * time.Second))
}
