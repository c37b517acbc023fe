package usage_test

import (
	"testing"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/usage"
)

func TestLimits(t *testing.T) {
	tests := []struct {
		used, limit        int
		exceeds, mayResume bool
	}{
		{0, 0, false, true},
		{1000, 0, false, true},
		{94, 100, false, true},
		{95, 100, false, false},
		{100, 100, false, false},
		{101, 100, true, false},
	}
	for _, test := range tests {
		if got := usage.Exceeds(test.used, test.limit); got != test.exceeds {
			t.Errorf("%d exceeds %d: %t", test.used, test.limit, got)
		}
		if got := usage.MayResume(test.used, test.limit); got != test.mayResume {
			t.Errorf("%d may resume at %d: %t", test.used, test.limit, got)
		}
	}
}

func TestNotes(t *testing.T) {
	const limit = 100 * services.Megabyte
	for want, got := range map[string]string{
		"storage: 99 MB of 100 MB used; writes are refused until less than 95 MB is used":                               usage.WritesRefused(99*services.Megabyte, limit),
		"storage: 95 MB of 100 MB used; writes that need more space are refused: delete files, or choose a larger plan": usage.NearLimit(95*services.Megabyte, limit, "files"),
		"":     usage.Join("", usage.NearLimit(94*services.Megabyte, limit, "files"), usage.NearLimit(limit, 0, "files")),
		"a":    usage.Join("", "a"),
		"a; b": usage.Join("a", "", "b"),
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestCheckChange(t *testing.T) {
	tests := []struct {
		name             string
		used, prev, next services.Size
		locked, refused  bool
	}{
		{"no limits", 90, 0, 0, false, false},
		{"a larger plan", 90, 50, 100, true, false},
		{"no limit any more", 90, 50, 0, true, false},
		{"a smaller plan with room", 40, 100, 50, false, false},
		{"a smaller plan", 90, 100, 50, false, true},
		{"a first limit", 90, 0, 50, false, true},
		{"the undo of an update", 90, 100, 50, true, false},
		{"locked by both plans", 110, 100, 50, true, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := usage.CheckChange(test.used, test.prev, test.next, test.locked)
			if _, refused := services.IsRejected(err); refused != test.refused || !refused && err != nil {
				t.Errorf("error %v", err)
			}
		})
	}
}
