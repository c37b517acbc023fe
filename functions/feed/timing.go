package feed

import (
	"cmp"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // for machines without a time zone database

	"github.com/netresearch/go-cron"
)

// Kinds of feeds, as the database spells them.
const (
	kindAlarm    = "alarm"
	kindInterval = "interval"
	kindOnce     = "once"
	kindNATS     = "nats"
)

// startLater delays the first fire of an interval without a start date.
const startLater = 30 * time.Second

// maxMinutes is the longest interval: a hundred years, which no sum overflows.
const maxMinutes = 100 * 366 * 24 * 60

// timing are the settings of a feed by the clock: the column settings, with dates as sent.
type timing struct {
	Cron            string          `json:"cron,omitempty"`
	Timezone        string          `json:"timezone,omitempty"`
	Minutes         int64           `json:"minutes,omitempty"`
	Date            json.RawMessage `json:"date,omitempty"`
	DeleteAfterFire string          `json:"deleteAfterFire,omitempty"`
	StartDate       json.RawMessage `json:"startDate,omitempty"`
	StopDate        json.RawMessage `json:"stopDate,omitempty"`
}

// Values of deleteAfterFire.
const (
	keepTrigger   = "false"
	deleteTrigger = "true"
	deleteRules   = "rules"
)

// next is the first due time after t, or zero. An error means that the settings are damaged.
func (s timing) next(kind string, t time.Time) (time.Time, error) {
	if kind == kindOnce {
		date, err := parseDate(s.Date)
		if err != nil || !date.After(t) {
			return time.Time{}, err
		}
		return date, nil
	}
	start, stop, err := s.bounds()
	if err != nil {
		return time.Time{}, err
	}
	next, err := s.tick(kind, start, t)
	if !stop.IsZero() && next.After(stop) {
		return time.Time{}, err
	}
	return next, err
}

// bounds are the start and stop dates; zero if absent.
func (s timing) bounds() (start, stop time.Time, err error) {
	if s.StartDate != nil {
		start, err = parseDate(s.StartDate)
	}
	if s.StopDate != nil {
		var stopErr error
		stop, stopErr = parseDate(s.StopDate)
		err = cmp.Or(err, stopErr)
	}
	return start, stop, err
}

// tick is the first due time after t and not before start.
func (s timing) tick(kind string, start, t time.Time) (time.Time, error) {
	if kind == kindAlarm {
		c, err := parseCron(s.Cron, s.Timezone)
		if err != nil {
			return time.Time{}, err
		}
		if t.Before(start) {
			t = start.Add(-time.Nanosecond) // the start itself may be due
		}
		return c.next(t), nil
	}
	interval := time.Duration(s.Minutes) * time.Minute
	if interval <= 0 {
		return time.Time{}, errDate
	}
	if t.Before(start) {
		return start, nil
	}
	return start.Add((t.Sub(start)/interval + 1) * interval), nil
}

// lastFire is the reason why a feed has no next due time.
func lastFire(kind string) string {
	switch kind {
	case kindOnce:
		return "Automatically disabled after firing once"
	case kindInterval:
		return "Automatically disabled after firing last scheduled interval trigger"
	default:
		return "Automatically disabled after firing last scheduled cron trigger"
	}
}

// reason is why a feed is inactive: the column reason, and a part of the answer to READ.
type reason struct {
	Kind       string `json:"kind"`
	StatusCode int    `json:"statusCode,omitempty"`
	Message    string `json:"message"`
}

// changes says whether p has any setting of a feed of this kind.
func (s *timing) changes(kind string, p params) bool {
	switch kind {
	case kindOnce:
		return p.any("date", "deleteAfterFire")
	case kindInterval:
		return p.any("minutes", "startDate", "stopDate")
	default:
		return p.any("cron", "timezone", "startDate", "stopDate")
	}
}

// set applies the parameters of a CREATE or UPDATE, with the refusals of package alarms.
func (s *timing) set(kind string, p params, now time.Time) (err error) {
	if p.has("maxTriggers") && text(p["maxTriggers"]) != "-1" {
		return refuse("the maxTriggers parameter is not supported, use the stopDate parameter")
	}
	switch kind {
	case kindOnce:
		return s.setOnce(p, now)
	case kindInterval:
		err = s.setMinutes(p)
	default:
		err = s.setCron(p)
	}
	if err != nil {
		return err
	}
	return s.setBounds(p, now)
}

