package schemas

import (
	"bufio"
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/lib/pq"

	"github.com/chandler-broker/chandler/services"
)

var _ services.Streamer[Plan, Params] = (*backend)(nil)

// format has a version: Restore has to read the backups of earlier releases, or reject them.
const format = "schemas-1"

// line is a line of a copy: a table, or a row of the table before it.
type line struct {
	Table   string    `json:"table,omitempty"`
	Columns []column  `json:"columns,omitempty"`
	Key     []string  `json:"key,omitempty"` // the columns of the primary key
	Row     []*string `json:"row,omitempty"`
}

type column struct {
	Name     string `json:"name"`
	Type     string `json:"type"`
	Required bool   `json:"required,omitempty"`
}

// Backup reads all tables in one transaction, so that the copy is of one point in time.
func (b *backend) Backup(ctx context.Context, r services.BackupRequest[Plan, Params]) (services.Contents, error) {
	contents := services.Contents{
		Format: format, Counts: map[string]int64{"tables": 0, "rows": 0},
		Omitted: []string{"everything but tables: their indexes, defaults, constraints and triggers, views, functions and types"},
	}
	err := b.asTenant(ctx, r.Instance, func(tx *sql.Tx) error {
		// Without this, a table whose policies hide rows from its owner would be copied without them.
		if _, err := tx.ExecContext(ctx, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL row_security = off"); err != nil {
			return err
		}
		tables, err := readTables(ctx, tx, owner(r.Instance))
		if err != nil {
			return err
		}
		out := json.NewEncoder(r.Writer)
		for _, table := range tables {
			if err := copyTable(ctx, tx, table, out, contents.Counts); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return services.Contents{}, fmt.Errorf("copy the schema: %w", err)
	}
	return contents, nil
}

// readTables returns the tables of a schema in the order of their names.
func readTables(ctx context.Context, tx *sql.Tx, schema string) ([]line, error) {
	var text string
	err := tx.QueryRowContext(ctx, `SELECT coalesce(json_agg(t ORDER BY t."table"), '[]') FROM (SELECT c.relname AS "table",
			json_agg(json_build_object('name', a.attname, 'type', format_type(a.atttypid, a.atttypmod), 'required', a.attnotnull) ORDER BY a.attnum) AS columns,
			(SELECT json_agg(k.attname ORDER BY array_position(i.indkey::int2[], k.attnum)) FROM pg_index i
				JOIN pg_attribute k ON k.attrelid = i.indrelid AND k.attnum = ANY (i.indkey) WHERE i.indrelid = c.oid AND i.indisprimary) AS key
		FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
		WHERE c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = $1) AND c.relkind = 'r' GROUP BY c.oid, c.relname) t`, schema).Scan(&text)
	if err != nil {
		return nil, err
	}
	var tables []line
	return tables, json.Unmarshal([]byte(text), &tables)
}

func copyTable(ctx context.Context, tx *sql.Tx, table line, out *json.Encoder, counts map[string]int64) error {
	if err := out.Encode(table); err != nil {
		return err
	}
	counts["tables"]++
	var texts []string
	for _, c := range table.Columns {
		texts = append(texts, pq.QuoteIdentifier(c.Name)+"::text")
	}
	rows, err := tx.QueryContext(ctx, "SELECT "+strings.Join(texts, ", ")+" FROM ONLY "+pq.QuoteIdentifier(table.Table)) //nolint:gosec // names are quoted
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		row := make([]*string, len(table.Columns))
		into := make([]any, len(row))
		for i := range row {
			into[i] = &row[i]
		}
		if err := rows.Scan(into...); err != nil {
			return err
		}
		if err := out.Encode(line{Row: row}); err != nil {
			return err
		}
		counts["rows"]++
	}
	return rows.Err()
}

// Restore is one transaction. It commits only after the whole copy was read, and contained what
// its description says.
func (b *backend) Restore(ctx context.Context, r services.RestoreRequest[Plan, Params]) (services.RestoreResult, error) {
	if r.Contents.Format != format {
		return services.RestoreResult{}, services.Rejected("the backup has the format %q, and this service restores only %q: choose a backup of this service", r.Contents.Format, format)
	}
	err := b.asTenant(ctx, r.Instance, func(tx *sql.Tx) error {
		counts, err := readCopy(ctx, tx, r.Reader)
		if err == nil && !maps.Equal(counts, r.Contents.Counts) {
			err = errors.New("the copy does not contain what its description says")
		}
		return err
	})
	if err != nil {
		return services.RestoreResult{}, fmt.Errorf("restore the schema: %w", err)
	}
	return services.RestoreResult{}, nil
}

// maxLine limits the memory that a copy can take.
const maxLine = 256 << 20

func readCopy(ctx context.Context, tx *sql.Tx, from io.Reader) (map[string]int64, error) {
	counts := map[string]int64{"tables": 0, "rows": 0}
	var insert *sql.Stmt // into the table of the last line that named one
	lines := bufio.NewScanner(from)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		var l line
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			return nil, errors.New("a line is not JSON") // err would quote the tenant's data
		}
		switch {
		case l.Table != "":
			statement, err := makeTable(l)
			if err != nil {
				return nil, err
			}
			if _, err := tx.ExecContext(ctx, statement); err != nil {
				return nil, err
			}
			if insert, err = tx.PrepareContext(ctx, insertInto(l)); err != nil { // the transaction closes it
				return nil, err
			}
			counts["tables"]++
		case insert == nil:
			return nil, errors.New("the copy does not begin with a table")
		default:
			values := make([]any, len(l.Row))
			for i, v := range l.Row {
				if v != nil {
					values[i] = *v
				}
			}
			if _, err := insert.ExecContext(ctx, values...); err != nil {
				return nil, err
			}
			counts["rows"]++
		}
	}
	return counts, lines.Err()
}

