package feed

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestCron(t *testing.T) {
	const newYork, berlin, lordHowe = "America/New_York", "Europe/Berlin", "Australia/Lord_Howe"
	for _, test := range []struct {
		name, cron, zone, from string
		want                   []string
	}{
		{"every minute", "* * * * *", "", "2026-01-01T12:00:00Z", []string{"2026-01-01T12:01:00Z", "2026-01-01T12:02:00Z"}},
		{"from within a minute", "* * * * *", "", "2026-01-01T12:00:59.9Z", []string{"2026-01-01T12:01:00Z"}},
		{"seconds", "*/30 * * * * *", "", "2026-01-01T12:00:00Z", []string{"2026-01-01T12:00:30Z", "2026-01-01T12:01:00Z"}},
		{"names", "0 9 * FEB MON-TUE", "", "2026-01-01T12:00:00Z", []string{"2026-02-02T09:00:00Z", "2026-02-03T09:00:00Z", "2026-02-09T09:00:00Z"}},
		{"Sunday is 0 and 7", "0 0 * * 7", "", "2026-01-01T00:00:00Z", []string{"2026-01-04T00:00:00Z", "2026-01-11T00:00:00Z"}},
		{"day or weekday", "0 0 13 * 5", "", "2026-01-01T00:00:00Z", []string{"2026-01-02T00:00:00Z", "2026-01-09T00:00:00Z", "2026-01-13T00:00:00Z"}},
		{"leap days", "0 0 29 2 *", "", "2026-01-01T00:00:00Z", []string{"2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"}},
		{"a zone", "0 9 * * *", berlin, "2026-01-01T00:00:00Z", []string{"2026-01-01T08:00:00Z"}},
		{"a zone in summer", "0 9 * * *", berlin, "2026-07-01T00:00:00Z", []string{"2026-07-01T07:00:00Z"}},

		// 2026-03-08, 02:00 is 03:00 in New York.
		{"forward: a time in the gap", "30 2 * * *", newYork, "2026-03-07T12:00:00-05:00", []string{"2026-03-08T03:30:00-04:00", "2026-03-09T02:30:00-04:00"}},
		{"forward: every hour", "0 * * * *", newYork, "2026-03-08T00:30:00-05:00", []string{"2026-03-08T01:00:00-05:00", "2026-03-08T03:00:00-04:00", "2026-03-08T04:00:00-04:00"}},
		{"forward: every half hour", "*/30 * * * *", newYork, "2026-03-08T01:00:00-05:00", []string{"2026-03-08T01:30:00-05:00", "2026-03-08T03:00:00-04:00", "2026-03-08T03:30:00-04:00"}},
		// 2026-11-01, 02:00 is 01:00 in New York.
		{"back: a time that comes twice", "30 1 * * *", newYork, "2026-10-31T12:00:00-04:00", []string{"2026-11-01T01:30:00-04:00", "2026-11-02T01:30:00-05:00"}},
		{"back: every hour", "0 * * * *", newYork, "2026-11-01T00:30:00-04:00", []string{"2026-11-01T01:00:00-04:00", "2026-11-01T01:00:00-05:00", "2026-11-01T02:00:00-05:00"}},
		{"back: every 20 minutes of an hour", "*/20 1 * * *", newYork, "2026-11-01T01:30:00-04:00", []string{"2026-11-01T01:40:00-04:00", "2026-11-01T01:00:00-05:00", "2026-11-01T01:20:00-05:00"}},
		{"back: the hour after", "30 2 * * *", newYork, "2026-10-31T12:00:00-04:00", []string{"2026-11-01T02:30:00-05:00", "2026-11-02T02:30:00-05:00"}},
		// 2026-04-05, 02:00 is 01:30 on Lord Howe Island.
		{"back by half an hour", "45 1 * * *", lordHowe, "2026-04-04T12:00:00+11:00", []string{"2026-04-05T01:45:00+11:00", "2026-04-06T01:45:00+10:30"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, err := parseCron(test.cron, test.zone)
			if err != nil {
				t.Fatal(err)
			}
			at := parsed(t, test.from)
			for _, want := range test.want {
				next := c.next(at)
				if !next.Equal(parsed(t, want)) {
					t.Fatalf("after %s comes %s, want %s", at, next, want)
				}
				at = next
			}
		})
	}
}

