package forum_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	. "github.com/onsi/gomega"

	"github.com/chandler-broker/chandler/acceptance/rig"
)

// killWorker ends workers of the functions' runtime while they work on
// photographs.
func (s *story) killWorker(ctx context.Context) {
	const kills, attempts = 2, 20
	large := photo(4000, 3000)
	killed := 0
	for n := 0; killed < kills; n++ {
		Expect(n).To(BeNumerically("<", attempts), "no worker can be caught at work")
		if s.killAtWork(ctx, large) {
			killed++
		}
	}
	s.onward()
}

// killAtWork sends a photograph and kills the worker that is busy with it. It says
// whether that was in time; the photograph gets its picture in either case.
func (s *story) killAtWork(ctx context.Context, photograph []byte) (inTime bool) {
	before := busy()
	path, err := s.v.join(ctx, "Grace", photograph)
	Expect(err).NotTo(HaveOccurred())
	var worker int
	Eventually(func() (err error) {
		worker, err = working(before, busy())
		return err
	}).WithTimeout(time.Minute).WithPolling(5 * time.Millisecond).Should(Succeed())
	Expect(syscall.Kill(worker, syscall.SIGKILL)).To(Or(Succeed(), MatchError(syscall.ESRCH)))
	done, err := s.pictured(ctx, path)
	Expect(err).NotTo(HaveOccurred())
	s.say("    worker %d was killed; the photograph was already done: %t", worker, done)
	Eventually(s.pictured).WithArguments(ctx, path).WithTimeout(3 * time.Minute).WithPolling(50 * time.Millisecond).Should(BeTrue())
	return !done
}

// busy returns what each worker has used of the processors, in ticks of 10 ms, by
// its process.
func busy() map[int]int {
	used := map[int]int{}
	for _, process := range rig.Descendants(os.Getpid()) {
		command, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", process.PID)) // it may have ended
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", process.PID))
		if err != nil || !bytes.Contains(command, []byte("\x00worker\x00")) {
			continue
		}
		// proc(5): after the name, which is in parentheses, utime and stime are
		// the 12th and 13th.
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		user, _ := strconv.Atoi(fields[11])
		system, _ := strconv.Atoi(fields[12])
		used[process.PID] = user + system
	}
	return used
}

// working returns the worker that has used at least 50 ms since before.
func working(before, now map[int]int) (int, error) {
	for pid, used := range now {
		if used-before[pid] >= 5 {
			return pid, nil
		}
	}
	return 0, fmt.Errorf("no worker of %v works", now)
}
