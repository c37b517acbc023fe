package embedded

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// ErrNoPowerDNS says that this machine has no suitable PowerDNS server, and what to install.
var ErrNoPowerDNS = errors.New("install the PowerDNS authoritative server with a backend that needs no other server (Debian: apt-get install --no-install-recommends pdns-server pdns-backend-sqlite3 sqlite3)")

// powerDNSStorage is one of the server's backends.
type powerDNSStorage string

const (
	sqlite powerDNSStorage = "gsqlite3"
	lmdb   powerDNSStorage = "lmdb"
)

// powerDNSFiles are the files in the data folder, which show the storage that made it.
var powerDNSFiles = map[powerDNSStorage]string{sqlite: "pdns.sqlite3", lmdb: "pdns.lmdb"}

// powerDNSBinaries is what is installed of PowerDNS.
type powerDNSBinaries struct {
	server  string
	storage []powerDNSStorage
	// schema and shell make an SQLite database.
	schema, shell string
}

// findPowerDNS looks for the server and its backends.
func findPowerDNS(ctx context.Context) (powerDNSBinaries, error) {
	var b powerDNSBinaries
	if b.server = findProgram("pdns_server"); b.server == "" {
		return b, fmt.Errorf("no PowerDNS server found: %w", ErrNoPowerDNS)
	}
	out, err := exec.CommandContext(ctx, b.server, "--no-config", "--list-modules").CombinedOutput()
	_, list, found := strings.Cut(string(out), "Modules available:")
	if !found { // its exit status is 99 in any case
		return b, fmt.Errorf("ask %s for its modules: %w: %.200s", b.server, cmp.Or(err, errors.New("it lists none")), out)
	}
	modules := strings.Fields(list)
	b.shell, b.schema = findProgram("sqlite3"), findSchema()
	if slices.Contains(modules, string(sqlite)) && b.shell != "" && b.schema != "" {
		b.storage = append(b.storage, sqlite)
	}
	if slices.Contains(modules, string(lmdb)) {
		b.storage = append(b.storage, lmdb)
	}
	if len(b.storage) == 0 {
		return b, fmt.Errorf("the PowerDNS server has neither its backend gsqlite3, with the command sqlite3, nor its backend lmdb: %w", ErrNoPowerDNS)
	}
	return b, nil
}

// findProgram looks in PATH, and in the folders of servers, which are not in an ordinary
// user's PATH.
func findProgram(name string) string {
	if path, err := exec.LookPath(name); err == nil {
		if path, err = filepath.Abs(path); err == nil {
			return path
		}
	}
	for _, folder := range []string{"/usr/sbin", "/usr/local/sbin", "/sbin"} {
		path := filepath.Join(folder, name)
		if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o111 != 0 {
			return path
		}
	}
	return ""
}

// findSchema returns the installed server's own schema for SQLite.
func findSchema() string {
	return findFile(
		"/usr/share/pdns-backend-sqlite3/schema/schema.sqlite3.sql", // Debian
		"/usr/share/doc/pdns*/schema.sqlite3.sql",                   // Fedora and others
		"/usr/share/pdns*/schema.sqlite3.sql",
		"/usr/local/share/doc/pdns*/schema.sqlite3.sql",
	)
}

// findFile returns a file that matches the first pattern that has one, of several the last; empty: none.
func findFile(patterns ...string) string {
	for _, pattern := range patterns {
		if found, _ := filepath.Glob(pattern); len(found) > 0 { // fails only for a bad pattern
			return slices.Max(found)
		}
	}
	return ""
}

// pick returns the storage for a new data folder. SQLite opens files only by their absolute
// path, by which the server's user cannot reach a hidden folder.
func (b powerDNSBinaries) pick(hidden bool) (powerDNSStorage, error) {
	for _, s := range b.storage {
		if s != sqlite || !hidden {
			return s, nil
		}
	}
	return "", fmt.Errorf("the server's user cannot pass the directories above the data folder, as PowerDNS's backend gsqlite3 requires: install its backend lmdb (Debian: apt-get install --no-install-recommends pdns-backend-lmdb) or name a folder that everybody can reach: %w", ErrNoPowerDNS)
}
