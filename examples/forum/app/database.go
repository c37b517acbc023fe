package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/chandler-broker/chandler/examples/forum/app/bindings"
	"github.com/chandler-broker/chandler/examples/forum/functions/picture"
)

// member is a registered visitor.
type member struct {
	ID, Name   string
	Registered time.Time `db:"registered_at"`
	// Photograph and Picture are keys in the bucket. Without Picture, the functions are
	// making it, or Refused says why they will not.
	Photograph    string
	Picture       string
	Width, Height int
	Refused       string
}

const columns = `id, name, registered_at, photograph, picture, width, height, refused`

var errNoMember = errors.New("no such member")

// schema makes the tables if they do not exist. The lock is for programs that start at the
// same time.
const schema = `
select pg_advisory_xact_lock(hashtext('forum'));
create table if not exists members (
	id            text primary key,
	name          text not null,
	registered_at timestamptz not null default now(),
	photograph    text not null,
	announced_at  timestamptz,
	picture       text not null default '',
	width         integer not null default 0,
	height        integer not null default 0,
	refused       text not null default ''
);
create index if not exists members_unannounced on members (registered_at) where announced_at is null;
create index if not exists members_latest on members (registered_at desc)`

// connections is less than half of a binding's limit, because two pools exist while the
// credentials change.
const connections = 4

// database contains the members.
type database struct{ pool *pgxpool.Pool }

func openDatabase(ctx context.Context, set bindings.Set) (*database, error) {
	b := set[0]
	config, err := pgxpool.ParseConfig(b.Get("uri"))
	if err != nil {
		return nil, errors.New("the database's uri is not a PostgreSQL URI") // the error may quote it
	}
	config.MaxConns = connections
	if tls := config.ConnConfig.TLSConfig; tls != nil && b.Get("ca") != "" {
		tls.RootCAs = x509.NewCertPool()
		if !tls.RootCAs.AppendCertsFromPEM([]byte(b.Get("ca"))) {
			return nil, errors.New("the database's ca must be a certificate in PEM")
		}
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("connect to the database: %w", err)
	}
	if _, err := pool.Exec(ctx, schema, pgx.QueryExecModeSimpleProtocol); err != nil {
		pool.Close()
		return nil, fmt.Errorf("prepare the database: %w", err)
	}
	return &database{pool}, nil
}

func (d *database) identity() string { return d.pool.Config().ConnConfig.User }

// Close implements io.Closer.
func (d *database) Close() error {
	d.pool.Close()
	return nil
}

func (d *database) add(ctx context.Context, m member) error {
	_, err := d.pool.Exec(ctx, `insert into members (id, name, photograph) values ($1, $2, $3)`, m.ID, m.Name, m.Photograph)
	return err
}

func (d *database) get(ctx context.Context, id string) (member, error) {
	rows, _ := d.pool.Query(ctx, `select `+columns+` from members where id = $1`, id)
	m, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[member])
	if errors.Is(err, pgx.ErrNoRows) {
		return m, errNoMember
	}
	return m, err
}

// latest returns the newest members, newest first.
func (d *database) latest(ctx context.Context, limit int) ([]member, error) {
	rows, _ := d.pool.Query(ctx, `select `+columns+` from members order by registered_at desc, id limit $1`, limit)
	return pgx.CollectRows(rows, pgx.RowToStructByName[member])
}

// unannounced returns members who registered some time ago and whose event may not be on the
// queue, oldest first.
func (d *database) unannounced(ctx context.Context, since time.Duration, limit int) ([]member, error) {
	rows, _ := d.pool.Query(ctx, `select `+columns+` from members
		where announced_at is null and registered_at < now() - $1::interval order by registered_at limit $2`, since, limit)
	return pgx.CollectRows(rows, pgx.RowToStructByName[member])
}

func (d *database) announced(ctx context.Context, id string) error {
	_, err := d.pool.Exec(ctx, `update members set announced_at = now() where id = $1`, id)
	return err
}

// report stores the result for a photograph. It returns errNoMember if no member has it.
func (d *database) report(ctx context.Context, job picture.Job) error {
	tag, err := d.pool.Exec(ctx, `update members set picture = $2, width = $3, height = $4, refused = $5 where id = $1`,
		job.ID, job.Picture, job.Width, job.Height, job.Refused)
	if err == nil && tag.RowsAffected() == 0 {
		return errNoMember
	}
	return err
}
