package database

import "testing"

func TestQuota(t *testing.T) {
	for _, test := range []struct {
		name              string
		quota             Quota
		exceeded, resumes bool
	}{
		{"no limit", Quota{Used: 1000}, false, false},
		{"within the limit", Quota{Used: 100, Storage: 100}, false, false},
		{"above the limit", Quota{Used: 101, Storage: 100}, true, false},
		{"marked and above the limit", Quota{Used: 101, Storage: 100, Marked: true}, true, false},
		{"marked and just below the limit", Quota{Used: 96, Storage: 100, Marked: true}, true, false},
		{"marked and far below the limit", Quota{Used: 90, Storage: 100, Marked: true}, false, true},
		{"marked without a limit", Quota{Used: 1000, Marked: true}, false, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			q := test.quota
			if q.Exceeded() != test.exceeded || q.Resumes() != test.resumes {
				t.Errorf("exceeded: %t, resumes: %t", q.Exceeded(), q.Resumes())
			}
			if noted := q.Note("delete rows") != ""; noted != test.exceeded {
				t.Errorf("note: %q", q.Note("delete rows"))
			}
			for _, locked := range []bool{false, true} {
				want := !test.resumes && (!test.exceeded || q.Marked && locked)
				if q.InSync(locked) != want {
					t.Errorf("in sync if locked is %t: %t", locked, q.InSync(locked))
				}
			}
		})
	}
}
