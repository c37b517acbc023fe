// Package forum_test tells the story of an application on all five families, with
// nothing simulated; README.md has it in short.
//
// FORUM_NARRATE=1 tells each step and its time on standard error, and FORUM_KEEP=1
// keeps the page up until a line or the end comes on standard input.
package forum_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/chandler-broker/chandler/acceptance/rig"
)

func TestMain(m *testing.M) {
	rig.BeServer()
	os.Exit(m.Run())
}

func TestForum(t *testing.T) {
	RegisterFailHandler(Fail)
	RunSpecs(t, "The forum")
}

// narrator tells the story.
type narrator struct {
	began time.Time // it counts from here
	out   io.Writer
}

func newNarrator() *narrator {
	n := &narrator{began: time.Now(), out: GinkgoWriter}
	if narrated() {
		n.out = os.Stderr
	}
	return n
}

func narrated() bool { return os.Getenv("FORUM_NARRATE") == "1" }

// say tells of something, with the time since the beginning.
func (n *narrator) say(format string, args ...any) {
	fmt.Fprintf(n.out, "%7.2f s  %s\n", time.Since(n.began).Seconds(), fmt.Sprintf(format, args...))
}

// step is a step of the story, with what it took.
func (n *narrator) step(name string, body func(context.Context)) func(SpecContext) {
	return func(ctx SpecContext) {
		began := time.Now()
		body(ctx)
		n.say("%s: %s", name, time.Since(began).Round(time.Millisecond))
	}
}

// build makes the forum and its functions in dir: a program forum, and a folder
// functions with a module for each.
func build(ctx context.Context, dir string) error {
	const source = "github.com/chandler-broker/chandler/examples/forum/"
	compile := func(out, source string, environment ...string) error {
		c := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", filepath.Join(dir, out), source)
		c.Env = append(os.Environ(), environment...)
		if text, err := c.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", out, err, text)
		}
		return nil
	}
	return errors.Join(
		compile("forum", source+"app", "CGO_ENABLED=0"),
		compile("functions/crop.wasm", source+"functions/crop", "GOOS=wasip1", "GOARCH=wasm"),
		compile("functions/compress.wasm", source+"functions/compress", "GOOS=wasip1", "GOARCH=wasm"),
	)
}
