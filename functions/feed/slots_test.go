package feed

import (
	"math/rand/v2"
	"testing"
)

// Each feed may have one message in progress, and all together the budget in addition.
func TestSlots(t *testing.T) {
	const left = 10
	b := &budget{left: left}
	feeds := make([]*slots, 5)
	for i := range feeds {
		feeds[i] = &slots{most: 6, budget: b, freed: make(chan struct{}, 1)}
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 10_000 {
		s := feeds[random.IntN(len(feeds))]
		if random.IntN(2) == 0 {
			before := s.now
			n := s.reserve(random.IntN(8))
			if s.now != before+n {
				t.Fatalf("%d were granted, and %d more are taken", n, s.now-before)
			}
		} else if s.now > 0 {
			s.give(1 + random.IntN(s.now))
		}
		beyond := 0
		for _, s := range feeds {
			if s.now < 0 || s.now > s.most {
				t.Fatalf("a feed has %d", s.now)
			}
			beyond += max(s.now-1, 0)
		}
		if beyond+b.left != left {
			t.Fatalf("%d are taken and %d left of %d", beyond, b.left, left)
		}
	}
	for _, s := range feeds {
		if s.now == 0 && s.reserve(1) != 1 {
			t.Error("a feed without a message gets none")
		}
	}
}
