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
	const kills = 2
	large := photo(4000, 3000)
	for range kills {
		before := busy()
		path, err := s.v.join(ctx, "Grace", large)
		Expect(err).NotTo(HaveOccurred())
		var killed int
		Eventually(func() (err error) {
			killed, err = working(before, busy())
			return err
		}).WithTimeout(time.Minute).WithPolling(5 * time.Millisecond).Should(Succeed())
		Expect(syscall.Kill(killed, syscall.SIGKILL)).To(Succeed())
		Expect(s.pictured(ctx, path)).To(BeFalse(), "the worker was too fast to be killed in time")
		s.say("    worker %d was killed in the middle of its work", killed)
		Eventually(s.pictured).WithArguments(ctx, path).WithTimeout(3 * time.Minute).WithPolling(50 * time.Millisecond).Should(BeTrue())
	}
	s.onward()
}

// busy returns what each worker has used of the processors, in ticks of 10 ms, by
// its process.
func busy() map[int]int {
	used := map[int]int{}
	for _, process := range rig.Descendants(os.Getpid()) {
		command, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", process.PID)) // it may have ended
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", process.PID))
		if err != nil || !bytes.Contains(command, []byte("\x00functions\x00worker\x00")) {
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
