package feed_test

import (
	"sync"
	"time"

	"github.com/chandler-broker/chandler/functions/feed"
)

// fakeClock advances only when a test advances it.
type fakeClock struct {
	mu     sync.Mutex
	now    time.Time
	alarms []alarmClock
}

type alarmClock struct {
	at   time.Time
	ring chan time.Time
}

func newClock(t time.Time) *fakeClock { return &fakeClock{now: t} }

func (c *fakeClock) clock() feed.Clock { return feed.Clock{Now: c.time, After: c.after} }

func (c *fakeClock) time() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *fakeClock) after(d time.Duration) <-chan time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	ring := make(chan time.Time, 1)
	if d < 1000*time.Hour { // a longer one is for ever
		c.alarms = append(c.alarms, alarmClock{c.now.Add(d), ring})
	}
	return ring
}

func (c *fakeClock) goOn(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	var later []alarmClock
	for _, a := range c.alarms {
		if a.at.After(c.now) {
			later = append(later, a)
			continue
		}
		a.ring <- c.now
	}
	c.alarms = later
}
