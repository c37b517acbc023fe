package usage_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/usage"
)

type (
	none     struct{}
	instance = services.Instance[none, none]
)

// parts is a Counter of an instance that is counted in as many parts.
type parts struct {
	sizes []services.Size
	used  usage.Amount
	fault error
}

// Advance implements usage.Counter.
func (p *parts) Advance(context.Context, time.Time) (bool, error) {
	if len(p.sizes) == 0 {
		return true, p.fault
	}
	p.used.Bytes, p.used.Items, p.sizes = p.used.Bytes+p.sizes[0], p.used.Items+1, p.sizes[1:]
	return len(p.sizes) == 0, p.fault
}

// Amount implements usage.Counter.
func (p *parts) Amount() usage.Amount { return p.used }

func measure(t *testing.T, s *usage.Scans, limits usage.Limits, locked bool, c *parts) (usage.Amount, bool, error) {
	t.Helper()
	return s.Measure(t.Context(), "i", limits, locked, time.Now().Add(time.Minute), func() usage.Counter { return c })
}

func TestMeasure(t *testing.T) {
	limits := usage.Limits{Storage: 100, Items: 10}
	uncountable := usage.Amount{Uncountable: true}
	tests := []struct {
		name    string
		limits  usage.Limits
		locked  bool
		counter parts
		want    usage.Amount
		locks   bool
	}{
		{"no limits", usage.Limits{}, true, parts{sizes: []services.Size{200}}, usage.Amount{}, false},
		{"little", limits, false, parts{sizes: []services.Size{20}}, usage.Amount{Bytes: 20, Items: 1}, false},
		{"at the limit", limits, false, parts{sizes: []services.Size{100}}, usage.Amount{Bytes: 100, Items: 1}, false},
		{"at the limit, locked", limits, true, parts{sizes: []services.Size{100}}, usage.Amount{Bytes: 100, Items: 1}, true},
		{"less, locked", limits, true, parts{sizes: []services.Size{20}}, usage.Amount{Bytes: 20, Items: 1}, false},
		{"too large", limits, false, parts{sizes: []services.Size{101}}, usage.Amount{Bytes: 101, Items: 1}, true},
		{"too many", limits, false, parts{used: usage.Amount{Items: 10}, sizes: []services.Size{1}}, usage.Amount{Bytes: 1, Items: 11}, true},
		{"uncountable", limits, false, parts{used: uncountable}, uncountable, true},
		{"more to come", limits, false, parts{sizes: []services.Size{20, 20}}, usage.Amount{}, false},
		{"more to come, locked", limits, true, parts{sizes: []services.Size{20, 20}}, usage.Amount{}, true},
		{"too large already", limits, false, parts{sizes: []services.Size{101, 20}}, usage.Amount{Bytes: 101, Items: 1}, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			used, locks, err := measure(t, &usage.Scans{}, test.limits, test.locked, &test.counter)
			if err != nil || used != test.want || locks != test.locks {
				t.Errorf("%+v, locked %t, error %v", used, locks, err)
			}
		})
	}
}

// A count goes on where the last round left it; then the instance rests; a fault
// begins it again, and Forget too.
func TestMeasureGoesOn(t *testing.T) {
	s, limits := &usage.Scans{}, usage.Limits{Storage: 100}
	long := &parts{sizes: []services.Size{60, 60, 1}}
	for i, want := range []usage.Amount{{}, {Bytes: 120, Items: 2}, {Bytes: 121, Items: 3}} {
		if used, _, err := measure(t, s, limits, false, long); err != nil || used != want {
			t.Errorf("round %d: %+v, %v", i, used, err)
		}
	}
	time.Sleep(time.Millisecond) // more than it rests
	fault := errors.New("gone")
	if _, locked, err := measure(t, s, limits, true, &parts{sizes: []services.Size{1, 1}, fault: fault}); !locked || !errors.Is(err, fault) {
		t.Errorf("a fault: locked %t, error %v", locked, err)
	}
	if used, locked, err := measure(t, s, limits, true, &parts{sizes: []services.Size{1, 1}}); err != nil || !locked || used.Bytes != 121 {
		t.Errorf("after a fault: %+v, locked %t, error %v", used, locked, err)
	}
	s.Forget("i")
	if used, locked, err := measure(t, s, limits, true, &parts{sizes: []services.Size{7}}); err != nil || locked || used.Bytes != 7 {
		t.Errorf("a forgotten one: %+v, locked %t, error %v", used, locked, err)
	}
}

func TestMeasureRests(t *testing.T) {
	s, limits := &usage.Scans{}, usage.Limits{Storage: 100}
	slow := &sleeper{}
	begin := func() usage.Counter { return slow }
	for range 2 {
		if used, _, err := s.Measure(t.Context(), "i", limits, false, time.Now().Add(time.Minute), begin); err != nil || used.Items != 1 {
			t.Errorf("%+v, %v", used, err)
		}
	}
	if slow.used.Items != 1 {
		t.Errorf("counted %d times", slow.used.Items)
	}
	s.Forget("i")
	if _, locked, err := s.Measure(t.Context(), "i", limits, true, time.Now().Add(-time.Second), begin); err != nil || !locked || slow.used.Items != 1 {
		t.Errorf("without time: locked %t, counted %d times, error %v", locked, slow.used.Items, err)
	}
}

// sleeper is a Counter that takes long.
type sleeper struct{ parts }

func (s *sleeper) Advance(context.Context, time.Time) (bool, error) {
	time.Sleep(50 * time.Millisecond)
	s.used.Items++
	return true, nil
}

func TestReconcile(t *testing.T) {
	instances := []instance{{ID: "fine", Name: "1"}, {ID: "full", Name: "2"}, {ID: "away", Name: "3"}, {ID: "bad", Name: "4"}}
	s, visited := &usage.Scans{}, []string(nil)
	result := usage.Reconcile(s, "bucket", instances, func(inst instance, _ time.Time) (string, error) {
		visited = append(visited, inst.ID)
		switch inst.ID {
		case "full":
			return "storage: all used", nil
		case "away":
			return "", usage.ErrAbsent
		case "bad":
			return "", errors.New("no answer")
		}
		return "", nil
	})
	conditions := map[string]services.Condition{}
	for id, r := range result.Instances {
		conditions[id] = r.Condition
		want := ""
		if id == "bad" {
			want = "bucket of instance bad: no answer"
		}
		if r.Err == nil && want != "" || r.Err != nil && r.Err.Error() != want {
			t.Errorf("%s: error %v", id, r.Err)
		}
	}
	want := map[string]services.Condition{
		"fine": {}, "away": {}, "full": {Reason: services.OverQuota, Message: "storage: all used"}, "bad": services.LimitsNotEnforced(),
	}
	if diff := cmp.Diff(want, conditions); diff != "" {
		t.Error(diff)
	}
	if slices.Sort(visited); len(visited) != 4 {
		t.Errorf("visited %v", visited)
	}
	none := usage.Reconcile(s, "bucket", nil, func(instance, time.Time) (string, error) { return "", errors.New("called") })
	if len(none.Instances) != 0 {
		t.Errorf("without instances: %v", none)
	}
}
