package mysql

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/database"
	"github.com/chandler-broker/chandler/services/database/mysqldb"
)

const (
	programName = "mariadb-dump"
	programTime = 10 * time.Second // to print a version
)

var programRelease = regexp.MustCompile(`(?:Distrib|from) (\d+)\.(\d+)\.`)

// program finds mariadb-dump, which must not be older than the server. It returns its release, as
// oldestVersion.
func (b *backend) program(ctx context.Context, server string) (database.Program, int, error) {
	path, err := exec.LookPath(filepath.Join(b.programs, programName))
	if err != nil {
		where := "in PATH"
		if b.programs != "" {
			where = "in " + b.programs
		}
		return database.Program{}, 0, fmt.Errorf("%s is not %s: install MariaDB's client programs (Debian: mariadb-client), or set the backend's programs to their folder", programName, where)
	}
	if path, err = filepath.Abs(path); err != nil {
		return database.Program{}, 0, fmt.Errorf("find %s: %w", programName, err)
	}
	ctx, cancel := context.WithTimeout(ctx, programTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "--version")
	cmd.Env = environment(services.Secret{})
	out, err := cmd.Output()
	if err != nil {
		return database.Program{}, 0, fmt.Errorf("ask %s for its version: %w", path, err)
	}
	m := programRelease.FindSubmatch(out)
	if m == nil {
		return database.Program{}, 0, errors.New(path + " is not MariaDB's mariadb-dump")
	}
	major, _ := strconv.Atoi(string(m[1])) // digits
	minor, _ := strconv.Atoi(string(m[2]))
	if newest := release(server); major*100+minor < newest {
		return database.Program{}, 0, fmt.Errorf("%s is version %d.%d and older than the server, %s: install newer client programs, or set the backend's programs to their folder", path, major, minor, server)
	}
	return database.Program{Path: path}, major*100 + minor, nil
}

// release is a server's version as oldestVersion; 0 if it is none.
func release(version string) int {
	var major, minor int
	if _, err := fmt.Sscanf(version, "%d.%d", &major, &minor); err != nil {
		return 0
	}
	return major*100 + minor
}

// environment is the whole environment of the program. Only it has the password.
func environment(password services.Secret) []string {
	return []string{"PATH=/usr/local/bin:/usr/bin:/bin", "LC_ALL=C", "TZ=UTC", "HOME=/nonexistent", "MYSQL_PWD=" + password.Reveal()}
}

// historySince is the first release whose mariadb-dump copies the history of system-versioned tables.
const historySince = 1011

// dumpArguments are those for one database. Routines and triggers are copied otherwise (definitions).
func (b *backend) dumpArguments(release int, name, account, caFile string) []string {
	args := []string{
		"--no-defaults", "--protocol=tcp", "--host=" + b.admin.Host, "--port=" + strconv.Itoa(int(b.admin.Port)), "--user=" + account,
		"--single-transaction", "--quick", "--skip-triggers", "--skip-lock-tables", "--no-tablespaces", "--skip-comments",
		"--skip-add-drop-table", "--skip-add-locks", "--skip-disable-keys", "--default-character-set=utf8mb4", "--max-allowed-packet=1G",
	}
	if release >= historySince {
		args = append(args, "--dump-history")
	}
	switch b.server.TLS {
	case mysqldb.Disable:
		args = append(args, "--skip-ssl")
	case mysqldb.Require:
		args = append(args, "--ssl", "--skip-ssl-verify-server-cert")
	default:
		args = append(args, "--ssl", "--ssl-verify-server-cert")
		if caFile != "" {
			args = append(args, "--ssl-ca="+caFile)
		}
	}
	return append(args, name)
}

// caFile writes the certificates of the server's authority, which are no secret, for the program.
func (b *backend) caFile() (path string, remove func(), err error) {
	if b.server.CA == "" || b.server.TLS != mysqldb.Verify {
		return "", func() {}, nil
	}
	f, err := os.CreateTemp("", "chandler-ca-*.pem")
	if err != nil {
		return "", nil, fmt.Errorf("write the server's CA for %s: %w", programName, err)
	}
	remove = func() { _ = os.Remove(f.Name()) }
	_, err = f.WriteString(b.server.CA)
	if err = errors.Join(err, f.Close()); err != nil {
		remove()
		return "", nil, fmt.Errorf("write the server's CA for %s: %w", programName, err)
	}
	return f.Name(), remove, nil
}
