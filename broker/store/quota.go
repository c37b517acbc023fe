package store

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Filter selects instances that count for a quota; empty fields select any. An
// instance that is being moved to a plan is on both. A retained instance does not
// count, because its platform cannot delete it.
type Filter struct {
	Platform, OrganizationID, SpaceID, Namespace string
	ServiceID, PlanID                            string
	// Except is the ID of an instance that does not count.
	Except string
}

// condition is the filter as a condition on instances i, with its parameters.
func (f Filter) condition() (string, []any) {
	condition := []string{"i.kept_until is null"}
	var args []any
	add := func(sql, value string) {
		if value != "" {
			args = append(args, value)
			condition = append(condition, fmt.Sprintf(sql, len(args)))
		}
	}
	add("i.platform = $%d", f.Platform)
	add("i.organization_id = $%d", f.OrganizationID)
	add("i.space_id = $%d", f.SpaceID)
	add("i.namespace = $%d", f.Namespace)
	add("i.service_id = $%d", f.ServiceID)
	add("(i.plan_id = $%[1]d or exists (select 1 from operations o where o.instance_id = i.id and o.binding_id = '' and "+
		"o.state = 'in progress' and o.plan_id = $%[1]d))", f.PlanID)
	add("i.id <> $%d", f.Except)
	return strings.Join(condition, " and "), args
}

// LockQuota locks the key until the transaction ends, so that others count afterwards.
func (s *Store) LockQuota(ctx context.Context, tx DBTX, key string) error {
	_, err := tx.Exec(ctx, "select pg_advisory_xact_lock(hashtextextended($1, 0))", "chandler quota "+key)
	return err
}

// CountInstances counts the instances that the filter selects.
func (s *Store) CountInstances(ctx context.Context, db DBTX, f Filter) (int, error) {
	condition, args := f.condition()
	var n int
	err := db.QueryRow(ctx, "select count(*) from instances i where "+condition, args...).Scan(&n)
	return n, err
}

// Subject is a tenant, or several, whose instances are counted.
type Subject struct {
	Platform, OrganizationID, SpaceID, Namespace string
	Instances                                    int
}

// GroupBy says which fields distinguish one Subject from another.
type GroupBy struct{ Platform, Organization, Space, Namespace bool }

// CountSubjects counts the instances of each subject that the filter selects, in
// descending order.
func (s *Store) CountSubjects(ctx context.Context, db DBTX, f Filter, by GroupBy, limit int) ([]Subject, error) {
	condition, args := f.condition()
	column := func(name string, wanted bool) string {
		if wanted {
			return "i." + name
		}
		return "''"
	}
	if by.Namespace {
		condition += " and i.namespace <> ''"
	}
	args = append(args, limit)
	rows, err := db.Query(ctx, fmt.Sprintf("select %s, %s, %s, %s, count(*) from instances i where %s group by 1, 2, 3, 4 order by 5 desc, 1, 2, 3, 4 limit $%d",
		column("platform", by.Platform), column("organization_id", by.Organization), column("space_id", by.Space),
		column("namespace", by.Namespace), condition, len(args)), args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[Subject])
}
