package feed

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// params are the parameters of a feed's action. A value that JavaScript takes for false is absent.
type params map[string]json.RawMessage

func (p params) has(key string) bool {
	switch string(bytes.TrimSpace(p[key])) {
	case "", "null", `""`, "0", "false":
		return false
	}
	return true
}

// any says whether p has any of the keys.
func (p params) any(keys ...string) bool { return slices.ContainsFunc(keys, p.has) }

// text is a value as JavaScript formats it: a string without quotes.
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

// integer reads an integer, or a string with one.
func (p params) integer(key string) (int64, bool) {
	n, err := strconv.ParseFloat(strings.TrimSpace(text(p[key])), 64)
	if err != nil || n != math.Trunc(n) || math.Abs(n) > 1<<53 {
		return 0, false
	}
	return int64(n), true
}

var errDate = errors.New("is not a valid Date")

// maxMillis is the limit of JavaScript's dates (ECMA-262, "Time Values and Time Range").
const maxMillis = 8.64e15

// parseDate reads milliseconds since 1970 or a string of ISO 8601, as package alarms documents.
func parseDate(raw json.RawMessage) (time.Time, error) {
	var millis float64
	if json.Unmarshal(raw, &millis) == nil {
		if math.Abs(millis) > maxMillis {
			return time.Time{}, errDate
		}
		return time.UnixMilli(int64(millis)).UTC(), nil
	}
	var s string
	_ = json.Unmarshal(raw, &s) // what is not a string has none of the layouts
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04Z07:00", "2006-01-02T15:04:05", "2006-01-02T15:04", time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, errDate
}

// payload is the parameter trigger_payload as an object; nil if it is absent.
func (p params) payload() (json.RawMessage, error) {
	raw := p["trigger_payload"]
	if !p.has("trigger_payload") {
		return nil, nil
	}
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return toJSON(map[string]string{"payload": s}), nil
	}
	var object map[string]json.RawMessage
	if json.Unmarshal(raw, &object) != nil {
		return nil, refuse("the trigger_payload parameter must be an object or a string")
	}
	return raw, nil
}

// Refusal is an error that is caused by the parameters of a feed's action, without secrets.
type Refusal struct{ Message string }

// Error implements error.
func (r *Refusal) Error() string { return r.Message }

// Result is the activation's result in the form of package alarms.
func (r *Refusal) Result() json.RawMessage {
	return toJSON(map[string]any{"error": map[string]string{"error": r.Message}})
}

func refuse(format string, args ...any) error {
	return &Refusal{Message: fmt.Sprintf(format, args...)}
}

// toJSON encodes strings, numbers and decoded JSON, which cannot fail.
func toJSON(value any) json.RawMessage {
	raw, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return raw
}
