package mysql

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"
	"time"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/database"
)

// copyFormat is a line of JSON behind "-- " (copyHeader), what mariadb-dump wrote, and endOfCopy.
const copyFormat = "mysql-1"

// copyDetails are what Restore compares with the server before it changes anything.
type copyDetails struct {
	Server string `json:"server"`
}

const (
	prepareTime  = 30 * time.Second
	withdrawTime = 20 * time.Second
)

// Backup implements services.Streamer. mariadb-dump reads one snapshot of InnoDB as an account of
// the instance's own, with a read_write binding's rights, that is locked before and afterwards:
// what a view runs in its session reaches nothing else. Routines and triggers are as they were a
// moment before the snapshot.
func (b *backend) Backup(ctx context.Context, r services.BackupRequest[Plan, InstanceParams]) (contents services.Contents, err error) {
	name := b.names.database(r.Instance.Name)
	defer func() {
		if failed := b.closeCopier(ctx, name); err == nil {
			err = failed
		}
	}()
	d, err := b.prepareDump(ctx, name)
	if err != nil {
		return contents, err
	}
	defer d.copier.Release(context.WithoutCancel(ctx))
	ca, remove, err := b.caFile()
	if err != nil {
		return contents, err
	}
	defer remove()
	d.program.Args = b.dumpArguments(d.release, name, name, ca)
	return d.run(ctx, r.Writer)
}

// dump is a dump that is about to begin.
type dump struct {
	program database.Program
	copier  *session // holds the lock of copying until the dump has ended
	release int      // of the program
	server  string
	header  copyHeader
}

func (b *backend) prepareDump(ctx context.Context, name string) (*dump, error) {
	ctx, cancel := context.WithTimeout(ctx, prepareTime)
	defer cancel()
	d := &dump{}
	password := services.NewSecret(rand.Text())
	err := b.work(ctx, patience, name, func(s *session, st *state) (err error) {
		if !st.exists {
			return services.Rejected("the database does not exist: an application or the operator dropped it, so there is nothing to back up")
		}
		if err := s.Query(ctx, "SELECT VERSION()", database.One(&d.server)); err != nil {
			return explain("ask the server for its version", err)
		}
		if d.program, d.release, err = b.program(ctx, d.server); err != nil {
			return err
		}
		d.program.Env = environment(password)
		if err := b.openCopier(ctx, s, name, password); err != nil {
			return err
		}
		if d.copier, err = b.connectCopier(ctx, name, password); err != nil {
			return err
		}
		if err := b.lockCopying(ctx, d.copier, name); err != nil {
			return err
		}
		return d.header.readRoutines(ctx, s, name)
	})
	if err == nil {
		err = d.header.readDatabase(ctx, d.copier, name)
	}
	if err != nil && d.copier != nil {
		d.copier.Release(context.WithoutCancel(ctx))
	}
	return d, err
}

// copying is the name of the lock that a session of the copier holds during a backup, which does
// not hold the instance's lock. A restore does.
func (b *backend) copying(name string) string { return lockName(b.password, "copy of "+name) }

func (b *backend) lockCopying(ctx context.Context, s *session, name string) error {
	got := false
	err := s.Query(ctx, fmt.Sprintf("SELECT coalesce(GET_LOCK(%s, %d), 0)", literal(b.copying(name)), int(patience.Seconds())), database.One(&got))
	if err == nil && !got {
		err = errBusy
	}
	return explain("begin a copy", err)
}

// endLeftCopy closes the copier of an attempt that crashed.
func (b *backend) endLeftCopy(ctx context.Context, name string) error {
	err := b.work(ctx, ifFree, name, func(s *session, st *state) error {
		free := false
		if err := s.Query(ctx, "SELECT IS_FREE_LOCK("+literal(b.copying(name))+")", database.One(&free)); err != nil || !free {
			return explain("look for a copy in progress", err)
		}
		return s.closeCopier(ctx, st)
	})
	if errors.Is(err, errBusy) {
		return nil
	}
	return err
}

