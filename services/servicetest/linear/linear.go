// Package linear tests that a cost grows no faster than the size of what is
// worked on, so that nobody can spend a server's time with a small request.
package linear

import (
	"syscall"
	"testing"
	"time"
)

const (
	// most is by how much the cost may grow where the size grows tenfold: 10 is
	// linear, 100 quadratic.
	most = 35
	// noise is what a measurement may be off, on a machine that does other things.
	noise = 5 * time.Millisecond
	runs  = 5
)

// Check measures the work that prepare returns for the sizes n, 10n and 100n, and
// fails the test where it grows faster than that. The cost is CPU time of this
// process, so what others do on the machine does not count; the least of some runs
// is taken.
func Check(t testing.TB, n int, prepare func(n int) (work func())) {
	t.Helper()
	previous := cost(prepare(n))
	for _, size := range []int{10 * n, 100 * n} {
		now := cost(prepare(size))
		if now > most*max(previous, noise/10)+noise {
			t.Fatalf("size %d costs %s and size %d costs %s: that is more than linear", size/10, previous, size, now)
		}
		previous = now
	}
}

func cost(work func()) time.Duration {
	work() // fills caches and pools
	var least time.Duration
	for i := range runs {
		before := cpu()
		work()
		if spent := cpu() - before; i == 0 || spent < least {
			least = spent
		}
		if least > time.Second/5 {
			break
		}
	}
	return least
}

func cpu() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err) // it fails for unknown arguments only
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
