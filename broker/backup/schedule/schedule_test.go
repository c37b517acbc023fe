package schedule_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/broker/backup/schedule"
)

// onTime is the name of an instance whose backups begin when the schedule says: its hash is 0.
func onTime(t *testing.T) string {
	t.Helper()
	daily := parse(t, "0 0 * * *", "UTC")
	for i := range 1_000_000 {
		name := fmt.Sprint("instance", i)
		if day := time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC); daily.Next(day.Add(-time.Second), name).Equal(day) {
			return name
		}
	}
	t.Fatal("no instance is on time")
	return ""
}

func parse(t *testing.T, expression, zone string) schedule.Schedule {
	t.Helper()
	location, err := schedule.Zone(zone)
	if err != nil {
		t.Fatal(err)
	}
	s, err := schedule.Parse(expression, location)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func at(t *testing.T, text string) time.Time {
	t.Helper()
	v, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestNext(t *testing.T) {
	name := onTime(t)
	for _, c := range []struct{ name, expression, zone, after, want string }{
		{"each day", "15 3 * * *", "UTC", "2026-06-01T00:00:00Z", "2026-06-01T03:15:00Z"},
		{"strictly after", "15 3 * * *", "UTC", "2026-06-01T03:15:00Z", "2026-06-02T03:15:00Z"},
		{"in a zone", "15 3 * * *", "Europe/Berlin", "2026-06-01T00:00:00Z", "2026-06-01T01:15:00Z"},
		{"in winter", "15 3 * * *", "Europe/Berlin", "2026-12-01T00:00:00Z", "2026-12-01T02:15:00Z"},
		{"half an hour's zone", "0 0 * * *", "Asia/Kolkata", "2026-06-01T00:00:00Z", "2026-06-01T18:30:00Z"},
		{"Sunday as 7", "0 0 * * 7", "UTC", "2026-06-01T00:00:00Z", "2026-06-07T00:00:00Z"},
		{"either day", "0 0 15 * 1", "UTC", "2026-06-09T00:00:00Z", "2026-06-15T00:00:00Z"},
		{"a leap day", "0 0 29 2 *", "UTC", "2026-06-01T00:00:00Z", "2028-02-29T00:00:00Z"},

		// Clocks go from 02:00 to 03:00 on 29 March 2026, and from 03:00 to 02:00 on 25 October.
		{"before the gap", "59 1 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-29T00:59:00Z"},
		{"in the gap", "30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-29T01:30:00Z"},
		{"after the gap", "0 3 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-29T01:00:00Z"},
		{"the day after", "30 2 * * *", "Europe/Berlin", "2026-03-29T01:30:00Z", "2026-03-30T00:30:00Z"},
		{"twice", "30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", "2026-10-25T00:30:00Z"},
		{"not the second time", "30 2 * * *", "Europe/Berlin", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"},
		{"between the two", "30 2 * * *", "Europe/Berlin", "2026-10-25T01:00:00Z", "2026-10-26T01:30:00Z"},
		{"after twice", "0 3 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", "2026-10-25T02:00:00Z"},
		{"no midnight", "0 0 * * *", "America/Santiago", "2026-09-05T12:00:00Z", "2026-09-06T04:00:00Z"},
		{"half an hour's gap", "15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00:00Z", "2026-10-03T15:45:00Z"},
		{"a day that was skipped", "0 12 30 12 *", "Pacific/Apia", "2011-12-28T00:00:00Z", "2011-12-30T22:00:00Z"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := parse(t, c.expression, c.zone)
			if got := s.Next(at(t, c.after), name); !got.Equal(at(t, c.want)) {
				t.Errorf("%q in %s after %s: %s, want %s", c.expression, c.zone, c.after, got.Format(time.RFC3339), c.want)
			}
		})
	}
}

// Backups of a plan begin over an hour, and each instance's at its own minute, summer and winter.
func TestSpread(t *testing.T) {
	s := parse(t, "15 3 * * *", "Europe/Berlin")
	minutes := map[int]int{}
	for i := range 1200 {
		name := fmt.Sprint("instance", i)
		summer, winter := s.Next(at(t, "2026-06-01T00:00:00Z"), name), s.Next(at(t, "2026-12-01T00:00:00Z"), name)
		late := summer.Sub(at(t, "2026-06-01T01:15:00Z"))
		if late < 0 || late >= time.Hour {
			t.Fatalf("%s is due at %s", name, summer)
		}
		if other := winter.Sub(at(t, "2026-12-01T02:15:00Z")); other != late {
			t.Fatalf("%s is %s late in summer and %s in winter", name, late, other)
		}
		minutes[int(late/time.Minute)]++
	}
	for minute := range 60 {
		if n := minutes[minute]; n < 5 || n > 50 {
			t.Errorf("%d of 1200 backups begin in minute %d", n, minute)
		}
	}
}

// Each time is after the one before, by no more than two hours beyond the period, whatever the
// clocks do, and asking from anywhere between gives the same.
func TestNextNeverStops(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	zones := []string{"UTC", "Europe/Berlin", "America/Santiago", "Australia/Lord_Howe", "America/New_York", "Asia/Kathmandu", "Africa/Casablanca"}
	for range 200 {
		zone, name := zones[random.IntN(len(zones))], fmt.Sprint(random.Uint64())
		expression := fmt.Sprintf("%d %d * * *", random.IntN(60), random.IntN(24))
		s := parse(t, expression, zone)
		now := at(t, "2026-01-01T00:00:00Z").Add(time.Duration(random.IntN(365*24)) * time.Hour)
		for range 400 {
			next := s.Next(now, name)
			if !next.After(now) || next.Sub(now) > 26*time.Hour {
				t.Fatalf("%q in %s for %s: %s after %s", expression, zone, name, next, now)
			}
			between := now.Add(time.Duration(random.Int64N(int64(next.Sub(now)))))
			if again := s.Next(between, name); !again.Equal(next) {
				t.Fatalf("%q in %s for %s: %s after %s, but %s after %s", expression, zone, name, next, now, again, between)
			}
			now = next
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, expression := range []string{"", "@daily", "@every 1h", "* * * *", "0 0 0 * * *", "60 * * * *", "* 24 * * *", "TZ=UTC 0 0 * * *",
		"CRON_TZ=Europe/Berlin 0 0 * *", "0 0 30 2 *", "a b c d e", "0 0 * * 9", "*/0 * * * *", "-1 0 * * *", "0 0 L * *", "H H * * *"} {
		if _, err := schedule.Parse(expression, time.UTC); err == nil {
			t.Errorf("%q was accepted", expression)
		}
	}
	for _, zone := range []string{"Local", "Berlin", "../etc/passwd", "UTC+1", "europe/berlin/"} {
		if _, err := schedule.Zone(zone); err == nil {
			t.Errorf("zone %q was accepted", zone)
		}
	}
	if next := (schedule.Schedule{}).Next(time.Now(), "i"); !next.IsZero() {
		t.Errorf("no schedule is due at %s", next)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("15 3 * * *")
	f.Add("*/5 0-23/2 1,15 jan-mar mon#1")
	f.Fuzz(func(t *testing.T, expression string) {
		s, err := schedule.Parse(expression, time.UTC)
		if err != nil {
			return
		}
		now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		if next := s.Next(now, "i"); !next.After(now) {
			t.Errorf("%q is due at %s after %s", expression, next, now)
		}
	})
}
