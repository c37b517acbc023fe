package check_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/check"
)

func TestFaults(t *testing.T) {
	tests := []struct {
		name string
		look func(*check.Faults)
		want string
	}{
		{"nothing", func(*check.Faults) {}, ""},
		{"no error", func(f *check.Faults) { f.Add(nil, nil) }, ""},
		{"errors", func(f *check.Faults) { f.Add(errors.New("a: bad"), nil, errors.New("b: bad")) }, "a: bad\nb: bad"},
		{"an error of a key", func(f *check.Faults) { f.Key("a", errors.New("bad")); f.Key("b", nil) }, "a: bad"},
		{"true", func(f *check.Faults) { f.If(true, "a: %d", 1) }, "a: 1"},
		{"false", func(f *check.Faults) { f.If(false, "a: %d", 1) }, ""},
		{"lowest", func(f *check.Faults) { check.Range(f, "a", 1, 1, 9) }, ""},
		{"highest", func(f *check.Faults) { check.Range(f, "a", 9, 1, 9) }, ""},
		{"below", func(f *check.Faults) { check.Range(f, "a", 0, 1, 9) }, "a: must be from 1 to 9"},
		{"above", func(f *check.Faults) { check.Range(f, "a", 10, 1, 9) }, "a: must be from 1 to 9"},
		{"no limit", func(f *check.Faults) { check.Optional(f, "a", 0, 9) }, ""},
		{"negative limit", func(f *check.Faults) { check.Optional(f, "a", -1, 9) }, "a: must be from 1 to 9, or left out for no limit"},
		{"limit too high", func(f *check.Faults) { check.Optional(f, "a", 10, 9) }, "a: must be from 1 to 9, or left out for no limit"},
		{"no size", func(f *check.Faults) { f.Size("a", 0, services.Megabyte) }, ""},
		{"least size", func(f *check.Faults) { f.Size("a", services.Megabyte, services.Megabyte) }, ""},
		{"small size", func(f *check.Faults) { f.Size("a", services.Kilobyte, services.Megabyte) }, `a: must be a whole number and kB, MB, GB or TB, such as "500MB", and 1MB at least`},
		{"unreadable size", func(f *check.Faults) { f.Size("a", -1, services.Megabyte) }, `a: must be a whole number and kB, MB, GB or TB, such as "500MB", and 1MB at least`},
		{"a word", func(f *check.Faults) { f.OneOf("a", "x", "x", "y") }, ""},
		{"another word", func(f *check.Faults) { f.OneOf("a", "z", "x", "y") }, "a: must be one of x, y"},
		{"unique", func(f *check.Faults) { f.Unique("a", []string{"x", "y"}) }, ""},
		{"twice", func(f *check.Faults) { f.Unique("a", []string{"x", "y", "x"}) }, `a: "x" is listed twice`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var f check.Faults
			test.look(&f)
			got := ""
			if err := f.Err(); err != nil {
				got = err.Error()
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
