package schedule_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chandler-broker/chandler/broker/backup/schedule"
)

func TestExpired(t *testing.T) {
	berlin, err := schedule.Zone("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		keep schedule.Keep
		zone *time.Location
		made []string
		want []int
	}{
		{"none made", schedule.Keep{Last: 1}, time.UTC, nil, nil},
		{"fewer than the last", schedule.Keep{Last: 3}, time.UTC, []string{"2026-06-02T00:00:00Z", "2026-06-01T00:00:00Z"}, nil},
		{"more than the last", schedule.Keep{Last: 1}, time.UTC, []string{"2026-06-02T00:00:00Z", "2026-06-01T00:00:00Z"}, []int{1}},
		{"in any order", schedule.Keep{Last: 1}, time.UTC, []string{"2026-06-01T00:00:00Z", "2026-06-02T00:00:00Z"}, []int{0}},
		{"nothing kept", schedule.Keep{}, time.UTC, []string{"2026-06-02T00:00:00Z", "2026-06-01T00:00:00Z"}, []int{0, 1}},
		{"the newest of each day", schedule.Keep{Daily: 2}, time.UTC,
			[]string{"2026-06-03T12:00:00Z", "2026-06-03T00:00:00Z", "2026-06-02T23:59:59Z", "2026-06-01T00:00:00Z"}, []int{1, 3}},
		{"days of the zone", schedule.Keep{Daily: 2}, berlin,
			[]string{"2026-06-02T22:30:00Z", "2026-06-02T21:30:00Z", "2026-06-01T22:30:00Z"}, []int{2}},
		{"days without a backup do not count", schedule.Keep{Daily: 2}, time.UTC, []string{"2026-06-03T00:00:00Z", "2025-01-01T00:00:00Z"}, nil},
		{"the newest of each week", schedule.Keep{Weekly: 2}, time.UTC, // 2026-06-01 is a Monday
			[]string{"2026-06-07T23:00:00Z", "2026-06-01T00:00:00Z", "2026-05-31T23:00:00Z", "2026-05-24T00:00:00Z"}, []int{1, 3}},
		{"a week over New Year", schedule.Keep{Weekly: 1}, time.UTC, []string{"2027-01-03T00:00:00Z", "2026-12-28T00:00:00Z"}, []int{1}},
		{"all three", schedule.Keep{Last: 1, Daily: 1, Weekly: 2}, time.UTC,
			[]string{"2026-06-03T01:00:00Z", "2026-06-03T00:00:00Z", "2026-06-02T00:00:00Z", "2026-05-31T00:00:00Z"}, []int{1, 2}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var made []time.Time
			for _, text := range c.made {
				made = append(made, at(t, text))
			}
			if diff := cmp.Diff(c.want, c.keep.Expired(made, c.zone)); diff != "" {
				t.Errorf("expired (-want +got):\n%s", diff)
			}
		})
	}
}

// An instance that is backed up for a year loses nothing that the rules want: whenever the newest
// backup of a day goes, enough later days have one. What expired once is never wanted again.
func TestExpiredProperties(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	zones := []string{"UTC", "Europe/Berlin", "America/Santiago", "Pacific/Kiritimati"}
	for range 60 {
		zone, err := schedule.Zone(zones[random.IntN(len(zones))])
		if err != nil {
			t.Fatal(err)
		}
		keep := schedule.Keep{Last: random.IntN(8), Daily: random.IntN(8), Weekly: random.IntN(5)}
		now := at(t, "2026-01-01T00:00:00Z")
		var all, kept []time.Time
		for range 300 {
			now = now.Add(time.Duration(1+random.IntN(40)) * time.Hour)
			all, kept = append(all, now), append(kept, now)
			kept = without(kept, keep.Expired(kept, zone))
			if again := keep.Expired(kept, zone); len(again) > 0 {
				t.Fatalf("%+v: %d expire at a second look", keep, len(again))
			}
			if want := without(all, keep.Expired(all, zone)); !slices.EqualFunc(kept, want, time.Time.Equal) {
				t.Fatalf("%+v: step by step %v is kept, at once %v", keep, kept, want)
			}
			if most := keep.Last + keep.Daily + keep.Weekly; len(kept) > most {
				t.Fatalf("%+v keeps %d", keep, len(kept))
			}
			if least := max(keep.Last, keep.Daily, keep.Weekly); least > 0 && !kept[len(kept)-1].Equal(now) {
				t.Fatalf("%+v lets the newest expire", keep)
			}
		}
		newest := all[max(0, len(all)-keep.Last):]
		for _, one := range newest {
			if !slices.ContainsFunc(kept, one.Equal) {
				t.Fatalf("%+v lets one of the last expire", keep)
			}
		}
	}
}

func without(made []time.Time, expired []int) []time.Time {
	var left []time.Time
	for i, one := range made {
		if !slices.Contains(expired, i) {
			left = append(left, one)
		}
	}
	return left
}
