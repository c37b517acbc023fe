package embedded

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
)

// oldestPostgres is the oldest major version that Chandler works with.
const oldestPostgres = 13

// ErrNoPostgres says that this machine has no suitable PostgreSQL server, and what to
// install.
var ErrNoPostgres = errors.New("install the PostgreSQL server (Debian: apt-get install --no-install-recommends postgresql; Fedora: dnf install postgresql-server) or put the folder of its programs into PATH")

// binaries is a folder with the server's programs.
type binaries struct {
	folder  string
	version int
}

func (b binaries) path(program string) string { return filepath.Join(b.folder, program) }

// findPostgres returns the programs of a major version; 0: those in PATH, or else the
// newest.
func findPostgres(ctx context.Context, version int) (binaries, error) {
	var others []int
	for _, folder := range postgresFolders() {
		b := binaries{folder: folder}
		var err error
		if b.version, err = postgresVersion(ctx, b); err != nil || b.version < oldestPostgres {
			continue
		}
		if version == 0 || b.version == version {
			return b, nil
		}
		others = append(others, b.version)
	}
	if len(others) > 0 {
		return binaries{}, fmt.Errorf("the data was made by PostgreSQL %d, but only versions %v are installed: install version %d, or move the data away: %w",
			version, others, version, ErrNoPostgres)
	}
	return binaries{}, fmt.Errorf("no PostgreSQL server of version %d or newer found: %w", oldestPostgres, ErrNoPostgres)
}

// postgresFolders are the folders with a server's programs: that in PATH, then those of
// the distributions, which are not in PATH, newest first.
func postgresFolders() []string {
	var folders []string
	if found, err := exec.LookPath("postgres"); err == nil {
		if found, err = filepath.EvalSymlinks(found); err == nil {
			folders = append(folders, filepath.Dir(found))
		}
	}
	var installed []string
	for _, pattern := range []string{"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/libexec/postgresql*"} {
		found, _ := filepath.Glob(pattern) // fails only for a bad pattern
		installed = append(installed, found...)
	}
	slices.SortFunc(installed, func(a, b string) int { return cmp.Compare(firstNumber(b), firstNumber(a)) })
	return slices.DeleteFunc(append(folders, installed...), func(folder string) bool {
		_, err := os.Stat(filepath.Join(folder, "initdb"))
		return err != nil
	})
}

func postgresVersion(ctx context.Context, b binaries) (int, error) {
	out, err := exec.CommandContext(ctx, b.path("postgres"), "--version").Output()
	if err != nil {
		return 0, fmt.Errorf("ask %s for its version: %w", b.path("postgres"), err)
	}
	return firstNumber(string(out)), nil
}

var digits = regexp.MustCompile(`\d+`)

func firstNumber(text string) int {
	n, _ := strconv.Atoi(digits.FindString(text)) // no number counts as 0
	return n
}