// omitted is what a copy lacks, for the user.
func (d *dump) omitted() []string {
	list := []string{
		"Who defined a view, routine or trigger: after a restore an account of the instance's own is the definer.",
		"Events, which bindings cannot create.",
		"The right to execute packages, which MariaDB gives only to the account that creates one: create them again.",
	}
	if d.release < historySince {
		list = append(list, "The history of system-versioned tables.")
	}
	return list
}

func (d *dump) run(ctx context.Context, w io.Writer) (contents services.Contents, err error) {
	counted, counting := io.Pipe()
	split := newStatements(counted, 0)
	ended := make(chan error, 1)
	go func() {
		err := split.readAll(func([]byte) error { return nil })
		_ = counted.CloseWithError(err)
		ended <- err
	}()
	out := io.MultiWriter(w, counting)
	err = d.header.write(out)
	if err == nil {
		err = explainProgram(d.program.Run(ctx, nil, out))
	}
	if err == nil {
		_, err = io.WriteString(out, endOfCopy+"\n")
	}
	_ = counting.Close()
	if damaged := <-ended; err == nil {
		err = damaged
	}
	if err != nil {
		return contents, err
	}
	counts := maps.Clone(split.counts)
	d.header.count(counts)
	details, err := json.Marshal(copyDetails{d.server})
	return services.Contents{Format: copyFormat, Counts: counts, Omitted: d.omitted(), Details: details}, err
}

// explainProgram makes an error of mariadb-dump say what the user can do. Those of ctx and the
// writer stay as they are.
func explainProgram(err error) error {
	var failed *database.ProgramError
	if !errors.As(err, &failed) {
		return err
	}
	if strings.Contains(failed.Message, "references invalid table(s)") {
		return services.Rejected("the database has a view that does not work, and mariadb-dump copies no such database: drop or repair it: %s", failed.Message)
	}
	return fmt.Errorf("dump the database: %w", err)
}

// The copier is the account that copies an instance, named as its database. It is locked, without
// a password, between copies, and stays as the definer of what it restored.

// openCopier unlocks the copier, after it has ended what an attempt that crashed left behind.
func (b *backend) openCopier(ctx context.Context, s *session, name string, password services.Secret) error {
	if err := s.endSessions(ctx, "close_account", []string{name}); err != nil {
		return explain("end an earlier copy", err)
	}
	err := s.Exec(ctx, call("make_account", name, name, string(fullRights), hash(password.Reveal()), b.encrypted(), copierConnections, "0"))
	return explain("open the account that copies the instance", err)
}

const copierConnections = "4"

// closeCopier locks the copier and ends its sessions. It drops the account unless that defines
// something.
func (b *backend) closeCopier(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), withdrawTime)
	defer cancel()
	for {
		err := b.work(ctx, patience, name, func(s *session, st *state) error { return s.closeCopier(ctx, st) })
		var pending *services.NotYetError
		if !errors.As(err, &pending) && !errors.Is(err, errBusy) || ctx.Err() != nil {
			return err
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func (s *session) closeCopier(ctx context.Context, st *state) error {
	if len(st.named(func(a account) bool { return a.name == st.database })) == 0 {
		return nil
	}
	if err := s.endSessions(ctx, "close_account", []string{st.database}); err != nil {
		return explain("close the account that copies the instance", err)
	}
	if st.full {
		if err := s.Exec(ctx, call("set_rights", st.database, st.database, string(overQuotaRights))); err != nil {
			return explain("limit the account that copies the instance", err)
		}
	}
	return s.dropUnused(ctx, st, st.database)
}

// connectCopier opens a session of the copier.
func (b *backend) connectCopier(ctx context.Context, name string, password services.Secret) (*session, error) {
	a := b.admin
	a.user, a.password, a.database = name, password.Reveal(), name
	c := a.driver(b.server)
	maps.Copy(c.Params, map[string]string{
		"sql_mode": "'NO_AUTO_VALUE_ON_ZERO'", "max_statement_time": "0", "wait_timeout": idleForever, "unique_checks": "0", "lock_wait_timeout": "60",
		"collation_connection": "utf8mb4_general_ci",
	})
	conn, err := connect(ctx, c)
	return conn, explain("connect as the account that copies the instance", err)
}
