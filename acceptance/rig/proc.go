package rig

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Identity identifies a process even if another one gets its number later.
type Identity struct {
	PID     int
	Started string // in clock ticks after the machine's start
}

// stat is a process as /proc shows it.
type stat struct {
	Identity
	parent int
	zombie bool
}

func readStat(pid int) (stat, bool) {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return stat{}, false
	}
	// The second field is the name in brackets, which may contain anything.
	_, rest, _ := strings.Cut(string(text[strings.LastIndexByte(string(text), ')'):]), " ")
	fields := strings.Fields(rest)
	if len(fields) < 20 {
		return stat{}, false
	}
	parent, _ := strconv.Atoi(fields[1])
	return stat{Identity: Identity{pid, fields[19]}, parent: parent, zombie: fields[0] == "Z"}, true
}

func processes() []stat {
	var all []stat
	folders, _ := filepath.Glob("/proc/[0-9]*")
	for _, folder := range folders {
		pid, _ := strconv.Atoi(filepath.Base(folder)) // the pattern matches only numbers
		if s, ok := readStat(pid); ok {
			all = append(all, s)
		}
	}
	return all
}

// Descendants returns all processes that a process started, directly or indirectly.
func Descendants(pid int) []Identity {
	all := processes()
	var found []Identity
	for parents := map[int]bool{pid: true}; ; {
		before := len(found)
		for _, s := range all {
			if parents[s.parent] && !parents[s.PID] {
				parents[s.PID] = true
				found = append(found, s.Identity)
			}
		}
		if len(found) == before {
			return found
		}
	}
}

// Alive returns the processes that still run.
func Alive(ids []Identity) []Identity {
	return slices.DeleteFunc(slices.Clone(ids), func(id Identity) bool {
		s, ok := readStat(id.PID)
		return !ok || s.Identity != id || s.zombie
	})
}

// CommandLines collects the command lines of all processes on this machine while it watches, as
// every user can list them. The zero value is ready; it is safe for concurrent use.
type CommandLines struct {
	mu   sync.Mutex
	seen map[string]bool
	quit chan struct{}
	done sync.WaitGroup
}

// Watch begins to collect.
func (c *CommandLines) Watch() {
	c.quit = make(chan struct{})
	c.done.Go(func() {
		for {
			c.look()
			select {
			case <-c.quit:
				return
			case <-time.After(200 * time.Millisecond):
			}
		}
	})
}

// Stop ends Watch.
func (c *CommandLines) Stop() {
	if c.quit != nil {
		close(c.quit)
		c.done.Wait()
		c.quit = nil
	}
}

func (c *CommandLines) look() {
	names, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, name := range names {
		line, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended
		}
		c.mu.Lock()
		if c.seen == nil {
			c.seen = map[string]bool{}
		}
		c.seen[string(line)] = true
		c.mu.Unlock()
	}
}

// Text is all collected command lines.
func (c *CommandLines) Text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var text strings.Builder
	for line := range c.seen {
		text.WriteString(line + "\n")
	}
	return text.String()
}
