package rig

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/jackc/pgx/v5"
)

// The places that Places returns.
const (
	Outputs       = "output of chandler"
	ServerLogs    = "logs of the servers"
	StateRows     = "rows of the state database"
	StateFiles    = "files of the state's server"
	TenantsFiles  = "logs and roles in the files of the tenants' server"
	AnswersPlace  = "answers to platforms"
	Metrics       = "metrics"
	ProcessList   = "command lines"
	TemporaryFile = "temporary files"
)

// Places returns everything that the deployment has written, by kind of place.
func (d *Deployment) Places(ctx context.Context) (map[string][]string, error) {
	rows, err := d.stateRows(ctx)
	if err != nil {
		return nil, err
	}
	places := map[string][]string{
		StateRows: {rows}, AnswersPlace: {d.Answers.Text()}, ProcessList: {d.Commands.Text()},
	}
	for _, b := range d.brokers {
		if _, page, err := b.Page(ctx, "/metrics"); err == nil { // one may be down
			places[Metrics] = append(places[Metrics], page)
		}
	}
	for place, patterns := range map[string][]string{
		Outputs:       {"*.out", "*.err"},
		ServerLogs:    {"*/*.log", "cloud/*/*.log"},
		StateFiles:    {"state/data"},
		TenantsFiles:  {"tenants/data/global", "tenants/data/pg_wal"},
		TemporaryFile: {"tmp"},
	} {
		texts, err := d.files(patterns)
		if err != nil {
			return nil, err
		}
		places[place] = texts
	}
	return places, nil
}

// files returns the content of files, and of all files below folders.
func (d *Deployment) files(patterns []string) ([]string, error) {
	var texts []string
	for _, pattern := range patterns {
		names, err := filepath.Glob(d.path(pattern))
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			err := filepath.WalkDir(name, func(path string, entry fs.DirEntry, err error) error {
				if errors.Is(err, fs.ErrNotExist) {
					return nil // a running server removes files
				}
				if err != nil || !entry.Type().IsRegular() {
					return err
				}
				content, err := os.ReadFile(path)
				texts = append(texts, string(content))
				if errors.Is(err, fs.ErrNotExist) {
					return nil
				}
				return err
			})
			if err != nil {
				return nil, fmt.Errorf("read the files of the deployment: %w", err)
			}
		}
	}
	return texts, nil
}

// stateRows is every column of every row of every table of the state database.
func (d *Deployment) stateRows(ctx context.Context) (string, error) {
	conn, err := pgx.Connect(ctx, d.StateURL)
	if err != nil {
		return "", fmt.Errorf("reach the state database: %w", err)
	}
	defer conn.Close(ctx)
	rows, _ := conn.Query(ctx, `select format('%I.%I', schemaname, tablename) from pg_tables
		where schemaname not in ('pg_catalog', 'information_schema')`)
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return "", fmt.Errorf("list the state's tables: %w", err)
	}
	var text strings.Builder
	for _, table := range tables {
		rows, _ := conn.Query(ctx, "select t::text from "+table+" t")
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return "", fmt.Errorf("read %s: %w", table, err)
		}
		fmt.Fprintf(&text, "%s\n%s\n", table, strings.Join(lines, "\n"))
	}
	return text.String(), nil
}

// Search returns what a finder finds, as "description in place".
func Search(f *Finder, places map[string][]string) []string {
	found := []string{}
	for place, texts := range places {
		for _, text := range texts {
			for _, what := range f.Find(text) {
				found = append(found, what+" in "+place)
			}
		}
	}
	return found
}
