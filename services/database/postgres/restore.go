package postgres

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/database"
)

// Restore implements services.Streamer. pg_restore runs what the copy says as a role that has a
// read_write binding's rights, and exists meanwhile. It does not run in one transaction, which
// would hold locks on everything: an instance whose restore failed is removed. The instance's
// lock is held until the end, so that Reconcile does not enforce the plan on half of a database.
func (b *backend) Restore(ctx context.Context, r services.RestoreRequest[Plan, InstanceParams]) (result services.RestoreResult, err error) {
	if r.Contents.Format != copyFormat {
		return result, services.Rejected("the backup has the format %q, and only %q can be restored to a PostgreSQL database", r.Contents.Format, copyFormat)
	}
	var details copyDetails
	if err := json.Unmarshal(r.Contents.Details, &details); err != nil {
		return result, fmt.Errorf("read the backup's description: %w", err)
	}
	t, err := b.restoreTo(ctx, b.names.instance(r.Instance.Name))
	if err != nil {
		return result, err
	}
	defer t.locked.Release(ctx)
	if err := t.fits(ctx, details); err != nil {
		return result, err
	}
	defer func() {
		if failed := t.dropRestorer(ctx); err == nil {
			err = failed
		}
	}()
	return result, t.restore(ctx, r)
}

// target is the instance to which a copy is restored.
type target struct {
	b      *backend
	names  names
	locked *session // holds the instance's lock
	state  *state
}

// restoreTo locks the instance with a session of its own: the pool's are for short work.
func (b *backend) restoreTo(ctx context.Context, n names) (*target, error) {
	ctx, cancel := context.WithTimeout(ctx, prepareTime)
	defer cancel()
	s, err := dialSession(ctx, b.admin)
	if err != nil {
		return nil, explain("connect to the server", err)
	}
	t := &target{b: b, names: n, locked: s}
	err = database.Ask(ctx, s.Conn.Conn,
		database.Answer{Query: "SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings WHERE name = 'idle_session_timeout'"}, lock(exclusive, n))
	if err == nil {
		err = t.look(ctx)
	}
	if err == nil && (!t.state.complete() || !t.state.hasGroup(n.owner)) {
		err = fmt.Errorf("database %s does not exist or is not finished; provision the instance again", n.database)
	}
	if err != nil {
		s.Release(ctx)
		return nil, explain("ask the server what exists", err)
	}
	return t, nil
}

func (t *target) look(ctx context.Context) error {
	t.state = &state{}
	parts := []string{versionPart, databasePart, groupsPart, membersPart}
	return t.locked.Query(ctx, t.b.stateQuery([]string{t.names.database}, "", parts...), t.state.scan)
}

// fits compares the copy with the instance before anything is changed.
func (t *target) fits(ctx context.Context, copied copyDetails) error {
	if t.state.Version/10000 < copied.Version/10000 {
		return services.Rejected("the backup is of PostgreSQL %d and the instance's server is version %d: restore it to a server that is not older", copied.Version/10000, t.state.Version/10000)
	}
	return t.b.inDatabase(ctx, t.locked, t.names.database, func(s *session) error {
		var encoding string
		var missing []string
		err := s.Query(ctx, "SELECT pg_catalog.pg_encoding_to_char(encoding) FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()", database.One(&encoding))
		if err == nil {
			err = s.Query(ctx, `SELECT e FROM pg_catalog.unnest(ARRAY[`+literals(copied.Extensions)+`]::pg_catalog.text[]) e
				WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname = e)
				AND NOT EXISTS (SELECT FROM pg_catalog.pg_available_extension_versions WHERE name = e AND (trusted OR NOT superuser))`, database.Into(&missing))
		}
		switch {
		case err != nil:
			return explain("ask what the instance has", err)
		case encoding != copied.Encoding && encoding != "UTF8":
			return services.Rejected("parameters.character_set: the backup is of a database with %s and this one has %s: choose the same, or leave the parameter out where the server's is UTF8", copied.Encoding, encoding)
		case len(missing) > 0:
			return services.Rejected("the backup needs the extensions %s, which the server does not have or only a superuser can create: ask your operator to install them", strings.Join(missing, ", "))
		}
		return nil
	})
}

func (t *target) restore(ctx context.Context, r services.RestoreRequest[Plan, InstanceParams]) error {
	in := bufio.NewReaderSize(r.Reader, 1<<16)
	var header copyHeader
	if err := database.ReadHeader(in, "", maxHeader, &header); err != nil {
		return err
	}
	program, err := t.b.program(ctx, "pg_restore", t.state.Version)
	if err != nil {
		return err
	}
	if err := t.removeSessionFunctions(ctx); err != nil {
		return err
	}
	password, err := t.makeRestorer(ctx, r.Instance.Plan)
	if err != nil {
		return err
	}
	program.Env = t.b.environment(t.names.database, t.names.restorer, password, t.restorerSettings())
	program.Args = []string{
		"--format=custom", "--dbname=" + t.names.database, "--no-password", "--exit-on-error",
		"--no-owner", "--no-acl", "--no-tablespaces", "--no-subscriptions", "--no-security-labels",
	}
	counted := newArchive(header.foreignOwners())
	err = program.Run(ctx, io.TeeReader(in, counted), nil)
	counts, damaged := counted.close()
	switch {
	case err != nil:
		return explainProgram("restore the database", err)
	case damaged != nil:
		return damaged
	case !maps.Equal(counts, r.Contents.Counts):
		return errors.New("the copy is damaged: it contains something else than its description says")
	}
	return t.finish(ctx, header, password)
}

