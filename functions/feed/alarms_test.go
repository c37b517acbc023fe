package feed_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/chandler-broker/chandler/functions/feed"
	"github.com/chandler-broker/chandler/functions/state"
)

// noon is when the tests' clocks begin.
var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func at(c *fakeClock) func(*feed.Options) {
	return func(o *feed.Options) { o.Clock = c.clock() }
}

// Invalid parameters are refused in the words of package alarms.
func TestAlarmRefusals(t *testing.T) {
	h := newHouse(t)
	h.trigger(t, "t")
	r := h.start(t, &firer{}, at(newClock(noon)))
	past, future := noon.Add(-time.Hour).UnixMilli(), noon.Add(time.Hour).UnixMilli()
	for _, test := range []struct {
		name, action string
		arguments    map[string]any
		words        string
	}{
		{"no trigger's name", "alarms/alarm", map[string]any{"lifecycleEvent": "CREATE"}, "no trigger name parameter was provided"},
		{"no event", "alarms/alarm", map[string]any{"triggerName": "t"}, "unsupported lifecycleEvent"},
		{"another's trigger", "alarms/alarm", map[string]any{"lifecycleEvent": "CREATE", "triggerName": "/other/t"}, "Trigger authentication request failed."},
		{"no such trigger", "alarms/alarm", with("CREATE", "none", map[string]any{"cron": "* * * * *"}), "Trigger authentication request failed."},
		{"no cron", "alarms/alarm", with("CREATE", "t", nil), "alarms trigger feed is missing the cron parameter"},
		{"a number as cron", "alarms/alarm", with("CREATE", "t", map[string]any{"cron": 1500000000000}), "cron pattern '1500000000000' is not valid"},
		{"four fields", "alarms/alarm", with("CREATE", "t", map[string]any{"cron": "* * * *"}), "cron pattern '* * * *' is not valid"},
		{"never", "alarms/alarm", with("CREATE", "t", map[string]any{"cron": "0 0 30 2 *"}), "cron pattern '0 0 30 2 *' is not valid"},
		{"a zone in the cron", "alarms/alarm", with("CREATE", "t", map[string]any{"cron": "TZ=UTC * * * * *"}), "cron pattern 'TZ=UTC * * * * *' is not valid"},
		{"no zone", "alarms/alarm", with("CREATE", "t", map[string]any{"cron": "* * * * *", "timezone": "Mars/Base"}), "Invalid timezone."},
		{"the machine's zone", "alarms/alarm", with("CREATE", "t", map[string]any{"cron": "* * * * *", "timezone": "Local"}), "Invalid timezone."},
		{"a start that was", "alarms/alarm", with("CREATE", "t", map[string]any{"cron": "* * * * *", "startDate": past}), fmt.Sprintf("startDate parameter '%d' must be in the future", past)},
		{"a stop at the start", "alarms/alarm", with("CREATE", "t", map[string]any{"cron": "* * * * *", "startDate": future, "stopDate": future}),
			fmt.Sprintf("stopDate parameter '%d' must be greater than the startDate parameter '%d'", future, future)},
		{"a stop before the first", "alarms/alarm", with("CREATE", "t", map[string]any{"cron": "0 0 1 6 *", "stopDate": future}), "the first scheduled trigger fire is not until after the stop date"},
		{"so many", "alarms/alarm", with("CREATE", "t", map[string]any{"cron": "* * * * *", "maxTriggers": 5}), "the maxTriggers parameter is not supported, use the stopDate parameter"},
		{"no date", "alarms/once", with("CREATE", "t", nil), "alarms once trigger feed is missing the date parameter"},
		{"a word as date", "alarms/once", with("CREATE", "t", map[string]any{"date": "tomorrow"}), "date parameter 'tomorrow' is not a valid Date"},
		{"a date that was", "alarms/once", with("CREATE", "t", map[string]any{"date": past}), fmt.Sprintf("date parameter '%d' must be in the future", past)},
		{"a bad deleteAfterFire", "alarms/once", with("CREATE", "t", map[string]any{"date": future, "deleteAfterFire": "perhaps"}), "deleteAfterFire parameter must be one of [false, true, rules]."},
		{"no minutes", "alarms/interval", with("CREATE", "t", nil), "interval trigger feed is missing the minutes parameter"},
		{"a word as minutes", "alarms/interval", with("CREATE", "t", map[string]any{"minutes": "five"}), "the minutes parameter must be an integer"},
		{"half a minute", "alarms/interval", with("CREATE", "t", map[string]any{"minutes": 0.5}), "the minutes parameter must be an integer"},
		{"minutes below zero", "alarms/interval", with("CREATE", "t", map[string]any{"minutes": -1}), "the minutes parameter must be an integer greater than zero"},
		{"too many minutes", "alarms/interval", with("CREATE", "t", map[string]any{"minutes": 1e12}), "the minutes parameter must be 52704000 at most"},
		{"a list as payload", "alarms/once", with("CREATE", "t", map[string]any{"date": future, "trigger_payload": []int{1}}), "the trigger_payload parameter must be an object or a string"},
		{"no feed to read", "alarms/once", with("READ", "t", nil), "could not find trigger /" + space + "/t in the database"},
		{"no feed to delete", "alarms/once", with("DELETE", "t", nil), "could not find trigger /" + space + "/t in the database"},
		{"no such feed", "alarms/never", with("CREATE", "t", nil), "feed alarms/never does not exist"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := r.ask(test.action, test.arguments)
			if got := refusal(t, err); got != test.words {
				t.Errorf("%q, want %q", got, test.words)
			}
		})
	}
}

