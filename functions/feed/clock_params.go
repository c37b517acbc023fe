package feed

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"
)

// set takes the parameters of a CREATE (given is empty but for the defaults) or of
// an UPDATE into s, as the package alarms does, whose texts the refusals are.
// changed says whether there was any.
func (s *timing) set(kind string, p params, now time.Time) (changed bool, err error) {
	if p.has("maxTriggers") && text(p["maxTriggers"]) != "-1" {
		return false, refuse("the maxTriggers parameter is not supported, use the stopDate parameter")
	}
	if kind == kindOnce {
		return s.setOnce(p, now)
	}
	if kind == kindInterval {
		changed, err = s.setMinutes(p)
	} else {
		changed, err = s.setCron(p)
	}
	if err != nil {
		return changed, err
	}
	bounded, err := s.setBounds(p, now)
	return changed || bounded, err
}

func (s *timing) setOnce(p params, now time.Time) (changed bool, err error) {
	if !p.has("date") && s.Date == nil {
		return false, refuse("alarms once trigger feed is missing the date parameter")
	}
	if p.has("date") {
		if _, err := p.futureDate("date", now); err != nil {
			return false, err
		}
		s.Date, changed = p["date"], true
	}
	if p.has("deleteAfterFire") {
		s.DeleteAfterFire, changed = strings.ToLower(strings.TrimSpace(p.text("deleteAfterFire"))), true
		if !slices.Contains([]string{keepTrigger, deleteTrigger, deleteRules}, s.DeleteAfterFire) {
			return false, refuse("deleteAfterFire parameter must be one of [false, true, rules].")
		}
	}
	return changed, nil
}

func (s *timing) setMinutes(p params) (changed bool, err error) {
	if !p.has("minutes") {
		if s.Minutes == 0 {
			return false, refuse("interval trigger feed is missing the minutes parameter")
		}
		return false, nil
	}
	minutes, whole := p.whole("minutes")
	switch {
	case !whole:
		return false, refuse("the minutes parameter must be an integer")
	case minutes <= 0:
		return false, refuse("the minutes parameter must be an integer greater than zero")
	case minutes > maxMinutes:
		return false, refuse("the minutes parameter must be %d at most", int64(maxMinutes))
	}
	s.Minutes = minutes
	return true, nil
}

func (s *timing) setCron(p params) (changed bool, err error) {
	if !p.has("cron") && s.Cron == "" {
		return false, refuse("alarms trigger feed is missing the cron parameter")
	}
	if p.has("cron") {
		s.Cron, changed = p.text("cron"), true
	}
	if p.has("timezone") {
		s.Timezone, changed = p.text("timezone"), true
	}
	if !changed {
		return false, nil
	}
	_, err = parseCron(s.Cron, s.Timezone)
	if errors.Is(err, errTimezone) {
		return false, refuse("Invalid timezone.")
	}
	if err != nil {
		return false, refuse("cron pattern '%s' is not valid", s.Cron)
	}
	return true, nil
}

func (s *timing) setBounds(p params, now time.Time) (changed bool, err error) {
	if p.has("startDate") {
		if _, err := p.futureDate("startDate", now); err != nil {
			return false, err
		}
		s.StartDate, changed = p["startDate"], true
	}
	if p.has("stopDate") {
		if _, err := p.futureDate("stopDate", now); err != nil {
			return false, err
		}
		s.StopDate, changed = p["stopDate"], true
	}
	return changed, s.ordered(p)
}

// ordered refuses a stop that is not after the start.
func (s *timing) ordered(p params) error {
	start, stop, err := s.bounds()
	if err != nil || start.IsZero() || stop.IsZero() || stop.After(start) {
		return err
	}
	if p.has("stopDate") {
		return refuse("stopDate parameter '%s' must be greater than the startDate parameter '%s'", text(s.StopDate), text(s.StartDate))
	}
	return refuse("startDate parameter '%s' must be less than the stopDate parameter '%s'", text(s.StartDate), text(s.StopDate))
}

// start gives an interval that has none its start, and finds the first due time.
func (s *timing) start(kind string, now time.Time) (time.Time, error) {
	if kind == kindInterval && s.StartDate == nil {
		raw, err := json.Marshal(now.Add(startLater).UnixMilli())
		if err != nil {
			return time.Time{}, err
		}
		s.StartDate = raw
	}
	due, err := s.next(kind, now)
	if err == nil && due.IsZero() {
		return due, refuse("the first scheduled trigger fire is not until after the stop date")
	}
	return due, err
}

// payload is what is given as trigger_payload: a JSON object, or a string, which
// becomes {"payload": …}. nil: none is given.
func (p params) payload() (json.RawMessage, error) {
	raw := p["trigger_payload"]
	if !p.has("trigger_payload") {
		return nil, nil
	}
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return json.Marshal(map[string]string{"payload": s})
	}
	var object map[string]json.RawMessage
	if json.Unmarshal(raw, &object) != nil {
		return nil, refuse("the trigger_payload parameter must be an object or a string")
	}
	return raw, nil
}
