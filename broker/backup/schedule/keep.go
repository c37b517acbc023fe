package schedule

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Keep says how many scheduled backups of an instance are kept. A backup stays if any of the
// three wants it.
type Keep struct {
	// Last is how many of the newest are kept.
	Last int `yaml:"last" bounds:"1-1000"`
	// Daily is for how many days, of those with a backup, the newest one is kept; Weekly
	// is the same for weeks, which begin on Monday.
	Daily  int `yaml:"daily" bounds:"1-1000"`
	Weekly int `yaml:"weekly" bounds:"1-1000"`
}

// Expired takes the times at which backups were made, in any order, and returns the indexes of
// those that have expired, in ascending order. Days and weeks are those of the zone. Time
// alone lets nothing expire: an instance without new backups keeps its old ones.
func (k Keep) Expired(made []time.Time, zone *time.Location) []int {
	newest := make([]int, len(made))
	for i := range newest {
		newest[i] = i
	}
	slices.SortStableFunc(newest, func(a, b int) int { return cmp.Or(made[b].Compare(made[a]), cmp.Compare(a, b)) })
	days, weeks := periods{most: k.Daily}, periods{most: k.Weekly}
	var expired []int
	for rank, i := range newest {
		at := made[i].In(zone)
		year, week := at.ISOWeek()
		daily := days.first(at.Format(time.DateOnly))
		weekly := weeks.first(fmt.Sprint(year, week))
		if rank >= k.Last && !daily && !weekly {
			expired = append(expired, i)
		}
	}
	slices.Sort(expired)
	return expired
}

// periods counts days or weeks.
type periods struct {
	seen, most int
	last       string
}

// first reports whether a backup, none of whose predecessors is older, is the first of one of
// the periods that count.
func (p *periods) first(period string) bool {
	if p.seen == p.most || period == p.last {
		return false
	}
	p.seen, p.last = p.seen+1, period
	return true
}