// Clients create, read, update, pause and delete a feed.
func TestAlarmLifecycle(t *testing.T) {
	h := newHouse(t)
	h.trigger(t, "t")
	clock, f := newClock(noon), &firer{}
	r := h.start(t, f, at(clock))
	const action = "alarms/alarm"
	created := map[string]any{"cron": "*/10 * * * *", "timezone": "Europe/Berlin", "trigger_payload": map[string]any{"name": "Odin"}}
	if got := r.do("CREATE", action, "t", created); !cmp.Equal(got, map[string]any{"status": "success"}) {
		t.Errorf("CREATE answers %v", got)
	}
	_, err := r.ask(action, with("CREATE", "t", created))
	if got := refusal(t, err); !strings.Contains(got, "has a feed already") {
		t.Errorf("a second CREATE: %q", got)
	}
	want := map[string]any{
		"config": map[string]any{"name": "t", "namespace": space, "cron": "*/10 * * * *", "timezone": "Europe/Berlin", "payload": map[string]any{"name": "Odin"}},
		"status": map[string]any{"active": true},
	}
	ignored := cmpopts.IgnoreMapEntries(func(key string, _ any) bool { return strings.HasPrefix(key, "dateChanged") })
	if diff := cmp.Diff(want, r.do("READ", action, "t", nil), ignored); diff != "" {
		t.Errorf("READ (-want +got):\n%s", diff)
	}

	clock.goOn(10 * time.Minute)
	event := f.waitFor(t, 1)[0]
	wantPayload := map[string]any{"name": "Odin", "cloudevent": map[string]any{
		"specversion": "1.0", "id": event.ID, "source": "/namespaces/" + space + "/triggers/t",
		"type": "io.github.chandler-broker.alarm", "time": "2026-01-01T12:10:00Z",
	}}
	if diff := cmp.Diff(wantPayload, payload(t, event)); diff != "" {
		t.Errorf("the payload (-want +got):\n%s", diff)
	}

	if got := r.do("PAUSE", action, "t", nil); got["status"] != "success" {
		t.Errorf("PAUSE answers %v", got)
	}
	clock.goOn(time.Hour)
	if r.status(action, "t")["active"] != false {
		t.Error("active after PAUSE")
	}
	r.do("UNPAUSE", action, "t", nil)
	if r.status(action, "t")["active"] != true {
		t.Error("not active after UNPAUSE")
	}
	_, err = r.ask(action, with("UPDATE", "t", nil))
	if got := refusal(t, err); got != "no updatable parameters were specified" {
		t.Errorf("an empty UPDATE: %q", got)
	}
	_, err = r.ask(action, with("UPDATE", "t", map[string]any{"cron": "x"}))
	if got := refusal(t, err); got != "cron pattern 'x' is not valid" {
		t.Errorf("a bad UPDATE: %q", got)
	}
	r.do("UPDATE", action, "t", map[string]any{"cron": "*/30 * * * * *", "trigger_payload": "text"})
	clock.goOn(30 * time.Second)
	event = f.waitFor(t, 2)[1]
	if got := payload(t, event); got["payload"] != "text" || got["cloudevent"].(map[string]any)["time"] != "2026-01-01T13:10:30Z" {
		t.Errorf("after UPDATE, and no catching up after PAUSE, %v is fired", got)
	}
	r.do("DELETE", action, "t", nil)
	r.do("CREATE", action, "t", created) // at once: the old one does not stand in the way
	r.do("DELETE", action, "t", nil)
	eventually(t, "nothing is left", func() bool { return h.count(t, "feeds") == 0 && h.count(t, "feed_fires") == 0 })
	if n := len(f.fired()); n != 2 {
		t.Errorf("%d fires", n)
	}
}

