package embedded

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patient is a server that is up until it is asked to end, and says so.
const patient = `trap 'echo farewell; exit 0' TERM; echo up; while :; do sleep 0.01; done`

// scripted is a child whose server is a shell script.
type scripted struct {
	child
	script           string
	prepares, cleans int
	refuse           error // what serving returns
}

func newScripted(t *testing.T, dir, script string) *scripted {
	t.Helper()
	s := &scripted{script: script}
	s.title, s.signals = "script", []syscall.Signal{syscall.SIGTERM}
	if err := s.takeFolder(dir); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Stop(context.Background()) }) // t's context has ended; a test of Stop checks the error
	return s
}

func (s *scripted) open(ctx context.Context) error { return s.child.open(ctx, s) }

func (s *scripted) fill(context.Context) error { return nil }

func (s *scripted) prepare(context.Context) error {
	s.prepares++
	return os.RemoveAll(s.folder.path("sh.log"))
}

func (s *scripted) program() program {
	return program{path: "/bin/sh", args: []string{"-c", s.script}}
}

func (s *scripted) ready(context.Context, int) bool { return strings.Contains(s.said(), "up") }
func (s *scripted) serving(context.Context) error   { return s.refuse }
func (s *scripted) ended()                          { s.cleans++ }

func (s *scripted) said() string {
	said, _ := s.folder.readFile("sh.log")
	return string(said)
}

func TestChildLives(t *testing.T) {
	s := newScripted(t, t.TempDir(), patient)
	if err := s.open(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		harm func()
		told string // by Done; empty: nothing
	}{
		{"restart", func() {}, ""},
		{"kill", s.Kill, "killed"},
		{"crash", func() { _ = s.process.child.Kill() }, "killed"},
		{"the server stops by itself", func() { _ = s.process.child.Signal(syscall.SIGTERM) }, "farewell"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.harm()
			if c.told != "" {
				if err := <-s.Done(); err == nil || !strings.Contains(err.Error(), c.told) {
					t.Errorf("Done: %v", err)
				}
			}
			if err := s.Restart(t.Context()); err != nil {
				t.Fatal(err)
			}
			if len(s.Done()) > 0 {
				t.Errorf("Done after Restart: %v", <-s.Done())
			}
		})
	}
	if err := errors.Join(s.Stop(t.Context()), s.Stop(t.Context())); err != nil {
		t.Fatal(err)
	}
	if err, ok := <-s.Done(); ok {
		t.Errorf("Done after Stop: %v", err)
	}
	if err := s.Restart(t.Context()); err == nil || !strings.Contains(err.Error(), "the script in "+s.folder.root) {
		t.Errorf("Restart after Stop: %v", err)
	}
	if s.said() != "up\nfarewell" || s.prepares != 5 || s.cleans != s.prepares {
		t.Errorf("it said %q; prepared %d times, ended %d times", s.said(), s.prepares, s.cleans)
	}
}

// A start that fails leaves no process and gives the folder back.
func TestChildDoesNotStart(t *testing.T) {
	for _, c := range []struct {
		name, script string
		refuse       error
		timeout      time.Duration
		want         string
	}{
		{"it ends at once", "echo the reason; exit 3", nil, time.Minute, "the reason"},
		{"it never serves", "sleep 1000", nil, 50 * time.Millisecond, "did not become ready in time"},
		{"it is no use", patient, errors.New("no use"), time.Minute, "no use"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			s := newScripted(t, dir, c.script)
			s.refuse = c.refuse
			ctx, cancel := context.WithTimeout(t.Context(), c.timeout)
			defer cancel()
			if err := s.open(ctx); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("open: %v, want %q in it", err, c.want)
			}
			if left := holders(s.folder.root); len(left) > 0 || s.cleans == 0 {
				t.Errorf("processes %v are left, ended was called %d times", left, s.cleans)
			}
			if err := newScripted(t, dir, patient).open(t.Context()); err != nil {
				t.Errorf("a second start: %v", err)
			}
		})
	}
}

// What an earlier run left is asked to end, and killed where it does not care.
func TestChildEndsWhatIsLeft(t *testing.T) {
	for _, c := range []struct {
		name, script, told string
	}{
		{"polite", patient, "exit status 0"},
		{"deaf", `trap '' TERM; echo up; while :; do sleep 0.01; done`, "signal: killed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "server")
			s := newScripted(t, dir, c.script)
			stranger := start(t, command{s.program(), s.folder})
			eventually(t, "the stranger is up", func() bool { return s.said() == "up" })
			s.folder.close() // as when its parent dies
			if err := newScripted(t, dir, patient).open(t.Context()); err != nil {
				t.Fatal(err)
			}
			<-stranger.done
			got := "exit status 0"
			if stranger.err != nil {
				got = stranger.err.Error()
			}
			if got != c.told {
				t.Errorf("the stranger ended by %s, want %s", got, c.told)
			}
		})
	}
}
