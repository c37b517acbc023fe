package acceptance_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// interruptions measures how soon operations continue that a fault interrupted.
type interruptions struct {
	stateURL string

	mu      sync.Mutex
	waiting map[string]interruption // by operation
	wentOn  []wentOn
}

type interruption struct {
	what string
	at   time.Time
}

type wentOn struct {
	interruption
	operation string
	after     time.Duration
}

// note records the operations in progress. If another fault has made the state
// unavailable, none is in progress.
func (w *interruptions) note(ctx context.Context, what string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for {
		err := w.noteNow(ctx, what)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (w *interruptions) noteNow(ctx context.Context, what string) error {
	conn, err := pgx.Connect(ctx, w.stateURL)
	if err != nil {
		return fmt.Errorf("look for operations in progress: %w", err)
	}
	defer conn.Close(ctx)
	// An operation without a job is attempted where it was accepted.
	rows, _ := conn.Query(ctx, `select o.id from operations o left join river_job j on j.id = o.job_id
		where o.state = 'in progress' and (o.job_id = 0 or j.state = 'running')`)
	running, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("look for operations in progress: %w", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range running {
		if _, already := w.waiting[id]; !already {
			w.waiting[id] = interruption{what, time.Now()}
		}
	}
	return nil
}

// watch records, until ctx ends, which interrupted operations have continued or ended.
func (w *interruptions) watch(ctx context.Context) {
	for ctx.Err() == nil {
		_ = w.look(ctx) // the database may be the one that is down
		select {
		case <-ctx.Done():
		case <-time.After(250 * time.Millisecond):
		}
	}
}

func (w *interruptions) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, w.stateURL)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, `select o.id, o.finished_at, j.attempted_at from operations o
		left join river_job j on j.id = o.job_id where o.id = any($1)`, w.ids())
	if err != nil {
		return err
	}
	var id string
	var finished, attempted *time.Time
	_, err = pgx.ForEachRow(rows, []any{&id, &finished, &attempted}, func() error {
		w.judge(id, finished, attempted)
		return nil
	})
	return err
}

func (w *interruptions) judge(id string, finished, attempted *time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := w.waiting[id]
	switch {
	case finished != nil && finished.Before(i.at):
		delete(w.waiting, id) // it ended before the interruption
	case finished != nil:
		delete(w.waiting, id)
		w.wentOn = append(w.wentOn, wentOn{i, id, finished.Sub(i.at)})
	case attempted != nil && attempted.After(i.at):
		delete(w.waiting, id)
		w.wentOn = append(w.wentOn, wentOn{i, id, attempted.Sub(i.at)})
	}
}

func (w *interruptions) ids() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	ids := make([]string, 0, len(w.waiting))
	for id := range w.waiting {
		ids = append(ids, id)
	}
	return ids
}

// slowest returns the operations that took longest to continue, slowest first.
func (w *interruptions) slowest() []wentOn {
	w.mu.Lock()
	defer w.mu.Unlock()
	sorted := slices.Clone(w.wentOn)
	slices.SortFunc(sorted, func(a, b wentOn) int { return int(b.after - a.after) })
	return sorted
}

// longest returns the operations that took longest, interrupted or not.
func (w *interruptions) longest(ctx context.Context) (string, error) {
	conn, err := pgx.Connect(ctx, w.stateURL)
	if err != nil {
		return "", err
	}
	defer conn.Close(ctx)
	rows, _ := conn.Query(ctx, `select (finished_at - created_at)::text || ': ' || kind || ' of ' || plan_id || ', ' || outcome || ' after ' ||
		attempts || ' failed attempts (operation ' || id || ') ' || last_error
		from operations where finished_at is not null order by finished_at - created_at desc limit 5`)
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return strings.Join(lines, "\n  "), err
}