func (h *house) count(t *testing.T, table string) (n int) {
	t.Helper()
	if err := h.store.Pool.QueryRow(t.Context(), "select count(*) from "+table).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// Any number of runtimes fire each due time once.
func TestAlarmFiresOnce(t *testing.T) {
	h := newHouse(t)
	clock, f := newClock(noon), &firer{}
	first := h.start(t, f, at(clock))
	for range 3 {
		h.start(t, f, at(clock))
	}
	const feeds, times = 20, 5
	for i := range feeds {
		h.trigger(t, fmt.Sprint("t", i))
		first.do("CREATE", "alarms/alarm", fmt.Sprint("t", i), map[string]any{"cron": "* * * * *"})
	}
	for n := 1; n <= times; n++ {
		clock.goOn(time.Minute)
		f.waitFor(t, n*feeds)
	}
	eventually(t, "all fires end", func() bool { return h.count(t, "feed_fires") == 0 })
	ids := map[string]int{}
	for _, e := range f.fired() {
		ids[e.ID]++
	}
	if len(ids) != feeds*times || len(f.fired()) != feeds*times {
		t.Errorf("%d fires of %d events, want %d", len(f.fired()), len(ids), feeds*times)
	}
}

// Differing clocks do not fire one due time twice.
func TestAlarmClocksDiffer(t *testing.T) {
	h := newHouse(t)
	h.trigger(t, "t")
	right, fast, f := newClock(noon), newClock(noon.Add(20*time.Second)), &firer{}
	r := h.start(t, f, at(right))
	h.start(t, f, at(fast))
	r.do("CREATE", "alarms/alarm", "t", map[string]any{"cron": "* * * * *"})
	for n := 1; n <= 3; n++ {
		fast.goOn(time.Minute)
		f.waitFor(t, n)
		right.goOn(time.Minute)
	}
	eventually(t, "all fires end", func() bool { return h.count(t, "feed_fires") == 0 })
	if n := len(f.fired()); n != 3 {
		t.Errorf("%d fires, want 3", n)
	}
}

// Due times that were missed while no runtime ran fire once.
func TestAlarmMissed(t *testing.T) {
	h := newHouse(t)
	h.trigger(t, "t")
	clock, f := newClock(noon), &firer{}
	r := h.start(t, f, at(clock))
	r.do("CREATE", "alarms/alarm", "t", map[string]any{"cron": "* * * * *"})
	r.stop()
	clock.goOn(time.Hour + 30*time.Second)
	h.start(t, f, at(clock))
	f.waitFor(t, 1)
	clock.goOn(30 * time.Second)
	events := f.waitFor(t, 2)
	var times []any
	for _, e := range events {
		times = append(times, payload(t, e)["cloudevent"].(map[string]any)["time"])
	}
	if diff := cmp.Diff([]any{"2026-01-01T12:01:00Z", "2026-01-01T13:01:00Z"}, times); diff != "" {
		t.Errorf("fired (-want +got):\n%s", diff)
	}
}

func TestInterval(t *testing.T) {
	h := newHouse(t)
	h.trigger(t, "t")
	clock, f := newClock(noon), &firer{}
	r := h.start(t, f, at(clock))
	stop := noon.Add(5 * time.Minute)
	r.do("CREATE", "alarms/interval", "t", map[string]any{"minutes": "2", "stopDate": stop.Format(time.RFC3339)})
	for n, step := range []time.Duration{30 * time.Second, 2 * time.Minute, 2 * time.Minute} {
		clock.goOn(step)
		f.waitFor(t, n+1)
	}
	got := r.status("alarms/interval", "t")
	want := map[string]any{"kind": "AUTO", "message": "Automatically disabled after firing last scheduled interval trigger"}
	if got["active"] != false || !cmp.Equal(got["reason"], any(want)) {
		t.Errorf("after the last: %v", got)
	}
}

// once fires once, and deletes its trigger and rules if deleteAfterFire says so.
func TestOnce(t *testing.T) {
	h := newHouse(t)
	clock, f := newClock(noon), &firer{}
	r := h.start(t, f, at(clock))
	for n, test := range []struct {
		deleteAfterFire string
		triggers, rules int
	}{{"", 1, 1}, {"false", 1, 1}, {"true", 0, 1}, {"rules", 0, 0}} {
		t.Run("deleteAfterFire "+test.deleteAfterFire, func(t *testing.T) {
			h.trigger(t, "t")
			for _, of := range []string{"t", "other"} {
				err := h.store.PutRule(t.Context(), h.store.Pool, state.PutRuleParams{
					Namespace: space, Name: "rule of " + of, Version: "0.0.1", Annotations: []byte("[]"), Trigger: of,
					ActionNamespace: space, ActionName: "a", Active: true, Linked: true, UpdatedAt: time.Now(),
				})
				if err != nil {
					t.Fatal(err)
				}
			}
			date := clock.time().Add(time.Minute)
			r.do("CREATE", "alarms/once", "t", map[string]any{"date": date.UnixMilli(), "deleteAfterFire": test.deleteAfterFire})
			clock.goOn(time.Minute)
			f.waitFor(t, n+1)
			eventually(t, "the trigger's end", func() bool {
				return h.count(t, "triggers") == test.triggers && h.count(t, "rules") == test.rules+1 && h.count(t, "feeds") == test.triggers
			})
			if test.triggers == 0 {
				return
			}
			got := r.status("alarms/once", "t")
			want := map[string]any{"kind": "AUTO", "message": "Automatically disabled after firing once"}
			if got["active"] != false || !cmp.Equal(got["reason"], any(want)) {
				t.Errorf("after it fired: %v", got)
			}
			r.do("DELETE", "alarms/once", "t", nil)
			eventually(t, "no feed", func() bool { return h.count(t, "feeds") == 0 })
		})
	}
}

// Payloads may contain secrets, so the database contains them only sealed.
func TestAlarmPayloadIsSealed(t *testing.T) {
	h := newHouse(t)
	h.trigger(t, "t")
	r := h.start(t, &firer{}, nil)
	r.do("CREATE", "alarms/interval", "t", map[string]any{"minutes": 5, "trigger_payload": "hush-hush"})
	var row string
	if err := h.store.Pool.QueryRow(t.Context(), "select feeds::text || encode(sealed, 'escape') from feeds").Scan(&row); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(row, "hush") {
		t.Errorf("the payload is in clear in %s", row)
	}
}
