package sandbox

import (
	"bytes"
	"fmt"
	"strings"
	"time"
)

const (
	stdout = "stdout"
	stderr = "stderr"
)

// prefix is what a line takes in an activation's record beside its text. It counts, so
// that empty lines are not free.
const prefix = int64(len("2006-01-02T15:04:05.000000000Z stdout: "))

// logs collects the lines of a call up to a limit. It is one goroutine's.
type logs struct {
	limit int64
	used  int64
	lines []LogLine
	cut   bool
}

func (l *logs) add(at time.Time, stream string, text []byte) {
	if l.cut {
		return
	}
	room := l.limit - l.used - prefix
	if int64(len(text)) > room {
		l.cut = true
		text = text[:max(room, 0)]
		if len(text) == 0 {
			return
		}
	}
	l.used += prefix + int64(len(text))
	clean := strings.ToValidUTF8(string(bytes.TrimSuffix(text, []byte("\r"))), "\uFFFD")
	l.lines = append(l.lines, LogLine{Time: at, Stream: stream, Text: clean})
}

func (l *logs) addLines(stream, text string) {
	for line := range strings.SplitSeq(text, "\n") {
		l.add(time.Now(), stream, []byte(line))
	}
}

// finished returns all lines, and the one that says that some are missing.
func (l *logs) finished() []LogLine {
	if l.cut {
		// OpenWhisk's words (common/scala, Messages.truncateLogs).
		text := fmt.Sprintf("Logs were truncated because the total bytes size exceeds the limit of %d bytes.", l.limit)
		l.lines = append(l.lines, LogLine{Time: time.Now(), Stream: stderr, Text: text})
	}
	return l.lines
}

// lineWriter splits what is written into lines and passes each to take, without its line
// feed and cut to longest.
type lineWriter struct {
	longest int64
	take    func(line)
	now     line
	started bool
}

// line is one line of output.
type line struct {
	at     time.Time
	text   []byte
	length int64 // before it was cut
}

// Write never fails.
func (w *lineWriter) Write(p []byte) (int, error) {
	written := len(p)
	for len(p) > 0 {
		part, rest, ended := bytes.Cut(p, []byte{'\n'})
		if !w.started {
			w.now, w.started = line{at: time.Now()}, true
		}
		w.now.length += int64(len(part))
		if room := w.longest - int64(len(w.now.text)); room > 0 {
			w.now.text = append(w.now.text, part[:min(room, int64(len(part)))]...)
		}
		if ended {
			w.flush()
		}
		p = rest
	}
	return written, nil
}

// flush ends the line that has no line feed.
func (w *lineWriter) flush() {
	if w.started {
		w.started = false
		w.take(w.now)
	}
}

// answers holds the end of standard output, where the result is; the lines before it go
// to the logs.
type answers struct {
	limit int64 // of the result
	logs  *logs
	lines []line
	held  int64 // what lines take
}

// lineCost is what a line takes beside its text, so that a flood of empty ones is not free.
const lineCost = 8

func (a *answers) add(l line) {
	a.lines = append(a.lines, l)
	a.held += int64(len(l.text)) + lineCost
	for a.held > 2*a.limit && len(a.lines) > 1 {
		a.logFirst()
	}
}

func (a *answers) logFirst() {
	first := a.lines[0]
	a.lines = a.lines[1:]
	a.held -= int64(len(first.text)) + lineCost
	a.logs.add(first.at, stdout, first.text)
}

// logAll logs all lines that are left.
func (a *answers) logAll() {
	for len(a.lines) > 0 {
		a.logFirst()
	}
}

// capped holds what is written up to limit, and counts the rest.
type capped struct {
	limit   int64
	content []byte
	length  int64
}

// Write never fails.
func (c *capped) Write(p []byte) (int, error) {
	c.length += int64(len(p))
	if room := c.limit - int64(len(c.content)); room > 0 {
		c.content = append(c.content, p[:min(room, int64(len(p)))]...)
	}
	return len(p), nil
}
