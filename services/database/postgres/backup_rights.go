package postgres

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/lib/pq/pqerror"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/database"
)

// The backup role has BYPASSRLS, which the administrator must not have, and nothing else.
// administrator.sql makes it without a password. For the time of a dump it is a member of the
// roles that own something in the database.

// backupRole is named after the administrator, so that brokers with administrators of their own
// can share a server.
func (b *backend) backupRole() string { return b.admin.User + "_backup" }

// backupPassword derives from the administrator's: all replicas have the same.
func (b *backend) backupPassword() (services.Secret, error) {
	if b.admin.Password == "" {
		return services.Secret{}, errors.New("backups need an administrator with a password in the backend's url: that of role " + b.backupRole() + " derives from it")
	}
	h := hmac.New(sha256.New, []byte(b.admin.Password))
	h.Write([]byte("password of " + b.backupRole())) // never fails
	return services.NewSecret(hex.EncodeToString(h.Sum(nil))), nil
}

// checkBackupRole says what to do if administrator.sql is older than this release.
func (b *backend) checkBackupRole(ctx context.Context, s *session) error {
	fit := false
	err := s.Query(ctx, "SELECT rolcanlogin AND rolbypassrls AND NOT rolsuper FROM pg_catalog.pg_roles WHERE rolname = "+literal(b.backupRole()), database.One(&fit))
	if err == nil && !fit {
		err = fmt.Errorf("the server has no role %s with LOGIN and BYPASSRLS, which reads the data for backups: run administrator.sql again as a superuser", ident(b.backupRole()))
	}
	return explain("look for the role that makes backups", err)
}

// owners selects the roles that own something in an instance's database and are this broker's.
// The bindings' roles are among them only if a tenant used SET ROLE NONE.
func (b *backend) owners(n names) string {
	return `SELECT r.rolname FROM pg_catalog.pg_roles r WHERE NOT r.rolsuper
		AND (r.rolname ~ ` + literal(b.names.single.String()) + ` OR r.rolname ~ ` + literal(b.names.revoked.String()) + ` OR r.rolname ~ ` + literal(b.names.grouped.String()) + `)
		AND (r.rolname = ` + literal(n.owner) + ` OR r.oid IN (SELECT s.refobjid FROM pg_catalog.pg_shdepend s
			JOIN pg_catalog.pg_database d ON d.oid = s.dbid AND d.datname = ` + literal(n.database) + `
			WHERE s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND s.deptype = 'o'))`
}

// grantDump makes the backup role a member of the owners, and lets it connect.
func (b *backend) grantDump(ctx context.Context, s *session, n names) error {
	if err := b.checkBackupRole(ctx, s); err != nil {
		return err
	}
	if err := b.endDump(ctx, s, n); err != nil { // of an attempt that crashed
		return err
	}
	var owners []string
	if err := s.Query(ctx, b.owners(n), database.Into(&owners)); err != nil {
		return explain("ask who owns what is in the database", err)
	}
	statements := append(asMember([]string{n.owner}, "GRANT CONNECT ON DATABASE "+ident(n.database)+" TO "+ident(b.backupRole())),
		"GRANT "+idents(owners)+" TO "+ident(b.backupRole()))
	return explain("give the backup role the instance's rights", b.insist(ctx, s, statements, ""))
}

// endDump ends the backup role's sessions in the database, and takes its rights: those of owners, and
// of bindings that owned something when the dump began.
func (b *backend) endDump(ctx context.Context, s *session, n names) error {
	err := s.Exec(ctx, "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity WHERE datname = "+literal(n.database)+" AND usename = "+literal(b.backupRole()))
	if err != nil {
		return explain("end the sessions of a dump", err)
	}
	var owners []string
	err = s.Query(ctx, `SELECT DISTINCT g.rolname FROM pg_catalog.pg_auth_members am JOIN pg_catalog.pg_roles g ON g.oid = am.roleid
		JOIN pg_catalog.pg_roles m ON m.oid = am.member AND m.rolname = `+literal(b.backupRole())+` WHERE g.rolname IN (`+b.owners(n)+`)
			OR EXISTS (SELECT FROM pg_catalog.pg_auth_members up JOIN pg_catalog.pg_roles o ON o.oid = up.roleid
				WHERE up.member = g.oid AND o.rolname IN (`+literals(n.groups())+`))`, database.Into(&owners))
	if err != nil || len(owners) == 0 {
		return explain("ask for the rights of the backup role", err)
	}
	statements := []string{"REVOKE " + idents(owners) + " FROM " + ident(b.backupRole())}
	if slices.Contains(owners, n.owner) {
		statements = append(statements, asMember([]string{n.owner}, "REVOKE CONNECT ON DATABASE "+ident(n.database)+" FROM "+ident(b.backupRole()))...)
	}
	return explain("take the backup role's rights", b.insist(ctx, s, statements, ""))
}

// withdraw is endDump after a dump, also one that was cancelled.
func (b *backend) withdraw(ctx context.Context, n names) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), withdrawTime)
	defer cancel()
	for {
		err := b.work(ctx, exclusive, n, "", []string{databasePart}, func(ctx context.Context, s *session, st *state) error {
			if st.Database == nil {
				return nil
			}
			return b.endDump(ctx, s, n)
		})
		if !is(err, pqerror.LockNotAvailable) || ctx.Err() != nil { // another operation works on the instance
			return err
		}
	}
}

// backupLogin returns the backup role's password, and sets it unless it works.
func (b *backend) backupLogin(ctx context.Context, s *session, name string, settings map[string]string) (services.Secret, error) {
	password, err := b.backupPassword()
	if err != nil {
		return password, err
	}
	err = b.loginAs(ctx, name, b.backupRole(), password, settings)
	if is(err, pqerror.InvalidPassword) {
		verified, failed := randomVerifier(password)
		if failed != nil {
			return password, failed
		}
		if err := s.Exec(ctx, "ALTER ROLE "+ident(b.backupRole())+" PASSWORD "+literal(verified)); err != nil {
			return password, explain("set the password of role "+b.backupRole(), err)
		}
		err = b.loginAs(ctx, name, b.backupRole(), password, settings)
	}
	switch {
	case is(err, pqerror.TooManyConnections):
		return password, nil // the server checks limits after the password
	case is(err, pqerror.InvalidPassword, pqerror.InvalidAuthorizationSpecification):
		return password, fmt.Errorf("connect as role %s: let pg_hba.conf admit it with scram-sha-256, as the administrator, to all databases: %w", b.backupRole(), err)
	}
	return password, explain("connect as role "+b.backupRole(), err)
}

// randomVerifier is a verifier with a salt of its own.
func randomVerifier(password services.Secret) (string, error) {
	salt := make([]byte, scramSaltSize)
	_, _ = rand.Read(salt) // never fails
	return verifier(password.Reveal(), salt)
}

func (b *backend) loginAs(ctx context.Context, name, role string, password services.Secret, settings map[string]string) error {
	c := b.admin.Clone()
	c.Database, c.User, c.Password = name, role, password.Reveal()
	c.Runtime = maps.Clone(settings)
	s, err := dialSession(ctx, c)
	if err == nil {
		s.Release(ctx)
	}
	return err
}

// pinned is a list of settings as the environment variable PGOPTIONS has them.
func pinned(settings map[string]string) string {
	var options []byte
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		options = append(options, "-c "+name+"="...)
		for _, c := range []byte(settings[name]) {
			if c == ' ' || c == '\\' {
				options = append(options, '\\')
			}
			options = append(options, c)
		}
		options = append(options, ' ')
	}
	return string(options)
}
