package embedded

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// command is a program with the folder that it runs in.
type command struct {
	program
	folder *folder
}

// shell makes a program of a script. Its folder lies below one that only this process's
// user can pass, as t.TempDir does.
func shell(t *testing.T, script string) command {
	t.Helper()
	f, err := openFolder(filepath.Join(t.TempDir(), "server"), false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.close)
	return command{program{path: "/bin/sh", args: []string{"-c", script}}, f}
}

func start(t *testing.T, p command) *process {
	t.Helper()
	c, err := startProcess(p.folder, p.program)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.kill)
	return c
}

// say waits until the program has written a text.
func say(t *testing.T, p command, want string) {
	t.Helper()
	eventually(t, "the program says "+want, func() bool {
		said, _ := p.folder.readFile("sh.log")
		return strings.Contains(string(said), want)
	})
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not seen in a minute: %s", what)
		}
	}
}

func TestStopIsPolite(t *testing.T) {
	p := shell(t, `trap 'echo farewell; exit 0' TERM; echo up; while :; do sleep 0.01; done`)
	c := start(t, p)
	say(t, p, "up")
	if err := c.stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	say(t, p, "farewell")
	if err := c.stop(t.Context()); err != nil {
		t.Fatalf("a second stop: %v", err)
	}
}

// Whoever has stopped a server may take its disk away: this process keeps no
// file of the child's.
func TestTheLogIsTheChildsAlone(t *testing.T) {
	p := shell(t, `while :; do sleep 0.01; done`)
	start(t, p)
	open, err := filepath.Glob("/proc/self/fd/*")
	if err != nil || len(open) == 0 {
		t.Fatalf("the open files of this process: %v, %v", open, err)
	}
	for _, file := range open {
		if target, _ := os.Readlink(file); target == filepath.Join(p.folder.root, "sh.log") {
			t.Errorf("%s is still open", target)
		}
	}
}

func TestStopKillsTheWholeGroupInTheEnd(t *testing.T) {
	p := shell(t, `trap '' TERM; sleep 1000 & echo child=$!; while :; do sleep 0.01; done`)
	c := start(t, p)
	say(t, p, "child=")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := c.stop(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "was killed") {
		t.Fatalf("stop: %v", err)
	}
	said, err := p.folder.readFile("sh.log")
	if err != nil {
		t.Fatal(err)
	}
	child := firstNumber(string(said))
	eventually(t, "the child's child is gone", func() bool {
		state, err := os.ReadFile(filepath.Join("/proc", string(said[len("child="):]), "stat"))
		return err != nil || strings.Contains(string(state), ") Z ")
	})
	if child == 0 {
		t.Fatal("the script did not tell its child's number")
	}
}

func TestRunProcess(t *testing.T) {
	for name, test := range map[string]struct {
		script  string
		timeout time.Duration
		want    []string // in the error; none: no error
	}{
		"success":         {script: "exit 0", timeout: time.Minute},
		"failure":         {script: "echo the reason >&2; exit 3", timeout: time.Minute, want: []string{"exit status 3", "the reason", "sh.log"}},
		"too slow":        {script: "sleep 1000", timeout: 50 * time.Millisecond, want: []string{"deadline exceeded"}},
		"killed":          {script: "kill -9 $$", timeout: time.Minute, want: []string{"signal: killed"}},
		"end of long log": {script: "seq 1000; echo the end; exit 1", timeout: time.Minute, want: []string{"1000\nthe end"}},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), test.timeout)
			defer cancel()
			p := shell(t, test.script)
			err := runProcess(ctx, p.folder, p.program)
			if (err != nil) != (len(test.want) > 0) {
				t.Fatalf("error: %v", err)
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in %q", want, err)
				}
			}
		})
	}
}

func TestChildInheritsNoSecretAndNoPrivilege(t *testing.T) {
	t.Setenv("VAULT_TOKEN", "sesame")
	p := shell(t, `env; id -u; echo done`)
	p.env = []string{"GREETING=hello"}
	start(t, p)
	say(t, p, "done")
	said, err := p.folder.readFile("sh.log")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(said), "sesame") || !strings.Contains(string(said), "GREETING=hello") {
		t.Errorf("the child's environment: %s", said)
	}
	if strings.Contains(string(said), "\n0\n") {
		t.Error("the child is root")
	}
}

func TestChildReachesItsFolder(t *testing.T) {
	p := shell(t, "")
	if err := p.folder.writeFile("note", []byte("found")); err != nil {
		t.Fatal(err)
	}
	if hidden := p.folder.hidden; hidden != (os.Geteuid() == 0) {
		t.Fatalf("hidden below a folder of mode 0700: %v", hidden)
	}
	p.args = []string{"-c", "cat " + p.folder.childPath("note")}
	start(t, p)
	say(t, p, "found")
}

func TestStartOfWhatIsNotThere(t *testing.T) {
	p := shell(t, "")
	p.path = "/nowhere/server"
	if _, err := startProcess(p.folder, p.program); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "start server") {
		t.Fatalf("error: %v", err)
	}
}

func TestFolderIsHeldByOne(t *testing.T) {
	p := shell(t, "")
	if _, err := openFolder(p.folder.root, false); err == nil || !strings.Contains(err.Error(), "is in use by process") {
		t.Fatalf("a second process takes the folder: %v", err)
	}
	p.folder.close()
	again, err := openFolder(p.folder.root, false)
	if err != nil {
		t.Fatal(err)
	}
	again.close()
}