// removeSessionFunctions makes room for a schema "chandler" of the tenant's. Reconcile makes
// the functions again, unless the copy has one.
func (t *target) removeSessionFunctions(ctx context.Context) error {
	n := t.names
	if !t.state.hasGroup(n.sessions) {
		return nil
	}
	err := t.b.inDatabase(ctx, t.locked, n.database, func(s *session) error {
		ours := false
		err := s.Query(ctx, "SELECT true FROM pg_catalog.pg_namespace WHERE nspname = 'chandler' AND pg_catalog.pg_get_userbyid(nspowner) = "+literal(n.sessions), database.One(&ours))
		if err == nil && ours {
			err = s.runAs(ctx, []string{n.owner, n.sessions}, "DROP SCHEMA chandler CASCADE")
		}
		return err
	})
	if err == nil {
		err = t.locked.Exec(ctx, "COMMENT ON ROLE "+ident(n.sessions)+" IS NULL")
	}
	return explain("remove the functions that show sessions", err)
}

// makeRestorer makes the role of the restore, and returns its password.
func (t *target) makeRestorer(ctx context.Context, plan Plan) (services.Secret, error) {
	n := t.names
	if t.state.hasGroup(n.restorer) { // of an attempt that crashed
		if err := t.dropRestorer(ctx); err != nil {
			return services.Secret{}, err
		}
	}
	password := services.NewSecret(rand.Text())
	verified, err := randomVerifier(password)
	if err != nil {
		return password, err
	}
	var statements []string
	if plan.TempFileLimit > 0 && t.state.Version >= settableTempFiles { // indexes are built at once
		statements = append(statements, "ALTER ROLE "+ident(n.restorer)+" IN DATABASE "+ident(n.database)+" SET "+tempFileLimit+" = -1")
	}
	statements = append([]string{"CREATE ROLE " + ident(n.restorer) + " LOGIN CONNECTION LIMIT 4 IN ROLE " + ident(n.owner) + " PASSWORD " + literal(verified)}, statements...)
	return password, explain("make the role that restores", t.locked.transaction(ctx, statements...))
}

// restorerSettings make its sessions act as the owner role.
func (t *target) restorerSettings() map[string]string {
	return map[string]string{
		"role": t.names.owner, "client_min_messages": "error",
		"statement_timeout": "0", "lock_timeout": "0", "idle_in_transaction_session_timeout": "0",
	}
}

// dropRestorer ends the role's sessions and drops it. What it owns goes to the owner role.
func (t *target) dropRestorer(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), withdrawTime)
	defer cancel()
	for {
		err := t.look(ctx)
		if err == nil && t.state.hasGroup(t.names.restorer) {
			err = t.b.revoke(ctx, t.locked, t.state, t.names.restorer)
		}
		var pending *services.NotYetError
		if !errors.As(err, &pending) || ctx.Err() != nil {
			return explain("drop the role that restores", err)
		}
		time.Sleep(pending.After)
	}
}

// finish does what pg_restore does not, as the restoring role: the statements are the copy's.
func (t *target) finish(ctx context.Context, header copyHeader, password services.Secret) error {
	verified, err := randomVerifier(password)
	if err == nil { // what the copy ran as the role can have changed the password
		err = t.locked.Exec(ctx, "ALTER ROLE "+ident(t.names.restorer)+" PASSWORD "+literal(verified))
	}
	if err != nil {
		return explain("set the password of the role that restores", err)
	}
	c := t.b.admin.Clone()
	c.Database, c.User, c.Password = t.names.database, t.names.restorer, password.Reveal()
	maps.Copy(c.Runtime, t.restorerSettings())
	s, err := dialSession(ctx, c)
	if err != nil {
		return explain("connect to the restored database", err)
	}
	defer s.Release(ctx)
	var statements []string
	for _, routine := range header.Private {
		statements = append(statements, "REVOKE EXECUTE ON ROUTINE "+routine+" FROM PUBLIC")
	}
	for _, o := range header.Foreign {
		kind := strings.TrimPrefix(o.Kind, "COMPOSITE ")
		statements = append(statements, "DROP "+kind+" IF EXISTS "+o.Name+" CASCADE")
	}
	for some := range slices.Chunk(statements, batch) {
		if err := s.transaction(ctx, some...); err != nil {
			return explain("restore the rights on routines", err)
		}
	}
	for _, setting := range header.Settings {
		name, value, _ := strings.Cut(setting, "=")
		parts := strings.Split(name, ".")
		// The server takes the value of a list as it stores it only from set_config.
		err := s.Exec(ctx, "SELECT pg_catalog.set_config("+literal(name)+", "+literal(value)+", false)",
			"ALTER DATABASE "+ident(t.names.database)+" SET "+strings.Join(quoted(parts), ".")+" FROM CURRENT", "RESET ALL")
		if err != nil && !refused(err) { // of a setting that this server does not have, or the tenant may not set
			return explain("restore the settings of the database", err)
		}
	}
	return nil
}

func quoted(names []string) []string {
	list := make([]string, len(names))
	for i, name := range names {
		list[i] = ident(name)
	}
	return list
}
