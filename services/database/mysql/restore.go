package mysql

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/database"
	"github.com/chandler-broker/chandler/services/database/mysqldb"
)

// Restore implements services.Streamer. The copier runs the copy's statements, one after the
// other, with a read_write binding's rights. The instance's lock is held until the end, so that
// Reconcile does not enforce the plan on half of a database.
func (b *backend) Restore(ctx context.Context, r services.RestoreRequest[Plan, InstanceParams]) (result services.RestoreResult, err error) {
	if r.Contents.Format != copyFormat {
		return result, services.Rejected("the backup has the format %q, and only %q can be restored to a MariaDB database", r.Contents.Format, copyFormat)
	}
	var details copyDetails
	if err := json.Unmarshal(r.Contents.Details, &details); err != nil {
		return result, fmt.Errorf("read the backup's description: %w", err)
	}
	name := b.names.database(r.Instance.Name)
	s, st, err := b.hold(ctx, name)
	if err != nil {
		return result, err
	}
	defer s.Release(ctx)
	if err := s.fits(ctx, st, details); err != nil {
		return result, err
	}
	password := services.NewSecret(rand.Text())
	defer func() {
		if failed := b.endRestore(ctx, s, name); err == nil {
			err = failed
		}
	}()
	if err := b.openCopier(ctx, s, name, password); err != nil {
		return result, err
	}
	c, err := b.connectCopier(ctx, name, password)
	if err != nil {
		return result, err
	}
	defer c.Release(ctx)
	return result, c.restore(ctx, name, r)
}

// hold takes an instance's lock with a connection of its own: the pool's are for short work.
func (b *backend) hold(ctx context.Context, name string) (*session, *state, error) {
	ctx, cancel := context.WithTimeout(ctx, prepareTime)
	defer cancel()
	c := b.admin.driver(b.server)
	c.Params["wait_timeout"] = idleForever // while the copier works
	s, err := connect(ctx, c)
	if err != nil {
		return nil, nil, explain("connect to the server", err)
	}
	states, answers := b.stateOf(name)
	if err := database.Ask(ctx, s, append([]database.Answer{b.lock(patience, name)}, answers...)...); err != nil {
		s.Release(ctx)
		return nil, nil, explain("ask the server what exists", err)
	}
	return s, states[name], nil
}

// idleForever is the longest wait_timeout.
const idleForever = "31536000"

// connect opens a connection that is not pooled.
func connect(ctx context.Context, c *mysql.Config) (*session, error) {
	connector, err := mysql.NewConnector(c)
	if err != nil {
		return nil, err
	}
	conn, err := database.Connect(ctx, patient{connector})
	return &session{conn}, err
}

func (s *session) fits(ctx context.Context, st *state, copied copyDetails) error {
	if !st.exists {
		return fmt.Errorf("database %s does not exist; provision the instance again", st.database)
	}
	var server string
	if err := s.Query(ctx, "SELECT VERSION()", database.One(&server)); err != nil {
		return explain("ask the server for its version", err)
	}
	if release(server) < release(copied.Server) {
		return services.Rejected("the backup is of MariaDB %s and the instance's server is version %s: restore it to a server that is not older", copied.Server, server)
	}
	return nil
}

// endRestore locks the copier. It needs no lock: the session holds it.
func (b *backend) endRestore(ctx context.Context, s *session, name string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), withdrawTime)
	defer cancel()
	for {
		states, answers := b.stateOf(name)
		err := database.Ask(ctx, s, answers...)
		if err == nil {
			err = s.closeCopier(ctx, states[name])
		}
		var pending *services.NotYetError
		if !errors.As(err, &pending) || ctx.Err() != nil {
			return explain("end the restore", err)
		}
		time.Sleep(pending.After)
	}
}

// restore runs the copy as the copier.
func (s *session) restore(ctx context.Context, name string, r services.RestoreRequest[Plan, InstanceParams]) error {
	var limit int
	if err := s.Query(ctx, "SELECT @@max_allowed_packet", database.One(&limit)); err != nil {
		return explain("ask for the server's max_allowed_packet", err)
	}
	in := bufio.NewReaderSize(r.Reader, 1<<18)
	var header copyHeader
	if err := database.ReadHeader(in, headerMark, maxHeader, &header); err != nil {
		return err
	}
	if err := s.Exec(ctx, "ALTER DATABASE "+ident(name)+" CHARACTER SET "+literal(header.CharacterSet)+" COLLATE "+literal(header.Collation)); err != nil {
		return explain("restore the defaults of the database", err)
	}
	if err := s.define(ctx, header.Routines); err != nil {
		return explain("restore a routine", err)
	}
	split := newStatements(in, limit)
	err := split.readAll(func(statement []byte) error {
		_, err := s.ExecContext(ctx, withoutDefiner(string(statement)))
		return explain("restore the tables and views", err)
	})
	if err != nil {
		return err
	}
	if err := s.define(ctx, header.Triggers); err != nil {
		return explain("restore a trigger", err)
	}
	counts := maps.Clone(split.counts)
	header.count(counts)
	if !maps.Equal(counts, r.Contents.Counts) {
		return errors.New("the copy is damaged: it contains something else than its description says")
	}
	return nil
}

// define creates routines or triggers, each in the mode in which it was created.
func (s *session) define(ctx context.Context, list []definition) error {
	for _, d := range list {
		err := s.Exec(ctx, "SET sql_mode = "+literal(d.Mode)+", collation_connection = "+literal(d.Collation))
		if err == nil {
			_, err = s.ExecContext(ctx, withoutDefiner(d.Text))
		}
		if err != nil && !mysqldb.Is(err, mysqldb.NoSuchTable) { // dropped when the copy was made
			return err
		}
	}
	return s.Exec(ctx, "SET sql_mode = 'NO_AUTO_VALUE_ON_ZERO', collation_connection = utf8mb4_general_ci")
}

// readAll calls do with each statement, and reads to the copy's end.
func (s *statements) readAll(do func([]byte) error) error {
	for {
		statement, err := s.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = do(statement)
		}
		if err != nil {
			return err
		}
	}
}
