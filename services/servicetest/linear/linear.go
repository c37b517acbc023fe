// Package linear tests that a cost grows no faster than the size of the input, so that a
// small request cannot take much of a server's time.
package linear

import (
	"syscall"
	"testing"
	"time"
)

const (
	// most is by how much the cost may grow if the size grows tenfold: 10 is linear, 100
	// quadratic.
	most = 35
	// noise is the error of a measurement on a busy machine.
	noise = 5 * time.Millisecond
	runs  = 5
)

// Check measures the work that prepare returns for the sizes n, 10n and 100n, and fails the
// test if the cost grows faster. The cost is this process's CPU time, the least of several
// runs, so that other processes do not count.
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
		panic(err) // impossible: the argument is known
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
