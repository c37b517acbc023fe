package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
)

const oldestVersion = 1006 // major * 100 + minor

const (
	unlimited = "18446744073709551615"
	// defaultTemporary is the server's own limit of all temporary files, which is
	// meant to be none: 1 TB.
	defaultTemporary = "1099511627776"
)

// facts are what Ready has to know of the server.
type facts struct {
	version, engine, symlinks string
	readOnly, filePerTable    bool
	unlimitedTables           bool
	totalTemporary            string // empty before MariaDB 11.5
	script                    int
	prefix                    string
	rights, openings          []string
}

// Ready implements services.Readier: the server answers, is set up so that
// tenants can be held to their plans, and the administrator is what
// administrator.sql made it.
func (b *backend) Ready(ctx context.Context) error {
	var f facts
	text := func(list *[]string) func(*sql.Rows) error {
		return func(rows *sql.Rows) error {
			var s string
			err := rows.Scan(&s)
			*list = append(*list, s)
			return err
		}
	}
	err := ask(ctx, b.pool,
		answer{"SELECT VERSION(), COALESCE(@@global.enforce_storage_engine, ''), @@have_symlink, @@global.read_only, @@global.innodb_file_per_table", func(rows *sql.Rows) error {
			return rows.Scan(&f.version, &f.engine, &f.symlinks, &f.readOnly, &f.filePerTable)
		}},
		answer{"SELECT GLOBAL_VALUE FROM information_schema.SYSTEM_VARIABLES WHERE VARIABLE_NAME = 'MAX_TMP_TOTAL_SPACE_USAGE'", func(rows *sql.Rows) error {
			return rows.Scan(&f.totalTemporary)
		}},
		answer{"SELECT PRIVILEGE_TYPE FROM information_schema.USER_PRIVILEGES WHERE GRANTEE = CONCAT('''', REPLACE(CURRENT_USER(), '@', '''@'''), '''')", text(&f.rights)},
		answer{"SELECT version, prefix FROM settings", func(rows *sql.Rows) error { return rows.Scan(&f.script, &f.prefix) }},
		answer{"SELECT opening FROM openings", text(&f.openings)})
	if err == nil {
		f.unlimitedTables, err = b.unlimitedTables(ctx)
	}
	if err != nil {
		return explain("ask the server for its settings and the administrator's rights", err)
	}
	if faults := errors.Join(f.ofServer(), f.ofAdministrator(b.names)); faults != nil {
		return fmt.Errorf("server %s is not set up: %w", b.server.address(), faults)
	}
	return nil
}

// unlimitedTables says whether a session can lift the limit of its temporary
// tables: what the administrator's can, a tenant's can. A value above the server's
// maximum is an error, because the administrator's sessions are strict.
func (b *backend) unlimitedTables(ctx context.Context) (bool, error) {
	err := ask(ctx, b.pool, answer{"SET STATEMENT tmp_disk_table_size = " + unlimited + " FOR SELECT 1", func(*sql.Rows) error { return nil }})
	if is(err, valueRefused) {
		return false, nil
	}
	return err == nil, err
}

func (f facts) ofServer() error {
	var faults []error
	for what, bad := range map[string]bool{
		"it is " + f.version + " and has to be MariaDB 10.6 or newer":                                                                            f.old(),
		"it is read-only; let the url name the primary":                                                                                          f.readOnly,
		"tenants could keep data where it is not counted; start it with enforce_storage_engine=InnoDB":                                           !strings.EqualFold(f.engine, "InnoDB"),
		"tables would share one file; start it with innodb_file_per_table=ON":                                                                    !f.filePerTable,
		"tenants could put tables into any folder of the machine; start it with symbolic-links=0":                                                f.symlinks != "DISABLED",
		"temporary tables have no limit that applications cannot raise; start it with tmp_disk_table_size=1G and maximum-tmp-disk-table-size=1G": f.unlimitedTables,
		"all temporary files together have no limit; start it with max_tmp_total_space_usage, such as 20G":                                       f.totalTemporary == "0" || f.totalTemporary == defaultTemporary,
	} {
		if bad {
			faults = append(faults, errors.New(what))
		}
	}
	return errors.Join(faults...)
}

func (f facts) old() bool {
	var major, minor int
	_, err := fmt.Sscanf(f.version, "%d.%d", &major, &minor)
	return err != nil || major*100+minor < oldestVersion || !strings.Contains(f.version, "MariaDB")
}

func (f facts) ofAdministrator(n namer) error {
	var faults []error
	if f.script != administratorVersion || f.prefix+"_" != n.prefix {
		faults = append(faults, fmt.Errorf("administrator.sql of this version was not run for prefix %q; run it again as root", strings.TrimSuffix(n.prefix, "_")))
	}
	for _, right := range f.rights {
		if right == "SUPER" || right == "CREATE USER" {
			faults = append(faults, fmt.Errorf("the administrator has %s, which makes it as good as root; make one with administrator.sql", right))
		}
	}
	for _, opening := range f.openings {
		faults = append(faults, fmt.Errorf("%s; administrator.sql closes that, or REVOKE it from PUBLIC", opening))
	}
	return errors.Join(faults...)
}
