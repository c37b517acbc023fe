package feed

import (
	"encoding/json"
	"errors"
	"time"
)

// Kinds of feeds, as the database spells them.
const (
	kindAlarm    = "alarm"
	kindInterval = "interval"
	kindOnce     = "once"
	kindNATS     = "nats"
)

// startLater is when an interval without a start date begins.
const startLater = 30 * time.Second

// maxMinutes is the longest interval: a hundred years, which no sum overflows.
const maxMinutes = 100 * 366 * 24 * 60

// timing is what a feed by the clock is set to: the column settings. Dates are as
// they were given.
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

// next is the first due time after t; zero: there is none. Settings were checked
// when they were made, so an error says that they were damaged.
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

// bounds are the start and the stop date; zero: none.
func (s timing) bounds() (start, stop time.Time, err error) {
	if s.StartDate != nil {
		start, err = parseDate(s.StartDate)
	}
	if s.StopDate != nil {
		var other error
		stop, other = parseDate(s.StopDate)
		err = errors.Join(err, other)
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
			t = start.Add(-time.Nanosecond) // what is due at the start itself counts
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

// over is why a feed has no next due time.
func over(kind string) *reason {
	switch kind {
	case kindOnce:
		return &reason{Kind: "AUTO", Message: "Automatically disabled after firing once"}
	case kindInterval:
		return &reason{Kind: "AUTO", Message: "Automatically disabled after firing last scheduled interval trigger"}
	default:
		return &reason{Kind: "AUTO", Message: "Automatically disabled after firing last scheduled cron trigger"}
	}
}

// reason is why a feed is not active: the column reason, and what READ shows.
type reason struct {
	Kind       string `json:"kind"`
	StatusCode int    `json:"statusCode,omitempty"`
	Message    string `json:"message"`
}

func (r *reason) raw() []byte {
	if r == nil {
		return nil
	}
	raw, err := json.Marshal(r)
	if err != nil {
		panic(err) // numbers and strings always encode
	}
	return raw
}
