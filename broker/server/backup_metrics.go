package server

import (
	"context"
	"sync"
	"time"

	"github.com/chandler-broker/chandler/broker/backup"
	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/broker/store"
)

func copyOutcomes() []store.CopyState {
	return []store.CopyState{store.CopySucceeded, store.CopyFailed, store.CopyCancelled}
}

func (m *metrics) beginCopies(p *catalog.Plan) {
	for _, kind := range store.CopyKinds() {
		m.copiedBytes.WithLabelValues(p.Family, p.Name, string(kind))
		m.copyTimes.WithLabelValues(p.Family, p.Name, string(kind))
		for _, outcome := range copyOutcomes() {
			m.copies.WithLabelValues(p.Family, p.Name, string(kind), string(outcome))
		}
	}
}

// copyFinished counts a copy that this replica ended, under the plan of the instance that was copied.
func (s *Server) copyFinished(f backup.Finished) {
	family, plan := s.planLabels(f.Backup.ServiceID, f.Backup.PlanID)
	kind := string(f.Copy.Kind)
	s.metrics.copies.WithLabelValues(family, plan, kind, string(f.Outcome)).Inc()
	s.metrics.copiedBytes.WithLabelValues(family, plan, kind).Add(float64(f.Raw))
	s.metrics.copyTimes.WithLabelValues(family, plan, kind).Observe(f.Took.Seconds())
}

// collectBackups reports what there is in the store of backups, and how old it is.
func (s *Server) collectBackups(ctx context.Context, report gauge) {
	counts, err := s.backupCounts.get(func() ([]store.CountBackupsRow, error) { return s.store.CountBackups(ctx, s.store.Pool) })
	if err != nil {
		return
	}
	backups, stored, verified := map[[3]string]float64{}, series{}, series{}
	for _, c := range counts {
		family, plan := s.planLabels(c.ServiceID, c.PlanID)
		labels := [2]string{family, plan}
		backups[[3]string{family, plan, string(c.State)}] += float64(c.Backups)
		stored[labels] += float64(c.StoredBytes)
		if c.Verified > 0 {
			verified[labels] = max(verified[labels], c.Verified)
		}
	}
	for labels, n := range backups {
		report("chandler_backups", n, labels[:]...)
	}
	stored.report(report, "chandler_backup_stored_bytes")
	verified.report(report, "chandler_backup_verified_seconds")
	s.collectBackupAges(ctx, report)
}

// collectBackupAges reports how old the newest backups of plans with a schedule are, and how old
// they may become.
func (s *Server) collectBackupAges(ctx context.Context, report gauge) {
	var plans []string
	for _, service := range s.catalog.Services() {
		for _, p := range service.Plans {
			if p.Backups != nil && p.Backups.Scheduled() {
				plans = append(plans, p.ID)
				report("chandler_backup_interval_seconds", longestInterval(p.Backups, time.Now()).Seconds(), p.Family, p.Name)
			}
		}
	}
	if plans == nil {
		return
	}
	ages, err := s.backupAges.get(func() ([]store.BackupAgesRow, error) { return s.store.BackupAges(ctx, s.store.Pool, plans) })
	if err != nil {
		return
	}
	for _, age := range ages {
		family, plan := s.planLabels(age.ServiceID, age.PlanID)
		report("chandler_backup_age_seconds", age.Seconds, family, plan)
	}
}

// costly is the answer to a query that reads a whole table. It is asked again only after twenty times as
// long as it took: seconds, with ten million backups. It is safe for concurrent use.
type costly[T any] struct {
	mu     sync.Mutex
	answer T
	until  time.Time
}

func (c *costly[T]) get(ask func() (T, error)) (T, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	began := time.Now()
	if began.Before(c.until) {
		return c.answer, nil
	}
	answer, err := ask()
	if err != nil {
		return answer, err
	}
	const rest = 20
	c.answer, c.until = answer, time.Now().Add(rest*time.Since(began))
	return answer, nil
}

// longestInterval is the longest time between two of the next backups of a schedule, such as
// over a weekend.
func longestInterval(b *catalog.PlanBackups, now time.Time) (longest time.Duration) {
	const looked = 10
	before := b.Next(now, "")
	for range looked {
		next := b.Next(before, "")
		longest, before = max(longest, next.Sub(before)), next
	}
	return longest
}

func (s *Server) collectCopies(ctx context.Context, report gauge) {
	rows, err := s.store.CountUnfinishedCopies(ctx, s.store.Pool)
	if err != nil {
		return
	}
	for _, kind := range store.CopyKinds() {
		copies, failing := 0.0, 0.0
		for _, row := range rows {
			if row.Kind == kind {
				copies += float64(row.Copies)
				failing += float64(row.Failing)
			}
		}
		report("chandler_copies_in_progress", copies, string(kind))
		report("chandler_copies_failing", failing, string(kind))
	}
}
