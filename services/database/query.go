// Package database holds what its backends have in common.
package database

import (
	"context"
	"database/sql"
	"strings"
)

// Querier is a pool or a connection.
type Querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// Answer is a query, and what to do with each row of its result; nil: nothing.
type Answer struct {
	Query string
	Scan  func(*sql.Rows) error
}

// Query runs one query and scans each row of its result.
func Query(ctx context.Context, q Querier, query string, scan func(*sql.Rows) error) error {
	return Ask(ctx, q, Answer{query, scan})
}

// Ask runs queries in one round trip. Each returns one result.
func Ask(ctx context.Context, q Querier, answers ...Answer) error {
	queries := make([]string, len(answers))
	for i, a := range answers {
		queries[i] = a.Query
	}
	rows, err := q.QueryContext(ctx, strings.Join(queries, "; "))
	if err != nil {
		return err
	}
	defer rows.Close()
	for i, a := range answers {
		if i > 0 && !rows.NextResultSet() {
			break
		}
		for rows.Next() {
			if a.Scan == nil {
				continue
			}
			if err := a.Scan(rows); err != nil {
				return err
			}
		}
	}
	return rows.Err()
}

// Into appends each row's one column to a list.
func Into[T any](list *[]T) func(*sql.Rows) error {
	return func(rows *sql.Rows) error {
		var value T
		err := rows.Scan(&value)
		*list = append(*list, value)
		return err
	}
}

// One scans the row of a query that returns one.
func One(values ...any) func(*sql.Rows) error {
	return func(rows *sql.Rows) error { return rows.Scan(values...) }
}

// Joined is a list of SQL expressions.
func Joined[T any](list []T, expression func(T) string) string {
	texts := make([]string, len(list))
	for i, item := range list {
		texts[i] = expression(item)
	}
	return strings.Join(texts, ", ")
}
