package rig

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Identity tells a process from another one that has its number later.
type Identity struct {
	PID     int
	Started string // in clock ticks after the machine's start
}

// stat is what /proc tells of a process.
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
	// The second field is the name in brackets, which may hold anything.
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
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if s, ok := readStat(pid); ok {
			all = append(all, s)
		}
	}
	return all
}

// Descendants returns all that a process started, directly or not.
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

// Alive returns those of the processes that still run.
func Alive(ids []Identity) []Identity {
	var alive []Identity
	for _, id := range ids {
		if s, ok := readStat(id.PID); ok && s.Identity == id && !s.zombie {
			alive = append(alive, id)
		}
	}
	return alive
}

// CommandLines collects the command lines of every process on this machine
// while it watches: what anybody sees who lists processes. The zero value is
// ready; it is safe for concurrent use.
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

// Text is every command line that was seen.
func (c *CommandLines) Text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var text strings.Builder
	for line := range c.seen {
		text.WriteString(line + "\n")
	}
	return text.String()
}