func parsed(t *testing.T, text string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func TestNoCron(t *testing.T) {
	for _, bad := range []string{
		"", "* * * *", "* * * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8", "@hourly",
		"@every 1s", "TZ=UTC * * * *", "CRON_TZ=UTC * * * * *", "a b c d e", "*/0 * * * *", "0 0 31 2 *", "-1 * * * *",
	} {
		if _, err := parseCron(bad, ""); !errors.Is(err, errCron) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	for _, bad := range []string{"Local", "Mars/Base", "../../etc/passwd", "/etc/localtime"} {
		if _, err := parseCron("* * * * *", bad); !errors.Is(err, errTimezone) {
			t.Errorf("zone %q: %v", bad, err)
		}
	}
}

// An owner of a trigger can send any expression.
func FuzzCron(f *testing.F) {
	f.Add("*/5 1-3,7 ? JAN-MAR 1-5", "Europe/Berlin")
	f.Add("0 0 29 2 1", "")
	f.Add("1 2 3 4 5 6", "UTC")
	f.Fuzz(func(t *testing.T, expression, zone string) {
		c, err := parseCron(expression, zone)
		if err != nil {
			return
		}
		at := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
		for range 3 {
			next := c.next(at)
			if next.IsZero() {
				return
			}
			if !next.After(at) {
				t.Fatalf("%q in %q: after %s comes %s", expression, zone, at, next)
			}
			at = next
		}
	})
}

func TestTiming(t *testing.T) {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		name   string
		timing timing
		kind   string
		want   []string
	}{
		{"cron from its start on", timing{Cron: "* * * * *", StartDate: []byte(`"2026-01-01T13:00:00Z"`)}, kindAlarm, []string{"13:00:00", "13:01:00"}},
		{"cron from a start between", timing{Cron: "* * * * *", StartDate: []byte(`"2026-01-01T13:00:01Z"`)}, kindAlarm, []string{"13:01:00"}},
		{"cron up to its stop", timing{Cron: "* * * * *", StopDate: []byte(`"2026-01-01T12:02:00Z"`)}, kindAlarm, []string{"12:01:00", "12:02:00", ""}},
		{"interval from its start on", timing{Minutes: 5, StartDate: []byte(`1767272400000`)}, kindInterval, []string{"13:00:00", "13:05:00"}},
		{"interval begun before", timing{Minutes: 7, StartDate: []byte(`"2026-01-01T11:00:00Z"`)}, kindInterval, []string{"12:03:00", "12:10:00"}},
		{"interval up to its stop", timing{Minutes: 7, StartDate: []byte(`"2026-01-01T11:00:00Z"`), StopDate: []byte(`"2026-01-01T12:09Z"`)}, kindInterval, []string{"12:03:00", ""}},
		{"once", timing{Date: []byte(`"2026-01-01T18:00:00+02:00"`)}, kindOnce, []string{"16:00:00", ""}},
	} {
		t.Run(test.name, func(t *testing.T) {
			at := now
			for _, want := range test.want {
				next, err := test.timing.next(test.kind, at)
				if err != nil {
					t.Fatal(err)
				}
				got := ""
				if !next.IsZero() {
					got = next.Format(time.TimeOnly)
				}
				if got != want {
					t.Fatalf("after %s comes %q, want %q", at, got, want)
				}
				at = next
			}
		})
	}
}

func TestParseDate(t *testing.T) {
	for text, want := range map[string]string{
		`1767272400000`: "2026-01-01T13:00:00Z", `"2026-01-01"`: "2026-01-01T00:00:00Z", `"2026-01-01T13:00"`: "2026-01-01T13:00:00Z",
		`"2026-01-01T13:00:01.5Z"`: "2026-01-01T13:00:01.5Z", `"2026-01-01T13:00:00-01:00"`: "2026-01-01T14:00:00Z",
		`"tomorrow"`: "", `"1767272400000"`: "", `9e15`: "", `-9e15`: "", `{}`: "", `true`: "", `[1]`: "",
	} {
		got := ""
		if at, err := parseDate([]byte(text)); err == nil {
			got = at.Format(time.RFC3339Nano)
		}
		if got != want {
			t.Errorf("%s is %q, want %q", text, got, want)
		}
	}
}

// An idle runtime sleeps.
func TestPauses(t *testing.T) {
	p := Pace{}.withDefaults()
	var got []time.Duration
	for attempts := range 12 {
		got = append(got, p.pause(attempts)/time.Second)
	}
	if diff := cmp.Diff([]time.Duration{1, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300}, got); diff != "" {
		t.Errorf("pauses in seconds (-want +got):\n%s", diff)
	}
	if p.pause(1<<30) != p.RetryMost {
		t.Error("a pause passes the longest")
	}
	if seconds(1e300) <= 0 || seconds(0.5) != 500*time.Millisecond || seconds(-1) >= 0 {
		t.Errorf("seconds: %s, %s, %s", seconds(1e300), seconds(0.5), seconds(-1))
	}
}
