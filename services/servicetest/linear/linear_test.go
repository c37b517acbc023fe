package linear

import (
	"strings"
	"testing"
)

// recorder is a test that records its failure.
type recorder struct {
	testing.TB
	failed bool
}

func (r *recorder) Helper() {}

func (r *recorder) Fatalf(string, ...any) { r.failed = true; panic(r) }

func fails(t *testing.T, prepare func(n int) func()) (failed bool) {
	r := &recorder{TB: t}
	defer func() {
		if caught := recover(); caught != nil && caught != any(r) {
			panic(caught)
		}
		failed = r.failed
	}()
	Check(r, 100, prepare)
	return false
}

func TestCheck(t *testing.T) {
	sink := 0
	if fails(t, func(n int) func() {
		text := strings.Repeat("a", 1000*n)
		return func() { sink += strings.Count(text, "b") }
	}) {
		t.Error("linear work fails the check")
	}
	if !fails(t, func(n int) func() {
		return func() {
			for i := range n {
				for j := range n * 20 {
					sink += i ^ j
				}
			}
		}
	}) {
		t.Error("quadratic work passes the check")
	}
}