// builtIn matches the names of PostgreSQL's own types, such as "timestamp(3) with time zone".
var builtIn = regexp.MustCompile(`^[a-z][a-z0-9_ ]*(\([0-9,]+\))?[a-z ]*(\[\])?$`)

// makeTable quotes every name in a copy, and takes nothing else of it into a statement.
func makeTable(l line) (string, error) {
	var parts []string
	for _, c := range l.Columns {
		if !builtIn.MatchString(c.Type) {
			return "", services.Rejected("table %q has a column whose type is not one of PostgreSQL's own", l.Table)
		}
		part := pq.QuoteIdentifier(c.Name) + " " + c.Type
		if c.Required {
			part += " NOT NULL"
		}
		parts = append(parts, part)
	}
	if len(l.Key) > 0 {
		var key []string
		for _, name := range l.Key {
			key = append(key, pq.QuoteIdentifier(name))
		}
		parts = append(parts, "PRIMARY KEY ("+strings.Join(key, ", ")+")")
	}
	return "CREATE TABLE " + pq.QuoteIdentifier(l.Table) + " (" + strings.Join(parts, ", ") + ")", nil
}

func insertInto(l line) string {
	var names, values []string
	for i, c := range l.Columns {
		names = append(names, pq.QuoteIdentifier(c.Name))
		values = append(values, fmt.Sprintf("$%d", i+1))
	}
	return "INSERT INTO " + pq.QuoteIdentifier(l.Table) + " (" + strings.Join(names, ", ") + ") VALUES (" + strings.Join(values, ", ") + ")"
}

func copier(inst instance) string { return "c_" + inst.Name }

// asTenant runs do in a transaction of a role that has an application's rights and no more, and
// that is removed afterwards, also if ctx has ended.
func (b *backend) asTenant(ctx context.Context, inst instance, do func(*sql.Tx) error) (err error) {
	password, name := rand.Text(), pq.QuoteIdentifier(copier(inst))
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		err = errors.Join(err, b.removeLogin(ctx, inst, copier(inst)))
	}()
	if err := b.run(ctx, inst, append(b.grantLogin(inst, copier(inst)),
		fmt.Sprintf("ALTER ROLE %s LOGIN CONNECTION LIMIT 1 PASSWORD %s", name, pq.QuoteLiteral(password)))...); err != nil {
		return err
	}
	through := *b.admin
	through.User = url.UserPassword(copier(inst), password)
	pool, err := sql.Open("postgres", through.String())
	if err != nil {
		return errors.New("url: is invalid") // err would quote it
	}
	defer pool.Close()
	tx, err := pool.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := do(tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}