func (s *timing) setOnce(p params, now time.Time) error {
	if !p.has("date") && s.Date == nil {
		return refuse("alarms once trigger feed is missing the date parameter")
	}
	if err := p.setDate("date", &s.Date, now); err != nil {
		return err
	}
	if p.has("deleteAfterFire") {
		s.DeleteAfterFire = strings.ToLower(strings.TrimSpace(p.text("deleteAfterFire")))
		if !slices.Contains([]string{keepTrigger, deleteTrigger, deleteRules}, s.DeleteAfterFire) {
			return refuse("deleteAfterFire parameter must be one of [false, true, rules].")
		}
	}
	return nil
}

func (s *timing) setMinutes(p params) error {
	minutes, isInteger := p.integer("minutes")
	switch {
	case !p.has("minutes") && s.Minutes == 0:
		return refuse("interval trigger feed is missing the minutes parameter")
	case !p.has("minutes"):
		return nil
	case !isInteger:
		return refuse("the minutes parameter must be an integer")
	case minutes <= 0:
		return refuse("the minutes parameter must be an integer greater than zero")
	case minutes > maxMinutes:
		return refuse("the minutes parameter must be %d at most", int64(maxMinutes))
	}
	s.Minutes = minutes
	return nil
}

func (s *timing) setCron(p params) error {
	if !p.has("cron") && s.Cron == "" {
		return refuse("alarms trigger feed is missing the cron parameter")
	}
	if !p.any("cron", "timezone") {
		return nil
	}
	s.Cron = cmp.Or(p.text("cron"), s.Cron)
	s.Timezone = cmp.Or(p.text("timezone"), s.Timezone)
	_, err := parseCron(s.Cron, s.Timezone)
	if errors.Is(err, errTimezone) {
		return refuse("Invalid timezone.")
	}
	if err != nil {
		return refuse("cron pattern '%s' is not valid", s.Cron)
	}
	return nil
}

// setBounds refuses a stop date that is not after the start date.
func (s *timing) setBounds(p params, now time.Time) error {
	if err := cmp.Or(p.setDate("startDate", &s.StartDate, now), p.setDate("stopDate", &s.StopDate, now)); err != nil {
		return err
	}
	start, stop, err := s.bounds()
	if err != nil || start.IsZero() || stop.IsZero() || stop.After(start) {
		return err
	}
	if p.has("stopDate") {
		return refuse("stopDate parameter '%s' must be greater than the startDate parameter '%s'", text(s.StopDate), text(s.StartDate))
	}
	return refuse("startDate parameter '%s' must be less than the stopDate parameter '%s'", text(s.StartDate), text(s.StopDate))
}

// setDate sets a date if p has it. The date must be in the future.
func (p params) setDate(key string, date *json.RawMessage, now time.Time) error {
	if !p.has(key) {
		return nil
	}
	t, err := parseDate(p[key])
	if err != nil {
		return refuse("%s parameter '%s' is not a valid Date", key, p.text(key))
	}
	if !t.After(now) {
		return refuse("%s parameter '%s' must be in the future", key, p.text(key))
	}
	*date = p[key]
	return nil
}

// start sets the start of an interval that has none, and returns the first due time.
func (s *timing) start(kind string, now time.Time) (time.Time, error) {
	if kind == kindInterval && s.StartDate == nil {
		s.StartDate = toJSON(now.Add(startLater).UnixMilli())
	}
	due, err := s.next(kind, now)
	if err == nil && due.IsZero() {
		err = refuse("the first scheduled trigger fire is not until after the stop date")
	}
	return due, err
}

// cronTimes are the times of a cron expression. When clocks go forward, times in the gap
// fire later by its length. When they go back, fixed times fire in the first of the two
// hours, and those with a * in hours or minutes in both, as in Vixie's cron.
type cronTimes struct {
	schedule cron.Schedule
	zone     *time.Location
	fixed    bool
}

var (
	errCron     = errors.New("is not a cron expression of five or six fields, or never fires")
	errTimezone = errors.New("is not a time zone of the IANA database")
)

// parseCron reads five fields, from the minute to the day of the week, or six with the second first.
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
