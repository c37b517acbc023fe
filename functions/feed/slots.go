package feed

import "sync"

// budget is the number of messages that a runtime may still take.
type budget struct {
	mu   sync.Mutex
	left int
}

// take grants up to n.
func (b *budget) take(n int) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n = min(n, b.left)
	b.left -= n
	return n
}

func (b *budget) give(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left += n
}

// slots counts the messages in progress of one feed. The first slot is the feed's own, so
// that no feed starves; the others come from the budget.
type slots struct {
	most   int
	budget *budget
	freed  chan struct{} // signals give

	mu  sync.Mutex
	now int
}

// reserve grants up to n.
func (s *slots) reserve(n int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n = min(n, s.most-s.now)
	if n <= 0 {
		return 0
	}
	own := 0
	if s.now == 0 {
		own = 1
	}
	n = own + s.budget.take(n-own)
	s.now += n
	return n
}

// give returns n.
func (s *slots) give(n int) {
	if n == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	before := max(s.now-1, 0)
	s.now -= n
	s.budget.give(before - max(s.now-1, 0))
	signal(s.freed)
}
