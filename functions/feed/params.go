package feed

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"strings"
	"time"
)

// params are what a feed's action was called with. OpenWhisk's own actions are
// JavaScript, so "not given" is what JavaScript takes for false.
type params map[string]json.RawMessage

func (p params) has(key string) bool {
	switch string(bytes.TrimSpace(p[key])) {
	case "", "null", `""`, "0", "false":
		return false
	}
	return true
}

// text is a value as JavaScript writes it into a message: a string without its
// quotes.
func text(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	return string(bytes.TrimSpace(raw))
}

func (p params) text(key string) string {
	if !p.has(key) {
		return ""
	}
	return text(p[key])
}

// whole is a number without a fraction, or a string that holds one.
func (p params) whole(key string) (int64, bool) {
	n, err := strconv.ParseFloat(strings.TrimSpace(text(p[key])), 64)
	if err != nil || n != math.Trunc(n) || math.Abs(n) > 1<<53 {
		return 0, false
	}
	return int64(n), true
}

var errDate = errors.New("is not a valid Date")

// maxMillis is how far JavaScript's dates reach (ECMA-262, "Time Values and Time
// Range").
const maxMillis = 8.64e15

// parseDate reads a date as the package alarms documents it: milliseconds since
// 1970 as a number, or a string of ISO 8601.
func parseDate(raw json.RawMessage) (time.Time, error) {
	var millis float64
	if json.Unmarshal(raw, &millis) == nil {
		if math.Abs(millis) > maxMillis {
			return time.Time{}, errDate
		}
		return time.UnixMilli(int64(millis)).UTC(), nil
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return time.Time{}, errDate
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04Z07:00", "2006-01-02T15:04:05", "2006-01-02T15:04", time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, errDate
}

// futureDate is a date parameter that is given.
func (p params) futureDate(key string, now time.Time) (time.Time, error) {
	t, err := parseDate(p[key])
	if err != nil {
		return t, refuse("%s parameter '%s' is not a valid Date", key, p.text(key))
	}
	if !t.After(now) {
		return t, refuse("%s parameter '%s' must be in the future", key, p.text(key))
	}
	return t, nil
}
