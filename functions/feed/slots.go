package feed

import "sync"

// budget is the number of messages that a runtime may still take.
type budget struct {
	sync.Mutex
	left int
}

// slots counts the messages in progress of one feed. The first slot is the feed's own, so
// that no feed starves; the others come from the budget.
type slots struct {
	most   int
	budget *budget
	freed  chan struct{} // signals give
	now    int           // under budget's lock
}

func (s *slots) reserve(n int) int {
	s.budget.Lock()
	defer s.budget.Unlock()
	n = min(n, s.most-s.now, s.budget.left+max(1-s.now, 0))
	s.take(max(n, 0))
	return max(n, 0)
}

func (s *slots) give(n int) {
	if n == 0 {
		return
	}
	s.budget.Lock()
	defer s.budget.Unlock()
	s.take(-n)
	signal(s.freed)
}

func (s *slots) take(n int) {
	before := max(s.now-1, 0)
	s.now += n
	s.budget.left -= max(s.now-1, 0) - before
}
