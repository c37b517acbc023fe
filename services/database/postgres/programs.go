package postgres

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/database"
)

// transactionTimeout is the first version whose pg_restore sets transaction_timeout, which older
// servers refuse. Then backups are refused, too: they could not be restored.
const transactionTimeout = 17

const programTime = 10 * time.Second // to print a version

// program finds a client program that is not older than a server, whose version is as in
// server_version_num.
func (b *backend) program(ctx context.Context, name string, server int) (database.Program, error) {
	path, err := exec.LookPath(filepath.Join(b.programs, name))
	if err != nil {
		where := "in PATH"
		if b.programs != "" {
			where = "in " + b.programs
		}
		return database.Program{}, fmt.Errorf("%s is not %s: install PostgreSQL's client programs (Debian: postgresql-client), or set the backend's programs to their folder", name, where)
	}
	if path, err = filepath.Abs(path); err != nil {
		return database.Program{}, fmt.Errorf("find %s: %w", name, err)
	}
	p := database.Program{Path: path}
	major, err := b.programVersion(ctx, p)
	switch {
	case err != nil:
	case major >= transactionTimeout && server/10000 < transactionTimeout:
		err = fmt.Errorf("%s is version %d, which restores to PostgreSQL %d and newer only, and the server is version %d: install client programs of version %d to %d, or set the backend's programs to their folder",
			path, major, transactionTimeout, server/10000, server/10000, transactionTimeout-1)
	case major < server/10000:
		err = fmt.Errorf("%s is version %d and older than the server, version %d: install newer client programs, or set the backend's programs to their folder", path, major, server/10000)
	}
	return p, err
}

var majorVersion = regexp.MustCompile(`PostgreSQL\) (\d+)`)

func (b *backend) programVersion(ctx context.Context, p database.Program) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, programTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, p.Path, "--version")
	cmd.Env = b.environment("", "", services.Secret{}, nil) // Debian's wrapper chooses a version by it
	out, err := cmd.Output()
	if err != nil {
		return 0, fmt.Errorf("ask %s for its version: %w", p.Path, err)
	}
	m := majorVersion.FindSubmatch(out)
	if m == nil {
		return 0, errors.New(p.Path + " is not one of PostgreSQL's client programs")
	}
	return strconv.Atoi(string(m[1]))
}

// environment is the whole environment of a client program. Only it has the password.
func (b *backend) environment(name, role string, password services.Secret, settings map[string]string) []string {
	env := []string{
		"PATH=/usr/local/bin:/usr/bin:/bin", "LC_ALL=C", "TZ=UTC",
		"PGHOST=" + b.admin.Host, "PGPORT=" + strconv.Itoa(int(b.admin.Port)),
		"PGSSLMODE=" + string(b.admin.SSLMode), "PGGSSENCMODE=disable", "PGPASSFILE=/dev/null",
		"PGDATABASE=" + name, "PGUSER=" + role, "PGPASSWORD=" + password.Reveal(),
		"PGOPTIONS=" + pinned(settings), "PGAPPNAME=chandler", "PGCONNECT_TIMEOUT=10",
	}
	if b.admin.SSLRootCert != "" && !b.admin.SSLInline {
		env = append(env, "PGSSLROOTCERT="+b.admin.SSLRootCert)
	}
	return env
}
