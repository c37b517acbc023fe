package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/database"
)

// copyFormat is a line of JSON (copyHeader), and then an archive of pg_dump's custom format.
const copyFormat = "postgres-1"

// copyDetails are what Restore compares with the instance before it changes anything.
type copyDetails struct {
	Version    int      `json:"version"`
	Encoding   string   `json:"encoding"`
	Extensions []string `json:"extensions"`
}

// omitted is what a copy lacks, for the user.
var omitted = []string{
	"Privileges that you granted or revoked. Afterwards read_write bindings own everything, and read_only bindings read everything. Only routines that PUBLIC could not execute are revoked from PUBLIC again.",
	"Objects that read_only bindings created, and what depends on them.",
	"Settings of bindings (ALTER ROLE ... SET), and the database's own statement_timeout, role and local_preload_libraries.",
	"Subscriptions, event triggers, and publications FOR ALL TABLES.",
}

// dumpTimeouts bound the preparation of a dump, and the removal of its rights.
const (
	prepareTime  = 30 * time.Second
	withdrawTime = 20 * time.Second
	// tableLockTime is how long pg_dump waits for a table that a transaction has locked.
	tableLockTime = time.Minute
)

// Backup implements services.Streamer. pg_dump reads one snapshot as the backup role, which
// has the instance's rights only meanwhile. The instance's lock is not held during the dump.
func (b *backend) Backup(ctx context.Context, r services.BackupRequest[Plan, InstanceParams]) (contents services.Contents, err error) {
	n := b.names.instance(r.Instance.Name)
	defer func() {
		if failed := b.withdraw(ctx, n); err == nil {
			err = failed
		}
	}()
	d, err := b.prepareDump(ctx, n, r.Instance.Plan)
	if err != nil {
		return contents, err
	}
	defer d.close()
	return d.run(ctx, r.Writer)
}

// dump is a dump that is about to begin, with the administrator's session that holds its snapshot.
type dump struct {
	b        *backend
	names    names
	program  database.Program
	snapshot *session
	header   copyHeader
	details  copyDetails
	// crowded says that tenants use all connections to the database, limit is their number.
	crowded bool
	limit   int
	once    sync.Once
}

// close ends the session with the snapshot, once pg_dump has it.
func (d *dump) close() {
	d.once.Do(func() { d.snapshot.Release(context.Background()) })
}

// prepareDump gives the backup role its rights, and takes the snapshot.
func (b *backend) prepareDump(ctx context.Context, n names, plan Plan) (d *dump, err error) {
	ctx, cancel := context.WithTimeout(ctx, prepareTime)
	defer cancel()
	parts := []string{versionPart, databasePart, groupsPart, membersPart}
	err = b.work(ctx, exclusive, n, "", parts, func(ctx context.Context, s *session, st *state) error {
		if err := st.checkNotDropped(); err != nil {
			return err
		}
		if !st.complete() || st.Database.Owner != n.owner {
			return fmt.Errorf("database %s does not exist or is not finished", n.database)
		}
		program, err := b.program(ctx, "pg_dump", st.Version)
		if err != nil {
			return err
		}
		settings, err := b.dumpSettings(ctx, s)
		if err != nil {
			return err
		}
		if err := b.grantDump(ctx, s, n); err != nil {
			return err
		}
		password, err := b.backupLogin(ctx, s, n.database, settings)
		if err != nil {
			return err
		}
		program.Env = b.environment(n.database, b.backupRole(), password, settings)
		t, err := b.enter(ctx, s, n.database)
		if err != nil {
			return err
		}
		d = &dump{b: b, names: n, program: program, snapshot: t}
		d.details.Version = st.Version
		if err := d.look(ctx, plan, st); err != nil {
			d.close()
			return err
		}
		return nil
	})
	return d, err
}

// dumpSettings are the settings of pg_dump's session: those of the administrator's sessions, so
// that a tenant's ALTER DATABASE has no effect, but without time-outs.
func (b *backend) dumpSettings(ctx context.Context, s *session) (map[string]string, error) {
	settings, err := s.settings(ctx)
	if err != nil {
		return nil, err
	}
	const guard = "restrict_nonsystem_relation_kind"
	if _, ok := settings[guard]; !ok {
		return nil, errors.New("a tenant could make pg_dump execute its functions on this server (CVE-2024-7348): update the server to PostgreSQL 13.16, 14.13, 15.8, 16.4 or newer")
	}
	settings[guard] = "view,foreign-table"
	settings["role"] = "none"
	settings["client_min_messages"] = "error"
	for _, timeout := range []string{"statement_timeout", "idle_in_transaction_session_timeout"} {
		settings[timeout] = "0"
	}
	settings["lock_timeout"] = fmt.Sprint(tableLockTime.Milliseconds())
	return settings, nil
}

// run writes the header and the archive.
func (d *dump) run(ctx context.Context, w io.Writer) (contents services.Contents, err error) {
	settle, err := d.makeRoom(ctx)
	if err != nil {
		return contents, err
	}
	defer settle()
	counted := newArchive(d.header.foreignOwners())
	out := &beginning{w: w, begin: func() error {
		d.close()
		settle()
		return d.header.write(w)
	}}
	err = d.program.Run(ctx, nil, io.MultiWriter(out, counted))
	counts, damaged := counted.close()
	switch {
	case err != nil:
		return contents, explainProgram("dump the database", err)
	case damaged != nil:
		return contents, damaged
	}
	details, err := json.Marshal(d.details)
	return services.Contents{Format: copyFormat, Counts: counts, Omitted: omitted, Details: details}, err
}

// beginning calls begin before the first byte. pg_dump then has locked all tables.
type beginning struct {
	w     io.Writer
	begin func() error
}

func (b *beginning) Write(p []byte) (int, error) {
	if begin := b.begin; begin != nil {
		b.begin = nil
		if err := begin(); err != nil {
			return 0, err
		}
	}
	return b.w.Write(p)
}

// makeRoom lifts the database's limit of connections until settle is called, if tenants use all.
func (d *dump) makeRoom(ctx context.Context) (settle func(), err error) {
	if !d.crowded {
		return func() {}, nil
	}
	lift := func(ctx context.Context, limit int) error {
		return d.b.work(ctx, exclusive, d.names, "", []string{databasePart}, func(ctx context.Context, s *session, _ *state) error {
			return s.limitConnections(ctx, d.names.database, limit)
		})
	}
	if err := lift(ctx, d.limit+2); err != nil {
		return nil, explain("let pg_dump connect", err)
	}
	return sync.OnceFunc(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), withdrawTime)
		defer cancel()
		_ = lift(ctx, d.limit) // else Reconcile does
	}), nil
}

// explainProgram adds to a program's error what the broker was doing. Those of ctx, the writer
// and the reader stay as they are.
func explainProgram(doing string, err error) error {
	var failed *database.ProgramError
	if !errors.As(err, &failed) {
		return err
	}
	explained := fmt.Errorf("%s: %w", doing, err)
	if strings.Contains(failed.Message, "No space left on device") {
		return services.OutOfCapacity(explained)
	}
	return explained
}
